"""An upstream of a few lines over a real socket, plain, with TLS or on a path: for each request it says what the script tells it to."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Caller:
    """One connection, seen from the upstream."""

    def __init__(self, upstream: "Upstream", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._upstream, self._reader, self._writer = upstream, reader, writer

    async def request(self) -> bytes:
        """The next request; empty when the caller has hung up."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        body = await self._reader.readexactly(length)
        self._upstream.requests.append(head + body)
        self._upstream.asked.set()
        return head + body

    async def say(self, *parts: bytes) -> None:
        """Each part in a write of its own, far enough apart to be read alone."""
        for part in parts:
            self._writer.write(part)
            await self._writer.drain()
            await asyncio.sleep(0.005 if len(parts) > 1 else 0)

    @property
    def alpn(self) -> str | None:
        """What was agreed on with TLS."""
        agreed: str | None = self._writer.get_extra_info("ssl_object").selected_alpn_protocol()
        return agreed

    async def read(self, size_max: int) -> bytes:
        """Whatever comes next, as it comes."""
        return await self._reader.read(size_max)

    async def gone(self) -> None:
        """Until the caller hangs up."""
        while await self._reader.read(65_536):
            pass

    def reset(self) -> None:
        """End the connection as a crashed machine does: RST, not FIN."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script: TypeAlias = Callable[[Caller], Awaitable[None]]


class Upstream:
    """Counts its connections, and which of them are open."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.connections = self.open = 0
        self.requests: list[bytes] = []
        self.asked, self._emptied = asyncio.Event(), asyncio.Event()
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._script(Caller(self, reader, writer))
        except ConnectionError:
            pass
        finally:
            self.open -= 1
            self._emptied.set()
            writer.close()

    async def idle(self) -> None:
        """Until every connection is closed."""
        async with asyncio.timeout(5):
            while self.open:
                self._emptied.clear()
                await self._emptied.wait()


@asynccontextmanager
async def upstream(script: Script, *, tls: ssl.SSLContext | None = None, path: Path | None = None) -> AsyncGenerator[Upstream, None]:
    made = Upstream(script)
    if path is None:
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
        made.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    else:
        server = await asyncio.start_unix_server(made.serve, path)
        made.url = f"unix:{path}:/v1"
    try:
        yield made
    finally:
        server.close()
        await made.idle()


def says(*parts: bytes) -> Script:
    """The same answer to every request, and the connection is kept."""

    async def script(caller: Caller) -> None:
        while await caller.request():
            await caller.say(*parts)

    return script


def says_once(*parts: bytes) -> Script:
    """One answer, then the connection ends."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(*parts)

    return script
