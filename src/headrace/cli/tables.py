"""Rows for people as a table, for programs as JSON or CSV: the same rows."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from headrace.core.shown import News, ShownCell, ShownTable

Format: TypeAlias = Literal["table", "json", "csv"]
FORMATS: tuple[Format, ...] = ("table", "json", "csv")
Cell: TypeAlias = str | int | None


def show(
    rows: Sequence[Mapping[str, Cell]], columns: Sequence[str], kind: Format, *, empty: str, footer: Mapping[str, Cell] | None = None
) -> None:
    """Print `rows`. Numbers align right; `empty` is said instead of a table without rows."""
    if kind == "json":
        sys.stdout.write(json.dumps([{name: row.get(name) for name in columns} for row in rows], indent=2, ensure_ascii=False) + "\n")
    elif kind == "csv":
        writer = csv.DictWriter(sys.stdout, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    elif rows:
        _table(rows, columns, footer)
    else:
        Console(stderr=True).print(empty, highlight=False)


def _table(rows: Sequence[Mapping[str, Cell]], columns: Sequence[str], footer: Mapping[str, Cell] | None) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", footer_style="bold", show_footer=footer is not None)
    for name in columns:
        numbers = any(isinstance(row.get(name), int) for row in rows) or name.startswith("usd")
        table.add_column(name.replace("_", " "), _text((footer or {}).get(name)), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(row.get(name)) for name in columns))
    Console(width=None if sys.stdout.isatty() else 200).print(table, highlight=False)


def _text(cell: Cell) -> str:
    return "" if cell is None else f"{cell:,}" if isinstance(cell, int) else escape(cell)


def rich_table(table: ShownTable) -> Table:
    """A table of a report, as wide as its words are."""
    drawn = Table(
        title=f"\n{table.title}",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="dim",
        padding=(0, 2, 0, 0),
    )
    for at, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if at in table.numbers else "left", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*(_cell(cell) for cell in row))
    return drawn


def _cell(cell: ShownCell) -> str:
    return f"[{'green' if cell.good else 'red'}]{escape(cell.text)}[/]" if isinstance(cell, News) else escape(cell)
