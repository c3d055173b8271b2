"""Conversations that are kept, and their items in order. All by owner: a project's own."""

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.core.rules import NO_RULES, Rules
from headrace.storage.database import Database, transaction
from headrace.storage.responses import read_rules, written_rules

_object = msgspec.json.Decoder(dict[str, Any])


class Conversation(msgspec.Struct, frozen=True):
    """`rules` are those of all that was said in it."""

    id: str
    created_s: int
    metadata: dict[str, Any]
    rules: Rules = NO_RULES


def keep_conversation(database: Database, owner: str, conversation: Conversation, items: Sequence[dict[str, Any]]) -> None:
    """Keep it anew, or with other metadata; `items` follow those that it has."""
    with transaction(database, conversation.id):
        database.execute(
            "INSERT INTO conversation (owner, id, created, metadata, rules) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (owner, id) DO UPDATE SET metadata = excluded.metadata",
            (owner, conversation.id, conversation.created_s, msgspec.json.encode(conversation.metadata), written_rules(conversation.rules)),
        )
        _append(database, owner, conversation.id, items)


def conversation_of(database: Database, owner: str, id: str) -> Conversation | None:
    row = database.execute("SELECT id, created, metadata, rules FROM conversation WHERE owner = ? AND id = ?", (owner, id)).fetchone()
    return None if row is None else Conversation(row[0], row[1], _object.decode(row[2]), read_rules(row[3]))


def drop_conversation(database: Database, owner: str, id: str) -> bool:
    """Whether it was there."""
    with transaction(database, id):
        database.execute("DELETE FROM conversation_item WHERE owner = ? AND conversation = ?", (owner, id))
        return database.execute("DELETE FROM conversation WHERE owner = ? AND id = ?", (owner, id)).rowcount > 0


def add_items(database: Database, owner: str, conversation: str, items: Sequence[dict[str, Any]], rules: Rules = NO_RULES) -> bool:
    """Put `items` at its end, and all of it under their `rules`, too. False where there is no such conversation."""
    with transaction(database, conversation):
        held = conversation_of(database, owner, conversation)
        if held is None:
            return False
        both = held.rules.and_(rules)
        if both != held.rules:
            database.execute("UPDATE conversation SET rules = ? WHERE owner = ? AND id = ?", (written_rules(both), owner, conversation))
        _append(database, owner, conversation, items)
    return True


def items_of(database: Database, owner: str, conversation: str) -> list[dict[str, Any]]:
    """All of them, first to last."""
    rows = database.execute("SELECT item FROM conversation_item WHERE owner = ? AND conversation = ? ORDER BY place", (owner, conversation))
    return [_object.decode(row[0]) for row in rows]


def drop_item(database: Database, owner: str, conversation: str, id: str) -> bool:
    """Whether it was there."""
    gone = database.execute("DELETE FROM conversation_item WHERE owner = ? AND conversation = ? AND id = ?", (owner, conversation, id))
    return gone.rowcount > 0


def _append(database: Database, owner: str, conversation: str, items: Sequence[dict[str, Any]]) -> None:
    """An item that is there already stays as it is: a client may send again what it read."""
    last = database.execute(
        "SELECT coalesce(max(place), -1) FROM conversation_item WHERE owner = ? AND conversation = ?", (owner, conversation)
    ).fetchone()[0]
    rows = [(owner, conversation, last + 1 + at, item["id"], msgspec.json.encode(item)) for at, item in enumerate(items)]
    database.executemany(
        "INSERT INTO conversation_item (owner, conversation, place, id, item) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (owner, conversation, id) DO NOTHING",
        rows,
    )
