"""The transport over real sockets: what upstreams do to connections, and what becomes of the answer."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamTimedOut, UpstreamUnreachable
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.transport import HEAD_BYTES_MAX, UNREAD_BYTES_MAX
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.upstream import OK, Caller, Upstream, says, says_once, upstream

ASK = [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n", b"{}"]
PATIENT_S = 3.0


@asynccontextmanager
async def endpoint(url: str, **settings: int) -> AsyncGenerator[Endpoint, None]:
    made = Endpoint(url, TransportSettings(**settings), asyncio.get_running_loop())
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def reach(script, **settings: int) -> AsyncGenerator[tuple[Upstream, Endpoint], None]:
    """An upstream, and an endpoint that is closed before it: so that a connection left open would be noticed."""
    async with asyncio.timeout(PATIENT_S), upstream(script) as made, endpoint(made.url, **settings) as reached:
        yield made, reached


async def whole(reached: Endpoint) -> tuple[int, bytes]:
    async with reached.exchange(ASK) as answer:
        return answer.status, await answer.whole()


async def poured(reached: Endpoint, gate: ScriptedListener | None = None) -> list[bytes]:
    pieces: list[bytes] = []
    async with reached.exchange(ASK) as answer:
        await answer.pour(pieces.append, gate or ScriptedListener())
    return pieces


# ---------------------------------------------------------------------------------------------------------------------- what is heard

BODIES = [
    # how the upstream says it, what is heard, is the connection kept
    ([OK], b"ok", True),
    ([b"HTTP/1.1 200 OK\r\n", b"content-length: 2\r\n\r\n", b"o", b"k"], b"ok", True),
    ([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], b"", True),
    ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\no\r\n", b"1\r\nk\r\n0\r\n\r\n"], b"ok", True),
    ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"], b"ok", True),
    ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-trailer: 1\r\n\r\n"], b"ok", True),
    ([b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"], b"ok", False),
    ([b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"], b"ok", False),
    ([b"HTTP/1.1 100 Continue\r\n\r\n", OK], b"ok", True),
    ([b"HTTP/1.1 102 Processing\r\nx: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + OK], b"ok", True),
]


@pytest.mark.parametrize(("parts", "heard", "kept"), BODIES)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_bodies(parts, heard, kept, streamed):
    async with reach(says(*parts)) as (made, reached):
        for _ in range(3):
            got = b"".join(await poured(reached)) if streamed else (await whole(reached))[1]
            assert got == heard
        assert made.connections == (1 if kept else 3)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_a_body_that_ends_with_its_connection(streamed):
    async with reach(says_once(b"HTTP/1.1 200 OK\r\n\r\n", b"o", b"k")) as (made, reached):
        for _ in range(2):
            got = b"".join(await poured(reached)) if streamed else (await whole(reached))[1]
            assert got == b"ok"
        assert made.connections == 2


async def test_status_and_headers():
    slow = b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 429 Slow\r\nRetry-After: 3\r\ncontent-length: 0\r\n\r\n"
    async with reach(says(slow)) as (_, reached), reached.exchange(ASK) as answer:
        assert (answer.status, dict(answer.headers)) == (429, {b"retry-after": b"3", b"content-length": b"0"})
        assert await answer.whole() == b""


async def test_what_is_asked_arrives():
    async with reach(says(OK)) as (made, reached):
        await whole(reached)
        await whole(reached)
        assert made.requests == [b"".join(ASK)] * 2


@pytest.mark.parametrize("size", [UNREAD_BYTES_MAX // 2, UNREAD_BYTES_MAX * 2, 3_000_000])
async def test_a_large_answer_leaves_its_connection_usable(size: int):
    body = bytes(size)
    async with reach(says(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + body), between_bytes_timeout_ms=500) as (made, reached):
        for _ in range(4):
            assert (await whole(reached))[1] == body
        assert made.connections == 1


# ----------------------------------------------------------------------------------------------------------------------- what goes wrong

BROKEN = [
    # what the upstream says before it hangs up
    ([b""], UpstreamCut, "without an answer"),
    ([b"HTTP/1.1 200 OK\r\ncontent-le"], UpstreamCut, "in the middle"),
    ([b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok"], UpstreamCut, "in the middle"),
    ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nok"], UpstreamCut, "in the middle"),
    ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"], UpstreamCut, "in the middle"),
    ([b"HTTP/1.1 100 Continue\r\n\r\n"], UpstreamCut, "in the middle"),
    ([b"SSH-2.0-OpenSSH_9.6\r\n"], UpstreamFailed, "does not speak HTTP"),
    ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot hex"], UpstreamFailed, "does not speak HTTP"),
    ([b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"], UpstreamFailed, "does not speak HTTP"),
    ([b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * (HEAD_BYTES_MAX + 10), b"z"], UpstreamFailed, "headers of over"),
    ([b"HTTP/1.1 100 Continue\r\n\r\n" * (HEAD_BYTES_MAX // 20)], UpstreamFailed, "headers of over"),
]


@pytest.mark.parametrize(("parts", "kind", "words"), BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_broken_answers(parts, kind, words, streamed):
    async with reach(says_once(*parts)) as (made, reached):
        with pytest.raises(kind, match=words) as failure:
            await (poured(reached) if streamed else whole(reached))
        assert type(failure.value) is kind
        assert made.connections == 1, "an answer that broke is not asked for again: it may be billed already"


async def test_a_body_that_ends_with_its_connection_does_not_end_with_a_reset():
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        await asyncio.sleep(0.05)
        caller.reset()

    async with reach(script) as (_, reached):
        with pytest.raises(UpstreamCut):
            await poured(reached)


async def test_a_connection_that_is_closed_as_soon_as_it_is_made():
    async def script(caller: Caller) -> None:
        caller.reset()

    async with reach(script) as (_, reached):
        for _ in range(20):
            with pytest.raises((UpstreamCut, UpstreamUnreachable)):
                await whole(reached)


async def test_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with endpoint(f"http://127.0.0.1:{port}") as reached:
        with pytest.raises(UpstreamUnreachable, match=f"http://127.0.0.1:{port} cannot be reached: "):
            await whole(reached)


async def test_a_name_that_is_none():
    async with endpoint("http://no-such-host.invalid") as reached:
        with pytest.raises(UpstreamUnreachable, match="cannot be reached"):
            await whole(reached)


async def test_a_connection_that_is_never_accepted():
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        await asyncio.sleep(0.05)
        async with endpoint(f"http://127.0.0.1:{full.getsockname()[1]}", connect_timeout_ms=100) as reached:
            with pytest.raises(UpstreamUnreachable, match="did not accept a connection within 100 ms"):
                await whole(reached)


async def silent(caller: Caller) -> None:
    await caller.request()
    await caller.gone()


async def stops(caller: Caller) -> None:
    await caller.request()
    await caller.say(b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok")
    await caller.gone()


async def stops_without_a_length(caller: Caller) -> None:
    await caller.request()
    await caller.say(b"HTTP/1.1 200 OK\r\n\r\nok")
    await caller.gone()


SLOW: list[tuple[Callable[[Caller], object], str]] = [
    (silent, "gave no answer in time"),
    (stops, "stopped in the middle"),
    (stops_without_a_length, "stopped in the middle"),
]


@pytest.mark.parametrize(("script", "words"), SLOW)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_too_slow(script, words, streamed):
    async with reach(script, first_byte_timeout_ms=50, between_bytes_timeout_ms=50) as (made, reached):
        with pytest.raises(UpstreamTimedOut, match=words):
            await (poured(reached) if streamed else whole(reached))
        await made.idle()
        assert made.connections == 1


# -------------------------------------------------------------------------------------------------------------------- kept connections


async def answers_once_then_hangs_up_on_the_second(caller: Caller) -> None:
    await caller.request()
    await caller.say(OK)
    await caller.request()


async def answers_once_then_breaks_off_the_second(caller: Caller) -> None:
    await caller.request()
    await caller.say(OK)
    await caller.request()
    await caller.say(b"HTTP/1.1 2")


async def test_an_idle_connection_that_was_just_closed_is_made_anew():
    async with reach(answers_once_then_hangs_up_on_the_second) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        assert await whole(reached) == (200, b"ok")
        assert made.connections == 2


async def test_but_not_when_it_has_begun_to_answer():
    async with reach(answers_once_then_breaks_off_the_second) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        with pytest.raises(UpstreamCut):
            await whole(reached)
        assert made.connections == 1


async def test_an_idle_connection_that_the_upstream_closed_is_forgotten():
    async with reach(says_once(OK)) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        await made.idle()
        await asyncio.sleep(0.01)
        assert await whole(reached) == (200, b"ok")
        assert made.connections == 2


async def test_no_more_idle_connections_than_wanted():
    async with reach(says(OK), idle_connections_max=1) as (made, reached):
        await asyncio.gather(*(whole(reached) for _ in range(5)))
        assert made.connections == 5
        await asyncio.sleep(0.02)
        assert made.open == 1


async def test_words_that_nobody_asked_for_do_not_become_the_next_answer():
    async def script(caller: Caller) -> None:
        while await caller.request():
            await caller.say(OK, OK.replace(b"ok", b"no"))

    async with reach(script) as (_, reached):
        for _ in range(3):
            assert await whole(reached) == (200, b"ok")
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("more", [OK.replace(b"ok", b"no"), b"garbage", b"\r\n\r\ngarbage"])
async def test_what_comes_with_the_answer_is_not_part_of_it(more: bytes):
    async with reach(says(OK + more)) as (_, reached):
        for _ in range(3):
            try:
                assert await whole(reached) == (200, b"ok")
            except UpstreamFailed:
                continue


# ------------------------------------------------------------------------------------------------------------------ slow, and leaving


async def test_an_upstream_waits_for_a_slow_client():
    said = 0

    async def script(caller: Caller) -> None:
        nonlocal said
        await caller.request()
        await caller.say(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % 64_000_000)
        for _ in range(64):
            await caller.say(bytes(1_000_000))
            said += 1_000_000

    slow = ScriptedListener()
    taken, begun = 0, asyncio.Event()

    def take(piece: bytes) -> None:
        nonlocal taken
        taken += len(piece)
        begun.set()
        slow.stall()

    async with reach(script, between_bytes_timeout_ms=200) as (_, reached), reached.exchange(ASK) as answer, asyncio.TaskGroup() as tasks:
        pouring = tasks.create_task(answer.pour(take, slow))
        await begun.wait()
        await asyncio.sleep(0.6)
        stood_at = taken, said
        assert taken <= 2 * UNREAD_BYTES_MAX
        assert said < 32_000_000, "sockets hold some of it, but never the most"
        await asyncio.sleep(0.1)
        assert (taken, said) == stood_at
        assert not pouring.done(), "a slow client is not the upstream's failure"
        slow.flow()
        await asyncio.sleep(0.02)
        assert taken > stood_at[0]
        pouring.cancel()


async def test_the_clients_slowness_does_not_count_against_the_upstream():
    go_on = asyncio.Event()

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
        await go_on.wait()
        await asyncio.sleep(0.35)
        await caller.say(b"lf")
        await caller.gone()

    slow = ScriptedListener()
    slow.stall()
    pieces: list[bytes] = []
    async with reach(script, between_bytes_timeout_ms=700) as (_, reached), reached.exchange(ASK) as answer, asyncio.TaskGroup() as tasks:
        tasks.create_task(answer.pour(pieces.append, slow))
        await asyncio.sleep(1.0)
        slow.flow()
        go_on.set()
    assert b"".join(pieces) == b"half"


async def test_a_connection_whose_client_was_slow_to_the_end_is_usable():
    """The whole answer came with its head, and the client was behind: the next request on the connection is heard all the same."""
    slow = ScriptedListener()
    slow.stall()
    async with reach(says(OK), first_byte_timeout_ms=500) as (_, reached):
        async with reached.exchange(ASK) as answer:
            await asyncio.sleep(0.02)
            pour = asyncio.ensure_future(answer.pour(lambda piece: None, slow))
            await asyncio.sleep(0.02)
            slow.flow()
            await pour
        assert await whole(reached) == (200, b"ok")


async def test_what_the_hearer_raises_is_raised_and_hangs_up():
    def take(piece: bytes) -> None:
        raise UpstreamFailed("the upstream reported an error")

    async with reach(stops) as (made, reached):
        async with reached.exchange(ASK) as answer:
            with pytest.raises(UpstreamFailed, match="reported"):
                await answer.pour(take, ScriptedListener())
        await made.idle()


@pytest.mark.parametrize("script", [silent, stops])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_who_leaves_hangs_up(script, streamed):
    async with reach(script) as (made, reached):
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(poured(reached) if streamed else whole(reached))
            await made.asked.wait()
            await asyncio.sleep(0.02)
            asking.cancel()
        await made.idle()


async def test_an_answer_that_is_not_read_hangs_up():
    async with reach(says(OK)) as (made, reached):
        async with reached.exchange(ASK) as answer:
            assert answer.status == 200
        await made.idle()
        assert await whole(reached) == (200, b"ok")


async def test_nothing_is_left_behind():
    before = asyncio.all_tasks()
    async with reach(says(OK)) as (made, reached):
        await asyncio.gather(*(whole(reached) for _ in range(20)))
        serving = made.open
        assert len(asyncio.all_tasks() - before) == serving, "only the upstream's own tasks"
        reached.close()
        await made.idle()


# --------------------------------------------------------------------------------------------------------------------------- settings

ADDRESSES = [
    ("http://10.0.0.1:8000/v1", "/v1", b"10.0.0.1:8000", "http://10.0.0.1:8000"),
    ("http://vllm/v1/", "/v1", b"vllm", "http://vllm"),
    ("https://api.example.com", "", b"api.example.com", "https://api.example.com"),
    ("http://[::1]:8000/v1", "/v1", b"[::1]:8000", "http://[::1]:8000"),
]


@pytest.mark.parametrize(("url", "path", "host", "origin"), ADDRESSES)
async def test_addresses(url, path, host, origin):
    async with endpoint(url) as reached:
        assert (reached.path, reached.host_header, reached.origin) == (path, host, origin)


@pytest.mark.parametrize("url", ["10.0.0.1:8000/v1", "ftp://x/v1", "http:///v1", "", "unix:/run/x"])
async def test_what_is_no_address(url):
    with pytest.raises(ValueError, match="is not an endpoint"):
        Endpoint(url, TransportSettings(), asyncio.get_running_loop())


@pytest.mark.parametrize(
    "wrong",
    [{"connect_timeout_ms": 0}, {"first_byte_timeout_ms": -1}, {"between_bytes_timeout_ms": 0}, {"idle_connections_max": -1}],
)
def test_settings_have_bounds(wrong):
    with pytest.raises(ValueError, match="transport"):
        TransportSettings(**wrong)


def test_failures_are_the_upstreams():
    for kind in (UpstreamCut, UpstreamFailed, UpstreamTimedOut, UpstreamUnreachable):
        assert issubclass(kind, HeadraceError)
        assert kind.side.value == "upstream"
