"""What a run was: by class, by pool, over time; values that are written as JSON, compared, and shown."""

from array import array
from collections.abc import Sequence

import msgspec

from headrace.core.identity import TrafficClass


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution in five figures."""

    mean: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0


class ClassReport(msgspec.Struct, frozen=True, kw_only=True):
    """One traffic class. `within_slo` is the share of the served whose TTFT and mean TPOT kept to what the class is promised."""

    traffic_class: TrafficClass
    arrived: int
    served: int
    refused: int
    cut: int
    spilled: int
    retried: int
    ttft_ms: Spread
    tpot_ms: Spread
    wait_ms: Spread
    ttft_slo_ms: float
    tpot_slo_ms: float
    within_slo: float
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    refusals: dict[str, int]


class PoolReport(msgspec.Struct, frozen=True, kw_only=True):
    """One pool. `cost_pico` is what its tokens cost by the token, or its accelerators by the hour."""

    pool: str
    cloud: str
    region: str
    silicon: str
    replicas: int
    accelerators: int
    served: int
    failed: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    utilisation: float
    utilisation_peak: float
    ttft_ms: Spread
    tpot_ms: Spread
    preemptions: int
    cost_pico: int
    usd_per_mtok: float | None
    energy_kwh: float | None
    carbon_kg: float | None
    training_accelerator_hours: float = 0.0


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A slice of time: what came, what went, and how full each pool was, in the order of the pools."""

    at_s: float
    arrived: int
    served: int
    refused: int
    ttft_ms_p95: float
    tokens: int
    utilisation: tuple[float, ...]


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """One training job."""

    name: str
    done: float
    finished_s: float | None
    in_time: bool
    started: int
    lost_accelerator_hours: float
    used_accelerator_hours: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run, whole. The same seed and settings give the same bytes."""

    name: str
    seed: int
    policy: str
    scale: float
    duration_s: float
    arrived: int
    served: int
    refused: int
    cut: int
    in_flight: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    cost_pico: int
    usd_per_mtok: float | None
    carbon_kg: float | None
    classes: tuple[ClassReport, ...]
    pools: tuple[PoolReport, ...]
    moments: tuple[Moment, ...]
    jobs: tuple[JobReport, ...] = ()
    story: tuple[str, ...] = ()

    @property
    def hit_rate(self) -> float:
        """The share of prompt tokens that were cached."""
        return self.tokens_cached / self.tokens_in if self.tokens_in else 0.0

    @property
    def tokens_per_minute(self) -> float:
        """In and out together, at the scale of the run."""
        return (self.tokens_in + self.tokens_out) / max(self.duration_s, 1e-9) * 60


def spread(values: "array[float] | Sequence[float]") -> Spread:
    """Of nothing it is all zero."""
    if not values:
        return Spread()
    ordered = sorted(values)
    count = len(ordered)

    def at(share: float) -> float:
        return round(ordered[min(count - 1, int(share * count))], 3)

    return Spread(mean=round(sum(ordered) / count, 3), p50=at(0.5), p90=at(0.9), p95=at(0.95), p99=at(0.99))


def encode(report: Report) -> bytes:
    """As JSON, with names in order."""
    return msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=1)


def decode(text: bytes) -> Report:
    """Raises msgspec.ValidationError for anything but a report."""
    return msgspec.json.decode(text, type=Report)
