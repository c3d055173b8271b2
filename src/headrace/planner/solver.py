"""The solver: HiGHS, by its arrays. Deterministic: one thread, one seed."""

from collections.abc import Hashable, Mapping
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from headrace.core.errors import SetupError
from headrace.planner.program import Program

Column = TypeVar("Column", bound=Hashable)
Row = TypeVar("Row", bound=Hashable)
Outcome: TypeAlias = Literal["optimal", "time", "infeasible"]
GAP = 1e-4
"""How far from the best a plan with whole quanta may be, where nothing else is said."""


class PlannerMissing(SetupError):
    def __init__(self) -> None:
        super().__init__("the planner needs the solver HiGHS: pip install 'headrace[plan]'")


class Infeasible(SetupError):
    def __init__(self) -> None:
        super().__init__("no plan keeps to all limits, not even one that serves nobody: what is held already breaks one of them")


class Solution(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`values` by column, `duals` by row (what the cost grows by with one more of the row's bound; none for whole quanta)."""

    outcome: Outcome
    cost: float
    bound: float
    values: list[float]
    duals: list[float]
    reduced: list[float]


class Solver(Generic[Column, Row]):
    """One program, solved as often as bounds are changed."""

    def __init__(self, program: Program[Column, Row]) -> None:
        try:
            import highspy  # an extra, and heavy
            import numpy
        except ImportError:
            raise PlannerMissing from None
        self._program, self._highspy, self._numpy = program, highspy, numpy
        self._scale = _scale(program.cost)

    def solve(
        self, *, whole: bool, upper: Mapping[int, float] | None = None, gap: float = GAP, seconds_max: float = 600.0
    ) -> Solution:
        """With `whole` in whole quanta, else relaxed, with duals. `upper` replaces the upper bounds of some columns.

        Raises Infeasible.
        """
        solver = self._loaded(whole=whole, upper=upper or {})
        solver.setOptionValue("mip_rel_gap", gap)
        solver.setOptionValue("time_limit", seconds_max)
        solver.run()
        status = solver.getModelStatus()
        kinds = self._highspy.HighsModelStatus
        if status in (kinds.kInfeasible, kinds.kUnboundedOrInfeasible):
            raise Infeasible
        info, found = solver.getInfo(), solver.getSolution()
        integers = whole and bool(self._program.whole)
        return Solution(
            outcome="optimal" if status == kinds.kOptimal else "time",
            cost=info.objective_function_value / self._scale,
            bound=(info.mip_dual_bound if integers else info.objective_function_value) / self._scale,
            values=list(found.col_value),
            duals=[] if integers else [dual / self._scale for dual in found.row_dual],
            reduced=[] if integers else [dual / self._scale for dual in found.col_dual],
        )

    def _loaded(self, *, whole: bool, upper: Mapping[int, float]) -> Any:
        program, numpy, highspy = self._program, self._numpy, self._highspy
        bounds = numpy.array(program.upper, dtype=float)
        for column, bound in upper.items():
            bounds[column] = bound
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(program.cost), len(program.row_lower)
        lp.col_cost_ = numpy.array(program.cost, dtype=float) * self._scale
        lp.col_lower_, lp.col_upper_ = numpy.minimum(numpy.array(program.lower, dtype=float), bounds), bounds
        lp.row_lower_, lp.row_upper_ = numpy.array(program.row_lower, dtype=float), numpy.array(program.row_upper, dtype=float)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = numpy.array(program.starts, dtype=numpy.int32)
        lp.a_matrix_.index_ = numpy.array(program.indices, dtype=numpy.int32)
        lp.a_matrix_.value_ = numpy.array(program.values, dtype=float)
        if whole and program.whole:
            kinds = [highspy.HighsVarType.kContinuous] * len(program.cost)
            for column in program.whole:
                kinds[column] = highspy.HighsVarType.kInteger
            lp.integrality_ = kinds
        solver = highspy.Highs()
        solver.silent()
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("random_seed", 1)
        solver.passModel(lp)
        return solver


def _scale(cost: list[float]) -> float:
    """So that the middle of the costs is about one: the solver's tolerances are absolute."""
    held = sorted(abs(each) for each in cost if each)
    return 1 / held[len(held) // 2] if held else 1.0
