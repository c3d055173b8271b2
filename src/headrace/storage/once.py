"""What was answered to a request that must not be worked on twice: claimed before the work, kept with its answer, for a day."""

from collections.abc import Collection
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


class Claim(msgspec.Struct, frozen=True):
    """One request's hold on a key, by an `id` of its own: whoever holds it later is another."""

    owner: str
    path: str
    key: str
    id: str


def claim(database: Database, wanted: Claim, digest: bytes, runner: str, now_s: int) -> Claimed | None:
    """Take the key, for a request that `runner` works on. None: it is taken now; else by whom it was before."""
    owner, path, key = wanted.owner, wanted.path, wanted.key
    with transaction(database, f"{owner} {path} {key}"):
        database.execute("DELETE FROM once WHERE owner = ? AND path = ? AND key = ? AND created <= ?", (owner, path, key, now_s - KEPT_S))
        row = database.execute(
            "SELECT digest, state, status, headers, body, streamed FROM once WHERE owner = ? AND path = ? AND key = ?", (owner, path, key)
        ).fetchone()
        if row is None:
            database.execute(
                "INSERT INTO once (owner, path, key, created, digest, state, runner, claim) VALUES (?, ?, ?, ?, ?, 'working', ?, ?)",
                (owner, path, key, now_s, digest, runner, wanted.id),
            )
            return None
    held, state, status, headers, body, streamed = row
    answered = Answered(status=status, headers=headers, body=body, streamed=bool(streamed))
    return Claimed(digest=held, state=state, answered=answered)


def answer_once(database: Database, held: Claim, answered: Answered) -> None:
    """Also what was taken to be lost is known now."""
    database.execute(
        "UPDATE once SET state = 'done', status = ?, headers = ?, body = ?, streamed = ? "
        "WHERE owner = ? AND path = ? AND key = ? AND claim = ?",
        (answered.status, answered.headers, answered.body, answered.streamed, held.owner, held.path, held.key, held.id),
    )


def release(database: Database, held: Claim) -> None:
    """Nothing was done that must not be done again: the key is free."""
    database.execute(
        "DELETE FROM once WHERE owner = ? AND path = ? AND key = ? AND claim = ? AND state <> 'done'",
        (held.owner, held.path, held.key, held.id),
    )


def vouch(database: Database, runner: str, works: Collection[str]) -> int:
    """`runner` works on these claims and on no other: what else it holds is lost. Returns how many are. `works` may grow meanwhile, each
    before it is claimed here."""
    lost = 0
    for (id,) in database.execute("SELECT claim FROM once WHERE state = 'working' AND runner = ?", (runner,)).fetchall():
        if id not in works:
            lost += database.execute(
                "UPDATE once SET state = 'lost' WHERE state = 'working' AND runner = ? AND claim = ?", (runner, id)
            ).rowcount
    return lost


def lose_once(database: Database) -> None:
    """What nobody works on any more is lost: whether it was done, nobody knows."""
    database.execute("UPDATE once SET state = 'lost' WHERE state = 'working' AND (runner IS NULL OR runner NOT IN (SELECT id FROM runner))")


def sweep_once(database: Database, now_s: int) -> None:
    database.execute("DELETE FROM once WHERE created <= ?", (now_s - KEPT_S,))
