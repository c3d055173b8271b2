"""The services that the package ships."""

import functools
from importlib.resources import files

from headrace.portfolio.serving import parse_serving
from headrace.simulator.service import Services, parse_services


@functools.cache
def shipped_services() -> Services:
    """All rows of `services.toml`, with the catalog's other names of models."""
    serving = (files("headrace.portfolio") / "data" / "serving.toml").read_text(encoding="utf-8")
    text = (files("headrace.simulator") / "data" / "services.toml").read_text(encoding="utf-8")
    return parse_services(text, parse_serving(serving).models)
