"""The plan as a mixed-integer program.

    minimise   (1 - r) Σ_w p_w cost_w + r · CVaR_τ(cost_w)          money, and a price on what goes unserved

    serve      Σ_i x[s,i,d] + unserved[s,d] = level[s,d]            each state, each demand that can't wait
    volume     Σ_b hours_b (Σ_i x[s,i,d] + unserved) = volume       each quarter and case, each demand that can
    wait       Σ_d load[i,d] x[s,i,d] ≤ ρ_i (bound + rented)        each state and place, over what can't wait
    room       the same over everything, with training, ≤ ρ' (bound + rented + spot)

A state is a quarter, a case and a block of the day; at an outage, a quarter in the likeliest case with one place gone. What is bound
(`Buy`) comes in whole quanta before the case is known; what is rented by the hour (`Rent`) follows the state, but not an outage: what isn't
held elsewhere by then is not to be had. Flows are multiples of a demand's mean.
"""

from headrace.planner import buying, limits, serving, training
from headrace.planner.draft import Draft
from headrace.planner.keys import Spent
from headrace.planner.sites import Instance


def formulated(question: Instance) -> Draft:
    """The question as a program."""
    draft = Draft(question)
    _columns(draft)
    _rows(draft)
    return draft


def _columns(draft: Draft) -> None:
    for at, place in enumerate(draft.question.places):
        for number, offer in enumerate(place.offers):
            if offer.committed:
                buying.buy(draft, at, number, offer)
            else:
                buying.rent(draft, at, number, offer)
        if place.tokens is not None and place.tokens.usd_per_quarter_min > 0:
            for case in range(len(draft.cases)):
                for quarter in range(draft.limits.quarters):
                    draft.spend(Spent(at, quarter, case), 1.0, case)
    for state in (*draft.states, *draft.outages):
        serving.serve_columns(draft, state)
    for job in range(len(draft.ask.training)):
        training.training_columns(draft, job)


def _rows(draft: Draft) -> None:
    demands_at: dict[int, list[int]] = {at: [] for at, _ in draft.question.trains}
    for at, demand in draft.question.loads:
        demands_at.setdefault(at, []).append(demand)
    places_of: dict[int, list[int]] = {}
    for at, demand in [*draft.question.loads, *draft.question.usd_per_s]:
        places_of.setdefault(demand, []).append(at)
    for state in (*draft.states, *draft.outages):
        for demand, asked in enumerate(draft.ask.demands):
            if not asked.may_wait:
                serving.serve(draft, state, demand, asked, places_of.get(demand, []))
        for at, demands in demands_at.items():
            serving.capacity(draft, state, at, demands)
    for demand, asked in enumerate(draft.ask.demands):
        if asked.may_wait:
            serving.volumes(draft, demand, asked, places_of.get(demand, []))
    for job in range(len(draft.ask.training)):
        training.training_rows(draft, job)
    buying.offer_rows(draft)
    serving.token_rows(draft)
    limits.share_rows(draft)
    limits.physical_rows(draft)
    limits.tail_rows(draft)
