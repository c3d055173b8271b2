"""Exchanges over HTTP/1.1: connections are kept, the most recently used is asked first, and each holds one exchange at a time."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Self

from headrace.core.errors import UpstreamCut
from headrace.providers.answering import TakeChunk
from headrace.providers.connection import AnswerHeads, Connection, read_headers
from headrace.providers.dialing import Dialer
from headrace.providers.provider import Gate
from headrace.providers.settings import TransportSettings
from headrace.providers.sweep import Sweep


class Http1Exchange:
    def __init__(self, connections: "Http1Connections", parts: list[bytes]) -> None:
        self._connections, self._parts = connections, parts
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        connections = self._connections
        connection = connections.idle() or await connections.fresh()
        try:
            connection.ask(self._parts)
            await connection.head()
        except UpstreamCut:
            connection.release()
            if not connection.stale:
                raise
            connection = await self._asked_again()
        except BaseException:
            connection.release()
            raise
        self._connection, self._parts = connection, []  # a stream may be long, and need not hold what was asked
        self.status, self._raw_head = connection.status, connection.raw_head
        return self

    async def _asked_again(self) -> Connection:
        """An idle connection that the upstream was just closing: it has not read the request, so a fresh one may ask again."""
        connection = await self._connections.fresh()
        try:
            connection.ask(self._parts)
            await connection.head()
        except BaseException:
            connection.release()
            raise
        return connection

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connection is not None:
            self._connection.release()

    @property
    def headers(self) -> dict[bytes, bytes]:
        return read_headers(self._raw_head)

    def whole(self) -> Coroutine[None, None, bytes]:
        assert self._connection is not None
        return self._connection.whole()

    def pour(self, take: Callable[[bytes], None], gate: Gate, take_chunk: TakeChunk | None = None) -> Coroutine[None, None, None]:
        assert self._connection is not None
        return self._connection.pour(take, gate, take_chunk)


class Http1Connections:
    """The connections to one endpoint, idle and busy."""

    def __init__(self, dialer: Dialer, settings: TransportSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._dialer, self._settings, self._loop = dialer, settings, loop
        self._idle: list[Connection] = []
        self._idle_max = settings.idle_connections_max
        self._open: set[Connection] = set()
        self._heads = AnswerHeads()
        self._sweep = Sweep(loop)

    def exchange(self, parts: list[bytes]) -> Http1Exchange:
        return Http1Exchange(self, parts)

    def idle(self) -> Connection | None:
        """The connection that was used last, if one is idle."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def fresh(self) -> Connection:
        """A new connection. Raises UpstreamUnreachable."""
        connection = Connection(self, self._dialer.origin, self._settings, self._loop, self._heads)
        await self._dialer.dial(connection)
        self._open.add(connection)
        self._sweep.watch(connection)
        return connection

    def idle_again(self, connection: Connection) -> None:
        if len(self._idle) < self._idle_max:
            self._idle.append(connection)
        else:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._sweep.forget(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def retire(self) -> None:
        self._idle_max = 0
        for connection in tuple(self._idle):
            connection.abort()

    def close(self) -> None:
        self._idle_max = 0  # one that is being opened now is not kept either
        self._sweep.stop()
        for connection in tuple(self._open):
            connection.abort()
