"""Responses that are worked on while nobody waits for them: polled, followed event by event from any place, and cancelled.

The archive is the truth about them, since another worker of this server may be asked; whoever works on one tells it what was said several
times a second, and learns there that the client wants it to end.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import msgspec

from headrace.api.door import Report
from headrace.api.errors import status_of
from headrace.api.responses_asking import Asked
from headrace.api.responses_keeping import Keeper
from headrace.api.responses_voice import Response, ResponseVoice
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import HeadraceError, InternalFailure, NotFound, NotReady, StoreUnreachable
from headrace.gateway import Gateway, Visit
from headrace.providers import Gate
from headrace.storage import StoredEvent, StoredResponse, begin_response, events_after, is_cancelled, keep_events, response_of
from headrace.wire.responses_answer import TERMINAL, Event, ResponseEvents
from headrace.wire.sse import frames, payload

Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
TOLD_EVERY_S = 0.1
JOBS_MAX = 1_024
"""How many one worker works on at once; one more is refused with a time to come back."""
COME_BACK_MS = 2_000
_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Any])


class _Collecting:
    """A sink that nobody listens to: events are collected, under numbers of their own, as those of the response that the client knows."""

    def __init__(self, id: str) -> None:
        self._id = id
        self._next = 0
        self.left = False
        self.patience_s = 0.0
        self.gate: Gate = self
        self.must_wait = False
        self.events: list[StoredEvent] = []
        self.last: Event | None = None

    async def drained(self) -> None:
        """It always keeps up."""

    def tell(self, event: Event) -> None:
        told = event | {"sequence_number": self._next}
        if isinstance(response := event.get("response"), dict):
            told["response"] = response | {"id": self._id, "background": True}
        if event["type"] in TERMINAL:
            self.last = told
        self.events.append(StoredEvent(self._next, event["type"], _encode(told)))
        self._next += 1

    def relay(self, data: bytes) -> None:
        for one in frames(data):
            said = payload(one)
            if said.startswith(b"{"):
                self.tell(_object.decode(said))

    def whole(self, body: bytes) -> None:
        raise AssertionError("what is made in the background is always told event by event")

    def end(self, trailer: bytes) -> None:
        pass


class Background:
    def __init__(
        self, *, gateway: Gateway, keeper: Keeper, runner: str, clock: Clock, spawn: Spawn, report: Report, log: logging.Logger
    ) -> None:
        self._gateway, self._keeper, self._runner, self._clock, self._spawn = gateway, keeper, runner, clock, spawn
        self._report, self._log = report, log
        self._jobs: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def start(self, asked: Asked, visit: Visit) -> Response:
        """Work on it from now on. The response as it stands: queued."""
        if len(self._jobs) >= JOBS_MAX or self._stopping:
            raise NotReady("Too many responses are worked on in the background.", retry_after_ms=COME_BACK_MS)
        events, sink = asked.events(), _Collecting(asked.id)
        for event in events.queue():
            sink.tell(event)
        response = dict(events.response)
        began, sink.events = sink.events, []
        await self._keeper.archive.run(begin_response, asked.owner, self._stored(asked, sink, response), began, self._runner)
        job = self._spawn(self._job(asked, visit, events, sink))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return response

    async def follow(self, owner: str, id: str, after: int) -> AsyncIterator[list[StoredEvent]]:
        """The events behind number `after`, as they come, until the last one. Raises NotFound when it is deleted meanwhile."""
        while True:
            held = await self._keeper.archive.run(response_of, owner, id, self._clock.moment() // SECOND)
            events = await self._keeper.archive.run(events_after, owner, id, after)
            if events:
                yield events
                after = events[-1].number
            if held is None:
                raise NotFound("Response", id)
            if held.status not in ("queued", "in_progress"):
                if not events or events[-1].type in TERMINAL:
                    return
            elif not events:
                await asyncio.sleep(TOLD_EVERY_S)  # another worker may work on it: there is no event to wait for

    async def stop(self) -> None:
        """End what is being worked on; it has failed."""
        self._stopping = True
        jobs = tuple(self._jobs)
        for job in jobs:
            job.cancel()
        if jobs:
            await asyncio.wait(jobs, timeout=5.0)

    async def _job(self, asked: Asked, visit: Visit, events: ResponseEvents, sink: _Collecting) -> None:
        began, cancelled = self._clock.instant(), False
        work = self._spawn(self._answer(asked, visit, events, sink))
        try:
            while not work.done():
                await asyncio.wait((work,), timeout=TOLD_EVERY_S)
                try:
                    ends = await self._told(asked, sink, events.response)
                except StoreUnreachable:
                    continue  # what is said meanwhile is told later
                if ends and not work.done():
                    cancelled = True
                    work.cancel()
        except Exception:  # noqa: BLE001 -- a task that raises would end the server, which owns it
            self._log.exception("a response in the background can't be kept", extra={"request": asked.ask.request})
            work.cancel()
        except asyncio.CancelledError:
            work.cancel()  # the server stops
        await asyncio.wait((work,))
        status = 499 if cancelled else 200
        if sink.last is None:
            closing = (
                events.cancel() if cancelled else events.fail(InternalFailure("The server was stopped while it worked on this response."))
            )
            for event in closing:
                sink.tell(event)
        try:
            await self._keeper.archive.insist(
                keep_events, asked.owner, self._stored(asked, sink, events.response), list(sink.events), self._runner
            )
        except Exception:  # noqa: BLE001 -- a task that raises would end the server, which owns it
            self._log.exception("a response in the background can't be kept", extra={"request": asked.ask.request})
        self._report(
            request=asked.ask.request, operation="chat", ask=asked.ask, visit=visit, status=status, client="background", began=began
        )

    async def _answer(self, asked: Asked, visit: Visit, events: ResponseEvents, sink: _Collecting) -> None:
        voice = ResponseVoice(
            sink, events, lambda: self._clock.moment() // SECOND, lambda response: self._placed(asked, response), stream=True
        )
        try:
            await self._gateway.answer(asked.ask, visit, voice)
            await voice.before_end()
            voice.finish(b"")
        except HeadraceError as error:
            voice.break_off(error)
            if status_of(error) >= 500:
                self._log.warning("%s", error, extra={"request": asked.ask.request, "code": error.code})
        except Exception:  # noqa: BLE001 -- whatever our fault is, the client reads of it and the log the cause
            self._log.exception("a fault of ours, the response has failed", extra={"request": asked.ask.request})
            voice.break_off(InternalFailure(f"headrace failed. Its log tells why, under the id {asked.ask.request}."))

    async def _placed(self, asked: Asked, response: Response) -> None:
        if asked.request.conversation_id is not None:
            await self._keeper.place(asked, response)

    async def _told(self, asked: Asked, sink: _Collecting, response: Response) -> bool:
        """Tell the archive what is new. Whether the work is to end."""
        archive = self._keeper.archive
        if not sink.events:
            return await archive.run(is_cancelled, asked.owner, asked.id, self._runner)
        told = list(sink.events)
        ends = await archive.run(keep_events, asked.owner, self._stored(asked, sink, response), told, self._runner)
        del sink.events[: len(told)]
        return ends

    def _stored(self, asked: Asked, sink: _Collecting, response: Response) -> StoredResponse:
        known = response if sink.last is None else sink.last.get("response", response)
        return self._keeper.stored(asked, known | {"id": asked.id})
