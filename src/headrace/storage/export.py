"""Every attempt as a row that other programs read: who, what, where, its tokens by segment, and what it costs to the last pico-dollar."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, TypeAlias

from headrace.core.clock import SECOND, Moment
from headrace.core.money import usd
from headrace.core.usage import SEGMENTS
from headrace.storage.books import STATES

Exported: TypeAlias = dict[str, str | int | None]
_TEXTS: Final = (
    "organization", "project", "key", "user", "class", "operation", "model", "model_served", "pool", "tier", "price", "buy", "outcome",
)  # fmt: skip
COLUMNS: Final = (
    "request", "attempt", "state", "admitted", "admitted_ns", *_TEXTS, "ours", *SEGMENTS, "cost_usd", "cost_pico", "buy_usd", "buy_pico",
    "ttft_ms", "duration_ms",
)  # fmt: skip


def exported(database: sqlite3.Connection, *, organization: str | None, since: Moment, until: Moment) -> Iterator[Exported]:
    """All attempts that were admitted in that time but those that ended with nothing owed, in the order of their admission."""
    sql = f"""
        SELECT request, number, state, admitted, {", ".join(_TEXTS)}, ours, {", ".join(SEGMENTS)}, cost_pico, buy_pico, ttft_ms, duration_ms
        FROM attempt JOIN label ON label.id = attempt.label
        WHERE admitted >= ? AND admitted < ? AND state <> 2 AND (? IS NULL OR organization = ?) ORDER BY admitted, request, number
    """  # noqa: S608 -- ours
    for request, number, state, admitted, *rest in database.execute(sql, (since, until, organization, organization)):
        *known, cost, buy, ttft_ms, duration_ms = rest
        yield {
            "request": request,
            "attempt": number,
            "state": STATES[state],
            "admitted": f"{datetime.fromtimestamp(admitted // SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{admitted % SECOND:09d}Z",
            "admitted_ns": admitted,
            **dict(zip((*_TEXTS, "ours", *SEGMENTS), known, strict=True)),
            "cost_usd": None if cost is None else usd(cost),
            "cost_pico": cost,
            "buy_usd": None if buy is None else usd(buy),
            "buy_pico": buy,
            "ttft_ms": ttft_ms,
            "duration_ms": duration_ms,
        }
