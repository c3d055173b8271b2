"""Traffic classes: what each kind of traffic is promised, and who yields to whom."""

from collections.abc import Mapping

import msgspec

from headrace.core.identity import TrafficClass


class ClassTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What one class is promised and what it pays.

    `priority`: lower goes first, and is shed last. `ttft_ms` and `tpot_ms`: the service level objectives for the time to the first token
    and between tokens. `wait_ms_max`: who would wait longer in line is refused at once. `usd_per_hour`: what an hour of waiting is worth
    to whoever waits, by which cost and latency are weighed against each other. `price_permille`: of the price list. A class that can
    wait for hours runs on what others leave of a pool: it is given no place once `idle_share` of it is in use.
    """

    priority: int
    ttft_ms: float
    tpot_ms: float
    wait_ms_max: int
    usd_per_hour: float
    price_permille: int = 1_000
    idle_share: float = 1.0

    def __post_init__(self) -> None:
        if self.priority < 0 or self.wait_ms_max < 0 or self.usd_per_hour < 0 or self.price_permille < 0:
            raise ValueError("a class's priority, wait_ms_max, usd_per_hour and price_permille are 0 or more")
        if self.ttft_ms <= 0 or self.tpot_ms <= 0:
            raise ValueError("a class's ttft_ms and tpot_ms are more than 0")
        if not 0 < self.idle_share <= 1:
            raise ValueError("a class's idle_share is more than 0 and at most 1")


CLASSES: Mapping[TrafficClass, ClassTerms] = {
    "realtime": ClassTerms(priority=0, ttft_ms=1_000, tpot_ms=40, wait_ms_max=1_000, usd_per_hour=20),
    "coding": ClassTerms(priority=1, ttft_ms=2_000, tpot_ms=30, wait_ms_max=2_000, usd_per_hour=15),
    "enterprise": ClassTerms(priority=2, ttft_ms=3_000, tpot_ms=60, wait_ms_max=5_000, usd_per_hour=8),
    "agentic": ClassTerms(priority=3, ttft_ms=5_000, tpot_ms=60, wait_ms_max=15_000, usd_per_hour=3),
    "batch": ClassTerms(
        priority=4, ttft_ms=600_000, tpot_ms=1_000, wait_ms_max=600_000, usd_per_hour=0, price_permille=500, idle_share=0.8
    ),
    "training": ClassTerms(
        priority=5, ttft_ms=3e6, tpot_ms=1_000, wait_ms_max=3_000_000, usd_per_hour=0, price_permille=500, idle_share=0.6
    ),
}
"""What holds where the settings say nothing else. A person's waiting hour is worth about a wage; a machine's, little or nothing."""

TIERS: Mapping[str, TrafficClass] = {"priority": "realtime", "fast": "realtime", "scale": "enterprise", "flex": "batch"}
"""OpenAI's `service_tier` as a class; `auto` and `default` leave the key's own."""
