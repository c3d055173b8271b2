"""How small a slice of a fleet may be simulated for the whole: reports of a larger and of a smaller one, side by side.

A slice has as much to do a replica as the whole, and fewer replicas to choose from. What that changes is told for each figure as the
difference of the means over the seeds, with the half width of its 95 % interval (Welch, 1947): what lies within it is not told from chance.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean, variance

import msgspec

from headrace.simulator.report import Report

STUDENT_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Of Student's distribution, by degrees of freedom from 1 on; beyond, an approximation is good to a hundredth."""


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both slices, as means over their seeds. `half` is half of the 95 % interval of the difference."""

    what: str
    larger: float
    smaller: float
    half: float

    @property
    def off(self) -> float:
        """How much more the smaller slice has."""
        return self.smaller - self.larger

    @property
    def within(self) -> bool:
        """The difference may be chance."""
        return abs(self.off) <= self.half


def apart(larger: Sequence[Report], smaller: Sequence[Report]) -> tuple[Apart, ...]:
    """Figure by figure, of all classes and pools that are in each report. Raises ValueError for fewer than two reports of either."""
    if min(len(larger), len(smaller)) < 2:
        raise ValueError("an interval needs two seeds or more of each slice")
    one, other = ([dict(_figures(report)) for report in held] for held in (larger, smaller))
    return tuple(
        _apart(what, [each[what] for each in one], [each[what] for each in other])
        for what in one[0]
        if all(what in each for each in (*one, *other))
    )


def _figures(report: Report) -> Iterator[tuple[str, float]]:
    yield "cached, % of prompts", 100 * report.hit_rate
    yield "USD a million tokens", report.usd_per_mtok or 0.0
    for one in report.classes:
        if one.served:
            yield f"{one.traffic_class}: TTFT p50, ms", one.ttft_ms.p50
            yield f"{one.traffic_class}: TTFT p99, ms", one.ttft_ms.p99
            yield f"{one.traffic_class}: TPOT p50, ms", one.tpot_ms.p50
            yield f"{one.traffic_class}: within SLO, %", 100 * one.within_slo
    for pool in report.pools:
        yield f"{pool.pool}: in use, %", 100 * pool.utilisation


def _apart(what: str, one: Sequence[float], other: Sequence[float]) -> Apart:
    first, second = variance(one) / len(one), variance(other) / len(other)
    spread = first + second
    free = spread**2 / (first**2 / (len(one) - 1) + second**2 / (len(other) - 1)) if spread else 1.0
    return Apart(what=what, larger=fmean(one), smaller=fmean(other), half=student(free) * spread**0.5)


def student(free: float) -> float:
    """How many standard errors half of a 95 % interval is, with so many degrees of freedom."""
    whole = max(1, int(free))
    return STUDENT_975[whole - 1] if whole <= len(STUDENT_975) else 1.96 + 2.5 / whole
