"""Traces without the extra: a sentence that says what to install. With it: see tests/contract/test_traces.py."""

import sys

import pytest

from headrace.core.errors import SetupError
from headrace.telemetry import start_tracer


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # what Python does for a package that isn't there
    with pytest.raises(SetupError, match=r"pip install 'headrace\[otel\]'"):
        start_tracer()
