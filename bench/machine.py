"""What a figure was measured on, and how figures are told."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path


def machine(*packages: str) -> str:
    """One line: cores, processor, system, Python, and the versions of what matters."""
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return (
        f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}, Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def tell(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], figures: Mapping[str, object]) -> None:
    """The table, and the figures as one line of JSON."""
    cells = [[str(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(columns))]
    print(title)
    for row in cells:
        first, *rest = zip(row, widths, strict=True)
        print("  ".join((first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest))))
    print(json.dumps(figures))
