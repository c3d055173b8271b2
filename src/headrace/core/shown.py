"""A report as whoever looks at it gets it: figures, sentences, tables and pictures, as plain values that need nothing else."""

from typing import TypeAlias

import msgspec


class Figure(msgspec.Struct, frozen=True):
    """One number that matters, as it is read, and what it is."""

    value: str
    what: str


class News(msgspec.Struct, frozen=True):
    """What is good or bad to read."""

    text: str
    good: bool


ShownCell: TypeAlias = str | News


class ShownTable(msgspec.Struct, frozen=True):
    """`numbers` are the columns, from 0, that are set to the right."""

    title: str
    columns: tuple[str, ...]
    numbers: tuple[int, ...]
    rows: tuple[tuple[ShownCell, ...], ...]


class Bars(msgspec.Struct, frozen=True):
    """Amounts by name; `texts` are the same as they are read."""

    title: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    texts: tuple[str, ...]


class Stack(msgspec.Struct, frozen=True):
    """Amounts over time or steps, one upon the other; `steps` name the columns."""

    title: str
    unit: str
    steps: tuple[str, ...]
    names: tuple[str, ...]
    values: tuple[tuple[float, ...], ...]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A report. `good` says whether it came out as wished; None: that was not asked. `sentences` are told below the figures."""

    title: str
    figures: tuple[Figure, ...]
    sentences: tuple[str, ...]
    good: bool | None
    stacks: tuple[Stack, ...]
    bars: tuple[Bars, ...]
    tables: tuple[ShownTable, ...]
