"""Addresses from which outsiders start runs, and each message that did: claimed with the names of its thread and run before either is made.

So a message that is told again starts nothing again, and one whose thread a crash has prevented makes the same thread.
"""

import sqlite3
from typing import Final

import msgspec

from headrace.core.clock import MS, SECOND, Moment
from headrace.core.errors import NotFound, RateLimited
from headrace.storage.database import transaction

HOUR: Final = 3_600 * SECOND
SHOWN_MAX: Final = 200
TRIGGERS_MAX: Final = 50
_TRIGGER: Final = "id, owner, key, secret, model, leave, per_hour_max, created, ended"
_DELIVERY: Final = "address, once, id, thread, run, received"


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """An address. `leave` is what its runs may do, signed; `key` the digest of the key whose requests they make."""

    id: str
    owner: str
    key: bytes
    secret: str
    model: str
    leave: bytes
    per_hour_max: int
    created: Moment
    ended: Moment | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One message that came. `once` names it so that nobody can tell it again as another; `id` is its sender's name of it."""

    address: str
    once: str
    id: str
    thread: str
    run: str
    received: Moment


class TriggerStore:
    """The addresses of a data folder."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def add(self, trigger: Trigger) -> bool:
        """False where this owner has too many."""
        with transaction(self._database):
            (held,) = self._database.execute(
                "SELECT count(*) FROM trigger_address WHERE owner = ? AND ended IS NULL", (trigger.owner,)
            ).fetchone()
            if held >= TRIGGERS_MAX:
                return False
            self._database.execute(
                f"INSERT INTO trigger_address ({_TRIGGER}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 -- our own column names
                msgspec.structs.astuple(trigger),
            )
        return True

    def of(self, owner: str | None) -> list[Trigger]:
        """This owner's, those that were ended too, the oldest first; of None, all."""
        where, values = ("", ()) if owner is None else ("WHERE owner = ?", (owner,))
        rows = self._database.execute(f"SELECT {_TRIGGER} FROM trigger_address {where} ORDER BY created, id", values)  # noqa: S608 -- ours
        return [_trigger(row) for row in rows]

    def get(self, id: str) -> Trigger:
        """Raises NotFound."""
        row = self._database.execute(f"SELECT {_TRIGGER} FROM trigger_address WHERE id = ?", (id,)).fetchone()  # noqa: S608 -- ours
        if row is None:
            raise NotFound("Trigger", id)
        return _trigger(row)

    def end(self, owner: str | None, id: str, now: Moment) -> None:
        """Take it back: it starts nothing any more, and its leave is over, also for a run that is under way. Raises NotFound."""
        with transaction(self._database):
            ended = self._database.execute(
                "UPDATE trigger_address SET ended = coalesce(ended, ?) WHERE id = ? AND owner = coalesce(?, owner)", (now, id, owner)
            )
            if ended.rowcount == 0:
                raise NotFound("Trigger", id)

    def claim(self, trigger: Trigger, fresh: Delivery) -> tuple[Delivery, bool]:
        """The delivery, and whether it is new: one that came before keeps its first names. Raises RateLimited."""
        with transaction(self._database):
            row = self._database.execute(
                f"SELECT {_DELIVERY} FROM trigger_delivery WHERE address = ? AND once = ?",  # noqa: S608 -- our own column names
                (fresh.address, fresh.once),
            ).fetchone()
            if row is not None:
                return _delivery(row), False
            (came, first) = self._database.execute(
                "SELECT count(*), min(received) FROM trigger_delivery WHERE address = ? AND received > ?",
                (fresh.address, fresh.received - HOUR),
            ).fetchone()
            if came >= trigger.per_hour_max:
                wait = first + HOUR - fresh.received
                raise RateLimited(
                    f"This trigger starts at most {trigger.per_hour_max} runs an hour.",
                    kind="requests",
                    retry_after_ms=-(-wait // MS),
                )
            self._database.execute(
                f"INSERT INTO trigger_delivery ({_DELIVERY}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608 -- our own column names
                msgspec.structs.astuple(fresh),
            )
        return fresh, True

    def started(self, id: str) -> int:
        """How many messages have come to it."""
        return int(self._database.execute("SELECT count(*) FROM trigger_delivery WHERE address = ?", (id,)).fetchone()[0])

    def deliveries(self, id: str, most: int = SHOWN_MAX) -> list[Delivery]:
        """What came, the latest first, and no more than `most`."""
        rows = self._database.execute(
            f"SELECT {_DELIVERY} FROM trigger_delivery WHERE address = ? ORDER BY received DESC LIMIT ?",  # noqa: S608 -- ours
            (id, most),
        )
        return [_delivery(row) for row in rows]


def _trigger(row: tuple[object, ...]) -> Trigger:
    return msgspec.convert(dict(zip(Trigger.__struct_fields__, row, strict=True)), Trigger, builtin_types=(bytes,))


def _delivery(row: tuple[object, ...]) -> Delivery:
    return msgspec.convert(dict(zip(Delivery.__struct_fields__, row, strict=True)), Delivery)
