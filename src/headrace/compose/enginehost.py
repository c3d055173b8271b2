"""The process that runs the embedded engines of a server with several workers: one model in memory, asked by all of them.

    starting ──each engine has loaded──> its socket is open ──SIGTERM, or the first process is gone──> stopping ──> over
                                                              nobody is connected any more, or the workers' deadline is past ─┘

It outlives the workers, so that an answer which a worker may still finish can be finished. A worker never waits for it in vain: as long
as there is no socket, or nobody behind it, it says that the engine is being started.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec

from headrace.compose.opening import House
from headrace.compose.server import SETTLING_S
from headrace.engine import Engine
from headrace.providers.adapters.hosted import HostedEngine
from headrace.providers.adapters.local import LocalProvider
from headrace.providers.host import ProviderHost
from headrace.storage import Layout

log = logging.getLogger("headrace")


def engine_socket(layout: Layout, number: int) -> Path:
    """Where the engine of the local pool of that number, from 0, is asked."""
    return layout.root / f"engine-{number}.sock"


def seen_by_workers(house: House) -> House:
    """The house as a worker has it: its local pools run in the process of `host_engines`."""
    return msgspec.structs.replace(
        house,
        local=[
            msgspec.structs.replace(one, engine=HostedEngine(engine_socket(house.layout, number)), embedder=None)
            for number, one in enumerate(house.local)
        ],
    )


async def host_engines(house: House, lifeline: int, ready: Callable[[], None]) -> None:
    """Run the engines of all local pools until SIGTERM or SIGINT, or until `lifeline` becomes readable; a second signal skips the
    waiting. `ready` is called when the workers can ask all of them. Raises SetupError when one can't be loaded or reached."""
    stop = _Stop(lifeline)
    hosts: list[ProviderHost] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(_open(house, hosts, tasks, ready), name="engines")
            await stop.asked.wait()
            opening.cancel()
            await asyncio.wait([opening])
            await _deserted(hosts, stop, house.settings.server.stop_timeout_s + 2 * SETTLING_S)
            for host in hosts:
                await host.close()
            for one in house.local:
                await one.engine.stop()
                if one.embedder is not None:
                    await one.embedder.stop()
    finally:
        for host in hosts:
            await host.close()
        stop.close()


async def _open(house: House, hosts: list[ProviderHost], tasks: asyncio.TaskGroup, ready: Callable[[], None]) -> None:
    for number, one in enumerate(house.local):
        engine = one.engine
        assert isinstance(engine, Engine), "this process has the engines themselves"
        model = await engine.start(tasks)
        log.info(
            "%s runs on %s", one.pool.name, model.backend, extra={"model": model.name, "context": model.context, "load_s": model.load_s}
        )
        if one.embedder is not None:
            await one.embedder.start(tasks)
        host = ProviderHost(LocalProvider(engine=engine, embedder=one.embedder), engine_socket(house.layout, number), engine.status)
        await host.start()
        hosts.append(host)
    ready()


async def _deserted(hosts: list[ProviderHost], stop: "_Stop", within_s: float) -> None:
    """Until the workers have closed their connections, at most so long, and not when somebody is in a hurry."""

    async def all_left() -> None:
        for host in hosts:
            await host.deserted()

    async with asyncio.TaskGroup() as tasks:
        either = (tasks.create_task(all_left()), tasks.create_task(stop.hurried(within_s)))
        _, other = await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for each in other:
            each.cancel()


class _Stop:
    """Whether this process shall end, and whether at once."""

    def __init__(self, lifeline: int) -> None:
        self._loop, self._lifeline = asyncio.get_running_loop(), lifeline
        self.asked, self._asked_again = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._signalled)
        self._loop.add_signal_handler(signal.SIGHUP, lambda: None)  # new settings never change a local pool
        self._loop.add_reader(lifeline, self._orphaned)

    async def hurried(self, within_s: float) -> None:
        """Until the second signal, or so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._asked_again.wait()

    def _signalled(self) -> None:
        (self._asked_again if self.asked.is_set() else self.asked).set()

    def _orphaned(self) -> None:
        self._loop.remove_reader(self._lifeline)  # the end of a pipe is readable for ever
        self.asked.set()

    def close(self) -> None:
        self._loop.remove_reader(self._lifeline)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.remove_signal_handler(number)
