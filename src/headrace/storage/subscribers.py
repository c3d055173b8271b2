"""Addresses that are told of what happens to runs, and each message to them: written down first, then told until it is heard.

A message has one name for what happened and whom it is for, so that whoever writes it down again after a crash writes nothing. Any process
of the data folder may tell it; a claim counts a try before it is made, so two never make the same one.

Another agent's address is told of one task. What happens to that is tried in its order; what it was told is not kept.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.storage.database import transaction
from headrace.storage.treasury import RETRY_S

DUE_MAX: Final = 50
SHOWN_MAX: Final = 200
KEPT_S: Final = 30 * 86_400
SUBSCRIBERS_MAX: Final = 20
OF_TASK_MAX: Final = 10
_SUBSCRIBER: Final = "id, owner, url, secret, kinds, created, paused, thread, name, token, scheme, credentials"
_TELLING: Final = "telling.id, subscriber, kind, body, telling.created, tries, next_try, delivered, failure"
_SETTLED: Final = (
    "subscriber IN (SELECT id FROM subscriber WHERE thread IS NOT NULL) AND (delivered IS NOT NULL OR failure IS NOT NULL AND EXISTS "
    "(SELECT 1 FROM telling AS later WHERE later.subscriber = telling.subscriber AND later.kind = telling.kind "
    "AND (later.created, later.id) > (telling.created, telling.id)))"
)
"""Of a task, and heard, or tried in vain and overtaken by a later one of its kind."""


class Subscriber(msgspec.Struct, frozen=True, kw_only=True):
    """`owner` of "" is told of everybody's runs. `kinds` of none are all. `paused` says since when it is told nothing.

    With a `thread` it is another agent's address, which is told of that task alone: `name` is what that agent calls it, and `token`,
    `scheme` and `credentials` are what its messages show."""

    id: str
    owner: str
    url: str
    secret: str
    kinds: tuple[str, ...] = ()
    created: Moment
    paused: Moment | None = None
    thread: str | None = None
    name: str | None = None
    token: str | None = None
    scheme: str | None = None
    credentials: str | None = None


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """One message. `next_try` of None: it was heard, or given up."""

    id: str
    subscriber: str
    kind: str
    body: bytes
    created: Moment
    tries: int = 0
    next_try: Moment | None = None
    delivered: Moment | None = None
    failure: str | None = None


def keep_subscriber(database: sqlite3.Connection, subscriber: Subscriber) -> bool:
    """False where this owner has too many."""
    with transaction(database):
        sql = "SELECT count(*) FROM subscriber WHERE owner = ? AND thread IS NULL"
        (held,) = database.execute(sql, (subscriber.owner,)).fetchone()
        if held >= SUBSCRIBERS_MAX:
            return False
        _keep(database, subscriber)
    return True


def keep_subscriber_of_task(database: sqlite3.Connection, subscriber: Subscriber) -> Subscriber | None:
    """Another agent's address, for its task: it takes the place of the one of its name, or without a name of the one with its address.
    Returns it as it is kept; None where the task has too many, or is gone."""
    with transaction(database):
        if database.execute("SELECT 1 FROM agent_task WHERE thread = ?", (subscriber.thread,)).fetchone() is None:
            return None
        held = subscribers_of_task(database, subscriber.thread or "")
        same = [one for one in held if (one.name == subscriber.name if subscriber.name else one.url == subscriber.url)]
        if not same and len(held) >= OF_TASK_MAX:
            return None
        if not same:
            kept = msgspec.structs.replace(subscriber, name=subscriber.name or subscriber.id)
            _keep(database, kept)
            return kept
        kept = msgspec.structs.replace(subscriber, id=same[0].id, name=same[0].name, created=same[0].created)
        database.execute(
            "UPDATE subscriber SET url = ?, token = ?, scheme = ?, credentials = ? WHERE id = ?",
            (kept.url, kept.token, kept.scheme, kept.credentials, kept.id),
        )
    return kept


def drop_subscriber_of_task(database: sqlite3.Connection, thread: str, name: str) -> None:
    """It is told nothing any more, if it was."""
    with transaction(database):
        database.execute("DELETE FROM subscriber WHERE thread = ? AND name = ?", (thread, name))


def _keep(database: sqlite3.Connection, subscriber: Subscriber) -> None:
    values = msgspec.structs.asdict(subscriber) | {"kinds": " ".join(subscriber.kinds)}
    holes = ", ".join("?" * len(values))
    database.execute(f"INSERT INTO subscriber ({_SUBSCRIBER}) VALUES ({holes})", [*values.values()])  # noqa: S608 -- our own columns


def subscribers_of(database: sqlite3.Connection, owner: str | None) -> list[Subscriber]:
    """This owner's, the oldest first; of None, all. Other agents' are not among them."""
    where, values = ("", ()) if owner is None else (" AND owner = ?", (owner,))
    sql = f"SELECT {_SUBSCRIBER} FROM subscriber WHERE thread IS NULL{where} ORDER BY created, id"  # noqa: S608 -- our own words
    return [_subscriber(row) for row in database.execute(sql, values)]


def subscribers_of_task(database: sqlite3.Connection, thread: str) -> list[Subscriber]:
    """The addresses that other agents have given for this task, the oldest first."""
    sql = f"SELECT {_SUBSCRIBER} FROM subscriber WHERE thread = ? ORDER BY created, id"  # noqa: S608 -- our own column names
    return [_subscriber(row) for row in database.execute(sql, (thread,))]


def pause_subscriber(database: sqlite3.Connection, owner: str | None, id: str, now: Moment | None) -> bool:
    """Let it rest from `now` on, or with None go on. While it rests nothing is written down for it, and what waits for it waits on. False
    where this owner, None being any, has none of this name."""
    set_to = "CASE WHEN ?1 IS NULL THEN NULL ELSE coalesce(paused, ?1) END"
    with transaction(database):
        changed = database.execute(
            f"UPDATE subscriber SET paused = {set_to} WHERE id = ?2 AND owner = coalesce(?3, owner)",  # noqa: S608 -- our own words
            (now, id, owner),
        )
        return changed.rowcount > 0


def drop_subscriber(database: sqlite3.Connection, owner: str | None, id: str) -> bool:
    """It is told nothing any more, and what it was told is forgotten. False where this owner, None being any, has none of this name."""
    with transaction(database):
        return database.execute("DELETE FROM subscriber WHERE id = ? AND owner = coalesce(?, owner)", (id, owner)).rowcount > 0


def tell(database: sqlite3.Connection, owner: str, kind: str, happening: str, body: bytes, now: Moment) -> int:
    """Write down what each subscriber of this owner and of everybody is to be told; to how many. `happening` names what happened."""
    with transaction(database):
        found = database.execute(
            f"SELECT {_SUBSCRIBER} FROM subscriber WHERE paused IS NULL AND thread IS NULL AND owner IN ('', ?)",  # noqa: S608 -- our own
            (owner,),
        ).fetchall()
        wanted = [one for one in map(_subscriber, found) if not one.kinds or kind in one.kinds]
        database.executemany(
            "INSERT OR IGNORE INTO telling (id, subscriber, kind, body, created, tries, next_try) VALUES (?, ?, ?, ?, ?, 0, ?)",
            [(f"msg_{happening}_{one.id}", one.id, kind, body, now, now) for one in wanted],
        )
        database.executemany(
            "DELETE FROM telling WHERE subscriber = ? AND created < ? AND next_try IS NULL",
            [(one.id, now - KEPT_S * SECOND) for one in wanted],
        )
    return len(wanted)


def tell_of_task(database: sqlite3.Connection, thread: str, happening: str, told: Sequence[tuple[str, bytes]], now: Moment) -> int:
    """Write down what each address of this task is to be told, as kinds and bodies in their order; to how many. What was tried in vain of
    the same kinds is overtaken by it, and is not told any more."""
    with transaction(database):
        found = [id for (id,) in database.execute("SELECT id FROM subscriber WHERE thread = ?", (thread,))]
        database.executemany(
            "INSERT OR IGNORE INTO telling (id, subscriber, kind, body, created, tries, next_try) VALUES (?, ?, ?, ?, ?, 0, ?)",
            [(f"msg_{happening}_{number:03}_{id}", id, kind, body, now, now) for id in found for number, (kind, body) in enumerate(told)],
        )
        database.executemany(f"DELETE FROM telling WHERE subscriber = ? AND {_SETTLED}", [(id,) for id in found])  # noqa: S608 -- our own
    return len(found)


def tell_one(database: sqlite3.Connection, telling: Telling) -> None:
    """Write down one message to one subscriber."""
    with transaction(database):
        database.execute(
            "INSERT OR IGNORE INTO telling (id, subscriber, kind, body, created, tries, next_try) VALUES (?, ?, ?, ?, ?, 0, ?)",
            (telling.id, telling.subscriber, telling.kind, telling.body, telling.created, telling.created),
        )


def due_tellings(database: sqlite3.Connection, now: Moment) -> list[tuple[Telling, Subscriber]]:
    """What should be told now, the oldest first; of a task only that before which nothing is to be tried first."""
    first = (
        "(thread IS NULL OR NOT EXISTS (SELECT 1 FROM telling AS earlier WHERE earlier.subscriber = telling.subscriber "
        "AND earlier.next_try IS NOT NULL AND earlier.failure IS NULL AND (earlier.created, earlier.id) < (telling.created, telling.id)))"
    )
    rows = database.execute(
        f"SELECT {_TELLING}, {', '.join(f'subscriber.{field}' for field in _SUBSCRIBER.split(', '))} FROM telling "  # noqa: S608 -- ours
        "JOIN subscriber ON subscriber.id = subscriber "
        f"WHERE next_try <= ? AND paused IS NULL AND {first} ORDER BY telling.created, telling.id LIMIT ?",
        (now, DUE_MAX),
    )
    split = len(Telling.__struct_fields__)
    return [(_telling(row[:split]), _subscriber(row[split:])) for row in rows]


def claim_telling(database: sqlite3.Connection, telling: Telling, now: Moment) -> bool:
    """Take it on oneself to try this: False where another process has. Who dies over it leaves it to the next try."""
    gone = telling.tries >= len(RETRY_S)
    again = None if gone else now + RETRY_S[telling.tries] * SECOND
    with transaction(database):
        return (
            database.execute(
                "UPDATE telling SET tries = tries + 1, next_try = ? WHERE id = ? AND tries = ? AND next_try IS NOT NULL",
                (again, telling.id, telling.tries),
            ).rowcount
            > 0
        )


def telling_heard(database: sqlite3.Connection, id: str, now: Moment, failure: str | None) -> None:
    """It was heard; or why not, and it is tried again as the claim said, unless it was overtaken."""
    with transaction(database):
        if failure is None:
            database.execute("UPDATE telling SET next_try = NULL, delivered = ?, failure = NULL WHERE id = ?", (now, id))
        else:
            database.execute("UPDATE telling SET failure = ? WHERE id = ?", (failure, id))
        database.execute(f"DELETE FROM telling WHERE id = ? AND {_SETTLED}", (id,))  # noqa: S608 -- our own words


def tell_again(database: sqlite3.Connection, subscriber: str, id: str, now: Moment) -> bool:
    """Have a message told now, under its own name, whether it waits, was given up or was heard. False where there is none."""
    with transaction(database):
        again = database.execute(
            "UPDATE telling SET next_try = ?, delivered = NULL, failure = NULL WHERE id = ? AND subscriber = ?", (now, id, subscriber)
        )
        return again.rowcount > 0


def tellings_of(database: sqlite3.Connection, subscriber: str) -> list[Telling]:
    """What it was told, the latest first."""
    rows = database.execute(
        f"SELECT {_TELLING} FROM telling WHERE subscriber = ? ORDER BY created DESC, id DESC LIMIT ?",  # noqa: S608 -- our own column names
        (subscriber, SHOWN_MAX),
    )
    return [_telling(row) for row in rows]


def _subscriber(row: tuple[object, ...]) -> Subscriber:
    fields = dict(zip(Subscriber.__struct_fields__, row, strict=True))
    return msgspec.convert({**fields, "kinds": tuple(str(fields["kinds"]).split())}, Subscriber)


def _telling(row: tuple[object, ...]) -> Telling:
    return msgspec.convert(dict(zip(Telling.__struct_fields__, row, strict=True)), Telling, builtin_types=(bytes,))
