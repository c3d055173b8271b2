"""Dated TOML: a file of tables, each row with where its facts come from (`source`) and the day on which they held (`as_of`).

What a whole file shares stands once, at its top; what a table shares, once in the table; a row says only what is its own.
"""

import tomllib
from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)
Table: TypeAlias = Mapping[str, object]
SHARED = frozenset({"source", "as_of"})


def read_tables(text: str, what: str, names: frozenset[str]) -> dict[str, tuple[Table, ...]]:
    """The arrays of tables of a TOML text, by name; a table inherits the file's `source` and `as_of`.

    Raises ValueError that says what is wrong with `what`.
    """
    try:
        held = tomllib.loads(text)
    except tomllib.TOMLDecodeError as wrong:
        raise ValueError(f"the {what} are not TOML: {wrong}") from None
    unknown = held.keys() - names - SHARED
    if unknown:
        raise ValueError(f"the {what} have tables that nobody reads: {', '.join(sorted(unknown))}")
    shared = {name: held[name] for name in SHARED & held.keys()}
    return {name: tuple(shared | table for table in held.get(name, ())) for name in names}


def rows(tables: Iterable[Table], what: str, row: type[Row]) -> tuple[Row, ...]:
    """Each table as a `row`. Raises ValueError that says what is wrong, and in which row."""
    try:
        return msgspec.convert(tuple(tables), tuple[row, ...])  # type: ignore[valid-type]
    except msgspec.ValidationError as wrong:
        raise ValueError(f"the {what} are not right: {wrong}") from None
