"""Usage by the hour, for planning: what each class asked of each model."""

import sqlite3
from typing import cast

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.identity import TrafficClass
from headrace.storage.books import STATES
from headrace.storage.rollups import FOREVER

HOUR = 3_600 * SECOND


class HourRow(msgspec.Struct, frozen=True, kw_only=True):
    """One hour, by its number since 1970, of one class and model. Attempts that were void, or whose usage nobody knows, are left out."""

    hour: int
    traffic_class: TrafficClass
    model: str
    requests: int
    tokens_uncached: int
    tokens_cached: int
    tokens_out: int


def usage_by_hour(database: sqlite3.Connection, *, since: Moment | None = None, until: Moment | None = None) -> list[HourRow]:
    """Usage admitted from `since` on and before `until`, in the order of hours."""
    counted = tuple(number for number, state in enumerate(STATES) if state in ("estimated", "confirmed"))
    rows = database.execute(
        f"""
        SELECT admitted / {HOUR}, class, model, count(*),
            sum(uncached + cache_write + cache_write_30m + cache_write_1h + cache_write_12h), sum(cache_read), sum(output + reasoning)
        FROM attempt JOIN label ON label.id = attempt.label
        WHERE admitted >= ? AND admitted < ? AND state IN ({", ".join(map(str, counted))}) AND operation = 'chat'
        GROUP BY 1, class, model ORDER BY 1, class, model
        """,  # noqa: S608 -- no word of it comes from outside
        (since or 0, FOREVER if until is None else until),
    )
    return [
        HourRow(
            hour=hour,
            traffic_class=cast(TrafficClass, traffic_class),
            model=model,
            requests=requests,
            tokens_uncached=uncached,
            tokens_cached=cached,
            tokens_out=out,
        )
        for hour, traffic_class, model, requests, uncached, cached, out in rows
    ]
