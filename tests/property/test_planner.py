"""Laws of every plan, over random questions: what is asked is served or told, nothing is used twice, and more costs no less."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.planner.demand import Case, Demand
from headrace.planner.keys import Flow, Unserved
from headrace.planner.offers import Limits, Term
from headrace.planner.planning import Effort, Planned, make_plan, relaxed_cost
from headrace.planner.sites import Instance
from tests.unit.planner.questions import a_demand, a_place, a_question, an_offer

AMOUNTS = st.floats(0.5, 40).map(lambda each: round(each, 2))
TERMS: tuple[Term, ...] = ("reserved_1y", "on_demand", "spot")
CURVES = st.sampled_from(["flat", "office", "consumer", "agents"])


@st.composite
def questions(draw: st.DrawFn) -> Instance:
    regions = draw(st.lists(st.sampled_from(["a/one", "a/two", "b/one", "c/one"]), min_size=1, max_size=4, unique=True))
    places = tuple(
        a_place(
            *(
                an_offer(
                    region,
                    term=term,
                    usd=round(draw(st.floats(0.2, 4)), 2),
                    quantum=draw(st.sampled_from([1, 4, 8])),
                    accelerators_max=draw(st.sampled_from([None, 16, 64])),
                    lead_quarters=draw(st.integers(0, 1)) if term == "reserved_1y" else 0,
                    take_or_pay=draw(st.sampled_from([1.0, 0.6])),
                )
                for term in draw(st.lists(st.sampled_from(TERMS), min_size=1, max_size=3, unique=True))
            ),
            quarters=2,
            held=draw(st.sampled_from([0.0, 8.0])),
        )
        for region in regions
    )
    demands = tuple(_demand(draw, number) for number in range(draw(st.integers(1, 3))))
    loads = {(at, number): draw(AMOUNTS) for at in range(len(places)) for number in range(len(demands)) if draw(st.booleans())}
    limits = Limits(
        quarters=2,
        blocks=2,
        outage=draw(st.sampled_from(["none", "region", "cloud"])),
        spot_share_max=draw(st.sampled_from([0.0, 0.5])),
        risk_share=draw(st.sampled_from([0.0, 0.5])),
    )
    cases = (Case(name="same", probability=2.0), Case(name="more", probability=1.0, demand={"*": draw(st.floats(1, 2))}, prices={"a": 1.3}))
    return a_question(demands, places, loads, limits=limits, cases=cases)


def _demand(draw: st.DrawFn, number: int) -> Demand:
    kind = draw(st.sampled_from(["realtime", "agentic", "batch"]))
    return a_demand(f"d{number}", traffic_class=kind, curve=draw(CURVES), growth_per_quarter=draw(st.floats(0, 0.5)), tokens_per_s=1e5)


def _asked(planned: Planned, number: int) -> dict[object, float]:
    """What is served and told unserved of a demand in each state."""
    found: dict[object, float] = {}
    for key, column in planned.draft.program.columns.items():
        if isinstance(key, Flow | Unserved) and key.demand == number and key.state.outage is None:
            found[key.state] = found.get(key.state, 0.0) + planned.solution.values[column]
    return found


@given(question=questions())
def test_all_that_is_asked_is_served_or_told(question: Instance) -> None:
    planned = make_plan(question)
    draft = planned.draft
    for number, demand in enumerate(question.ask.demands):
        found = _asked(planned, number)
        if demand.may_wait:
            for quarter in range(2):
                for case in range(len(draft.cases)):
                    states = [state for state in draft.states if (state.quarter, state.case) == (quarter, case)]
                    asked = sum(draft.level(state, demand) for state in states)
                    assert sum(found[state] for state in states) == pytest.approx(asked, rel=1e-6)
        else:
            for state in draft.states:
                assert found[state] == pytest.approx(draft.level(state, demand), rel=1e-6)


@given(question=questions())
def test_no_accelerator_is_used_twice(question: Instance) -> None:
    planned = make_plan(question)
    draft, values = planned.draft, planned.solution.values
    for state in draft.states:
        for at in range(len(question.places)):
            used = sum(
                values[column] * question.loads[at, number]
                for number in range(len(question.ask.demands))
                if (at, number) in question.loads
                for column, _ in draft.flows(state, number, [at])
            )
            terms, held = draft.there(state, at, firm=False)
            assert used <= held + sum(values[column] * there for column, there in terms) + 1e-4


@given(question=questions())
def test_quanta_are_whole_and_cost_no_less_than_fractions(question: Instance) -> None:
    planned = make_plan(question, Effort(gap=1e-4))
    assert planned.plan.outcome == "optimal"
    assert planned.solution.cost >= planned.relaxed.cost * (1 - 1e-6)
    for bought in planned.plan.purchases:
        assert bought.accelerators == bought.quanta * (bought.accelerators // bought.quanta)
    assert 0 <= planned.plan.gap <= 1e-3


@given(question=questions(), factor=st.floats(1.01, 2))
def test_more_demand_costs_no_less(question: Instance, factor: float) -> None:
    more = tuple(msgspec.structs.replace(demand, tokens_per_s=demand.tokens_per_s * factor) for demand in question.ask.demands)
    grown = msgspec.structs.replace(
        question,
        ask=msgspec.structs.replace(question.ask, demands=more),
        loads={key: load * factor for key, load in question.loads.items()},
    )
    assert relaxed_cost(grown) >= relaxed_cost(question) * (1 - 1e-6)


@given(question=questions())
def test_a_plan_is_the_same_twice(question: Instance) -> None:
    assert msgspec.json.encode(make_plan(question).plan) == msgspec.json.encode(make_plan(question).plan)


@given(question=questions())
def test_money_is_spent_somewhere(question: Instance) -> None:
    plan = make_plan(question).plan
    for paid in plan.spend.values():
        assert sum(paid.values()) == pytest.approx(plan.usd, rel=1e-6, abs=1e-3)
    served = {(serving.demand, serving.quarter): 0.0 for serving in plan.servings}
    for serving in plan.servings:
        served[serving.demand, serving.quarter] += serving.share
    assert all(share <= 1 + 1e-6 for share in served.values())
