"""What the books say: usage by model, key or class, balances, and whether SQLite and the usage log agree to the last digit."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.usage import NOTHING, Usage
from headrace.metering import Account
from headrace.storage.database import Database, snapshot
from headrace.storage.replay import Parts, balances_of, charged_of, days_of
from headrace.storage.rollups import PART
from headrace.storage.segment import segments
from headrace.storage.tallies import Dimension, Places, Tally, tallies

Source: TypeAlias = Literal["usage log", "transfers"]


class UsageRow(msgspec.Struct, frozen=True, kw_only=True):
    """The usage of one group: `group` holds a value for each dimension asked for, in that order.

    `requests` counts what customers pay for: attempts that ended with something owed, or might have; not those void, still running (`held`)
    or borne by us (`ours`: nothing of them was heard). `lost` of them are held at their bound, `estimated` rest on an estimate, and
    `unpriced` have no price, so that `cost_pico` leaves them out. `buy_pico` is what vendors charge for all attempts, ours too, and leaves
    out `unbought`, whose pools are paid by the hour or whose price nobody knows.
    """

    group: tuple[str, ...]
    requests: int = 0
    usage: Usage = NOTHING
    cost_pico: int = 0
    unpriced: int = 0
    lost: int = 0
    estimated: int = 0
    held: int = 0
    ours: int = 0
    buy_pico: int = 0
    unbought: int = 0

    @property
    def tokens_in(self) -> int:
        return self.usage.tokens_in

    @property
    def tokens_cached(self) -> int:
        return self.usage.cached

    @property
    def tokens_out(self) -> int:
        return self.usage.tokens_out


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
    places: Places | None = None,
) -> list[UsageRow]:
    """Usage admitted from `since` on and before `until`, one row a group, dearest first. Keys are given by id: see `key_names`."""
    found = tallies(database, group, since=since, until=until, places=places)
    rows = [_row(name, tally) for (_, name), tally in found.items()]
    return sorted(rows or ([] if group else [UsageRow(group=())]), key=lambda row: (-row.cost_pico, row.group))


def key_names(database: Database) -> dict[str, str]:
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
        entered = _entered(database)
        by_transfers = _plus(_by_transfers(database), entered)
        parts, _ = _loaded(database, usage)
    by_log = _plus(balances_of(parts), entered)
    return [*_differences("usage log", by_log, found), *_differences("transfers", by_transfers, found)]


def charged(database: sqlite3.Connection, usage: Path) -> tuple[dict[int, int], bool]:
    """By the usage log, as far as it is loaded: what each account of the budgets was charged, and whether all of it is still kept."""
    parts, whole = _loaded(database, usage)
    return charged_of(parts), whole


def charged_by_day(database: sqlite3.Connection, usage: Path) -> tuple[dict[int, tuple[int, int]], bool]:
    """The same by the Unix day of admission: what customers and what vendors charge."""
    parts, whole = _loaded(database, usage)
    return days_of(parts), whole


def is_open(database: sqlite3.Connection, request: str, attempt: int) -> bool:
    """Whether the books know no end of it."""
    found = database.execute("SELECT state FROM attempt WHERE request = ? AND number = ?", (request, attempt)).fetchone()
    return found is None or found[0] == 0


def _loaded(database: sqlite3.Connection, usage: Path) -> tuple[Parts, bool]:
    loaded: dict[str, int] = dict(database.execute("SELECT name, loaded FROM segment"))
    parts = [(path, loaded[path.stem]) for path in segments(usage) if path.stem in loaded]
    return parts, len(parts) == len(loaded)


def _row(group: tuple[str, ...], tally: Tally) -> UsageRow:
    return UsageRow(
        group=group,
        requests=tally.requests,
        usage=tally.usage,
        cost_pico=tally.cost_pico,
        unpriced=tally.unpriced,
        lost=tally.lost,
        estimated=tally.estimated,
        held=tally.held,
        ours=tally.ours,
        buy_pico=tally.buy_pico,
        unbought=tally.unbought,
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


def _entered(database: sqlite3.Connection) -> dict[Account, int]:
    """What people entered, by account: the usage log does not know of it."""
    sums: dict[Account, int] = {}
    for debit, credit, pico in database.execute("SELECT debit, credit, amount_pico FROM journal"):
        sums[debit] = sums.get(debit, 0) + int(pico)
        sums[credit] = sums.get(credit, 0) - int(pico)
    return sums


def _plus(one: Mapping[Account, int], other: Mapping[Account, int]) -> dict[Account, int]:
    sums = {account: one.get(account, 0) + other.get(account, 0) for account in {*one, *other}}
    return {account: pico for account, pico in sums.items() if pico}


def _differences(source: Source, expected: Mapping[Account, int], found: Mapping[Account, int]) -> list[Difference]:
    accounts = sorted({*expected, *found})
    return [
        Difference(account, source, expected.get(account, 0), found.get(account, 0))
        for account in accounts
        if expected.get(account, 0) != found.get(account, 0)
    ]
