"""What is opened before the event loop runs: the address, the data folder, keys, the usage log, the weights."""

import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from headrace.compose.clock import MachineClock, Names, process_id
from headrace.compose.moving import check_moved
from headrace.compose.place import cache_folder
from headrace.compose.prices import price_book
from headrace.compose.settings import ServerSettings, Settings
from headrace.compose.world import Fetched, LocalPool, fixed_keys, local_pools, what_exists
from headrace.core.clock import SECOND, Instant
from headrace.core.errors import DataFolderLocked, PortInUse, SetupError, StoreUnreachable
from headrace.metering import KeyRow, digest, shown
from headrace.storage import (
    Database,
    DataFolder,
    KeyRing,
    KeyStore,
    Layout,
    SharedState,
    UsageLog,
    bury_host,
    development_key,
    host_id,
    recover,
)

log = logging.getLogger("headrace")
BACKLOG = 4_096
DYING_S = 10
"""How much longer than `stop_timeout_s` the workers of a killed server may take: they book and close what they have open."""
LOOK_S = 0.1


class House(msgspec.Struct, frozen=True, kw_only=True):
    """What a server has once, however many processes serve: the data folder, its name among the hosts, the development key, the weights."""

    settings: Settings
    environ: Mapping[str, str]
    clock: MachineClock
    names: Names
    layout: Layout
    state: SharedState
    host: str
    secret: str
    admins: frozenset[str]
    local: Sequence[LocalPool]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """What one process of a server serves with. `runner` is its name among those that work on what is kept."""

    house: House
    names: Names
    runner: str
    listener: socket.socket
    usage_log: UsageLog
    ring: KeyRing


def _hold(settings: Settings, clock: MachineClock) -> DataFolder:
    """The data folder, ours. After a server that was killed this waits for its workers, as long as they may end their answers."""
    until: Instant | None = None
    while True:
        try:
            return DataFolder.hold(Path(settings.storage.path), process_id())
        except DataFolderLocked as error:
            if not error.dying or (until is not None and clock.instant() > until):
                raise
            if until is None:
                patience_s = settings.server.stop_timeout_s + DYING_S
                log.warning("the server before this one was killed: waiting up to %d s for its workers to end their answers", patience_s)
                until = Instant(clock.instant() + patience_s * SECOND)
            time.sleep(LOOK_S)


def open_house(settings: Settings, environ: Mapping[str, str], clock: MachineClock, fetched: Fetched, closing: ExitStack) -> House:
    """Hold the data folder, find what a killed server left, and have the weights at hand. Raises SetupError."""
    names = Names(clock)
    layout = closing.enter_context(_hold(settings, clock)).layout
    fixed_keys(settings, environ, clock.moment())
    state = SharedState(layout, settings.storage.url, clock.instant)
    what_exists(settings, (), price_book(settings), clock.moment())  # what is wrong with it is said before anything is fetched
    host = host_id(layout, names("host_"))
    with _reached():
        check_moved(state)
    with _reached(), state.opened() as database:
        development, secret = _development_key(database, layout, clock, names)
        bury_host(database, host)
    local = local_pools(settings, cache_folder(environ), names, log, fetched)
    bury(layout, clock, names, settings)
    return House(
        settings=settings,
        environ=environ,
        clock=clock,
        names=names,
        layout=layout,
        state=state,
        host=host,
        secret=secret,
        admins=frozenset((development, *(f"settings:{key.name}" for key in settings.key if key.admin))),
        local=local,
    )


def open_process(house: House, listener: socket.socket, closing: ExitStack) -> Opened:
    """A usage log and a view of the keys of this process's own."""
    names = Names(house.clock)
    settings = house.settings
    usage_log = UsageLog(house.layout.usage, clock=house.clock, pid=process_id(), process=names("process_"), settings=settings.storage)
    closing.callback(usage_log.close)
    fixed = fixed_keys(settings, house.environ, house.clock.moment())
    with _reached():
        news = house.state.follow(settings.storage.keys_stale_max_s * SECOND)
    ring = closing.enter_context(contextlib.closing(KeyRing(news, fixed)))
    return Opened(house=house, names=names, runner=names("runner_"), listener=listener, usage_log=usage_log, ring=ring)


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    """At a start, a database that can't be reached is a reason not to start."""
    try:
        yield
    except StoreUnreachable as error:
        cause = " ".join(str(error.__cause__ or error).split())
        raise SetupError(f"PostgreSQL can't be reached ({cause}): check [storage] url, and that the database runs") from error


def bury(layout: Layout, clock: MachineClock, names: Names, settings: Settings) -> None:
    """Book what processes that were killed had open: it is billed at its bound, as estimates, until its usage is known."""
    usage_log = UsageLog(layout.usage, clock=clock, pid=process_id(), process=names("process_"), settings=settings.storage)
    try:
        found = recover(layout.usage, usage_log, clock.moment())
    finally:
        usage_log.close()
    for damage in found.damages:
        log.error("%s", damage)
    if found.lost:
        log.warning(
            "the last server was killed while %d attempts ran: they are billed at their bound, as estimates, until their usage is known",
            len(found.lost),
        )


def _development_key(database: Database, layout: Layout, clock: MachineClock, names: Names) -> tuple[str, str]:
    """The id and the secret of a key that works, for whoever can read the data folder; a revoked one is followed by another."""
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
        held = KeyStore(database, layout).ensure(row)
        if held.revoked is None:
            return held.id, secret
        layout.development_key.unlink()


@contextlib.contextmanager
def listening(settings: ServerSettings, *, shared: bool = False) -> Iterator[socket.socket]:
    """The door's address. `shared`: other processes of this server listen there too, and the system deals connections out to them.

    Raises PortInUse or SetupError.
    """
    with reserved(settings, shared=shared) as listener:
        listener.listen(BACKLOG)
        yield listener


@contextlib.contextmanager
def reserved(settings: ServerSettings, *, shared: bool = False) -> Iterator[socket.socket]:
    """The door's address, taken, while nobody listens there yet."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    where = f"{settings.host} port {settings.port}"
    with socket.socket(family, socket.SOCK_STREAM) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            held.bind((settings.host, settings.port))
        except OSError as wrong:
            taken = "Address already in use" in str(wrong)
            remedy = f"another program listens there: stop it, or choose another port with --port {settings.port + 1}"
            raise (PortInUse if taken else SetupError)(
                f"cannot listen on {where}: {remedy if taken else wrong.strerror or wrong}"
            ) from None
        held.setblocking(False)
        yield held
