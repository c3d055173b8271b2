"""A worker process as its parent sees it: frames out, frames in, and one end."""

import asyncio
import socket
import sys
from collections import deque
from collections.abc import Callable

from headrace.engine.frames import Splitter, frame

LINES_KEPT = 20
GRACE_S = 2.0


class _Wire(asyncio.Protocol):
    def __init__(self, hear: Callable[[bytes], None], ended: asyncio.Future[None]) -> None:
        self._hear, self._ended, self._splitter = hear, ended, Splitter()

    def data_received(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            self._hear(body)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended.done():
            self._ended.set_result(None)


class WorkerProcess:
    """One `python -m module FD` with a socket to it. It is ours alone: `end` leaves nothing behind."""

    def __init__(self, process: asyncio.subprocess.Process, transport: asyncio.WriteTransport, ended: asyncio.Future[None]) -> None:
        self._process, self._transport, self._ended = process, transport, ended
        self._last: deque[str] = deque(maxlen=LINES_KEPT)

    @classmethod
    async def spawn(cls, module: str, hear: Callable[[bytes], None]) -> "WorkerProcess":
        """Start it. `hear` gets each frame that it says, on the event loop."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", module, str(theirs.fileno()), pass_fds=[theirs.fileno()],
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
                )  # fmt: skip
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        ended: asyncio.Future[None] = loop.create_future()
        transport, _ = await loop.create_unix_connection(lambda: _Wire(hear, ended), sock=ours)
        return cls(process, transport, ended)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The last line it wrote to its standard error, where libraries say why they die."""
        return self._last[-1] if self._last else ""

    def send(self, body: bytes) -> None:
        """Queue a frame; at most what the engine lets in is ever queued."""
        if not self._transport.is_closing():
            self._transport.write(frame(body))

    async def ended(self) -> int:
        """Wait for its end and say how it ended, as `subprocess` does: negative for a signal. Reads what it complains about meanwhile."""
        assert self._process.stderr is not None
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:  # a line longer than the reader's limit
                continue
            if not line:
                break
            self._last.append(line.decode("utf-8", "replace").rstrip())
        status = await self._process.wait()
        self._transport.close()
        await self._ended
        return status

    async def end(self) -> None:
        """Close the socket, at which it leaves after its step; kill it when it doesn't."""
        self._transport.close()
        try:
            await asyncio.wait_for(self._process.wait(), GRACE_S)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
