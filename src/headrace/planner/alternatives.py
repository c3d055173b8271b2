"""The plans beside the plan: everything from one cloud, or on one maker's silicon; what diversity costs or saves, and what it protects
from.

**Lock-in index.** A vendor asks half as much again for whatever isn't held yet, and the plan is made again in the best way. What the bill
grows by, over what it would grow by for someone who has no other vendor, is how much of such a rise the plan has to bear: 1 means all of
it, 0 means that it walks away. The index of a plan is that of its worst vendor.

**What goes unserved at a loss.** The plan's own accelerators, less those of the vendor that fails, in the hour when most is asked for,
serve as much as they can of what can't wait.
"""

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Literal, TypeAlias

import msgspec

from headrace.planner.draft import Draft
from headrace.planner.formulation import formulated
from headrace.planner.keys import Buy, Excess, Key, Rent, Unserved
from headrace.planner.plan import Plan, read_plan
from headrace.planner.planning import Planned
from headrace.planner.sites import Instance, Place
from headrace.planner.solver import Infeasible, Solution, Solver

Kind: TypeAlias = Literal["the plan", "cloud", "silicon vendor", "silicon"]
RISE = 0.5
"""By how much the vendor raises its prices in the index."""


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """A plan and how exposed it is. `unserved_share`: of all tokens, in its own expected course; `lost_share`: of what can't wait, when its
    worst cloud fails, and which that is. None of `plan`: held accelerators alone break its limits."""

    kind: Kind
    only: str
    plan: Plan | None
    cost: float
    unserved_share: float = 0.0
    lock_in: float = 0.0
    locked_to: str = ""
    lost_share: float = 0.0
    lost_cloud: str = ""


OF: Mapping[Kind, Callable[[Place], str]] = {
    "cloud": lambda place: place.cloud,
    "silicon vendor": lambda place: place.silicon_vendor,
    "silicon": lambda place: place.silicon,
}


def alternatives(planned: Planned, *, kinds: tuple[Kind, ...] = ("cloud", "silicon")) -> tuple[Alternative, ...]:
    """The plan itself, then everything from one vendor alone, cheapest first. All relaxed, so that they compare."""
    question = planned.question
    rows = [_measured("the plan", "", question, planned.draft, planned.relaxed)]
    free = msgspec.structs.replace(question.limits, cloud_share_max={}, silicon_vendor_share_max={})
    alone = [
        _alone(kind, only, msgspec.structs.replace(question, limits=free))
        for kind in kinds
        for only in sorted({OF[kind](place) for place in question.places})
    ]
    return (*rows, *sorted(alone, key=lambda each: each.cost))


def _alone(kind: Kind, only: str, question: Instance) -> Alternative:
    narrowed = _restricted(question, lambda place: OF[kind](place) == only)
    draft = formulated(narrowed)
    try:
        solution = Solver(draft.program, draft.rounded).relaxed()
    except Infeasible:
        return Alternative(kind=kind, only=only, plan=None, cost=inf)
    return _measured(kind, only, narrowed, draft, solution)


def _restricted(question: Instance, kept: Callable[[Place], bool]) -> Instance:
    """The question in which only some places can be had; what is held elsewhere is let go."""
    old = [at for at, place in enumerate(question.places) if kept(place)]
    new = {at: number for number, at in enumerate(old)}

    def moved(table: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
        return {(new[at], number): value for (at, number), value in table.items() if at in new}

    return msgspec.structs.replace(
        question,
        places=tuple(question.places[at] for at in old),
        loads=moved(question.loads),
        usd_per_s=moved(question.usd_per_s),
        trains=moved(question.trains),
        utilisation=tuple(question.utilisation[at] for at in old),
        speeds={},
    )


def _measured(kind: Kind, only: str, question: Instance, draft: Draft, solution: Solution) -> Alternative:
    plan = read_plan(draft, solution)
    lock_in, locked_to = _lock_in(question, solution.cost, plan)
    lost, cloud = _lost(question, draft, solution)
    return Alternative(
        kind=kind,
        only=only,
        plan=plan,
        cost=solution.cost,
        unserved_share=unserved_share(draft, plan),
        lock_in=lock_in,
        locked_to=locked_to,
        lost_share=lost,
        lost_cloud=cloud,
    )


def unserved_share(draft: Draft, plan: Plan) -> float:
    """Of all tokens that are asked for, as expected."""
    asked = sum(
        draft.level(state, demand)
        * draft.mean_share(state, demand)
        * demand.tokens_per_s
        * draft.hours(state)
        * 3_600
        * draft.cases[state.case].probability
        for state in draft.states
        for demand in draft.ask.demands
    )
    return max(0.0, 1 - plan.tokens / asked) if asked else 0.0


def _lock_in(question: Instance, cost: float, plan: Plan) -> tuple[float, str]:
    """The index, and the cloud that it is towards. What is held already keeps its price."""
    fresh = plan.usd - plan.usd_held
    if fresh <= 0:
        return 0.0, ""
    found = [(_risen(question, cloud) - cost, cloud) for cloud in plan.spend["cloud"]]
    rise, cloud = max(found, default=(0.0, ""))
    return min(1.0, max(0.0, rise / (RISE * fresh))), cloud


def _risen(question: Instance, cloud: str) -> float:
    def dearer(place: Place) -> Place:
        if place.cloud != cloud:
            return place
        offers = tuple(
            msgspec.structs.replace(offer, usd_per_accelerator_hour=(offer.usd_per_accelerator_hour or 0.0) * (1 + RISE))
            for offer in place.offers
        )
        return msgspec.structs.replace(place, offers=offers)

    usd_per_s = {key: usd * (1 + RISE * (question.places[key[0]].cloud == cloud)) for key, usd in question.usd_per_s.items()}
    draft = formulated(msgspec.structs.replace(question, places=tuple(map(dearer, question.places)), usd_per_s=usd_per_s))
    return Solver(draft.program, draft.rounded).relaxed().cost


def _lost(question: Instance, draft: Draft, solution: Solution) -> tuple[float, str]:
    """The share of what can't wait that goes unserved when the worst cloud fails, over its worst quarter; and that cloud."""
    limits = msgspec.structs.replace(question.limits, outage="cloud", cloud_share_max={}, silicon_vendor_share_max={})
    failing = formulated(msgspec.structs.replace(question, limits=limits))
    bought: dict[Key, float] = {
        key: solution.values[column] for key, column in draft.program.columns.items() if isinstance(key, Buy | Rent)
    }
    solved = Solver(failing.program, failing.rounded).relaxed(fixed=failing.at(bought))
    lost: dict[tuple[str, int], float] = {}
    asked: dict[tuple[str, int], float] = {}
    for key, tokens, column in _urgent(failing):
        assert key.state.outage is not None
        at = key.state.outage, key.state.quarter
        lost[at] = lost.get(at, 0.0) + tokens * solved.values[column]
        if isinstance(key, Unserved):
            asked[at] = asked.get(at, 0.0) + tokens * failing.level(key.state, failing.ask.demands[key.demand])
    shares = {at: min(1.0, max(0.0, lost[at] / asked[at])) for at in lost if asked.get(at)}
    worst = max(shares, key=lambda at: shares[at], default=None)
    return (0.0, "") if worst is None else (shares[worst], worst[0])


def _urgent(draft: Draft) -> Iterator[tuple[Unserved | Excess, float, int]]:
    for key, column in draft.program.columns.items():
        if isinstance(key, Unserved | Excess) and key.state.outage is not None:
            yield key, draft.ask.demands[key.demand].tokens_per_s, column
