"""What the books say: usage by model, key or class, balances, and whether SQLite and the usage log agree to the last digit."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.metering import Account, Ledger, State
from headrace.storage.database import snapshot
from headrace.storage.segment import read_pieces, segments

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
    names = ", ".join(("state", *group))
    where, bounds = (
        ("", ())
        if since is None and until is None
        else ("WHERE admitted >= ? AND admitted < ?", (since or 0, FOREVER if until is None else until))
    )
    sql = f"""
        SELECT {names}, count(*), count(cost_pico), sum(uncached + cache_read + cache_write), sum(cache_read), sum(output + reasoning),
            sum(cost_pico / {PART}), sum(cost_pico % {PART})
        FROM usage {where} GROUP BY {names}
    """  # noqa: S608 -- `group` holds names of our own columns, checked above
    rows: dict[tuple[str, ...], UsageRow] = {} if group else {(): _nothing(())}
    for state, *found in database.execute(sql, bounds):
        name = tuple(str(value) for value in found[: len(group)])
        rows[name] = _plus(rows.get(name) or _nothing(name), state, found[len(group) :])
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
    ledger = Ledger()
    for path in segments(usage):
        if path.stem in loaded:
            for piece in read_pieces(path, stop=loaded[path.stem]):
                for record in piece.records:
                    ledger.book(record)
    return [*_differences("usage log", ledger.balances, found), *_differences("transfers", by_transfers, found)]


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
    sums: dict[Account, int] = {}
    for side, sign in (("debit", 1), ("credit", -1)):
        rows = database.execute(
            f"SELECT name, sum(amount_pico / {PART}), sum(amount_pico % {PART}) "  # noqa: S608 -- our own column names
            f"FROM transfer JOIN account ON account.id = {side} GROUP BY account.id"
        )
        for name, high, low in rows:
            sums[name] = sums.get(name, 0) + sign * (high * PART + low)
    return sums


def _differences(source: Source, expected: Mapping[Account, int], found: Mapping[Account, int]) -> list[Difference]:
    accounts = sorted({*expected, *found})
    return [
        Difference(account, source, expected.get(account, 0), found.get(account, 0))
        for account in accounts
        if expected.get(account, 0) != found.get(account, 0)
    ]
