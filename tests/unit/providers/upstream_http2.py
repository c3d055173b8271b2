"""An upstream that speaks HTTP/2, by the library's other half: for each request it does what the script tells it to. And who asks it."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.exceptions import H2Error
from h2.settings import SettingCodes, Settings

from headrace.providers import Endpoint, TransportSettings
from headrace.testing.scripted import ScriptedListener


class Call:
    """One request, seen from the upstream."""

    def __init__(self, connection: "UpstreamConnection", stream_id: int, headers: dict[bytes, bytes]) -> None:
        self.connection, self.id, self.headers = connection, stream_id, headers
        self.body = bytearray()
        self.ended, self.reset = asyncio.Event(), asyncio.Event()
        self.reset_code: int | None = None
        self.said = 0

    def begin(self, status: int = 200, *headers: tuple[str, str], end: bool = False) -> None:
        self.connection.h2.send_headers(self.id, [(":status", str(status)), *headers], end_stream=end)
        self.connection.flush()

    async def say(self, text: bytes, *, end: bool = False) -> None:
        """As fast as the caller lets it."""
        while True:
            h2 = self.connection.h2
            room = min(h2.local_flow_control_window(self.id), h2.max_outbound_frame_size, 16_384)
            if room <= 0 and text:
                await self.connection.room()
                continue
            piece, text = text[:room], text[room:]
            h2.send_data(self.id, piece, end_stream=end and not text)
            self.connection.flush()
            self.said += len(piece)
            if not text:
                return
            await asyncio.sleep(0)

    async def answer(self, text: bytes = b"ok", status: int = 200) -> None:
        self.begin(status, ("content-type", "text/plain"))
        await self.say(text, end=True)

    def break_off(self, code: ErrorCodes) -> None:
        self.connection.h2.reset_stream(self.id, code)
        self.connection.flush()


Script: TypeAlias = Callable[[Call], Awaitable[None]]


class UpstreamConnection(asyncio.Protocol):
    def __init__(self, upstream: "Http2Upstream") -> None:
        self.upstream = upstream
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.calls: dict[int, Call] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.upstream.connections.append(self)
        self.upstream.open += 1
        self.h2.local_settings = Settings(client=False, initial_values=self.upstream.settings)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())

    async def room(self) -> None:
        self._room.clear()
        await self._room.wait()

    def go_away(self, last_id: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> None:
        """Written as bytes: the library would end everything with it."""
        self.transport.write((8).to_bytes(3) + b"\x07\x00" + bytes(4) + last_id.to_bytes(4) + int(code).to_bytes(4))

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self._happened(event)
        self.flush()

    def _happened(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            call = self.calls[event.stream_id] = Call(self, event.stream_id, {name: value for name, value in event.headers})  # noqa: C416
            self.upstream.calls.append(call)
            self.upstream.asked.set()
            task = asyncio.get_running_loop().create_task(self._serve(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif isinstance(event, DataReceived):
            self.calls[event.stream_id].body += event.data
            if self.upstream.reads:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.calls[event.stream_id].ended.set()
        elif isinstance(event, StreamReset):
            self.calls[event.stream_id].reset_code = event.error_code
            self.calls[event.stream_id].reset.set()
        elif isinstance(event, WindowUpdated):
            self._room.set()

    async def _serve(self, call: Call) -> None:
        with suppress(H2Error):  # the caller has left
            await self.upstream.script(call)

    def connection_lost(self, exc: Exception | None) -> None:
        self.upstream.open -= 1
        self.upstream.emptied.set()
        for task in tuple(self._tasks):
            task.cancel()


class Http2Upstream:
    """`reads`: whether it gives room for more of a request's body when it has read some."""

    def __init__(self, script: Script, settings: dict[SettingCodes, int]) -> None:
        self.script, self.settings = script, settings
        self.connections: list[UpstreamConnection] = []
        self.calls: list[Call] = []
        self.open = 0
        self.reads = True
        self.asked, self.emptied = asyncio.Event(), asyncio.Event()
        self.url = ""

    async def idle(self) -> None:
        """Until every connection is closed."""
        async with asyncio.timeout(5):
            while self.open:
                self.emptied.clear()
                await self.emptied.wait()


@asynccontextmanager
async def upstream_http2(
    script: Script, *, tls: ssl.SSLContext | None = None, settings: dict[SettingCodes, int] | None = None
) -> AsyncGenerator[Http2Upstream, None]:
    made = Http2Upstream(script, settings or {})
    server = await asyncio.get_running_loop().create_server(lambda: UpstreamConnection(made), "127.0.0.1", 0, ssl=tls)
    made.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        server.close()
        await made.idle()


# ------------------------------------------------------------------------------------------------------------- who asks it


ASK = [
    b"POST /v1/x HTTP/1.1\r\nhost: api.example\r\nContent-Type: text/plain\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\n",
    b"{}",
]
PATIENT_S = 8.0


@asynccontextmanager
async def endpoint(url: str, **settings: Any) -> AsyncGenerator[Endpoint, None]:
    made = Endpoint(url, TransportSettings(http2=True, **settings), asyncio.get_running_loop())
    try:
        async with asyncio.timeout(PATIENT_S):
            yield made
    finally:
        made.close()


@asynccontextmanager
async def reach(
    script: Script, *, limits: dict[SettingCodes, int] | None = None, **settings: Any
) -> AsyncGenerator[tuple[Http2Upstream, Endpoint], None]:
    async with upstream_http2(script, settings=limits) as made, endpoint(made.url, **settings) as reached:
        yield made, reached


async def whole(reached: Endpoint, parts: list[bytes] = ASK) -> tuple[int, bytes]:
    async with reached.exchange(parts) as answer:
        return answer.status, await answer.whole()


async def poured(reached: Endpoint, gate: ScriptedListener | None = None) -> bytes:
    pieces: list[bytes] = []
    async with reached.exchange(ASK) as answer:
        await answer.pour(pieces.append, gate or ScriptedListener())
    return b"".join(pieces)


def sized(path: str, body: bytes) -> list[bytes]:
    return [b"POST /v1/%b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body)), body]


async def answers(call: Call) -> None:
    await call.ended.wait()
    await call.answer()
