"""Where budgets are kept: accounts, the leases on them, the holders of leases, alerts that must be told, and rules set at the command line.

One code for SQLite, which one process a host uses, and PostgreSQL, for many hosts: `metering.leases` decides, this loads and saves, each
call in one transaction. Amounts are integers of any size, as text in SQLite and as NUMERIC in PostgreSQL.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeAlias

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.errors import InvalidRequest
from headrace.metering import AccountOpening, Lease, LeaseAccount, Said, Told, close, correct, crossed, lend
from headrace.storage.usagemark import START, Mark

Row: TypeAlias = tuple[Any, ...]
RETRY_S: tuple[int, ...] = (5, 30, 120, 600, 1_800, 7_200, 21_600, 43_200)
"""How long after each failure an alert is tried again; then it is given up, and stays on record."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS budget_rule (
    name TEXT PRIMARY KEY, content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS budget_recipients (
    name TEXT PRIMARY KEY, content TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS budget_account (
    id SERIAL_KEY, name TEXT NOT NULL UNIQUE, budget TEXT NOT NULL, instance TEXT NOT NULL, period TEXT NOT NULL, ends BIGINT NOT NULL,
    mode TEXT NOT NULL, alerts TEXT NOT NULL, limit_pico AMOUNT NOT NULL, spent_pico AMOUNT NOT NULL, short INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS budget_holder (
    epoch SERIAL_KEY, process TEXT NOT NULL UNIQUE, host TEXT NOT NULL, pid INTEGER NOT NULL, opened BIGINT NOT NULL,
    segment TEXT NOT NULL, mark BIGINT NOT NULL, ended BIGINT
);
CREATE TABLE IF NOT EXISTS budget_lease (
    account INTEGER NOT NULL, holder INTEGER NOT NULL, granted AMOUNT NOT NULL, returned AMOUNT NOT NULL, settled AMOUNT NOT NULL,
    held AMOUNT NOT NULL, PRIMARY KEY (account, holder)
);
CREATE TABLE IF NOT EXISTS budget_alert (
    account INTEGER NOT NULL, percent INTEGER NOT NULL, moment BIGINT NOT NULL, spent_pico AMOUNT NOT NULL, limit_pico AMOUNT NOT NULL,
    tries INTEGER NOT NULL, next_try BIGINT, delivered BIGINT, failure TEXT, PRIMARY KEY (account, percent)
);
CREATE TABLE IF NOT EXISTS budget_unknown (
    request TEXT NOT NULL, attempt INTEGER NOT NULL, moment BIGINT NOT NULL, accounts TEXT NOT NULL, booked_pico AMOUNT NOT NULL,
    corrected BIGINT, PRIMARY KEY (request, attempt)
);
CREATE TABLE IF NOT EXISTS budget_carried (
    account INTEGER PRIMARY KEY, pico AMOUNT NOT NULL
);
CREATE TABLE IF NOT EXISTS budget_host (
    host TEXT PRIMARY KEY, seen BIGINT NOT NULL
)
"""


class Connection(Protocol):
    """A database in which a transaction is open."""

    def rows(self, sql: str, *values: object) -> list[Row]: ...

    def run(self, sql: str, *values: object) -> None: ...


class Database(Protocol):
    """How a kind of database opens transactions and locks rows."""

    lock_words: str
    """What a SELECT ends with, so that nobody else changes its rows before the transaction ends."""

    def transaction(self) -> AbstractContextManager[Connection]: ...

    def snapshot(self) -> AbstractContextManager[Connection]:
        """For reading alone: all of it as it is at one moment, and nobody waits for it."""
        ...

    def close(self) -> None: ...


class Holder(msgspec.Struct, frozen=True):
    """A holder that has not ended, as far as the store knows."""

    epoch: int
    process: str
    pid: int
    mark: Mark


class Unknown(msgspec.Struct, frozen=True):
    """An attempt that a dead process left open, booked at its bound on these accounts until its truth is known."""

    request: str
    attempt: int
    accounts: tuple[int, ...]
    booked_pico: int


class AccountRow(msgspec.Struct, frozen=True, kw_only=True):
    """One account as people see it. `held_pico` is at work or unknown, `leased_free_pico` lies ready at one of its `holders`; of what is
    spent `carried_pico` was before the account was there."""

    account: int
    ends: Moment
    holders: int
    budget: str
    instance: str
    period: str
    mode: str
    limit_pico: int
    spent_pico: int
    held_pico: int
    leased_free_pico: int
    available_pico: int
    unknown_pico: int
    carried_pico: int = 0


class Recipients(msgspec.Struct, frozen=True):
    """Whom whoever hears of an alert should write to, and what the letter's subject begins with."""

    addresses: tuple[str, ...]
    subject_prefix: str | None


class Before(msgspec.Struct, frozen=True):
    """What was spent in the period of an account before it was there, by the books of this moment."""

    opening: AccountOpening
    spent_pico: int
    moment: Moment


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a budget that was reached, which somebody is to be told of."""

    account: int
    percent: int
    moment: Moment
    spent_pico: int
    limit_pico: int
    tries: int
    budget: str
    instance: str
    period: str
    recipients: Recipients | None = None


class Fenced(Exception):
    """The end of this holder was booked: whatever it has leased is not its own any more."""


class Treasury:
    """The accounts of one installation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        self._database.close()

    # Holders.

    def open_holder(self, process: str, host: str, pid: int, segment: str, now: Moment) -> int:
        """A life begins; its epoch is greater than all before it. Asked again for the same process, the same epoch."""
        with self._database.transaction() as at:
            found = at.rows("SELECT epoch, ended FROM budget_holder WHERE process = ?", process)
            if found:
                if found[0][1] is not None:
                    raise Fenced
                return int(found[0][0])
            sql = "INSERT INTO budget_holder (process, host, pid, opened, segment, mark) VALUES (?, ?, ?, ?, ?, 0) RETURNING epoch"
            return int(at.rows(sql, process, host, pid, now, segment)[0][0])

    def holders(self, host: str) -> list[Holder]:
        """The holders of a host that have not ended."""
        with self._database.transaction() as at:
            sql = "SELECT epoch, process, pid, segment, mark FROM budget_holder WHERE host = ? AND ended IS NULL ORDER BY epoch"
            return [Holder(int(row[0]), row[1], int(row[2]), Mark(row[3], int(row[4]))) for row in at.rows(sql, host)]

    def end_holder(
        self,
        epoch: int,
        now: Moment,
        settled: Mapping[int, int] | None = None,
        unknown: Sequence[Unknown] = (),
    ) -> None:
        """A life is over, once and for all: beside what it had told, it has spent `settled`, and what is `unknown` is held."""
        settled = settled or {}
        with self._database.transaction() as at:
            found = at.rows(f"SELECT ended FROM budget_holder WHERE epoch = ?{self._database.lock_words}", epoch)  # noqa: S608 -- our words
            if not found or found[0][0] is not None:
                return
            held: dict[int, int] = {}
            for one in unknown:
                for number in one.accounts:
                    held[number] = held.get(number, 0) + one.booked_pico
                at.run(
                    "INSERT INTO budget_unknown (request, attempt, moment, accounts, booked_pico) VALUES (?, ?, ?, ?, ?) "
                    "ON CONFLICT (request, attempt) DO NOTHING",
                    one.request, one.attempt, now, _listed(one.accounts), str(one.booked_pico),
                )  # fmt: skip
            leased = {int(row[0]) for row in at.rows("SELECT account FROM budget_lease WHERE holder = ?", epoch)}
            for number in sorted(leased | settled.keys() | held.keys()):
                account = self._load(at, number)
                if account is None:
                    continue
                told = account.leases[epoch].settled if epoch in account.leases else 0
                close(account, epoch, told + settled.get(number, 0), held.get(number, 0))
                at.run("UPDATE budget_account SET spent_pico = ? WHERE id = ?", str(account.spent), number)
                self._alert(at, number, account, now)
            at.run("DELETE FROM budget_lease WHERE holder = ?", epoch)
            at.run("UPDATE budget_holder SET ended = ? WHERE epoch = ?", now, epoch)

    # Accounts.

    def lease(self, epoch: int, account: int) -> Lease:
        """What a holder has, as far as the store has heard."""
        with self._database.transaction() as at:
            sql = "SELECT granted, returned, settled, held FROM budget_lease WHERE account = ? AND holder = ?"
            found = at.rows(sql, account, epoch)
            return Lease(*(int(value) for value in found[0])) if found else Lease()

    def open_account(self, opening: AccountOpening) -> int:
        """The number of an account, which is made where it is not there; amount and mode are taken over where they are others now."""
        with self._database.transaction() as at:
            return self._open(at, opening)

    def _open(self, at: Connection, opening: AccountOpening) -> int:
        at.run(
            "INSERT INTO budget_account (name, budget, instance, period, ends, mode, alerts, limit_pico, spent_pico, short) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, '0', 0) ON CONFLICT (name) DO UPDATE "
            "SET mode = excluded.mode, alerts = excluded.alerts, limit_pico = excluded.limit_pico",
            opening.name, opening.budget, opening.instance, opening.period, opening.ends, opening.mode,
            _listed(opening.alerts_percent), str(opening.limit_pico),
        )  # fmt: skip
        number = int(at.rows("SELECT id FROM budget_account WHERE name = ?", opening.name)[0][0])
        self._untell(at, number, opening)
        return number

    def _carry(self, at: Connection, before: Before) -> None:
        number = self._open(at, before.opening)
        account = self._load(at, number)
        assert account is not None, "an account is never taken away"
        more = before.spent_pico - account.spent_in_all
        if more <= 0:
            return
        account.spent += more
        at.run("UPDATE budget_account SET spent_pico = ? WHERE id = ?", str(account.spent), number)
        carried = more + sum(int(row[0]) for row in at.rows("SELECT pico FROM budget_carried WHERE account = ?", number))
        at.run(
            "INSERT INTO budget_carried (account, pico) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET pico = excluded.pico",
            number, str(carried),
        )  # fmt: skip
        self._alert(at, number, account, before.moment)

    def beat(self, epoch: int, mark: Mark, saids: Sequence[Said], now: Moment) -> list[Told]:
        """A holder says how its slices stand as of this place in its usage log, and hears what it may have. Raises Fenced."""
        with self._database.transaction() as at:
            found = at.rows(f"SELECT ended FROM budget_holder WHERE epoch = ?{self._database.lock_words}", epoch)  # noqa: S608 -- our words
            if not found or found[0][0] is not None:
                raise Fenced
            told = [answer for said in sorted(saids, key=_account_of) if (answer := self._lend(at, epoch, said, now)) is not None]
            at.run(
                "UPDATE budget_holder SET segment = ?, mark = ? WHERE epoch = ? AND (segment < ? OR (segment = ? AND mark <= ?))",
                mark.segment, mark.offset, epoch, mark.segment, mark.segment, mark.offset,
            )  # fmt: skip
            return told

    def _lend(self, at: Connection, epoch: int, said: Said, now: Moment) -> Told | None:
        account = self._load(at, said.account)
        if account is None:
            return None
        was_short = account.short
        told = lend(account, epoch, said)
        lease = account.leases[epoch]
        at.run(
            "INSERT INTO budget_lease (account, holder, granted, returned, settled, held) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (account, holder) DO UPDATE SET granted = excluded.granted, returned = excluded.returned, "
            "settled = excluded.settled, held = excluded.held",
            said.account, epoch, str(lease.granted), str(lease.returned), str(lease.settled), str(lease.held),
        )  # fmt: skip
        if account.short != was_short:
            at.run("UPDATE budget_account SET short = ? WHERE id = ?", int(account.short), said.account)
        self._alert(at, said.account, account, now)
        return msgspec.structs.replace(told, account=said.account)

    def _load(self, at: Connection, number: int) -> LeaseAccount | None:
        found = at.rows(f"SELECT {_ACCOUNT} FROM budget_account WHERE id = ?{self._database.lock_words}", number)  # noqa: S608 -- our words
        if not found:
            return None
        return _account(found[0], _leases(at.rows(f"SELECT {_LEASE} FROM budget_lease WHERE account = ?", number)))  # noqa: S608 -- ours

    def accounts(self, budget: str | None = None, *, ends_after: Moment | None = None) -> list[AccountRow]:
        """All accounts, those of one budget, or those whose period ends later than that; the latest period first."""
        with self._database.snapshot() as at:
            unknown: dict[int, int] = {}
            for accounts, booked in at.rows("SELECT accounts, booked_pico FROM budget_unknown WHERE corrected IS NULL"):
                for number in _numbers(accounts):
                    unknown[number] = unknown.get(number, 0) + int(booked)
            carried = {int(number): int(pico) for number, pico in at.rows("SELECT account, pico FROM budget_carried")}
            leases: dict[int, dict[int, Lease]] = {}
            for number, *lease in at.rows(f"SELECT account, {_LEASE} FROM budget_lease"):  # noqa: S608 -- our own column names
                leases.setdefault(int(number), {}).update(_leases([lease]))
            asked: tuple[tuple[str, object], ...] = (("budget = ?", budget), ("ends > ?", ends_after))
            wanted = [(condition, value) for condition, value in asked if value is not None]
            where = f"WHERE {' AND '.join(condition for condition, _ in wanted)}" if wanted else ""
            sql = (
                f"SELECT id, budget, instance, period, ends, {_ACCOUNT} FROM budget_account {where} ORDER BY budget, period DESC, instance"  # noqa: S608
            )
            return [
                _shown(row, _account(row[5:], leases.get(int(row[0]), {})), unknown.get(int(row[0]), 0), carried.get(int(row[0]), 0))
                for row in at.rows(sql, *(value for _, value in wanted))
            ]

    # The truth, when it comes.

    def correct(
        self, request: str, attempt: int, cost_pico: int, now: Moment, *, accounts: tuple[int, ...] = (), booked_pico: int = 0
    ) -> int | None:
        """What an attempt of unknown end came to: the difference to what it was booked at is there again. Once: again changes nothing.

        `accounts` and `booked_pico` are those of an attempt that was never listed as unknown, such as one that its vendor left untold.
        Returns what its accounts were charged for it before; None: nothing is to be corrected.
        """
        with self._database.transaction() as at:
            sql = (
                f"SELECT accounts, booked_pico, corrected FROM budget_unknown WHERE request = ? AND attempt = ?{self._database.lock_words}"  # noqa: S608
            )
            found = at.rows(sql, request, attempt)
            if found and found[0][2] is not None:
                return None
            if found:
                accounts, booked_pico = _numbers(found[0][0]), int(found[0][1])
                at.run("UPDATE budget_unknown SET corrected = ? WHERE request = ? AND attempt = ?", now, request, attempt)
            elif accounts:
                at.run(
                    "INSERT INTO budget_unknown (request, attempt, moment, accounts, booked_pico, corrected) VALUES (?, ?, ?, ?, ?, ?)",
                    request, attempt, now, _listed(accounts), str(booked_pico), now,
                )  # fmt: skip
            else:
                return None
            for number in sorted(accounts):
                account = self._load(at, number)
                assert account is not None, "an account is never taken away"
                correct(account, booked_pico, cost_pico)
                at.run("UPDATE budget_account SET spent_pico = ? WHERE id = ?", str(account.spent), number)
            return booked_pico

    def unknown(self) -> list[Unknown]:
        """What is held because nobody knows what became of it."""
        with self._database.transaction() as at:
            sql = "SELECT request, attempt, accounts, booked_pico FROM budget_unknown WHERE corrected IS NULL ORDER BY moment, request"
            return [Unknown(row[0], int(row[1]), _numbers(row[2]), int(row[3])) for row in at.rows(sql)]

    # Alerts: written down with what caused them, and told until somebody has heard them.

    def _alert(self, at: Connection, number: int, account: LeaseAccount, now: Moment) -> None:
        alerts = at.rows("SELECT alerts FROM budget_account WHERE id = ?", number)[0][0]
        for percent in crossed(account, _numbers(alerts)):
            at.run(
                "INSERT INTO budget_alert (account, percent, moment, spent_pico, limit_pico, tries, next_try) VALUES (?, ?, ?, ?, ?, 0, ?) "
                "ON CONFLICT (account, percent) DO NOTHING",
                number, percent, now, str(account.spent_in_all), str(account.limit), now,
            )  # fmt: skip

    def _untell(self, at: Connection, number: int, opening: AccountOpening) -> None:
        """Where the amount was raised, what was told of the lesser one is to be told again when it is reached."""
        told = at.rows("SELECT percent FROM budget_alert WHERE account = ? AND limit_pico <> ?", number, str(opening.limit_pico))
        if not told:
            return
        account = self._load(at, number)
        assert account is not None, "it was opened just now"
        reached = crossed(account, tuple(int(row[0]) for row in told))
        for (percent,) in told:
            if percent not in reached:
                at.run("DELETE FROM budget_alert WHERE account = ? AND percent = ?", number, percent)

    def due_alerts(self, now: Moment) -> list[Alert]:
        """What should be told now, the oldest first."""
        with self._database.transaction() as at:
            sql = (
                "SELECT account, percent, moment, spent_pico, budget_alert.limit_pico, tries, budget, instance, period, content "
                "FROM budget_alert JOIN budget_account ON budget_account.id = account "
                "LEFT JOIN budget_recipients ON budget_recipients.name = budget "
                "WHERE delivered IS NULL AND next_try <= ? ORDER BY moment LIMIT 50"
            ).replace("spent_pico", "budget_alert.spent_pico")
            return [
                Alert(
                    account=int(row[0]), percent=int(row[1]), moment=int(row[2]), spent_pico=int(row[3]), limit_pico=int(row[4]),
                    tries=int(row[5]), budget=row[6], instance=row[7], period=row[8],
                    recipients=None if row[9] is None else msgspec.json.decode(row[9], type=Recipients),
                )
                for row in at.rows(sql, now)
            ]  # fmt: skip

    def claim_alert(self, alert: Alert, now: Moment) -> bool:
        """Take it on oneself to tell this: False where another host has. Who dies over it leaves it to the next try."""
        wait_s = RETRY_S[min(alert.tries, len(RETRY_S) - 1)]
        with self._database.transaction() as at:
            where = "account = ? AND percent = ? AND tries = ? AND delivered IS NULL"
            gone = alert.tries >= len(RETRY_S)
            sql = f"UPDATE budget_alert SET tries = tries + 1, next_try = ? WHERE {where} RETURNING tries"  # noqa: S608 -- our words
            return bool(at.rows(sql, None if gone else now + wait_s * SECOND, alert.account, alert.percent, alert.tries))

    def alert_told(self, alert: Alert, now: Moment, failure: str | None) -> None:
        """It was heard, or why not."""
        with self._database.transaction() as at:
            sql = "UPDATE budget_alert SET delivered = ?, failure = ? WHERE account = ? AND percent = ?"
            at.run(sql, now if failure is None else None, failure, alert.account, alert.percent)

    # Rules and hosts.

    def rules(self) -> dict[str, str]:
        with self._database.transaction() as at:
            return {str(row[0]): str(row[1]) for row in at.rows("SELECT name, content FROM budget_rule ORDER BY name")}

    def recipients(self) -> dict[str, Recipients]:
        """By the budgets whose alerts are meant for somebody."""
        with self._database.transaction() as at:
            rows = at.rows("SELECT name, content FROM budget_recipients")
            return {str(row[0]): msgspec.json.decode(row[1], type=Recipients) for row in rows}

    def set_rule(self, name: str, content: str, recipients: Recipients | None = None, before: Before | None = None) -> None:
        """What was said of recipients before stays where nothing is said of them. The account of a rule that is new counts what was spent
        `before` it, too; that of one that was there has counted since."""
        with self._database.transaction() as at:
            is_new = not at.rows("SELECT 1 FROM budget_rule WHERE name = ?", name)
            at.run(
                "INSERT INTO budget_rule (name, content) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET content = excluded.content",
                name, content,
            )  # fmt: skip
            if recipients is not None:
                at.run(
                    "INSERT INTO budget_recipients (name, content) VALUES (?, ?) "
                    "ON CONFLICT (name) DO UPDATE SET content = excluded.content",
                    name, msgspec.json.encode(recipients).decode(),
                )  # fmt: skip
            if before is not None and is_new:
                self._carry(at, before)

    def remove_rule(self, name: str) -> None:
        """Raises InvalidRequest where there is none of this name."""
        if not self.drop_rule(name):
            raise InvalidRequest(f"no budget {name!r} was set at the command line: `headrace budget list` shows them all")

    def drop_rule(self, name: str) -> bool:
        """False where there is none of this name."""
        with self._database.transaction() as at:
            at.run("DELETE FROM budget_recipients WHERE name = ?", name)
            return bool(at.rows("DELETE FROM budget_rule WHERE name = ? RETURNING name", name))

    def seen(self, host: str, now: Moment, within_s: int) -> int:
        """This host lives; how many do."""
        with self._database.transaction() as at:
            at.run("INSERT INTO budget_host (host, seen) VALUES (?, ?) ON CONFLICT (host) DO UPDATE SET seen = excluded.seen", host, now)
            return max(1, len(at.rows("SELECT host FROM budget_host WHERE seen > ?", now - within_s * SECOND)))


@contextmanager
def opened(database: Database) -> Iterator[Treasury]:
    treasury = Treasury(database)
    try:
        yield treasury
    finally:
        treasury.close()


_ACCOUNT = "limit_pico, mode, spent_pico, short"
_LEASE = "holder, granted, returned, settled, held"


def _account(row: Row, leases: dict[int, Lease]) -> LeaseAccount:
    limit, mode, spent, short = row
    return LeaseAccount(limit=int(limit), mode=mode, spent=int(spent), short=bool(short), leases=leases)


def _leases(rows: Iterable[Sequence[Any]]) -> dict[int, Lease]:
    return {int(holder): Lease(*(int(value) for value in amounts)) for holder, *amounts in rows}


def _shown(row: Row, account: LeaseAccount, unknown_pico: int, carried_pico: int) -> AccountRow:
    number, budget, instance, period, ends = row[:5]
    return AccountRow(
        account=int(number),
        ends=int(ends),
        holders=len(account.leases),
        budget=budget,
        instance=instance,
        period=period,
        mode=account.mode,
        limit_pico=account.limit,
        spent_pico=account.spent_in_all,
        held_pico=account.held_in_all,
        leased_free_pico=sum(lease.free for lease in account.leases.values()) if account.mode == "hard" else 0,
        available_pico=account.available,
        unknown_pico=unknown_pico,
        carried_pico=carried_pico,
    )


def _account_of(said: Said) -> int:
    """Rows are locked in one order by everybody."""
    return said.account


def _listed(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _numbers(listed: str) -> tuple[int, ...]:
    return tuple(int(part) for part in listed.split(",") if part)


__all__ = ["START", "AccountRow", "Alert", "Before", "Fenced", "Holder", "Recipients", "Treasury", "Unknown", "opened"]
