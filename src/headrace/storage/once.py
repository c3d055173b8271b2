"""What was answered to a request that must not be worked on twice: claimed before the work, kept with its answer, for a day."""

from typing import Final, Literal, TypeAlias

import msgspec

from headrace.storage.database import Database, transaction

OnceState: TypeAlias = Literal["working", "done", "lost"]
KEPT_S: Final = 86_400


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """`headers` are lines as they were sent, `streamed` whether the body came in pieces."""

    status: int
    headers: bytes
    body: bytes
    streamed: bool


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier request of that key was, and has come to."""

    digest: bytes
    state: OnceState
    answered: Answered


def claim(database: Database, owner: str, path: str, key: str, digest: bytes, runner: str, now_s: int) -> Claimed | None:
    """Take the key, for a request that `runner` works on. None: it is taken now; else by whom it was before."""
    with transaction(database, f"{owner} {path} {key}"):
        database.execute("DELETE FROM once WHERE owner = ? AND path = ? AND key = ? AND created <= ?", (owner, path, key, now_s - KEPT_S))
        row = database.execute(
            "SELECT digest, state, status, headers, body, streamed FROM once WHERE owner = ? AND path = ? AND key = ?", (owner, path, key)
        ).fetchone()
        if row is None:
            database.execute(
                "INSERT INTO once (owner, path, key, created, digest, state, runner) VALUES (?, ?, ?, ?, ?, 'working', ?)",
                (owner, path, key, now_s, digest, runner),
            )
            return None
    held, state, status, headers, body, streamed = row
    answered = Answered(status=status, headers=headers, body=body, streamed=bool(streamed))
    return Claimed(digest=held, state=state, answered=answered)


def answer_once(database: Database, owner: str, path: str, key: str, answered: Answered) -> None:
    database.execute(
        "UPDATE once SET state = 'done', status = ?, headers = ?, body = ?, streamed = ? WHERE owner = ? AND path = ? AND key = ?",
        (answered.status, answered.headers, answered.body, answered.streamed, owner, path, key),
    )


def release(database: Database, owner: str, path: str, key: str) -> None:
    """Nothing was done that must not be done again: the key is free."""
    database.execute("DELETE FROM once WHERE owner = ? AND path = ? AND key = ? AND state = 'working'", (owner, path, key))


def lose_once(database: Database) -> None:
    """What nobody works on any more is lost: whether it was done, nobody knows."""
    database.execute("UPDATE once SET state = 'lost' WHERE state = 'working' AND (runner IS NULL OR runner NOT IN (SELECT id FROM runner))")


def sweep_once(database: Database, now_s: int) -> None:
    database.execute("DELETE FROM once WHERE created <= ?", (now_s - KEPT_S,))
