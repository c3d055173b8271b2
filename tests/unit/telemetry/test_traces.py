"""Traces without the extra: a sentence that says what to install."""

import importlib.util

import pytest

from headrace.core.errors import SetupError
from headrace.telemetry import start_tracer


@pytest.mark.skipif(importlib.util.find_spec("opentelemetry") is not None, reason="the extra is installed here")
def test_without_the_extra_it_says_what_to_install():
    with pytest.raises(SetupError, match=r"pip install 'headrace\[otel\]'"):
        start_tracer()
