"""Batches and their lines: a line is taken before it is worked on and answered once, whatever happens in between.

One process at a time works on a batch: it says so again and again, and who has not for a while is taken to be gone.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from headrace.core.identity import Principal
from headrace.storage.database import transaction

BatchStatus: TypeAlias = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
GONE_S: Final = 30
"""Who has not said for so long that it works on a batch does not."""
OPEN: Final = "status IN ('validating', 'in_progress', 'finalizing', 'cancelling')"
LOST: Final = msgspec.json.encode(
    {
        "response": None,
        "error": {"code": "interrupted", "message": "The server ended while it worked on this line: whether it was done is unknown."},
    }
)
_object = msgspec.json.Decoder(dict[str, Any])
_principal = msgspec.msgpack.Decoder(Principal)


class StoredBatch(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is as clients read it, without its counts."""

    owner: str
    id: str
    status: BatchStatus
    principal: Principal
    body: dict[str, Any]


class BatchLine(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    custom_id: str
    request: bytes


class AnsweredLine(msgspec.Struct, frozen=True, kw_only=True):
    """`answer` is the line's `response` and `error`, as JSON."""

    number: int
    custom_id: str
    failed: bool
    answer: bytes


class Counts(msgspec.Struct, frozen=True):
    total: int
    completed: int
    failed: int


def keep_batch(database: sqlite3.Connection, batch: StoredBatch, created_s: int) -> None:
    row = (batch.owner, batch.id, created_s, batch.status, msgspec.msgpack.encode(batch.principal), msgspec.json.encode(batch.body))
    database.execute("INSERT INTO batch (owner, id, created, status, principal, body) VALUES (?, ?, ?, ?, ?, ?)", row)


def keep_batch_with_lines(database: sqlite3.Connection, batch: StoredBatch, lines: Sequence[BatchLine], created_s: int) -> None:
    """Both or nothing."""
    with transaction(database):
        keep_batch(database, batch, created_s)
        _add_lines(database, batch.owner, batch.id, lines)


def change_batch(database: sqlite3.Connection, owner: str, id: str, status: BatchStatus, facts: Mapping[str, object]) -> dict[str, Any]:
    """Give it another status, and more `facts`. The batch as it is then."""
    with transaction(database):
        body = _object.decode(database.execute("SELECT body FROM batch WHERE owner = ? AND id = ?", (owner, id)).fetchone()[0])
        body |= {"status": status, **facts}
        database.execute("UPDATE batch SET status = ?, body = ? WHERE owner = ? AND id = ?", (status, msgspec.json.encode(body), owner, id))
    return body


def cancel_batch(database: sqlite3.Connection, owner: str, id: str, now_s: int) -> bool:
    """Whether there was something to cancel."""
    with transaction(database):
        row = database.execute(
            "SELECT body FROM batch WHERE owner = ? AND id = ? AND status IN ('validating', 'in_progress')", (owner, id)
        ).fetchone()
        if row is None:
            return False
        body = _object.decode(row[0]) | {"status": "cancelling", "cancelling_at": now_s}
        database.execute(
            "UPDATE batch SET status = 'cancelling', body = ? WHERE owner = ? AND id = ?", (msgspec.json.encode(body), owner, id)
        )
    return True


def batch_of(database: sqlite3.Connection, owner: str, id: str) -> tuple[StoredBatch, Counts] | None:
    row = database.execute("SELECT owner, id, status, principal, body FROM batch WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    return None if row is None else (_batch(row), counts_of(database, owner, id))


def batches_of(database: sqlite3.Connection, owner: str) -> list[tuple[StoredBatch, Counts]]:
    """First to last."""
    rows = database.execute(
        "SELECT owner, id, status, principal, body FROM batch WHERE owner = ? ORDER BY created, id", (owner,)
    ).fetchall()
    return [(_batch(row), counts_of(database, owner, row[1])) for row in rows]


def counts_of(database: sqlite3.Connection, owner: str, id: str) -> Counts:
    rows = dict(database.execute("SELECT state, count(*) FROM batch_line WHERE owner = ? AND batch = ? GROUP BY state", (owner, id)))
    return Counts(sum(rows.values()), rows.get("done", 0), rows.get("failed", 0))


# Who works on one.


def claim_batch(database: sqlite3.Connection, runner: str, now_s: int) -> StoredBatch | None:
    """The oldest that nobody works on, which is this runner's now."""
    with transaction(database):
        row = database.execute(
            f"SELECT owner, id, status, principal, body FROM batch WHERE {OPEN} AND (runner IS NULL OR beat < ?) "  # noqa: S608 -- our own words
            "ORDER BY created, id LIMIT 1",
            (now_s - GONE_S,),
        ).fetchone()
        if row is None:
            return None
        _lose(database, row[0], row[1])
        database.execute("UPDATE batch SET runner = ?, beat = ? WHERE owner = ? AND id = ?", (runner, now_s, row[0], row[1]))
    return _batch(row)


def add_lines(database: sqlite3.Connection, owner: str, id: str, lines: Sequence[BatchLine]) -> None:
    with transaction(database):
        _add_lines(database, owner, id, lines)


def _add_lines(database: sqlite3.Connection, owner: str, id: str, lines: Sequence[BatchLine]) -> None:
    database.executemany(
        "INSERT OR IGNORE INTO batch_line (owner, batch, number, state, custom_id, request) VALUES (?, ?, ?, 'pending', ?, ?)",
        [(owner, id, line.number, line.custom_id, line.request) for line in lines],
    )


def take_lines(
    database: sqlite3.Connection, owner: str, id: str, answered: Sequence[AnsweredLine], count: int, now_s: int
) -> tuple[BatchStatus, list[BatchLine]]:
    """Keep what was answered, and take up to `count` more lines where the batch goes on. What the client wants of it now."""
    with transaction(database):
        database.executemany(
            "UPDATE batch_line SET state = ?, answer = ? WHERE owner = ? AND batch = ? AND number = ? AND state = 'working'",
            [("failed" if one.failed else "done", one.answer, owner, id, one.number) for one in answered],
        )
        database.execute("UPDATE batch SET beat = ? WHERE owner = ? AND id = ?", (now_s, owner, id))
        status: BatchStatus = database.execute("SELECT status FROM batch WHERE owner = ? AND id = ?", (owner, id)).fetchone()[0]
        if status != "in_progress":
            return status, []
        rows = database.execute(
            "SELECT number, custom_id, request FROM batch_line WHERE owner = ? AND batch = ? AND state = 'pending' ORDER BY number LIMIT ?",
            (owner, id, count),
        ).fetchall()
        database.executemany(
            "UPDATE batch_line SET state = 'working' WHERE owner = ? AND batch = ? AND number = ?", [(owner, id, row[0]) for row in rows]
        )
    return status, [BatchLine(number=number, custom_id=custom_id, request=request) for number, custom_id, request in rows]


def expire_lines(database: sqlite3.Connection, owner: str, id: str, answer: bytes, state: str = "failed") -> None:
    """What is pending is not worked on any more, and stands in this `state`."""
    database.execute(
        "UPDATE batch_line SET state = ?, answer = ? WHERE owner = ? AND batch = ? AND state = 'pending'", (state, answer, owner, id)
    )


def results_of(database: sqlite3.Connection, owner: str, id: str, *, after: int, count: int) -> list[AnsweredLine]:
    """The lines of a batch that has ended, whatever came of them."""
    rows = database.execute(
        "SELECT number, custom_id, state, answer FROM batch_line WHERE owner = ? AND batch = ? AND number > ? ORDER BY number LIMIT ?",
        (owner, id, after, count),
    )
    return [
        AnsweredLine(number=number, custom_id=custom_id, failed=state != "done", answer=answer) for number, custom_id, state, answer in rows
    ]


def states_of(database: sqlite3.Connection, owner: str, id: str) -> dict[str, int]:
    """How many lines of a batch are in each state."""
    rows = database.execute("SELECT state, count(*) FROM batch_line WHERE owner = ? AND batch = ? GROUP BY state", (owner, id))
    return {str(state): int(count) for state, count in rows}


def drop_requests(database: sqlite3.Connection, owner: str, id: str) -> None:
    """What was asked in the lines of a batch that has ended; what was answered stays."""
    database.execute("UPDATE batch_line SET request = x'' WHERE owner = ? AND batch = ?", (owner, id))


def drop_batch(database: sqlite3.Connection, owner: str, id: str) -> None:
    """Forget a batch and its lines."""
    with transaction(database):
        database.execute("DELETE FROM batch_line WHERE owner = ? AND batch = ?", (owner, id))
        database.execute("DELETE FROM batch WHERE owner = ? AND id = ?", (owner, id))


def archive_batches(database: sqlite3.Connection, prefix: str, before_s: int) -> None:
    """Forget the answers of ended batches whose ids begin so, and that were made before then; their counts stay."""
    database.execute(
        "UPDATE batch_line SET answer = NULL WHERE answer IS NOT NULL AND (owner, batch) IN "
        "(SELECT owner, id FROM batch WHERE substr(id, 1, ?) = ? AND created < ? AND status IN ('completed', 'expired', 'cancelled'))",
        (len(prefix), prefix, before_s),
    )


def answered_lines(database: sqlite3.Connection, owner: str, id: str, *, failed: bool, after: int, count: int) -> list[AnsweredLine]:
    rows = database.execute(
        "SELECT number, custom_id, answer FROM batch_line WHERE owner = ? AND batch = ? AND state = ? AND number > ? "
        "ORDER BY number LIMIT ?",
        (owner, id, "failed" if failed else "done", after, count),
    )
    return [AnsweredLine(number=number, custom_id=custom_id, failed=failed, answer=answer) for number, custom_id, answer in rows]


def drop_lines(database: sqlite3.Connection, owner: str, id: str) -> None:
    """The requests and answers of a batch whose files are written; its counts stay."""
    database.execute("UPDATE batch_line SET request = x'', answer = NULL WHERE owner = ? AND batch = ?", (owner, id))


def bury_batches(database: sqlite3.Connection) -> None:
    """Nobody works on any: what was being worked on is lost, and the rest can be taken up."""
    for owner, id in database.execute(f"SELECT owner, id FROM batch WHERE {OPEN}").fetchall():  # noqa: S608 -- our own words
        _lose(database, owner, id)
        database.execute("UPDATE batch SET runner = NULL WHERE owner = ? AND id = ?", (owner, id))


def _lose(database: sqlite3.Connection, owner: str, id: str) -> None:
    database.execute(
        "UPDATE batch_line SET state = 'failed', answer = ? WHERE owner = ? AND batch = ? AND state = 'working'",
        (LOST, owner, id),
    )


def _batch(row: tuple[str, str, BatchStatus, bytes, bytes]) -> StoredBatch:
    owner, id, status, principal, body = row
    return StoredBatch(owner=owner, id=id, status=status, principal=_principal.decode(principal), body=_object.decode(body))


def pages_of(numbers: Sequence[AnsweredLine]) -> Iterator[bytes]:
    """The lines as a batch's output has them."""
    for line in numbers:
        head = msgspec.json.encode({"id": f"batch_req_{line.number}", "custom_id": line.custom_id})
        yield head[:-1] + b"," + line.answer[1:] + b"\n"
