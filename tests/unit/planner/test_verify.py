"""A plan is held against the simulator: one that holds stays as it is, one that is too tight is made again with more headroom."""

import msgspec
import pytest

from headrace.planner.demand import Ask, Demand
from headrace.planner.offers import Limits, Offer, Supply, TokenOffer
from headrace.planner.planning import Planned, make_plan
from headrace.planner.sites import instance
from headrace.planner.speed import Speed, SpeedOf, speed_by
from headrace.planner.verify import REFUSED_MAX, UTILISATION_MIN, WITHIN_MIN, busiest, geography, simulate, verify
from headrace.simulator import Service, Services
from headrace.simulator.reference import ReferenceFleet
from tests.unit.planner.questions import a_place, a_question, an_offer
from tests.unit.portfolio.shipped import SHIPPED

QUICK = Service(
    model="m",
    silicon="nvidia-b200",
    engine="e",
    precision="p",
    accelerators=1,
    step_ms=10.0,
    sequence_ms=0.5,
    prompt_ms=0.02,
    batch_max=128,
    kv_tokens=200_000,
    grade="measured",
    source="a test",
)
SERVICES = Services((QUICK,))


def hopeful(silicon: str, demand: Demand) -> Speed | None:
    """Half again as fast as it is."""
    found = speed_by(SERVICES, SHIPPED)(silicon, demand)
    return None if found is None else msgspec.structs.replace(found, tokens_per_s=found.tokens_per_s * 1.5)


def plan_at(utilisation: float, *, speed_of: SpeedOf | None = None, tokens: tuple[TokenOffer, ...] = (), **demand: object) -> Planned:
    given: dict[str, object] = {
        "model": "m",
        "tokens_per_s": 40_000.0,
        "tokens_in": 1_000,
        "tokens_out": 100,
        "traffic_class": "enterprise",
    }
    asked = Demand(**(given | demand))  # type: ignore[arg-type]
    waiting = msgspec.structs.replace(asked, name="later", traffic_class="batch", tokens_per_s=100.0)
    offer = Offer(cloud="oci", region="eu-frankfurt-1", silicon="nvidia-b200", term="on_demand", quantum=1)
    limits = Limits(quarters=1, blocks=1, utilisation=utilisation)
    supply = Supply(offers=(offer,) if not tokens else (), tokens=tokens, limits=limits)
    return make_plan(instance(Ask(demands=(asked, waiting)), supply, SHIPPED, speed_of or speed_by(SERVICES, SHIPPED)))


def test_a_roomy_plan_holds() -> None:
    planned = plan_at(0.5, cached_share=0.3)
    found = verify(planned, SERVICES, ReferenceFleet, seed=1, seconds=20)
    assert found.kept
    assert found.planned is planned
    assert len(found.rounds) == 1
    (hour,) = found.hours
    verdict = hour.verdicts[0]
    assert (verdict.traffic_class, verdict.kept) == ("enterprise", True)
    assert verdict.within_share >= WITHIN_MIN
    assert verdict.refused_share <= REFUSED_MAX
    assert hour.report is not None
    assert hour.report.hit_rate == pytest.approx(0.3, abs=0.05)


def test_a_plan_that_is_too_tight_is_made_again_with_more_headroom() -> None:
    """Accelerators are taken for half again as fast as they are: more are added until nobody is late."""
    tight = plan_at(0.9, traffic_class="realtime", tokens_per_s=200_000.0, speed_of=hopeful)
    found = verify(tight, SERVICES, ReferenceFleet, seed=1, seconds=20)
    assert len(found.rounds) > 1
    used = [each for each, _, _ in found.rounds]
    assert used == sorted(used, reverse=True)
    assert found.planned.plan.usd > tight.plan.usd
    assert found.kept
    assert used[-1] > UTILISATION_MIN


def test_the_same_seed_gives_the_same_verdict() -> None:
    planned = plan_at(0.6)
    first, second = (simulate(planned, SERVICES, ReferenceFleet, busiest(planned.draft), seed=3, seconds=5) for _ in range(2))
    assert first == second


def test_a_vendors_tokens_are_simulated_too() -> None:
    offer = TokenOffer(cloud="cerebras", region="global", model="m", input=0.1, output=0.2, ttft_ms=100, tpot_ms=5, tokens_per_s_max=1e6)
    planned = plan_at(0.6, tokens=(offer,), tokens_per_s=4_000.0)
    hour = simulate(planned, SERVICES, ReferenceFleet, busiest(planned.draft), seed=1, seconds=10)
    report = hour.report
    assert report is not None
    assert hour.scale == 1.0
    assert report.pools[0].pool == "cerebras/global/tokens of m"
    assert report.served == report.arrived > 0


def test_where_nothing_can_be_simulated_there_is_no_verdict() -> None:
    planned = make_plan(a_question((Demand(model="m", tokens_per_s=1.0),), (a_place(an_offer()),), {(0, 0): 1.0}))
    found = verify(planned, Services(()), ReferenceFleet, seed=1, seconds=1)
    (hour,) = found.hours
    assert (hour.report, hour.verdicts, hour.left_out, found.kept) == (None, (), ("realtime anywhere m",), True)


def test_the_loss_of_the_place_that_serves_most_is_simulated_too() -> None:
    """Three regions for what two of them can serve: it holds with all of them, and without the largest."""
    asked = Demand(model="m", tokens_per_s=60_000.0, tokens_in=1_000, tokens_out=100, traffic_class="enterprise")
    spare = msgspec.structs.replace(asked, name="spare", outage_unserved_max=1.0, tokens_per_s=1_000.0)
    regions = ("eu-frankfurt-1", "us-ashburn-1", "ap-tokyo-1")
    offers = tuple(Offer(cloud="oci", region=region, silicon="nvidia-b200", term="on_demand", quantum=1) for region in regions)
    limits = Limits(quarters=1, blocks=1, utilisation=0.6, outage="region")
    question = instance(Ask(demands=(asked, spare)), Supply(offers=offers, limits=limits), SHIPPED, speed_by(SERVICES, SHIPPED))
    found = verify(make_plan(question), SERVICES, ReferenceFleet, seed=1, seconds=20)
    whole, without = found.hours
    assert found.kept
    assert ", without oci/" in without.state
    assert whole.report is not None
    assert without.report is not None
    lost = without.state.rpartition("/")[2]
    assert lost in {pool.region for pool in whole.report.pools}
    assert lost not in {pool.region for pool in without.report.pools}


def test_the_busiest_state_is_that_in_which_most_is_asked() -> None:
    draft = plan_at(0.5, curve="office", growth_per_quarter=0.2).draft
    assert busiest(draft).quarter == 0
    assert draft.cases[busiest(draft).case].name == "expected"


@pytest.mark.parametrize(("holds", "number"), [({"us"}, 0), ({"de", "eea-ch"}, 1), ({"br"}, 3), ({"ae"}, 4), ({"jp"}, 2), (set[str](), 2)])
def test_where_a_place_is(holds: set[str], number: int) -> None:
    assert geography(msgspec.structs.replace(a_place(an_offer()), jurisdictions=frozenset(holds))) == number
