"""Who serves what: flows from places to demands, what goes unserved, and the room that each place has."""

from math import inf

from headrace.planner.demand import Demand
from headrace.planner.draft import Draft
from headrace.planner.keys import Excess, Flow, Spent, State, Unserved

EXCESS = 10.0
"""What goes unserved beyond what may at an outage is dearer by so much: a limit that yields only where it must."""


def serve_columns(draft: Draft, state: State) -> None:
    for (at, demand), _ in draft.question.loads.items():
        asked = draft.ask.demands[demand]
        if draft.gone(state, draft.question.places[at]) or (state.outage is not None and asked.may_wait):
            continue
        slices = asked.slices
        draft.program.column(Flow(state, at, demand), upper=inf if slices is None else slices, whole=slices is not None)
    for (at, demand), usd in draft.question.usd_per_s.items():
        asked = draft.ask.demands[demand]
        if draft.gone(state, draft.question.places[at]) or (state.outage is not None and asked.may_wait):
            continue
        if state.outage is not None:
            draft.program.column(Flow(state, at, demand))
            continue
        factor = draft.cases[state.case].price_factor(draft.question.places[at].cloud, state.quarter)
        cost = usd * factor * draft.hours(state) * 3_600 * draft.mean_share(state, asked) * draft.unit(asked, state)
        draft.spend(Flow(state, at, demand), cost, state.case, upper=asked.slices or inf, whole=asked.slices is not None)
    for demand, asked in enumerate(draft.ask.demands):
        _unserved_columns(draft, state, demand, asked)


def _unserved_columns(draft: Draft, state: State, demand: int, asked: Demand) -> None:
    seconds = draft.hours(state) * 3_600
    usd = asked.unserved_usd * asked.tokens_per_s / 1e6 * seconds
    if state.outage is None:
        probability = draft.cases[state.case].probability
        column = draft.program.column(Unserved(state, demand), usd * probability * (1 - draft.risk))
        draft.recourse[state.case].append((column, usd))
    elif not asked.may_wait:
        draft.program.column(Unserved(state, demand), upper=asked.unserved_max * draft.level(state, asked))
        draft.program.column(Excess(state, demand), usd * EXCESS)


def serve(draft: Draft, state: State, demand: int, asked: Demand, places: list[int]) -> None:
    level = draft.level(state, asked)
    terms = [*draft.flows(state, demand, places), (draft.program.columns[Unserved(state, demand)], 1.0)]
    if state.outage is not None:
        terms.append((draft.program.columns[Excess(state, demand)], 1.0))
    draft.program.row(("serve", state, demand), terms, lower=level, upper=level)


def volumes(draft: Draft, demand: int, asked: Demand, places: list[int]) -> None:
    for quarter in range(draft.limits.quarters):
        for case in range(len(draft.cases)):
            _volume(draft, quarter, case, demand, asked, places)


def _volume(draft: Draft, quarter: int, case: int, demand: int, asked: Demand, places: list[int]) -> None:
    terms: list[tuple[int, float]] = []
    volume = 0.0
    for block in range(len(draft.blocks)):
        state = State(quarter, case, block)
        hours = draft.hours(state) / draft.hours_per_quarter
        terms += [(column, value * hours) for column, value in draft.flows(state, demand, places)]
        terms.append((draft.program.columns[Unserved(state, demand)], hours))
        volume += hours * draft.level(state, asked)
    draft.program.row(("volume", quarter, case, demand), terms, lower=volume, upper=volume)


def capacity(draft: Draft, state: State, at: int, demands: list[int]) -> None:
    """Two rows: what can't wait leaves headroom and relies on no spot; all together fill what is there."""
    if draft.gone(state, draft.question.places[at]):
        return
    loads = [(demand, draft.question.loads[at, demand]) for demand in demands]
    waiting = [each for each in loads if draft.ask.demands[each[0]].may_wait]
    firm = [each for each in loads if not draft.ask.demands[each[0]].may_wait]
    if firm:
        _room(draft, "wait", state, at, firm, draft.question.utilisation[at], firm=True)
    if state.outage is None and (waiting or _trainable(draft, at)):
        _room(draft, "room", state, at, loads, max(draft.limits.utilisation_deferrable, draft.question.utilisation[at]), firm=False)


def _trainable(draft: Draft, at: int) -> bool:
    return any(place == at for place, _ in draft.question.trains)


def _room(draft: Draft, name: str, state: State, at: int, loads: list[tuple[int, float]], share: float, *, firm: bool) -> None:
    terms: list[tuple[int, float]] = []
    for demand, load in loads:
        column = draft.program.columns.get(Flow(state, at, demand))
        if column is not None:
            terms.append((column, load * draft.unit(draft.ask.demands[demand], state)))
    if not firm:
        terms += draft.gangs(state, at)
    there, held = draft.there(state, at, firm=firm)
    terms += [(column, -value * share) for column, value in there]
    draft.program.row((name, state, at), terms, upper=held * share)


def token_rows(draft: Draft) -> None:
    """What a vendor can serve at most, and the least that it is paid."""
    for at, place in enumerate(draft.question.places):
        if place.tokens is None:
            continue
        demands = [demand for where, demand in draft.question.usd_per_s if where == at]
        most = place.tokens.tokens_per_s_max
        for state in (*draft.states, *draft.outages):
            terms = [
                (column, value * draft.ask.demands[demand].tokens_per_s)
                for demand in demands
                for column, value in draft.flows(state, demand, [at])
            ]
            if most is not None and terms:
                draft.program.row(("tokens", state, at), terms, upper=most)
        if place.tokens.usd_per_quarter_min > 0:
            _minimum(draft, at, demands, place.tokens.usd_per_quarter_min)


def _minimum(draft: Draft, at: int, demands: list[int], least: float) -> None:
    for quarter in range(draft.limits.quarters):
        for case in range(len(draft.cases)):
            columns = (
                draft.program.columns[Flow(State(quarter, case, block), at, d)] for d in demands for block in range(len(draft.blocks))
            )
            bill = [(column, draft.money[column] / draft.cases[case].probability) for column in columns]
            spent = (draft.program.columns[Spent(at, quarter, case)], 1.0)
            draft.program.row(("minimum", quarter, case, at), [*bill, spent], lower=least)
