"""The planet: traffic as flows in steps of a minute, placed by the same `decide`, over pools whose pace follows from what flows in.

A source's calls from one geography are a flow; each step it is cut into portions, and the gateway's own `decide` is asked for each with
the loads that the portions before it have made. What a pool's replicas do with their flows is closed arithmetic: with `D` answer tokens
and `P` prompt tokens a millisecond on each replica, and contexts of `K` tokens,

    a step takes       tau = a / (1 - b·D - c·K·D - d·P)
    and there run      D · tau   sequences

so that a pool has room as long as that is within its limit. Batch waits in the flow for as long as its class may. What a fluid can't know,
how much of the prompts is cached and how far first tokens are above their mean, is taken from a slice that was run request by request,
and where the two still differ is part of the result.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, product
from math import ceil
from random import Random
from typing import TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import MS
from headrace.core.identity import Principal, TrafficClass
from headrace.portfolio import ModelProfile, snapshot
from headrace.routing import CLASSES, POLICIES, Board, Load, Send, Wait, decide
from headrace.simulator.faults import Demand, Fault, Outage, PriceChange, Slow
from headrace.simulator.report import ClassReport, Moment, PoolReport, Report, Spread
from headrace.simulator.run import BYTES_A_TOKEN, RunSettings
from headrace.simulator.service import queue_ms
from headrace.simulator.sites import RTT_MS, Site
from headrace.simulator.synthetic import GEOGRAPHIES, Source
from headrace.simulator.tally import HOUR_S

Weighted: TypeAlias = list[tuple[float, float]]
FULLEST = 0.995
"""A step is never longer than 200 times an empty one; no limit lets it come near."""
Progress: TypeAlias = Callable[[float, int], None]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """From a slice: the share of what an endless cache would have that was cached, and what first tokens took beyond their arithmetic,
    by class; 1 and 0 where nothing is known."""

    cached: Mapping[str, float] = {}
    ttft_ms: Mapping[str, float] = {}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """The fluid beside the slice it was calibrated by, in percent of the slice."""

    what: str
    slice_: float
    fluid: float

    @property
    def percent(self) -> float:
        return 100 * (self.fluid / self.slice_ - 1) if self.slice_ else 0.0


class Flow:
    """The calls of a source from one geography."""

    def __init__(self, source: Source, geography: int, cached: float) -> None:
        self.source, self.geography = source, geography
        self.tokens_in, ideal, self.tokens_out = source.shape
        self.cached = ideal * cached
        self.backlog = 0.0
        self.asks: list[Ask] = []

    def rate(self, at_s: float, start_hour: float) -> float:
        """Calls a second."""
        return self.source.waves(at_s * 1_000, start_hour)[self.geography] * self.source.turns


class Tank:
    """A pool with what flows into it during a step."""

    def __init__(self, site: Site, load: Load) -> None:
        self.site, self.load = site, load
        self.alive, self.pace = 1.0, 1.0
        self.calls = self.decoded = self.read = self.held = 0.0
        self.tau = self.ttft_ms = 0.0
        self.inflight = 0.0
        self.empty()

    @property
    def limit(self) -> float:
        return self.site.pool.concurrency_max * self.alive

    def empty(self) -> None:
        """A step begins."""
        self.calls = self.decoded = self.read = self.held = 0.0
        self._settle()

    def pour(self, flow: Flow, calls_per_s: float) -> None:
        """So many of its calls a second come here as well."""
        self.calls += calls_per_s
        self.decoded += calls_per_s * flow.tokens_out
        self.read += calls_per_s * (flow.tokens_in - flow.cached)
        self.held += calls_per_s * flow.tokens_out * (flow.tokens_in + flow.tokens_out / 2)
        self._settle()

    def _settle(self) -> None:
        """The pace at which all that flows in flows out, and what the gateway sees of it."""
        block, pool, load = self.site.block, self.site.pool, self.load
        if block is None:
            self.tau, self.ttft_ms = pool.tpot_ms, pool.ttft_ms
            self.inflight = (self.calls * pool.ttft_ms + self.decoded * self.tau) / 1_000
            if self.calls:
                reading = self.read / self.calls / pool.prefill_tokens_per_s * 1_000
                self.ttft_ms += reading
                self.inflight += self.calls * reading / 1_000
        else:
            service, replicas = block.service, max(block.replicas * self.alive, 1e-9)
            per_ms = 1 / (replicas * 1_000)
            held = self.held / self.decoded if self.decoded else 0.0
            decoded, read = self.decoded * per_ms, self.read * per_ms
            busy = self.pace * (decoded * (service.sequence_ms + service.held_ms * held) + service.prompt_ms * read)
            self.tau = self.pace * service.step_ms / (1 - min(busy, FULLEST))
            prompt = self.read / self.calls if self.calls else 1.0
            sequences = decoded * self.tau
            alone = self.pace * service.step(round(sequences), sequences * held, 0)
            reading = ceil(prompt / service.chunk_tokens) * alone + self.pace * service.prompt_ms * prompt
            chunk = alone + self.pace * service.prompt_ms * service.chunk_tokens
            behind, _ = queue_ms(read * chunk / service.chunk_tokens, 1, reading)
            self.ttft_ms = service.first_ms + self.tau / 2 + reading + behind
            self.inflight = replicas * (sequences + self.calls * per_ms * self.ttft_ms)
        load.inflight = int(self.inflight)
        load.limit = max(1, int(self.limit))
        load.ttft_ms, load.tpot_ms = self.ttft_ms, self.tau


class Planet:
    """A run of flows over full fleets."""

    def __init__(
        self,
        settings: RunSettings,
        sites: Sequence[Site],
        sources: Sequence[Source],
        *,
        start_hour: float = 0.0,
        step_s: float = 60.0,
        portions: int = 12,
        faults: Sequence[Fault] = (),
        calibration: Calibration | None = None,
    ) -> None:
        if step_s <= 0 or portions < 1:
            raise ValueError("step_s is above zero, and portions at least 1")
        self._settings, self._sites, self._start_hour, self._step_s = settings, tuple(sites), start_hour, step_s
        self._portions, self._faults = portions, tuple(faults)
        self._calibration = calibration if calibration is not None else Calibration()
        self._chance = Random(settings.seed)
        names = dict.fromkeys(model for site in sites for model in site.pool.models)
        models = [ModelProfile(name=name, created=0, owned_by="", operations=frozenset({"chat"})) for name in names]
        loads = {site.pool.name: Load(site.pool.concurrency_max) for site in sites}
        self._board = Board(snapshot(1, [site.pool for site in sites], models), loads, CLASSES)
        self._tanks = {site.pool.name: Tank(site, loads[site.pool.name]) for site in sites}
        self._flows = [
            Flow(source, geography, self._calibration.cached.get(source.traffic_class, 1.0))
            for source in sources
            for geography in range(len(GEOGRAPHIES))
            if source.weights[geography] > 0 and source.calls_per_s > 0
        ]
        self._flows.sort(key=lambda flow: CLASSES[flow.source.traffic_class].priority)
        for number, flow in enumerate(self._flows):
            flow.asks = [self._ask(flow, number, portion) for portion in range(portions)]
        self._classes: dict[TrafficClass, _OfClass] = {}
        self._pools = {site.pool.name: _OfPool() for site in sites}
        self._moments: list[Moment] = []

    def go(self, progress: Progress | None = None) -> Report:
        """All steps of the run."""
        steps = ceil(self._settings.duration_s / self._step_s)
        for step in range(steps):
            self._step(step * self._step_s)
            if progress is not None and step % 10 == 9:
                progress((step + 1) / steps, round(sum(one.served for one in self._classes.values())))
        return self._report()

    def _step(self, at_s: float) -> None:
        factors = self._befall(at_s)
        for tank in self._tanks.values():
            tank.empty()
        poured: list[tuple[Flow, Tank, float]] = []
        arrived = refused = 0.0
        portions: dict[int, list[tuple[Flow, float]]] = {}
        for flow in self._flows:
            fresh = flow.rate(at_s, self._start_hour) * self._settings.scale * factors.get(flow.source.name, 1.0) * factors.get("", 1.0)
            self._of(flow).arrived += fresh * self._step_s
            arrived += fresh * self._step_s
            priority = CLASSES[flow.source.traffic_class].priority
            portions.setdefault(priority, []).append((flow, (fresh + flow.backlog / self._step_s) / self._portions))
            flow.backlog = 0.0
        now = round(at_s * 1_000 * MS)
        for priority, portion in product(sorted(portions), range(self._portions)):  # as in the lines, who goes first takes what there is
            for flow, rate in portions[priority]:
                placed = decide(flow.asks[portion], self._board, now, self._chance, POLICIES[self._settings.policy])
                if isinstance(placed, Send):
                    tank = self._tanks[placed.choice.pool.name]
                    tank.pour(flow, rate)
                    poured.append((flow, tank, rate))
                    spilled = placed.choice.load.ttft_ms > CLASSES[flow.source.traffic_class].ttft_ms
                    self._of(flow).late += rate * self._step_s if spilled else 0.0
                elif isinstance(placed, Wait):
                    flow.backlog += rate * self._step_s
                else:
                    self._of(flow).refused += rate * self._step_s
                    refused += rate * self._step_s
        refused += self._shed(at_s)
        self._book(at_s, poured, arrived, refused)

    def _befall(self, at_s: float) -> dict[str, float]:
        """What holds at this moment: pools that are gone or slow, and how much more comes of which source."""
        factors: dict[str, float] = {}
        for tank in self._tanks.values():
            tank.alive = tank.pace = 1.0
        for fault in self._faults:
            match fault:
                case Outage() if fault.from_s <= at_s < fault.to_s:
                    for tank in self._covered(fault):
                        tank.alive = min(tank.alive, 1 - fault.share)
                case Slow() if fault.from_s <= at_s < fault.to_s:
                    for tank in self._covered(fault):
                        tank.pace *= 1 + (fault.factor - 1) * fault.share
                case Demand() if fault.from_s <= at_s < fault.to_s:
                    factors[fault.source] = factors.get(fault.source, 1.0) * fault.factor
                case _:
                    pass
        for tank in self._tanks.values():
            gone = tank.alive < 0.01
            if gone != bool(tank.load.closed_until):
                tank.load.closed_until = 1 << 62 if gone else 0
        return factors

    def _covered(self, fault: Outage | Slow | PriceChange) -> list[Tank]:
        return [tank for tank in self._tanks.values() if fault.covers(tank.site.pool)]

    def _shed(self, at_s: float) -> float:
        """Of what waits, all that would wait longer than its class may goes."""
        shed = 0.0
        for flow in self._flows:
            terms = CLASSES[flow.source.traffic_class]
            most = flow.rate(at_s, self._start_hour) * self._settings.scale * terms.wait_ms_max / 1_000
            if flow.backlog > most:
                self._of(flow).refused += flow.backlog - most
                shed += flow.backlog - most
                flow.backlog = most
        return shed

    def _book(self, at_s: float, poured: Sequence[tuple[Flow, Tank, float]], arrived: float, refused: float) -> None:
        """What the step comes to, now that all paces are known."""
        served = tokens = 0.0
        ttfts: Weighted = []
        for flow, tank, rate in poured:
            calls, of_class, of_pool = rate * self._step_s, self._of(flow), self._pools[tank.site.pool.name]
            way = RTT_MS[flow.geography][tank.site.geography]
            ttft_ms = tank.ttft_ms + way + self._calibration.ttft_ms.get(flow.source.traffic_class, 0.0)
            of_class.add(calls, flow, ttft_ms, tank.tau)
            of_pool.add(calls, flow, ttft_ms, tank.tau, tank.site)
            served += calls
            tokens += calls * (flow.tokens_in + flow.tokens_out)
            ttfts.append((ttft_ms, calls))
        for name, tank in self._tanks.items():
            share = tank.inflight / tank.site.pool.concurrency_max
            self._pools[name].used += share
            self._pools[name].peak = max(self._pools[name].peak, share)
        self._moments.append(
            Moment(
                at_s=at_s,
                arrived=round(arrived),
                served=round(served),
                refused=round(refused),
                ttft_ms_p95=weighted(ttfts).p95,
                tokens=round(tokens),
                utilisation=tuple(round(tank.inflight / tank.site.pool.concurrency_max, 4) for tank in self._tanks.values()),
            )
        )

    def _of(self, flow: Flow) -> "_OfClass":
        return self._classes.setdefault(flow.source.traffic_class, _OfClass())

    def _ask(self, flow: Flow, number: int, portion: int) -> Ask:
        source = flow.source
        name = f"{source.name}-{GEOGRAPHIES[flow.geography]}"
        return Ask(
            request=f"{name}-{portion}",
            operation="chat",
            principal=Principal(organization=name, project="p", key=name, traffic_class=source.traffic_class),
            model=source.model,
            stream=True,
            include_usage=True,
            tokens_in_max=round(flow.tokens_in * BYTES_A_TOKEN),
            tokens_out_max=None,
            body=b"",
            traffic_class=source.traffic_class,
            affinity=(number * 1_009 + portion + 1) * 0x9E3779B1 & 0x7FFFFFFF if flow.cached else 0,
        )

    def _report(self) -> Report:
        settings, steps = self._settings, len(self._moments)
        waiting = sum(flow.backlog for flow in self._flows)
        classes = tuple(one.report(name) for name, one in sorted(self._classes.items(), key=lambda item: CLASSES[item[0]].priority))
        pools = tuple(self._pools[site.pool.name].report(site, settings.duration_s, steps) for site in self._sites)
        arrived, served, refused = (sum(getattr(one, what) for one in classes) for what in ("arrived", "served", "refused"))
        if abs(served + refused + waiting - arrived) > max(10.0, 1e-6 * arrived):
            raise AssertionError(f"served {served} + refused {refused} + waiting {waiting} is not what arrived, {arrived}")
        tokens_in, tokens_out = sum(one.tokens_in for one in classes), sum(one.tokens_out for one in classes)
        cost = sum(one.cost_pico for one in pools)
        carbons = [one.carbon_kg for one in pools if one.carbon_kg is not None]
        return Report(
            name=f"{settings.name}, as flows",
            seed=settings.seed,
            policy=settings.policy,
            scale=settings.scale,
            duration_s=settings.duration_s,
            arrived=arrived,
            served=served,
            refused=refused,
            cut=0,
            in_flight=round(waiting),
            tokens_in=tokens_in,
            tokens_cached=sum(one.tokens_cached for one in classes),
            tokens_out=tokens_out,
            cost_pico=cost,
            usd_per_mtok=round(cost / (tokens_in + tokens_out) / 1e6, 6) if tokens_in else None,
            carbon_kg=round(sum(carbons), 3) if carbons else None,
            classes=classes,
            pools=pools,
            moments=tuple(self._moments),
        )


class _OfClass:
    """Sums of a class."""

    def __init__(self) -> None:
        self.arrived = self.served = self.refused = self.late = self.within = 0.0
        self.tokens_in = self.tokens_cached = self.tokens_out = 0.0
        self.ttfts: Weighted = []
        self.tpots: Weighted = []

    def add(self, calls: float, flow: Flow, ttft_ms: float, tpot_ms: float) -> None:
        terms = CLASSES[flow.source.traffic_class]
        self.served += calls
        self.within += calls if ttft_ms <= terms.ttft_ms and tpot_ms <= terms.tpot_ms else 0.0
        self.tokens_in += calls * flow.tokens_in
        self.tokens_cached += calls * flow.cached
        self.tokens_out += calls * flow.tokens_out
        self.ttfts.append((ttft_ms, calls))
        self.tpots.append((tpot_ms, calls))

    def report(self, name: TrafficClass) -> ClassReport:
        terms, ttft = CLASSES[name], weighted(self.ttfts)
        return ClassReport(
            traffic_class=name,
            arrived=round(self.arrived),
            served=round(self.served),
            refused=round(self.refused),
            cut=0,
            spilled=round(self.late),
            retried=0,
            ttft_ms=ttft,
            tpot_ms=weighted(self.tpots),
            wait_ms=Spread(),
            ttft_slo_ms=float(terms.ttft_ms),
            tpot_slo_ms=float(terms.tpot_ms),
            within_slo=round(self.within / self.served, 6) if self.served else 0.0,
            tokens_in=round(self.tokens_in),
            tokens_cached=round(self.tokens_cached),
            tokens_out=round(self.tokens_out),
            refusals={"full": round(self.refused)} if round(self.refused) else {},
        )


class _OfPool:
    """Sums of a pool."""

    def __init__(self) -> None:
        self.served = self.tokens_in = self.tokens_cached = self.tokens_out = self.cost_pico = self.used = self.peak = 0.0
        self.ttfts: Weighted = []
        self.tpots: Weighted = []

    def add(self, calls: float, flow: Flow, ttft_ms: float, tpot_ms: float, site: Site) -> None:
        self.served += calls
        self.tokens_in += calls * flow.tokens_in
        self.tokens_cached += calls * flow.cached
        self.tokens_out += calls * flow.tokens_out
        self.ttfts.append((ttft_ms, calls))
        self.tpots.append((tpot_ms, calls))
        if site.vendor is not None:
            cost = next(iter(site.pool.costs.values()))
            fresh = (flow.tokens_in - flow.cached) * cost.input_pico + flow.cached * cost.cached_input_pico
            self.cost_pico += calls * (fresh + flow.tokens_out * cost.output_pico)

    def report(self, site: Site, duration_s: float, steps: int) -> PoolReport:
        hours = duration_s / HOUR_S * site.accelerators
        cost = round(self.cost_pico) + round(hours * site.hour_pico)
        tokens = self.tokens_in + self.tokens_out
        energy = None if site.kw_per_accelerator is None or not site.accelerators else hours * site.kw_per_accelerator
        carbon = None if energy is None or site.carbon_g_per_kwh is None else energy * site.carbon_g_per_kwh / 1_000
        return PoolReport(
            pool=site.pool.name,
            cloud=site.pool.cloud,
            region=site.pool.region,
            silicon=site.pool.silicon,
            replicas=0 if site.block is None else site.block.replicas,
            accelerators=site.accelerators,
            served=round(self.served),
            failed=0,
            tokens_in=round(self.tokens_in),
            tokens_cached=round(self.tokens_cached),
            tokens_out=round(self.tokens_out),
            utilisation=round(self.used / max(1, steps), 6),
            utilisation_peak=round(self.peak, 6),
            ttft_ms=weighted(self.ttfts),
            tpot_ms=weighted(self.tpots),
            preemptions=0,
            cost_pico=cost,
            usd_per_mtok=round(cost / tokens / 1e6, 6) if tokens >= 1 else None,
            energy_kwh=None if energy is None else round(energy, 3),
            carbon_kg=None if carbon is None else round(carbon, 3),
        )


def calibrated(slice_: Report, fluid: Report) -> Calibration:
    """What a fluid needs to know, from a slice beside an uncalibrated fluid of the same stretch of time."""
    found = {one.traffic_class: one for one in fluid.classes}
    cached, beyond = dict[str, float](), dict[str, float]()
    for one in slice_.classes:
        other = found.get(one.traffic_class)
        if other is None or not one.served or not other.served:
            continue
        if other.tokens_cached:
            ideal = other.tokens_cached / other.tokens_in
            cached[one.traffic_class] = min(1.0, one.tokens_cached / one.tokens_in / ideal)
        beyond[one.traffic_class] = one.ttft_ms.mean - other.ttft_ms.mean
    return Calibration(cached=cached, ttft_ms=beyond)


def differences(slice_: Report, fluid: Report) -> tuple[Difference, ...]:
    """How far the fluid is from the slice: means of both times by class, and tokens by pool."""
    found = {one.traffic_class: one for one in fluid.classes}
    rows = []
    for one in slice_.classes:
        other = found.get(one.traffic_class)
        if other is not None and one.served:
            name = one.traffic_class
            rows.append(Difference(what=f"{name}: mean TTFT, ms", slice_=one.ttft_ms.mean, fluid=other.ttft_ms.mean))
            rows.append(Difference(what=f"{name}: mean TPOT, ms", slice_=one.tpot_ms.mean, fluid=other.tpot_ms.mean))
    pools = {one.pool: one for one in fluid.pools}
    all_slice, all_fluid = (max(1, report.tokens_in + report.tokens_out) for report in (slice_, fluid))
    for each in slice_.pools:
        other_pool = pools[each.pool]
        rows.append(
            Difference(
                what=f"{each.pool}: share of tokens, %",
                slice_=100 * (each.tokens_in + each.tokens_out) / all_slice,
                fluid=100 * (other_pool.tokens_in + other_pool.tokens_out) / all_fluid,
            )
        )
    return tuple(rows)


def weighted(values: Weighted) -> Spread:
    """Percentiles by weight; each value counts as many times as calls had it."""
    held = sorted(one for one in values if one[1] > 0)
    total = sum(weight for _, weight in held)
    if not total:
        return Spread()
    sums = list(accumulate(weight for _, weight in held))

    def at(share: float) -> float:
        low, high, wanted = 0, len(sums) - 1, share * total
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if sums[middle] >= wanted else (middle + 1, high)
        return round(held[low][0], 3)

    return Spread(
        mean=round(sum(value * weight for value, weight in held) / total, 3), p50=at(0.5), p90=at(0.9), p95=at(0.95), p99=at(0.99)
    )
