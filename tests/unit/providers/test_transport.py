"""The transport over real sockets: what upstreams do to connections, and what becomes of the answer."""

import asyncio
import socket
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamGarbled, UpstreamTimedOut, UpstreamUnreachable
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.transport import HEAD_BYTES_MAX, UNREAD_BYTES_MAX
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.upstream import OK, Caller, Upstream, says, says_once, upstream

ASK = [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n", b"{}"]
PATIENT_S = 5.0


@asynccontextmanager
async def endpoint(url: str, **settings: Any) -> AsyncGenerator[Endpoint, None]:
    made = Endpoint(url, TransportSettings(**settings), asyncio.get_running_loop())
    try:
        yield made
    finally:
        made.close()


@asynccontextmanager
async def reach(script, **settings: Any) -> AsyncGenerator[tuple[Upstream, Endpoint], None]:
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
    slow = b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 429 Slow\r\nRetry-After: \t3 \r\ncontent-length: 0\r\nempty:\r\nx: a: b\r\n\r\n"
    async with reach(says(slow)) as (_, reached), reached.exchange(ASK) as answer:
        heard = answer.headers
        assert (answer.status, heard) == (429, {b"retry-after": b"3", b"content-length": b"0", b"empty": b"", b"x": b"a: b"})
        assert await answer.whole() == b""


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
async def test_headers_after_the_body(size: int):
    said = b"HTTP/1.1 200 OK\r\nrequest-id: r1\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
    async with reach(says(said)) as (_, reached), reached.exchange(ASK) as answer:
        await answer.whole()
        assert answer.headers[b"request-id"] == b"r1"


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
    ([b"HTTP/1.1 099 OK\r\ncontent-length: 2\r\n\r\nok"], UpstreamFailed, "does not speak HTTP"),
    ([b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok"], UpstreamFailed, "does not speak HTTP"),
    ([b"RTSP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"], UpstreamFailed, "does not speak HTTP"),
    # once it has said that all is well, it may bill
    ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot hex"], UpstreamGarbled, "does not speak HTTP"),
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


async def test_a_chunk_that_only_python_can_read_does_not_pass_by():
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        await asyncio.sleep(0.05)
        await caller.say(b"0x2\r\nno\r\n")

    passed: list[bytes] = []

    def passes(chunk: bytes) -> bool:
        passed.append(chunk)
        return True

    async with reach(script) as (_, reached), reached.exchange(ASK) as answer:
        with pytest.raises(UpstreamGarbled, match="does not speak HTTP"):
            await answer.pour(passed.append, ScriptedListener(), passes)
    assert passed == [b"ok"]


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


async def drips(caller: Caller) -> None:
    await caller.request()
    await caller.say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        await caller.say(b"1\r\nx\r\n")
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_too_slow_in_all(streamed):
    async with reach(drips, between_bytes_timeout_ms=400, total_timeout_ms=900) as (made, reached):
        with pytest.raises(UpstreamTimedOut, match="was not done with its answer after 900 ms"):
            await (poured(reached) if streamed else whole(reached))
        await made.idle()


async def test_each_endpoint_has_its_own_patience():
    async def thinks(caller: Caller) -> None:
        await caller.request()
        await asyncio.sleep(1.0)
        await caller.say(OK)

    async with reach(thinks, first_byte_timeout_ms=100) as (_, hasty), reach(thinks, first_byte_timeout_ms=3_000) as (_, patient):
        asked = asyncio.gather(whole(hasty), whole(patient), return_exceptions=True)
        gave_up, answered = await asked
    assert isinstance(gave_up, UpstreamTimedOut)
    assert answered == (200, b"ok")


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


async def test_but_only_once():
    async def script(caller: Caller) -> None:
        await caller.request()
        if made.connections == 1:
            await caller.say(OK)
            await caller.request()

    async with reach(script) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        with pytest.raises(UpstreamCut, match="without an answer"):
            await whole(reached)
        assert made.connections == 2


async def test_but_not_when_it_has_begun_to_answer():
    async with reach(answers_once_then_breaks_off_the_second) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        with pytest.raises(UpstreamCut):
            await whole(reached)
        assert made.connections == 1


async def test_nor_when_it_has_thought_for_a_while():
    """What hangs up seconds after it was asked may have computed, and may bill: it was not just closing."""

    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(OK)
        await caller.request()
        await asyncio.sleep(1.6)

    async with reach(script) as (made, reached):
        assert await whole(reached) == (200, b"ok")
        with pytest.raises(UpstreamCut, match="without an answer"):
            await whole(reached)
        assert made.connections == 1


async def test_a_connection_that_was_idle_for_long_is_closed():
    async with reach(says(OK), idle_timeout_ms=500) as (made, reached):
        await asyncio.gather(*(whole(reached) for _ in range(3)))
        assert (made.connections, made.open) == (3, 3)
        for _ in range(7):
            await asyncio.sleep(0.2)
            assert await whole(reached) == (200, b"ok")
        assert (made.connections, made.open) == (3, 1), "only the one that was used lately is left"
        await made.idle()
        assert await whole(reached) == (200, b"ok")
        assert made.connections == 4


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

    async with reach(script) as (made, reached):
        for _ in range(3):
            assert await whole(reached) == (200, b"ok")
            await made.idle()


@pytest.mark.parametrize("more", [OK.replace(b"ok", b"no"), b"garbage", b"\r\n\r\ngarbage", b"x" * 300_000])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_what_comes_with_the_answer_is_not_part_of_it(more: bytes, streamed: bool):
    async with reach(says(OK + more)) as (made, reached):
        for _ in range(3):
            got = b"".join(await poured(reached)) if streamed else (await whole(reached))[1]
            assert got == b"ok"
        assert made.connections == 3, "who says more than was asked is not asked again on the same connection"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_what_comes_with_the_end_of_a_large_answer_is_not_part_of_it(streamed: bool):
    said = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + b"x" * 1_000_000 + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno"
    async with reach(says(said)) as (made, reached):
        for _ in range(3):
            got = b"".join(await poured(reached)) if streamed else (await whole(reached))[1]
            assert got == b"x" * 1_000_000
        assert made.connections == 3


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


async def test_an_upstream_that_reads_slowly_holds_up_nobody_else():
    """A large request goes out as the upstream takes it. It is held once, by who asks; nothing is copied while it waits."""
    size = 5_000_000
    begun, go_on = asyncio.Event(), asyncio.Event()
    taken = 0

    async def script(caller: Caller) -> None:
        nonlocal taken
        while piece := await caller.read(50_000):
            taken += len(piece)
            begun.set()
            if taken > 1_000_000:
                await go_on.wait()
            if taken > size:
                await caller.say(OK)
                return

    large = [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size, bytes(size)]

    async def asks(reached: Endpoint) -> tuple[int, bytes]:
        async with reached.exchange(large) as answer:
            return answer.status, await answer.whole()

    async with reach(script) as (_, slow), reach(says(OK)) as (_, quick), asyncio.TaskGroup() as tasks:
        tracemalloc.start()
        try:
            uploading = tasks.create_task(asks(slow))
            await begun.wait()
            for _ in range(50):
                assert await whole(quick) == (200, b"ok")
            await asyncio.sleep(0.1)
            _, held_most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert not uploading.done()
        assert held_most < size // 4
        go_on.set()
        assert await uploading == (200, b"ok")


async def test_an_answer_before_the_request_was_read():
    """Such as 413: it is heard, and the connection, on which the rest of the request is still under way, is not asked again."""
    refused = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"

    async def script(caller: Caller) -> None:
        await caller.read(1_000)
        await caller.say(refused)
        await asyncio.sleep(0.3)

    large = [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n", bytes(20_000_000)]
    async with reach(script) as (made, reached):
        for _ in range(2):
            async with reached.exchange(large) as answer:
                assert (answer.status, await answer.whole()) == (413, b"no")
        assert made.connections == 2


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


async def test_a_retired_endpoint_ends_with_its_last_answer():
    go_on = asyncio.Event()

    async def script(caller: Caller) -> None:
        while request := await caller.request():
            if b"slow" in request:
                await go_on.wait()
            await caller.say(OK)

    async with reach(script) as (made, reached), asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(reached.get("/slow"))
        await made.asked.wait()
        assert await whole(reached) == (200, b"ok")
        assert made.open == 2
        reached.retire()
        await asyncio.sleep(0.02)
        assert made.open == 1, "what was idle is closed, what is asked goes on"
        go_on.set()
        assert await slow == (200, b"ok")
        await made.idle()
        assert await whole(reached) == (200, b"ok"), "who comes too late is served all the same"
        await made.idle()


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
    ("unix:/run/engine.sock", "", b"localhost", "unix:/run/engine.sock"),
    ("unix:/run/engine.sock:/v1/", "/v1", b"localhost", "unix:/run/engine.sock"),
]


@pytest.mark.parametrize(("url", "path", "host", "origin"), ADDRESSES)
async def test_addresses(url, path, host, origin):
    async with endpoint(url) as reached:
        assert (reached.path, reached.host_header, reached.origin) == (path, host, origin)


NO_ADDRESSES = [
    ("10.0.0.1:8000/v1", "must start with"),
    ("ftp://x/v1", "must start with"),
    ("http:///v1", "must start with"),
    ("", "must start with"),
    ("unix:relative.sock", "must start with"),
    ("http://x:notaport/", "'http://x:notaport/' is not an endpoint: Port could not be cast"),
    ("http://x:99999/", "out of range"),
    ("http://[::1/v1", "is not an endpoint"),
    ("https://x/v1?api-version=2", "what follows its path is not sent"),
    ("https://x/v1#a", "what follows its path is not sent"),
    ("https://me:hunter2@x/v1", "'https://x/v1' is not an endpoint: a name and a password do not belong into an address"),
    ("ftp://me:hunter2@x/v1", "do not belong"),
    ("http://me:hunter2@x:notaport/", "'http://x:notaport/' is not an endpoint"),
]


@pytest.mark.parametrize(("url", "words"), NO_ADDRESSES)
async def test_what_is_no_address(url, words):
    with pytest.raises(ValueError, match="is not an endpoint") as failure:
        Endpoint(url, TransportSettings(), asyncio.get_running_loop())
    assert words in str(failure.value)
    assert "hunter2" not in str(failure.value)


async def test_a_socket_of_this_machine(tmp_path: Path):
    path = tmp_path / "engine.sock"
    async with upstream(says(OK), path=path) as made, endpoint(made.url) as reached:
        assert await reached.get("/models") == (200, b"ok")
        assert await whole(reached) == (200, b"ok")
        assert made.requests[0].startswith(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n")
        assert made.connections == 1


async def test_a_socket_that_nobody_serves(tmp_path: Path):
    async with endpoint(f"unix:{tmp_path}/none.sock:/v1") as reached:
        with pytest.raises(UpstreamUnreachable, match=rf"unix:{tmp_path}/none.sock cannot be reached: No such file"):
            await whole(reached)


WRONG = [
    {"connect_timeout_ms": 0},
    {"first_byte_timeout_ms": -1},
    {"between_bytes_timeout_ms": 0},
    {"idle_timeout_ms": 0},
    {"total_timeout_ms": -1},
    {"idle_connections_max": -1},
]


@pytest.mark.parametrize("wrong", WRONG)
def test_settings_have_bounds(wrong):
    with pytest.raises(ValueError, match="transport"):
        TransportSettings(**wrong)


def test_failures_are_the_upstreams():
    for kind in (UpstreamCut, UpstreamFailed, UpstreamTimedOut, UpstreamUnreachable):
        assert issubclass(kind, HeadraceError)
        assert kind.side.value == "upstream"
