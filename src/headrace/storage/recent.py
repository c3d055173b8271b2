"""What has just happened, for who watches: requests by the minute, how long each class waited, the latest requests one by one."""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from headrace.core.clock import SECOND, Moment

MINUTE: Final = 60 * SECOND
_IN: Final = "uncached + cache_read + cache_write + cache_write_30m + cache_write_1h + cache_write_12h + audio_in + image_in"
_OUT: Final = "output + reasoning + audio_out + image_out"
_COUNTED: Final = ("requests", "tokens_in", "tokens_out", "failed")
_TOLD: Final = (
    "request", "attempt", "at", "organization", "project", "key", "class", "operation", "model", "pool", "state", "outcome", "tokens_in",
    "tokens_out", "cost_pico", "ttft_ms", "duration_ms",
)  # fmt: skip
_COLUMNS: Final[Mapping[str, str]] = {"model": "model", "pool": "pool", "class": "class"}


def minutes_of(database: sqlite3.Connection, since: Moment) -> dict[int, dict[str, int]]:
    """By the Unix minute of admission: requests, tokens of those whose usage is known, and how many ended with nothing."""
    rows = database.execute(
        f"SELECT admitted / {MINUTE}, count(*), sum(iif(state >= 3, {_IN}, 0)), sum(iif(state >= 3, {_OUT}, 0)), sum(state = 2) "  # noqa: S608 -- our own column names
        "FROM attempt WHERE admitted >= ? GROUP BY 1",
        (since,),
    )
    return {minute: dict(zip(_COUNTED, counts, strict=True)) for minute, *counts in rows}


def waits_by_class(database: sqlite3.Connection, since: Moment) -> list[dict[str, Any]]:
    """By traffic class: requests, how many failed, and the time to the first token, in the middle and of the slowest hundredth."""
    rows = database.execute(
        "SELECT class, ttft_ms, state = 2 FROM attempt JOIN label ON label.id = attempt.label WHERE admitted >= ? AND operation = 'chat' "
        "ORDER BY class, ttft_ms",
        (since,),
    )
    found: dict[str, tuple[list[int], list[int]]] = {}
    for name, ttft_ms, void in rows:
        counts, waits = found.setdefault(name, ([0, 0], []))
        counts[0] += 1
        counts[1] += void
        if ttft_ms is not None:
            waits.append(ttft_ms)
    return [
        {"class": name, "requests": counts[0], "failed": counts[1], "ttft_ms_p50": _part(waits, 50), "ttft_ms_p99": _part(waits, 99)}
        for name, (counts, waits) in found.items()
    ]


def latest_requests(
    database: sqlite3.Connection, owner: tuple[str, str] | None, limit: int, before: Moment, only: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The last attempt of each request that was admitted before a moment, the latest first; of one organisation and project, or all."""
    wanted = [("organization", owner[0]), ("project", owner[1])] if owner else []
    wanted += [(_COLUMNS[name], value) for name, value in only.items()]
    where = "".join(f" AND {column} = ?" for column, _ in wanted)
    rows = database.execute(
        f"SELECT request, number, admitted, organization, project, key, class, operation, model, pool, state, outcome, {_IN}, {_OUT}, "  # noqa: S608 -- our own column names
        "cost_pico, ttft_ms, duration_ms FROM attempt JOIN label ON label.id = attempt.label "
        f"WHERE admitted < ?{where} ORDER BY admitted DESC LIMIT ?",
        (before, *(value for _, value in wanted), limit),
    )
    states = ("running", "lost", "failed", "estimated", "done")
    return [dict(zip(_TOLD, row, strict=True)) | {"state": states[row[10]]} for row in rows]


def _part(sorted_values: list[int], percent: int) -> int | None:
    return sorted_values[min(len(sorted_values) - 1, len(sorted_values) * percent // 100)] if sorted_values else None
