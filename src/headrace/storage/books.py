"""Records into SQLite: where each attempt stands, what was posted for it, and every account's balance, inside the caller's transaction.

Nearly every attempt ends once, and was unknown or running before: such ends go in as they are read, many at a time, and what is charged is
added up by label. SQLite says how many rows that changed; when it is not all of them, they are taken back and go the long way, on which
each record is held against what is known of its attempt.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final, TypeAlias

import msgspec

from headrace.core.clock import SECOND
from headrace.core.usage import SEGMENTS, Usage
from headrace.metering import (
    Admit,
    Aside,
    AttemptId,
    Card,
    Certainty,
    Declined,
    Evidence,
    Lost,
    Record,
    Settle,
    Standing,
    State,
    Transfer,
    Void,
    admitted,
    standing,
)
from headrace.metering.ledger import Entries, cost, customer, entries, entries_of, payable, revenue, transfers, vendor_of
from headrace.metering.records import RANK, Precedence, precedence
from headrace.storage.segment import Found

Value: TypeAlias = str | int | bytes | None
Row: TypeAlias = tuple[Value, ...]
Names: TypeAlias = tuple[Value, ...]

STATES: Final[tuple[State, ...]] = tuple(sorted(RANK, key=RANK.__getitem__))
NOTHING: Final = (0,) * len(SEGMENTS)
SEGMENTS_COUNT: Final = len(SEGMENTS)
HOUR: Final = 3_600 * SECOND
HELD, VOID = RANK["held"], RANK["void"]
LABELS_MAX: Final = 100_000  # that are kept in memory
MANY: Final = 64  # rows of one statement
FIRST: Final = ("request", "number", "admitted", "bound_pico", "placed", "user", "detail")  # what an admission says, and no end changes
REST: Final = (
    "state", "label", "ended", *SEGMENTS, "cost_pico", "ttft_ms", "duration_ms", "translation", "buy_pico", "calls", "units",
)  # fmt: skip
LABEL: Final = (
    "organization", "project", "key", "class", "operation", "model", "pool", "streamed", "price", "evidence", "outcome", "model_served",
    "tier", "buy", "ours",
)  # fmt: skip
_COLUMNS: Final = (*FIRST, *REST)
_INTO: Final = f"INTO attempt ({', '.join(_COLUMNS)}) VALUES"
_ONE: Final = f"({', '.join('?' * len(_COLUMNS))})"
_UPDATE: Final = f"ON CONFLICT (request, number) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in REST)}"
_KNOWN: Final = (
    f"SELECT request, number, state, ended, cost_pico, buy, buy_pico, organization, project, model, posted, {', '.join(SEGMENTS)} "  # noqa: S608 -- ours
    "FROM json_each(?) AS wanted CROSS JOIN attempt ON request = wanted.value JOIN label ON label.id = attempt.label WHERE state > 0"
)
_LABEL_OF: Final = f"SELECT id, customer, revenue, cost, payable FROM label WHERE {' AND '.join(f'{name} IS ?' for name in LABEL)}"  # noqa: S608 -- ours
_NEW_LABEL: Final = f"INSERT INTO label ({', '.join(LABEL)}, customer, revenue, cost, payable) VALUES ({', '.join('?' * (len(LABEL) + 4))})"  # noqa: S608 -- ours
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record | Aside).decode
_decode_record = msgspec.msgpack.Decoder(Record).decode


class _Admitted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """An admission as its bytes are taken over: what is not looked into stays encoded."""

    request: str
    attempt: int
    moment: int
    organization: str
    project: str
    key: str
    traffic_class: str
    operation: str
    model: str
    pool: str
    streamed: bool
    bound: msgspec.Raw
    bound_pico: int | None
    price: str | None
    evidence: str | None
    placed: msgspec.Raw
    epoch: int = 0
    accounts: msgspec.Raw = msgspec.Raw(b"\x90")
    tier: str | None = None
    user: str | None = None
    buy: str | None = None
    detail: str | None = None


class _Settled(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    admitted: _Admitted
    moment: int
    usage: tuple[int, ...]
    cost_pico: int | None
    state: Certainty
    outcome: str
    ttft_ms: int | None
    duration_ms: int
    model_served: str | None
    translation: msgspec.Raw
    tier: str | None = None
    price: str | None = None
    buy: str | None = None
    buy_pico: int | None = None
    ours: bool = False
    calls: msgspec.Raw = msgspec.Raw(b"\x90")
    units: msgspec.Raw = msgspec.Raw(b"\x90")


class _Voided(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    admitted: _Admitted
    moment: int
    reason: str


_decode_end = msgspec.msgpack.Decoder(_Settled | _Voided).decode
_decode_admit = msgspec.msgpack.Decoder(_Admitted).decode
_decode_counts = msgspec.msgpack.Decoder(tuple[int, ...]).decode


@cache
def _inserting(count: int) -> str:
    """So many ends at once. Only a row that is new or still held is changed."""
    return f"INSERT {_INTO} {', '.join([_ONE] * count)} {_UPDATE} WHERE state = {HELD}"


@cache
def _holding(count: int) -> str:
    return f"INSERT OR IGNORE {_INTO} {', '.join([_ONE] * count)}"


class _Known(msgspec.Struct, frozen=True, gc=False):
    """What the database holds of an attempt that has ended."""

    precedence: Precedence
    entries: Entries
    ended: int
    posted: int

    @property
    def implied(self) -> bool:
        """What is posted for it are no rows of their own."""
        return not self.posted and bool(self.entries)


class Bookkeeper:
    """The only writer of attempts, postings and balances."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._labels: dict[Names, int] = {}
        self._accounts: dict[
            int, tuple[int, int, int | None, int | None]
        ] = {}  # of a label: whom it charges, for what; what it costs, owed to whom
        self._hours: set[int] = set()  # whose sums are to be made again
        self._many = min(MANY, database.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // len(_COLUMNS))

    def forget(self) -> None:
        """Look labels up again: those that were made in a transaction that was rolled back are none."""
        self._labels.clear()
        self._accounts.clear()
        self._hours.clear()

    def take(self, found: Found) -> None:
        """Take in a piece of the log. Raises msgspec.MsgspecError where a frame holds no record: the caller's transaction is void then."""
        if len(self._labels) > LABELS_MAX:
            self.forget()
        if not self._book_ends(found.ends):
            self.book([_decode_record(payload) for payload in found.ends])
        self._hold([*found.admits.values()])
        alone = [_decode(payload) for payload in found.alone]
        self.book([record for record in alone if isinstance(record, (Admit, Settle, Lost, Void))])
        self._database.executemany(
            "INSERT OR IGNORE INTO evidence (id, moment, content) VALUES (?, ?, ?)",
            [(record.id, record.moment, record.content) for record in alone if isinstance(record, Evidence)],
        )
        self._database.executemany(
            "INSERT OR IGNORE INTO card (id, moment, model, tier, weights, fees, source, listed) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    record.id,
                    record.moment,
                    record.model,
                    record.tier,
                    _encode(record.weights),
                    _encode(record.fees),
                    record.source,
                    record.listed,
                )
                for record in alone
                if isinstance(record, Card)
            ],
        )
        self._database.executemany(
            f"INSERT OR IGNORE INTO declined VALUES ({', '.join('?' * len(Declined.__struct_fields__))})",  # noqa: S608 -- our own count
            [
                (*msgspec.structs.astuple(record)[:-1], _encode(record.placed) if record.placed else None)
                for record in alone
                if isinstance(record, Declined)
            ],
        )
        self._tell_stale()

    def book(self, records: Sequence[Record]) -> int:
        """Take records in, whatever was known before; return for how many attempts something changed."""
        if not records:
            return 0
        held: list[Row] = []
        ended: list[Row] = []
        posted: list[Transfer] = []
        change: dict[str, int] = {}
        latest = _latest(records)
        known = _known(self._database, list(latest))
        for attempt, record in latest.items():
            earlier = known.get(attempt)
            self._hours.add(admitted(record).moment // HOUR)
            if isinstance(record, Admit):
                if earlier is None:
                    held.append(self._row(record))
                continue
            stands = standing(record)
            if earlier is not None and earlier.precedence >= stands.precedence:
                continue
            rows, count = _posted(attempt, earlier, stands)
            ended.append((*self._row(record), count))
            posted += rows
            _add(change, () if earlier is None else earlier.entries, -1)
            _add(change, entries_of(stands), 1)
        self._database.executemany(f"INSERT OR IGNORE {_INTO} {_ONE}", held)
        self._database.executemany(
            f"INSERT {_INTO.replace(') VALUES', ', posted) VALUES')} {_ONE[:-1]}, ?) {_UPDATE}, posted = excluded.posted", ended
        )
        self._post(posted, change)
        self._tell_stale()
        return len(held) + len(ended)

    def _tell_stale(self) -> None:
        """The sums of the hours in which something changed are to be made again."""
        self._database.executemany("INSERT OR IGNORE INTO rollup_stale (hour) VALUES (?)", [(hour,) for hour in self._hours])
        self._hours.clear()

    def _book_ends(self, payloads: Sequence[bytes]) -> bool:
        """Take in ends of attempts that are new or running. False, and nothing is taken in, when one of them is known to have ended."""
        database, charged, bought, taken = self._database, dict[int, int](), dict[int, int](), 0
        database.execute("SAVEPOINT ends")
        for start in range(0, len(payloads), self._many):
            part = payloads[start : start + self._many]
            taken += database.execute(_inserting(len(part)), self._ended(part, charged, bought)).rowcount
        if taken != len(payloads):
            database.execute("ROLLBACK TO ends")
            self.forget()
        database.execute("RELEASE ends")
        if taken != len(payloads):
            return False
        change: dict[int, int] = {}
        for sums, at in ((charged, 0), (bought, 2)):
            for label, pico in sums.items():
                debit, credit = self._accounts[label][at : at + 2]
                if debit is not None and credit is not None:
                    change[debit] = change.get(debit, 0) + pico
                    change[credit] = change.get(credit, 0) - pico
        self._move(change)
        return True

    def _ended(self, payloads: Iterable[bytes], charged: dict[int, int], bought: dict[int, int]) -> list[Value]:
        """The values of the rows of these ends, one after the other; what they cost is added to what is `charged` to their labels, and what
        they cost us to what is `bought`."""
        values: list[Value] = []
        hours = self._hours
        for payload in payloads:
            end = _decode_end(payload)
            admit = end.admitted
            placed = None if len(admit.placed) == 1 else bytes(admit.placed)
            hours.add(admit.moment // HOUR)
            if isinstance(end, _Settled):
                label, pico, usage = self._label(admit, end.outcome, end.model_served, end), end.cost_pico, end.usage
                if len(usage) < SEGMENTS_COUNT:  # an older log tells fewer apart
                    usage = (*usage, *NOTHING[len(usage) :])
                translation = None if len(end.translation) == 1 else bytes(end.translation)
                values += (
                    admit.request, admit.attempt, admit.moment, admit.bound_pico, placed, admit.user, admit.detail, RANK[end.state], label,
                    end.moment, *usage, pico, end.ttft_ms, end.duration_ms, translation, end.buy_pico,
                    None if len(end.calls) == 1 else bytes(end.calls), None if admit.detail is None else bytes(end.units),
                )  # fmt: skip
                if pico:
                    charged[label] = charged.get(label, 0) + pico
                if end.buy_pico:
                    bought[label] = bought.get(label, 0) + end.buy_pico
            else:
                label = self._label(admit, end.reason, None)
                values += (
                    admit.request, admit.attempt, admit.moment, admit.bound_pico, placed, admit.user, admit.detail, VOID, label, end.moment,
                    *NOTHING, None, None, None, None, None, None, None,
                )  # fmt: skip
        return values

    def _hold(self, payloads: Sequence[bytes]) -> None:
        """Take in admits: what is known of their attempts already is never less."""
        for start in range(0, len(payloads), self._many):
            part = payloads[start : start + self._many]
            values: list[Value] = []
            for payload in part:
                admit = _decode_admit(payload)
                self._hours.add(admit.moment // HOUR)
                bound = _decode_counts(admit.bound)
                placed = None if len(admit.placed) == 1 else bytes(admit.placed)
                values += (
                    admit.request, admit.attempt, admit.moment, admit.bound_pico, placed, admit.user, admit.detail,
                    HELD, self._label(admit, None, None), None, *bound, *NOTHING[len(bound) :], None, None, None, None, None, None, None,
                )  # fmt: skip
            self._database.execute(_holding(len(part)), values)

    def _row(self, record: Record) -> Row:
        stands = standing(record)
        admit, usage = stands.admitted, stands.usage
        outcome, ttft_ms, duration_ms, model_served, translation = _ending(record)
        end = record if isinstance(record, Settle) else None
        return (
            admit.request, admit.attempt, admit.moment, admit.bound_pico, _encode(admit.placed) if admit.placed else None,
            admit.user, admit.detail, RANK[stands.state], self._label(admit, outcome, model_served, end),
            None if record is admit else stands.moment,
            *msgspec.structs.astuple(usage), stands.cost_pico, ttft_ms, duration_ms, translation, stands.buy_pico,
            _encode(end.calls) if end is not None and end.calls else None,
            None if admit.detail is None else _encode(() if end is None else end.units),
        )  # fmt: skip

    def _label(self, admit: _Admitted | Admit, outcome: str | None, model_served: str | None, end: _Settled | Settle | None = None) -> int:
        tier, price, buy, ours = admit.tier, admit.price, admit.buy, False
        if end is not None:
            tier, price = end.tier or tier, None if end.cost_pico is None else end.price or price
            buy, ours = end.buy or buy, end.ours
        names = (
            admit.organization, admit.project, admit.key, admit.traffic_class, admit.operation, admit.model, admit.pool, admit.streamed,
            price, admit.evidence, outcome, model_served, tier, buy, ours,
        )  # fmt: skip
        label = self._labels.get(names)
        return self._look_up(names) if label is None else label

    def _look_up(self, names: Names) -> int:
        """The label of these names, which is made where it is missing."""
        database = self._database
        found = database.execute(_LABEL_OF, names).fetchone()
        if found is None:
            vendor = None if names[13] is None else vendor_of(str(names[13]))
            accounts = (
                self._account(customer(str(names[0]), str(names[1]))),
                self._account(revenue(str(names[5]))),
                None if vendor is None else self._account(cost(vendor)),
                None if vendor is None else self._account(payable(vendor)),
            )
            found = database.execute(_NEW_LABEL, (*names, *accounts)).lastrowid, *accounts
        self._labels[names], self._accounts[found[0]] = found[0], found[1:]
        return int(found[0])

    def _account(self, name: str) -> int:
        self._database.execute("INSERT OR IGNORE INTO account (name, balance) VALUES (?, '0')", (name,))
        number: int = self._database.execute("SELECT id FROM account WHERE name = ?", (name,)).fetchone()[0]
        return number

    def _post(self, posted: Sequence[Transfer], change: dict[str, int]) -> None:
        """Write transfers, and what changes in the balances. An id that is there already is a fault, and stops everything."""
        ids = {name: self._account(name) for name in {*change, *(t.debit for t in posted), *(t.credit for t in posted)}}
        self._move({ids[name]: pico for name, pico in change.items()})
        self._database.executemany(
            "INSERT INTO posting (id, moment, kind, debit, credit, amount_pico) VALUES (?, ?, ?, ?, ?, ?)",
            [(t.id, t.moment, t.kind, ids[t.debit], ids[t.credit], t.amount_pico) for t in posted],
        )

    def _move(self, change: dict[int, int]) -> None:
        """Balances are text, since they may pass 64 bits."""
        for account, pico in change.items():
            (balance,) = self._database.execute("SELECT balance FROM account WHERE id = ?", (account,)).fetchone()
            self._database.execute("UPDATE account SET balance = ? WHERE id = ?", (str(int(balance) + pico), account))


def _posted(attempt: AttemptId, earlier: _Known | None, stands: Standing) -> tuple[tuple[Transfer, ...], int]:
    """The rows to write for an attempt that stands better now, and how many it has then; none and 0 while its only charge is implied."""
    before, count = ((), 0) if earlier is None else (earlier.entries, earlier.posted)
    first: tuple[Transfer, ...] = ()
    if earlier is not None and earlier.implied:
        first = transfers(attempt, earlier.ended, (), before, 0)
    rows = (*first, *transfers(attempt, stands.moment, before, entries_of(stands), count + len(first)))
    if earlier is None and all(row.kind in ("charge", "cost") for row in rows):
        return (), 0
    return rows, count + len(rows)


def _latest(records: Iterable[Record]) -> dict[AttemptId, Record]:
    """Of each attempt the record that holds among these."""
    latest: dict[AttemptId, Record] = {}
    for record in records:
        if isinstance(record, Admit):
            latest.setdefault(record.id, record)
            continue
        attempt = record.admitted.id
        earlier = latest.get(attempt)
        if earlier is None or isinstance(earlier, Admit) or standing(record).precedence > standing(earlier).precedence:
            latest[attempt] = record
    return latest


def _known(database: sqlite3.Connection, attempts: Iterable[AttemptId]) -> dict[AttemptId, _Known]:
    wanted = json.dumps(list(dict.fromkeys(request for request, _ in attempts)))
    known: dict[AttemptId, _Known] = {}
    for row in database.execute(_KNOWN, (wanted,)):
        request, attempt, number, ended, charged, buy, buy_pico, organization, project, model, posted, *counts = row
        state = STATES[number]
        known[request, attempt] = _Known(
            precedence(state, ended, charged, Usage(*counts), buy_pico, buy),
            entries(state, organization, project, model, charged, buy, buy_pico),
            ended,
            posted,
        )
    return known


def _ending(record: Record) -> tuple[str | None, int | None, int | None, str | None, bytes | None]:
    """Outcome, time to the first token, duration, the model that served, and what was translated."""
    match record:
        case Settle(outcome=outcome, ttft_ms=ttft_ms, duration_ms=duration_ms, model_served=served, translation=changes):
            return outcome, ttft_ms, duration_ms, served, _encode(changes) if changes else None
        case Void(reason=reason):
            return reason, None, None, None, None
        case _:
            return None, None, None, None, None


def _add(change: dict[str, int], shown: Entries, sign: int) -> None:
    for posted in shown:
        change[posted.debit] = change.get(posted.debit, 0) + sign * posted.amount_pico
        change[posted.credit] = change.get(posted.credit, 0) - sign * posted.amount_pico
