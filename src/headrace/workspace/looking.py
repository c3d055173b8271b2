"""The browser of a thread over HTTP: seen as it is, taken and given back. Whatever worker is asked calls on the run's window."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headrace.core.clock import SECOND, Clock
from headrace.core.errors import Conflict, InvalidApiKey, InvalidRequest, NotFound
from headrace.core.unreadable import UNREADABLE
from headrace.storage import LocalArchive, Thread, thread_of
from headrace.workspace.bodies import body_of
from headrace.workspace.runs import Runs
from headrace.workspace.visitors import Visitors
from headrace.workspace.window import NoBrowser, act_decoder, do, watch

ACT_BYTES_MAX: Final = 32_768
CALL_S: Final = 1.0
"""How often it is looked for a browser where none is open."""
HELD_EVERY: Final = 2 * SECOND


class ThreadBrowser:
    """The handlers."""

    def __init__(self, visitors: Visitors, runs: Runs, archive: LocalArchive, clock: Clock) -> None:
        self._visitors, self._runs, self._archive, self._clock = visitors, runs, archive, clock

    def routes(self) -> list[Route]:
        return [
            Route("/workspace/api/threads/{thread}/browser", self.look),
            Route("/workspace/api/threads/{thread}/browser", self.act, methods=["POST"]),
        ]

    async def look(self, request: Request) -> Response:
        """GET what the browser shows, as server-sent events, while one is open and until one is."""
        thread = await self._held(request)
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._seen(request, thread), media_type="text/event-stream", headers=headers)

    async def act(self, request: Request) -> Response:
        """POST what the person does: take it, click, type, give it back."""
        thread = await self._held(request)
        try:
            asked = act_decoder.decode(await body_of(request, ACT_BYTES_MAX))
        except UNREADABLE as wrong:
            raise InvalidRequest(f"The request can't be read: {wrong}.") from None
        await do(self._runs.home(thread.run), asked)
        return Response(status_code=204)

    async def _seen(self, request: Request, thread: Thread) -> AsyncIterator[bytes]:
        yield b"retry: 500\n\n"
        home, none = self._runs.home(thread.run), msgspec.json.encode(NoBrowser())
        told = b""
        with contextlib.suppress(InvalidApiKey, NotFound):
            while not self._runs.stopping:
                with contextlib.suppress(Conflict):
                    async with contextlib.aclosing(watch(home)) as lines:
                        async for line in self._while_held(request, lines):
                            told = line
                            yield b"event: seen\ndata: %s\n\n" % line.rstrip()
                if told != none:
                    told = none
                    yield b"event: seen\ndata: %s\n\n" % none
                await asyncio.sleep(CALL_S)
                await self._held(request)
                yield b": still here\n\n"

    async def _while_held(self, request: Request, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The lines, as long as who looks is signed in and has the thread."""
        held_at = self._clock.instant()
        async for line in lines:
            if self._runs.stopping:
                return
            if self._clock.instant() - held_at > HELD_EVERY:
                await self._held(request)
                held_at = self._clock.instant()
            yield line

    async def _held(self, request: Request) -> Thread:
        visitor = await self._visitors.of(request)
        thread = await self._archive.run(thread_of, visitor.owner, request.path_params["thread"])
        if thread is None:
            raise NotFound("Thread", request.path_params["thread"])
        return thread
