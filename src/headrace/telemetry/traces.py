"""OpenTelemetry traces, as an extra: one span a request, made when it is over, so that the request itself pays nothing for it.

Names and attributes follow the GenAI semantic conventions (`chat MODEL`, `gen_ai.usage.input_tokens` …). No prompt and no answer is
ever put into a span. Where spans go is set by OpenTelemetry's own environment variables (`OTEL_EXPORTER_OTLP_ENDPOINT` …).
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from headrace.core.clock import Moment
from headrace.core.errors import SetupError

AttributeValue: TypeAlias = str | int | float | bool
Tracer: TypeAlias = Callable[[str, Moment, Moment, Mapping[str, AttributeValue], bool], None]
"""Takes a span's name, its start and end, its attributes, and whether it failed."""


def start_tracer() -> tuple[Tracer, Callable[[], None]]:
    """A tracer and what ends it, sending what is left. Raises SetupError without the `otel` extra."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind, StatusCode
    except ImportError:
        raise SetupError("telemetry.traces is on, but OpenTelemetry is not installed: pip install 'headrace[otel]'") from None
    provider = TracerProvider(resource=Resource.create({"service.name": "headrace"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    tracer = provider.get_tracer("headrace")

    def trace(name: str, start: Moment, end: Moment, attributes: Mapping[str, AttributeValue], failed: bool) -> None:
        span = tracer.start_span(name, kind=SpanKind.SERVER, start_time=start, attributes=attributes)
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(end_time=end)

    return trace, provider.shutdown
