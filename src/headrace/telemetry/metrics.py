"""Metrics for Prometheus: plain integers while requests run, turned into its text format when somebody asks.

Names follow OpenTelemetry's GenAI conventions as Prometheus spells them (`gen_ai_server_…`), which is what dashboards for language
models expect; what only headrace has starts with `headrace_`. Labels never name a key or a person, so that their number stays bounded.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

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
        tokens["cache_write"] += usage.cache_write
        tokens["output"] += usage.output
        tokens["reasoning"] += usage.reasoning


LABELS = ("gen_ai_operation_name", "gen_ai_request_model", "headrace_class", "headrace_pool")


class Metrics:
    """The counts of one process. `gauges` are read when asked for: name and help to value, or to values by one label."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str, str, str], _Series] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float | Mapping[str, float]]]] = {}
        self._counters: dict[str, tuple[str, Callable[[], float | Mapping[str, float]]]] = {}
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

    def gauge(self, name: str, help: str, read: Callable[[], float | Mapping[str, float]]) -> None:
        """A value that goes up and down; a mapping is one value a pool."""
        self._gauges[name] = (help, read)

    def counter(self, name: str, help: str, read: Callable[[], float | Mapping[str, float]]) -> None:
        """A value that only grows, kept elsewhere; a mapping is one value a pool."""
        self._counters[name] = (help, read)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        yield from self._requests()
        yield from self._histograms()
        for name, (help, read) in self._gauges.items():
            yield _filled(GaugeMetricFamily(name, help, labels=_labels(value := read())), value)
        for name, (help, read) in self._counters.items():
            yield _filled(CounterMetricFamily(name, help, labels=_labels(value := read())), value)

    def _requests(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "headrace_requests", "Requests that are over, by the status the client got.", labels=(*LABELS, "status")
        )
        tokens = CounterMetricFamily("headrace_tokens", "Tokens used, in segments that never overlap.", labels=(*LABELS, "segment"))
        for labels, series in self._series.items():
            for status, count in series.statuses.items():
                requests.add_metric((*labels, str(status)), count)
            for segment, count in series.tokens.items():
                tokens.add_metric((*labels, segment), count)
        return requests, tokens

    def _histograms(self) -> Iterable[Metric]:
        duration = HistogramMetricFamily("gen_ai_server_request_duration_seconds", "From admission to the last byte.", labels=LABELS)
        ttft = HistogramMetricFamily("gen_ai_server_time_to_first_token_seconds", "From admission to the first thing said.", labels=LABELS)
        tpot = HistogramMetricFamily("gen_ai_server_time_per_output_token_seconds", "A token of the answer after the first.", labels=LABELS)
        for labels, series in self._series.items():
            for family, held in ((duration, series.duration), (ttft, series.ttft), (tpot, series.tpot)):
                family.add_metric(labels, held.cumulative(), held.total)
        return duration, ttft, tpot


def _labels(value: float | Mapping[str, float]) -> tuple[str, ...]:
    return ("headrace_pool",) if isinstance(value, Mapping) else ()


def _filled(family: GaugeMetricFamily | CounterMetricFamily, value: float | Mapping[str, float]) -> Metric:
    for label, one in value.items() if isinstance(value, Mapping) else (("", value),):
        family.add_metric((label,) if label else (), one)
    return family
