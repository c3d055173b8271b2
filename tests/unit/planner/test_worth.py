"""What things are worth agrees with what a plan with a little more, or one rule less, costs."""

from typing import Any

import msgspec
import pytest

from headrace.planner.alternatives import alternatives
from headrace.planner.day import HOURS_PER_QUARTER
from headrace.planner.demand import Case
from headrace.planner.offers import Limits, TokenOffer
from headrace.planner.planning import Planned, make_plan, relaxed_cost
from headrace.planner.sites import Instance
from headrace.planner.worth import Worth, usd, worths
from tests.unit.planner.questions import a_demand, a_place, a_question, a_vendor, an_offer

MANY = 1e6
"""Accelerators, so that quanta don't matter."""
QUARTER = Limits(quarters=1, blocks=2, utilisation=0.8)


def found(planned: Planned, about: str, what: str) -> Worth:
    return next(each for each in worths(planned) if (each.about, each.what) == (about, what))


def two_clouds(limits: Limits = QUARTER, **demand: Any) -> Instance:
    chat = a_demand("chat", **({"tokens_per_s": 1e9} | demand))
    places = (a_place(an_offer("a/one", usd=1.0)), a_place(an_offer("b/one", usd=2.0)))
    return a_question((chat,), places, {(0, 0): MANY, (1, 0): MANY}, limits=limits)


@pytest.mark.parametrize("waits", [False, True])
def test_one_more_token_costs_what_a_plan_with_one_more_does(waits: bool) -> None:
    question = two_clouds(deferrable=waits, hourly=tuple(0.5 if hour < 12 else 1.5 for hour in range(24)))
    planned = make_plan(question)
    worth = found(planned, "demand", "chat").usd
    more = msgspec.structs.replace(question.ask, cases=(Case(name="more", probability=1, demand={"*": 1.01}),))
    dearer = relaxed_cost(msgspec.structs.replace(question, ask=more)) - planned.relaxed.cost
    tokens = 0.01 * 1e9 * HOURS_PER_QUARTER * 3_600
    assert worth == pytest.approx(dearer / tokens * 1e6, rel=1e-6)


def test_a_point_of_a_clouds_share() -> None:
    limits = Limits(quarters=1, blocks=1, cloud_share_max={"a": 0.5})
    planned = make_plan(two_clouds(limits))
    wider = msgspec.structs.replace(limits, cloud_share_max={"a": 0.51})
    saved = planned.relaxed.cost - relaxed_cost(two_clouds(wider))
    assert found(planned, "share", "cloud a").usd == pytest.approx(saved, rel=0.03)


def test_an_accelerator_more_where_all_are_taken() -> None:
    places = (a_place(an_offer("a/one", usd=1.0, accelerators_max=100)), a_place(an_offer("b/one", usd=3.0)))
    question = a_question((a_demand(tokens_per_s=1e9),), places, {(0, 0): MANY, (1, 0): MANY}, limits=QUARTER)
    assert found(make_plan(question), "supply", "a/one/x on demand").usd == pytest.approx(2 * HOURS_PER_QUARTER)


def test_supply_of_a_silicon_power_and_carbon() -> None:
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, accelerators_max={"x": 100})
    places = (a_place(an_offer("a/one", "x", usd=1.0)), a_place(an_offer("b/one", "y", usd=3.0), kw=2.0, carbon=500.0))
    loads = {(0, 0): MANY, (1, 0): MANY}
    demands = (a_demand(tokens_per_s=1e9),)
    planned = make_plan(a_question(demands, places, loads, limits=limits))
    assert found(planned, "supply", "x, all places of any term").usd == pytest.approx(2 * HOURS_PER_QUARTER)
    kept = Limits(quarters=1, blocks=1, utilisation=1.0, power_kw_max={"a/one": 50})
    planned = make_plan(a_question(demands, places, loads, limits=kept))
    assert found(planned, "power", "a/one").usd == pytest.approx(2 * HOURS_PER_QUARTER)
    clean = Limits(quarters=1, blocks=1, utilisation=1.0, carbon_t_max=1.0)
    places = (places[1], a_place(an_offer("a/one", "x", usd=4.0)))
    planned = make_plan(a_question(demands, places, loads, limits=clean))
    assert found(planned, "carbon", "quarter 1").usd == pytest.approx(1.0 / (2.0 * 500e-6))


def test_contracts_rules_outages_and_lead_times_are_worth_the_difference() -> None:
    limits = Limits(quarters=2, blocks=1, utilisation=1.0, outage="region")
    places = (
        a_place(an_offer("a/one", term="reserved_1y", usd=0.5, lead_quarters=1), an_offer("a/one", usd=1.0), quarters=2),
        a_place(an_offer("b/one", usd=1.2), quarters=2),
    )
    bound = a_demand("bound", tokens_per_s=1e9, vendors=("b",), outage_unserved_max=0.5)
    chat = a_demand(tokens_per_s=1e9)
    loads = {(0, 0): 1_000.0, (1, 0): 1_000.0, (1, 1): 1_000.0}
    question = a_question((chat, bound), places, loads, limits=limits)
    planned = make_plan(question)
    none = msgspec.structs.replace(limits, outage="none")
    assert found(planned, "outage", "any region").usd == pytest.approx(
        planned.relaxed.cost - relaxed_cost(msgspec.structs.replace(question, limits=none))
    )
    free = planned.relaxed.cost - relaxed_cost(msgspec.structs.replace(question, loads=loads | {(0, 1): 1_000.0}))
    assert found(planned, "rule", "bound").usd == pytest.approx(free)
    assert found(planned, "lead", "lead times").usd > 0
    without = found(planned, "contract", "on_demand")
    assert "would turn away what it can serve now" in without.sentence
    assert found(planned, "contract", "reserved_1y").usd > 0


@pytest.mark.parametrize(
    ("amount", "said"), [(0.5, "$0.50"), (1_234, "$1,234"), (12_345, "$12.3k"), (1.5e6, "$1.5M"), (2.5e11, "$250B"), (-3e6, "-$3.0M")]
)
def test_dollars_for_people(amount: float, said: str) -> None:
    assert usd(amount) == said


def test_one_vendor_alone_bears_all_of_a_rise_and_two_alike_none() -> None:
    limits = Limits(quarters=1, blocks=1, utilisation=1.0)
    twins = (a_place(an_offer("a/one", usd=1.0)), a_place(an_offer("b/one", usd=1.0)))
    question = a_question((a_demand(tokens_per_s=1e9),), twins, {(0, 0): MANY, (1, 0): MANY}, limits=limits)
    beside = {each.only: each for each in alternatives(make_plan(question), kinds=("cloud",))}
    assert beside[""].lock_in == pytest.approx(0, abs=1e-6)
    for cloud in ("a", "b"):
        assert beside[cloud].lock_in == pytest.approx(1)
        assert beside[cloud].lost_share == pytest.approx(1)
        assert beside[cloud].lost_cloud == cloud


def test_a_rise_is_borne_as_far_as_the_next_best_is_dearer() -> None:
    """At 1.0 beside 1.2: of a rise by a half, a fifth is borne."""
    planned = make_plan(
        a_question(
            (a_demand(tokens_per_s=1e9),),
            (a_place(an_offer("a/one", usd=1.0)), a_place(an_offer("b/one", usd=1.2))),
            {(0, 0): MANY, (1, 0): MANY},
            limits=Limits(quarters=1, blocks=1),
        )
    )
    assert alternatives(planned)[0].lock_in == pytest.approx(0.2 / 0.5)


def test_what_a_vendor_alone_cannot_serve_is_told() -> None:
    offer = TokenOffer(cloud="v", model="m", input=1.0, output=1.0, tokens_per_s_max=250)
    question = a_question(
        (a_demand(),), (a_place(an_offer("a/one", usd=1.0)), a_vendor(offer)), {(0, 0): 1.0}, usd_per_s={(1, 0): 1_000 / 1e6}
    )
    beside = {each.only: each for each in alternatives(make_plan(question), kinds=("cloud",))}
    assert beside["v"].unserved_share == pytest.approx(0.75)


def test_what_is_held_keeps_its_price() -> None:
    question = a_question((a_demand(),), (a_place(an_offer(), held=5, held_usd=1.0),), {(0, 0): 1.0})
    assert alternatives(make_plan(question), kinds=())[0].lock_in == 0


def test_held_accelerators_that_break_a_limit_alone_are_no_plan() -> None:
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, carbon_t_max=1.0)
    places = (a_place(an_offer("a/one")), a_place(an_offer("b/one")))
    question = a_question((a_demand(),), places, {(0, 0): 1.0, (1, 0): 1.0}, limits=limits)
    assert all(each.plan is not None for each in alternatives(make_plan(question), kinds=("cloud",)))
