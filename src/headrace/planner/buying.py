"""What is bound for a term, and what is rented by the hour: columns with their costs, and what offers allow."""

from math import inf

from headrace.planner.draft import Draft
from headrace.planner.keys import Buy, Extra, Rent, State, Used
from headrace.planner.offers import Offer
from headrace.planner.sites import Place

RENT_WHOLE_MAX = 600
"""Up to so many columns, what is rented comes in whole quanta too; beyond, it is rounded up afterwards, which then matters little."""


def _rents(draft: Draft) -> int:
    return sum(1 for place in draft.question.places for offer in place.offers if not offer.committed) * len(draft.states)


def buy(draft: Draft, at: int, number: int, offer: Offer) -> None:
    """Paid from its start to the horizon's end or its own; of what comes after, the share that counts."""
    usd = _usd(draft, draft.question.places[at], offer)
    for quarter in range(offer.lead, draft.limits.quarters):
        inside = min(offer.length, draft.limits.quarters - quarter)
        after = offer.length - inside
        hours = draft.hours_per_quarter * (inside + draft.limits.tail_share * after)
        cost = usd * offer.size * hours * offer.take_or_pay
        upper = inf if offer.accelerators_max is None else offer.accelerators_max // offer.size
        column = draft.program.column(Buy(at, number, quarter), cost, upper=upper, whole=True)
        draft.money[column] = usd * offer.size * draft.hours_per_quarter * inside * offer.take_or_pay
    if offer.take_or_pay < 1:
        for state in draft.states:
            draft.program.column(Used(at, number, state))
        for case in range(len(draft.cases)):
            for quarter in range(draft.limits.quarters):
                draft.spend(Extra(at, number, quarter, case), usd, case)


def rent(draft: Draft, at: int, number: int, offer: Offer) -> None:
    usd, whole = _usd(draft, draft.question.places[at], offer), _rents(draft) <= RENT_WHOLE_MAX
    upper = inf if offer.accelerators_max is None else offer.accelerators_max / offer.size
    for state in draft.states:
        price = usd * draft.cases[state.case].price_factor(draft.question.places[at].cloud, state.quarter)
        cost = price * offer.size * draft.hours(state)
        draft.spend(Rent(at, number, state), cost, state.case, upper=upper, whole=whole)


def _usd(draft: Draft, place: Place, offer: Offer) -> float:
    """An accelerator-hour with the price on its carbon."""
    assert offer.usd_per_accelerator_hour is not None
    return offer.usd_per_accelerator_hour + place.kw * place.carbon_g_per_kwh / 1e6 * draft.limits.usd_per_carbon_t


def offer_rows(draft: Draft) -> None:
    for at, place in enumerate(draft.question.places):
        for number, offer in enumerate(place.offers):
            if not offer.committed:
                continue
            for quarter in range(draft.limits.quarters):
                active = draft.active(at, number, quarter)
                if offer.accelerators_max is not None and len(active) > 1:
                    terms = [(column, float(offer.size)) for column in active]
                    draft.program.row(("offer", at, number, quarter), terms, upper=float(offer.accelerators_max))
                if offer.take_or_pay < 1:
                    _paid_by_use(draft, at, number, offer, quarter, active)


def _paid_by_use(draft: Draft, at: int, number: int, offer: Offer, quarter: int, active: list[int]) -> None:
    for case in range(len(draft.cases)):
        used: list[tuple[int, float]] = []
        for block in range(len(draft.blocks)):
            state = State(quarter, case, block)
            column = draft.program.columns[Used(at, number, state)]
            bound = [(bought, -float(offer.size)) for bought in active]
            draft.program.row(("used", state, at, number), [(column, 1.0), *bound], upper=0.0)
            used.append((column, draft.hours(state)))
        anyway = [(bought, -offer.take_or_pay * offer.size * draft.hours_per_quarter) for bought in active]
        extra = (draft.program.columns[Extra(at, number, quarter, case)], -1.0)
        draft.program.row(("extra", quarter, case, at, number), [*used, *anyway, extra], upper=0.0)
