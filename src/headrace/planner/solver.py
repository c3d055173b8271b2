"""The solver: HiGHS, by its arrays. Deterministic: one thread, one seed."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from headrace.core.errors import SetupError
from headrace.planner.program import Program

Column = TypeVar("Column", bound=Hashable)
Row = TypeVar("Row", bound=Hashable)
Outcome: TypeAlias = Literal["optimal", "time", "infeasible"]
GAP = 5e-3
"""How far from the best a plan with whole quanta may be, where nothing else is said."""


SECONDS_MAX = 120.0
Rounding: TypeAlias = Callable[[list[float]], Mapping[int, float]]
"""Whole values near relaxed ones, by column."""


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
    """One program, solved as often as bounds are changed. `rounded` proposes whole values, from which a search begins."""

    def __init__(self, program: Program[Column, Row], rounded: Rounding) -> None:
        try:
            import highspy  # an extra, and heavy
            import numpy
        except ImportError:
            raise PlannerMissing from None
        self._program, self._highspy, self._numpy = program, highspy, numpy
        self._rounded = rounded
        self._live: Any = None
        self._scale = _scale(program.cost)

    def relaxed(self, upper: Mapping[int, float] | None = None, fixed: Mapping[int, float] | None = None) -> Solution:
        """In any fraction of a quantum, with duals. `upper` replaces upper bounds of columns, `fixed` both. Raises Infeasible.

        Each solve starts from where the last ended, which between plans that differ in a few bounds takes a tenth of the time.
        """
        program, numpy = self._program, self._numpy
        if self._live is None:
            self._live = self._loaded(whole=False)
        most, least = numpy.array(program.upper, dtype=float), numpy.array(program.lower, dtype=float)
        for column, value in (fixed or {}).items():
            most[column] = least[column] = value
        for column, bound in (upper or {}).items():
            most[column] = bound
        count = len(program.cost)
        self._live.changeColsBounds(count, numpy.arange(count, dtype=numpy.int32), numpy.minimum(least, most), most)
        return self._run(self._live)

    def whole(self, relaxed: Solution, *, gap: float = GAP, seconds_max: float = SECONDS_MAX) -> Solution:
        """In whole quanta, at most `gap` dearer than the best, or the best that was found in the time. Raises Infeasible.

        First the relaxed plan, rounded: on a large fleet it is close enough already, and where it isn't, the search starts from it.
        """
        if not self._program.whole:
            return relaxed
        rounded = self._near(relaxed)
        if rounded is not None and rounded.cost - relaxed.cost <= gap * abs(rounded.cost):
            return msgspec.structs.replace(rounded, bound=relaxed.cost, duals=[], reduced=[])
        solver = self._loaded(whole=True)
        solver.setOptionValue("mip_rel_gap", gap)
        solver.setOptionValue("time_limit", seconds_max)
        if rounded is not None:
            start = self._highspy.HighsSolution()
            start.col_value = rounded.values
            solver.setSolution(start)
        return self._run(solver, whole=True)

    def _near(self, relaxed: Solution) -> Solution | None:
        """The best around a relaxed plan in whole quanta; None: there is none in reach."""
        fixed = self._rounded(relaxed.values)
        if fixed.keys() != set(self._program.whole):
            return None
        try:
            return self.relaxed(fixed=fixed)
        except Infeasible:
            return None

    def _run(self, solver: Any, *, whole: bool = False) -> Solution:
        solver.run()
        status, kinds = solver.getModelStatus(), self._highspy.HighsModelStatus
        info, found = solver.getInfo(), solver.getSolution()
        if status in (kinds.kInfeasible, kinds.kUnboundedOrInfeasible) or not list(found.col_value):
            raise Infeasible
        return Solution(
            outcome="optimal" if status == kinds.kOptimal else "time",
            cost=info.objective_function_value / self._scale,
            bound=(_bound(info) if whole else info.objective_function_value) / self._scale,
            values=list(found.col_value),
            duals=[] if whole else [dual / self._scale for dual in found.row_dual],
            reduced=[] if whole else [dual / self._scale for dual in found.col_dual],
        )

    def _loaded(self, *, whole: bool) -> Any:
        program, numpy, highspy = self._program, self._numpy, self._highspy
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = len(program.cost), len(program.row_lower)
        lp.col_cost_ = numpy.array(program.cost, dtype=float) * self._scale
        lp.col_lower_, lp.col_upper_ = numpy.array(program.lower, dtype=float), numpy.array(program.upper, dtype=float)
        lp.row_lower_, lp.row_upper_ = numpy.array(program.row_lower, dtype=float), numpy.array(program.row_upper, dtype=float)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = numpy.array(program.starts, dtype=numpy.int32)
        lp.a_matrix_.index_ = numpy.array(program.indices, dtype=numpy.int32)
        lp.a_matrix_.value_ = numpy.array(program.values, dtype=float)
        if whole:
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


def _bound(info: Any) -> float:
    """Below which no plan in whole quanta can be. Where presolving alone settles it, HiGHS 1.15 leaves the bound as it was before, and says
    the gap, which is then right."""
    cost = float(info.objective_function_value)
    return max(float(info.mip_dual_bound), cost - float(info.mip_gap) * abs(cost))


def _scale(cost: list[float]) -> float:
    """So that the middle of the costs is about one: the solver's tolerances are absolute."""
    held = sorted(abs(each) for each in cost if each)
    return 1 / held[len(held) // 2] if held else 1.0
