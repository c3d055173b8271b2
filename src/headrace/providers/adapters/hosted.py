"""A provider that another process of this machine runs, behind a `ProviderHost`: asked over its unix socket.

Connections are kept and used again, one question at a time on each. What arrives is handed on from inside of the read, with no task to
wake; while the hearer can't keep up, the socket is not read, so that the host's provider waits. Who is cancelled closes its half of the
connection, learns what was used until then, and closes it.
"""

import asyncio
from collections import deque
from pathlib import Path
from typing import assert_never, cast

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import EngineFailed, HeadraceError, NotReady
from headrace.core.stream import Said
from headrace.core.translation import Change
from headrace.core.usage import NOTHING, Usage
from headrace.engine import EngineStatus
from headrace.engine.frames import Splitter, frame
from headrace.providers.host import Asked, Done, End, Failed, FromHost, Left, Probed, Spoke, Standing, StatusAsked, ToHost, Translated
from headrace.providers.provider import Hearer, Tap

COME_BACK_MS = 1_000
FAREWELL_S = 1.0
"""How long who leaves waits to be told what was used; the host needs a turn of its loop for it."""
LOOK_S = 1.0
LOOK_TIMEOUT_S = 5.0
STARTING_LOOK_S = 0.1

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(FromHost).decode

UNSEEN = EngineStatus(
    ready=False, running=0, waiting=0, kv_use=0.0, tokens_in=0, tokens_cached=0, tokens_out=0,
    answered=0, failed=0, left=0, refused=0, restarts=0, worker_pid=None, rss_bytes=0,
)  # fmt: skip


class HostedProvider:
    """Asks the host at `path`; keeps up to `idle_connections_max` connections that are not in use."""

    def __init__(self, path: Path, *, idle_connections_max: int = 64) -> None:
        self._path, self._idle_max = path, idle_connections_max
        self._idle: deque[_Connection] = deque()

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        hearer.usage = NOTHING  # until it is asked
        _check(await self._end(Asked(ask), hearer))

    async def probe(self) -> None:
        _check(await self._end(Probed(), Nobody()))

    async def status(self) -> EngineStatus | None:
        """What the engine says about its work; None: the host's provider has none. Raises NotReady or EngineFailed."""
        end = await self._end(StatusAsked(), Nobody())
        _check(end)
        return end.status if isinstance(end, Standing) else None

    def close(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            self._idle.pop().abort()

    async def _end(self, question: ToHost, hearer: Hearer) -> End:
        body = frame(_encode(question))
        used = self._used()
        if used is not None:
            try:
                return await self._through(used, body, hearer)
            except EngineFailed:
                if used.heard:
                    raise  # else the host ended while nothing was asked, and its successor may be there
        return await self._through(await self._connect(), body, hearer)

    async def _through(self, connection: "_Connection", body: bytes, hearer: Hearer) -> End:
        end = await connection.ask(body, hearer)
        if not connection.closed:
            if isinstance(end, Left) or len(self._idle) >= self._idle_max:
                connection.abort()
            else:
                self._idle.append(connection)
        return end

    def _used(self) -> "_Connection | None":
        """The connection that was used last, so that superfluous ones are at the other end."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(lambda: _Connection(loop), str(self._path))
        except OSError:
            raise NotReady("The process that runs the model is being started.", retry_after_ms=COME_BACK_MS) from None
        return connection


class HostedEngine:
    """The engine behind a host as another process sees it: `provider` asks it, and its status is at most a second old."""

    def __init__(self, path: Path) -> None:
        self.provider = HostedProvider(path)
        self._status = UNSEEN
        self._task: asyncio.Task[None] | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        """Until the host answers, however long its model loads; from then on a task of `tasks` looks at it until `stop`."""
        while not await self._look():  # noqa: ASYNC110 -- another process is looked at; there is no event
            await asyncio.sleep(STARTING_LOOK_S)
        self._task = tasks.create_task(self._keep_looking(), name="hosted engine")

    def status(self) -> EngineStatus:
        return self._status

    async def stop(self) -> None:
        """Look no more. The engine itself goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.provider.close()

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _look(self) -> bool:
        """Whether it told its status."""
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                told = await self.provider.status()
        except (HeadraceError, TimeoutError):
            told = None
        self._status = told or msgspec.structs.replace(
            self._status, ready=False, running=0, waiting=0, kv_use=0.0, worker_pid=None, rss_bytes=0
        )
        return told is not None


class Nobody:
    """Hears nothing and never makes anyone wait; learns only what was used."""

    must_wait = False

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.usage_likely: Usage | None = None
        self.verbatim: Tap | None = None

    @property
    def gate(self) -> "Nobody":
        return self

    async def drained(self) -> None: ...

    def hear(self, said: Said) -> None: ...

    def translated(self, changes: tuple[Change, ...]) -> None: ...


class _Connection(asyncio.Protocol):
    """One connection to the host."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._splitter = Splitter()
        self._held: deque[FromHost] = deque()  # bounded: what one read brings, since nothing is read while something is held
        self._hearer: Hearer | None = None
        self._end: End | None = None
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._paused = self.closed = self.heard = False

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class, but are like it

    def data_received(self, data: bytes) -> None:
        if self._hearer is None:
            self.abort()  # nobody asked: what is said unasked must not become the next answer
            return
        self.heard = True
        try:
            self._held.extend([_decode(body) for body in self._splitter.feed(data)])
        except (ValueError, msgspec.DecodeError) as wrong:
            self._fail(EngineFailed(f"The process that runs the model says what can't be read: {wrong}"))
        if not self._paused:
            self._pour(self._hearer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._fail(EngineFailed("The process that runs the model ended while it worked on this request.", retry_after_ms=COME_BACK_MS))

    # What the provider asks for.

    async def ask(self, body: bytes, hearer: Hearer) -> End:
        """Ask, and hand on what is said until the end. Raises EngineFailed when the connection ends before, and what `hearer` raises."""
        self._hearer, self._end, self.heard = hearer, None, False
        hearer.usage = hearer.usage_likely = None
        self._transport.write(body)
        try:
            while self._end is None:
                if self._paused:
                    await hearer.gate.drained()
                    self._go_on(hearer)
                elif self._failure is not None:
                    raise self._failure
                else:
                    await self._news()
        except asyncio.CancelledError:
            await self._leave(hearer)
            raise
        finally:
            self._hearer = None
            if self._end is None:
                self.abort()
        return self._end

    def abort(self) -> None:
        self.closed = True
        self._transport.abort()

    async def _leave(self, hearer: Hearer) -> None:
        """Learn what was used until now."""
        self._hearer = nobody = Nobody()
        nobody.usage, nobody.usage_likely = hearer.usage, hearer.usage_likely
        patience = self._loop.call_later(FAREWELL_S, self.abort)
        try:
            if not self.closed:
                self._transport.write_eof()
            self._go_on(nobody)
            while self._end is None and self._failure is None:
                await self._news()
        finally:
            patience.cancel()
            hearer.usage, hearer.usage_likely = nobody.usage, nobody.usage_likely
            self.abort()  # whatever came: this half is closed for good

    def _go_on(self, hearer: Hearer) -> None:
        """Hand on what is held, and read again unless that was too much."""
        self._paused = False
        self._pour(hearer)
        if not self._paused and not self.closed:
            self._transport.resume_reading()

    def _pour(self, hearer: Hearer) -> None:
        held, gate = self._held, hearer.gate
        try:
            while held and not gate.must_wait:
                self._take(held.popleft(), hearer)
        except Exception as wrong:  # noqa: BLE001 -- raised again by who awaits the end; here it would reach only the event loop
            self._fail(wrong)
            return
        if gate.must_wait and self._end is None:
            self._paused = True
            if not self.closed:
                self._transport.pause_reading()
        if self._paused or self._end is not None:
            self._wake()

    def _take(self, message: FromHost, hearer: Hearer) -> None:
        match message:
            case Spoke(said=said, spent=spent):
                if spent is not None:
                    hearer.usage, hearer.usage_likely = spent.usage, spent.likely
                hearer.hear(said)
            case Translated(changes=changes):
                hearer.translated(changes)
            case Done(spent=spent) | Left(spent=spent) | Failed(spent=spent):
                hearer.usage, hearer.usage_likely = spent.usage, spent.likely
                self._end = message
            case Standing():
                self._end = message
            case never:
                assert_never(never)

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure  # the first cause is the one to tell
        if not self.closed:
            self.abort()
        self._wake()

    async def _news(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _check(end: End) -> None:
    """Raise what the provider raised."""
    match end:
        case Failed():
            raise end.failure()
        case Left():
            raise EngineFailed("The process that runs the model was stopped while it worked on this request.", retry_after_ms=COME_BACK_MS)
        case Done() | Standing():
            return
        case never:
            assert_never(never)
