"""HTTP/1.1 on one connection: idle, then asked (a request is written), then answering (its head was received), then idle again or closed.

The parser (llhttp) is strict, and whoever says anything beside one answer to one request is not asked again on the same connection. What
most answers never need costs them nothing: headers become values when somebody looks at them, and a body of known length that does not
fit into one read is counted, not parsed, so that its pieces are the very bytes that were read.
"""

import asyncio
from typing import Protocol, cast

import httptools

from headrace.core.errors import UpstreamFailed, UpstreamGarbled, UpstreamTimedOut
from headrace.providers.answering import HEAD_BYTES_MAX, Answering
from headrace.providers.outbox import outbox_of
from headrace.providers.settings import TransportSettings
from headrace.providers.sweep import Patience
from headrace.wire.heads import FamiliarHead, familiar

STALE_WALKS_MAX = 4
"""An idle connection that the upstream was just closing ends within a round trip. One that ends a second later may have computed."""


class Owner(Protocol):
    """Who hears when a connection is free again or gone."""

    def idle_again(self, connection: "Connection") -> None: ...

    def lost(self, connection: "Connection") -> None: ...


class Connection(Answering, asyncio.Protocol):
    __slots__ = (
        "_asked",
        "_behind",
        "_between_chunks",
        "_ended",
        "_heads",
        "_idle_since",
        "_idle_timeout_ms",
        "_kept",
        "_left",
        "_owner",
        "_parser",
        "_patience",
        "_reused",
        "_send",
        "_stirred",
        "_transport",
        "_walks",
        "closed",
        "raw_head",
    )

    def __init__(
        self, owner: Owner, origin: str, settings: TransportSettings, loop: asyncio.AbstractEventLoop, heads: "AnswerHeads | None" = None
    ) -> None:
        """`heads` is shared by the connections to one upstream."""
        super().__init__(origin, loop)
        self._owner, self._heads = owner, heads or AnswerHeads()
        self._parser = httptools.HttpResponseParser(self)
        self._send = outbox_of(loop).send
        self._patience = Patience(settings)
        self._idle_timeout_ms = settings.idle_timeout_ms
        self._idle_since = -1.0
        self._asked = self._stirred = self._kept = self._behind = False
        self._walks = self._left = 0
        self._between_chunks = False
        self.raw_head = b""
        self.closed = self._ended = self._reused = False

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not of that class, but are like it

    def eof_received(self) -> None:
        self.closed = self._ended = True  # whoever looks for an idle connection must not find this one, though it is lost a moment later

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._owner.lost(self)
        if self._asked and not self.complete:
            if self._ended and exc is None and self._failure is None:
                self._end_at_eof()
            if not self.complete:
                self._fail(self._cut())

    def _end_at_eof(self) -> None:
        """An answer with neither a length nor chunks ends where the connection does."""
        if self._headed and not read_headers(self.raw_head).keys() & {b"content-length", b"transfer-encoding"}:
            self.complete = True
            self._came()

    def pause_writing(self) -> None:
        self._behind = True

    def resume_writing(self) -> None:
        self._behind = False

    def data_received(self, data: bytes) -> None:
        if self._between_chunks and (take := self._take_chunk) is not None:
            size = len(data)  # most reads of a stream are one whole chunk, which need not be taken apart and put together again
            if data.startswith(_begins.get(size) or _begins_of(size)) and take(data):
                self._stirred = True
                return
        if not self._asked:
            self.abort()  # nobody asked: what an upstream says unasked must not become the next answer
            return
        self.heard = self._stirred = True
        if self._left:
            self._count(data)
        elif not self._read(data):
            return
        if self.complete and self._tap is None:
            self._wake()
        else:
            self._came()

    def _read(self, data: bytes) -> bool:
        """Parse; False when that gives nothing to tell yet, or nothing more."""
        headed = self._headed
        if not headed:
            if not self.raw_head and self._read_again(data):
                return True
            self.raw_head = self.raw_head + data if self.raw_head else data
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as wrong:
            return self._misread(str(wrong))
        self._between_chunks = self._between_chunks and data.endswith(b"\r\n")
        if headed:
            return True
        if not self._headed:
            if len(self.raw_head) > HEAD_BYTES_MAX:
                self._fail(UpstreamFailed(f"{self._origin} answers with headers of over {HEAD_BYTES_MAX} bytes."))
            return False
        if self.complete:
            if self._kept and self.status == 200 and len(self._pieces) == 1:
                self._heads.learn(data, self._unread)
        else:
            self.raw_head = self.raw_head[: len(self.raw_head) - self._unread]  # a stream may be long, and need not hold its beginning
            length = read_headers(self.raw_head).get(b"content-length")
            if length is not None:
                self._left = int(length) - self._unread
                self._kept = self._parser.should_keep_alive()
        return True

    def _read_again(self, data: bytes) -> bool:
        """A good answer under the very head that this upstream gave before, but for its length: nothing in it is left to parse."""
        found = self._heads.read(data)
        if found is None:
            return False
        begins, length = found
        left = length - len(data) + begins
        if left < 0 or not length:
            return False  # what comes beside the answer is for the parser to judge
        self.status, self.raw_head = 200, data[:begins]
        self._headed = self._kept = True
        self._pieces.append(data[begins:])
        self._unread = length - left
        if left:
            self._left = left
        else:
            self.complete = True
        return True

    def _misread(self, wrong: str) -> bool:
        if self.complete:
            self._kept = False  # the answer is whole; what came with it is none
            return True
        kind = UpstreamGarbled if self._headed else UpstreamFailed
        self._fail(kind(f"{self._origin} does not speak HTTP: {wrong}"))
        return False

    def _count(self, data: bytes) -> None:
        left = self._left - len(data)
        if left < 0:
            data = data[:left]
        self._pieces.append(data)
        self._unread += len(data)
        if left > 0:
            self._left = left
        else:
            self._left = 0
            self._parser = httptools.HttpResponseParser(self)  # the old one still waits for this body
            self.complete = True
            self._kept = self._kept and left == 0

    # What the parser tells.

    def on_message_begin(self) -> None:
        if self.complete:
            raise ValueError("it says more than was asked")

    def on_headers_complete(self) -> None:
        self.status = status = self._parser.get_status_code()
        if status < 100 or not self.raw_head.startswith(b"HTTP/1."):
            raise ValueError("the parser takes more than there is in HTTP/1")
        self._headed = status >= 200  # 1xx is only a sign of life

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._unread += len(body)

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = True

    def on_message_complete(self) -> None:
        self._between_chunks = False
        if self._headed:
            self.complete = True
            self._kept = self._parser.should_keep_alive()

    # What the exchange asks for.

    def ask(self, parts: list[bytes]) -> None:
        """Write one request. Its pieces are held, not copied, until the upstream has taken them."""
        self._begin()
        self._asked, self._stirred, self._between_chunks = True, False, False
        self._walks = 0
        self.raw_head = b""
        self._send(self._transport, parts)

    @property
    def stale(self) -> bool:
        """Whether the upstream ended it while it was idle, so that the request was never read."""
        return self._reused and not self.heard and self._walks <= STALE_WALKS_MAX

    def release(self) -> None:
        """The exchange is over: back to the idle ones if it went to its end, else closed."""
        if self.complete and self._kept and self._failure is None and not (self._pieces or self._behind or self.closed):
            if self._paused:
                self._resume()  # a large answer may have ended while its reading was stopped
            self._asked = False
            self._reused = True
            self._idle_since = -1.0
            self.raw_head = b""
            self._owner.idle_again(self)
        else:
            self._asked = False
            self.abort()

    def sweep(self, now: float) -> None:
        """Called now and then: give up when a limit has passed."""
        if not self._asked:
            if self._idle_since < 0:
                self._idle_since = now
            elif (now - self._idle_since) * 1000 > self._idle_timeout_ms:
                self.abort()
            return
        if not self._walks:
            self._patience.renew()
        self._walks += 1
        stirred, self._stirred = self._stirred or self._paused, False
        lost = self._patience.lost(now, stirred=stirred, heard=self.heard)
        if lost is not None and not self.complete:
            self._fail(UpstreamTimedOut(f"{self._origin} {lost}."))

    def _stop(self) -> None:
        self._transport.pause_reading()

    def _go_on(self) -> None:
        self._transport.resume_reading()
        self._stirred = True

    def abort(self) -> None:
        self.closed = True
        self._transport.abort()


class AnswerHeads:
    """The head that an upstream gave last with a good answer of known length, after which its connection stays open."""

    def __init__(self) -> None:
        self._last: FamiliarHead | None = None
        self._missed = 0

    def read(self, data: bytes) -> tuple[int, int] | None:
        """Where the body begins and how long it is, where `data` begins with that head again."""
        if self._last is None or (found := self._last.read(data)) is None:
            self._missed += 1
            return None
        self._missed = 0
        return found

    def learn(self, data: bytes, length: int) -> None:
        """The parser found a body of that length, and nothing else, behind the head that `data` begins with. An upstream that gives another
        head each time is looked at ever less often."""
        if self._missed & (self._missed - 1):
            return
        head = familiar(data)
        if head is not None and head.read(data) == (len(data) - length, length) and b"transfer-encoding" not in head.key.lower():
            self._last = head


BEGINS_MAX = 4_096
NOT_AT_ALL = (b"\xff",)
_begins: dict[int, tuple[bytes, ...]] = {}


def _begins_of(size: int) -> tuple[bytes, ...]:
    """How one whole chunk begins that has so many bytes with its frame: its length is in as few digits as it needs, in small letters or in
    capitals. Other ways to write it are for the parser to read."""
    begins: tuple[bytes, ...] = NOT_AT_ALL
    for digits in range(1, 8):
        length = size - digits - 4  # with the line ends behind the digits and behind the data
        if length > 0 and len(shown := b"%x" % length) == digits:
            begins = shown + b"\r\n", shown.upper() + b"\r\n"
    if len(_begins) < BEGINS_MAX:
        _begins[size] = begins
    return begins


def read_headers(raw: bytes) -> dict[bytes, bytes]:
    """Names, in lower case, and values of the answer that `raw` begins with, after its signs of life (1xx). It has passed the parser."""
    begin = 0
    while raw.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1"), begin):
        begin = raw.index(b"HTTP/", raw.index(b"\r\n\r\n", begin) + 4)  # the parser passes over empty lines between them
    lines = raw[begin : raw.index(b"\r\n\r\n", begin)].split(b"\r\n")
    named = (line.partition(b":") for line in lines[1:])
    return {name.lower(): value.strip() for name, _, value in named}
