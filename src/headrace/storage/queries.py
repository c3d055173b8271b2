"""What the books say: usage by model, key or class, balances, and whether SQLite and the usage log agree to the last digit."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.metering import Account, State
from headrace.storage.books import STATES
from headrace.storage.database import snapshot
from headrace.storage.replay import balances_of
from headrace.storage.segment import segments

Dimension: TypeAlias = Literal["model", "key", "class", "organization", "project", "operation", "pool"]
Source: TypeAlias = Literal["usage log", "transfers"]
DIMENSIONS: Final[tuple[Dimension, ...]] = ("model", "key", "class", "organization", "project", "operation", "pool")

FOREVER: Final[Moment] = 2**63 - 1
PART: Final = 10**6  # costs are summed in two parts, so that no sum leaves 64 bits


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of one group: `group` holds a value for each dimension asked for, in that order.

    `requests` counts attempts that ended with something owed, or might have: not those void or still running (`held`). `lost` of them
    are held at their bound, `estimated` rest on an estimate, and `unpriced` have no price, so that `cost_pico` leaves them out.
    """

    group: tuple[str, ...]
    requests: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    cost_pico: int
    unpriced: int
    lost: int
    estimated: int
    held: int


class Difference(msgspec.Struct, frozen=True):
    """An account whose balance in SQLite is not what the usage log says, or not what its transfers add up to."""

    account: Account
    source: Source
    expected_pico: int
    found_pico: int

    def __str__(self) -> str:
        return f"{self.account}: the balance is {self.found_pico} pico-USD, by the {self.source} it is {self.expected_pico}"


def usage_by(
    database: sqlite3.Connection,
    group: Sequence[Dimension] = ("model", "key", "class"),
    *,
    since: Moment | None = None,
    until: Moment | None = None,
) -> list[UsageRow]:
    """Usage admitted from `since` on and before `until`, one row a group, dearest first. Keys are given by id: see `key_names`."""
    unknown = [dimension for dimension in group if dimension not in DIMENSIONS]
    if unknown:
        raise ValueError(f"usage can't be grouped by {unknown[0]!r}: choose from {', '.join(DIMENSIONS)}")
    where, bounds = (
        ("", ())
        if since is None and until is None
        else ("WHERE admitted >= ? AND admitted < ?", (since or 0, FOREVER if until is None else until))
    )
    sql = f"""
        SELECT label, state, count(*), count(cost_pico),
            sum(uncached + cache_read + cache_write + cache_write_30m + cache_write_1h + cache_write_12h), sum(cache_read),
            sum(output + reasoning), sum(cost_pico / {PART}), sum(cost_pico % {PART})
        FROM attempt {where} GROUP BY label, state
    """  # noqa: S608 -- no word of it comes from outside
    rows: dict[tuple[str, ...], UsageRow] = {} if group else {(): _nothing(())}
    with snapshot(database):
        names = {label: tuple(map(str, rest)) for label, *rest in database.execute(f"SELECT {', '.join(('id', *group))} FROM label")}  # noqa: S608 -- `group` holds names of our own columns, checked above
        for label, state, *found in database.execute(sql, bounds):
            name = names[label]
            rows[name] = _plus(rows.get(name) or _nothing(name), STATES[state], found)
    return sorted(rows.values(), key=lambda row: (-row.cost_pico, row.group))


def key_names(database: sqlite3.Connection) -> dict[str, str]:
    """The name of each key by its id, revoked ones too."""
    return dict(database.execute("SELECT id, name FROM api_key"))


def balances(database: sqlite3.Connection) -> dict[Account, int]:
    """Debits less credits of every account that is not even, in pico-USD; together they are zero."""
    found = ((name, int(balance)) for name, balance in database.execute("SELECT name, balance FROM account ORDER BY name"))
    return {name: pico for name, pico in found if pico}


def verify(database: sqlite3.Connection, usage: Path) -> list[Difference]:
    """Add everything up again: the balances from the usage log, as far as it is loaded, and from the transfers. Empty: all agree."""
    with snapshot(database):
        found = balances(database)
        by_transfers = _by_transfers(database)
        loaded: dict[str, int] = dict(database.execute("SELECT name, loaded FROM segment"))
    by_log = balances_of([(path, loaded[path.stem]) for path in segments(usage) if path.stem in loaded])
    return [*_differences("usage log", by_log, found), *_differences("transfers", by_transfers, found)]


def _nothing(group: tuple[str, ...]) -> UsageRow:
    return UsageRow(
        group=group, requests=0, tokens_in=0, tokens_cached=0, tokens_out=0, cost_pico=0, unpriced=0, lost=0, estimated=0, held=0
    )


def _plus(row: UsageRow, state: State, sums: Sequence[int | None]) -> UsageRow:
    """A group's row with what its attempts of one state add to it."""
    count, priced, tokens_in, cached, tokens_out, cost_high, cost_low = (value or 0 for value in sums)
    match state:
        case "void":
            return row
        case "held":
            return msgspec.structs.replace(row, held=row.held + count)
        case _:
            return msgspec.structs.replace(
                row,
                requests=row.requests + count,
                tokens_in=row.tokens_in + tokens_in,
                tokens_cached=row.tokens_cached + cached,
                tokens_out=row.tokens_out + tokens_out,
                cost_pico=row.cost_pico + cost_high * PART + cost_low,
                unpriced=row.unpriced + count - priced,
                lost=row.lost + (count if state == "lost" else 0),
                estimated=row.estimated + (count if state == "estimated" else 0),
            )


def _by_transfers(database: sqlite3.Connection) -> dict[Account, int]:
    names: dict[int, Account] = dict(database.execute("SELECT id, name FROM account"))
    sums: dict[Account, int] = {}
    rows = database.execute(
        f"SELECT debit, credit, sum(amount_pico / {PART}), sum(amount_pico % {PART}) FROM transfer GROUP BY debit, credit"  # noqa: S608 -- our own
    )
    for debit, credit, high, low in rows:
        for account, sign in ((names[debit], 1), (names[credit], -1)):
            sums[account] = sums.get(account, 0) + sign * (high * PART + low)
    return {account: pico for account, pico in sums.items() if pico}


def _differences(source: Source, expected: Mapping[Account, int], found: Mapping[Account, int]) -> list[Difference]:
    accounts = sorted({*expected, *found})
    return [
        Difference(account, source, expected.get(account, 0), found.get(account, 0))
        for account in accounts
        if expected.get(account, 0) != found.get(account, 0)
    ]
