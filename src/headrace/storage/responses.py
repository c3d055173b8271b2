"""Responses that are kept, with what was asked; of those made in the background, their events too. All by owner: a project's own."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headrace.core.rules import NO_RULES, Rules
from headrace.storage.database import Database, transaction

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


def keep_response(database: Database, owner: str, response: StoredResponse) -> None:
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


def response_of(database: Database, owner: str, id: str, now_s: int) -> StoredResponse | None:
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


def context_of(database: Database, owner: str, id: str, now_s: int) -> Context | None:
    """All that was said up to this response, and in it: the items of each response on the way, asked and answered. None where one of them
    is not there."""
    there = "owner = ? AND (expires = 0 OR expires > ?)"
    rows = database.execute(
        f"WITH RECURSIVE turn (at, id, previous) AS (SELECT 0, id, previous FROM response WHERE id = ? AND {there} "  # noqa: S608 -- our own words
        "UNION ALL SELECT turn.at + 1, response.id, response.previous FROM turn JOIN response ON response.id = turn.previous "
        f"WHERE turn.at < ? AND {there}) "
        "SELECT turn.previous, body, input, rules FROM turn JOIN response ON response.id = turn.id WHERE owner = ? ORDER BY turn.at DESC",
        (id, owner, now_s, CHAIN_MAX - 1, owner, now_s, owner),
    ).fetchall()
    if not rows or (rows[0][0] is not None and len(rows) < CHAIN_MAX):
        return None  # the first is not there, whatever followed on it
    items, rules = list[dict[str, Any]](), NO_RULES
    for _, body, input, said_under in rows:
        items += [*_items.decode(input), *_object.decode(body).get("output", ())]
        rules = rules.and_(read_rules(said_under))
    return Context(items, rules)


def drop_response(database: Database, owner: str, id: str) -> bool:
    """Whether it was there."""
    with transaction(database, id):
        database.execute("DELETE FROM response_event WHERE owner = ? AND response = ?", (owner, id))
        return database.execute("DELETE FROM response WHERE owner = ? AND id = ?", (owner, id)).rowcount > 0


# What is made in the background.


def begin_response(database: Database, owner: str, response: StoredResponse, events: Sequence[StoredEvent], runner: str) -> None:
    """From now on `runner` works on it."""
    with transaction(database, response.id):
        keep_response(database, owner, response)
        database.execute("UPDATE response SET runner = ? WHERE owner = ? AND id = ?", (runner, owner, response.id))
        _keep_events(database, owner, response.id, events)


def keep_events(database: Database, owner: str, response: StoredResponse, events: Sequence[StoredEvent], runner: str) -> bool:
    """Keep what was said and what the response has come to. Whether `runner` is to end: since the client wants that, or has deleted it, or
    since `runner` was taken to be dead, and it has failed; then nothing of this is kept."""
    with transaction(database, response.id):
        found = database.execute("SELECT cancelling, runner FROM response WHERE owner = ? AND id = ?", (owner, response.id)).fetchone()
        if found is None or found[1] != runner:
            return True
        _keep_events(database, owner, response.id, events)
        keep_response(database, owner, response)
    return bool(found[0])


def _keep_events(database: Database, owner: str, id: str, events: Sequence[StoredEvent]) -> None:
    database.executemany(
        "INSERT INTO response_event (owner, response, number, type, event) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(owner, id, one.number, one.type, one.event) for one in events],
    )


def is_cancelled(database: Database, owner: str, id: str, runner: str) -> bool:
    """Whether `runner` is to end: see `keep_events`."""
    row = database.execute("SELECT cancelling, runner FROM response WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    return row is None or row[1] != runner or bool(row[0])


def cancel_response(database: Database, owner: str, id: str) -> None:
    """Ask whoever works on it to end, and find it cancelled from now on."""
    database.execute("UPDATE response SET cancelling = 1 WHERE owner = ? AND id = ? AND background = 1", (owner, id))


def events_after(database: Database, owner: str, id: str, number: int) -> list[StoredEvent]:
    rows = database.execute(
        "SELECT number, type, event FROM response_event WHERE owner = ? AND response = ? AND number > ? ORDER BY number",
        (owner, id, number),
    )
    return [StoredEvent(*row) for row in rows]


def fail_responses(database: Database) -> None:
    """Those have failed on which nobody works any more."""
    rows = database.execute(f"SELECT owner, id FROM response WHERE {_DESERTED}").fetchall()  # noqa: S608 -- our own words
    for owner, id in rows:
        with transaction(database, id):
            found = database.execute(f"SELECT body FROM response WHERE owner = ? AND id = ? AND {_DESERTED}", (owner, id)).fetchone()  # noqa: S608 -- ours
            if found is not None:
                _fail(database, owner, id, _object.decode(found[0]))


_DESERTED: Final = "background = 1 AND status IN ('queued', 'in_progress') AND (runner IS NULL OR runner NOT IN (SELECT id FROM runner))"


def _fail(database: Database, owner: str, id: str, body: dict[str, Any]) -> None:
    error = {"code": "server_error", "message": "The server was stopped while it worked on this response."}
    failed = body | {"status": "failed", "error": error}
    last = database.execute("SELECT max(number) FROM response_event WHERE owner = ? AND response = ?", (owner, id)).fetchone()[0]
    number = 0 if last is None else last + 1
    event = {"type": "response.failed", "sequence_number": number, "response": failed}
    database.execute(
        "INSERT INTO response_event (owner, response, number, type, event) VALUES (?, ?, ?, ?, ?)",
        (owner, id, number, event["type"], msgspec.json.encode(event)),
    )
    database.execute(
        "UPDATE response SET status = 'failed', runner = NULL, body = ? WHERE owner = ? AND id = ?",
        (msgspec.json.encode(failed), owner, id),
    )


def sweep_responses(database: Database, now_s: int) -> int:
    """Forget those whose time is over. How many."""
    over = database.execute("SELECT owner, id FROM response WHERE expires > 0 AND expires <= ? LIMIT ?", (now_s, SWEPT_MAX)).fetchall()
    for owner, id in over:
        drop_response(database, owner, id)
    return len(over)
