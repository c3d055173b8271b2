"""Records into SQLite: where each attempt stands, what was posted for it, and every account's balance, inside the caller's transaction."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from headrace.core.usage import Usage
from headrace.metering import Admit, AttemptId, Entry, Record, Settle, Standing, Transfer, Void, standing
from headrace.metering.ledger import entry, entry_of, transfers
from headrace.metering.records import precedence

Row: TypeAlias = tuple[str | int | None, ...]
Precedence: TypeAlias = tuple[int, int, int, tuple[int, ...]]

COLUMNS: Final = (
    "request", "attempt", "state", "admitted", "ended", "organization", "project", "key", "class", "operation", "model", "pool", "streamed",
    "bound_pico", "price", "uncached", "cache_read", "cache_write", "output", "reasoning", "cost_pico",
    "outcome", "ttft_ms", "duration_ms", "model_served", "posted",
)  # fmt: skip
_VALUES: Final = f"INTO usage ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_KNOWN: Final = """
    SELECT request, attempt, state, ended, cost_pico, uncached, cache_read, cache_write, output, reasoning,
        organization, project, model, posted
    FROM json_each(?) AS wanted CROSS JOIN usage ON request = wanted.value WHERE state <> 'held'
"""


class _Known(msgspec.Struct, frozen=True, gc=False):
    """What the database holds of an attempt that has ended."""

    precedence: Precedence
    entry: Entry | None
    posted: int


def book(database: sqlite3.Connection, records: Sequence[Record]) -> int:
    """Take records in, whatever was known before; return for how many attempts something changed."""
    held: list[Row] = []
    ended: list[Row] = []
    posted: list[Transfer] = []
    latest = _latest(records)
    known = _known(database, list(latest))
    for attempt, record in latest.items():
        earlier = known.get(attempt)
        if isinstance(record, Admit):
            if earlier is None:
                held.append(_row(record, standing(record), 0))
            continue
        stands = standing(record)
        if earlier is not None and earlier.precedence >= stands.precedence:
            continue
        before, count = (None, 0) if earlier is None else (earlier.entry, earlier.posted)
        rows = transfers(attempt, stands.moment, before, entry_of(stands), count)
        ended.append(_row(record, stands, count + len(rows)))
        posted += rows
    database.executemany(f"INSERT OR IGNORE {_VALUES}", held)
    database.executemany(f"INSERT OR REPLACE {_VALUES}", ended)
    _post(database, posted)
    return len(held) + len(ended)


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
        request, attempt, state, ended, cost, *counts, organization, project, model, posted = row
        known[request, attempt] = _Known(
            precedence(state, ended, cost, Usage(*counts)), entry(state, organization, project, model, cost), posted
        )
    return known


def _row(record: Record, stands: Standing, posted: int) -> Row:
    admit, usage = stands.admitted, stands.usage
    outcome, ttft_ms, duration_ms, model_served = _ending(record)
    return (
        admit.request, admit.attempt, stands.state, admit.moment, None if record is admit else stands.moment,
        admit.organization, admit.project, admit.key, admit.traffic_class, admit.operation, admit.model, admit.pool, admit.streamed,
        admit.bound_pico, admit.price, usage.uncached, usage.cache_read, usage.cache_write, usage.output, usage.reasoning, stands.cost_pico,
        outcome, ttft_ms, duration_ms, model_served, posted,
    )  # fmt: skip


def _ending(record: Record) -> tuple[str | None, int | None, int | None, str | None]:
    if isinstance(record, Settle):
        return record.outcome, record.ttft_ms, record.duration_ms, record.model_served
    return (record.reason if isinstance(record, Void) else None), None, None, None


def _post(database: sqlite3.Connection, posted: Sequence[Transfer]) -> None:
    """Write transfers and what they change in the balances. An id that is there already is a fault, and stops everything."""
    change: dict[str, int] = {}
    for transfer in posted:
        change[transfer.debit] = change.get(transfer.debit, 0) + transfer.amount_pico
        change[transfer.credit] = change.get(transfer.credit, 0) - transfer.amount_pico
    ids: dict[str, int] = {}
    for account, pico in change.items():
        database.execute("INSERT OR IGNORE INTO account (name, balance) VALUES (?, '0')", (account,))
        ids[account], balance = database.execute("SELECT id, balance FROM account WHERE name = ?", (account,)).fetchone()
        database.execute("UPDATE account SET balance = ? WHERE id = ?", (str(int(balance) + pico), ids[account]))
    database.executemany(
        "INSERT INTO transfer (id, moment, kind, debit, credit, amount_pico) VALUES (?, ?, ?, ?, ?, ?)",
        [(t.id, t.moment, t.kind, ids[t.debit], ids[t.credit], t.amount_pico) for t in posted],
    )
