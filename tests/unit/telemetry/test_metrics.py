"""Metrics: what a scrape shows after so many requests."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.core.usage import Usage
from headrace.telemetry import CONTENT_TYPE, Metrics
from headrace.telemetry.metrics import DURATION_S, Histogram

LABELS = ("chat", 'a "model"\nof \\ours', "batch", "a")
NAMED = dict(zip(("gen_ai_operation_name", "gen_ai_request_model", "headrace_class", "headrace_pool"), LABELS, strict=True))


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {(one.name, frozenset(one.labels.items())): one.value for family in families for one in family.samples}


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, frozenset((NAMED | labels).items())]


def test_a_request_is_counted_everywhere():
    metrics = Metrics()
    usage = Usage(1, cache_read=2, cache_write=3, output=4, reasoning=5)
    metrics.observe(LABELS, status=200, duration_s=0.5, ttft_s=0.02, tpot_s=0.03, usage=usage)
    metrics.observe(LABELS, status=200, duration_s=1.5, ttft_s=None, tpot_s=None, usage=None)
    metrics.observe(LABELS, status=503, duration_s=0.25, ttft_s=None, tpot_s=None, usage=None)
    assert value(metrics, "headrace_requests_total", status="200") == 2
    assert value(metrics, "headrace_requests_total", status="503") == 1
    segments = {"input": 1, "cache_read": 2, "cache_write": 3, "output": 4, "reasoning": 5}
    assert {segment: value(metrics, "headrace_tokens_total", segment=segment) for segment in segments} == segments
    assert value(metrics, "gen_ai_server_request_duration_seconds_count") == 3
    assert value(metrics, "gen_ai_server_request_duration_seconds_sum") == 2.25
    assert value(metrics, "gen_ai_server_request_duration_seconds_bucket", le="0.32") == 1
    assert value(metrics, "gen_ai_server_time_to_first_token_seconds_count") == 1
    assert value(metrics, "gen_ai_server_time_per_output_token_seconds_sum") == 0.03


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, 0), (0.01, 0), (0.011, 1), (81.92, 13), (81.93, 14), (1e9, 14)])
def test_a_value_on_a_boundary_belongs_below_it(seconds: float, bucket: int):
    histogram = Histogram(DURATION_S)
    histogram.observe(seconds)
    assert histogram.counts.index(1) == bucket
    assert histogram.cumulative()[-1] == ("+Inf", 1.0)
    assert [count for _, count in histogram.cumulative()] == [0.0] * bucket + [1.0] * (15 - bucket)


def test_values_that_live_elsewhere_are_read_when_asked_for():
    metrics, held = Metrics(), {"a": 1.0, "b": 2.0}
    metrics.gauge("headrace_pool_inflight", "Requests a pool works on.", lambda: held)
    metrics.gauge("headrace_ready", "Whether requests are taken.", lambda: 1.0)
    metrics.counter("headrace_log_bytes", "Bytes written.", lambda: 7.0)
    metrics.counter("headrace_pool_restarts", "Restarts of an engine.", lambda: {"a": 3.0})
    held["b"] = 5.0
    shown = samples(metrics)
    assert shown["headrace_pool_inflight", frozenset({("headrace_pool", "b")})] == 5.0
    assert shown["headrace_ready", frozenset()] == 1.0
    assert shown["headrace_log_bytes_total", frozenset()] == 7.0
    assert shown["headrace_pool_restarts_total", frozenset({("headrace_pool", "a")})] == 3.0


def test_before_the_first_request_there_is_help_and_no_sample():
    metrics = Metrics()
    assert b"# HELP headrace_requests_total" in metrics.text()
    assert samples(metrics) == {}
    assert CONTENT_TYPE.startswith("text/plain")
