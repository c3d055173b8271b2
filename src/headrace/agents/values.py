"""Plain data as tools take and return it, and its leaves."""

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"


def read(json: str) -> Value:
    """The data of a JSON text."""
    value: Value = msgspec.json.decode(json)
    return value


def write(value: Value) -> str:
    """The one JSON text of this data: two equal values are written alike."""
    return msgspec.json.encode(value, order="deterministic").decode()


def said(value: Value) -> str:
    """A single value as one would type it."""
    if isinstance(value, str):
        return value
    return "" if value is None else write(value)


def leaves(value: Value) -> Iterator[str]:
    """Each text and number in it that is not a key, as one would type it."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner)
    elif value is not None and not isinstance(value, bool):
        yield said(value)
