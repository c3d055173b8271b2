"""HTTP/2 on one connection: many exchanges at once, each a stream; the protocol itself is the library h2's.

Flow control is where streams could hinder each other. What arrives is acknowledged to the connection at once, and to its stream only when
its hearer has taken it: a slow client stops its own stream, at `UNREAD_BYTES_MAX`, and no other. The other way, bodies take turns, frame by
frame, and wait while the socket is behind. A connection that was silent for long while somebody waits is asked for a sign of life, since
one that died unnoticed would swallow every new exchange.

GOAWAY is heard before the library hears it: streams that the upstream has taken go on to their end, and h2 would end them.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event, InformationalResponseReceived, RemoteSettingsChanged, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import FrameTooLargeError, H2Error
from h2.settings import SettingCodes, Settings

from headrace.core.errors import (
    HeadraceError,
    UpstreamCut,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from headrace.providers.answering import HEAD_BYTES_MAX, UNREAD_BYTES_MAX, Answering
from headrace.providers.connection import STALE_WALKS_MAX
from headrace.providers.settings import TransportSettings
from headrace.providers.sweep import Patience

CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
TURN_BYTES_MAX = 64 * 1024
"""So much of a body is sent before it is another's turn."""
STREAM_ID_MAX = 2**30
"""Half of what there are: a connection that has served so many streams is let go before it runs out."""
SILENCE_CONNECT_TIMEOUTS = 4
"""So many times as long as connecting may take, a connection may be silent before it is asked, and before it is given up."""

_FRAME_HEAD_BYTES, _GOAWAY = 9, 7


class Owner(Protocol):
    def lost(self, connection: "Http2Connection") -> None: ...


class Stream(Answering):
    """One exchange on a connection."""

    def __init__(self, connection: "Http2Connection", origin: str, settings: TransportSettings, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(origin, loop)
        self._connection = connection
        self._patience = Patience(settings)
        self._stirred, self._owed, self._walks = False, 0, 0
        self.id = 0
        self.unsent = memoryview(b"")
        self.headers: dict[bytes, bytes] = {}
        self.on_idle = False
        self.refused = self.left = False
        """The upstream has not read the request: it refused it, or the connection ended before. So it may be sent again."""

    # What the connection tells.

    def began(self, headers: dict[bytes, bytes]) -> None:
        self.status = int(headers.pop(b":status"))
        self.headers = headers
        self._headed = True
        self.alive()
        self._wake()

    def alive(self) -> None:
        self.heard = self._stirred = True

    def said(self, piece: bytes, owed: int, *, last: bool) -> None:
        """`owed` is what this took of the stream's window."""
        self.alive()
        self._owed += owed
        self.complete = last
        if piece:
            self._pieces.append(piece)
            self._unread += len(piece)
            self._came()
        if not self._paused:
            self._acknowledge()

    def ended(self) -> None:
        self.complete = True
        self._came()

    def broke(self, failure: HeadraceError) -> None:
        if not self.complete:
            self._fail(failure)

    def cut(self) -> None:
        """The connection has ended. If it was idle when this was asked, and just being closed, the request was never read."""
        self.left = self.on_idle and not self.heard and self._walks <= STALE_WALKS_MAX
        self.broke(self._cut())

    def sweep(self, now: float) -> None:
        self._walks += 1
        stirred, self._stirred = self._stirred or self._paused, False
        lost = self._patience.lost(now, stirred=stirred, heard=self.heard)
        if lost is not None:
            self.broke(UpstreamTimedOut(f"{self._origin} {lost}."))

    # What the answer asks for.

    def _stop(self) -> None:
        """What is not acknowledged is not followed by more."""

    def _go_on(self) -> None:
        self._stirred = True

    def _resume(self) -> None:
        super()._resume()
        self._acknowledge()

    def _acknowledge(self) -> None:
        if self._owed >= UNREAD_BYTES_MAX // 2 and not self.complete and (self._gathers or self._tap is not None):
            self._connection.acknowledge(self, self._owed)
            self._owed = 0

    def abort(self) -> None:
        self._connection.leave(self)

    def release(self) -> None:
        """The exchange is over; what it has not heard it will not hear."""
        self._connection.leave(self)


class Http2Connection(asyncio.Protocol):
    def __init__(self, owner: Owner, origin: str, settings: TransportSettings, loop: asyncio.AbstractEventLoop) -> None:
        self._owner, self._origin, self._settings, self._loop = owner, origin, settings, loop
        self.ready: asyncio.Future[UpstreamUnreachable | None] = loop.create_future()
        """Done when the upstream has shown that it speaks HTTP/2, or that it does not."""
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._streams: dict[int, Stream] = {}
        self._sending: deque[Stream] = deque()
        self._unread = b""
        self._heard_bytes = 0
        self._behind = self._leaving = self._stirred = self._served = self._asked_for_life = False
        self.closed = False
        self._silent_since = -1.0

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None and ssl_object.selected_alpn_protocol() != "h2":
            self._refuse("does not offer HTTP/2")
            return
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: UNREAD_BYTES_MAX,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEAD_BYTES_MAX,
            },
        )
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
        self._flush()

    def _refuse(self, why: str) -> None:
        if not self.ready.done():
            self.ready.set_result(UpstreamUnreachable(f"{self._origin} {why}: leave out http2 for it."))
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._owner.lost(self)
        if not self.ready.done():
            self.ready.set_result(UpstreamUnreachable(f"{self._origin} closed the connection before it spoke HTTP/2."))
        for stream in tuple(self._streams.values()):
            stream.cut()

    def pause_writing(self) -> None:
        self._behind = True

    def resume_writing(self) -> None:
        self._behind = False
        self._pump()

    def data_received(self, data: bytes) -> None:
        self._stirred = True
        try:
            for frame in self._frames(data):
                if self.closed:
                    return
                if frame[3] == _GOAWAY and len(frame) >= _FRAME_HEAD_BYTES + 8:
                    self._let_go(int.from_bytes(frame[9:13]) & 0x7FFF_FFFF)
                    continue
                for event in self._h2.receive_data(frame):
                    self._happened(event)
        except H2Error as wrong:
            self._garbled(wrong)
        else:
            self._pump()

    def _frames(self, data: bytes) -> Iterator[bytes]:
        """Whole frames; what is not yet whole waits, unless it would be too long."""
        data = self._unread + data if self._unread else data
        begin, count = 0, len(data)
        while count - begin >= _FRAME_HEAD_BYTES:
            length = int.from_bytes(data[begin : begin + 3])
            if length > self._h2.max_inbound_frame_size:
                raise FrameTooLargeError(f"a frame of {length} bytes")
            end = begin + _FRAME_HEAD_BYTES + length
            if end > count:
                break
            yield data[begin:end]
            begin = end
        self._unread = data[begin:]

    def _garbled(self, wrong: H2Error) -> None:
        if not self.ready.done():
            self._refuse("does not speak HTTP/2")
            return
        self._flush()
        for stream in tuple(self._streams.values()):
            stream.broke(UpstreamGarbled(f"{self._origin} breaks the rules of HTTP/2: {wrong}"))
        self.abort()

    # What the upstream says.

    def _happened(self, event: Event) -> None:
        if isinstance(event, RemoteSettingsChanged):
            if not self.ready.done():
                self.ready.set_result(None)
            return
        stream = self._streams.get(getattr(event, "stream_id", 0))
        if isinstance(event, DataReceived):
            self._acknowledge_all(event.flow_controlled_length)
            if stream is not None:
                stream.said(event.data, event.flow_controlled_length, last=event.stream_ended is not None)
        elif stream is None:
            return
        elif isinstance(event, ResponseReceived):
            stream.began({name: value for name, value in event.headers})  # noqa: C416 -- h2's pairs are a type of their own
        elif isinstance(event, InformationalResponseReceived):
            stream.alive()
        elif isinstance(event, StreamEnded):
            stream.ended()
        elif isinstance(event, StreamReset):
            self._reset(stream, event.error_code)

    def _acknowledge_all(self, count: int) -> None:
        self._heard_bytes += count
        if self._heard_bytes >= CONNECTION_WINDOW_BYTES // 4:
            self._h2.increment_flow_control_window(self._heard_bytes)
            self._heard_bytes = 0

    def _reset(self, stream: Stream, code: int) -> None:
        name = ErrorCodes(code).name if code in set(ErrorCodes) else f"error {code}"
        when = "in the middle of its answer" if stream.heard else "without an answer"
        if code == ErrorCodes.REFUSED_STREAM:
            stream.refused = True
            stream.broke(UpstreamUnreachable(f"{self._origin} takes no more requests for now (REFUSED_STREAM)."))
        elif code == ErrorCodes.ENHANCE_YOUR_CALM:
            stream.broke(UpstreamOverloaded(f"{self._origin} asks for fewer requests (ENHANCE_YOUR_CALM)."))
        elif code == ErrorCodes.HTTP_1_1_REQUIRED:
            stream.broke(UpstreamFailed(f"{self._origin} wants HTTP/1.1: leave out http2 for it."))
        else:
            stream.broke(UpstreamCut(f"{self._origin} broke off {when} ({name})."))

    def _let_go(self, last_id: int) -> None:
        """The upstream takes no stream after `last_id`; those before it go on."""
        self._leaving = True
        for stream in [one for one in self._streams.values() if one.id > last_id]:
            stream.left = True
            stream.broke(UpstreamUnreachable(f"{self._origin} takes no more requests on this connection (GOAWAY)."))
        self._close_if_done()

    # What exchanges ask for.

    @property
    def has_room(self) -> bool:
        return not (self.closed or self._leaving) and len(self._streams) < self._h2.remote_settings.max_concurrent_streams

    def ask(self, headers: list[tuple[bytes, bytes]], body: bytes) -> Stream:
        """Begin an exchange. There must be room."""
        stream = Stream(self, self._origin, self._settings, self._loop)
        stream.id = self._h2.get_next_available_stream_id()
        stream.on_idle = self._served and not self._streams
        self._h2.send_headers(stream.id, headers, end_stream=not body)
        self._streams[stream.id] = stream
        self._leaving = stream.id >= STREAM_ID_MAX
        if body:
            stream.unsent = memoryview(body)
            self._sending.append(stream)
        self._pump()
        return stream

    def _pump(self) -> None:
        """Send of the bodies what the upstream and the socket take, a frame of each in turn; and whatever else is to be said."""
        self._flush()
        stuck = 0
        while self._sending and stuck < len(self._sending) and not (self._behind or self.closed):
            stream = self._sending.popleft()
            if self._streams.get(stream.id) is not stream:
                continue
            room = min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size, TURN_BYTES_MAX)
            if room <= 0:
                stuck += 1
                self._sending.append(stream)
                continue
            stuck = 0
            piece, stream.unsent = stream.unsent[:room], stream.unsent[room:]
            self._h2.send_data(stream.id, piece, end_stream=not stream.unsent)
            if stream.unsent:
                self._sending.append(stream)
            self._flush()

    def _flush(self) -> None:
        if (data := self._h2.data_to_send()) and not self.closed:
            self._transport.write(data)

    def acknowledge(self, stream: Stream, count: int) -> None:
        """Let so much more of the stream come."""
        if not self.closed and stream.id in self._streams:
            self._h2.increment_flow_control_window(count, stream.id)
            self._flush()

    def leave(self, stream: Stream) -> None:
        """Hear no more of it. The upstream is told, unless everything was said on both sides."""
        if self._streams.pop(stream.id, None) is None or self.closed:
            return
        self._served = True
        if not stream.complete or stream.unsent:
            with suppress(H2Error):  # the upstream may have ended it itself
                self._h2.reset_stream(stream.id, ErrorCodes.CANCEL)
            self._flush()
        self._close_if_done()

    def retire(self) -> None:
        """Take no more streams, and end with the last."""
        self._leaving = True
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._leaving and not self._streams:
            self.abort()

    def sweep(self, now: float) -> None:
        for stream in tuple(self._streams.values()):
            stream.sweep(now)
        if self._stirred or self._silent_since < 0:
            self._stirred = self._asked_for_life = False
            self._silent_since = now
            return
        silent_ms = (now - self._silent_since) * 1000
        if not self._streams:
            if silent_ms > self._settings.idle_timeout_ms:
                self.abort()
        elif silent_ms > SILENCE_CONNECT_TIMEOUTS * self._settings.connect_timeout_ms:
            self._ask_for_life(now)

    def _ask_for_life(self, now: float) -> None:
        if self._asked_for_life:
            for stream in tuple(self._streams.values()):
                stream.broke(UpstreamTimedOut(f"{self._origin} shows no sign of life, not even to a ping."))
            self.abort()
            return
        self._asked_for_life = True
        self._silent_since = now
        self._h2.ping(b"headrace")
        self._flush()

    def abort(self) -> None:
        self.closed = True
        self._transport.abort()
