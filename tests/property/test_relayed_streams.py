"""A relayed stream: however the upstream frames it in chunks, and however that is cut into reads, the client hears the same bytes, whether
whole chunks pass by as they are or each is taken apart."""

import asyncio
import json
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.errors import HeadraceError
from headrace.core.stream import Used, Verbatim
from headrace.providers.connection import Connection
from headrace.providers.http1 import Http1Exchange
from headrace.providers.relay import relay
from headrace.providers.settings import TransportSettings
from headrace.testing.builders import an_ask
from headrace.testing.scripted import ScriptedListener

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def frame(**members: object) -> bytes:
    return b"data: " + json.dumps({"model": "m", "choices": [{"index": 0, "delta": {"content": "hi"}}], **members}).encode() + b"\n\n"


FRAMES = st.sampled_from(
    [
        frame(),
        frame(usage=None),
        frame(usage={"prompt_tokens": 3, "completion_tokens": 1}),
        frame(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2}),
        frame(x="ends\r\n"),
        b": ping\n\n",
        b"event: ping\r\ndata: x\r\n\r\n",
        b'data: {"error": {"message": "no more", "code": 500}}\n\n',
        b"data: [DONE]\n\n",
        b"data: half of",
        b"",
    ]
)


class Wire(asyncio.Transport):
    def writelines(self, list_of_data: object) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...


class Connections:
    """One connection, which is there."""

    def __init__(self) -> None:
        self.one = Connection(self, "http://x", TransportSettings(), asyncio.get_running_loop())
        self.one.connection_made(Wire())

    def idle(self) -> Connection:
        return self.one

    def idle_again(self, connection: Connection) -> None: ...

    def lost(self, connection: Connection) -> None: ...


class Tap:
    """Where a client takes chunks, or the bytes alone. Behind `chunks_max` chunks their way is closed, and may be asked for again."""

    def __init__(self, *, chunks_max: int) -> None:
        self._chunks_max, self._chunks = chunks_max, 0
        self._closed: Callable[[], None] | None = None
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def express(self, closed: Callable[[], None]) -> Callable[[bytes], None] | None:
        self._closed, self._chunks = closed, 0
        return self._write_chunk if self._chunks_max else None

    def _write_chunk(self, chunk: bytes) -> None:
        assert self._closed is not None, "closed is closed"
        size, _, rest = chunk.partition(b"\r\n")
        assert rest[int(size, 16) :] == b"\r\n"
        self.data += rest[: int(size, 16)]
        self._chunks += 1
        if self._chunks == self._chunks_max:
            closed, self._closed = self._closed, None
            closed()


class Hearer(ScriptedListener):
    """Takes what is said until the first words, and the rest through a tap."""

    def __init__(self, *, chunks_max: int) -> None:
        super().__init__()
        self._tap = Tap(chunks_max=chunks_max)
        self.used: list[Used] = []

    def hear(self, said: object) -> None:
        if isinstance(said, Verbatim):
            self._tap.data += said.data
            self.verbatim = None if self.used else self._tap
        elif isinstance(said, Used):
            self.used.append(said)
            self.verbatim = None

    @property
    def data(self) -> bytes:
        return self._tap.data


Told = tuple[bytes, list[Used], object, str]


async def told(reads: list[bytes], *, chunks_max: int) -> Told:
    """What the client hears, what it used, what the hearer knows of that, and how it ended."""
    connections, hearer = Connections(), Hearer(chunks_max=chunks_max)
    exchange = Http1Exchange(connections, [b""])  # type: ignore[arg-type]
    ended = "well"

    async def relayed() -> None:
        async with exchange:
            await relay("a", exchange, an_ask(stream=True), hearer)

    task = asyncio.ensure_future(relayed())
    await asyncio.sleep(0)
    for read in reads:
        if not connections.one.closed and not task.done():
            connections.one.data_received(read)
        for _ in range(3):
            await asyncio.sleep(0)
    if not task.done():
        connections.one.connection_lost(None)
    try:
        await task
    except HeadraceError as failure:
        ended = str(failure)
    return hearer.data, hearer.used, hearer.usage, ended


def cut(wire: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(wire[:size])
        wire = wire[size:]
    return [piece for piece in [*pieces, wire] if piece]


DONE = b"data: [DONE]\n\n"
SPENT = frame(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2})

F = frame()
G = frame(x="")[:-3] + b" " * (254 - len(frame(x=""))) + b"}\n\n"
CUT_SIZE, CUT_CHUNK = len(b"%x\r\n%b\r\n" % (len(F), F)) + 1, len(b"%x\r\n%b\r\n" % (len(F), F))
"""Reads that end within the size of a chunk of 256 bytes more than a frame, and where that frame is followed by an empty line: what comes
after the size's first digit looks like a whole chunk."""


@given(
    said=st.lists(FRAMES, min_size=1, max_size=8),
    chunk_sizes=st.lists(st.sampled_from([len(frame()), len(SPENT), 9, 40]) | st.integers(1, 200), max_size=10),
    size_as=st.sampled_from([b"%x", b"%X", b"%04x"]),
    read_sizes=st.lists(st.integers(1, 400), max_size=10),
    ends=st.booleans(),
    chunks_max=st.integers(1, 9),
)
@example(said=[*[frame()] * 4, DONE], chunk_sizes=[len(frame())] * 4, size_as=b"%x", read_sizes=[], ends=True, chunks_max=1)
@example(said=[frame(), frame(), SPENT, DONE], chunk_sizes=[len(frame())] * 2 + [30], size_as=b"%X", read_sizes=[], ends=True, chunks_max=9)
@example(
    said=[F, F, b"\r\n", G, DONE],
    chunk_sizes=[len(F), 256 + len(F)],
    size_as=b"%x",
    read_sizes=[len(HEAD), CUT_SIZE, CUT_CHUNK],
    ends=True,
    chunks_max=9,
)
def test_whole_chunks_pass_by_as_if_they_were_taken_apart(said, chunk_sizes, size_as, read_sizes, ends, chunks_max):
    framed = [size_as % len(chunk) + b"\r\n" + chunk + b"\r\n" for chunk in cut(b"".join(said), chunk_sizes)]
    reads = [HEAD, *framed, *([b"0\r\n\r\n"] if ends else [])]
    if read_sizes:
        reads = cut(b"".join(reads), read_sizes)
    assert asyncio.run(told(reads, chunks_max=chunks_max)) == asyncio.run(told(reads, chunks_max=0))
