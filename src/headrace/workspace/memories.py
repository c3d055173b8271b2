"""What agents remember of each person at the page: theirs alone, to be seen, added to, corrected and erased.

It is the same memory that `headrace memory` shows at the terminal to who runs the server.
"""

import sqlite3
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.agents import Readers, Writers
from headrace.core.clock import Clock
from headrace.storage import LocalArchive, Memory, MemoryStore, Thread, thread_of_run
from headrace.workspace.bodies import as_json, read_body
from headrace.workspace.visitors import Visitor, Visitors

ABOUT_CHARS_MAX: Final = 400


class Said(msgspec.Struct, forbid_unknown_fields=True):
    """`about` is the folder that it is about; "" is everywhere."""

    text: str
    about: str = ""


class Memories:
    """The handlers. `whose` gives the owner of a visitor's memories."""

    def __init__(
        self, visitors: Visitors, archive: LocalArchive, clock: Clock, new_id: Callable[[str], str], whose: Callable[[str], str]
    ) -> None:
        self._visitors, self._archive, self._clock, self._new_id, self._whose = visitors, archive, clock, new_id, whose

    def routes(self) -> list[Route]:
        at = "/workspace/api/memories"
        return [Route(at, self.memories, methods=["GET", "POST"]), Route(f"{at}/{{memory}}", self.memory, methods=["PATCH", "DELETE"])]

    async def memories(self, request: Request) -> Response:
        """GET all that is remembered of me. POST: remember this everywhere."""
        visitor = await self._visitors.of(request)
        if request.method == "GET":
            held = await self._archive.run(lambda database: self._own(database, visitor).of())
            threads = await self._archive.run(_threads_of, {memory.run for memory in held if memory.run})
            return as_json(
                {"memories": [{**_told(one), "thread": thread.id if (thread := threads.get(one.run)) else None} for one in held]}
            )
        now, said = self._clock.moment(), await read_body(request, Said)
        fresh = Memory(
            id=self._new_id("mem_"),
            project=said.about.strip()[:ABOUT_CHARS_MAX],
            text=said.text.strip(),
            how="added",
            writers=Writers.OWN,
            readers=Readers.PERSON,
            created=now,
            changed=now,
        )
        return as_json(_told(await self._archive.run(lambda database: self._own(database, visitor).add(fresh))), 201)

    async def memory(self, request: Request) -> Response:
        """PATCH: other words. DELETE: erase it."""
        visitor, id = await self._visitors.of(request), request.path_params["memory"]
        if request.method == "DELETE":
            await self._archive.run(lambda database: self._own(database, visitor).forget(id))
            return Response(status_code=204)
        text, now = (await read_body(request, Said)).text.strip(), self._clock.moment()
        return as_json(_told(await self._archive.run(lambda database: self._own(database, visitor).edit(id, text, now))))

    def _own(self, database: sqlite3.Connection, visitor: Visitor) -> MemoryStore:
        return MemoryStore(database, self._whose(visitor.owner))


def _threads_of(database: sqlite3.Connection, runs: Collection[str]) -> dict[str, Thread | None]:
    return {run: thread_of_run(database, run) for run in runs}


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
