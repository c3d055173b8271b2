"""What a run adds up while it goes: a column of figures for each class, each pool, and each slice of time."""

from array import array
from collections.abc import Sequence

from headrace.core.identity import TrafficClass
from headrace.core.money import PICO_PER_TOKEN
from headrace.routing import ClassTerms
from headrace.simulator.report import ClassReport, Moment, PoolReport, spread
from headrace.simulator.sites import Site

HOUR_S = 3_600.0


class OfClass:
    """One traffic class."""

    def __init__(self) -> None:
        self.arrived = self.served = self.refused = self.cut = self.spilled = self.retried = self.within = 0
        self.tokens_in = self.tokens_cached = self.tokens_out = 0
        self.ttft_ms, self.tpot_ms, self.wait_ms = array("d"), array("d"), array("d")
        self.refusals: dict[str, int] = {}

    def report(self, traffic_class: TrafficClass, terms: ClassTerms) -> ClassReport:
        return ClassReport(
            traffic_class=traffic_class,
            arrived=self.arrived,
            served=self.served,
            refused=self.refused,
            cut=self.cut,
            spilled=self.spilled,
            retried=self.retried,
            ttft_ms=spread(self.ttft_ms),
            tpot_ms=spread(self.tpot_ms),
            wait_ms=spread(self.wait_ms),
            ttft_slo_ms=float(terms.ttft_ms),
            tpot_slo_ms=float(terms.tpot_ms),
            within_slo=round(self.within / self.served, 6) if self.served else 0.0,
            tokens_in=self.tokens_in,
            tokens_cached=self.tokens_cached,
            tokens_out=self.tokens_out,
            refusals=dict(sorted(self.refusals.items())),
        )


class OfPool:
    """One pool. `used` and `samples` give the mean share of its room that was in use."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.served = self.failed = self.tokens_in = self.tokens_cached = self.tokens_out = self.cost_pico = 0
        self.used = self.peak = 0.0
        self.samples = 0
        self.training_hours = 0.0
        self.ttft_ms, self.tpot_ms = array("d"), array("d")

    def report(self, duration_s: float, preemptions: int) -> PoolReport:
        site, pool = self.site, self.site.pool
        hours = duration_s / HOUR_S * site.accelerators
        cost = self.cost_pico + round(hours * site.hour_pico)
        tokens = self.tokens_in + self.tokens_out
        energy = None if site.kw_per_accelerator is None or not site.accelerators else hours * site.kw_per_accelerator
        carbon = None if energy is None or site.carbon_g_per_kwh is None else energy * site.carbon_g_per_kwh / 1_000
        return PoolReport(
            pool=pool.name,
            cloud=pool.cloud,
            region=pool.region,
            silicon=pool.silicon,
            replicas=0 if site.block is None else site.block.replicas,
            accelerators=site.accelerators,
            served=self.served,
            failed=self.failed,
            tokens_in=self.tokens_in,
            tokens_cached=self.tokens_cached,
            tokens_out=self.tokens_out,
            utilisation=round(self.used / self.samples, 6) if self.samples else 0.0,
            utilisation_peak=round(self.peak, 6),
            ttft_ms=spread(self.ttft_ms),
            tpot_ms=spread(self.tpot_ms),
            preemptions=preemptions,
            cost_pico=cost,
            usd_per_mtok=round(cost / tokens / PICO_PER_TOKEN, 6) if tokens else None,
            energy_kwh=None if energy is None else round(energy, 3),
            carbon_kg=None if carbon is None else round(carbon, 3),
            training_accelerator_hours=round(self.training_hours, 3),
        )


class Slice:
    """One slice of time, while it is filled."""

    __slots__ = ("arrived", "refused", "samples", "served", "tokens")

    def __init__(self) -> None:
        self.arrived = self.served = self.refused = self.tokens = self.samples = 0


class OverTime:
    """Slices of `width_s`, told from the one of `first_s` on."""

    def __init__(self, width_s: float, pools: int, first_s: float = 0.0) -> None:
        self.width_s, self._pools, self._first = width_s, pools, int(first_s / width_s)
        self._slices: list[Slice] = []
        self._ttfts: list[array[float]] = []
        self._used: list[list[float]] = []
        self._held: tuple[Slice, array[float], list[float]] = Slice(), array("d"), []  # of no time at all
        self._from_ms = self._to_ms = 0.0

    def at(self, now_ms: float) -> tuple[Slice, "array[float]", list[float]]:
        """The slice of this moment, with its times to the first token and the pools' shares in use."""
        if self._from_ms <= now_ms < self._to_ms:
            return self._held
        place = int(now_ms / 1_000 / self.width_s)
        while len(self._slices) <= place:
            self._slices.append(Slice())
            self._ttfts.append(array("d"))
            self._used.append([0.0] * self._pools)
        self._from_ms, self._to_ms = place * self.width_s * 1_000, (place + 1) * self.width_s * 1_000
        self._held = self._slices[place], self._ttfts[place], self._used[place]
        return self._held

    def report(self) -> tuple[Moment, ...]:
        held: Sequence[tuple[Slice, array[float], list[float]]] = list(zip(self._slices, self._ttfts, self._used, strict=True))
        return tuple(
            Moment(
                at_s=round(place * self.width_s, 3),
                arrived=one.arrived,
                served=one.served,
                refused=one.refused,
                ttft_ms_p95=spread(ttfts).p95,
                tokens=one.tokens,
                utilisation=tuple(round(share / one.samples, 4) if one.samples else 0.0 for share in used),
            )
            for place, (one, ttfts, used) in enumerate(held)
            if place >= self._first
        )
