"""The door at the level of the socket: hot routes are answered in a lane of their own, all others go to the ASGI application.

uvicorn's protocol parses HTTP, keeps connections alive, and shuts down; a hot route only puts an `Exchange` where uvicorn would put
its ASGI cycle, so that a request costs no scope, no receive and send, no middleware. What a stranger on the wire can do is bounded
here for both kinds: the size of a head and a body, the time until a request is whole, the time a connection idles or stands still.
"""

import asyncio
import http
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import httptools
import msgspec
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from headrace.api.errors import answer_for
from headrace.api.heads import Handler, Head, Headers, Heads
from headrace.core.errors import BodyTooLarge, HeadersTooLarge, HeadraceError, MalformedRequest, RequestTimedOut
from headrace.providers import outbox_of

STATUS_LINE = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
STATUS_LINE[529] = b"HTTP/1.1 529 Overloaded\r\n"  # Anthropic's own, which no standard knows
NO_LINGER = struct.pack("ii", 1, 0)
LINGER_S = 2.0
"""How long a refused client is listened to, so that it reads the refusal before the connection ends."""


class SocketSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one client may take of the door: bytes, and time."""

    body_bytes_max: int = 32 * 1024 * 1024
    head_bytes_max: int = 64 * 1024
    request_timeout_ms: int = 30_000
    idle_timeout_ms: int = 75_000
    stalled_timeout_ms: int = 120_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 1:
                raise ValueError(f"server.{name} must be at least 1")


class Exchange:
    """One request on a hot route and its answer. It stands where uvicorn keeps its cycle, with the attributes that uvicorn reads."""

    __slots__ = (
        "_closed",
        "_lane",
        "_transport",
        "chunked",
        "handler",
        "headers",
        "in_turn",
        "keep_alive",
        "left",
        "more_body",
        "patience_s",
        "pieces",
        "response_complete",
        "size",
        "task",
    )
    message_event = asyncio.Event()  # uvicorn sets its cycle's event when a connection ends; nobody waits on ours

    def __init__(self, lane: "Lane", handler: Handler, headers: Headers, *, keep_alive: bool, chunked: bool) -> None:
        self._lane, self._transport = lane, lane.transport
        self.handler, self.headers = handler, headers
        self.keep_alive, self.chunked = keep_alive, chunked
        self.pieces: list[bytes | memoryview] = []
        self.size = 0
        self.more_body = True
        self.in_turn = self.response_complete = self.left = False
        self.patience_s = 0.0
        """How long the work for a client who left goes on; who knows what the upstream bills sets it."""
        self.task: asyncio.Task[None] | None = None
        self._closed: Callable[[], None] | None = None

    @property
    def disconnected(self) -> bool:
        return self.left

    @disconnected.setter
    def disconnected(self, left: bool) -> None:
        self.left = left
        self.close_express()
        if self.task is None:
            return
        self._lane.outlives(self.task)
        if self.patience_s:
            self._lane.loop.call_later(self.patience_s, self.task.cancel)
        else:
            self.task.cancel()

    @property
    def body(self) -> bytes:
        """The request's body, whole when the handler runs."""
        return bytes(self.pieces[0]) if len(self.pieces) == 1 else b"".join(self.pieces)

    @property
    def client(self) -> str:
        return self._lane.client[0] if self._lane.client else "unknown"

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        """The whole answer in one write. `headers` are lines that end in CRLF."""
        if self.left:
            return
        ends = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self._say(b"%b%bcontent-length: %d\r\n%b%b" % (STATUS_LINE[status], headers, len(body), ends, body))
        self._completed()

    def begin(self, headers: bytes) -> None:
        """Start a streamed answer."""
        if self.left:
            return
        self.keep_alive = self.keep_alive and self.chunked
        coding = b"transfer-encoding: chunked\r\n" if self.chunked else b""
        self._say(b"".join((STATUS_LINE[200], headers, coding, self._closing(), b"\r\n")))

    def express(self, closed: Callable[[], None]) -> Callable[[bytes], None] | None:
        """Where whole chunks may go, until `closed` is called: see `providers.Tap`."""
        if not self.chunked or self.left or self._lane.flow.write_paused:
            return None
        self._closed = closed
        return self._lane.outbox.writer(self._transport)

    def close_express(self) -> None:
        """What comes now must wait, or is for nobody."""
        if self._closed is not None:
            self._closed()
            self._closed = None

    def write(self, data: bytes) -> None:
        """More of a streamed answer: one read of the upstream, one write."""
        if not self.left:
            self._say(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    @property
    def must_wait(self) -> bool:
        """The client reads slower than we write."""
        return self._lane.flow.write_paused and not self.left

    async def drained(self) -> None:
        """Until the client has caught up, or left."""
        await self._lane.flow.drain()

    def end(self, trailer: bytes = b"") -> None:
        """Finish a streamed answer. `trailer` are header lines that could not be known before; without chunks nobody hears them."""
        if self.left:
            return
        if self.chunked:
            self._say(b"0\r\n%b\r\n" % trailer)
        self._completed()

    def _say(self, data: bytes) -> None:
        """With all that this turn of the loop writes."""
        self._lane.outbox.send(self._transport, (data,))

    def cut(self) -> None:
        """End the connection in the middle of an answer, so that nobody takes the part for the whole."""
        self._lane.outbox.flush()
        self._transport.close()

    def _closing(self) -> bytes:
        return b"" if self.keep_alive else b"connection: close\r\n"

    def _completed(self) -> None:
        self.response_complete = True
        self._closed = None  # whoever it tells holds us, and neither would go before the collector's next look
        self.pieces.clear()  # an idle connection holds us until its next request
        if not self.keep_alive:
            self._lane.outbox.flush()
            self._transport.close()
        self._lane.on_response_complete()


def _repeated(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Of our own headers that stand there twice, neither can be followed: the pair is given a name that nobody knows."""
    names = [name for name, _ in headers]
    return {name + b" (twice)": b"" for name in names if name.startswith(b"x-headrace") and names.count(name) > 1}


NO_PATHS: frozenset[bytes] = frozenset()


def nobody(url: bytes) -> Handler | None:
    """Who serves no path beside those that are known."""
    return None


class Lane(HttpToolsProtocol):
    """One client connection."""

    url: bytes = b""
    cycle: Any  # what was parsed last: uvicorn's cycle, or an Exchange, which has all that uvicorn reads of one; None at first

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        handlers: Mapping[bytes, Handler],
        heads: Heads,
        settings: SocketSettings,
        websockets: frozenset[bytes] = NO_PATHS,
        others: "Callable[[bytes], Handler | None]" = nobody,
    ) -> None:
        """At `websockets` a connection may become a WebSocket. `others` is asked for who serves a POST that no handler is known for."""
        super().__init__(config, server_state, app_state, _loop)
        self._websockets, self._websocket, self._others = websockets, False, others
        self._handlers, self._heads, self._settings = handlers, heads, settings
        self.outbox = outbox_of(self.loop)
        self._open: list[Exchange] = []
        self._last: Head | None = None
        self._in_head = self._receiving = self._refused = False
        self._head_bytes = self._body_left = 0
        self._offer = self._first = b""
        self._since = self.loop.time()
        self._unsent, self._taken = 0, self._since

    # What arrives.

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._body_left:
            self._more(data)
        elif self._receiving or self.pipeline or not (self.cycle is None or self.cycle.response_complete):
            self._parse(data)
        else:
            known = self._heads.read(data, self._last)
            if known is None or not self._hear(data, *known):
                self._parse(data)

    def _hear(self, data: bytes, head: Head, begins: int, length: int) -> bool:
        """A request with a head that was read before; False: what is about its body is for the parser."""
        left = length - len(data) + begins
        if left < 0 or length > self._settings.body_bytes_max:
            return False
        self._last = head
        self.cycle = exchange = Exchange(self, head.handler, head.headers, keep_alive=True, chunked=True)
        self._open.append(exchange)
        exchange.in_turn = True
        self._since = self.loop.time()
        if left:
            exchange.pieces.append(memoryview(data)[begins:])  # copied once, when all is there
            self._receiving, self._body_left = True, left
        else:
            exchange.pieces.append(data[begins:])
            exchange.more_body = False
            self._start(exchange)
        return True

    def _more(self, data: bytes) -> None:
        """More of a body whose length is known."""
        left, exchange = self._body_left - len(data), self.cycle
        exchange.pieces.append(data[:left] if left < 0 else data)
        if left > 0:
            self._body_left = left
            return
        self._body_left = 0
        self._receiving, self._since = False, self.loop.time()
        exchange.more_body = False
        self._start(exchange)
        if left < 0:
            self.data_received(data[left:])

    def _parse(self, data: bytes) -> None:
        self._offer = b""
        if not self._receiving:
            self._receiving, self._since = True, self.loop.time()
            self._first = data
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            if self._websocket:
                self._receiving = False
                self.handle_websocket_upgrade()
                return
            self._decline(data[offered.args[0] :])
            return
        except httptools.HttpParserError as wrong:
            self._refuse(MalformedRequest(f"This is not an HTTP request: {wrong}."))
        if self._in_head:
            self._first = b""  # its rest is no beginning
            self._check_head(self._head_bytes)
        else:
            self._head_bytes = 0

    def _check_head(self, size: int) -> None:
        limit = self._settings.head_bytes_max
        if size > limit:
            self._refuse(HeadersTooLarge(f"The request's head is larger than {limit} bytes (server.head_bytes_max)."))

    def _decline(self, rest: bytes) -> None:
        """An upgrade is an offer: without it the request is served as it is. The parser stopped at it, so another reads on."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._receiving = False
        self._parse(self._offer + rest)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._in_head = self._receiving = True  # also where it begins behind the end of another: what comes next is no beginning

    def on_headers_complete(self) -> None:
        self._in_head = False
        first, self._first = self._first, b""  # who follows in the same read does not begin with it
        if self._head_bytes > self._settings.head_bytes_max:  # with what follows the head in the same read
            self._check_head(len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers))
        if self._refused:
            return
        if self.url.startswith((b"http://", b"https://")):  # a proxy's form, which a server must take
            self.url = b"/" + self.url.partition(b"://")[2].partition(b"/")[2]
        if self.parser.should_upgrade():
            self._websocket = self.url.partition(b"?")[0] in self._websockets and self._should_upgrade()
            if self._websocket:
                self._to_application()
            else:
                self._offer = self._without_upgrade()
            return
        handler = self._handlers.get(self.url.partition(b"?")[0]) if self.parser.get_method() == b"POST" else None
        if handler is None and self.parser.get_method() == b"POST":
            handler = self._others(self.url)
        if handler is None:
            self._to_application()
        else:
            self._to_lane(handler, first)

    def _without_upgrade(self) -> bytes:
        kept = [b"%b: %b\r\n" % one for one in self.headers if one[0] not in (b"upgrade", b"connection", b"http2-settings")]
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (self.parser.get_method(), self.url, b"".join(kept))

    def _to_application(self) -> None:
        self.outbox.flush()
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)  # the scope holds this very list
        super().on_headers_complete()

    def _to_lane(self, handler: Handler, first: bytes) -> None:
        """`first` is what this request's head began with, where that was read in one piece."""
        headers = Headers(self.headers)
        if len(headers) != len(self.headers):
            headers.update(_repeated(self.headers))
        version = self.parser.get_http_version()
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        if first and keep_alive and version == "1.1" and not self.expect_100_continue:
            self._heads.keep(first, Head(handler, headers))
        exchange = Exchange(self, handler, headers, keep_alive=keep_alive, chunked=version != "1.0")
        earlier, self.cycle = self.cycle, exchange
        self._open.append(exchange)
        if earlier is None or earlier.response_complete:
            exchange.in_turn = True
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))  # type: ignore[arg-type]
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._settings.body_bytes_max:
            self._too_large()
        elif self.expect_100_continue:
            self.outbox.flush()
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        exchange = self.cycle
        if self._refused or self._offer:
            return
        if not isinstance(exchange, Exchange):
            super().on_body(body)
            return
        exchange.pieces.append(body)
        exchange.size += len(body)
        if exchange.size > self._settings.body_bytes_max:
            self._too_large()

    def on_message_complete(self) -> None:
        self._receiving, self._since = False, self.loop.time()
        exchange = self.cycle
        if self._refused or self._offer:
            return
        if not isinstance(exchange, Exchange):
            super().on_message_complete()
            return
        exchange.more_body = False
        if exchange.in_turn:
            self._start(exchange)

    # What is answered.

    def _start(self, exchange: Exchange) -> None:
        if not self._refused:
            exchange.task = self.loop.create_task(exchange.handler(exchange))  # the connection owns it, until it is lost

    def outlives(self, task: asyncio.Task[None]) -> None:
        """The connection is lost, and this task goes on without it for a while: the server's set owns it now."""
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def running(self) -> list[asyncio.Task[None]]:
        """The work for this connection that is not over."""
        return [exchange.task for exchange in self._open if exchange.task is not None and not exchange.task.done()]

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        self._since = self.loop.time()
        if self._open and self._open[0].response_complete:
            self._open.pop(0)
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if not self.pipeline:
            return
        self.outbox.flush()  # who follows may be another application, which writes by itself
        following, app = self.pipeline.pop()
        if not isinstance(following, Exchange):
            self._start_asgi_task(following, app)
            return
        following.in_turn = True
        if not following.more_body:
            self._start(following)

    def shutdown(self) -> None:
        """The server stops: what is being answered is answered, and nothing more is read."""
        self.outbox.flush()
        if self._open:
            for exchange in self._open:
                exchange.keep_alive = False
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        opened, self._open = self._open, []
        for exchange in opened:
            if exchange is not self.cycle:
                exchange.disconnected = True
        super().connection_lost(exc)
        self.cycle = None  # it holds us, and we it: requests would stay until the collector's next look

    # What is refused.

    def _too_large(self) -> None:
        self._refuse(BodyTooLarge(f"The request's body is larger than {self._settings.body_bytes_max} bytes (server.body_bytes_max)."))

    def _refuse(self, error: HeadraceError) -> None:
        """Answer before the request is whole, then listen a little longer, so that the answer is not lost in a reset."""
        if self._refused:
            return
        self._refused = True
        if self._answering:
            self._last_answer()
            return
        status, headers, body = answer_for(error)
        self.outbox.flush()
        length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(b"".join((STATUS_LINE[status], headers, length, body)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.close)

    @property
    def _answering(self) -> bool:
        """An earlier request on this connection is being answered."""
        if isinstance(self.cycle, Exchange) or self.cycle is None:
            return any(exchange.in_turn and not exchange.more_body for exchange in self._open)
        return not self.cycle.response_complete

    def _last_answer(self) -> None:
        """What came whole is answered first, then the connection ends: a refusal must not stand where another's answer is expected."""
        self.pipeline.clear()
        for exchange in self._open:
            exchange.keep_alive = False
        if not isinstance(self.cycle, Exchange):
            self.cycle.keep_alive = False

    # What takes too long.

    def pause_writing(self) -> None:
        super().pause_writing()
        for exchange in self._open:  # who speaks is the first of them, whoever waits behind
            exchange.close_express()

    def sweep(self, now: float) -> None:
        """Called once a second: end what is too slow, stands still or idles too long."""
        if (unsent := self.transport.get_write_buffer_size()) != self._unsent:
            self._unsent, self._taken = unsent, now
        if unsent:
            if (now - self._taken) * 1000 > self._settings.stalled_timeout_ms:
                self._reset()
            return
        if self._refused or self.transport.is_closing():
            return
        age_ms = (now - self._since) * 1000
        if self._receiving:
            if age_ms > self._settings.request_timeout_ms:
                self._refuse(RequestTimedOut(f"The request was not complete after {self._settings.request_timeout_ms} ms."))
        elif age_ms > self._settings.idle_timeout_ms and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _reset(self) -> None:
        """End it without what is still unsent: closed in the ordinary way, the kernel would keep megabytes for who does not read."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()
