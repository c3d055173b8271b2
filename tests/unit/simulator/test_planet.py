"""Flows keep what arrives, pools settle at the pace of their arithmetic, and what a slice knows is taken on."""

from collections.abc import Sequence
from typing import Any

import pytest

from headrace.simulator import mix_of, standing
from headrace.simulator.faults import Demand, Outage, Slow
from headrace.simulator.planet import Calibration, Flow, Planet, Tank, calibrated, differences, weighted
from headrace.simulator.run import RunSettings
from headrace.simulator.sites import Site
from headrace.simulator.synthetic import Source
from tests.unit.simulator.builders import MODEL, a_service, a_site, a_vendor

STEADY = Source(name="s", traffic_class="enterprise", model=MODEL, sessions_per_s=10, tokens_in=500, tokens_out=50, swing=0.0)
BULK = Source(name="b", traffic_class="batch", model=MODEL, sessions_per_s=5, tokens_in=500, tokens_out=50, swing=0.0)


def a_planet(sites: Sequence[Site], *, sources: Sequence[Source] = (STEADY,), duration_s: float = 600.0, **more: Any) -> Planet:
    settings = RunSettings(duration_s=duration_s, policy="least_loaded")
    return Planet(settings, sites, sources, **more)


def test_what_arrives_is_served_or_refused_or_waits():
    report = a_planet([a_site(replicas=8, concurrency_max=64)]).go()
    assert (report.arrived, report.served, report.refused) == (6_000, 6_000, 0)
    assert report.tokens_in == 6_000 * 500
    assert len(report.moments) == 10
    crowded = a_planet([a_site(replicas=1, concurrency_max=4)], sources=(STEADY, BULK)).go()
    assert crowded.refused > 0
    assert crowded.served + crowded.refused + crowded.in_flight == pytest.approx(crowded.arrived, abs=10)
    by_class = {one.traffic_class: one for one in crowded.classes}
    assert by_class["batch"].served / by_class["batch"].arrived < by_class["enterprise"].served / by_class["enterprise"].arrived


def test_a_tank_settles_where_a_replica_would():
    service, mix = a_service(held_ms=1e-4), mix_of([(1.0, 500, 0, 50)])
    at_six = standing(service, mix, 6)
    site = a_site(replicas=3, service=service, concurrency_max=24)
    planet = a_planet([site])
    tank: Tank = planet._tanks["a"]
    flow = Flow(STEADY, 0, 1.0)
    tank.pour(flow, 3 * at_six.requests_per_s)
    assert tank.tau == pytest.approx(at_six.tpot_ms)
    assert tank.load.tpot_ms == tank.tau
    assert tank.inflight == pytest.approx(18, rel=0.2)


def test_a_region_that_is_gone_gets_nothing_and_comes_back():
    sites = [a_site("a", replicas=8, concurrency_max=64), a_site("b", replicas=8, concurrency_max=64)]
    report = a_planet(sites, faults=[Outage(pool="a", from_s=120.0, to_s=300.0)]).go()
    shares = [moment.utilisation[0] for moment in report.moments]
    assert min(shares[:2]) > 0
    assert max(shares[2:5]) == 0
    assert min(shares[5:]) > 0
    assert report.refused == 0


def test_slow_silicon_and_more_demand_show():
    usual = a_planet([a_site(replicas=8, concurrency_max=64)]).go()
    slow = a_planet([a_site(replicas=8, concurrency_max=64)], faults=[Slow(from_s=0, to_s=600, factor=2.0)]).go()
    more = a_planet([a_site(replicas=8, concurrency_max=64)], faults=[Demand(from_s=0, to_s=600, factor=2.0)]).go()
    assert slow.classes[0].tpot_ms.mean > 1.9 * usual.classes[0].tpot_ms.mean
    assert more.arrived == 2 * usual.arrived


def test_vendors_are_paid_by_the_token():
    report = a_planet([a_vendor(usd=2.0, concurrency_max=100)]).go()
    assert report.cost_pico == pytest.approx(6_000 * (500 * 2e6 + 50 * 1e7))


def test_the_slice_calibrates_the_flows():
    chat = Source(
        name="s", traffic_class="agentic", model=MODEL, sessions_per_s=3, tokens_in=500, tokens_out=50, turns=4, tokens_added=50, think_s=1
    )
    sites = [a_site(replicas=8, concurrency_max=64)]
    free = a_planet(sites, sources=(chat,)).go()
    told = a_planet(sites, sources=(chat,), calibration=Calibration(cached={"agentic": 0.5}, ttft_ms={"agentic": 7.0})).go()
    assert told.tokens_cached == pytest.approx(free.tokens_cached / 2, rel=1e-3)
    found = calibrated(told, free)
    assert found.cached["agentic"] == pytest.approx(0.5, rel=1e-3)
    assert found.ttft_ms["agentic"] == pytest.approx(told.classes[0].ttft_ms.mean - free.classes[0].ttft_ms.mean)
    assert {one.percent for one in differences(told, told)} == {0.0}


def test_percentiles_by_weight():
    spread = weighted([(1.0, 98.0), (5.0, 1.0), (9.0, 1.0), (100.0, 0.0)])
    assert (spread.p50, spread.p99, spread.mean) == (1.0, 5.0, 1.12)
    assert weighted([]).p99 == 0.0


@pytest.mark.parametrize("wrong", [{"step_s": 0.0}, {"portions": 0}])
def test_a_planet_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="step_s is above zero"):
        a_planet([a_site()], **wrong)
