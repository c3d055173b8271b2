"""HTTP/1.1 on one connection without a socket: how an answer is cut into reads is invisible, and another parser reads the same in it."""

import asyncio
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

import h11
import pytest
import uvloop
from hypothesis import assume, example, given
from hypothesis import strategies as st

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled
from headrace.providers.answering import ANSWER_BYTES_MAX
from headrace.providers.connection import AnswerHeads, Connection, read_headers
from headrace.providers.settings import TransportSettings


class Wire(asyncio.Transport):
    """What a connection writes to and stops; nobody is behind it."""

    def writelines(self, list_of_data: object) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Owner:
    def __init__(self) -> None:
        self.kept = False

    def idle_again(self, connection: Connection) -> None:
        self.kept = True

    def lost(self, connection: Connection) -> None:
        pass


Heard: TypeAlias = tuple[int, bytes, bool] | type[HeadraceError]
"""Status, body, and whether the connection is kept; or what went wrong."""


async def hear(pieces: list[bytes], *, ends: bool, slowly: bool = False, heads: AnswerHeads | None = None) -> Heard:
    """`slowly`: who waits for the answer hears of each piece before the next comes. `heads` are those that were heard before."""
    owner = Owner()
    connection = Connection(owner, "http://x", TransportSettings(), asyncio.get_running_loop(), heads)
    connection.connection_made(Wire())
    connection.ask([b"GET / HTTP/1.1\r\n\r\n"])
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(outcome(connection))
        await asyncio.sleep(0)
        for piece in pieces:
            if not connection.closed:
                connection.data_received(piece)
            if slowly:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        if ends and not connection.closed:
            connection.eof_received()
            connection.connection_lost(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if not answer.done():
            answer.cancel()
    connection.release()
    if answer.cancelled():
        return HeadraceError  # it waits for more
    heard = answer.result()
    return heard if isinstance(heard, type) else (*heard, owner.kept)


async def outcome(connection: Connection) -> tuple[int, bytes] | type[HeadraceError]:
    try:
        await connection.head()
        return connection.status, await connection.whole()
    except HeadraceError as failure:
        return type(failure)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as made:
        yield made


NAMES = st.text("abcXYZ-09", min_size=1, max_size=8).filter(lambda name: name.lower() not in ("te", "connection"))
VALUES = st.text("abc XYZ:;,=-/09\t", max_size=12).map(str.strip)
SIGNS_OF_LIFE = st.lists(st.sampled_from([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"]), max_size=2)


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, int, bytes]:
    """A lawful answer, and its status and body."""
    status = draw(st.sampled_from([200, 201, 204, 304, 400, 429, 500, 529]))
    version = draw(st.sampled_from(["1.1", "1.1", "1.1", "1.0"]))
    body = draw(st.binary(max_size=60)) if status not in (204, 304) else b""
    lines = [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(NAMES, VALUES), max_size=4))]
    framing = draw(st.sampled_from(["length", "chunks", "end"])) if version == "1.1" else draw(st.sampled_from(["length", "end"]))
    said = body
    if status in (204, 304):
        pass
    elif framing == "length":
        lines.insert(draw(st.integers(0, len(lines))), f"Content-Length: {len(body)}")
    elif framing == "chunks":
        lines.insert(draw(st.integers(0, len(lines))), "Transfer-Encoding: chunked")
        edges = [0, *sorted(draw(st.lists(st.integers(0, len(body)), max_size=3))), len(body)]
        chunks = [body[begin:end] for begin, end in pairwise(edges) if begin < end]
        said = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    if draw(st.booleans()):
        lines.append("Connection: close")
    head = "\r\n".join([f"HTTP/{version} {status} Reason", *lines, "", ""]).encode()
    return b"".join(draw(SIGNS_OF_LIFE)) + head + said, status, body


def cut(said: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(said), *(place % (len(said) + 1) for place in places)})
    return [said[begin:end] for begin, end in pairwise(edges)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(answer=answers(), places=CUTS)
def test_lawful_answers_are_heard(runner: asyncio.Runner, answer: tuple[bytes, int, bytes], places: list[int]):
    said, status, body = answer
    heard = runner.run(hear(cut(said, places), ends=True))
    assert not isinstance(heard, type)
    assert heard[:2] == (status, body)


@given(answer=answers(), more=st.sampled_from([b"", b"x", b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 20]), places=CUTS, ends=st.booleans())
def test_how_an_answer_is_cut_is_invisible(
    runner: asyncio.Runner, answer: tuple[bytes, int, bytes], more: bytes, places: list[int], ends: bool
):
    said = answer[0] + more
    assert runner.run(hear(cut(said, places), ends=ends)) == runner.run(hear([said], ends=ends))


@given(answer=answers(), at=st.integers(0, 10_000), put=st.binary(max_size=3), lost=st.integers(0, 3), places=CUTS, ends=st.booleans())
def test_how_a_damaged_answer_is_cut_is_invisible(
    runner: asyncio.Runner, answer: tuple[bytes, int, bytes], at: int, put: bytes, lost: int, places: list[int], ends: bool
):
    said = answer[0]
    at %= len(said)
    said = said[:at] + put + said[at + lost :]
    assert runner.run(hear(cut(said, places), ends=ends)) == runner.run(hear([said], ends=ends))


@given(answer=answers(), at=st.integers(0, 10_000), put=st.binary(max_size=2), lost=st.integers(0, 2))
@example(answer=(b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\nHTTP/1.0 000\r\n", 200, b"HTTP/1.0 000\r\n"), at=0, put=b"", lost=0)
def test_what_we_hear_another_parser_hears(runner: asyncio.Runner, answer: tuple[bytes, int, bytes], at: int, put: bytes, lost: int):
    """Whatever is kept for the next request was read in the same way by h11: nobody can hide an answer in another.

    Where the two differ, it does not matter: in what may stand in a reason, which nobody reads, and in empty lines around an answer.
    """
    said = answer[0]
    at %= len(said)
    said = said[:at] + put + said[at + lost :]
    heard = runner.run(hear([said], ends=False))
    assume(not isinstance(heard, type))
    assert not isinstance(heard, type)
    if heard[2]:
        assert read_by_h11(said) == (heard[0], heard[1], b"")


AGAIN = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"


@given(
    first=st.one_of(
        answers().map(lambda answer: answer[0]), st.binary(min_size=1, max_size=40).map(lambda body: AGAIN % (len(body), body))
    ),
    body=st.binary(max_size=40),
    length=st.one_of(st.none(), st.sampled_from([b"", b"+1", b" 1", b"1 ", b"0x1", b"1_0", b"01", b"99", b"9" * 13, b"1, 1", b"\xb2"])),
    at=st.integers(0, 10_000),
    put=st.binary(max_size=2),
    more=st.sampled_from([b"", b"x", b"HTTP/1.1 200 OK\r\n\r\n"]),
    places=CUTS,
    ends=st.booleans(),
)
def test_under_a_head_that_was_heard_before_the_same_is_heard(
    runner: asyncio.Runner, first: bytes, body: bytes, length: bytes | None, at: int, put: bytes, more: bytes, places: list[int], ends: bool
):
    """Whatever comes under the head of an earlier answer, with another length or damaged, is heard as the parser alone hears it."""
    heads = AnswerHeads()
    runner.run(hear([first], ends=False, heads=heads))
    head = first[: first.find(b"\r\n\r\n") + 4]
    shown = b"%d" % len(body) if length is None else length
    said = re.sub(rb"(?i)(content-length: )\d+", lambda found: found[1] + shown, head) + body
    at %= len(said)
    pieces = cut(said[:at] + put + said[at:] + more, places)
    assert runner.run(hear(pieces, ends=ends, heads=heads)) == runner.run(hear(pieces, ends=ends))


def test_a_head_that_was_heard_before_is_known(runner: asyncio.Runner):
    heads = AnswerHeads()
    assert runner.run(hear([AGAIN % (2, b"ab")], ends=False, heads=heads)) == (200, b"ab", True)
    assert heads.read(AGAIN % (3, b"abc")) == (len(AGAIN % (3, b"")), 3)
    for unlike in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", AGAIN.replace(b"200", b"201") % (2, b"ab")):
        assert heads.read(unlike) is None
        runner.run(hear([unlike], ends=False, heads=heads))
        assert heads.read(unlike) is None, "only a good answer is learned, after which the connection stays"


def with_reasons(said: bytes) -> bytes:
    """With a reason in each status line, and no empty lines between heads, as h11 wants it. What stands in the body stays."""
    heads = b""
    while (status := re.match(rb"(HTTP/1\.[01] (\d)\d\d)\b[^\r\n]*\r\n", said)) and (end := said.find(b"\r\n\r\n")) >= 0:
        heads += status[1] + b" Reason" + said[status.end() - 2 : end + 4]
        said = said[end + 4 :]
        if status[2] != b"1":
            break
        said = said.lstrip(b"\r\n")
    return heads + said


def read_by_h11(said: bytes) -> tuple[int, bytes, bytes]:
    """Status and body of the first answer, and what is left."""
    other = h11.Connection(h11.CLIENT)
    other.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    other.send(h11.EndOfMessage())
    other.receive_data(with_reasons(said))
    status, body = 0, b""
    while True:
        match other.next_event():
            case h11.Response(status_code=code):
                status = code
            case h11.Data(data=piece):
                body += bytes(piece)
            case h11.EndOfMessage():
                return status, body, other.trailing_data[0].strip(b"\r\n")
            case h11.InformationalResponse():
                pass
            case _:
                raise AssertionError(f"h11 waits for more after {said!r}")


@pytest.mark.parametrize("long", [b"content-length: 999999999", b"transfer-encoding: chunked"])
def test_an_answer_that_is_too_large_to_hold(runner: asyncio.Runner, long: bytes):
    large = bytes(16 * 1024 * 1024)
    piece = b"%x\r\n%b\r\n" % (len(large), large) if long.endswith(b"chunked") else large
    head = b"HTTP/1.1 200 OK\r\n" + long + b"\r\n\r\n"
    assert runner.run(hear([head, *[piece] * 3], ends=True, slowly=True)) is UpstreamCut
    if piece is large:  # the pieces are the very bytes that were read, so this costs nothing
        assert runner.run(hear([head, *[piece] * (ANSWER_BYTES_MAX // len(large) + 1)], ends=False, slowly=True)) is UpstreamGarbled


HEADS = [
    (b"HTTP/1.1 200 OK\r\n\r\n", {}),
    (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nC: d\r\n\r\n", {b"a": b"b"}),
    (b"HTTP/1.1 200 OK\r\nA:b\r\nX-Y:  \t c: d \t\r\nE:\r\n\r\n", {b"a": b"b", b"x-y": b"c: d", b"e": b""}),
    (b"HTTP/1.1 100 C\r\nA: 1\r\n\r\nHTTP/1.0 103 E\r\n\r\nHTTP/1.1 200 OK\r\nB: 2\r\n\r\n", {b"b": b"2"}),
    (b"HTTP/1.1 100 C\r\n\r\n\r\n\r\nHTTP/1.1 200 OK\r\nB: 2\r\n\r\n", {b"b": b"2"}),
    (b"HTTP/1.1 429 Slow\r\nA: 1\r\nA: 2\r\n\r\n", {b"a": b"2"}),
]


@pytest.mark.parametrize(("raw", "headers"), HEADS)
def test_headers(raw: bytes, headers: dict[bytes, bytes]):
    assert read_headers(raw) == headers
