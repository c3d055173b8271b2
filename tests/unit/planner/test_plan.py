"""What a plan buys, as small stories of which a person knows the end."""

from typing import Any

import pytest

from headrace.planner.day import HOURS_PER_QUARTER
from headrace.planner.demand import Case, Training
from headrace.planner.offers import Limits, TokenOffer
from headrace.planner.plan import Plan
from headrace.planner.planning import Effort, make_plan
from headrace.planner.sites import Instance
from headrace.planner.solver import Infeasible
from tests.unit.planner.questions import HOUR, a_demand, a_place, a_question, a_vendor, an_offer

YEAR = Limits(quarters=4, blocks=1, utilisation=1.0, utilisation_deferrable=1.0)
DAY = Limits(quarters=1, blocks=2, utilisation=1.0, utilisation_deferrable=1.0)
NIGHTS = tuple(0.5 if hour < 12 else 1.5 for hour in range(24))
"""Half as much in the first half of the day, half again in the second."""


def planned(question: Instance) -> Plan:
    return make_plan(question, Effort(gap=0.0)).plan


def an_hour(plan: Plan) -> float:
    """Dollars an hour, on average over the plan."""
    return plan.usd / HOURS_PER_QUARTER / plan.quarters


def test_steady_demand_is_bound_and_peaks_are_rented() -> None:
    """Bound at 0.6 of the price by the hour pays where more than six tenths of the hours are used: ten always, ten half of the day."""
    chat = a_demand(hourly=NIGHTS, tokens_per_s=1e6)
    place = a_place(an_offer(term="reserved_1y", usd=0.6), an_offer(usd=1.0))
    plan = planned(a_question((chat,), (place,), {(0, 0): 20.0}, limits=DAY))
    assert [bought.accelerators for bought in plan.purchases] == [10]
    assert [(rented.accelerators_mean, rented.accelerators_max) for rented in plan.rentals] == [(10, 20)]
    assert an_hour(plan) == pytest.approx(10 * 0.6 + 10 * 1.0)


def test_what_can_wait_fills_the_nights() -> None:
    """Bound for the peak, the accelerators idle half the day: a batch of just that much costs nothing more."""
    chat = a_demand(hourly=NIGHTS, tokens_per_s=1e6)
    batch = a_demand("batch", traffic_class="batch", tokens_per_s=1e6)
    place = a_place(an_offer(term="reserved_1y", usd=0.6))
    alone = planned(a_question((chat,), (place,), {(0, 0): 20.0}, limits=DAY))
    both = planned(a_question((chat, batch), (place,), {(0, 0): 20.0, (0, 1): 10.0}, limits=DAY))
    assert both.usd == pytest.approx(alone.usd)
    assert not both.shortfalls


def test_an_order_comes_after_its_lead_time() -> None:
    place = a_place(an_offer(term="owned", usd=0.1, lead_quarters=2), an_offer(usd=1.0), quarters=4)
    plan = planned(a_question((a_demand(),), (place,), {(0, 0): 1.0}, limits=YEAR))
    assert [(bought.quarter, bought.order_quarter) for bought in plan.purchases] == [(2, 0)]
    assert [rented.quarter for rented in plan.rentals] == [0, 1]


def test_a_term_binds_beyond_what_is_needed() -> None:
    """Demand that is gone after a quarter: a year of 0.3 costs more than a quarter by the hour at 1.0."""
    gone = Case(name="gone", probability=1, demand={"*": 0.0}, from_quarter=1)
    place = a_place(an_offer(term="reserved_1y", usd=0.3), an_offer(usd=1.0), quarters=4)
    plan = planned(a_question((a_demand(),), (place,), {(0, 0): 1.0}, limits=YEAR, cases=(gone,)))
    assert not plan.purchases
    assert plan.usd == pytest.approx(HOURS_PER_QUARTER)


@pytest.mark.parametrize(("tail", "term"), [(0.0, "reserved_3y"), (1.0, "on_demand")])
def test_what_is_owed_after_the_plan_counts_as_far_as_it_is_said_to(tail: float, term: str) -> None:
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, tail_share=tail)
    place = a_place(an_offer(term="reserved_3y", usd=0.5), an_offer(usd=1.0))
    plan = planned(a_question((a_demand(),), (place,), {(0, 0): 1.0}, limits=limits))
    assert next(iter(plan.spend["term"])) == term
    assert plan.usd_after == (pytest.approx(0.5 * 11 * HOURS_PER_QUARTER) if term == "reserved_3y" else 0)


def test_take_or_pay() -> None:
    """Half of the hours are paid anyway, the others when used: thirty at the peak cost what twenty all the time would."""
    chat = a_demand(hourly=NIGHTS, tokens_per_s=1e6)
    place = a_place(an_offer(term="reserved_1y", usd=1.0, take_or_pay=0.5), an_offer(usd=1.4))
    plan = planned(a_question((chat,), (place,), {(0, 0): 20.0}, limits=DAY))
    assert sum(bought.accelerators for bought in plan.purchases) >= 30
    assert an_hour(plan) == pytest.approx(20.0)


def test_no_cloud_gets_more_than_its_share() -> None:
    places = (a_place(an_offer("a/one", usd=1.0)), a_place(an_offer("b/one", usd=2.0)))
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, cloud_share_max={"a": 0.5})
    plan = planned(a_question((a_demand(tokens_per_s=1e6),), places, {(0, 0): 300.0, (1, 0): 300.0}, limits=limits))
    assert plan.spend["cloud"]["a"] <= 0.5 * plan.usd * 1.001
    assert an_hour(plan) == pytest.approx(400, rel=0.01)


def test_no_maker_of_silicon_gets_more_than_its_share() -> None:
    places = (a_place(an_offer("a/one", "x", usd=1.0)), a_place(an_offer("a/one", "y", usd=3.0)))
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, silicon_vendor_share_max={"*": 0.75})
    plan = planned(a_question((a_demand(tokens_per_s=1e6),), places, {(0, 0): 300.0, (1, 0): 300.0}, limits=limits))
    assert plan.spend["silicon vendor"]["maker of x"] == pytest.approx(0.75 * plan.usd, rel=0.02)


@pytest.mark.parametrize(
    ("outage", "hourly"), [("none", 12.0), ("region", 18.0), ("cloud", 24.0)], ids=["nothing fails", "a region", "a cloud"]
)
def test_the_loss_of_a_place_goes_unnoticed(outage: str, hourly: float) -> None:
    """Three places of two clouds for twelve accelerators: of three regions any two must hold twelve, of two clouds each alone."""
    places = tuple(a_place(an_offer(name, usd=1.0)) for name in ("a/one", "a/two", "b/one"))
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, outage=outage)  # type: ignore[arg-type]
    plan = planned(a_question((a_demand(),), places, {(at, 0): 12.0 for at in range(3)}, limits=limits))
    assert an_hour(plan) == pytest.approx(hourly)
    assert not plan.shortfalls


def test_what_may_fail_with_a_place_is_not_held_twice() -> None:
    places = (a_place(an_offer("a/one")), a_place(an_offer("b/one")))
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, outage="region")
    half = a_demand(outage_unserved_max=0.5)
    plan = planned(a_question((half,), places, {(0, 0): 10.0, (1, 0): 10.0}, limits=limits))
    assert an_hour(plan) == pytest.approx(10)
    assert all(short.share <= short.allowed == 0.5 for short in plan.shortfalls if short.outage)


def test_where_protection_is_not_to_be_had_the_plan_says_so() -> None:
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, outage="region")
    plan = planned(a_question((a_demand(),), (a_place(an_offer()),), {(0, 0): 1.0}, limits=limits))
    (short,) = plan.shortfalls
    assert (short.outage, short.allowed) == ("a/one", 0.0)
    assert short.share == pytest.approx(1.0)


def test_headroom() -> None:
    limits = Limits(quarters=1, blocks=1, utilisation=0.5)
    assert an_hour(planned(a_question((a_demand(),), (a_place(an_offer()),), {(0, 0): 4.0}, limits=limits))) == pytest.approx(8)


@pytest.mark.parametrize(("share", "hourly"), [(0.0, 10.0), (0.5, 4.0 / 0.5)])
def test_spot_counts_for_those_who_cannot_wait_as_far_as_it_may(share: float, hourly: float) -> None:
    place = a_place(an_offer(usd=1.0), an_offer(term="spot", usd=0.4, available=1.0))
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, spot_share_max=share)
    assert an_hour(planned(a_question((a_demand(),), (place,), {(0, 0): 10.0}, limits=limits))) == pytest.approx(hourly)


def test_those_who_can_wait_run_on_spot_that_is_there_some_of_the_time() -> None:
    place = a_place(an_offer(usd=1.0), an_offer(term="spot", usd=0.4, available=0.5))
    batch = a_demand("batch", traffic_class="batch")
    assert an_hour(planned(a_question((batch,), (place,), {(0, 0): 10.0}))) == pytest.approx(8.0)


def test_supply_power_and_what_is_turned_away() -> None:
    """Ten are asked for; seven can be had, five of them by the kilowatts: half is turned away at its price."""
    place = a_place(an_offer(accelerators_max=7), kw=2.0)
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, power_kw_max={"a/one": 10})
    plan = planned(a_question((a_demand(),), (place,), {(0, 0): 10.0}, limits=limits))
    assert plan.shortfalls[0].share == pytest.approx(0.5)
    assert plan.kw_max == {"a/one": 10}
    assert plan.usd_unserved == pytest.approx(0.5 * 1_000 * 3_600 * HOURS_PER_QUARTER * 100 / 1e6)
    assert plan.usd == pytest.approx(5 * HOURS_PER_QUARTER)


def test_supply_of_a_silicon_everywhere() -> None:
    places = (a_place(an_offer("a/one", usd=1.0)), a_place(an_offer("b/one", usd=1.0)), a_place(an_offer("a/one", "y", usd=5.0)))
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, accelerators_max={"x": 4})
    plan = planned(a_question((a_demand(),), places, {(at, 0): 10.0 for at in range(3)}, limits=limits))
    assert an_hour(plan) == pytest.approx(4 + 6 * 5)


def test_carbon_has_a_cap_or_a_price() -> None:
    """A clean place for 1.5 and a dirty one for 1.0: cleaned by a cap, or by $2,000 a tonne on half a kilogram an hour."""
    places = (a_place(an_offer("a/dirty", usd=1.0), carbon=500.0), a_place(an_offer("b/clean", usd=1.5), carbon=10.0))
    loads = {(0, 0): 10.0, (1, 0): 10.0}
    dirty = 10 * 500e-6 * HOURS_PER_QUARTER

    def under(**limits: Any) -> Plan:
        return planned(a_question((a_demand(),), places, loads, limits=Limits(quarters=1, blocks=1, utilisation=1.0, **limits)))

    assert under().carbon_t == pytest.approx(dirty)
    assert under(carbon_t_max=dirty / 2).carbon_t <= dirty / 2
    assert list(under(usd_per_carbon_t=2_000).spend["cloud"]) == ["b"]


def test_what_is_held_is_used_first_and_counts() -> None:
    place = a_place(an_offer(usd=2.0), held=6, held_usd=1.0)
    plan = planned(a_question((a_demand(),), (place,), {(0, 0): 10.0}))
    assert plan.usd_held == pytest.approx(6 * HOURS_PER_QUARTER)
    assert an_hour(plan) == pytest.approx(6 + 4 * 2)


def test_tokens_are_bought_where_accelerators_would_stand_idle() -> None:
    offer = TokenOffer(cloud="v", model="m", input=1.0, output=1.0)
    question = a_question(
        (a_demand(tokens_per_s=100.0),), (a_place(an_offer(usd=5.0)), a_vendor(offer)), {(0, 0): 0.01}, usd_per_s={(1, 0): 100 / 1e6}
    )
    plan = planned(question)
    assert an_hour(plan) == pytest.approx(100 * 3_600 / 1e6)
    assert plan.servings[0].place == "v/tokens"


def test_a_vendors_least_is_paid_and_its_most_is_kept_to() -> None:
    """Of 1,000 tokens a second it sells 400 at $1 a million, and is owed $10,000 a quarter all the same."""
    offer = TokenOffer(cloud="v", model="m", input=1.0, output=1.0, tokens_per_s_max=400, usd_per_quarter_min=10_000)
    question = a_question((a_demand(),), (a_place(an_offer(usd=9.0)), a_vendor(offer)), {(0, 0): 1.0}, usd_per_s={(1, 0): 1_000 / 1e6})
    plan = planned(question)
    assert plan.spend["cloud"]["v"] == pytest.approx(10_000)
    assert {serving.place: serving.share for serving in plan.servings}["v/tokens"] <= 0.4


def test_cases_hedge() -> None:
    """Doubling is likely enough that the second half is rented when it comes, and not bound before."""
    cases = (Case(name="same", probability=0.7), Case(name="double", probability=0.3, demand={"*": 2.0}))
    place = a_place(an_offer(term="reserved_1y", usd=0.6), an_offer(usd=1.0))
    plan = planned(a_question((a_demand(),), (place,), {(0, 0): 10.0}, cases=cases))
    assert [bought.accelerators for bought in plan.purchases] == [10]
    assert plan.usd_by_case == {
        "same": pytest.approx(6 * HOURS_PER_QUARTER),
        "double": pytest.approx(16 * HOURS_PER_QUARTER),
    }
    assert an_hour(plan) == pytest.approx(6 + 0.3 * 10)


def test_who_fears_the_dear_case_binds_more() -> None:
    cases = (Case(name="same", probability=0.7), Case(name="double", probability=0.3, demand={"*": 2.0}))
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, risk_share=0.9, risk_tail=0.3)
    place = a_place(an_offer(term="reserved_1y", usd=0.6), an_offer(usd=1.0))
    plan = planned(a_question((a_demand(),), (place,), {(0, 0): 10.0}, cases=cases, limits=limits))
    assert [bought.accelerators for bought in plan.purchases] == [20]
    assert plan.usd_by_case["double"] == pytest.approx(plan.usd_by_case["same"])


def test_a_vendor_that_raises_its_prices_is_left() -> None:
    cases = (Case(name="same", probability=0.5), Case(name="dear", probability=0.5, prices={"a": 3.0}))
    places = (a_place(an_offer("a/one", usd=1.0)), a_place(an_offer("b/one", usd=2.0)))
    plan = planned(a_question((a_demand(),), places, {(0, 0): 1.0, (1, 0): 1.0}, cases=cases))
    assert an_hour(plan) == pytest.approx(0.5 * 1 + 0.5 * 2)


def a_job(**fields: object) -> Training:
    given: dict[str, object] = {"name": "job", "accelerator_hours": 4 * HOURS_PER_QUARTER / 2, "silicon": {"x": 1.0}, "gang": 4}
    return Training(**(given | {"checkpoint_share": 0.0, "pause_hours": 0.0} | fields))  # type: ignore[arg-type]


def test_training_runs_where_serving_leaves_room() -> None:
    """Twenty are bound for the peak, ten idle by night: a gang of four through half of the hours costs nothing more."""
    chat = a_demand(hourly=NIGHTS, tokens_per_s=1e6)
    place = a_place(an_offer(term="reserved_1y", usd=0.6))
    question = a_question((chat,), (place,), {(0, 0): 20.0}, limits=DAY, training=(a_job(),), trains={(0, 0): 1.0})
    plan = planned(question)
    assert sum(bought.accelerators for bought in plan.purchases) == 30
    assert plan.trained[0].share == pytest.approx(1)
    assert plan.trained[0].place == "a/one/x"


def test_pauses_and_checkpoints_cost_hours() -> None:
    """A quarter of each half day is lost to loading, a tenth to writing: through the day it takes less, and it has room for that."""
    job = a_job(accelerator_hours=4 * HOURS_PER_QUARTER * 0.9, pause_hours=3.0, checkpoint_share=0.1)
    question = a_question((), (a_place(an_offer()),), {}, limits=DAY, training=(job,), trains={(0, 0): 1.0})
    plan = planned(question)
    assert an_hour(plan) == pytest.approx(4)
    assert plan.trained[0].pausing_share == 0


def test_a_gang_needs_room_as_a_whole() -> None:
    job = a_job(accelerator_hours=HOURS_PER_QUARTER, gang=8)
    place = a_place(an_offer(accelerators_max=7))
    plan = planned(a_question((), (place,), {}, training=(job,), trains={(0, 0): 1.0}))
    assert plan.trained[0].share == pytest.approx(0)
    assert plan.trained[0].place is None


def test_a_job_is_at_home_at_the_silicon_that_is_fast_for_its_price() -> None:
    places = (a_place(an_offer("a/one", "x", usd=1.0)), a_place(an_offer("b/one", "y", usd=1.5)))
    job = a_job(silicon={"x": 1.0, "y": 2.0}, accelerator_hours=8 * HOURS_PER_QUARTER)
    plan = planned(a_question((), places, {}, training=(job,), trains={(0, 0): 1.0, (1, 0): 2.0}))
    assert plan.trained[0].place == "b/one/y"


def test_limits_that_what_is_held_breaks_have_no_plan() -> None:
    limits = Limits(quarters=1, blocks=1, cloud_share_max={"a": 0.1})
    with pytest.raises(Infeasible, match="no plan keeps to all limits"):
        planned(a_question((a_demand(),), (a_place(an_offer(), held=5, held_usd=1.0),), {(0, 0): 1.0}, limits=limits))


def test_hour_is_the_default_of_these_tests() -> None:
    assert HOUR.quarters == HOUR.blocks == 1
