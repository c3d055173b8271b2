"""Exchanges over HTTP/2, over real sockets: what streams do to each other, and what upstreams do to them."""

import asyncio
import tracemalloc

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from headrace.core.errors import (
    HeadraceError,
    UpstreamCut,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamUnreachable,
)
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.http2 import REFUSED_MAX, read_request
from headrace.providers.transport import UNREAD_BYTES_MAX
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.authority import Authority
from tests.unit.providers.test_proxy import forwards_to, proxy_at
from tests.unit.providers.upstream import Caller, says, upstream
from tests.unit.providers.upstream_http2 import ASK, Call, answers, endpoint, poured, reach, sized, upstream_http2, whole

# ----------------------------------------------------------------------------------------------------------------- what is said and heard


async def test_a_request_and_its_answer():
    async with reach(answers) as (made, reached):
        async with reached.exchange(ASK) as answer:
            assert (answer.status, answer.headers) == (200, {b"content-type": b"text/plain"})
            assert await answer.whole() == b"ok"
        (call,) = made.calls
        assert call.body == b"{}"
        assert call.headers == {
            b":method": b"POST",
            b":scheme": b"http",
            b":authority": b"api.example",
            b":path": b"/v1/x",
            b"content-type": b"text/plain",
            b"content-length": b"2",
        }


REQUESTS = [
    ([b"GET /a?b=c HTTP/1.1\r\nhost: h\r\n\r\n"], b"/a?b=c", b""),
    ([b"POST /a HTTP/1.1\r\nhost: h\r\n\r\nwith its head"], b"/a", b"with its head"),
    ([b"POST /a HTTP/1.1\r\nhost: h\r\n\r\nin ", b"many ", b"", b"pieces"], b"/a", b"in many pieces"),
]


@pytest.mark.parametrize(("parts", "path", "body"), REQUESTS)
def test_how_a_request_is_read(parts: list[bytes], path: bytes, body: bytes):
    headers, read = read_request(parts, "https")
    assert read == body
    assert dict(headers)[b":path"] == path
    assert [name for name, _ in headers] == [b":method", b":scheme", b":authority", b":path"]


def test_a_body_in_one_piece_is_not_copied():
    body = bytes(1_000)
    assert read_request([b"POST / HTTP/1.1\r\nhost: h\r\n\r\n", body], "https")[1] is body


async def test_a_question_beside_the_requests():
    async with reach(answers) as (made, reached):
        assert await reached.get("/models", "authorization: Bearer k\r\n") == (200, b"ok")
        headers = made.calls[0].headers
        assert (headers[b":method"], headers[b":path"], headers[b"authorization"]) == (b"GET", b"/v1/models", b"Bearer k")


async def test_an_answer_without_a_body():
    async def script(call: Call) -> None:
        call.begin(204, end=True)

    async with reach(script) as (_, reached):
        assert await whole(reached) == (204, b"")
        assert await poured(reached) == b""


async def test_signs_of_life_and_trailers():
    async def script(call: Call) -> None:
        for _ in range(4):
            call.connection.h2.send_headers(call.id, [(":status", "103"), ("x", "y")])
            call.connection.flush()
            await asyncio.sleep(0.2)
        call.begin()
        await call.say(b"ok")
        call.connection.h2.send_headers(call.id, [("x-trailer", "1")], end_stream=True)
        call.connection.flush()

    async with reach(script, first_byte_timeout_ms=600) as (_, reached):
        assert await whole(reached) == (200, b"ok")
        assert await poured(reached) == b"ok"


@pytest.mark.parametrize("size", [UNREAD_BYTES_MAX, 3_000_000])
@pytest.mark.parametrize("late", [False, True])
async def test_large_answers(size: int, late: bool):
    """Also when nobody listens before the window is full."""
    body = bytes(size)

    async def script(call: Call) -> None:
        await call.answer(body)

    async with reach(script, between_bytes_timeout_ms=2_000) as (made, reached):
        assert await poured(reached) == body
        async with reached.exchange(ASK) as answer:
            await asyncio.sleep(0.2 if late else 0)
            assert await answer.whole() == body
        assert len(made.connections) == 1


async def test_many_at_once_on_one_connection():
    async def script(call: Call) -> None:
        await call.ended.wait()
        await asyncio.sleep(0.05)
        await call.answer(bytes(call.body))

    async with reach(script) as (made, reached):
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(whole(reached, sized("x", b"%d" % number))) for number in range(80)]
        assert [one.result() for one in asked] == [(200, b"%d" % number) for number in range(80)]
        assert len(made.connections) == 1
        assert {call.connection for call in made.calls} == {made.connections[0]}


# ------------------------------------------------------------------------------------------------------------------ nobody hinders another


async def test_a_slow_client_stops_its_own_stream_and_no_other():
    async def script(call: Call) -> None:
        call.begin()
        if call.headers[b":path"].endswith(b"/slow"):
            await call.say(bytes(40_000_000), end=True)
        else:
            await call.say(bytes(3_000_000), end=True)

    slow, taken, begun = ScriptedListener(), 0, asyncio.Event()

    def take(piece: bytes) -> None:
        nonlocal taken
        taken += len(piece)
        begun.set()
        slow.stall()

    async def pours(reached: Endpoint) -> None:
        async with reached.exchange(sized("slow", b"{}")) as answer:
            await answer.pour(take, slow)

    async with reach(script, between_bytes_timeout_ms=300) as (made, reached), asyncio.TaskGroup() as tasks:
        pouring = tasks.create_task(pours(reached))
        await begun.wait()
        for _ in range(5):
            assert await whole(reached) == (200, bytes(3_000_000))
        await asyncio.sleep(0.8)
        stood_at = made.calls[0].said
        assert stood_at <= UNREAD_BYTES_MAX
        await asyncio.sleep(0.1)
        assert made.calls[0].said == stood_at
        assert not pouring.done(), "a slow client is not the upstream's failure"
        slow.flow()
        await asyncio.sleep(0.1)
        slow.flow()
        await asyncio.sleep(0.1)
        assert made.calls[0].said > stood_at
        assert taken > UNREAD_BYTES_MAX // 2
        assert len(made.connections) == 1
        pouring.cancel()


async def test_a_large_request_takes_turns_with_the_others():
    async def script(call: Call) -> None:
        await call.ended.wait()
        await call.answer(b"%d" % len(call.body))

    async with reach(script) as (made, reached), asyncio.TaskGroup() as tasks:
        made.reads = False
        uploading = tasks.create_task(whole(reached, sized("large", bytes(5_000_000))))
        await asyncio.sleep(0.1)
        assert await reached.get("/small") == (200, b"0"), "without a body nothing is in its way"
        assert not uploading.done()
        made.reads = True
        (large,) = [call for call in made.calls if call.headers[b":path"] == b"/v1/large"]
        assert 0 < len(large.body) < 100_000, "the window is full"
        made.connections[0].h2.acknowledge_received_data(len(large.body), large.id)
        made.connections[0].flush()
        small = [tasks.create_task(whole(reached, sized("small", bytes(20_000)))) for _ in range(10)]
        assert [await one for one in small] == [(200, b"20000")] * 10
        assert await uploading == (200, b"5000000")


async def test_a_socket_that_is_behind_is_not_filled():
    """The upstream's windows are open wide and it reads nothing: what is not sent stays with who asks."""

    async def script(call: Call) -> None:
        await call.ended.wait()
        await call.answer(b"%d" % len(call.body))

    wide = {SettingCodes.INITIAL_WINDOW_SIZE: 2**30}
    body = bytes(20_000_000)
    async with reach(script, limits=wide) as (made, reached), asyncio.TaskGroup() as tasks:
        assert await whole(reached) == (200, b"2")
        made.connections[0].h2.increment_flow_control_window(2**30)
        made.connections[0].flush()
        await asyncio.sleep(0.05)
        made.connections[0].transport.pause_reading()
        tracemalloc.start()
        asked = [tasks.create_task(whole(reached, sized("x", body))) for _ in range(2)]
        await asyncio.sleep(0.3)
        _, held_most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert held_most < 2_000_000
        made.connections[0].transport.resume_reading()
        assert [await one for one in asked] == [(200, b"20000000")] * 2


# ----------------------------------------------------------------------------------------------------------------------- what goes wrong


RESETS = [
    (ErrorCodes.INTERNAL_ERROR, UpstreamCut, "broke off {} (INTERNAL_ERROR)"),
    (ErrorCodes.CANCEL, UpstreamCut, "broke off {} (CANCEL)"),
    (ErrorCodes.ENHANCE_YOUR_CALM, UpstreamOverloaded, "asks for fewer requests"),
    (ErrorCodes.HTTP_1_1_REQUIRED, UpstreamFailed, "wants HTTP/1.1: leave out http2"),
    (4711, UpstreamCut, "broke off {} (error 4711)"),
]


@pytest.mark.parametrize(("code", "kind", "words"), RESETS)
@pytest.mark.parametrize("begun", [False, True])
async def test_a_stream_that_is_broken_off(code: ErrorCodes, kind: type[HeadraceError], words: str, begun: bool):
    async def script(call: Call) -> None:
        if call.headers[b":path"] == b"/v1/models":
            await call.answer()
            return
        if begun:
            call.begin()
            await call.say(b"half of it")
            await asyncio.sleep(0.02)
        call.break_off(code)

    async with reach(script) as (made, reached):
        with pytest.raises(kind) as failure:
            await whole(reached)
        assert type(failure.value) is kind
        assert words.format("in the middle of its answer" if begun else "without an answer") in str(failure.value)
        assert await reached.get("/models") == (200, b"ok")
        assert len(made.connections) == 1, "a stream's end is not the connection's"


async def test_a_reset_after_the_answer_takes_nothing_back():
    async def script(call: Call) -> None:
        await call.answer(b"too large", 413)
        call.break_off(ErrorCodes.NO_ERROR)

    async with reach(script) as (made, reached):
        made.reads = False
        for _ in range(2):
            assert await whole(reached, sized("x", bytes(1_000_000))) == (413, b"too large")
        assert len(made.connections) == 1


async def test_a_refused_stream_is_asked_again():
    async def script(call: Call) -> None:
        if len(call.connection.upstream.calls) < REFUSED_MAX:
            call.break_off(ErrorCodes.REFUSED_STREAM)
        else:
            await answers(call)

    async with reach(script) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        assert len(made.calls) == REFUSED_MAX


async def test_but_not_for_ever():
    async def script(call: Call) -> None:
        call.break_off(ErrorCodes.REFUSED_STREAM)

    async with reach(script) as (made, reached):
        with pytest.raises(UpstreamUnreachable, match="takes no more requests for now"):
            await whole(reached)
        assert len(made.calls) == REFUSED_MAX


@pytest.mark.parametrize("last_id", [1, 2**31 - 1])
async def test_an_upstream_that_goes_away_finishes_what_it_has_taken(last_id: int):
    async def script(call: Call) -> None:
        call.begin()
        await call.say(b"be")
        if call.id == 1 and len(call.connection.upstream.connections) == 1:
            call.connection.go_away(last_id)
            await asyncio.sleep(0.1)
        await call.say(b"gun", end=True)

    async with reach(script) as (made, reached), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(whole(reached))
        await asyncio.sleep(0.05)
        assert await whole(reached) == (200, b"begun")
        assert await first == (200, b"begun")
        assert len(made.connections) == 2, "the second went elsewhere"
        await asyncio.sleep(0.05)
        assert made.open == 1, "the first connection had nothing more to do"


async def test_what_it_has_not_taken_is_asked_elsewhere():
    """Both are under way when it says that it has taken the first alone."""

    async def script(call: Call) -> None:
        if len(call.connection.upstream.connections) == 1:
            if call.id == 1:
                await asyncio.sleep(0.1)
                call.connection.go_away(1)
                await asyncio.sleep(0.1)
            else:
                return
        await call.answer(call.headers[b":path"])

    async with reach(script) as (made, reached), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(whole(reached, sized(path, b"{}"))) for path in ("a", "b")]
        assert [await one for one in asked] == [(200, b"/v1/a"), (200, b"/v1/b")]
        assert len(made.connections) == 2


async def test_an_upstream_that_goes_away_again_and_again():
    """Each connection takes two streams, however many are asked on it at once."""

    async def script(call: Call) -> None:
        if call.id == 3:
            call.connection.go_away(3)
        if call.id <= 3:
            await call.answer(call.headers[b":path"])

    async with reach(script) as (made, reached), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(whole(reached, sized(str(number), b"{}"))) for number in range(16)]
        assert [await one for one in asked] == [(200, b"/v1/%d" % number) for number in range(16)]
        assert len(made.connections) == 8


@pytest.mark.parametrize("begun", [False, True])
async def test_a_connection_that_ends(begun: bool):
    async def script(call: Call) -> None:
        if begun:
            call.begin()
            await call.say(b"half of it")
        if len(call.connection.calls) == 3:
            await asyncio.sleep(0.02)
            call.connection.transport.abort()

    async with reach(script) as (made, reached):
        asked = await asyncio.gather(*(whole(reached) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in asked] == [UpstreamCut] * 3
        assert str(asked[0]).endswith("in the middle of its answer." if begun else "without an answer.")
        assert len(made.connections) == 1, "it may have computed, and may bill: nothing is asked again"


async def test_an_idle_connection_that_was_just_closed_is_made_anew():
    async def script(call: Call) -> None:
        if len(call.connection.calls) == 2:
            call.connection.transport.abort()
        else:
            await answers(call)

    async with reach(script) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        assert await whole(reached) == (200, b"ok")
        assert len(made.connections) == 2


VIOLATIONS = [
    # frames that no upstream may send: length, type, flags, stream, payload
    (b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x", "data without a stream"),
    (b"\x00\x00\x01\x00\x00\x00\x00\x00\x63x", "data of a stream that nobody opened"),
    (b"\x00\x00\x03\x03\x00\x00\x00\x00\x01abc", "a reset of the wrong size"),
    (b"\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff", "headers that are none"),
    (b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", "a frame that is too long"),
    (b"\x00\x00\x04\x08\x00\x00\x00\x00\x01\x00\x00\x00\x00", "a window that grows by nothing"),
    (b"HTTP/1.1 500 Oh\r\n\r\n", "another protocol"),
]


@pytest.mark.parametrize(("frames", "what"), VIOLATIONS, ids=[what for _, what in VIOLATIONS])
async def test_an_upstream_that_breaks_the_rules(frames: bytes, what: str):
    async def script(call: Call) -> None:
        if len(call.connection.upstream.connections) > 1:
            await answers(call)
            return
        call.connection.transport.write(frames)

    async with reach(script) as (made, reached):
        with pytest.raises((UpstreamGarbled, UpstreamCut)):
            await whole(reached)
        assert await whole(reached) == (200, b"ok")
        assert len(made.connections) == 2


async def test_what_was_whole_before_the_rules_were_broken_is_heard():
    """All in one read."""

    async def script(call: Call) -> None:
        h2 = call.connection.h2
        h2.send_headers(call.id, [(":status", "200")])
        h2.send_data(call.id, b"ok", end_stream=True)
        call.connection.transport.write(h2.data_to_send() + b"\xff" * 20)

    async with reach(script) as (_, reached):
        for _ in range(2):
            assert await whole(reached) == (200, b"ok")


@pytest.mark.parametrize("length", [1, 3])
async def test_an_answer_that_is_not_as_long_as_it_says(length: int):
    async def script(call: Call) -> None:
        call.begin(200, ("content-length", str(length)))
        await call.say(b"ok", end=True)

    async with reach(script) as (_, reached):
        with pytest.raises(UpstreamGarbled, match="breaks the rules of HTTP/2"):
            await whole(reached)


async def test_frames_in_single_bytes():
    async def script(call: Call) -> None:
        h2 = call.connection.h2
        h2.send_headers(call.id, [(":status", "200")])
        h2.send_data(call.id, b"ok", end_stream=True)
        for byte in h2.data_to_send():
            call.connection.transport.write(bytes([byte]))
            await asyncio.sleep(0.002)

    async with reach(script) as (_, reached):
        assert await whole(reached) == (200, b"ok")


# --------------------------------------------------------------------------------------------------------------- what is no HTTP/2


async def answers_in_http_1(caller: Caller) -> None:
    await caller.read(1_000)
    await caller.say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")


async def is_silent(caller: Caller) -> None:
    await caller.gone()


async def hangs_up(caller: Caller) -> None:
    await caller.read(10)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (answers_in_http_1, "does not speak HTTP/2: leave out http2 for it"),
        (is_silent, "does not speak HTTP/2: leave out http2 for it"),
        (hangs_up, "closed the connection before it spoke HTTP/2"),
    ],
)
async def test_upstreams_that_do_not_speak_it(script, words: str):
    async with upstream(script) as made, endpoint(made.url, connect_timeout_ms=300) as reached:
        asked = await asyncio.gather(*(whole(reached) for _ in range(5)), return_exceptions=True)
        assert {type(one) for one in asked} == {UpstreamUnreachable}
        assert all(words in str(one) for one in asked)
        assert made.connections == 1, "all of them waited for one attempt"


async def test_nobody_listens():
    async with endpoint("http://127.0.0.1:9") as reached:
        asked = await asyncio.gather(*(whole(reached) for _ in range(3)), return_exceptions=True)
        assert [str(one) for one in asked] == ["http://127.0.0.1:9 cannot be reached: Connection refused."] * 3


async def test_who_opens_the_connection_and_leaves():
    """Others wait for the same connection: one of them opens it then."""
    async with reach(answers) as (made, reached):
        first = asyncio.ensure_future(whole(reached))
        await asyncio.sleep(0)
        rest = [asyncio.ensure_future(whole(reached)) for _ in range(3)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*rest) == [(200, b"ok")] * 3
        assert len(made.connections) <= 2


async def test_who_waits_for_a_connection_and_leaves():
    async with reach(answers) as (made, reached):
        first = asyncio.ensure_future(whole(reached))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(whole(reached))
        await asyncio.sleep(0)
        second.cancel()
        assert await first == (200, b"ok")
        assert len(made.connections) == 1


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def test_with_tls(authority: Authority):
    shown = authority.server(alpn="h2")
    async with upstream_http2(answers, tls=shown) as made, endpoint(made.url, ca_file=str(authority.ca)) as reached:
        assert await asyncio.gather(*(whole(reached) for _ in range(10))) == [(200, b"ok")] * 10
        assert shown.session_stats()["accept_good"] == 1
        assert made.calls[0].headers[b":scheme"] == b"https"


@pytest.mark.parametrize("alpn", [None, "http/1.1"])
async def test_with_tls_but_without_http_2(authority: Authority, alpn: str | None):
    async with upstream(says(b""), tls=authority.server(alpn=alpn)) as made, endpoint(made.url, ca_file=str(authority.ca)) as reached:
        with pytest.raises(UpstreamUnreachable, match=r"does not offer HTTP/2: leave out http2|do not agree on TLS"):
            await whole(reached)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_through_a_proxy(authority: Authority, scheme: str):
    """Always through a tunnel. The upstream speaks at once, before its hearer is in place."""
    tls = authority.server(names="DNS:api.example", alpn="h2") if scheme == "https" else None
    settings = TransportSettings(http2=True, ca_file=str(authority.ca))
    async with upstream_http2(answers, tls=tls) as made, upstream(forwards_to(port_of_url(made.url))) as between:
        reached = Endpoint(f"{scheme}://api.example/v1", settings, asyncio.get_running_loop(), proxy=proxy_at(between))
        try:
            async with asyncio.timeout(5):
                for _ in range(3):
                    assert await whole(reached) == (200, b"ok")
        finally:
            reached.close()
        assert between.requests == [b"CONNECT api.example:%d HTTP/1.1\r\nhost: api.example:%d\r\n\r\n" % ((443 if tls else 80,) * 2)]


def port_of_url(url: str) -> int:
    return int(url.removesuffix("/v1").rpartition(":")[2])
