"""Fifteen billion tokens a minute: the arithmetic agrees with figures that were reckoned elsewhere from the same measured points."""

import pytest

from headrace.planner.planet import BLEND, RelayCosts, cached_at, fleet, gateway_cores, only, totals, two_shapes, uncached
from tests.unit.portfolio.shipped import SHIPPED


def test_the_blend_is_what_it_is_said_to_be() -> None:
    found = totals(BLEND)
    assert sum(kind.share for kind in BLEND) == pytest.approx(1)
    assert found.requests == pytest.approx(53_146, rel=1e-3)
    assert found.tokens_in == pytest.approx(239.4e6, rel=1e-3)
    assert found.tokens_uncached == pytest.approx(104.3e6, rel=1e-3)
    assert found.tokens_out == pytest.approx(10.57e6, rel=1e-3)


@pytest.mark.parametrize(
    ("model", "silicon", "full"),
    [
        ("deepseek-r1", "nvidia-gb200", 11_430),
        ("deepseek-r1", "nvidia-b200", 26_306),
        ("gpt-oss-120b", "nvidia-b200", 2_747),
        ("gpt-oss-120b", "nvidia-h200", 11_010),
        ("gpt-oss-120b", "nvidia-h100", 12_958),
        ("llama-3.1-70b", "nvidia-b200", 15_527),
        ("llama-3.1-70b", "nvidia-h200", 50_176),
    ],
)
def test_fleets_by_two_measured_shapes(model: str, silicon: str, full: int) -> None:
    found = fleet(BLEND, model, silicon, two_shapes(SHIPPED))
    assert found is not None
    assert found.full == pytest.approx(full, rel=2e-3)
    assert found.grade == "measured"


def test_what_a_cache_is_worth_to_agents_of_long_context() -> None:
    """Coding at 96.3 % cached takes 2,293 B200 of all tokens; without a cache 43,300."""
    coding = only(BLEND[3])
    cached, bare = (fleet(mix, "deepseek-r1", "nvidia-b200", two_shapes(SHIPPED)) for mix in (coding, uncached(coding)))
    assert cached is not None
    assert bare is not None
    assert cached.full == pytest.approx(2_293, rel=0.02)
    assert bare.full == pytest.approx(43_300, rel=0.02)


def test_a_fleet_that_one_kind_has_no_speed_for_is_none() -> None:
    assert fleet(BLEND, "deepseek-r1", "nvidia-l40s", two_shapes(SHIPPED)) is None


def test_dollars_a_million_tokens() -> None:
    found = fleet(BLEND, "deepseek-r1", "nvidia-gb200", two_shapes(SHIPPED))
    assert found is not None
    assert found.usd_per_mtok(16, 0.55) == pytest.approx(0.369, abs=1e-3)
    assert found.usd_per_mtok(2.21, 0.55) == pytest.approx(0.051, abs=1e-3)


def test_misses_of_a_cache_are_multiplied() -> None:
    assert [round(kind.cached_share, 3) for kind in cached_at(BLEND, 2)] == [0, 0, 0.18, 0.926, 0]
    assert all(kind.cached_share == 1 for kind in cached_at(BLEND, 0))


@pytest.mark.parametrize(
    ("size", "us"),
    [(100, 50), (2_000, 50), (151_000, 75), (300_000, 100), (598_000, 150)],
    ids=["below", "first", "between", "last", "beyond"],
)
def test_the_relays_cost_goes_by_bytes(size: int, us: float) -> None:
    assert RelayCosts(request_us={2_000: 50, 300_000: 100}, event_us=10).of_request(size) == pytest.approx(us)


def test_events_of_streams_are_most_of_the_gateways_work() -> None:
    costs = RelayCosts(request_us={2_000: 100, 24_000: 110, 300_000: 265}, event_us=24)
    plain, streamed = (gateway_cores(BLEND, costs, streamed=each) for each in (False, True))
    assert 5 < plain < 7
    assert streamed - plain == pytest.approx(10.57e6 * 24e-6, rel=1e-3)
