"""The limits of a plan: shares of what is spent, supply, power, carbon, and the weight of the dearest cases."""

from collections.abc import Callable, Mapping
from math import inf

from headrace.planner.draft import Draft
from headrace.planner.keys import RowKey, State, Tail
from headrace.planner.sites import Place


def share_rows(draft: Draft) -> None:
    """No cloud, and no maker of silicon, gets more than its share of all that is spent."""
    places = draft.question.places
    payees = {column: places[at] for key, column in draft.program.columns.items() if (at := draft.place_of(key)) is not None}
    caps: tuple[tuple[str, Mapping[str, float], Callable[[Place], str]], ...] = (
        ("cloud", draft.limits.cloud_share_max, lambda place: place.cloud),
        ("silicon vendor", draft.limits.silicon_vendor_share_max, lambda place: place.silicon_vendor),
    )
    for name, shares, of in caps:
        names = {of(place) for place in places}
        for each in sorted(names & shares.keys() if "*" not in shares else names):
            most = shares.get(each, shares.get("*", 1.0))
            if most >= 1:
                continue
            held = sum(
                (float(of(place) == each) - most) * usd * draft.hours_per_quarter for place in places for usd in place.held_usd_per_hour
            )
            terms = [(column, usd * (float(of(payees[column]) == each) - most)) for column, usd in draft.money.items() if column in payees]
            draft.program.row((name, each), terms, upper=-held)


def physical_rows(draft: Draft) -> None:
    """Supply of silicon, power of places, carbon of quarters."""
    for state in draft.states:
        for silicon, most in draft.limits.accelerators_max.items():
            inside = [at for at, place in enumerate(draft.question.places) if place.silicon == silicon]
            _standing(draft, ("silicon", silicon, state), state, inside, lambda _: 1.0, most)
        for region, kw in draft.limits.power_kw_max.items():
            inside = [at for at, place in enumerate(draft.question.places) if f"{place.cloud}/{place.region}" == region]
            _standing(draft, ("power", region, state), state, inside, lambda place: place.kw, kw)
    if draft.limits.carbon_t_max is not None:
        for quarter in range(draft.limits.quarters):
            _carbon(draft, quarter, draft.limits.carbon_t_max)


def _standing(draft: Draft, key: RowKey, state: State, inside: list[int], weight: Callable[[Place], float], most: float) -> None:
    places = draft.question.places
    terms = [(column, value * weight(places[at])) for at in inside for column, value in draft.held_terms(state, at)]
    held = sum(places[at].held[state.quarter] * weight(places[at]) for at in inside)
    if terms:
        draft.program.row(key, terms, upper=max(0.0, most - held))


def _carbon(draft: Draft, quarter: int, most_t: float) -> None:
    terms: dict[int, float] = {}
    held = 0.0
    for state in (state for state in draft.states if state.quarter == quarter):
        weight = draft.cases[state.case].probability * draft.hours(state)
        for at, place in enumerate(draft.question.places):
            tonnes = weight * place.kw * place.carbon_g_per_kwh / 1e6
            held += tonnes * place.held[quarter]
            for column, value in draft.held_terms(state, at):
                terms[column] = terms.get(column, 0.0) + value * tonnes
    draft.program.row(("carbon", quarter), terms.items(), upper=max(0.0, most_t - held))


def tail_rows(draft: Draft) -> None:
    """The mean of the dearest cases: a threshold, and what each case is above it."""
    if not draft.risk:
        return
    threshold = draft.program.column(Tail(None), draft.risk, lower=-inf)
    for number, case in enumerate(draft.cases):
        weight = draft.risk * case.probability / draft.limits.risk_tail
        above = draft.program.column(Tail(number), weight)
        costs = [(column, -cost) for column, cost in draft.recourse[number]]
        draft.program.row(("tail", number), [(above, 1.0), (threshold, 1.0), *costs], lower=0.0)
