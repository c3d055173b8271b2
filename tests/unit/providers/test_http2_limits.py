"""Exchanges over HTTP/2 that end before their answer does: what takes too long, what is full, and who leaves."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from headrace.core.errors import (
    UpstreamCut,
    UpstreamFailed,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.upstream_http2 import ASK, Call, Script, answers, poured, reach, whole

# --------------------------------------------------------------------------------------------------------------------------- time and room


async def silent(call: Call) -> None:
    await asyncio.sleep(60)


async def stops(call: Call) -> None:
    call.begin()
    await call.say(b"half of it")
    await asyncio.sleep(60)


async def drips(call: Call) -> None:
    call.begin()
    while True:
        await call.say(b"x")
        await asyncio.sleep(0.1)


TOO_SLOW = [
    (silent, {"first_byte_timeout_ms": 100}, "gave no answer in time"),
    (stops, {"between_bytes_timeout_ms": 100}, "stopped in the middle"),
    (drips, {"total_timeout_ms": 500}, "was not done with its answer after 500 ms"),
]


@pytest.mark.parametrize(("script", "settings", "words"), TOO_SLOW)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_too_slow(script: Script, settings: dict[str, Any], words: str, streamed: bool):
    async with reach(script, **settings) as (made, reached):
        with pytest.raises(UpstreamTimedOut, match=words):
            await (poured(reached) if streamed else whole(reached))
        await asyncio.sleep(0.05)
        assert made.calls[0].reset_code == ErrorCodes.CANCEL, "the upstream is told, and may stop"
        assert made.open == 1, "the others on the connection have nothing to do with it"


async def test_a_machine_that_is_gone():
    """It neither answers nor closes: the connection would swallow every new exchange, so it is given up."""

    async def script(call: Call) -> None:
        if len(call.connection.upstream.connections) == 1:
            call.connection.transport.pause_reading()
        else:
            await answers(call)

    async with reach(script, connect_timeout_ms=100) as (made, reached):
        with pytest.raises(UpstreamTimedOut, match="shows no sign of life"):
            await whole(reached)
        assert await whole(reached) == (200, b"ok")
        assert len(made.connections) == 2
        made.connections[0].transport.abort()


async def test_a_machine_that_thinks_is_not_gone():
    async def script(call: Call) -> None:
        await asyncio.sleep(2.0)
        await call.answer()

    async with reach(script, connect_timeout_ms=100) as (_, reached):
        assert await whole(reached) == (200, b"ok")


async def test_a_full_connection_is_not_the_last():
    async def script(call: Call) -> None:
        await asyncio.sleep(0.2)
        await answers(call)

    async with reach(script, limits={SettingCodes.MAX_CONCURRENT_STREAMS: 2}) as (made, reached):
        assert await asyncio.gather(*(whole(reached) for _ in range(6))) == [(200, b"ok")] * 6
        assert len(made.connections) == 3
        assert await asyncio.gather(*(whole(reached) for _ in range(6))) == [(200, b"ok")] * 6
        assert len(made.connections) == 3


async def test_an_upstream_that_lets_nobody_ask():
    async with reach(answers, limits={SettingCodes.MAX_CONCURRENT_STREAMS: 0}) as (made, reached):
        with pytest.raises(UpstreamUnreachable, match="lets nobody ask anything"):
            await whole(reached)
        await made.idle()


async def test_a_connection_that_was_idle_for_long_is_closed():
    async with reach(answers, idle_timeout_ms=400) as (made, reached):
        for _ in range(5):
            assert await whole(reached) == (200, b"ok")
            await asyncio.sleep(0.2)
        assert len(made.connections) == 1
        await made.idle()
        assert await whole(reached) == (200, b"ok")


# ------------------------------------------------------------------------------------------------------------------------------- leaving


@pytest.mark.parametrize("script", [silent, stops, drips])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_who_leaves_ends_the_stream_alone(script: Script, streamed: bool):
    async with reach(script) as (made, reached):
        asking = asyncio.ensure_future(poured(reached) if streamed else whole(reached))
        await made.asked.wait()
        await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.wait_for(made.calls[0].reset.wait(), 1)
        assert made.calls[0].reset_code == ErrorCodes.CANCEL
        assert made.open == 1


async def test_what_the_hearer_raises_is_raised_and_ends_the_stream():
    def take(piece: bytes) -> None:
        raise UpstreamFailed("the upstream reported an error")

    async with reach(stops) as (made, reached):
        async with reached.exchange(ASK) as answer:
            with pytest.raises(UpstreamFailed, match="reported"):
                await answer.pour(take, ScriptedListener())
        await asyncio.wait_for(made.calls[0].reset.wait(), 1)


async def test_an_answer_that_is_not_read_is_ended():
    async def script(call: Call) -> None:
        await call.answer(bytes(1_000_000))

    async with reach(script) as (made, reached):
        for _ in range(100):
            async with reached.exchange(ASK) as answer:
                assert answer.status == 200
        assert len(made.connections) == 1, "what is not read is given back to the connection"


async def test_a_retired_endpoint_ends_with_its_last_answer():
    go_on = asyncio.Event()

    async def script(call: Call) -> None:
        await go_on.wait()
        await call.answer()

    async with reach(script) as (made, reached), asyncio.TaskGroup() as tasks:
        slow = tasks.create_task(whole(reached))
        await made.asked.wait()
        reached.retire()
        await asyncio.sleep(0.02)
        assert made.open == 1
        go_on.set()
        assert await slow == (200, b"ok")
        await made.idle()
        assert await whole(reached) == (200, b"ok"), "who comes too late is served all the same"
        reached.retire()
        await made.idle()


async def test_closing_ends_everything():
    async with reach(stops) as (made, reached):
        asking = asyncio.ensure_future(whole(reached))
        await made.asked.wait()
        await asyncio.sleep(0.02)
        reached.close()
        with pytest.raises(UpstreamCut):
            await asking
        await made.idle()


async def test_without_the_library(tmp_path: Path):
    """Where the extra is not installed, the settings are refused in words that say what to do."""
    program = (
        "import sys, asyncio\n"
        "sys.modules['h2'] = None\n"
        "from headrace.providers import Endpoint, TransportSettings\n"
        "async def main():\n"
        "    loop = asyncio.get_running_loop()\n"
        "    Endpoint('http://x/v1', TransportSettings(), loop)\n"
        "    try:\n"
        "        Endpoint('http://x/v1', TransportSettings(http2=True), loop)\n"
        "    except ValueError as wrong:\n"
        "        print(wrong)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert said.decode() == "http2 needs a package that is not installed (h2): pip install 'headrace[http2]'\n"
