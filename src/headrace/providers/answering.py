"""One answer as it comes in, and who waits for it: the part that HTTP/1.1 and HTTP/2 have in common.

What arrives in one read is handed on as one piece, from inside of the read, with no task to wake. While the hearer can't keep up, no more
is read, so that the upstream waits for the client.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled
from headrace.providers.provider import Gate

UNREAD_BYTES_MAX = 256 * 1024
ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""An unstreamed answer is held whole in memory, so it has a limit: twenty times the largest batch of embeddings."""
HEAD_BYTES_MAX = 64 * 1024


TakeChunk: TypeAlias = Callable[[bytes], bool]


class Exchange(Protocol):
    """One request and its answer: `async with endpoint.exchange(parts) as answer`. Raises UpstreamUnreachable when nothing was sent."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    @property
    def status(self) -> int: ...

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Names in lower case."""
        ...

    async def whole(self) -> bytes:
        """The rest of the body, in one piece."""
        ...

    async def pour(self, take: Callable[[bytes], None], gate: Gate, take_chunk: TakeChunk | None = None) -> None:
        """The rest of the body, piece by piece to `take` as it arrives, until the end. Raises what `take` raises, too.

        A read that is one whole chunk is shown to `take_chunk` first, with its frame: when that takes it, nobody looks into it.
        """
        ...


class Answering(ABC):
    """Who implements a wire calls `_came` after each read and `_fail` when it breaks, and offers `_stop`, `_go_on` and `abort`."""

    __slots__ = (
        "_failure",
        "_gathers",
        "_headed",
        "_loop",
        "_origin",
        "_paused",
        "_pieces",
        "_take_chunk",
        "_tap",
        "_unread",
        "_waiter",
        "complete",
        "heard",
        "status",
    )

    def __init__(self, origin: str, loop: asyncio.AbstractEventLoop) -> None:
        self._origin, self._loop = origin, loop
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._paused = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self._pieces: list[bytes] = []
        self._unread = 0
        self._tap: tuple[Callable[[bytes], None], Gate] | None = None
        self._take_chunk: TakeChunk | None = None
        self._headed = self.complete = self.heard = self._gathers = False

    # What the wire offers.

    @abstractmethod
    def _stop(self) -> None:
        """Hear no more for now."""

    @abstractmethod
    def _go_on(self) -> None:
        """Hear again."""

    @abstractmethod
    def abort(self) -> None:
        """Hear nothing more at all: the upstream is told, and may stop working."""

    # What the wire tells.

    def _came(self) -> None:
        """Something of the body was added to the pieces, or its end was seen."""
        if self._tap is not None:
            self._pour(*self._tap)
            if not self.complete and not self._paused:
                return
        elif self._gathers:
            if not self.complete:
                if self._unread > ANSWER_BYTES_MAX:
                    self._fail(UpstreamGarbled(f"{self._origin} answers with more than {ANSWER_BYTES_MAX} bytes."))
                return
        elif self._unread > UNREAD_BYTES_MAX and not self.complete:
            self._pause()
        self._wake()

    def _cut(self) -> HeadraceError:
        when = "in the middle of its answer" if self.heard else "without an answer"
        return UpstreamCut(f"{self._origin} closed the connection {when}.")

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure  # the first cause is the one to tell
        self.abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the reader asks for.

    async def head(self) -> None:
        """Until status and headers are there, or will not be."""
        self._waiter = waiter = self._loop.create_future()
        await waiter
        if self._failure is not None:
            raise self._failure

    async def whole(self) -> bytes:
        """The rest of the body, in one piece."""
        if not self.complete:
            self._gathers = True
            self._resume()
            while not self.complete:
                await self._news()
        return self._take()

    async def pour(self, take: Callable[[bytes], None], gate: Gate, take_chunk: TakeChunk | None = None) -> None:
        """The rest of the body, piece by piece to `take` as it arrives, until the end. Raises what `take` raises, too."""
        self._tap, self._take_chunk = (take, gate), take_chunk
        try:
            self._pour(take, gate)
            while not self.complete or self._pieces:
                if gate.must_wait:
                    await gate.drained()
                else:
                    self._resume()  # what came before we listened may have stopped the reading
                    await self._news()
                self._pour(take, gate)
        finally:
            self._tap = self._take_chunk = None
        if self._failure is not None:
            raise self._failure

    def _pour(self, take: Callable[[bytes], None], gate: Gate) -> None:
        if not self._pieces:
            return
        try:
            take(self._take())
        except Exception as wrong:  # noqa: BLE001 -- raised again by who awaits `pour`; here it would reach only the event loop
            self._fail(wrong)
        if gate.must_wait:
            self._pause()

    def _take(self) -> bytes:
        pieces, self._pieces, self._unread = self._pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._stop()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._go_on()

    async def _news(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None:
            raise self._failure
