"""What agents remember of each person at the page: theirs alone, to be seen, added to, corrected and erased.

The store goes by project; here each owner has projects of their own in it, one for what holds everywhere and one for each folder.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.agents import Readers, Writers
from headrace.core.clock import Clock
from headrace.core.errors import InvalidRequest, NotFound
from headrace.storage import LocalArchive, Memory, MemoryStore
from headrace.workspace.visitors import Visitor, Visitors


class OwnMemories(MemoryStore):
    """The memories of one owner: `""` is everywhere in their threads, and what they hear of projects are their own names of them."""

    def __init__(self, store: MemoryStore, owner: str) -> None:
        self._store, self._prefix = store, f"{owner}\n"

    def add(self, memory: Memory) -> Memory:
        return self._shown(self._store.add(msgspec.structs.replace(memory, project=self._prefix + memory.project)))

    def of(self, *projects: str) -> list[Memory]:
        if projects:
            return [self._shown(memory) for memory in self._store.of(*(self._prefix + project for project in projects))]
        return [self._shown(memory) for memory in self._store.of() if memory.project.startswith(self._prefix)]

    def get(self, id: str) -> Memory:
        memory = self._store.get(id)
        if not memory.project.startswith(self._prefix):
            raise NotFound("Memory", id)
        return self._shown(memory)

    def edit(self, id: str, text: str, moment: int) -> Memory:
        self.get(id)
        return self._shown(self._store.edit(id, text, moment))

    def learn(self, id: str, model: str, vector: bytes) -> None:
        self._store.learn(id, model, vector)

    def forget(self, id: str) -> Memory:
        self.get(id)
        return self._shown(self._store.forget(id))

    def _shown(self, memory: Memory) -> Memory:
        return msgspec.structs.replace(memory, project=memory.project.removeprefix(self._prefix))


class Said(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class Memories:
    """The handlers."""

    def __init__(self, visitors: Visitors, archive: LocalArchive, clock: Clock, new_id: Callable[[str], str]) -> None:
        self._visitors, self._archive, self._clock, self._new_id = visitors, archive, clock, new_id

    def routes(self) -> list[Route]:
        at = "/workspace/api/memories"
        return [Route(at, self.memories, methods=["GET", "POST"]), Route(f"{at}/{{memory}}", self.memory, methods=["PATCH", "DELETE"])]

    async def memories(self, request: Request) -> Response:
        """GET all that is remembered of me. POST: remember this everywhere."""
        visitor = await self._visitors.of(request)
        if request.method == "GET":
            held = await self._archive.run(lambda database: _own(database, visitor).of())
            return _json({"memories": [_told(memory) for memory in held]})
        now, text = self._clock.moment(), (await _said(request)).strip()
        fresh = Memory(
            id=self._new_id("mem_"),
            project="",
            text=text,
            how="added",
            writers=Writers.OWN,
            readers=Readers.PERSON,
            created=now,
            changed=now,
        )
        return _json(_told(await self._archive.run(lambda database: _own(database, visitor).add(fresh))), 201)

    async def memory(self, request: Request) -> Response:
        """PATCH: other words. DELETE: erase it."""
        visitor, id = await self._visitors.of(request), request.path_params["memory"]
        if request.method == "DELETE":
            await self._archive.run(lambda database: _own(database, visitor).forget(id))
            return Response(status_code=204)
        text, now = (await _said(request)).strip(), self._clock.moment()
        return _json(_told(await self._archive.run(lambda database: _own(database, visitor).edit(id, text, now))))


def _own(database: sqlite3.Connection, visitor: Visitor) -> OwnMemories:
    return OwnMemories(MemoryStore(database), visitor.owner)


async def _said(request: Request) -> str:
    try:
        return msgspec.json.decode(await request.body(), type=Said).text
    except msgspec.MsgspecError as wrong:
        raise InvalidRequest(f"The request can't be read: {wrong}.") from None


def _told(memory: Memory) -> dict[str, Any]:
    return {
        "id": memory.id,
        "about": memory.project,
        "text": memory.text,
        "how": memory.how,
        "run": memory.run,
        "source": memory.source,
        "created": memory.created,
        "changed": memory.changed,
    }


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers={"cache-control": "no-store"})
