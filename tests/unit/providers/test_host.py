"""A provider behind a host's socket, by the suite that all adapters share, and what becomes of it when either side is gone."""

import asyncio
import inspect
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import errors
from headrace.core.ask import Ask
from headrace.core.errors import (
    ContextLengthExceeded,
    EngineFailed,
    HeadraceError,
    InternalFailure,
    ModelNotFound,
    NotReady,
    QueueFull,
    RateLimited,
    RequestNotFound,
    SetupError,
    UpstreamOverloaded,
    UpstreamRefused,
)
from headrace.core.rules import Rules
from headrace.core.stream import Finished, Reasoning, Said, Text, TokenLogprob, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.translation import Change
from headrace.core.usage import NOTHING, Usage
from headrace.engine import EngineStatus
from headrace.engine.frames import Splitter, frame
from headrace.providers import Hearer, Provider
from headrace.providers.adapters.hosted import HostedEngine, HostedProvider
from headrace.providers.host import Asked, Done, Failed, FromHost, Left, ProviderHost, Spent, Spoke
from headrace.testing.builders import an_ask
from headrace.testing.providers import SOON_S, check_failure, check_leaving, check_provider, check_waiting
from headrace.testing.scripted import Pause, ScriptedListener, ScriptedProvider, Silence, Step
from headrace.testing.scripted import Spent as Spend

HI, END, USED = Text("hi"), Finished("stop"), Used(Usage(10, output=2), "its")
STATUS = EngineStatus(
    ready=True, running=1, waiting=2, kv_use=0.25, tokens_in=3, tokens_cached=4, tokens_out=5,
    answered=6, failed=7, left=8, refused=9, restarts=10, worker_pid=11, rss_bytes=1 << 40,
)  # fmt: skip


class Hosted:
    """A host with its socket, and a client of it in the same process."""

    def __init__(self, host: ProviderHost, path: Path) -> None:
        self.host, self.path, self.client = host, path, HostedProvider(path)


@asynccontextmanager
async def hosting(folder: Path, provider: Provider, status: Callable[[], EngineStatus] | None = None) -> AsyncGenerator[Hosted, None]:
    path = folder / "h.sock"
    host = ProviderHost(provider, path, status)
    async with asyncio.timeout(2 * SOON_S):
        await host.start()
        hosted = Hosted(host, path)
        try:
            yield hosted
        finally:
            hosted.client.close()
            await host.close()


async def reaches(look: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not look():  # noqa: ASYNC110 -- another task's state is looked at; there is no event
            await asyncio.sleep(0.001)


def idle(provider: ScriptedProvider) -> Callable[[], Awaitable[None]]:
    return lambda: reaches(lambda: not provider.running)


# An answer to its end.

LOGPROBS = (TokenLogprob("é", -0.5, (("e", -1.5), ("é", -0.5))),)
ANSWERS: list[list[Step]] = [
    [HI, END, USED],
    [Verbatim(b"data: \xff\n\n"), USED, Verbatim(b"data: [DONE]\n\n")],
    [
        Pause(3),
        HI,
        Pause(),
        Text("é\U0001f99c", 1, (TokenLogprob("é", -0.5, (("e", -1.5), ("é", -0.5))),)),
        END,
        Finished("length", 1),
        USED,
    ],
    [Reasoning("hm", 0, "signature", "redacted", "acme"), ToolCallBegun(0, "c", "f"), ToolCallArguments(0, "{}"), END, USED],
    [Spend(Usage(10, 1, output=1)), HI, Spend(Usage(10, output=2)), END, USED],
]


@pytest.mark.parametrize("steps", ANSWERS)
async def test_an_answer(tmp_path: Path, steps: list[Step]):
    async with hosting(tmp_path, ScriptedProvider(*steps)) as hosted:
        said = await check_provider(hosted.client, an_ask())
        assert said == [step for step in steps if not isinstance(step, Pause | Spend)]
        assert await check_provider(hosted.client, an_ask()) == said
        assert hosted.host.connections == 1, "the connection was used again"


async def test_a_whole_answer_larger_than_any_buffer(tmp_path: Path):
    vectors = Verbatim(os.urandom(20_000_000))
    async with hosting(tmp_path, ScriptedProvider(Used(Usage(9)), vectors)) as hosted:
        said = await check_provider(hosted.client, an_ask(operation="embeddings", stream=False, tokens_out_max=0))
    assert said == [Used(Usage(9)), vectors]


async def test_the_ask_comes_across_as_it_is(tmp_path: Path):
    rules = Rules(names=("r",), jurisdictions=frozenset({"eu", "de"}), vendors_denied=frozenset({"acme"}), zero_retention=True)
    asks = [
        an_ask(),
        an_ask(rules=rules, needs=["tools", "images"], affinity=2**63, deadline=2**62, strict=True, body=b"\x00\xff" * 2_000_000),
    ]
    provider = ScriptedProvider(HI, END, USED)
    async with hosting(tmp_path, provider) as hosted:
        for ask in asks:
            await check_provider(hosted.client, ask)
    assert provider.asked == asks
    assert type(provider.asked[1].needs) is frozenset


async def test_translations_are_told_before_anything_is_said(tmp_path: Path):
    class Translating(ScriptedProvider):
        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            hearer.translated((Change("dropped", "seed", "it has none"), Change("changed", "stop", "four at most")))
            await super().answer(ask, hearer)

    listener = ScriptedListener(lambda _: told.append(listener.changes))
    told: list[tuple[Change, ...]] = []
    async with hosting(tmp_path, Translating(HI, END, USED)) as hosted:
        await hosted.client.answer(an_ask(), listener)
    assert told == [(Change("dropped", "seed", "it has none"), Change("changed", "stop", "four at most"))] * 3


async def test_what_was_used_is_known_whenever_something_is_said(tmp_path: Path):
    class Estimating(ScriptedProvider):
        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            hearer.usage_likely = Usage(7)
            await super().answer(ask, hearer)

    listener = ScriptedListener(lambda _: known.append((listener.usage, listener.usage_likely)))
    known: list[tuple[Usage | None, Usage | None]] = []
    steps = (HI, Spend(Usage(8, output=1)), HI, HI, END, USED, Spend(Usage(10, output=2)))
    async with hosting(tmp_path, Estimating(*steps)) as hosted:
        await hosted.client.answer(an_ask(), listener)
    likely = Usage(7)
    assert known == [(None, likely)] + [(Usage(8, output=1), likely)] * 4
    assert listener.usage == Usage(10, output=2), "what the provider told after the last word comes with the end"


async def test_many_at_once_hear_their_own(tmp_path: Path):
    class Echo(ScriptedProvider):
        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            for _ in range(3):
                hearer.hear(Text(ask.request))
                await asyncio.sleep(0)
            await super().answer(ask, hearer)

    async with hosting(tmp_path, Echo(END, USED)) as hosted:
        client = HostedProvider(hosted.path, idle_connections_max=4)
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(check_provider(client, an_ask(request=f"req_{at}"))) for at in range(100)]
        for at, answer in enumerate(answers):
            assert answer.result() == [Text(f"req_{at}")] * 3 + [END, USED]
        await reaches(lambda: hosted.host.connections == 4)
        client.close()
        await reaches(lambda: not hosted.host.connections)


async def test_probes_and_answers_share_a_connection(tmp_path: Path):
    async with hosting(tmp_path, ScriptedProvider(HI, END, USED), lambda: STATUS) as hosted:
        await hosted.client.probe()
        assert await hosted.client.status() == STATUS
        await check_provider(hosted.client, an_ask())
        assert hosted.host.connections == 1
    async with hosting(tmp_path, ScriptedProvider(QueueFull("full", retry_after_ms=3))) as hosted:
        with pytest.raises(QueueFull, match="full"):
            await hosted.client.probe()
        assert await hosted.client.status() is None


# Clients who are slow, and clients who leave.


async def test_who_must_wait_is_told_nothing(tmp_path: Path):
    async with hosting(tmp_path, ScriptedProvider(HI, END, USED)) as hosted:
        await check_waiting(hosted.client, an_ask())


class Talker(ScriptedProvider):
    """Says `count` texts of 10 kB as fast as it may; `said` is how many it has."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count, self.said = count, 0

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        for at in range(self._count):
            hearer.usage = Usage(5, output=at + 1)
            hearer.hear(Text(f"{at:010000}"))
            self.said += 1
            if hearer.gate.must_wait:
                await hearer.gate.drained()
        hearer.hear(END)
        hearer.hear(Used(Usage(5, output=self._count)))


async def stands_still(talker: Talker) -> None:
    """Until it says no more."""
    seen = -1
    while talker.said != seen:
        seen = talker.said
        await asyncio.sleep(0.1)


async def test_a_client_who_stalls_makes_the_provider_wait(tmp_path: Path):
    talker, listener = Talker(2_000), ScriptedListener(lambda count: listener.stall() if count in (1, 1_000) else None)
    async with hosting(tmp_path, talker) as hosted, asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(hosted.client.answer(an_ask(), listener))
        for heard in (1, 1_000):
            await listener.heard_at_least(heard)
            await stands_still(talker)
            assert len(listener.heard) == heard
            assert talker.said - heard < 200, "2 MB of 20 are held between the two at most"
            listener.flow()
        await answer
    assert listener.heard == [*(Text(f"{at:010000}") for at in range(2_000)), END, Used(Usage(5, output=2_000))]


async def test_a_client_who_stalls_and_leaves(tmp_path: Path):
    talker, listener = Talker(100_000), ScriptedListener(lambda count: listener.stall() if count == 1 else None)
    async with hosting(tmp_path, talker) as hosted:
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(hosted.client.answer(an_ask(), listener))
            await listener.heard_at_least(1)
            await stands_still(talker)
            answer.cancel()
        assert len(listener.heard) == 1, "who has left is told nothing"
        assert listener.usage == Usage(5, output=talker.said), "and pays what was made, heard or not"
        await reaches(lambda: not hosted.host.connections)


async def test_a_client_who_leaves(tmp_path: Path):
    provider = ScriptedProvider(HI, Silence())
    async with hosting(tmp_path, provider) as hosted:
        await check_leaving(hosted.client, an_ask(), after=1, stopped=idle(provider))
    assert provider.stopped == 1


@pytest.mark.parametrize("steps", [(Spend(Usage(3, output=1)), HI, Silence()), (HI, Spend(Usage(3, output=1)), Silence())])
async def test_who_leaves_learns_what_was_used(tmp_path: Path, steps: tuple[Step, ...]):
    """Also what the provider knew and had not said anything after."""
    provider = ScriptedProvider(*steps)
    async with hosting(tmp_path, provider) as hosted:
        await check_leaving(hosted.client, an_ask(), after=1, stopped=idle(provider), knows_usage=True)


async def test_who_leaves_before_anything_is_said(tmp_path: Path):
    class Reading(ScriptedProvider):
        """As the embedded engine: it knows what was used, and tells when it ends."""

        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            try:
                await super().answer(ask, hearer)
            finally:
                hearer.usage = Usage(4)

    provider, listener = Reading(Silence()), ScriptedListener()
    async with hosting(tmp_path, provider) as hosted, asyncio.TaskGroup() as tasks:
        for turns in range(12):  # while it connects, when it has just asked, while it waits
            answer = tasks.create_task(hosted.client.answer(an_ask(), listener))
            for _ in range(turns):
                await asyncio.sleep(0)
            answer.cancel()
            await asyncio.wait([answer])
            assert answer.cancelled()
            assert listener.usage in ((None, NOTHING) if not turns else (NOTHING, Usage(4))), "what was used is known at every moment"
            await reaches(lambda: not provider.running and not hosted.host.connections)
        answer = tasks.create_task(hosted.client.answer(an_ask(), listener))
        await reaches(lambda: bool(provider.running))
        answer.cancel()
    assert listener.usage == Usage(4)


async def test_who_leaves_a_host_that_hangs_is_free_soon(tmp_path: Path):
    class Stubborn(ScriptedProvider):
        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            hearer.usage = Usage(3)
            hearer.hear(HI)
            try:
                await asyncio.sleep(3_600)
            finally:
                await released.wait()

    released, listener = asyncio.Event(), ScriptedListener()
    async with hosting(tmp_path, Stubborn()) as hosted:
        async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(hosted.client.answer(an_ask(), listener))
            await listener.heard_at_least(1)
            answer.cancel()
        assert listener.usage == Usage(3), "what was told stays"
        released.set()


async def test_a_hearer_who_breaks(tmp_path: Path):
    def breaks(count: int) -> None:
        raise RuntimeError("I can't hear this")

    provider = ScriptedProvider(HI, Silence())
    async with hosting(tmp_path, provider) as hosted:
        with pytest.raises(RuntimeError, match="can't hear"):
            await hosted.client.answer(an_ask(), ScriptedListener(breaks))
        await reaches(lambda: provider.stopped == 1 and not hosted.host.connections)


@pytest.mark.parametrize("way", ["closed", "half closed at once", "reset"])
async def test_a_client_whose_process_ends(tmp_path: Path, way: str):
    provider = ScriptedProvider(*[HI] * 100, Silence())
    async with hosting(tmp_path, provider) as hosted:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(hosted.path))
            client.sendall(frame(msgspec.msgpack.encode(Asked(an_ask()))))
            if way == "half closed at once":
                client.shutdown(socket.SHUT_WR)
            else:
                await reaches(lambda: bool(provider.running))
            if way == "closed":
                await asyncio.get_running_loop().run_in_executor(None, client.recv, 1)
        await reaches(lambda: not provider.running and not hosted.host.connections)
        assert provider.stopped == len(provider.asked)


@pytest.mark.parametrize("turns", range(4))
async def test_a_client_who_leaves_as_the_answer_ends(tmp_path: Path, turns: int):
    """Whether it is the end of the answer or the farewell that is told: it is told, and then nobody is connected any more."""

    class Last(ScriptedProvider):
        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            writer.write_eof()
            for _ in range(turns):
                await asyncio.sleep(0)

    async with hosting(tmp_path, Last()) as hosted:
        reader, writer = await asyncio.open_unix_connection(hosted.path)
        writer.write(frame(msgspec.msgpack.encode(Asked(an_ask()))))
        (end,) = Splitter().feed(await reader.read())
        assert isinstance(msgspec.msgpack.decode(end, type=FromHost), Done | Left)
        writer.close()
        await reaches(lambda: not hosted.host.connections)


# Failures.

FAILURES: list[HeadraceError] = [
    UpstreamOverloaded("busy", retry_after_ms=5),
    ContextLengthExceeded("too long", param="messages[3]"),
    ModelNotFound("gpt-9"),
    RequestNotFound("req_9"),
    UpstreamRefused("no", status=422, body=b'{"error": "\xff"}'),
    QueueFull("full"),
    SetupError("never"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.code)
async def test_a_failure_is_raised_again(tmp_path: Path, failure: HeadraceError):
    async with hosting(tmp_path, ScriptedProvider(failure)) as hosted:
        found = await check_failure(hosted.client, an_ask(), type(failure))
        assert (type(found), str(found), vars(found)) == (type(failure), str(failure), vars(failure))
        assert found is not failure
        await check_failure(hosted.client, an_ask(), type(failure))
        assert hosted.host.connections == 1, "a connection outlives a failure"


async def test_a_failure_in_the_middle(tmp_path: Path):
    provider = ScriptedProvider(HI, Spend(Usage(3, output=1)), EngineFailed("it broke", retry_after_ms=1_000))
    listener = ScriptedListener()
    async with hosting(tmp_path, provider) as hosted:
        await check_failure(hosted.client, an_ask(), EngineFailed)
        with pytest.raises(EngineFailed, match="it broke"):
            await hosted.client.answer(an_ask(), listener)
    assert (listener.heard, listener.usage) == ([HI], Usage(3, output=1))


KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, HeadraceError) and kind not in (HeadraceError, RateLimited, UpstreamRefused)
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_comes_across(kind: type[HeadraceError]):
    found = Failed(kind.code, "it says so", "p", 12, Spent()).failure()
    assert type(found) is kind
    assert (str(found), vars(found)) == ("it says so", {"message": "it says so", "param": "p", "retry_after_ms": 12})


def test_a_kind_that_is_unknown_is_a_fault_of_ours():
    for code in ("no_such_code", RateLimited.code):
        assert type(Failed(code, "what", None, None, Spent()).failure()) is InternalFailure


async def test_a_fault_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with hosting(tmp_path, ScriptedProvider(HI, ZeroDivisionError("by zero"))) as hosted:
        failure = await check_failure(hosted.client, an_ask(), InternalFailure)
        assert "by zero" not in str(failure)
    assert "by zero" in caplog.text, "the log tells why"


# Hosts that are not there, and hosts that go.


async def test_no_host_is_there(tmp_path: Path):
    client = HostedProvider(tmp_path / "h.sock")
    for left_by_a_killed_one in (False, True):
        if left_by_a_killed_one:
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(tmp_path / "h.sock"))
        failure = await check_failure(client, an_ask(), NotReady)
        assert failure.retry_after_ms is not None
        with pytest.raises(NotReady):
            await client.probe()


async def test_the_next_host(tmp_path: Path):
    """It takes the place of a killed one; a client's connections to the old one are of no use, and no harm."""
    provider = ScriptedProvider(HI, END, USED)
    async with hosting(tmp_path, provider) as first:
        client = first.client
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(check_provider(client, an_ask()))
    assert not first.path.exists()
    async with hosting(tmp_path, provider):
        await check_provider(client, an_ask())
        client.close()


async def test_a_kept_connection_that_ends_as_it_is_asked(tmp_path: Path):
    """The host has not answered, so another connection may ask again; on that one an end is an end."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        for _ in range(answers[len(connections) - 1]):
            await reader.read(10_000)
            writer.write(frame(msgspec.msgpack.encode(Done(Spent()))))
        await reader.read(10_000)
        writer.close()

    connections: list[asyncio.StreamWriter] = []
    answers = (1, 2, 0)
    async with asyncio.timeout(SOON_S), await asyncio.start_unix_server(serve, tmp_path / "h.sock"):
        client = HostedProvider(tmp_path / "h.sock")
        for opened in (1, 2, 2):
            await client.probe()
            assert len(connections) == opened
        with pytest.raises(EngineFailed):
            await client.probe()
        assert len(connections) == 3


async def test_a_host_that_stops_in_the_middle(tmp_path: Path):
    provider, listener = ScriptedProvider(HI, Spend(Usage(3, output=1)), Silence()), ScriptedListener()
    async with hosting(tmp_path, provider) as hosted, asyncio.TaskGroup() as tasks:

        async def stop() -> None:
            await listener.heard_at_least(1)
            await hosted.host.close()

        tasks.create_task(stop())
        with pytest.raises(EngineFailed, match="was stopped") as failed:
            await hosted.client.answer(an_ask(), listener)
        assert failed.value.retry_after_ms is not None
    assert listener.usage == Usage(3, output=1)
    assert provider.stopped == 1


async def test_a_host_that_stops_does_not_wait_for_who_never_reads(tmp_path: Path):
    talker = Talker(100_000)
    async with hosting(tmp_path, talker) as hosted:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(hosted.path))
            client.sendall(frame(msgspec.msgpack.encode(Asked(an_ask()))))
            await reaches(lambda: bool(talker.said))
            await stands_still(talker)
            async with asyncio.timeout(SOON_S):
                await hosted.host.close()
        assert not hosted.host.connections


KILLED = """
import asyncio, sys
from pathlib import Path
from headrace.core.stream import Text
from headrace.core.usage import Usage
from headrace.providers.host import ProviderHost
from headrace.testing.scripted import ScriptedProvider, Silence, Spent

async def live():
    await ProviderHost(ScriptedProvider(Spent(Usage(3, output=1)), Text("hi"), Silence()), Path(sys.argv[1])).start()
    print("ready", flush=True)
    await asyncio.sleep(3600)

asyncio.run(live())
"""


async def test_a_host_that_is_killed_in_the_middle(tmp_path: Path):
    path, listener = tmp_path / "h.sock", ScriptedListener()
    client, heard = HostedProvider(path), []
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(path), stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"ready\n"
        await client.probe()

        async def kill() -> None:
            await listener.heard_at_least(1)
            heard.extend(listener.heard)
            process.send_signal(signal.SIGKILL)
            await process.wait()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(kill())
            failure = await _failure(client, listener)
        assert isinstance(failure, EngineFailed)
        assert (heard, listener.heard, listener.usage) == ([HI], [HI], Usage(3, output=1))
        assert path.exists(), "who is killed can't tidy up"
        await check_failure(client, an_ask(), NotReady)
    async with hosting(tmp_path, ScriptedProvider(HI, END, USED)):
        await check_provider(client, an_ask())
        client.close()


async def _failure(client: HostedProvider, listener: ScriptedListener) -> HeadraceError | None:
    try:
        await client.answer(an_ask(), listener)
    except HeadraceError as failure:
        return failure
    return None


NONSENSE = {
    "no frame": b"\xff" * 100,
    "no message": frame(b"\xc1"),
    "none of ours": frame(msgspec.msgpack.encode({"type": "Nonsense"})),
}


@pytest.mark.parametrize("says", NONSENSE.values(), ids=NONSENSE.keys())
async def test_a_host_that_talks_nonsense(tmp_path: Path, says: bytes):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(says)
        await reader.read()
        writer.close()

    async with asyncio.timeout(SOON_S), await asyncio.start_unix_server(serve, tmp_path / "h.sock"):
        await check_failure(HostedProvider(tmp_path / "h.sock"), an_ask(), EngineFailed)


TWICE = {**NONSENSE, "two at once": 2 * frame(msgspec.msgpack.encode(Asked(an_ask())))}


@pytest.mark.parametrize("says", TWICE.values(), ids=TWICE.keys())
async def test_a_client_that_talks_nonsense(tmp_path: Path, says: bytes):
    provider = ScriptedProvider(Pause(10), HI, END, USED)
    async with hosting(tmp_path, provider) as hosted:
        reader, writer = await asyncio.open_unix_connection(hosted.path)
        writer.write(says)
        assert await reader.read() == b""
        writer.close()
        await reaches(lambda: not provider.running)
        await check_provider(hosted.client, an_ask())


# The socket.


async def test_the_socket_is_its_owners(tmp_path: Path):
    async with hosting(tmp_path, ScriptedProvider()) as hosted:
        assert stat.S_IMODE(hosted.path.stat().st_mode) == 0o600


async def test_a_socket_that_cannot_be(tmp_path: Path):
    for path in (tmp_path / ("x" * 120), tmp_path / "nowhere" / "h.sock"):
        host = ProviderHost(ScriptedProvider(), path)
        with pytest.raises(SetupError, match="socket"):
            await host.start()
        await host.close()


# The engine, seen from elsewhere.


async def test_an_engine_seen_from_elsewhere(tmp_path: Path):
    engine = HostedEngine(tmp_path / "h.sock")
    assert not engine.status().ready
    async with asyncio.timeout(4 * SOON_S), asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(engine.start(tasks))
        await asyncio.sleep(0.15)
        assert not starting.done(), "nobody is there yet"
        async with hosting(tmp_path, ScriptedProvider(), lambda: STATUS):
            await starting
            assert engine.status() == STATUS
        await reaches(lambda: not engine.status().ready)
        gone = engine.status()
        assert (gone.running, gone.worker_pid, gone.rss_bytes, gone.tokens_out) == (0, None, 0, STATUS.tokens_out)
        async with hosting(tmp_path, ScriptedProvider(), lambda: STATUS) as hosted:
            await reaches(lambda: engine.status() == STATUS)
            await engine.stop()
            await reaches(lambda: not hosted.host.connections)


async def test_an_engine_that_is_not_there_yet_can_be_given_up(tmp_path: Path):
    engine = HostedEngine(tmp_path / "h.sock")
    async with asyncio.timeout(SOON_S), asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(engine.start(tasks))
        await asyncio.sleep(0)
        starting.cancel()
        await engine.stop()


# Frames.

TEXTS = st.text(max_size=20)
COUNTS = st.integers(0, 2**40)
CHOSEN = st.builds(TokenLogprob, TEXTS, st.floats(-100, 0), st.lists(st.tuples(TEXTS, st.floats(-100, 0)), max_size=2).map(tuple))
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
SAID: st.SearchStrategy[Said] = st.one_of(
    st.builds(Text, TEXTS, COUNTS, st.lists(CHOSEN, max_size=2).map(tuple)),
    st.builds(Reasoning, TEXTS, COUNTS, st.none() | TEXTS, st.none() | TEXTS, st.none() | TEXTS),
    st.builds(ToolCallBegun, COUNTS, TEXTS, TEXTS, COUNTS),
    st.builds(ToolCallArguments, COUNTS, TEXTS, COUNTS),
    st.builds(Finished, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), COUNTS),
    st.builds(Used, st.none() | USAGES, st.none() | TEXTS),
    st.builds(Verbatim, st.binary(max_size=50)),
)
SPENT = st.builds(Spent, st.none() | USAGES, st.none() | USAGES)


@given(message=st.builds(Spoke, SAID, st.none() | SPENT) | st.builds(Left, SPENT))
def test_whatever_is_said_comes_across(message: FromHost):
    encoded = msgspec.msgpack.encode(message)
    assert msgspec.msgpack.decode(encoded, type=FromHost) == message
