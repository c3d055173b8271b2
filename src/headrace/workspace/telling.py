"""What happens to runs, told to addresses outside: what a message says, and the sender that tells each until it is heard.

Where a person has set the address, it must be one of the internet (unless the settings open private networks): it is looked up once, and
the address that was checked is the one that is connected to. An operator's may be anywhere, like any other of the settings.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

import msgspec

from headrace.agents.events import Ended, Event
from headrace.agents.question import question
from headrace.agents.tools import CARDS
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import HeadraceError, InvalidRequest, SandboxRefused
from headrace.core.money import usd
from headrace.sandbox.egress import Lookup, Reach, checked_address, look_up
from headrace.storage import Subscriber, Telling, Thread, ThreadState, claim_telling, due_tellings, tell, telling_heard
from headrace.storage.posting import deliver
from headrace.wire.a2a import push_headers
from headrace.wire.hooks import headers

RUN_KINDS: Final = ("run.finished", "run.failed", "run.waits", "run.budget_ended", "run.stopped")
SCHEDULE_KINDS: Final = ("schedule.finished", "schedule.failed", "schedule.waits", "schedule.skipped")
TEST: Final = "test"
KINDS: Final = (*RUN_KINDS, *SCHEDULE_KINDS)
TEXT_CHARS_MAX: Final = 4_000
AT_ONCE: Final = 8
LOOK_S: Final = 2.0
_OVER: Final[dict[ThreadState, str]] = {"done": "run.finished", "failed": "run.failed", "stopped": "run.stopped"}

Given = ParamSpec("Given")
Got = TypeVar("Got")


class Keeps(Protocol):
    """Runs functions of the database."""

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, Given], Got], *given: Given.args, **named: Given.kwargs) -> Got: ...


def happened(events: Sequence[Event], state: ThreadState, failure: HeadraceError | None) -> tuple[str, dict[str, Any]] | None:
    """What is to be told of a run that stands so now; None: nothing."""
    if state == "waiting":
        return _asked(events)
    kind = _OVER.get(state)
    if kind is None:
        return None
    if failure is not None:
        return kind, {"code": failure.code, "why": failure.message}
    last = events[-1] if events else None
    return kind, {"answer": _cut(last.text)} if isinstance(last, Ended) else {}


def scheduled(kind: str) -> str:
    """What happens to a run, as its schedule's."""
    return {"run.budget_ended": "schedule.waits"}.get(kind, kind.replace("run.", "schedule."))


def _asked(events: Sequence[Event]) -> tuple[str, dict[str, Any]] | None:
    asked = question(events, CARDS)
    if asked is None:
        return None
    if asked.pause is not None:
        return "run.budget_ended", {"used_up": asked.pause}
    if asked.fate is not None:
        return "run.waits", {"asks": "fate", "calls": [{"tool": asked.fate.tool, "arguments": _cut(asked.fate.arguments)}]}
    calls = [
        {"id": call.id, "tool": call.tool, "arguments": _cut(call.arguments), "reasons": [reason.says for reason in why]}
        for call, why in zip(asked.calls, asked.reasons, strict=True)
    ]
    return "run.waits", {"asks": "leave", "calls": calls}


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[: TEXT_CHARS_MAX - 1]}…"


def message(kind: str, now: int, told: dict[str, Any]) -> bytes:
    """The body of a message."""
    return msgspec.json.encode({"type": kind, "timestamp": now // SECOND, "data": told})


def check_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Raises InvalidRequest for one that there is not."""
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise InvalidRequest(f"There is no event {unknown[0]!r}: they are {', '.join(KINDS)}.", param="events")
    return tuple(kinds)


def check_address(url: str, *, private: bool) -> str:
    """An address that can be told. Raises InvalidRequest."""
    try:
        parts = urlsplit(url)
        named = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        named = False
    else:
        if named and parts.scheme == "http" and not private:
            raise InvalidRequest("Messages go over https: over plain http everybody on the way could read them.", param="url")
        named = named and parts.scheme in ("https", "http") and parts.username is None
    if not named:
        raise InvalidRequest(f"{url!r} is no address of a web server, such as https://example.org/headrace.", param="url")
    return url


class Teller:
    """Writes down what is to be told, and tells what is due. `private` says whether everybody's messages may go to private networks."""

    def __init__(self, keeps: Keeps, clock: Clock, private: Callable[[], bool], log: logging.Logger, lookup: Lookup = look_up) -> None:
        self._keeps, self._clock, self._private, self._log, self._lookup = keeps, clock, private, log, lookup
        self._news = asyncio.Event()

    async def run_stands(
        self,
        owner: str,
        thread: Thread,
        run: str,
        events: Sequence[Event],
        state: ThreadState,
        failure: HeadraceError | None,
        schedule: str | None = None,
    ) -> None:
        """A run of a thread came to a stand; with a `schedule` it is told as that one's."""
        found = happened(events, state, failure)
        if found is None:
            return
        kind, more = found
        about = {"thread": thread.id, "run": run, "title": thread.title, "cost_usd": usd(thread.pico_usd), "tokens": thread.tokens}
        if schedule is not None:
            kind, about = scheduled(kind), {**about, "schedule": schedule}
        await self.write(owner, kind, f"{run}_{len(events)}_{state}", about | more)

    async def skipped(self, owner: str, schedule: str, moments: Sequence[int]) -> None:
        """Nobody watched when a schedule was due."""
        told = {"schedule": schedule, "times": len(moments), "last_due": moments[-1]}
        await self.write(owner, "schedule.skipped", f"{schedule}_{moments[-1]}", told)

    async def write(self, owner: str, kind: str, happening: str, told: dict[str, Any]) -> int:
        """Have it told to who wants to hear it; to how many. `happening` names it: of one name it is told once."""
        now = self._clock.moment()
        wanted = await self._keeps.run(tell, owner, kind, happening, message(kind, now, told), now)
        if wanted:
            self.ring()
        return wanted

    def ring(self) -> None:
        """Something may be due."""
        self._news.set()

    async def keep_telling(self) -> None:
        """For as long as the server lives. What another process has written down is found within moments."""
        while True:
            self._news.clear()
            try:
                more = await self.tell_due()
            except* Exception:  # noqa: BLE001 -- each of those told at once may fail; a task that raises would end the server
                self._log.exception("messages to webhooks can't be told now; they are tried again")
                more = False
            if not more:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._news.wait()

    async def tell_due(self) -> bool:
        """Tell all that is due now, each once; whether there was anything."""
        due = await self._keeps.run(due_tellings, self._clock.moment())
        room = asyncio.Semaphore(AT_ONCE)

        async def told(telling: Telling, subscriber: Subscriber) -> None:
            async with room:
                if await self._keeps.run(claim_telling, telling, self._clock.moment()):
                    failure = await self._told(telling, subscriber)
                    await self._keeps.run(telling_heard, telling.id, self._clock.moment(), failure)

        async with asyncio.TaskGroup() as tasks:
            for telling, subscriber in due:
                tasks.create_task(told(telling, subscriber))
        return bool(due)

    async def _told(self, telling: Telling, subscriber: Subscriber) -> str | None:
        address = None
        if subscriber.owner:
            try:
                address = await self.checked(subscriber.url)
            except SandboxRefused as refused:
                return refused.message
        if subscriber.thread is None:
            said = headers(subscriber.secret, telling.id, self._clock.moment() // SECOND, telling.body)
        else:
            said = push_headers(telling.id, subscriber.token, subscriber.scheme, subscriber.credentials)
        return await asyncio.to_thread(deliver, subscriber.url, said, telling.body, address)

    async def checked(self, url: str) -> str:
        """The address to connect to for this one of a person's. Raises SandboxRefused where it is none of the internet."""
        parts = urlsplit(url)
        port, host = parts.port or (443 if parts.scheme == "https" else 80), (parts.hostname or "").casefold()
        reach = Reach(frozenset((host,)), ports=frozenset((port,)), private=self._private())
        return await checked_address(host, port, reach, self._lookup)


RunStands = Callable[[str, Thread, str, Sequence[Event], ThreadState, HeadraceError | None], Awaitable[None]]
"""Told of a run that came to a stand: its owner, thread, name, events, how it stands, and why where it failed."""
