"""One provider for several processes of this machine, over a unix socket: the frames, and the side that has the provider.

    client  Asked, Probed or StatusAsked ──────────> host       one at a time on a connection, which is kept and used again
            <──────────── Translated                            before anything is said
            <──────────── Spoke, again and again
            <──────────── Done, Failed or Standing              the end
    client  closes its half of the connection ─────> host       it leaves: the provider is cancelled
            <──────────── Left                                  what was used until then, and the connection ends

A client that reads nothing for a while makes the provider wait: what was said to it is held up to the writer's high-water mark (64 KiB,
beside what the system's socket holds), and then the hearer's gate is closed.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, cast

import msgspec

from headrace.core import errors
from headrace.core.ask import Ask
from headrace.core.errors import HeadraceError, InternalFailure, RateLimited, SetupError, UpstreamRefused
from headrace.core.stream import Said
from headrace.core.translation import Change
from headrace.core.usage import NOTHING, Usage
from headrace.engine import EngineStatus
from headrace.engine.frames import Splitter, frame
from headrace.providers.provider import Provider, Tap

log = logging.getLogger(__name__)
BACKLOG = 4_096
CLOSING_S = 1.0

KINDS: dict[str, type[HeadraceError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, HeadraceError) and kind not in (HeadraceError, RateLimited)
}
"""By their codes, the failures that a provider may raise; limits of keys are none of its business."""


class Asked(msgspec.Struct, frozen=True, tag=True):
    ask: Ask


class Probed(msgspec.Struct, frozen=True, tag=True):
    pass


class StatusAsked(msgspec.Struct, frozen=True, tag=True):
    pass


class Translated(msgspec.Struct, frozen=True, tag=True):
    changes: tuple[Change, ...]


class Spent(msgspec.Struct, frozen=True, array_like=True):
    """What was used until now: exactly, and by an estimate; None where the provider does not say."""

    usage: Usage | None = None
    likely: Usage | None = None


class Spoke(msgspec.Struct, frozen=True, tag=True):
    """More of the answer; and what was used until now, where that is another than before."""

    said: Said
    spent: Spent | None


class Done(msgspec.Struct, frozen=True, tag=True):
    """The answer is complete, or the probe was answered."""

    spent: Spent


class Left(msgspec.Struct, frozen=True, tag=True):
    """The answer was given up: the client left, or the host stops."""

    spent: Spent


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The provider raised. `status` and `body` are those of UpstreamRefused."""

    code: str
    message: str
    param: str | None
    retry_after_ms: int | None
    spent: Spent
    status: int = 0
    body: bytes = b""

    @classmethod
    def of(cls, failure: HeadraceError, spent: Spent) -> "Failed":
        status, body = (failure.status, failure.body) if isinstance(failure, UpstreamRefused) else (0, b"")
        return cls(failure.code, failure.message, failure.param, failure.retry_after_ms, spent, status, body)

    def failure(self) -> HeadraceError:
        """What the provider raised, as an error of the same class; InternalFailure for a code that is unknown here."""
        kind = KINDS.get(self.code, InternalFailure)
        if kind is UpstreamRefused:
            return UpstreamRefused(self.message, status=self.status, body=self.body)
        again = kind.__new__(kind)  # some kinds make their message of other facts; here it is made already
        HeadraceError.__init__(again, self.message, param=self.param, retry_after_ms=self.retry_after_ms)
        return again


class Standing(msgspec.Struct, frozen=True, tag=True):
    """What the engine says about its work; None: this provider has no engine."""

    status: EngineStatus | None


ToHost: TypeAlias = Asked | Probed | StatusAsked
End: TypeAlias = Done | Left | Failed | Standing
FromHost: TypeAlias = Translated | Spoke | End

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(ToHost).decode


class ProviderHost:
    """Serves `provider` at `path` to processes of the same user, from `start` to `close`. `status` tells of its engine, if it has one."""

    def __init__(self, provider: Provider, path: Path, status: Callable[[], EngineStatus] | None = None) -> None:
        self.provider, self.status, self._path = provider, status, path
        self._server: asyncio.AbstractServer | None = None
        self._callers: set[_Caller] = set()
        self._deserted = asyncio.Event()
        self._deserted.set()

    async def start(self) -> None:
        """Listen; a socket that a killed host left there is replaced. Raises SetupError when that is not possible."""
        loop = asyncio.get_running_loop()
        listener = _bound(self._path)
        try:
            self._server = await loop.create_unix_server(lambda: _Caller(self, loop), sock=listener, backlog=BACKLOG)
        except BaseException:
            listener.close()
            raise

    @property
    def connections(self) -> int:
        """How many are open now, in use or kept for later."""
        return len(self._callers)

    async def deserted(self) -> None:
        """Until nobody is connected."""
        await self._deserted.wait()

    async def close(self) -> None:
        """Listen no more; answers that run are given up, and who hears them is told what they used."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for caller in tuple(self._callers):
            caller.end()
        try:
            async with asyncio.timeout(CLOSING_S):
                await self.deserted()
        except TimeoutError:
            for caller in tuple(self._callers):
                caller.abort()
            await self.deserted()

    def came(self, caller: "_Caller") -> None:
        self._callers.add(caller)
        self._deserted.clear()

    def gone(self, caller: "_Caller") -> None:
        self._callers.discard(caller)
        if not self._callers:
            self._deserted.set()


class _Caller(asyncio.Protocol):
    """One connection: who hears the provider, with its gate. It owns the task of the one question that it asks."""

    def __init__(self, host: ProviderHost, loop: asyncio.AbstractEventLoop) -> None:
        self._host, self._loop = host, loop
        self._splitter = Splitter()
        self._flows = asyncio.Event()
        self._flows.set()
        self._task: asyncio.Task[End] | None = None
        self._last = False  # nothing is asked any more
        self.usage: Usage | None = None
        self.usage_likely: Usage | None = None
        self.verbatim: Tap | None = None
        self._told = Spent()

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class, but are like it
        self._host.came(self)

    def data_received(self, data: bytes) -> None:
        try:
            questions = [_decode(body) for body in self._splitter.feed(data)]
        except (ValueError, msgspec.DecodeError) as wrong:
            log.error("a process asks in frames that are none of ours: %s", wrong)  # noqa: TRY400 -- the sentence says it all
            self.abort()
            return
        for question in questions:
            if self._task is not None:
                log.error("a process asks again on a connection before it is answered")
                self.abort()
                return
            self.usage, self.usage_likely = NOTHING, None  # until the task has begun
            self._task = self._loop.create_task(self._answered(question))
            self._task.add_done_callback(self._over)

    def eof_received(self) -> bool:
        """The client leaves. True: the connection stays until it is told what was used."""
        self._last = True
        if self._task is None:
            return False
        self._task.cancel()  # it may be done by now, and only its end not told
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self._host.gone(self)

    def pause_writing(self) -> None:
        self._flows.clear()

    def resume_writing(self) -> None:
        self._flows.set()

    # What the provider tells.

    def hear(self, said: Said) -> None:
        if self.usage is self._told.usage and self.usage_likely is self._told.likely:
            self._send(Spoke(said, None))
        else:
            self._told = self._spent
            self._send(Spoke(said, self._told))

    def translated(self, changes: tuple[Change, ...]) -> None:
        self._send(Translated(changes))

    @property
    def gate(self) -> "_Caller":
        return self

    @property
    def must_wait(self) -> bool:
        return not self._flows.is_set()

    async def drained(self) -> None:
        await self._flows.wait()

    # What the host does.

    def end(self) -> None:
        """Give up what it asked, tell it so, and close."""
        self._last = True
        if self._task is None:
            self._transport.close()
        else:
            self._task.cancel()

    def abort(self) -> None:
        self._transport.abort()

    async def _answered(self, question: ToHost) -> End:
        self.usage, self._told = None, Spent()
        try:
            match question:
                case Asked(ask=ask):
                    await self._host.provider.answer(ask, self)
                case Probed():
                    await self._host.provider.probe()
                case StatusAsked():
                    return Standing(self._host.status() if self._host.status is not None else None)
        except HeadraceError as failure:
            return Failed.of(failure, self._spent)
        except Exception:  # whatever our fault is, who asked gets an answer and the log the cause
            log.exception("a fault of ours, in the process that runs the model")
            return Failed.of(InternalFailure("The process that runs the model failed. Its log tells why."), self._spent)
        return Done(self._spent)

    @property
    def _spent(self) -> Spent:
        return Spent(self.usage, self.usage_likely)

    def _over(self, task: asyncio.Task[End]) -> None:
        self._task = None
        self._send(Left(self._spent) if task.cancelled() else task.result())
        if self._last:
            self._transport.close()

    def _send(self, message: FromHost) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame(_encode(message)))


def _bound(path: Path) -> socket.socket:
    """A socket at `path` that nobody but this user may connect to. Nobody can before it listens, so there is no moment too early."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
    except OSError as wrong:
        listener.close()
        raise SetupError(
            f"the workers can't be given a socket at {path} ({wrong.strerror or wrong}): choose a shorter or another folder "
            "with [storage] path, or run one worker"
        ) from None
    listener.setblocking(False)
    return listener
