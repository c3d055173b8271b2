"""Metrics for Prometheus: plain integers while requests run, turned into its text format when somebody asks.

Names follow OpenTelemetry's GenAI conventions as Prometheus spells them (`gen_ai_server_…`), which is what dashboards for language
models expect; what only headrace has starts with `headrace_`. Labels never name a key or a person, so that their number stays bounded.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from headrace.core.usage import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DURATION_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TTFT_S = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TPOT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""Boundaries as the GenAI conventions advise (gen_ai.server.request.duration, .time_to_first_token, .time_per_output_token)."""


class Histogram:
    """Counts by bucket; a value on a boundary belongs below it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        reached, rows = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            reached += count
            rows.append((bound, float(reached)))
        return rows


class _Series:
    """What is kept of one (operation, model, class, pool)."""

    __slots__ = ("duration", "statuses", "tokens", "tpot", "ttft")

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.tokens: Counter[str] = Counter()
        self.duration, self.ttft, self.tpot = Histogram(DURATION_S), Histogram(TTFT_S), Histogram(TPOT_S)

    def count(self, usage: Usage) -> None:
        tokens = self.tokens
        tokens["input"] += usage.uncached
        tokens["cache_read"] += usage.cache_read
        tokens["cache_write"] += usage.cache_written
        tokens["output"] += usage.output
        tokens["reasoning"] += usage.reasoning

    def add(self, said: "Counts") -> None:
        """What another process has counted of the same."""
        self.statuses.update(said.statuses)
        self.tokens.update(said.tokens)
        for mine, (counts, total) in zip((self.duration, self.ttft, self.tpot), said.histograms, strict=True):
            mine.counts = [one + other for one, other in zip(mine.counts, counts, strict=True)]
            mine.total += total


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """A series as one process tells it to another."""

    labels: tuple[str, str, str, str]
    statuses: dict[int, int]
    tokens: dict[str, int]
    histograms: tuple[tuple[list[int], float], ...]


class State(msgspec.Struct, frozen=True, array_like=True):
    """All that one process has counted, and the values that add up over processes."""

    series: tuple[Counts, ...]
    gauges: dict[str, float | dict[str, float]]
    counters: dict[str, float | dict[str, float]]


_states = msgspec.msgpack.Decoder(State)


POOL = ("headrace_pool",)
LABELS = ("gen_ai_operation_name", "gen_ai_request_model", "headrace_class", "headrace_pool")


class Metrics:
    """The counts of one process. `gauges` are read when asked for: name and help to value, or to values by one label."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._told: list[State] = []
        self._gauges: dict[str, tuple[str, Callable[[], float | Mapping[str, float]], bool]] = {}
        self._counters: dict[str, tuple[str, Callable[[], float | Mapping[str, float]], bool]] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def observe(
        self,
        labels: tuple[str, str, str, str],
        *,
        status: int,
        duration_s: float,
        ttft_s: float | None,
        tpot_s: float | None,
        usage: Usage | None,
    ) -> None:
        """One request is over."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = _Series()
        series.statuses[status] += 1
        series.duration.observe(duration_s)
        if ttft_s is not None:
            series.ttft.observe(ttft_s)
        if tpot_s is not None:
            series.tpot.observe(tpot_s)
        if usage is not None:
            series.count(usage)

    def gauge(
        self, name: str, help: str, read: Callable[[], float | Mapping[str, float]], *, adds: bool = True, labels: tuple[str, ...] = POOL
    ) -> None:
        """A value that goes up and down; a mapping is one value a pool, or whatever `labels` name. `adds`: over several processes it is the
        sum, else any one's."""
        self._gauges[name] = (help, read, adds)
        self._labels[name] = labels

    def counter(
        self, name: str, help: str, read: Callable[[], float | Mapping[str, float]], *, adds: bool = True, labels: tuple[str, ...] = POOL
    ) -> None:
        """A value that only grows, kept elsewhere; a mapping is one value a pool. `adds` as of a gauge. With several `labels` the keys of
        the mapping are their values, joined by `|`."""
        self._counters[name] = (help, read, adds)
        self._labels[name] = labels

    def text(self, others: Iterable[bytes] = ()) -> bytes:
        """All of it, in Prometheus' text format, with what other processes of the same server have told by `state`."""
        self._told = [_states.decode(other) for other in others]
        return generate_latest(self._registry)

    def state(self) -> bytes:
        """All of it, for another process to add to its own."""
        series = [
            Counts(
                labels,
                dict(one.statuses),
                dict(one.tokens),
                tuple((held.counts, held.total) for held in (one.duration, one.ttft, one.tpot)),
            )
            for labels, one in self._series.items()
        ]
        gauges = {name: _plain(read()) for name, (_, read, adds) in self._gauges.items() if adds}
        counters = {name: _plain(read()) for name, (_, read, adds) in self._counters.items() if adds}
        return msgspec.msgpack.encode(State(tuple(series), gauges, counters))

    def collect(self) -> Iterator[Metric]:
        everyone = self._everyone()
        yield from self._requests(everyone)
        yield from self._histograms(everyone)
        for name, (help, read, _) in self._gauges.items():
            value = _sum(read(), [told.gauges[name] for told in self._told if name in told.gauges])
            yield _filled(GaugeMetricFamily(name, help, labels=self._labels[name] if isinstance(value, Mapping) else ()), value)
        for name, (help, read, _) in self._counters.items():
            value = _sum(read(), [told.counters[name] for told in self._told if name in told.counters])
            labels = self._labels[name] if isinstance(value, Mapping) else ()
            yield _filled(CounterMetricFamily(name, help, labels=labels), value, len(labels))

    def _everyone(self) -> Mapping[tuple[str, str, str, str], _Series]:
        if not self._told:
            return self._series
        everyone: dict[tuple[str, str, str, str], _Series] = {}
        for told in (_states.decode(self.state()), *self._told):
            for counts in told.series:
                everyone.setdefault(counts.labels, _Series()).add(counts)
        return everyone

    def _requests(self, everyone: Mapping[tuple[str, str, str, str], _Series]) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "headrace_requests", "Requests that are over, by the status the client got.", labels=(*LABELS, "status")
        )
        tokens = CounterMetricFamily("headrace_tokens", "Tokens used, in segments that never overlap.", labels=(*LABELS, "segment"))
        for labels, series in everyone.items():
            for status, count in series.statuses.items():
                requests.add_metric((*labels, str(status)), count)
            for segment, count in series.tokens.items():
                tokens.add_metric((*labels, segment), count)
        return requests, tokens

    def _histograms(self, everyone: Mapping[tuple[str, str, str, str], _Series]) -> Iterable[Metric]:
        duration = HistogramMetricFamily("gen_ai_server_request_duration_seconds", "From admission to the last byte.", labels=LABELS)
        ttft = HistogramMetricFamily("gen_ai_server_time_to_first_token_seconds", "From admission to the first thing said.", labels=LABELS)
        tpot = HistogramMetricFamily("gen_ai_server_time_per_output_token_seconds", "A token of the answer after the first.", labels=LABELS)
        for labels, series in everyone.items():
            for family, held in ((duration, series.duration), (ttft, series.ttft), (tpot, series.tpot)):
                family.add_metric(labels, held.cumulative(), held.total)
        return duration, ttft, tpot


def _plain(value: float | Mapping[str, float]) -> float | dict[str, float]:
    return dict(value) if isinstance(value, Mapping) else value


def _sum(mine: float | Mapping[str, float], others: Iterable[float | Mapping[str, float]]) -> float | Mapping[str, float]:
    if not isinstance(mine, Mapping):
        return mine + sum(other for other in others if not isinstance(other, Mapping))
    total = Counter(mine)
    for other in others:
        if isinstance(other, Mapping):
            total.update(other)
    return dict(total)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, value: float | Mapping[str, float], labels: int = 1) -> Metric:
    for label, one in value.items() if isinstance(value, Mapping) else (("", value),):
        family.add_metric((label,) if label and labels == 1 else label.split("|") if label else (), one)
    return family
