"""Fifteen billion tokens a minute, as numbers: a stated blend of traffic, the accelerators that it fills, what they cost, and the gateways.

The blend is an assumption: nobody publishes one at that scale. Its shapes and cached shares are those of public traces, its shares are by
tokens. Everything here is closed arithmetic over the catalog and the service model; the plan with terms, places and outages is another
matter.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import msgspec

from headrace.core.identity import TrafficClass
from headrace.planner.demand import Demand
from headrace.planner.speed import Speed, SpeedOf, measured_speed
from headrace.portfolio import Catalog
from headrace.portfolio.serving import GRADES, Grade

TOKENS_PER_S = 15e9 / 60
TOKENS_PER_HOUR = TOKENS_PER_S * 3_600
BYTES_PER_TOKEN = 4
"""Of a prompt in English, about; the relay's cost goes by bytes."""
FAST_TPOT_MS = 20.0
FAST_TTFT_MS = 5_000.0
"""Fifty tokens a second to each user, the first within five: how the two-shape figures are taken."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of traffic and its share of all tokens."""

    name: str
    traffic_class: TrafficClass
    share: float
    tokens_in: int
    tokens_out: int
    cached_share: float
    source: str

    @property
    def per_s(self) -> float:
        """Requests a second, of its share of all tokens."""
        return TOKENS_PER_S * self.share / (self.tokens_in + self.tokens_out)

    def demand(self, model: str, tokens_per_s: float = TOKENS_PER_S) -> Demand:
        return Demand(
            name=self.name,
            traffic_class=self.traffic_class,
            model=model,
            tokens_per_s=tokens_per_s * self.share,
            tokens_in=self.tokens_in,
            tokens_out=self.tokens_out,
            cached_share=self.cached_share,
        )


BLEND: tuple[Kind, ...] = (
    Kind(
        name="short chat", traffic_class="realtime", share=0.10, tokens_in=1_155, tokens_out=211, cached_share=0.0,
        source="Azure 2023, conversations: mean of 19,366 requests",
    ),
    Kind(
        name="long chat", traffic_class="enterprise", share=0.25, tokens_in=12_035, tokens_out=343, cached_share=0.366,
        source="Mooncake, conversations: 12,031 requests; cached as an ideal prefix cache would",
    ),
    Kind(
        name="tools and agents", traffic_class="agentic", share=0.20, tokens_in=8_596, tokens_out=182, cached_share=0.59,
        source="Mooncake, tool and agent trace, as its paper has it",
    ),
    Kind(
        name="agentic coding", traffic_class="coding", share=0.35, tokens_in=122_379, tokens_out=440, cached_share=0.963,
        source="Claude Code sessions: 49,334 requests of 710 traces",
    ),
    Kind(
        name="API calls", traffic_class="enterprise", share=0.10, tokens_in=914, tokens_out=155, cached_share=0.0,
        source="ServeGen, m-large",
    ),
)  # fmt: skip


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What a blend is in all, a second."""

    requests: float
    tokens_in: float
    tokens_uncached: float
    tokens_out: float


def totals(blend: Iterable[Kind]) -> Totals:
    kinds = [(kind, kind.demand("")) for kind in blend]
    return Totals(
        requests=sum(kind.per_s for kind, _ in kinds),
        tokens_in=sum(demand.tokens_in_per_s for _, demand in kinds),
        tokens_uncached=sum(demand.tokens_uncached_per_s for _, demand in kinds),
        tokens_out=sum(demand.tokens_out_per_s for _, demand in kinds),
    )


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """Accelerators of one silicon that a blend of one model fills, by kind; `error` is the share by which they may be off."""

    model: str
    silicon: str
    by_kind: Mapping[str, float]
    grade: Grade
    error: float
    extrapolated_share: float

    @property
    def full(self) -> float:
        return sum(self.by_kind.values())

    def usd_per_mtok(self, usd_per_hour: float, utilisation: float) -> float:
        return self.full / utilisation * usd_per_hour / TOKENS_PER_HOUR * 1e6


def fleet(blend: Iterable[Kind], model: str, silicon: str, speed_of: SpeedOf) -> Fleet | None:
    """None: one of the kinds can't be served so."""
    demands = [kind.demand(model) for kind in blend]
    speeds: list[Speed] = []
    for demand in demands:
        speed = speed_of(silicon, demand)
        if speed is None:
            return None
        speeds.append(speed)
    full = {demand.title: speed.full_with(demand) for demand, speed in zip(demands, speeds, strict=True)}
    far = sum(count for count, speed in zip(full.values(), speeds, strict=True) if speed.extrapolated)
    return Fleet(
        model=model,
        silicon=silicon,
        by_kind=full,
        grade=max((speed.grade for speed in speeds), key=GRADES.index),
        error=sum(speed.error * count for speed, count in zip(speeds, full.values(), strict=True)) / sum(full.values()),
        extrapolated_share=far / sum(full.values()),
    )


def two_shapes(catalog: Catalog) -> SpeedOf:
    """By two measured shapes at fifty tokens a second to each user; None where both were not measured so."""

    def speed_of(silicon: str, demand: Demand) -> Speed | None:
        points = [
            point for point in catalog.points.get((silicon, demand.model), ()) if point.tokens_in is not None and point.grade == "measured"
        ]
        kept = {point.tokens_in for point in points if (point.tpot_ms or 0) <= FAST_TPOT_MS and (point.ttft_ms or 0) <= FAST_TTFT_MS}
        if len(kept) < 2:
            return None
        return measured_speed(catalog, silicon, demand, ttft_ms_max=FAST_TTFT_MS, tpot_ms_max=FAST_TPOT_MS)

    return speed_of


def cached_at(blend: Iterable[Kind], factor: float) -> tuple[Kind, ...]:
    """The blend with what its caches miss multiplied: 1 is as it is, 0 all cached."""
    return tuple(msgspec.structs.replace(kind, cached_share=max(0.0, 1 - (1 - kind.cached_share) * factor)) for kind in blend)


def uncached(blend: Iterable[Kind]) -> tuple[Kind, ...]:
    """The blend without any cache."""
    return tuple(msgspec.structs.replace(kind, cached_share=0.0) for kind in blend)


def only(kind: Kind) -> tuple[Kind, ...]:
    """All of it of one kind."""
    return (msgspec.structs.replace(kind, share=1.0),)


class RelayCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Processor time of a governed request by its bytes, and of an event of a stream, in microseconds."""

    request_us: Mapping[int, float]
    event_us: float

    def of_request(self, size: float) -> float:
        """Between measured sizes by a straight line, beyond the last by the last's slope, below the first as the first."""
        sizes = sorted(self.request_us)
        if size <= sizes[0]:
            return self.request_us[sizes[0]]
        pairs = list(pairwise(sizes))
        low, high = next((pair for pair in pairs if size <= pair[1]), pairs[-1])
        slope = (self.request_us[high] - self.request_us[low]) / (high - low)
        return self.request_us[low] + slope * (size - low)


def gateway_cores(blend: Iterable[Kind], costs: RelayCosts, *, streamed: bool) -> float:
    """Cores that are busy relaying the blend; `streamed`: each token of an answer is an event of its own."""
    busy_us = 0.0
    for kind in blend:
        events = kind.tokens_out if streamed else 0
        busy_us += kind.per_s * (costs.of_request(kind.tokens_in * BYTES_PER_TOKEN) + events * costs.event_us)
    return busy_us / 1e6
