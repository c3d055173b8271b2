"""Sums by the hour, so that a report over a month reads thousands of rows and not millions.

An hour whose attempts change is stale: its attempts are read themselves until its sums are made again, so that every report is exact at
every moment. Sums are made when the loader has nothing else to do, and of the hour that is running not at all.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

from headrace.core.clock import Moment
from headrace.core.usage import SEGMENTS
from headrace.storage.books import HOUR
from headrace.storage.database import transaction

Sums: TypeAlias = tuple[int, ...]
"""Bucket, label or group, state, attempts, those that have a price, those whose vendor's charge is known, the segments, cost and purchase
in two parts each."""
Group: TypeAlias = Literal["label", "group_of(label)"]
PART: Final = 10**6
FOREVER: Final[Moment] = 2**63 - 1
COLUMNS: Final = ("attempts", "priced", "bought", *SEGMENTS, "cost_high", "cost_low", "buy_high", "buy_low")
_RAW: Final = ", ".join(
    (
        "count(*)",
        "count(cost_pico)",
        "count(buy_pico)",
        *(f"sum({segment})" for segment in SEGMENTS),
        *(f"coalesce(sum({pico} {sign} {PART}), 0)" for pico in ("cost_pico", "buy_pico") for sign in ("/", "%")),
    )
)
_ROLLED: Final = ", ".join(f"sum({column})" for column in COLUMNS)
_REBUILD: Final = (
    f"INSERT INTO rollup SELECT ?, label, state, {_RAW} FROM attempt WHERE admitted >= ? AND admitted < ? GROUP BY label, state"  # noqa: S608 -- no word of it comes from outside
)


def tidy(database: sqlite3.Connection, hours_max: int = 1_000) -> int:
    """Make the sums of stale hours again, but for the newest, which is not over; return how many."""
    (newest,) = database.execute("SELECT max(admitted) FROM attempt").fetchone()
    if newest is None:
        return 0
    stale = database.execute("SELECT hour FROM rollup_stale WHERE hour < ? ORDER BY hour LIMIT ?", (newest // HOUR, hours_max)).fetchall()
    for (hour,) in stale:
        with transaction(database):
            database.execute("DELETE FROM rollup WHERE hour = ?", (hour,))
            database.execute(_REBUILD, (hour, hour * HOUR, (hour + 1) * HOUR))
            database.execute("DELETE FROM rollup_stale WHERE hour = ?", (hour,))
    return len(stale)


def grouped(database: sqlite3.Connection, groups: Mapping[int, int]) -> Group:
    """What to give to `sums` and `by_user`, so that they add up the labels of a group, and leave out those that are in none. There may be
    as many labels as attempts, and each row that comes out costs more than adding one up. One at a time on a connection."""
    database.create_function("group_of", 1, groups.get, deterministic=True)
    return "group_of(label)"


def sums(database: sqlite3.Connection, since: Moment, until: Moment, width: int, group: Group = "label") -> Iterator[Sums]:
    """What was admitted from `since` on and before `until`, by bucket of `width` nanoseconds, group and state; some may come in parts."""
    first, last = -(-since // HOUR), until // HOUR
    if width % HOUR or first >= last:
        yield from raw(database, since, until, width, group)
        return
    yield from database.execute(
        f"SELECT hour / {width // HOUR}, {group} AS grouped, state, {_ROLLED} FROM rollup WHERE hour >= ? AND hour < ? "  # noqa: S608 -- ours
        "AND hour NOT IN (SELECT hour FROM rollup_stale) AND grouped IS NOT NULL GROUP BY 1, 2, 3",
        (first, last),
    )
    stale = database.execute("SELECT hour FROM rollup_stale WHERE hour >= ? AND hour < ? ORDER BY hour", (first, last)).fetchall()
    for start, stop in _runs([hour for (hour,) in stale]):
        yield from raw(database, start * HOUR, stop * HOUR, width, group)
    yield from raw(database, since, first * HOUR, width, group)
    yield from raw(database, last * HOUR, until, width, group)


def raw(database: sqlite3.Connection, since: Moment, until: Moment, width: int, group: Group = "label") -> Iterator[Sums]:
    """The same from the attempts themselves."""
    if since < until:
        yield from database.execute(
            f"SELECT admitted / {width}, {group} AS grouped, state, {_RAW} FROM attempt "  # noqa: S608 -- ours
            "WHERE admitted >= ? AND admitted < ? AND grouped IS NOT NULL GROUP BY 1, 2, 3",
            (since, until),
        )


def by_user(
    database: sqlite3.Connection, since: Moment, until: Moment, width: int, group: Group = "label"
) -> Iterator[tuple[str | None, Sums]]:
    """As `raw`, and by user too: there may be many, so no sums are kept of them."""
    for row in database.execute(
        f"SELECT user, admitted / {width}, {group} AS grouped, state, {_RAW} FROM attempt "  # noqa: S608 -- ours
        "WHERE admitted >= ? AND admitted < ? AND grouped IS NOT NULL GROUP BY 1, 2, 3, 4",
        (since, until),
    ):
        yield row[0], row[1:]


def _runs(hours: list[int]) -> Iterator[tuple[int, int]]:
    """Hours that follow each other, as ranges."""
    start = stop = None
    for hour in hours:
        if hour != stop:
            if start is not None and stop is not None:
                yield start, stop
            start = hour
        stop = hour + 1
    if start is not None and stop is not None:
        yield start, stop
