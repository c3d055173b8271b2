"""The process of the engines: when its sockets are there, whom it waits for when it stops, and what it leaves behind."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec
import pytest

from headrace.compose.clock import MachineClock, Names
from headrace.compose.enginehost import engine_socket, host_engines, seen_by_workers
from headrace.compose.opening import House
from headrace.compose.settings import ServerSettings, Settings
from headrace.compose.world import LocalPool
from headrace.core.errors import NotReady, SetupError
from headrace.engine import Engine, EngineSettings, EngineStatus, ModelInfo
from headrace.providers.adapters.hosted import UNSEEN, HostedEngine
from headrace.storage import Layout, SharedState
from headrace.testing.builders import a_pool

MODEL = ModelInfo(
    name="m", architecture="llama", parameters=1, quantisation="Q8_0", sha256="0", backend="openvino", threads=1,
    context=8, kv_tokens_max=8, template_knows_tools=False, load_s=0.1,
)  # fmt: skip


class Idle(Engine):
    """An engine without a model. It loads when `may_load` is set, or fails with `failure`."""

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__(Path("none.gguf"), EngineSettings(), Path("none"), lambda: "call_1")
        self.may_load, self.loading, self.stopped, self._failure = asyncio.Event(), False, False, failure

    async def start(self, tasks: asyncio.TaskGroup) -> ModelInfo:
        self.loading = True
        await self.may_load.wait()
        if self._failure is not None:
            raise self._failure
        return MODEL

    def status(self) -> EngineStatus:
        return msgspec.structs.replace(UNSEEN, ready=self.may_load.is_set())

    async def stop(self) -> None:
        self.stopped = True


class Life:
    """One life of the process, and its lifeline."""

    def __init__(self, folder: Path, engines: tuple[Idle, ...], stop_timeout_s: int) -> None:
        clock = MachineClock()
        self.engines = engines
        self.house = House(
            settings=Settings(server=ServerSettings(stop_timeout_s=stop_timeout_s)),
            environ={},
            clock=clock,
            names=Names(clock),
            layout=Layout(folder),
            state=SharedState(Layout(folder), None, clock.instant),
            host="",
            secret="",
            admins=frozenset(),
            local=[LocalPool(a_pool(f"p{number}", dialect="local"), engine, None, ()) for number, engine in enumerate(engines)],
        )
        self.ready = asyncio.Event()
        self._lifeline, self._held = os.pipe()

    async def live(self) -> None:
        await host_engines(self.house, self._lifeline, self.ready.set)

    def orphan(self) -> None:
        """The first process is gone."""
        os.close(self._held)
        self._held = -1

    def close(self) -> None:
        for end in (self._lifeline, self._held):
            if end >= 0:
                os.close(end)

    @property
    def sockets(self) -> list[bool]:
        return [engine_socket(self.house.layout, number).is_socket() for number in range(len(self.engines))]

    def seen(self) -> list[HostedEngine]:
        """The engines as a worker has them."""
        return [cast(HostedEngine, one.engine) for one in seen_by_workers(self.house).local]


@asynccontextmanager
async def living(folder: Path, *engines: Idle, stop_timeout_s: int = 30) -> AsyncIterator[tuple[Life, "asyncio.Task[None]"]]:
    life = Life(folder, engines, stop_timeout_s)
    try:
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            yield life, tasks.create_task(life.live())
    finally:
        life.close()


def terminate(life: Life) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def loads(engine: Idle) -> Idle:
    engine.may_load.set()
    return engine


async def turns() -> None:
    await asyncio.sleep(0.05)


async def test_an_engine_is_asked_when_it_has_loaded(tmp_path: Path):
    first, second = Idle(), Idle()
    async with living(tmp_path, first, second) as (life, _):
        (one, other) = life.seen()
        first.may_load.set()
        async with asyncio.TaskGroup() as tasks:
            await one.start(tasks)
            assert one.status().ready
            await one.provider.probe()
            with pytest.raises(NotReady):
                await other.provider.probe()
            assert (life.sockets, life.ready.is_set()) == ([True, False], False)
            second.may_load.set()
            await other.start(tasks)
            await life.ready.wait()
            for engine in (one, other):
                await engine.stop()
        life.orphan()
    assert life.sockets == [False, False]
    assert (first.stopped, second.stopped) == (True, True)


@pytest.mark.parametrize("told", [Life.orphan, terminate])
async def test_it_outlives_those_who_ask(tmp_path: Path, told: Callable[[Life], None]):
    engine = loads(Idle())
    async with living(tmp_path, engine) as (life, task):
        (seen,) = life.seen()
        async with asyncio.TaskGroup() as tasks:
            await seen.start(tasks)
            await life.ready.wait()
            os.kill(os.getpid(), signal.SIGHUP)
            told(life)
            await turns()
            assert not task.done(), "a worker may still be answering"
            await seen.provider.probe()
            await seen.stop()
        await task
    assert engine.stopped


async def test_it_does_not_wait_for_ever(tmp_path: Path):
    """A second signal is enough, whoever is connected."""
    engine = loads(Idle())
    async with living(tmp_path, engine) as (life, task):
        (seen,) = life.seen()
        await life.ready.wait()
        await seen.provider.probe()
        terminate(life)
        await turns()
        assert not task.done()
        terminate(life)
        await task
        with pytest.raises(NotReady):
            await seen.provider.probe()
    assert engine.stopped


@pytest.mark.parametrize("told", [Life.orphan, terminate])
async def test_it_can_be_stopped_while_a_model_loads(tmp_path: Path, told: Callable[[Life], None]):
    first, second = loads(Idle()), Idle()
    async with living(tmp_path, first, second) as (life, task):
        while not second.loading:  # noqa: ASYNC110 -- another task's state is looked at; there is no event
            await asyncio.sleep(0)
        told(life)
        await task
    assert not life.ready.is_set()
    assert life.sockets == [False, False]
    assert (first.stopped, second.stopped) == (True, True)


async def test_a_model_that_cannot_be_loaded(tmp_path: Path):
    with pytest.RaisesGroup(pytest.RaisesExc(SetupError, match="no such model"), flatten_subgroups=True):
        async with living(tmp_path, loads(Idle()), loads(Idle(SetupError("no such model")))) as (life, _):
            await life.ready.wait()
    assert os.listdir(tmp_path) == []
