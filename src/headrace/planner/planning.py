"""The story of a plan: the question is written down, solved, and read."""

import msgspec

from headrace.planner.draft import Draft
from headrace.planner.formulation import formulated
from headrace.planner.keys import Key, RowKey
from headrace.planner.plan import Plan, read_plan
from headrace.planner.sites import Instance
from headrace.planner.solver import GAP, SECONDS_MAX, Solution, Solver


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """How far a plan may be from the best (a share of its cost), and how long the solver may look."""

    gap: float = GAP
    seconds_max: float = SECONDS_MAX


class Planned(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A plan with what it was made from: `relaxed` is the plan in fractions of a quantum, whose duals are values at the margin."""

    question: Instance
    draft: Draft
    solver: Solver[Key, RowKey]
    relaxed: Solution
    solution: Solution
    plan: Plan


def make_plan(question: Instance, effort: Effort | None = None) -> Planned:
    """The cheapest plan. Raises Infeasible where held accelerators alone break a limit, PlannerMissing without the solver."""
    effort = effort or Effort()
    draft = formulated(question)
    solver = Solver(draft.program, draft.rounded)
    relaxed = solver.relaxed()
    solution = solver.whole(relaxed, gap=effort.gap, seconds_max=effort.seconds_max)
    return Planned(question=question, draft=draft, solver=solver, relaxed=relaxed, solution=solution, plan=read_plan(draft, solution))


def relaxed_cost(question: Instance) -> float:
    """What the best plan costs in fractions of a quantum, with what it holds against what it turns away. Raises Infeasible."""
    draft = formulated(question)
    return Solver(draft.program, draft.rounded).relaxed().cost
