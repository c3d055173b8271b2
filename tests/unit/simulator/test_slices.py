"""Two slices side by side: what differs by more than chance is told from what doesn't."""

import msgspec
import pytest

from headrace.compose.simulated import prepare, read_scenario
from headrace.simulator.report import Report
from headrace.simulator.slices import Apart, apart, student


@pytest.fixture(scope="module")
def report() -> Report:
    scenario = read_scenario("small")
    simulation = msgspec.structs.replace(scenario.simulation, duration_s=5.0)
    return prepare(msgspec.structs.replace(scenario, simulation=simulation)).go()


def with_cost(report: Report, *usd: float) -> list[Report]:
    return [msgspec.structs.replace(report, usd_per_mtok=each) for each in usd]


def cost(found: tuple[Apart, ...]) -> Apart:
    return next(one for one in found if one.what == "USD a million tokens")


def test_half_of_the_interval_is_that_of_welch(report: Report):
    """Means 2 and 3, both of variance 1 over three seeds: a standard error of the root of 2/3, with four degrees of freedom."""
    one = cost(apart(with_cost(report, 1.0, 2.0, 3.0), with_cost(report, 2.0, 3.0, 4.0)))
    assert (one.larger, one.smaller, one.off) == (2.0, 3.0, 1.0)
    assert one.half == pytest.approx(2.776 * (2 / 3) ** 0.5)
    assert one.within


def test_what_differs_by_more_is_beyond_chance(report: Report):
    assert not cost(apart(with_cost(report, 1.0, 1.1), with_cost(report, 5.0, 5.1))).within
    assert all(one.within and not one.off for one in apart(with_cost(report, 1.0, 1.0), with_cost(report, 1.0, 1.0)))


def test_each_class_and_pool_that_both_have_is_compared(report: Report):
    without = msgspec.structs.replace(report, pools=report.pools[1:])
    names = [one.what for one in apart([report, report], [report, without])]
    assert f"{report.classes[0].traffic_class}: TTFT p99, ms" in names
    assert f"{report.pools[1].pool}: in use, %" in names
    assert f"{report.pools[0].pool}: in use, %" not in names


def test_one_seed_says_nothing_of_chance(report: Report):
    with pytest.raises(ValueError, match="two seeds"):
        apart([report], [report, report])


@pytest.mark.parametrize(("free", "factor"), [(0.5, 12.706), (4.9, 2.776), (14.0, 2.145), (30.0, 2.042), (1_000.0, 1.962)])
def test_few_degrees_of_freedom_make_wide_intervals(free: float, factor: float):
    assert student(free) == pytest.approx(factor, abs=0.01)
