"""Between our endpoint and a good upstream stands a proxy that cuts, stalls, and lies: the right error or the right bytes, and no harm
to the next request.

The proxy does its mischief to one answer, and passes on faithfully what comes before and after. Every story is told on a fresh connection
and on a kept one, to a reader of whole answers and to one of streams.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import TypeAlias

import pytest

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamGarbled, UpstreamTimedOut
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.transport import HEAD_BYTES_MAX
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.upstream import says, upstream

ASK = [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n", b"{}"]
EVENTS = [b"data: %d %b\n\n" % (number, b"." * (number * 7 % 50)) for number in range(20)]
TEXT = b"".join(EVENTS)
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(TEXT) + TEXT
CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    + b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in EVENTS)
    + b"0\r\n\r\n"
)
OK, BODY = b"HTTP/1.1 200 OK\r\n", b"content-length: 2\r\n\r\nok"


class Do(Enum):
    """What the proxy does beside saying bytes."""

    CLOSE = "close"
    RESET = "reset"
    STALL = "stall"
    """Until the caller has enough."""


Outcome: TypeAlias = bytes | type[HeadraceError]
Mischief: TypeAlias = Callable[[bytes], Sequence[bytes | Do]]
"""From a good answer to what is said and done in its place."""


@dataclass
class Between:
    """The proxy. It says `mischief` in place of answer number `at`, counted from 0; None: it is honest."""

    upstream_port: int
    mischief: Mischief
    at: int
    connections: int = 0
    answers: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)
    """The mischief is done."""
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        there, onward = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        try:
            while request := await reader.read(65_536):
                onward.write(request)
                answer = await self._answer(there)
                number, self.answers = self.answers, self.answers + 1
                if number != self.at:
                    await self._pass_on(reader, writer, [answer])
                    continue
                try:
                    await self._pass_on(reader, writer, self.mischief(answer))
                finally:
                    self.told.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            onward.close()
            writer.close()

    async def _answer(self, there: asyncio.StreamReader) -> bytes:
        head = await there.readuntil(b"\r\n\r\n")
        return head + (await there.readuntil(b"\r\n0\r\n\r\n") if b"chunked" in head else await there.readexactly(len(TEXT)))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, steps: Sequence[bytes | Do]) -> None:
        for step in steps:
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                    await asyncio.sleep(0.001 if len(steps) > 1 else 0)
                case Do.STALL:
                    while await reader.read(65_536):
                        pass
                case Do.RESET:
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
                    raise ConnectionAbortedError
                case Do.CLOSE:
                    raise ConnectionAbortedError

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def between(answer: bytes, mischief: Mischief, at: int, patience_ms: int) -> AsyncGenerator[tuple[Between, Endpoint], None]:
    async with asyncio.timeout(15), upstream(says(answer)) as good:
        made = Between(int(good.url.removesuffix("/v1").rpartition(":")[2]), mischief, at)
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        patience = TransportSettings(first_byte_timeout_ms=patience_ms, between_bytes_timeout_ms=patience_ms)
        reached = Endpoint(url, patience, asyncio.get_running_loop())
        try:
            yield made, reached
        finally:
            reached.close()
            server.close()
            made.close()


async def heard(reached: Endpoint, *, streamed: bool) -> bytes:
    pieces: list[bytes] = []
    async with reached.exchange(ASK) as answer:
        if streamed:
            await answer.pour(pieces.append, ScriptedListener())
        else:
            pieces.append(await answer.whole())
    return b"".join(pieces)


async def outcome_of(reached: Endpoint, *, streamed: bool) -> Outcome:
    try:
        return await heard(reached, streamed=streamed)
    except HeadraceError as failure:
        return type(failure)


async def tell(answer: bytes, mischief: Mischief, *, kept: bool, streamed: bool, patience_ms: int = 5_000) -> tuple[Outcome, bool]:
    """What became of the one exchange, and whether its connection was used for the next, which must go well."""
    async with between(answer, mischief, 1 if kept else 0, patience_ms) as (made, reached):
        if kept:
            assert await heard(reached, streamed=streamed) == TEXT
        outcome = await outcome_of(reached, streamed=streamed)
        connections = made.connections
        await made.told.wait()
        await asyncio.sleep(0.01)
        assert await heard(reached, streamed=not streamed) == TEXT, "the next request goes well"
        return outcome, made.connections == connections


both_readers = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
both_connections = pytest.mark.parametrize("kept", [False, True], ids=["fresh", "kept"])
both_answers = pytest.mark.parametrize("answer", [PLAIN, CHUNKED], ids=["plain", "chunked"])


# ----------------------------------------------------------------------------------------------------------------------- cuts and stalls


def places(answer: bytes) -> Iterator[tuple[str, int]]:
    head = answer.index(b"\r\n\r\n") + 4
    yield "in the status line", 7
    yield "in the head", head // 2
    yield "before the head's end", head - 2
    yield "after the head", head
    yield "in the body", head + 11
    yield "between chunks", answer.index(EVENTS[9]) + len(EVENTS[9])
    yield "before the last byte", len(answer) - 1


CUTS = [
    pytest.param(answer, cut, id=f"{kind}, {name}")
    for kind, answer in (("plain", PLAIN), ("chunked", CHUNKED))
    for name, cut in places(answer)
]


@pytest.mark.parametrize(("answer", "cut"), CUTS)
@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET], ids=["close", "reset"])
@both_connections
@both_readers
async def test_a_connection_that_ends(answer: bytes, cut: int, end: Do, kept: bool, streamed: bool):
    outcome, used_again = await tell(answer, lambda good: [good[:cut], end], kept=kept, streamed=streamed)
    assert (outcome, used_again) == (UpstreamCut, False)


@both_answers
@pytest.mark.parametrize("end", [Do.CLOSE, Do.RESET], ids=["close", "reset"])
@both_readers
async def test_a_connection_that_ends_without_a_word(answer: bytes, end: Do, streamed: bool):
    """A fresh one has failed; a kept one was just being closed, so the request is sent again, and nobody notices."""
    assert await tell(answer, lambda good: [end], kept=False, streamed=streamed) == (UpstreamCut, False)
    assert await tell(answer, lambda good: [end], kept=True, streamed=streamed) == (TEXT, True)


@both_answers
@both_connections
@both_readers
async def test_an_upstream_that_stalls(answer: bytes, kept: bool, streamed: bool):
    """Wherever it stalls; all of them at once, since each takes a while."""
    cuts = [0, *(cut for _, cut in places(answer))]
    stories = (
        tell(answer, lambda good, cut=cut: [good[:cut], Do.STALL], kept=kept, streamed=streamed, patience_ms=300)  # type: ignore[misc]
        for cut in cuts
    )
    assert await asyncio.gather(*stories) == [(UpstreamTimedOut, False)] * len(cuts)


# ---------------------------------------------------------------------------------------------------------------------------- cut pieces


@both_answers
@both_readers
async def test_answers_in_single_bytes(answer: bytes, streamed: bool):
    small = answer[: answer.index(b"\r\n\r\n") + 4]
    until = len(small) + 60
    pieces = [answer[at : at + 1] for at in range(until)]
    assert await tell(answer, lambda good: [*pieces, good[until:]], kept=False, streamed=streamed) == (TEXT, True)


@both_answers
@pytest.mark.parametrize("seed", range(8))
async def test_answers_in_pieces_of_any_size(answer: bytes, seed: int):
    rng = Random(seed)
    cuts = sorted(rng.sample(range(1, len(answer)), 12))
    edges = list(zip([0, *cuts], [*cuts, len(answer)], strict=True))
    outcome = await tell(answer, lambda good: [good[begin:end] for begin, end in edges], kept=True, streamed=seed % 2 == 0)
    assert outcome == (TEXT, True)


# ---------------------------------------------------------------------------------------------------------------------------------- lies


def with_head(lines: bytes) -> Mischief:
    """The good body under another head."""
    return lambda good: [OK + lines + b"\r\n\r\n" + good.partition(b"\r\n\r\n")[2]]


def says_so(*steps: bytes | Do) -> Mischief:
    return lambda good: steps


TLS_HELLO = bytes.fromhex("160303004a020000460303") + bytes(67)
HTTP2_SETTINGS = bytes.fromhex("000006040000000000000300000064")
UPGRADE = b"connection: upgrade\r\nupgrade: websocket\r\n\r\n"
SIZE = str(len(TEXT)).encode()

# fmt: off
LIES = [
    # what it says in place of a plain answer; what is heard; is the connection used again
    ("more than its length",             with_head(b"content-length: 5"),                                   TEXT[:5],        False),
    ("less than its length, then cut",   lambda good: [*with_head(b"content-length: 99999")(good), Do.CLOSE], UpstreamCut,   False),
    ("no length, then cut",              lambda good: [*with_head(b"x: y")(good), Do.CLOSE],                TEXT,            False),
    ("no length, then a reset",          lambda good: [*with_head(b"x: y")(good), Do.RESET],                UpstreamCut,     False),
    ("a length and chunks",              with_head(b"content-length: " + SIZE + b"\r\ntransfer-encoding: chunked"), UpstreamFailed, False),
    ("chunks and a length",              with_head(b"transfer-encoding: chunked\r\ncontent-length: " + SIZE), UpstreamFailed, False),
    ("chunks that are none",             with_head(b"transfer-encoding: chunked"),                          UpstreamGarbled, False),
    ("two lengths",                      with_head(b"content-length: 5\r\ncontent-length: 6"),              UpstreamFailed,  False),
    ("the same length twice",            with_head(b"content-length: 5\r\ncontent-length: 5"),              UpstreamFailed,  False),
    ("a list of lengths",                with_head(b"content-length: 5, 5"),                                UpstreamFailed,  False),
    ("a length below zero",              with_head(b"content-length: -5"),                                  UpstreamFailed,  False),
    ("a length with a sign",             with_head(b"content-length: +5"),                                  UpstreamFailed,  False),
    ("a length in hex",                  with_head(b"content-length: 0x5"),                                 UpstreamFailed,  False),
    ("a length in words",                with_head(b"content-length: five"),                                UpstreamFailed,  False),
    ("a length of nothing",              with_head(b"content-length:"),                                     UpstreamFailed,  False),
    ("a length beyond counting",         with_head(b"content-length: 99999999999999999999999"),             UpstreamFailed,  False),
    ("another coding",                   lambda good: [*with_head(b"transfer-encoding: gzip")(good), Do.CLOSE], UpstreamCut, False),
    ("garbage after the answer",         lambda good: [good + b"garbage"],                                  TEXT,            False),
    ("garbage a little later",           lambda good: [good, b"garbage"],                                   TEXT,            False),
    ("two answers",                      lambda good: [good + good],                                        TEXT,            False),
    ("two answers, one a little later",  lambda good: [good, good],                                         TEXT,            False),
    ("a second head",                    lambda good: [good + OK],                                          TEXT,            False),
    ("garbage before the answer",        lambda good: [b"garbage" + good],                                  UpstreamFailed,  False),
    ("an empty line before the answer",  lambda good: [b"\r\n" + good],                                     UpstreamFailed,  False),
    ("close, and then it stays open",    lambda good: [good.replace(b"200 OK", b"200 OK\r\nconnection: close")], TEXT,       False),
    ("an older version",                 lambda good: [good.replace(b"1.1", b"1.0")],                       TEXT,            False),
    ("a few signs of life",              lambda good: [b"HTTP/1.1 102 Processing\r\n\r\n"] * 5 + [good],    TEXT,            True),
    ("signs of life and an answer",      lambda good: [b"HTTP/1.1 100 Continue\r\n\r\n" + good],            TEXT,            True),
    ("nothing but signs of life",        says_so(*[b"HTTP/1.1 102 Processing\r\n\r\n" * 400] * 10),         UpstreamFailed,  False),
    ("a sign of life, then the end",     says_so(b"HTTP/1.1 100 Continue\r\n\r\n", Do.CLOSE),               UpstreamCut,     False),
    ("another protocol, agreed on",      says_so(b"HTTP/1.1 101 Switching\r\n" + UPGRADE),                 UpstreamFailed,  False),
    ("nothing, with a body",             lambda good: [good.replace(b"200 OK", b"204 No Content")],         b"",             False),
    ("nothing new, with a body",         lambda good: [good.replace(b"200 OK", b"304 Not Modified")],       b"",             False),
    ("nothing",                          says_so(b"HTTP/1.1 204 No Content\r\n\r\n"),                       b"",             True),
    ("a status of two digits",           says_so(b"HTTP/1.1 20 OK\r\n" + BODY),                             UpstreamFailed,  False),
    ("a status below all",               says_so(b"HTTP/1.1 099 OK\r\n" + BODY),                            UpstreamFailed,  False),
    ("a status of four digits",          says_so(b"HTTP/1.1 2000 OK\r\n" + BODY),                           UpstreamFailed,  False),
    ("a status in words",                says_so(b"HTTP/1.1 two hundred\r\n" + BODY),                       UpstreamFailed,  False),
    ("no reason",                        says_so(b"HTTP/1.1 200\r\n" + BODY),                               b"ok",           True),
    ("a version of the future",          says_so(b"HTTP/3.0 200 OK\r\n" + BODY),                            UpstreamFailed,  False),
    ("a version between",                says_so(b"HTTP/2.0 200 OK\r\n" + BODY),                            UpstreamFailed,  False),
    ("a version before all",             says_so(b"HTTP/0.9 200 OK\r\n" + BODY),                            UpstreamFailed,  False),
    ("a page and no head",               says_so(b"<html>hello</html>", Do.CLOSE),                          UpstreamFailed,  False),
    ("a request",                        says_so(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"),                     UpstreamFailed,  False),
    ("TLS",                              says_so(TLS_HELLO),                                                UpstreamFailed,  False),
    ("HTTP/2",                           says_so(HTTP2_SETTINGS),                                           UpstreamFailed,  False),
    ("zeros",                            says_so(bytes(1_000)),                                             UpstreamFailed,  False),
    ("lines without a return",           says_so(b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"),              UpstreamFailed,  False),
    ("a folded header",                  says_so(OK + b"x: y\r\n z\r\n" + BODY),                            UpstreamFailed,  False),
    ("a zero in a header",               says_so(OK + b"x: \0\r\n" + BODY),                                 UpstreamFailed,  False),
    ("a return in a header",             says_so(OK + b"x: y\rz: 1\r\n" + BODY),                            UpstreamFailed,  False),
    ("a header without a name",          says_so(OK + b": y\r\n" + BODY),                                   UpstreamFailed,  False),
    ("a header without a colon",         says_so(OK + b"what\r\n" + BODY),                                  UpstreamFailed,  False),
    ("a space before the colon",         says_so(OK + b"content-length : 2\r\n\r\nok"),                     UpstreamFailed,  False),
    ("a flood of headers",               says_so(OK, *[b"x: y\r\n" * 1_000] * (HEAD_BYTES_MAX // 5_000)),   UpstreamFailed,  False),
    ("a header that does not end",       says_so(OK + b"x: ", *[b"y" * 10_000] * (HEAD_BYTES_MAX // 9_000)), UpstreamFailed, False),
    ("a status line that does not end",  says_so(b"HTTP/1.1 200 ", *[b"y" * 10_000] * (HEAD_BYTES_MAX // 9_000)), UpstreamFailed, False),
]
CHUNKS = [
    # what it says in place of chunks
    ("a chunk beyond counting",          b"ffffffffffffffffff\r\nok",                                        UpstreamGarbled),
    ("a chunk that is very long",        b"fffffffffffffff\r\nok",                                           UpstreamCut),
    ("a chunk below zero",               b"-2\r\nok\r\n0\r\n\r\n",                                            UpstreamGarbled),
    ("a chunk with a prefix",            b"0x2\r\nok\r\n0\r\n\r\n",                                           UpstreamGarbled),
    ("a chunk without a size",           b"\r\nok\r\n0\r\n\r\n",                                              UpstreamGarbled),
    ("a chunk that is longer",           b"2\r\nokay\r\n0\r\n\r\n",                                           UpstreamGarbled),
    ("lines without a return",           b"2\nok\n0\n\n",                                                     UpstreamGarbled),
    ("a zero that is none",              b"2\r\nok\r\n0garbage\r\n\r\n",                                      UpstreamGarbled),
    ("no end",                           b"2\r\nok\r\n",                                                      UpstreamCut),
    ("an end without its line",          b"2\r\nok\r\n0\r\n",                                                 UpstreamCut),
    ("notes beside the sizes",           b"2;name=value\r\nok\r\n0;x\r\n\r\n",                                b"ok"),
    ("headers after the body",           b"2\r\nok\r\n0\r\nx-checksum: 1\r\n\r\n",                            b"ok"),
    ("sizes in capitals with zeros",     b"000A\r\n0123456789\r\n0\r\n\r\n",                                  b"0123456789"),
]
# fmt: on


@pytest.mark.parametrize(("mischief", "expected", "again"), [pytest.param(*lie[1:], id=lie[0]) for lie in LIES])
@both_connections
@both_readers
async def test_lies(mischief: Mischief, expected: Outcome, again: bool, kept: bool, streamed: bool):
    assert await tell(PLAIN, mischief, kept=kept, streamed=streamed) == (expected, again)


@pytest.mark.parametrize(("said", "expected"), [pytest.param(*lie[1:], id=lie[0]) for lie in CHUNKS])
@both_connections
@both_readers
async def test_lies_about_chunks(said: bytes, expected: Outcome, kept: bool, streamed: bool):
    steps: list[bytes | Do] = [OK + b"transfer-encoding: chunked\r\n\r\n" + said]
    if expected is UpstreamCut:
        steps.append(Do.CLOSE)
    outcome, again = await tell(CHUNKED, says_so(*steps), kept=kept, streamed=streamed)
    assert (outcome, again) == (expected, isinstance(expected, bytes))


async def test_a_proxy_that_cuts_now_and_then_under_load():
    """Many at once; a tenth of the answers is cut somewhere. Each ends, and each that ends well has its own bytes."""
    rng = Random(11)

    def mischief(good: bytes) -> Sequence[bytes | Do]:
        return [good[: rng.randrange(1, len(good))], rng.choice([Do.CLOSE, Do.RESET])] if rng.random() < 0.1 else [good]

    class Often(Between):
        async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, steps: Sequence[bytes | Do]) -> None:
            good = steps[0]
            assert isinstance(good, bytes)
            await super()._pass_on(reader, writer, mischief(good))

    async with asyncio.timeout(20), upstream(says(CHUNKED)) as good:
        made = Often(int(good.url.removesuffix("/v1").rpartition(":")[2]), mischief, at=-1)
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        reached = Endpoint(url, TransportSettings(), asyncio.get_running_loop())

        async def asks(number: int) -> list[Outcome]:
            return [await outcome_of(reached, streamed=number % 2 == 0) for _ in range(25)]

        outcomes = [one for several in await asyncio.gather(*(asks(number) for number in range(20))) for one in several]
        reached.close()
        server.close()
        made.close()
    assert set(outcomes) == {TEXT, UpstreamCut}
    assert 20 < outcomes.count(UpstreamCut) < 100
