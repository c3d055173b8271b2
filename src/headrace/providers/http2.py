"""Exchanges over HTTP/2: as few connections as the upstream allows, each with many exchanges. Needs h2 (`headrace[http2]`).

Requests arrive as they do for HTTP/1.1, as bytes, and are read once more here: that is not what costs on this way.
"""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self

from headrace.core.errors import UpstreamCut, UpstreamUnreachable
from headrace.providers.answering import TakeChunk
from headrace.providers.dialing import Dialer
from headrace.providers.multiplexed import Http2Connection, Stream
from headrace.providers.provider import Gate
from headrace.providers.settings import TransportSettings
from headrace.providers.sweep import Sweep

REFUSED_MAX = 3
"""How often a request is sent to an upstream that refuses it unread."""
LEFT_MAX = 12
"""How often a request is sent on when a connection ends before it was read: with many at once, the next connection may end as well."""
_OF_THE_CONNECTION = frozenset({b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te"})


def read_request(parts: list[bytes], scheme: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers, in HTTP/2's manner, and body of a request in HTTP/1.1."""
    head, _, begun = parts[0].partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    method, path, _ = line.split(b" ")
    named = [(name.lower(), value.strip()) for name, _, value in (one.partition(b":") for one in lines)]
    authority = next((value for name, value in named if name == b"host"), b"")
    opening = [(b":method", method), (b":scheme", scheme.encode()), (b":authority", authority), (b":path", path)]
    rest = [part for part in (begun, *parts[1:]) if part]
    return opening + [pair for pair in named if pair[0] not in _OF_THE_CONNECTION], rest[0] if len(rest) == 1 else b"".join(rest)


class Http2Exchange:
    def __init__(self, connections: "Http2Connections", parts: list[bytes]) -> None:
        self._connections, self._parts = connections, parts
        self._stream: Stream | None = None

    async def __aenter__(self) -> Self:
        headers, body = read_request(self._parts, self._connections.scheme)
        refused = left = 0
        while True:
            stream = (await self._connections.roomy()).ask(headers, body)
            try:
                await stream.head()
                break
            except (UpstreamCut, UpstreamUnreachable):
                stream.release()
                refused, left = refused + stream.refused, left + stream.left
                if not (stream.refused or stream.left) or refused == REFUSED_MAX or left == LEFT_MAX:
                    raise
            except BaseException:
                stream.release()
                raise
        self._stream, self._parts = stream, []
        self.status, self.headers = stream.status, stream.headers
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._stream is not None:
            self._stream.release()

    def whole(self) -> Coroutine[None, None, bytes]:
        assert self._stream is not None
        return self._stream.whole()

    def pour(self, take: Callable[[bytes], None], gate: Gate, take_chunk: TakeChunk | None = None) -> Coroutine[None, None, None]:
        assert self._stream is not None
        return self._stream.pour(take, gate)


class Http2Connections:
    """The connections to one endpoint: one, and more when it is full."""

    def __init__(self, dialer: Dialer, scheme: str, settings: TransportSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._dialer, self._settings, self._loop = dialer, settings, loop
        self.scheme = scheme
        self._open: list[Http2Connection] = []
        self._opening: asyncio.Future[UpstreamUnreachable | None] | None = None
        self._sweep = Sweep(loop)

    def exchange(self, parts: list[bytes]) -> Http2Exchange:
        return Http2Exchange(self, parts)

    async def roomy(self) -> Http2Connection:
        """A connection with room for a stream. Raises UpstreamUnreachable. Whoever comes while one is opened waits for that."""
        while True:
            for connection in self._open:
                if connection.has_room:
                    return connection
            if self._opening is None:
                await self._fresh()
                continue
            failure = await asyncio.shield(self._opening)
            if failure is not None:
                raise UpstreamUnreachable(failure.message)

    async def _fresh(self) -> None:
        self._opening = opening = self._loop.create_future()
        failure = None
        try:
            await self._connect()
        except UpstreamUnreachable as wrong:
            failure = wrong
            raise
        finally:
            self._opening = None
            opening.set_result(failure)

    async def _connect(self) -> None:
        connection = Http2Connection(self, self._dialer.origin, self._settings, self._loop)
        await self._dialer.dial(connection)
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1000):
                failure = await connection.ready
        except BaseException as wrong:
            connection.abort()
            if isinstance(wrong, TimeoutError):
                raise UpstreamUnreachable(f"{self._dialer.origin} does not speak HTTP/2: leave out http2 for it.") from None
            raise
        if failure is None and not connection.has_room:
            connection.abort()
            failure = UpstreamUnreachable(f"{self._dialer.origin} lets nobody ask anything on a new connection of HTTP/2.")
        if failure is not None:
            raise failure
        self._open.append(connection)
        self._sweep.watch(connection)

    def lost(self, connection: Http2Connection) -> None:
        self._sweep.forget(connection)
        if connection in self._open:
            self._open.remove(connection)

    def retire(self) -> None:
        for connection in tuple(self._open):
            connection.retire()

    def close(self) -> None:
        self._sweep.stop()
        for connection in tuple(self._open):
            connection.abort()
