"""Heads that were read before: whatever comes on a connection, and however it is cut, it is heard as the parser alone hears it."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from headrace.api.heads import HEAD_BYTES_MAX, HEADS_MAX, Head, Headers, Heads
from headrace.api.socket import Exchange, Lane, SocketSettings

HEAD = b"POST /v1/x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nAuthorization: Bearer k\r\n\r\n"


async def nobody(exchange: Exchange) -> None: ...


def known(data: bytes) -> Heads:
    heads = Heads()
    heads.keep(data, Head(nobody, Headers({b"host": b"h"})))
    return heads


def test_a_head_is_known_again_with_a_body_of_another_length():
    heads = known(HEAD % 7 + b"1234567")
    found = heads.read(HEAD % 123 + b"1234")
    assert found is not None
    head, begins, length = found
    assert (head.headers, begins, length) == ({b"host": b"h"}, len(HEAD % 123), 123)


UNKNOWN = [
    HEAD.replace(b"Bearer k", b"Bearer j") % 7,
    HEAD.replace(b"/v1/x", b"/v1/y") % 7,
    HEAD.replace(b"Length: ", b"Length:  ") % 7,
    HEAD.replace(b"Content-Length", b"CONTENT-LENGTH") % 7,
    HEAD.replace(b"%d", b"+7"),
    HEAD.replace(b"%d", b"0x7"),
    HEAD.replace(b"%d", b"7 "),
    HEAD.replace(b"%d", b"7" * 13),
    (HEAD % 7).replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n"),
    (HEAD % 7)[:-1],
    b"",
    b"\r\n\r\n",
]


@pytest.mark.parametrize("data", UNKNOWN)
def test_any_other_head_goes_to_the_parser(data: bytes):
    assert known(HEAD % 7).read(data) is None


NEVER_KEPT = [
    b"POST /v1/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nContent-Length: 7\r\nX: folded\r\n  over two lines\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nContent-Length: 7\r\n  8\r\n\r\n",
    b"POST /v1/x HTTP/1.1\r\nContent-Length: 7\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n",
]


@pytest.mark.parametrize("data", NEVER_KEPT)
def test_a_head_that_could_be_read_otherwise_is_not_kept(data: bytes):
    assert known(data).read(data) is None


def test_what_is_kept_has_an_end():
    heads = Heads()
    for number in range(HEADS_MAX + 2):
        heads.keep(HEAD.replace(b"Bearer k", b"Bearer %d" % number) % 7, Head(nobody, Headers()))
    assert heads.read(HEAD.replace(b"Bearer k", b"Bearer %d" % (HEADS_MAX + 1)) % 7) is not None
    assert heads.read(HEAD.replace(b"Bearer k", b"Bearer 0") % 7) is None


# ------------------------------------------------------------------------------------------------- on a connection, beside the parser alone


class Forgetful(Heads):
    """Knows no head."""

    def read(self, data: bytes, last: Head | None = None) -> None:
        return None


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.said = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.said += data

    def writelines(self, parts: Any) -> None:
        self.said += b"".join(parts)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...


async def application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


Heard: TypeAlias = list[tuple[dict[bytes, bytes], bytes]]


class Ear:
    """What answers a hot route: it keeps headers and body of each request."""

    def __init__(self) -> None:
        self.heard: Heard = []

    async def handler(self, exchange: Exchange) -> None:
        headers = {name: value for name, value in exchange.headers.items() if name != b"content-length"}
        self.heard.append((headers, exchange.body))
        await asyncio.sleep(0)
        exchange.answer(200, b"", b"%d" % len(exchange.body))


async def conversation(pieces: Sequence[bytes], heads: Heads, ear: Ear) -> tuple[Heard, bytes, bool]:
    """What the handler hears, and what the client does."""
    ear.heard = []
    config = uvicorn.Config(application, ws="none", lifespan="off", log_config=None)
    settings, handlers = SocketSettings(body_bytes_max=5_000), {b"/v1/x": ear.handler}
    lane = Lane(config, ServerState(), {}, asyncio.get_running_loop(), handlers=handlers, heads=heads, settings=settings)
    wire = Wire()
    lane.connection_made(wire)
    for piece in pieces:
        if not wire.closed:
            lane.data_received(piece)
        for _ in range(12):
            await asyncio.sleep(0)
    lane.connection_lost(None)
    return ear.heard, wire.said, wire.closed


BODIES = st.binary(max_size=60) | st.sampled_from([b"", b"x" * 6_000, HEAD % 3 + b"abc"])
HEADS = st.sampled_from(
    [
        HEAD,
        HEAD,
        HEAD,
        HEAD.replace(b"Bearer k", b"Bearer j"),
        HEAD.replace(b"POST", b"GET"),
        HEAD.replace(b"/v1/x", b"/v1/y"),
        HEAD.replace(b"Host: h", b"Connection: close"),
        HEAD.replace(b"Host: h", b"Connection: keep-alive"),
        HEAD.replace(b"Host: h", b"Expect: 100-continue"),
        HEAD.replace(b"Host: h", b"x-headrace-class: a\r\nx-headrace-class: b"),
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"Length: %d", b"Length: %d\r\nContent-Length: 4"),
    ]
)


@given(
    requests=st.lists(st.tuples(HEADS, BODIES), min_size=1, max_size=5),
    cuts=st.lists(st.integers(1, 200), max_size=12),
    together=st.booleans(),
)
@example(requests=[(HEAD, b"1"), (HEAD, b"22"), (HEAD, b"333")], cuts=[], together=True)
@example(requests=[(HEAD, b""), (HEAD, HEAD % 3 + b"abc"), (HEAD, b"")], cuts=[2 * len(HEAD % 7) + 2], together=False)
@example(
    requests=[(HEAD, b"1"), (HEAD, b"22"), (HEAD.replace(b"Length: %d", b"Length: %d\r\nContent-Length: 4"), b"333")],
    cuts=[],
    together=False,
)
def test_it_is_heard_as_the_parser_alone_hears_it(requests, cuts, together):
    each = [head % len(body) + body for head, body in requests]
    pieces = [b"".join(each)] if together else each
    if cuts:
        wire, pieces = b"".join(each), []
        for size in cuts:
            pieces.append(wire[:size])
            wire = wire[size:]
        pieces = [piece for piece in [*pieces, wire] if piece]
    heads, ear = Heads(), Ear()
    asyncio.run(conversation([HEAD % 2 + b"hi"], heads, ear))
    assert heads.read(HEAD % 5) is not None
    assert asyncio.run(conversation(pieces, heads, ear)) == asyncio.run(conversation(pieces, Forgetful(), ear))
    assert all(key.startswith(b"POST /v1/x HTTP/1.1") for key in heads._known)


TAIL = b"X: y\r\nContent-Length: %d\r\n\r\n"
BEGINNING = b"POST /v1/x HTTP/1.1\r\nAuthorization: Bearer k\r\n"


def test_the_end_of_a_head_that_began_behind_another_request_is_nobodys_head():
    heads, ear = Heads(), Ear()
    first, second = BEGINNING + TAIL % 1 + b"1" + BEGINNING, TAIL % 2 + b"22"
    heard, said, _ = asyncio.run(conversation([first, second], heads, ear))
    assert [body for _, body in heard] == [b"1", b"22"]
    assert said.count(b" 200 OK") == 2
    heard, said, _ = asyncio.run(conversation([TAIL % 3 + b"333"], heads, ear))
    assert heard == [], "or a stranger would ask with the key of whom that head was"
    assert b" 400 " in said
