"""Hands that tell what is going on: logs, metrics, traces."""

from headrace.telemetry.logs import LogFormat, set_up_logs
from headrace.telemetry.metrics import CONTENT_TYPE, Metrics
from headrace.telemetry.traces import Tracer, start_tracer

__all__ = ["CONTENT_TYPE", "LogFormat", "Metrics", "Tracer", "set_up_logs", "start_tracer"]
