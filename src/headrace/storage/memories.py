"""What agents remember: facts and preferences of a person, by project, each with where it came from; found again by meaning."""

import array
import sqlite3
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest, NotFound
from headrace.storage.database import transaction

How: TypeAlias = Literal["said", "leave", "added", "edited"]
TEXT_CHARS_MAX: Final = 2_000
MEMORIES_MAX: Final = 5_000
"""Of one project. Each is compared when something is looked for."""
_FIELDS: Final = "id, project, text, how, run, source, writers, readers, created, changed, model, vector"


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """One thing remembered. `how`: the person said it, gave leave to it, added it or edited it. `writers` and `readers` are its label."""

    id: str
    project: str
    text: str
    how: How
    run: str = ""
    source: str = ""
    writers: int
    readers: int
    created: Moment
    changed: Moment
    model: str = ""
    vector: bytes = b""

    def likeness(self, model: str, vector: Sequence[float]) -> float | None:
        """How near its meaning is, -1 to 1; None where its vector is of another model, or there is none."""
        if not self.model or self.model != model:
            return None
        own = array.array("f", self.vector)
        return sum(a * b for a, b in zip(own, vector, strict=True)) if len(own) == len(vector) else None


class MemoryStore:
    """What agents remember of one person. `owner` of "" is who runs the server, at the terminal and with the development key."""

    def __init__(self, database: sqlite3.Connection, owner: str = "") -> None:
        self._database, self._owner = database, owner

    def adopt(self, owner: str) -> None:
        """What was another's, so far as it was called, is this one's too: what both have is kept once."""
        with transaction(self._database):
            self._database.execute("UPDATE OR IGNORE memory SET owner = ? WHERE owner = ?", (self._owner, owner))
            self._database.execute("DELETE FROM memory WHERE owner = ?", (owner,))

    def add(self, memory: Memory) -> Memory:
        """Keep it; the same words about the same project are kept once. Raises InvalidRequest where it is too long or too much."""
        _check(memory.text)
        with transaction(self._database):
            known = self._rows("AND project = ? AND text = ?", memory.project, memory.text)
            if known:
                return known[0]
            (count,) = self._database.execute(
                "SELECT count(*) FROM memory WHERE owner = ? AND project = ?", (self._owner, memory.project)
            ).fetchone()
            if count >= MEMORIES_MAX:
                raise InvalidRequest(f"There are {MEMORIES_MAX:,} memories of this project: forget some first.")
            values = (self._owner, *msgspec.structs.astuple(memory))
            self._database.execute(f"INSERT INTO memory (owner, {_FIELDS}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608 -- ours
        return memory

    def of(self, *projects: str) -> list[Memory]:
        """Those of these projects, the oldest first; of none named, all."""
        if not projects:
            return self._rows("ORDER BY created, id")
        return self._rows(f"AND project IN ({', '.join('?' * len(projects))}) ORDER BY created, id", *projects)

    def get(self, id: str) -> Memory:
        """Raises NotFound where this person has none such."""
        found = self._rows("AND id = ?", id)
        if not found:
            raise NotFound("Memory", id)
        return found[0]

    def edit(self, id: str, text: str, moment: Moment) -> Memory:
        """Other words, which are the person's. Raises NotFound, or InvalidRequest."""
        _check(text)
        with transaction(self._database):
            edited = msgspec.structs.replace(self.get(id), text=text, how="edited", changed=moment, model="", vector=b"")
            if self._rows("AND project = ? AND text = ? AND id <> ?", edited.project, text, id):
                raise InvalidRequest("That is remembered already.")
            self._database.execute(
                "UPDATE memory SET text = ?, how = 'edited', changed = ?, model = '', vector = x'' WHERE id = ?", (text, moment, id)
            )
        return edited

    def learn(self, id: str, model: str, vector: bytes) -> None:
        """The vector of its text, by this model."""
        with transaction(self._database):
            self._database.execute("UPDATE memory SET model = ?, vector = ? WHERE id = ?", (model, vector, id))

    def forget(self, id: str) -> Memory:
        """Erase it: nothing of it is kept. Raises NotFound."""
        self._database.execute("PRAGMA secure_delete = ON")
        with transaction(self._database):
            memory = self.get(id)
            self._database.execute("DELETE FROM memory WHERE id = ?", (id,))
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return memory

    def _rows(self, where: str, *values: str) -> list[Memory]:
        rows = self._database.execute(f"SELECT {_FIELDS} FROM memory WHERE owner = ? {where}", (self._owner, *values))  # noqa: S608 -- ours
        return [msgspec.convert(dict(zip(_FIELDS.split(", "), row, strict=True)), Memory, builtin_types=(bytes,)) for row in rows]


def _check(text: str) -> None:
    if not text.strip() or len(text) > TEXT_CHARS_MAX:
        raise InvalidRequest(f"A memory has 1 to {TEXT_CHARS_MAX:,} letters.")
