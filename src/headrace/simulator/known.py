"""The services that the package ships, and the fleet that this machine can run."""

import functools
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec

from headrace.portfolio.serving import parse_serving
from headrace.simulator.fleet import Block, Fleet
from headrace.simulator.reference import ReferenceFleet
from headrace.simulator.service import Services, parse_services


@functools.cache
def shipped_services() -> Services:
    """All rows of `services.toml`, with the catalog's other names of models."""
    serving = (files("headrace.portfolio") / "data" / "serving.toml").read_text(encoding="utf-8")
    text = (files("headrace.simulator") / "data" / "services.toml").read_text(encoding="utf-8")
    return parse_services(text, parse_serving(serving).models)


def compiled_here() -> bool:
    """Whether numba is installed, so that steps are compiled."""
    return find_spec("numba") is not None


def fleet_of(blocks: Sequence[Block], *, segments_max: int = 2, plain: bool = False) -> Fleet:
    """The compiled fleet where numba is installed, else the one in plain Python, which gives the same and takes much longer."""
    if plain or not blocks or not compiled_here():
        return ReferenceFleet(blocks)
    from headrace.simulator.compiled import CompiledFleet

    return CompiledFleet(blocks, segments_max=segments_max)
