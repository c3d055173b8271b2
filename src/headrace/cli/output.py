"""Rows into a file or to standard output: lines of JSON, CSV, or Parquet."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from headrace.core.errors import SetupError

ROWS = 50_000
"""Of one group of rows in a Parquet file."""
DIGITS, DECIMALS = 38, 12


@contextmanager
def opened(output: Path | None) -> Iterator[TextIO]:
    """The file, or standard output."""
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as wrong:
        raise SetupError(f"{output} can't be written: {wrong.strerror}") from None


def write_jsonl(rows: Iterable[Mapping[str, object]], file: TextIO) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def write_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str], file: TextIO) -> None:
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(rows)


def write_parquet(rows: Iterable[Mapping[str, object]], columns: Sequence[str], integers: frozenset[str], output: Path) -> None:
    """Amounts in dollars are decimals of twelve places, what is in `integers` 64-bit integers, and all else text. Raises SetupError without
    pyarrow."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise SetupError("Parquet needs pyarrow: pip install 'headrace[parquet]', or choose jsonl or csv") from None

    def kind(name: str) -> Any:
        if name.endswith("_usd"):
            return arrow.decimal128(DIGITS, DECIMALS)
        return arrow.int64() if name in integers else arrow.string()

    schema = arrow.schema([(name, kind(name)) for name in columns])
    rest = iter(rows)
    try:
        with parquet.ParquetWriter(output, schema, compression="zstd") as writer:
            while part := [_typed(row) for row in islice(rest, ROWS)]:
                writer.write_table(arrow.Table.from_pylist(part, schema=schema))
    except OSError as wrong:
        raise SetupError(f"{output} can't be written: {wrong}") from None


def _typed(row: Mapping[str, object]) -> dict[str, object]:
    return {name: Decimal(str(value)) if name.endswith("_usd") and value is not None else value for name, value in row.items()}
