"""What things are worth, in words: one more unit at the margin, one rule relaxed, one kind of contract, one protection.

What a little more is worth are duals of the relaxed plan, in which quanta may be fractions: on a large fleet that differs by less than the
gap of the plan. What a whole rule is worth is the difference to the plan without it, both relaxed.
"""

from collections import defaultdict
from collections.abc import Iterator
from math import inf
from typing import Literal, TypeAlias

import msgspec

from headrace.planner.keys import Buy, Excess, Rent, State, Unserved
from headrace.planner.offers import Term
from headrace.planner.planning import Planned, relaxed_cost
from headrace.planner.sites import Instance
from headrace.planner.solver import Solution

About: TypeAlias = Literal["demand", "contract", "supply", "share", "outage", "rule", "lead", "power", "carbon"]
CENT = 0.005
TERM_WORDS: dict[Term, str] = {
    "owned": "accelerators of one's own",
    "reserved_3y": "three-year contracts",
    "reserved_1y": "one-year contracts",
    "on_demand": "accelerators on demand",
    "spot": "spot accelerators",
}


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence, and its figure in US dollars of whatever unit it names."""

    about: About
    what: str
    usd: float
    sentence: str


def worths(planned: Planned) -> tuple[Worth, ...]:
    """All that is worth a cent, by what it is about; within that, the most first."""
    found = [
        *_demands(planned),
        *_contracts(planned),
        *_supplies(planned),
        *_shares(planned),
        *_outages(planned),
        *_rules(planned),
        *_lead(planned),
        *_physical(planned),
    ]
    order: list[About] = ["demand", "contract", "supply", "share", "outage", "rule", "lead", "power", "carbon"]
    return tuple(sorted((each for each in found if abs(each.usd) >= CENT), key=lambda each: (order.index(each.about), -abs(each.usd))))


def usd(amount: float) -> str:
    """For people: 12.3 million as `$12.3M`."""
    sign, size = ("-" if amount < 0 else ""), abs(amount)
    for over, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if size >= over:
            return f"{sign}${size / (1e3 if unit == 'k' else over):,.{1 if size / over < 100 else 0}f}{unit}"
    return f"{sign}${size:,.2f}" if size < 100 else f"{sign}${size:,.0f}"


def _demands(planned: Planned) -> Iterator[Worth]:
    """What one more million tokens costs: each state's level raised a little, and what that adds."""
    draft, duals = planned.draft, planned.relaxed.duals
    for number, demand in enumerate(draft.ask.demands):
        added = tokens = 0.0
        for name, row in draft.program.rows.items():
            if name[0] == "serve" and name[2] == number:
                state = name[1]
                assert isinstance(state, State)
                added += duals[row] * draft.level(state, demand)
            elif name[0] == "volume" and name[3] == number:
                added += duals[row] * draft.program.row_lower[row]
        for state in draft.states:
            share = draft.cases[state.case].probability * draft.mean_share(state, demand)
            tokens += draft.level(state, demand) * demand.tokens_per_s * draft.hours(state) * 3_600 * share
        if tokens:
            each = added / tokens * 1e6
            yield Worth(
                about="demand",
                what=demand.title,
                usd=each,
                sentence=f"One more million tokens of {demand.title}, at its course over day and quarters, costs {_small(each)}.",
            )


def _small(amount: float) -> str:
    return usd(amount) if amount >= 1 else f"${amount:.3f}"


def _contracts(planned: Planned) -> Iterator[Worth]:
    draft = planned.draft
    terms = sorted({offer.term for place in planned.question.places for offer in place.offers})
    for term in terms:
        none = {
            column: 0.0
            for key, column in draft.program.columns.items()
            if isinstance(key, Buy | Rent) and planned.question.places[key.place].offers[key.offer].term == term
        }
        without = planned.solver.relaxed(none)
        more = _money(planned, without) - _money(planned, planned.relaxed)
        turned_away = without.cost - planned.relaxed.cost - more
        and_then = ", and would turn away what it can serve now" if turned_away > 0.01 * planned.relaxed.cost else ""
        yield Worth(
            about="contract",
            what=term,
            usd=more,
            sentence=f"Without {TERM_WORDS[term]} the plan would cost {usd(abs(more))} {'more' if more >= 0 else 'less'}{and_then}.",
        )


def _money(planned: Planned, solution: Solution) -> float:
    """Without what is held against what goes unserved."""
    return sum(amount * solution.values[column] for column, amount in planned.draft.money.items())


def _supplies(planned: Planned) -> Iterator[Worth]:
    """One more accelerator where all that is offered is taken."""
    draft, relaxed = planned.draft, planned.relaxed
    worth: dict[tuple[str, Term], float] = defaultdict(float)
    for key, column in draft.program.columns.items():
        if isinstance(key, Buy | Rent) and relaxed.reduced[column] < 0:
            place = planned.question.places[key.place]
            worth[place.name, place.offers[key.offer].term] -= relaxed.reduced[column] / place.offers[key.offer].size
    for name, row in draft.program.rows.items():
        if name[0] == "offer":
            place = planned.question.places[int(str(name[1]))]
            worth[place.name, place.offers[int(str(name[2]))].term] -= relaxed.duals[row]
        elif name[0] == "silicon":
            worth[f"{name[1]}, all places", "on_demand"] -= relaxed.duals[row]
    for (where, term), each in worth.items():
        how = "of any term" if where.endswith("all places") else term.replace("_", " ")
        yield Worth(
            about="supply",
            what=f"{where} {how}",
            usd=each,
            sentence=f"One more accelerator of {where}, {how}, is worth {usd(each)} over the plan.",
        )


def _shares(planned: Planned) -> Iterator[Worth]:
    for name, row in planned.draft.program.rows.items():
        if name[0] in ("cloud", "silicon vendor"):
            point = -planned.relaxed.duals[row] * 0.01 * planned.plan.usd
            yield Worth(
                about="share",
                what=f"{name[0]} {name[1]}",
                usd=point,
                sentence=f"Each percentage point by which {name[1]} may have more of what is spent saves {usd(point)}.",
            )


def _outages(planned: Planned) -> Iterator[Worth]:
    """What it costs that nobody who can't wait notices the loss of each place, and of any."""
    draft = planned.draft
    by_place: dict[str, dict[int, float]] = defaultdict(dict)
    for key, column in draft.program.columns.items():
        if isinstance(key, Unserved | Excess) and key.state.outage is not None:
            by_place[key.state.outage][column] = inf
    if not by_place:
        return
    everywhere = {column: inf for columns in by_place.values() for column in columns}
    saved = planned.relaxed.cost - planned.solver.relaxed(everywhere).cost
    yield Worth(
        about="outage",
        what=f"any {draft.limits.outage}",
        usd=saved,
        sentence=f"That nobody who can't wait notices the loss of any one {draft.limits.outage} costs {usd(saved)}.",
    )
    for outage, columns in sorted(by_place.items()):
        each = planned.relaxed.cost - planned.solver.relaxed(columns).cost
        yield Worth(
            about="outage",
            what=outage,
            usd=each,
            sentence=f"Of that, giving up the protection from losing {outage} alone would save {usd(each)}.",
        )


def _rules(planned: Planned) -> Iterator[Worth]:
    """What a demand's rule about places costs: the plan with that rule gone."""
    question = planned.question
    for number, demand in enumerate(question.ask.demands):
        if demand.jurisdictions is None and demand.vendors is None:
            continue
        free = _freed(question, number)
        if free is None:
            continue
        saved = planned.relaxed.cost - relaxed_cost(free)
        names = " and ".join(filter(None, (", ".join(demand.jurisdictions or ()), ", ".join(demand.vendors or ()))))
        yield Worth(about="rule", what=demand.title, usd=saved, sentence=f"That {demand.title} stays with {names} costs {usd(saved)}.")


def _freed(question: Instance, number: int) -> Instance | None:
    """The question with one demand allowed wherever its silicon can serve it, at the speed that it has elsewhere."""
    speeds = {question.places[at].silicon: load for (at, of), load in question.loads.items() if of == number}
    loads = dict(question.loads)
    for at, place in enumerate(question.places):
        if place.tokens is None and place.silicon in speeds:
            loads[at, number] = speeds[place.silicon]
    return None if len(loads) == len(question.loads) else msgspec.structs.replace(question, loads=loads)


def _lead(planned: Planned) -> Iterator[Worth]:
    """What it costs that things come late."""
    question = planned.question
    places = tuple(
        msgspec.structs.replace(place, offers=tuple(msgspec.structs.replace(offer, lead_quarters=0) for offer in place.offers))
        for place in question.places
    )
    if any(offer.lead for place in question.places for offer in place.offers):
        saved = planned.relaxed.cost - relaxed_cost(msgspec.structs.replace(question, places=places))
        yield Worth(
            about="lead",
            what="lead times",
            usd=saved,
            sentence=f"If everything could be had in the quarter it is ordered, {usd(saved)} would be saved.",
        )


def _physical(planned: Planned) -> Iterator[Worth]:
    power: dict[str, float] = defaultdict(float)
    for name, row in planned.draft.program.rows.items():
        if name[0] == "power":
            power[str(name[1])] -= planned.relaxed.duals[row]
        elif name[0] == "carbon":
            each = -planned.relaxed.duals[row]
            what = f"quarter {int(str(name[1])) + 1}"
            yield Worth(about="carbon", what=what, usd=each, sentence=f"One more tonne of carbon in {what} is worth {usd(each)}.")
    for region, each in power.items():
        yield Worth(about="power", what=region, usd=each, sentence=f"One more kilowatt in {region} is worth {usd(each)} over the plan.")
