"""The life of a server: everything is opened in order, served until a signal, and closed in the opposite order.

On SIGTERM or SIGINT the door stops listening, answers that run may finish until the deadline, what is left is cancelled and settled,
the log is synced and loaded, and the process ends with 0. A second signal skips the waiting. SIGHUP reads the settings again.
"""

import asyncio
import contextlib
import ctypes
import functools
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, TextIO

import msgspec
import uvicorn
import uvloop

from headrace.api import HOT_PATHS, WEBSOCKET_PATHS, Cache, Cold, Door, Heads, Lane, Models, Money
from headrace.compose.adapters import Adapters
from headrace.compose.administration import Administration
from headrace.compose.archive import Kept, keep
from headrace.compose.banking import BankProcess, Purse, budgets_at
from headrace.compose.budgetgauges import BudgetGauges
from headrace.compose.clock import MachineClock, chance
from headrace.compose.enginehost import host_engines, seen_by_workers
from headrace.compose.loading import Loading
from headrace.compose.minting import mint_key, prolong_minted, revoke_minted
from headrace.compose.opening import BACKLOG, House, Opened, listening, open_house, open_process, reserved
from headrace.compose.place import version
from headrace.compose.probes import keep_probing, keep_ticking
from headrace.compose.reload import Reloading, Source
from headrace.compose.reports import SHARED, Reports
from headrace.compose.server import Server, settle
from headrace.compose.settings import Settings
from headrace.compose.workers import Worker, supervise
from headrace.compose.workspace import HeldKeys, Rooms, link_for, workspace
from headrace.compose.world import EMBEDDED, Fetched, LocalPool
from headrace.core.clock import SECOND
from headrace.core.errors import HeadraceError
from headrace.gateway import Gateway
from headrace.providers.adapters.hosted import HostedEngine
from headrace.storage import Commons
from headrace.telemetry import CONTENT_TYPE, Metrics, set_up_logs, start_tracer

log = logging.getLogger("headrace")
BANK_START_S = 5.0
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to know once requests can be served. `page` is the workspace's address, which signs in who opens it first."""

    version: str
    url: str
    page: str
    secret: str
    models: tuple[str, ...]
    data: Path
    seconds: float


def serve_until_stopped(
    read: Callable[[], Settings],
    environ: Mapping[str, str],
    stream: TextIO,
    *,
    file: Path | None,
    fetched: Fetched,
    ready: Callable[[Ready], None],
) -> None:
    """Run the server until a signal stops it. `read` gives the settings, now and whenever `file` changes.

    Raises SetupError when it can't start, and NotReady where its database stays busy; then nothing is left behind.
    """
    settings = read()
    set_up_logs(stream, settings.telemetry.log_format, settings.telemetry.log_level)
    clock = MachineClock()
    began = clock.instant()
    source = Source(read=read, file=file)
    workers = settings.server.workers

    def tell(house: House, listener: socket.socket, models: tuple[str, ...]) -> None:
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        seconds = (clock.instant() - began) / SECOND
        page = url + link_for(house.state, clock, house.secret)
        ready(Ready(version=version(), url=url, page=page, secret=house.secret, models=models, data=house.layout.root, seconds=seconds))

    with ExitStack() as closing, reserved(settings.server, shared=workers > 1) as held:
        house = open_house(settings, environ, clock, fetched, closing)
        if workers > 1:
            supervise(
                house,
                held,
                workers,
                lambda worker: _work(seen_by_workers(house), source, worker),
                lambda lifeline: _run(host_engines(house, lifeline, lambda: None)),
                tell,
            )
            return
        held.listen(BACKLOG)
        _run(_live(open_process(house, held, closing), source, None, lambda models: tell(house, held, models)))


def _work(house: House, source: Source, worker: Worker) -> None:
    """The life of one worker of several: its own listener at the same address, its own usage log."""
    with ExitStack() as closing:
        at = msgspec.structs.replace(house.settings.server, port=worker.port)
        opened = open_process(house, closing.enter_context(listening(at, shared=True)), closing)
        _run(_live(opened, source, worker, worker.ready))


def _run(life: Coroutine[Any, Any, None]) -> None:
    calm_collector()
    _calm_allocator()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(life)
        except* HeadraceError as group:
            raise _first(group) from None


def calm_collector() -> None:
    """What is loaded by now stays, and a request leaves no cycles: look for garbage seldom, or each look costs some requests 20 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _calm_allocator() -> None:
    """Keep freed memory for the next request: glibc gives large buffers back to the system each time, which costs more than all the rest
    of a request of 300 KB. Other C libraries have no such switch."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024)
        libc.mallopt(M_MMAP_THRESHOLD, 16 * 1024 * 1024)


def _first(group: BaseExceptionGroup[HeadraceError]) -> HeadraceError:
    one = group.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one


async def _live(opened: Opened, source: Source, worker: Worker | None, tell: Callable[[tuple[str, ...]], None]) -> None:
    """Serve. The order here is the order of a server's life; leaving the stack is its end."""
    house = opened.house
    async with AsyncExitStack() as closing, asyncio.TaskGroup() as tasks:
        loop = asyncio.get_running_loop()
        adapters = Adapters(house.environ, house.clock, opened.names, loop)
        closing.callback(adapters.close)
        purse = Purse(house.clock, opened.names, house.layout, opened.usage_log, lambda hosts: gateway.share_limits(hosts))
        reloading = _reloading(opened, source, adapters, None if worker is None else worker.commons, purse)
        gateway = Gateway(
            world=reloading.first(),
            log=opened.usage_log,
            clock=house.clock,
            rng=chance(),
            spawn=lambda work: tasks.create_task(work),
            neighbours=worker.commons if worker is not None else None,
            till=purse.till,
        )
        reloading.serve(gateway)
        metrics = Metrics()
        reports = _reports(opened, gateway, metrics, closing, worker)
        layout, url = house.layout, house.settings.storage.url
        budgets = BudgetGauges(lambda: budgets_at(layout, url), lambda: url is not None or layout.budgets.exists(), house.clock)
        budgets.watch(metrics)
        loaded = asyncio.Event()
        starting = tasks.create_task(_start(opened, gateway, purse, tasks, loaded, tell), name="engines")
        background = [
            tasks.create_task(opened.usage_log.keep_synced(), name="usage-log-sync"),
            tasks.create_task(keep_ticking(gateway), name="pools"),
            tasks.create_task(keep_probing(gateway, lambda: _intervals_ms(reloading.settings, house.local), house.clock), name="probes"),
            tasks.create_task(reloading.watch(), name="settings"),
            tasks.create_task(purse.link.keep(), name="budgets"),
            tasks.create_task(budgets.keep_reading(), name="budget-metrics"),
        ]
        if worker is not None:
            background.append(tasks.create_task(reports.keep_telling(), name="metrics"))
        if worker is None:
            loading = Loading(house.layout, house.settings.storage.sync_interval_ms)
            closing.push_async_callback(loading.finish)
            background.append(tasks.create_task(loading.keep_running(), name="usage-loader"))
            bank = BankProcess(house.layout, house.settings.storage.url, house.clock, lambda: bool(reloading.settings.budget))
            closing.callback(bank.finish)
            background.append(tasks.create_task(bank.keep_running(), name="bank"))
        cache = Cache(gateway, house.clock, house.settings.cache) if house.settings.cache.bytes_max else None
        kept = keep(opened, gateway, reloading, reports, lambda work: tasks.create_task(work), log, cache)
        closing.callback(kept.close)
        await kept.begin()
        background.append(tasks.create_task(kept.keep_swept(), name="archive"))
        background.append(tasks.create_task(kept.keep_vouching(), name="vouching"))
        if worker is not None or house.state.url is not None:  # else nobody is there to look whether we live
            background.append(tasks.create_task(kept.keep_alive(), name="runner"))
        tasks.create_task(kept.batches.keep_working(), name="batches")  # it ends when `kept` is stopped
        held = HeldKeys(reloading, opened.ring)
        rooms = workspace(opened, gateway, reloading, held, kept.archive, lambda work: tasks.create_task(work), log)
        closing.callback(rooms.close)
        background.append(tasks.create_task(rooms.teller.keep_telling(), name="webhooks"))
        if house.settings.agents.schedules:
            background.append(tasks.create_task(rooms.firings.keep_firing(), name="schedules"))
        server = _server(opened, gateway, reloading, reports, loaded, kept, cache, held, rooms)

        def leave() -> None:
            rooms.runs.stopping = True  # who follows a run would follow it for ever
            server.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, leave)
        loop.add_signal_handler(signal.SIGHUP, reloading.try_reload)
        if worker is not None:
            loop.add_reader(worker.lifeline, _orphaned, worker.lifeline, leave)
        rooms.runs.recover()
        await server.serve(sockets=[opened.listener])
        await settle(server)
        await rooms.stop()
        await kept.stop()
        starting.cancel()
        await purse.link.finish()
        for one in house.local:
            await one.engine.stop()
            if one.embedder is not None:
                await one.embedder.stop()
        for task in background:
            task.cancel()


def _orphaned(lifeline: int, leave: Callable[[], None]) -> None:
    asyncio.get_running_loop().remove_reader(lifeline)  # the end of a pipe is readable for ever, and a second stop is a hurried one
    leave()


def _reloading(opened: Opened, source: Source, adapters: Adapters, commons: Commons | None, purse: Purse) -> Reloading:
    return Reloading(
        settings=opened.house.settings,
        source=source,
        environ=opened.house.environ,
        local=opened.house.local,
        adapters=adapters,
        ring=opened.ring,
        clock=opened.house.clock,
        commons=commons,
        state=opened.house.state,
        purse=purse,
    )


def _intervals_ms(settings: Settings, local: Sequence[LocalPool]) -> dict[str, int]:
    """How often each pool is probed; an engine of this process tells its own state."""
    return {
        **{pool.name: pool.probe_interval_ms for pool in settings.pool if pool.dialect != "local"},
        **{one.pool.name: EMBEDDED.probe_interval_ms for one in local if isinstance(one.engine, HostedEngine)},
    }


async def _start(
    opened: Opened,
    gateway: Gateway,
    purse: Purse,
    tasks: asyncio.TaskGroup,
    loaded: asyncio.Event,
    tell: Callable[[tuple[str, ...]], None],
) -> None:
    if purse.has_budgets:
        await purse.link.known(BANK_START_S)
    for one in opened.house.local:
        model = await one.engine.start(tasks)
        if model is not None:
            log.info(
                "%s runs on %s", one.pool.name, model.backend, extra={"model": model.name, "context": model.context, "load_s": model.load_s}
            )
        if one.embedder is not None:
            await one.embedder.start(tasks)
    loaded.set()
    await asyncio.to_thread(tell, tuple(gateway.world.snapshot.models))  # the page's link waits for a database that is busy


def _reports(opened: Opened, gateway: Gateway, metrics: Metrics, closing: AsyncExitStack, worker: Worker | None) -> Reports:
    telemetry = opened.house.settings.telemetry
    tracer = None
    if telemetry.traces:
        tracer, finish = start_tracer()
        closing.callback(finish)
    access_log = sys.stderr.isatty() if telemetry.access_log is None else telemetry.access_log
    file = None if worker is None else opened.house.layout.root / f"{SHARED}{worker.number}"
    reports = Reports(clock=opened.house.clock, metrics=metrics, tracer=tracer, access_log=access_log, file=file)
    reports.watch(gateway, opened.house.local, opened.usage_log)
    return reports


def _server(
    opened: Opened,
    gateway: Gateway,
    reloading: Reloading,
    reports: Reports,
    loaded: asyncio.Event,
    kept: Kept,
    cache: Cache | None,
    held: HeldKeys,
    rooms: Rooms,
) -> Server:
    door = Door(gateway=gateway, keys=reloading.keys, clock=opened.house.clock, new_id=opened.names, report=reports, log=log, cache=cache)
    served = (door.chat, door.embeddings, *kept.handlers)
    handlers = {path.encode(): kept.once.guarded(path, handler) for path, handler in zip(HOT_PATHS, served, strict=True)}

    def unready() -> str | None:
        if not loaded.is_set():
            return "The model is being loaded."
        broken = [one.pool.name for one in opened.house.local if not one.engine.status().ready]
        return f"The engine of {', '.join(broken)} is being restarted." if broken else None

    administration = Administration(opened, gateway, reloading, kept.archive, held)
    money = Money(
        keys=held,
        clock=opened.house.clock,
        mint=functools.partial(mint_key, opened.house.state, opened.house.clock),
        prolong=functools.partial(prolong_minted, opened.house.state, opened.house.clock),
        revoke=functools.partial(revoke_minted, opened.house.state, opened.house.clock),
    )
    cold = Cold(
        snapshot=lambda: gateway.world.snapshot,
        keys=held,
        unready=unready,
        metrics=reports.text,
        metrics_type=CONTENT_TYPE,
        new_id=opened.names,
        more=[*administration.routes, *money.routes(), *kept.quotes(held), *kept.routes, *rooms.routes],
        models=Models(gateway, opened.house.clock),
        version=version(),
    )
    websockets = frozenset(path.encode() for path in WEBSOCKET_PATHS)
    at_door = opened.house.settings.server
    lane = functools.partial(Lane, handlers=handlers, heads=Heads(), settings=at_door, websockets=websockets, others=kept.other)
    return Server(
        uvicorn.Config(
            kept.once.application(rooms.bridge(cold.app())),
            http=lane,  # type: ignore[arg-type]  # what makes a protocol is as good as its class
            loop="none",
            ws="websockets-sansio",
            ws_max_size=opened.house.settings.server.body_bytes_max,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=opened.house.settings.server.stop_timeout_s,
        )
    )
