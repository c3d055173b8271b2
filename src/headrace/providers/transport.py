"""HTTP/1.1 to an upstream, at the level of the socket: keep-alive connections, one exchange at a time on each.

A connection is idle, then asked (request written), then answering (head received), then idle again or closed. Time limits are kept by
one sweep a quarter of a second over the busy connections, not by a timer a request. A stream is poured: what arrives in one read is
handed on as one piece, from inside of the read, with no task to wake; while the hearer can't keep up, the socket is not read, so that
the upstream waits for the client.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

import httptools
import msgspec

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamGarbled, UpstreamTimedOut, UpstreamUnreachable
from headrace.providers.provider import Gate

UNREAD_BYTES_MAX = 256 * 1024
ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""An unstreamed answer is held whole in memory, so it has a limit: twenty times the largest batch of embeddings."""
HEAD_BYTES_MAX = 64 * 1024
SWEEP_S = 0.25


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for an upstream at each step, and how many idle connections to keep to one endpoint."""

    connect_timeout_ms: int = 5_000
    first_byte_timeout_ms: int = 300_000
    between_bytes_timeout_ms: int = 120_000
    idle_connections_max: int = 1_024

    def __post_init__(self) -> None:
        if min(self.connect_timeout_ms, self.first_byte_timeout_ms, self.between_bytes_timeout_ms) < 1:
            raise ValueError("timeouts of the transport are at least 1 ms")
        if self.idle_connections_max < 0:
            raise ValueError("transport.idle_connections_max must be 0 or more")


class Connection(asyncio.Protocol):
    """One connection; `owner` hears when it is free again or gone."""

    def __init__(self, owner: "Endpoint") -> None:
        self._owner = owner
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._unread = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._tap: tuple[Callable[[bytes], None], Gate] | None = None
        self.reused = False
        self.closed = False
        self.deadline: float | None = None
        self._expecting = False
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._headed = self._complete = self.heard = False

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class, but are like it

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._owner.lost(self)
        if self._expecting and not self._complete:
            if exc is None and self._failure is None:
                self._end_at_eof()
            if not self._complete:
                self._fail(self._cut())

    def _cut(self) -> HeadraceError:
        when = "in the middle of its answer" if self.heard else "without an answer"
        return UpstreamCut(f"{self._owner.origin} closed the connection {when}.")

    def _end_at_eof(self) -> None:
        """An answer with neither a length nor chunks ends where the connection does."""
        if self._headed and b"content-length" not in self.headers and b"transfer-encoding" not in self.headers:
            self.on_message_complete()
            self._wake()

    def data_received(self, data: bytes) -> None:
        if not self._expecting:
            self.abort()  # nobody asked: what an upstream says unasked must not become the next answer
            return
        self.heard = True
        self.deadline = self._owner.between_bytes_deadline()
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as wrong:
            self._fail(UpstreamFailed(f"{self._owner.origin} does not speak HTTP: {wrong}"))
            return
        if not self._headed:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._fail(UpstreamFailed(f"{self._owner.origin} answers with headers of over {HEAD_BYTES_MAX} bytes."))
            return
        if self._tap is not None:
            self._pour(*self._tap)
        elif self._unread > UNREAD_BYTES_MAX:
            self._pause()
        if self._tap is None or self._complete or self._paused:
            self._wake()

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("it says more than was asked")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headed = self.status >= 200  # 1xx is only a sign of life

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._unread += len(body)

    def on_message_complete(self) -> None:
        if not self._headed:
            self.headers = {}
            return
        self._complete = True
        self._keep = self._parser.should_keep_alive() and not self.closed

    # What the reader asks for.

    def ask(self, parts: list[bytes], deadline: float) -> None:
        """Write one request."""
        self._reset()
        self._expecting, self.deadline = True, deadline
        self._transport.writelines(parts)

    async def head(self) -> None:
        """Until status and headers are there."""
        while not self._headed:
            await self._more_to_come()

    async def whole(self) -> bytes:
        """The rest of the body, in one piece."""
        while not self._complete:
            if self._unread > ANSWER_BYTES_MAX:
                raise UpstreamGarbled(f"{self._owner.origin} answers with more than {ANSWER_BYTES_MAX} bytes.")
            await self._more_to_come(keep_reading=True)
        return self._take()

    async def pour(self, take: Callable[[bytes], None], gate: Gate) -> None:
        """The rest of the body, piece by piece to `take` as it arrives, until the end. Raises what `take` raises, too."""
        self._tap = take, gate
        try:
            self._pour(take, gate)
            while not self._complete or self._pieces:
                if gate.must_wait:
                    await gate.drained()
                else:
                    self._resume()  # what came before we listened may have stopped the reading
                    await self._more_to_come()
                self._pour(take, gate)
        finally:
            self._tap = None
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
        if not self._paused and not self.closed:
            self._transport.pause_reading()
            self._paused = True

    def _resume(self) -> None:
        if self._paused and not self.closed:
            self._transport.resume_reading()
            self.deadline = self._owner.between_bytes_deadline()
        self._paused = False

    async def _more_to_come(self, *, keep_reading: bool = False) -> None:
        if self._failure is not None:
            raise self._failure
        if keep_reading:
            self._resume()
        self._waiter = self._owner.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None:
            raise self._failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure  # the first cause is the one to tell
        self.abort()
        self._wake()

    def sweep(self, now: float) -> None:
        """Called now and then: give up when the deadline has passed."""
        if self.deadline is not None and now > self.deadline and not self._complete and not self._paused:
            what = "stopped in the middle of its answer" if self.heard else "gave no answer in time"
            self._fail(UpstreamTimedOut(f"{self._owner.origin} {what}."))

    def release(self) -> None:
        """The exchange is over: back to the idle ones if it went to its end, else closed."""
        self._resume()  # a large answer may have ended while its reading was stopped
        self.deadline, self._expecting = None, False
        if self._complete and self._keep and self._failure is None and not self._pieces and not self.closed:
            self._owner.idle_again(self)
        else:
            self.abort()

    def abort(self) -> None:
        if not self.closed:
            self._transport.abort()


class Exchange:
    """One request and its answer: `async with endpoint.exchange(parts) as answer`."""

    def __init__(self, endpoint: "Endpoint", parts: list[bytes]) -> None:
        self._endpoint, self._parts = endpoint, parts
        self._connection: Connection | None = None

    async def __aenter__(self) -> Self:
        connection = await self._endpoint.connection()
        try:
            await self._answered(connection)
        except UpstreamCut:
            if not connection.reused or connection.heard:
                raise
            # An idle connection that the upstream was just closing: it has not read the request, so a fresh one may ask again.
            await self._answered(await self._endpoint.connection(fresh=True))
        return self

    async def _answered(self, connection: Connection) -> None:
        connection.ask(self._parts, self._endpoint.first_byte_deadline())
        try:
            await connection.head()
        except BaseException:
            self._endpoint.finished(connection)
            raise
        self._connection = connection

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connection is not None:
            self._endpoint.finished(self._connection)

    @property
    def status(self) -> int:
        assert self._connection is not None
        return self._connection.status

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """Names in lower case."""
        assert self._connection is not None
        return self._connection.headers

    async def whole(self) -> bytes:
        assert self._connection is not None
        return await self._connection.whole()

    async def pour(self, take: Callable[[bytes], None], gate: Gate) -> None:
        assert self._connection is not None
        await self._connection.pour(take, gate)


class Endpoint:
    """One address of an upstream with its connections, the most recently used first."""

    def __init__(self, url: str, settings: TransportSettings, loop: asyncio.AbstractEventLoop) -> None:
        split = urlsplit(url)
        if split.scheme not in ("http", "https") or not split.hostname:
            raise ValueError(f"{url!r} is not an endpoint: it must start with http:// or https:// and name a host")
        self.loop, self._settings = loop, settings
        self._tls = ssl.create_default_context() if split.scheme == "https" else None
        self._host, self._port = split.hostname, split.port or (443 if self._tls else 80)
        self.path = split.path.rstrip("/")
        self.origin = f"{split.scheme}://{split.netloc}"
        self.host_header = split.netloc.rpartition("@")[2].encode()
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    def exchange(self, parts: list[bytes]) -> Exchange:
        return Exchange(self, parts)

    async def get(self, path: str, lines: str = "") -> tuple[int, bytes]:
        """A small question beside the requests, such as a probe: status and body. `lines` are header lines that end in CRLF."""
        head = f"GET {self.path}{path} HTTP/1.1\r\nhost: {self.host_header.decode()}\r\naccept: application/json\r\n{lines}\r\n"
        async with self.exchange([head.encode()]) as exchange:
            return exchange.status, await exchange.whole()

    async def connection(self, *, fresh: bool = False) -> Connection:
        """An idle connection, or a new one. Raises UpstreamUnreachable or UpstreamTimedOut."""
        while self._idle and not fresh:
            idle = self._idle.pop()
            if not idle.closed:
                idle.reused = True
                return self._taken(idle)
        return self._taken(await self._connect())

    def _taken(self, connection: Connection) -> Connection:
        self._busy.add(connection)
        if self._sweeper is None:
            self._sweeper = self.loop.call_later(SWEEP_S, self._sweep)
        return connection

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._settings.connect_timeout_ms / 1000):
                _, connection = await self.loop.create_connection(
                    lambda: Connection(self), self._host, self._port, ssl=self._tls, server_hostname=self._host if self._tls else None
                )
        except TimeoutError:
            raise UpstreamUnreachable(f"{self.origin} did not accept a connection within {self._settings.connect_timeout_ms} ms.") from None
        except OSError as wrong:
            raise UpstreamUnreachable(f"{self.origin} cannot be reached: {wrong.strerror or wrong}.") from None
        return connection

    def first_byte_deadline(self) -> float:
        return self.loop.time() + self._settings.first_byte_timeout_ms / 1000

    def between_bytes_deadline(self) -> float:
        return self.loop.time() + self._settings.between_bytes_timeout_ms / 1000

    def finished(self, connection: Connection) -> None:
        self._busy.discard(connection)
        connection.release()

    def idle_again(self, connection: Connection) -> None:
        if len(self._idle) < self._settings.idle_connections_max:
            self._idle.append(connection)
        else:
            connection.abort()

    def lost(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)

    def _sweep(self) -> None:
        now = self.loop.time()
        for connection in tuple(self._busy):
            connection.sweep(now)
        self._sweeper = self.loop.call_later(SWEEP_S, self._sweep) if self._busy else None

    def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in (*self._idle, *self._busy):
            connection.abort()
