"""The life of a server: everything is opened in order, served until a signal, and closed in the opposite order.

On SIGTERM or SIGINT the door stops listening, answers that run may finish until the deadline, what is left is cancelled and settled,
the log is synced and loaded, and the process ends with 0. A second signal skips the waiting.
"""

import asyncio
import contextlib
import functools
import gc
import logging
import secrets
import signal
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TextIO

import msgspec
import uvicorn
import uvloop

from headrace.api import HOT_PATHS, Cold, Door, Lane
from headrace.compose.clock import MachineClock, Names, chance, process_id
from headrace.compose.place import cache_folder, version
from headrace.compose.reports import Reports
from headrace.compose.settings import ServerSettings, Settings
from headrace.compose.world import Fetched, LimitedKeys, LocalPool, fixed_keys, local_pools, price_book, providers, what_exists
from headrace.core.clock import SECOND
from headrace.core.errors import PortInUse, SetupError
from headrace.gateway import Gateway
from headrace.metering import KeyRow, digest, shown
from headrace.portfolio import Snapshot
from headrace.providers import Endpoint, Provider
from headrace.storage import DataFolder, KeyRing, KeyStore, Layout, UsageLog, connect, development_key, recover
from headrace.telemetry import CONTENT_TYPE, Metrics, set_up_logs, start_tracer

log = logging.getLogger("headrace")
BACKLOG = 4_096
SETTLING_S = 5.0
LOADING_S = 60.0
LOADER_PAUSE_S = 5


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants to know once requests can be served."""

    version: str
    url: str
    secret: str
    models: tuple[str, ...]
    data: Path
    seconds: float


class World(msgspec.Struct, frozen=True, kw_only=True):
    """All that is opened before the event loop runs."""

    settings: Settings
    environ: Mapping[str, str]
    clock: MachineClock
    names: Names
    listener: socket.socket
    layout: Layout
    usage_log: UsageLog
    ring: KeyRing
    secret: str
    local: Sequence[LocalPool]
    snapshot: Snapshot


def serve_until_stopped(
    settings: Settings, environ: Mapping[str, str], stream: TextIO, *, fetched: Fetched, ready: Callable[[Ready], None]
) -> None:
    """Run the server until a signal stops it. Raises SetupError when it can't start; then nothing is left behind."""
    set_up_logs(stream, settings.telemetry.log_format, settings.telemetry.log_level)
    clock = MachineClock()
    began = clock.instant()

    def tell(world: World) -> None:
        host, port = world.listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        models, seconds = tuple(world.snapshot.models), (clock.instant() - began) / SECOND
        ready(Ready(version=version(), url=url, secret=world.secret, models=models, data=world.layout.root, seconds=seconds))

    with ExitStack() as opened:
        world = _open(settings, environ, clock, fetched, opened)
        _calm_collector()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(_live(world, tell))
            except* SetupError as group:
                raise _first(group) from None


def _calm_collector() -> None:
    """What is loaded by now stays, and a request leaves no cycles: look for garbage seldom, or each look costs some requests 20 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _first(group: BaseExceptionGroup[SetupError]) -> SetupError:
    one = group.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one


def _open(settings: Settings, environ: Mapping[str, str], clock: MachineClock, fetched: Fetched, opened: ExitStack) -> World:
    names = Names(clock)
    listener = opened.enter_context(_listening(settings.server))
    layout = opened.enter_context(DataFolder.hold(Path(settings.storage.path), process_id())).layout
    fixed = fixed_keys(settings, environ, clock.moment())
    database = opened.enter_context(contextlib.closing(connect(layout.database, durable=True)))
    secret = _development_key(database, layout, clock, names)
    local = local_pools(settings, cache_folder(environ), names, log, fetched)
    usage_log = UsageLog(layout.usage, clock=clock, pid=process_id(), process=names("process_"), settings=settings.storage)
    opened.callback(usage_log.close)
    _recover(layout, usage_log, clock)
    return World(
        settings=settings,
        environ=environ,
        clock=clock,
        names=names,
        listener=listener,
        layout=layout,
        usage_log=usage_log,
        ring=opened.enter_context(contextlib.closing(KeyRing(database, layout, fixed))),
        secret=secret,
        local=local,
        snapshot=what_exists(settings, local, clock.moment() // SECOND),
    )


def _development_key(database: sqlite3.Connection, layout: Layout, clock: MachineClock, names: Names) -> str:
    """The secret of a key that works, for whoever can read the data folder; a revoked one is followed by another."""
    while True:
        secret = development_key(layout, secrets.token_bytes(30))
        row = KeyRow(
            id=names("key_"),
            name="development",
            organization="default",
            project="default",
            digest=digest(secret),
            shown=shown(secret),
            created=clock.moment(),
        )
        if KeyStore(database, layout).ensure(row).revoked is None:
            return secret
        layout.development_key.unlink()


def _recover(layout: Layout, usage_log: UsageLog, clock: MachineClock) -> None:
    found = recover(layout.usage, usage_log, clock.moment())
    for damage in found.damages:
        log.error("%s", damage)
    if found.lost:
        log.warning(
            "the last server was killed while %d attempts ran: they are billed at their bound, as estimates, until their usage is known",
            len(found.lost),
        )


@contextlib.contextmanager
def _listening(settings: ServerSettings) -> Iterator[socket.socket]:
    """The door's address, taken before anything else is done. Raises PortInUse or SetupError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    where = f"{settings.host} port {settings.port}"
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(BACKLOG)
        except OSError as wrong:
            taken = "Address already in use" in str(wrong)
            remedy = f"another program listens there: stop it, or choose another port with --port {settings.port + 1}"
            raise (PortInUse if taken else SetupError)(
                f"cannot listen on {where}: {remedy if taken else wrong.strerror or wrong}"
            ) from None
        listener.setblocking(False)
        yield listener


async def _live(world: World, tell: Callable[[World], None]) -> None:
    """Serve. The order here is the order of a server's life; leaving the stack is its end."""
    async with AsyncExitStack() as closing, asyncio.TaskGroup() as tasks:
        loop = asyncio.get_running_loop()
        loading = Loading(world.layout)
        closing.push_async_callback(loading.finish)
        loader = tasks.create_task(loading.keep_running(), name="usage-loader")
        syncing = tasks.create_task(world.usage_log.keep_synced(), name="usage-log-sync")
        metrics, answering = Metrics(), _providers(world, loop, closing)
        gateway = Gateway(
            snapshot=world.snapshot,
            providers=answering,
            book=price_book(world.settings),
            log=world.usage_log,
            clock=world.clock,
            rng=chance(),
        )
        reports = _reports(world, gateway, metrics, closing)
        starting = tasks.create_task(_start(world, tasks, tell), name="engines")
        server = _server(world, gateway, reports, starting)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.stop)
        await server.serve(sockets=[world.listener])
        await _settle(server)
        starting.cancel()
        for one in world.local:
            await one.engine.stop()
            if one.embedder is not None:
                await one.embedder.stop()
        syncing.cancel()
        loader.cancel()


async def _start(world: World, tasks: asyncio.TaskGroup, tell: Callable[[World], None]) -> None:
    for one in world.local:
        model = await one.engine.start(tasks)
        log.info(
            "%s runs on %s", one.pool.name, model.backend, extra={"model": model.name, "context": model.context, "load_s": model.load_s}
        )
        if one.embedder is not None:
            await one.embedder.start(tasks)
    tell(world)


def _providers(world: World, loop: asyncio.AbstractEventLoop, closing: AsyncExitStack) -> Mapping[str, Provider]:
    def endpoint(url: str) -> Endpoint:
        opened = Endpoint(url, world.settings.transport, loop)
        closing.callback(opened.close)
        return opened

    return providers(world.settings, world.local, world.environ, endpoint)


def _reports(world: World, gateway: Gateway, metrics: Metrics, closing: AsyncExitStack) -> Reports:
    telemetry = world.settings.telemetry
    tracer = None
    if telemetry.traces:
        tracer, finish = start_tracer()
        closing.callback(finish)
    access_log = sys.stderr.isatty() if telemetry.access_log is None else telemetry.access_log
    reports = Reports(clock=world.clock, metrics=metrics, tracer=tracer, access_log=access_log)
    reports.watch(gateway, world.local, world.usage_log)
    return reports


def _server(world: World, gateway: Gateway, reports: Reports, starting: "asyncio.Task[None]") -> "Server":
    limits = world.settings.limits
    keys = LimitedKeys(world.ring.find, limits.requests_per_minute, limits.tokens_per_minute)
    door = Door(gateway=gateway, keys=keys, clock=world.clock, new_id=world.names, report=reports, log=log)
    handlers = dict(zip((path.encode() for path in HOT_PATHS), (door.chat, door.embeddings), strict=True))

    def unready() -> str | None:
        if not starting.done():
            return "The model is being loaded."
        broken = [one.pool.name for one in world.local if not one.engine.status().ready]
        return f"The engine of {', '.join(broken)} is being restarted." if broken else None

    cold = Cold(
        snapshot=lambda: gateway.snapshot, keys=keys, unready=unready, metrics=reports.text, metrics_type=CONTENT_TYPE, new_id=world.names
    )
    lane = functools.partial(Lane, handlers=handlers, settings=world.settings.server)
    return Server(
        uvicorn.Config(
            cold.app(),
            http=lane,  # type: ignore[arg-type]  # what makes a protocol is as good as its class
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=world.settings.server.stop_timeout_s,
        )
    )


class Server(uvicorn.Server):
    """uvicorn's server, with our signals, and a look once a second at connections that take too long."""

    def stop(self) -> None:
        """A signal: finish what runs. Again: at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the loop's own handlers call `stop`; uvicorn's would end the process by the signal instead of with 0

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                if isinstance(connection, Lane):
                    connection.sweep(now)
        return await super().on_tick(counter)


async def _settle(server: Server) -> None:
    """Answers that were cancelled at the deadline still settle what they used."""
    connections = [one for one in server.server_state.connections if isinstance(one, Lane)]
    left = {*server.server_state.tasks, *(task for connection in connections for task in connection.running())}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=SETTLING_S)


class Loading:
    """Owns the process that loads the usage log into SQLite, and starts another when it dies: the log is the truth and can wait."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._process: asyncio.subprocess.Process | None = None

    async def keep_running(self) -> None:
        while True:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "headrace.storage", str(self._layout.root), stdin=asyncio.subprocess.PIPE
            )
            status = await self._process.wait()
            log.error("the usage loader ended with status %d; it is started again in %d s", status, LOADER_PAUSE_S)
            await asyncio.sleep(LOADER_PAUSE_S)

    async def finish(self) -> None:
        """Let it take a last pass, and end."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(LOADING_S):
                await process.wait()
        except TimeoutError:
            log.warning("the usage loader is far behind: what is left is loaded by the next start, or by `headrace usage`")
            process.kill()
            await process.wait()
