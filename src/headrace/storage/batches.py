"""Batches and their lines: a line is taken before it is worked on and answered once, whatever happens in between.

One process at a time works on a batch: its runner. Whoever is not the runner any more, since it was taken to be dead, is told so by
Conflict and changes nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias

import msgspec

from headrace.core.errors import Conflict
from headrace.core.identity import Principal
from headrace.storage.database import Database, transaction

BatchStatus: TypeAlias = Literal["validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"]
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
    """`body` is as clients read it, without its counts; `runner` who works on it, where that is whose it is."""

    owner: str
    id: str
    status: BatchStatus
    principal: Principal
    body: dict[str, Any]
    runner: str | None = None


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


def keep_batch(database: Database, batch: StoredBatch, created_s: int) -> None:
    row = (batch.owner, batch.id, created_s, batch.status, msgspec.msgpack.encode(batch.principal), msgspec.json.encode(batch.body))
    database.execute("INSERT INTO batch (owner, id, created, status, principal, body) VALUES (?, ?, ?, ?, ?, ?)", row)


def keep_batch_with_lines(database: Database, batch: StoredBatch, lines: Sequence[BatchLine], created_s: int) -> None:
    """Both or nothing."""
    with transaction(database, batch.id):
        keep_batch(database, batch, created_s)
        _add_lines(database, batch.owner, batch.id, lines)


def cancel_batch(database: Database, owner: str, id: str, now_s: int) -> bool:
    """Whether there was something to cancel."""
    with transaction(database, id):
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


def batch_of(database: Database, owner: str, id: str) -> tuple[StoredBatch, Counts] | None:
    row = database.execute("SELECT owner, id, status, principal, body FROM batch WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    return None if row is None else (_batch(row), counts_of(database, owner, id))


def batches_of(database: Database, owner: str) -> list[tuple[StoredBatch, Counts]]:
    """First to last."""
    rows = database.execute(
        "SELECT owner, id, status, principal, body FROM batch WHERE owner = ? ORDER BY created, id", (owner,)
    ).fetchall()
    return [(_batch(row), counts_of(database, owner, row[1])) for row in rows]


def counts_of(database: Database, owner: str, id: str) -> Counts:
    rows = dict(database.execute("SELECT state, count(*) FROM batch_line WHERE owner = ? AND batch = ? GROUP BY state", (owner, id)))
    return Counts(sum(rows.values()), rows.get("done", 0), rows.get("failed", 0))


# Who works on one.


def claim_batch(database: Database, runner: str) -> StoredBatch | None:
    """The oldest that nobody works on, which is this runner's now; or one that it claimed and never heard of. Who claims works on none."""
    free = f"{OPEN} AND (runner IS NULL OR runner = ?)"
    sql = f"SELECT owner, id, status, principal, body FROM batch WHERE {free} ORDER BY created, id LIMIT 1"  # noqa: S608 -- our own words
    if database.execute(sql, (runner,)).fetchone() is None:  # nearly always, which costs no transaction
        return None
    with transaction(database, "claims of batches"):
        row = database.execute(sql, (runner,)).fetchone()
        if row is None:
            return None
        database.execute("UPDATE batch SET runner = ? WHERE owner = ? AND id = ?", (runner, row[0], row[1]))
    return msgspec.structs.replace(_batch(row), runner=runner)


@contextmanager
def _working(database: Database, batch: StoredBatch) -> Iterator[BatchStatus]:
    """A transaction of who works on a batch, with its status now. Raises Conflict for who does not any more."""
    with transaction(database, batch.id):
        row = database.execute("SELECT status, runner FROM batch WHERE owner = ? AND id = ?", (batch.owner, batch.id)).fetchone()
        if row is None or row[1] != batch.runner:
            raise Conflict(f"Batch '{batch.id}' is worked on by another process, or deleted.")
        yield row[0]


def change_batch(
    database: Database, batch: StoredBatch, status: BatchStatus, facts: Mapping[str, object], *, after: BatchStatus | None = None
) -> dict[str, Any]:
    """Give it another status, and more `facts`; with `after` only where it still has that one, so that a word of the client in between
    is not lost. The batch as it is then."""
    with _working(database, batch) as now:
        body = _object.decode(database.execute("SELECT body FROM batch WHERE owner = ? AND id = ?", (batch.owner, batch.id)).fetchone()[0])
        if after is not None and now != after:
            return body
        body |= {"status": status, **facts}
        row = (status, msgspec.json.encode(body), batch.owner, batch.id)
        database.execute("UPDATE batch SET status = ?, body = ? WHERE owner = ? AND id = ?", row)
    return body


def add_lines(database: Database, batch: StoredBatch, lines: Sequence[BatchLine]) -> None:
    with _working(database, batch):
        _add_lines(database, batch.owner, batch.id, lines)


def _add_lines(database: Database, owner: str, id: str, lines: Sequence[BatchLine]) -> None:
    database.executemany(
        "INSERT INTO batch_line (owner, batch, number, state, custom_id, request) VALUES (?, ?, ?, 'pending', ?, ?) ON CONFLICT DO NOTHING",
        [(owner, id, line.number, line.custom_id, line.request) for line in lines],
    )


def take_lines(
    database: Database, batch: StoredBatch, answered: Sequence[AnsweredLine], count: int, *, idle: bool = False
) -> tuple[BatchStatus, list[BatchLine]]:
    """Keep what was answered, and take up to `count` more lines where the batch goes on. What the client wants of it now. `idle`: no other
    line is in hand, so one that was taken was never heard of, since the connection broke, and can be taken again."""
    owner, id = batch.owner, batch.id
    with _working(database, batch) as status:
        database.executemany(
            "UPDATE batch_line SET state = ?, answer = ? WHERE owner = ? AND batch = ? AND number = ? AND state = 'working'",
            [("failed" if one.failed else "done", one.answer, owner, id, one.number) for one in answered],
        )
        if idle:
            database.execute("UPDATE batch_line SET state = 'pending' WHERE owner = ? AND batch = ? AND state = 'working'", (owner, id))
        if status != "in_progress" or not count:
            return status, []
        rows = database.execute(
            "SELECT number, custom_id, request FROM batch_line WHERE owner = ? AND batch = ? AND state = 'pending' ORDER BY number LIMIT ?",
            (owner, id, count),
        ).fetchall()
        database.executemany(
            "UPDATE batch_line SET state = 'working' WHERE owner = ? AND batch = ? AND number = ?", [(owner, id, row[0]) for row in rows]
        )
    return status, [BatchLine(number=number, custom_id=custom_id, request=request) for number, custom_id, request in rows]


def expire_lines(database: Database, batch: StoredBatch, answer: bytes, state: str = "failed") -> None:
    """What is pending is not worked on any more, and stands in this `state`."""
    with _working(database, batch):
        database.execute(
            "UPDATE batch_line SET state = ?, answer = ? WHERE owner = ? AND batch = ? AND state = 'pending'",
            (state, answer, batch.owner, batch.id),
        )


def drop_requests(database: Database, batch: StoredBatch) -> None:
    """What was asked in the lines of a batch that has ended; what was answered stays."""
    with _working(database, batch):
        database.execute("UPDATE batch_line SET request = ? WHERE owner = ? AND batch = ?", (b"", batch.owner, batch.id))


def drop_lines(database: Database, batch: StoredBatch) -> None:
    """The requests and answers of a batch whose files are written; its counts stay."""
    with _working(database, batch):
        database.execute("UPDATE batch_line SET request = ?, answer = NULL WHERE owner = ? AND batch = ?", (b"", batch.owner, batch.id))


def leave_batch(database: Database, batch: StoredBatch) -> None:
    """Another may go on with it. What was being worked on is lost."""
    with _working(database, batch):
        _leave(database, batch.owner, batch.id)


def _leave(database: Database, owner: str, id: str) -> None:
    database.execute("UPDATE batch SET runner = NULL WHERE owner = ? AND id = ?", (owner, id))
    database.execute(
        "UPDATE batch_line SET state = 'failed', answer = ? WHERE owner = ? AND batch = ? AND state = 'working'", (LOST, owner, id)
    )


_DESERTED: Final = f"{OPEN} AND runner NOT IN (SELECT id FROM runner)"  # noqa: S608 -- our own words


def desert_batches(database: Database) -> None:
    """Those whose runner is dead can be taken up by another; what it was working on is lost."""
    for owner, id in database.execute(f"SELECT owner, id FROM batch WHERE {_DESERTED}").fetchall():  # noqa: S608 -- our own words
        with transaction(database, id):
            sql = f"SELECT 1 FROM batch WHERE owner = ? AND id = ? AND {_DESERTED}"  # noqa: S608 -- our own words
            if database.execute(sql, (owner, id)).fetchone() is not None:
                _leave(database, owner, id)


# What came of it.


def results_of(database: Database, owner: str, id: str, *, after: int, count: int) -> list[AnsweredLine]:
    """The lines of a batch that has ended, whatever came of them."""
    rows = database.execute(
        "SELECT number, custom_id, state, answer FROM batch_line WHERE owner = ? AND batch = ? AND number > ? ORDER BY number LIMIT ?",
        (owner, id, after, count),
    )
    return [
        AnsweredLine(number=number, custom_id=custom_id, failed=state != "done", answer=answer) for number, custom_id, state, answer in rows
    ]


def states_of(database: Database, owner: str, id: str) -> dict[str, int]:
    """How many lines of a batch are in each state."""
    rows = database.execute("SELECT state, count(*) FROM batch_line WHERE owner = ? AND batch = ? GROUP BY state", (owner, id))
    return {str(state): int(count) for state, count in rows}


def drop_batch(database: Database, owner: str, id: str) -> None:
    """Forget a batch and its lines."""
    with transaction(database, id):
        database.execute("DELETE FROM batch_line WHERE owner = ? AND batch = ?", (owner, id))
        database.execute("DELETE FROM batch WHERE owner = ? AND id = ?", (owner, id))


def archive_batches(database: Database, prefix: str, before_s: int) -> None:
    """Forget the answers of ended batches whose ids begin so, and that were made before then; their counts stay."""
    database.execute(
        "UPDATE batch_line SET answer = NULL WHERE answer IS NOT NULL AND (owner, batch) IN "
        "(SELECT owner, id FROM batch WHERE substr(id, 1, ?) = ? AND created < ? AND status IN ('completed', 'expired', 'cancelled'))",
        (len(prefix), prefix, before_s),
    )


def answered_lines(database: Database, owner: str, id: str, *, failed: bool, after: int, count: int) -> list[AnsweredLine]:
    rows = database.execute(
        "SELECT number, custom_id, answer FROM batch_line WHERE owner = ? AND batch = ? AND state = ? AND number > ? "
        "ORDER BY number LIMIT ?",
        (owner, id, "failed" if failed else "done", after, count),
    )
    return [AnsweredLine(number=number, custom_id=custom_id, failed=failed, answer=answer) for number, custom_id, answer in rows]


def _batch(row: tuple[str, str, BatchStatus, bytes, bytes]) -> StoredBatch:
    owner, id, status, principal, body = row
    return StoredBatch(owner=owner, id=id, status=status, principal=_principal.decode(principal), body=_object.decode(body))


def pages_of(numbers: Sequence[AnsweredLine]) -> Iterator[bytes]:
    """The lines as a batch's output has them."""
    for line in numbers:
        head = msgspec.json.encode({"id": f"batch_req_{line.number}", "custom_id": line.custom_id})
        yield head[:-1] + b"," + line.answer[1:] + b"\n"
