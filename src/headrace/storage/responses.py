"""Responses that are kept, with what was asked; of those made in the background, their events too. All by owner: a project's own."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headrace.core.rules import NO_RULES, Rules
from headrace.storage.database import transaction

CHAIN_MAX: Final = 4_096
"""How many responses may follow each other."""
SWEPT_MAX: Final = 1_000
_items = msgspec.json.Decoder(list[dict[str, Any]])
_object = msgspec.json.Decoder(dict[str, Any])
_rules = msgspec.msgpack.Decoder(Rules)


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is the response as clients read it, `input` the items that it was asked with, without those of the responses before it.
    `rules` are those of all that was said up to it."""

    id: str
    created_s: int
    expires_s: int
    status: str
    background: bool
    previous: str | None
    body: dict[str, Any]
    input: list[dict[str, Any]]
    rules: Rules = NO_RULES


class StoredEvent(msgspec.Struct, frozen=True):
    number: int
    type: str
    event: bytes


def keep_response(database: sqlite3.Connection, owner: str, response: StoredResponse) -> None:
    """Keep it, or what has become of it."""
    row = (
        owner,
        response.id,
        response.created_s,
        response.expires_s,
        response.status,
        response.background,
        response.previous,
        msgspec.json.encode(response.body),
        msgspec.json.encode(response.input),
        written_rules(response.rules),
    )
    database.execute(
        "INSERT INTO response (owner, id, created, expires, status, background, previous, body, input, rules) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (owner, id) DO UPDATE SET status = excluded.status, body = excluded.body",
        row,
    )


def response_of(database: sqlite3.Connection, owner: str, id: str, now_s: int) -> StoredResponse | None:
    """None for one that is not there any more, never was, or is another's."""
    row = database.execute(
        "SELECT id, created, expires, status, background, previous, body, input, rules FROM response "
        "WHERE owner = ? AND id = ? AND (expires = 0 OR expires > ?)",
        (owner, id, now_s),
    ).fetchone()
    if row is None:
        return None
    id, created_s, expires_s, status, background, previous, body, input, rules = row
    return StoredResponse(
        id=id,
        created_s=created_s,
        expires_s=expires_s,
        status=status,
        background=bool(background),
        previous=previous,
        body=_object.decode(body),
        input=_items.decode(input),
        rules=read_rules(rules),
    )


def written_rules(rules: Rules) -> bytes | None:
    return None if rules == NO_RULES else msgspec.msgpack.encode(rules)


def read_rules(content: bytes | None) -> Rules:
    return NO_RULES if content is None else _rules.decode(content)


class Context(msgspec.Struct, frozen=True):
    """All that was said so far, and the rules under which it was."""

    items: list[dict[str, Any]]
    rules: Rules = NO_RULES


def context_of(database: sqlite3.Connection, owner: str, id: str, now_s: int) -> Context | None:
    """All that was said up to this response, and in it: the items of each response on the way, asked and answered. None where one of them
    is not there."""
    turns: list[list[dict[str, Any]]] = []
    rules = NO_RULES
    at: str | None = id
    while at is not None and len(turns) < CHAIN_MAX:
        held = response_of(database, owner, at, now_s)
        if held is None:
            return None
        turns.append([*held.input, *held.body.get("output", ())])
        rules = rules.and_(held.rules)
        at = held.previous
    return Context([item for turn in reversed(turns) for item in turn], rules)


def drop_response(database: sqlite3.Connection, owner: str, id: str) -> bool:
    """Whether it was there."""
    with transaction(database):
        database.execute("DELETE FROM response_event WHERE owner = ? AND response = ?", (owner, id))
        return database.execute("DELETE FROM response WHERE owner = ? AND id = ?", (owner, id)).rowcount > 0


# What is made in the background.


def keep_events(database: sqlite3.Connection, owner: str, response: StoredResponse, events: Sequence[StoredEvent], now_s: int) -> bool:
    """Keep what was said and what the response has come to. Whether the client wants it to end."""
    with transaction(database):
        database.executemany(
            "INSERT OR IGNORE INTO response_event (owner, response, number, type, event) VALUES (?, ?, ?, ?, ?)",
            [(owner, response.id, one.number, one.type, one.event) for one in events],
        )
        keep_response(database, owner, response)
        database.execute("UPDATE response SET beat = ? WHERE owner = ? AND id = ?", (now_s, owner, response.id))
    return is_cancelled(database, owner, response.id)


def is_cancelled(database: sqlite3.Connection, owner: str, id: str) -> bool:
    """Whether the client wants it to end, or has deleted it."""
    row = database.execute("SELECT cancelling FROM response WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    return row is None or bool(row[0])


def cancel_response(database: sqlite3.Connection, owner: str, id: str) -> None:
    """Ask whoever works on it to end, and find it cancelled from now on."""
    database.execute("UPDATE response SET cancelling = 1 WHERE owner = ? AND id = ? AND background = 1", (owner, id))


def events_after(database: sqlite3.Connection, owner: str, id: str, number: int) -> list[StoredEvent]:
    rows = database.execute(
        "SELECT number, type, event FROM response_event WHERE owner = ? AND response = ? AND number > ? ORDER BY number",
        (owner, id, number),
    )
    return [StoredEvent(*row) for row in rows]


def bury_responses(database: sqlite3.Connection, beat_before_s: int | None = None) -> int:
    """Responses have failed on which nobody works any more: all, when a server starts, or those whose worker has not said for long that it
    does. How many."""
    rows = database.execute(
        "SELECT owner, id, body FROM response WHERE background = 1 AND status IN ('queued', 'in_progress') AND (?1 IS NULL OR beat < ?1)",
        (beat_before_s,),
    ).fetchall()
    if not rows:
        return 0
    with transaction(database):
        for owner, id, body in rows:
            _bury(database, owner, id, _object.decode(body))
    return len(rows)


def _bury(database: sqlite3.Connection, owner: str, id: str, body: dict[str, Any]) -> None:
    error = {"code": "server_error", "message": "The server was stopped while it worked on this response."}
    failed = body | {"status": "failed", "error": error}
    last = database.execute("SELECT max(number) FROM response_event WHERE owner = ? AND response = ?", (owner, id)).fetchone()[0]
    number = 0 if last is None else last + 1
    event = {"type": "response.failed", "sequence_number": number, "response": failed}
    database.execute(
        "INSERT INTO response_event (owner, response, number, type, event) VALUES (?, ?, ?, ?, ?)",
        (owner, id, number, event["type"], msgspec.json.encode(event)),
    )
    database.execute("UPDATE response SET status = 'failed', body = ? WHERE owner = ? AND id = ?", (msgspec.json.encode(failed), owner, id))


def sweep_responses(database: sqlite3.Connection, now_s: int) -> int:
    """Forget those whose time is over. How many."""
    over = database.execute("SELECT owner, id FROM response WHERE expires > 0 AND expires <= ? LIMIT ?", (now_s, SWEPT_MAX)).fetchall()
    for owner, id in over:
        drop_response(database, owner, id)
    return len(over)
