"""What is wrong with this installation, and what to do: each check looks at one thing and tells one finding."""

import contextlib
import platform
import shutil
import socket
import stat
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from headrace.compose.clock import MachineClock, process_id
from headrace.compose.outfit import browser_of
from headrace.compose.place import Place, cache_folder, version
from headrace.compose.prices import price_book
from headrace.compose.settings import Settings
from headrace.compose.world import EMBEDDED, fixed_keys
from headrace.core.errors import HeadraceError, StoreUnreachable
from headrace.engine import find, installed
from headrace.engine.gguf import read_gguf
from headrace.sandbox import try_level
from headrace.storage import FileLock, Layout, SharedState, audit_break, connect, verify
from headrace.storage.segment import read_pieces, segments

State: TypeAlias = Literal["good", "note", "bad"]
DISK_BYTES_MIN = 1 << 30


class Finding(msgspec.Struct, frozen=True):
    """One check: `bad` must be mended, by `remedy`; a `note` is worth knowing."""

    state: State
    what: str
    remedy: str = ""


def examine(place: Place) -> Iterator[Finding]:
    """Look at everything that a start or a bill depends on, the most basic first."""
    yield Finding("good", f"headrace {version()} on Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    try:
        settings = place.settings()
    except HeadraceError as wrong:
        yield Finding("bad", wrong.message, "mend the settings; nothing else can be looked at before")
        return
    yield Finding("good", "the settings are read")
    layout = Layout(Path(settings.storage.path))
    for check in (_secrets, _runtime, _weights, _prices, _port, _disk, _sandbox, _shared):
        yield from _kept(lambda check=check: check(place, settings))  # type: ignore[misc]
    if not layout.root.exists():
        yield Finding("note", f"the data folder {layout.root} does not exist yet", "the first `headrace serve` makes it")
        return
    for look in (_modes, _database, _log, _books):
        yield from _kept(lambda look=look: look(layout))  # type: ignore[misc]


def _kept(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check that fails is a finding, too."""
    try:
        yield from check()
    except HeadraceError as wrong:
        yield Finding("bad", wrong.message)
    except OSError as wrong:
        yield Finding("bad", f"{wrong.filename or 'a file'} can't be looked at: {wrong.strerror}", "check its owner and its disk")


def _secrets(place: Place, settings: Settings) -> Iterator[Finding]:
    fixed_keys(settings, place.environ, 0)
    for pool in settings.pool:
        if pool.api_key_env and not place.environ.get(pool.api_key_env):
            yield Finding("bad", f"pool {pool.name} has no key: {pool.api_key_env} is not set", f"export {pool.api_key_env}=…")


def _runtime(place: Place, settings: Settings) -> Iterator[Finding]:
    if not _runs_locally(settings):
        return
    found = [name for name in ("openvino_genai", "xllamacpp") if find_spec(name)]
    if not found:
        yield Finding("bad", "no runtime for the embedded engine is installed", "pip install 'headrace[engine]'")
    elif "openvino_genai" not in found:
        yield Finding("note", "openvino-genai is not installed: the embedded engine runs on llama.cpp, several times slower in batch")
    else:
        yield Finding("good", f"runtimes of the embedded engine: {', '.join(found)}")


def _weights(place: Place, settings: Settings) -> Iterator[Finding]:
    if not _runs_locally(settings):
        return
    cache = cache_folder(place.environ)
    if settings.engine.weights is not None:
        path = find(settings.engine.weights, cache)
        facts = read_gguf(path)
        yield Finding("good", f"the weights {path.name} can be read: {facts.architecture}, context {facts.context}")
    elif installed(cache):
        yield Finding("good", f"weights in {cache}: {', '.join(one.name for one in installed(cache))}")
    else:
        yield Finding(
            "note", "no weights are here yet", "the first `headrace serve` fetches them, or bring some with `headrace models add`"
        )


def _prices(place: Place, settings: Settings) -> Iterator[Finding]:
    book = price_book(settings)
    priced = {row.model for row in book.rows}
    for model in sorted({model for pool in settings.pool for model in pool.models} - priced):
        yield Finding(
            "note", f"{model} has no price: its usage is counted and stays unpriced", f'give [[model]] name = "{model}" its usd_per_mtok'
        )


def _port(place: Place, settings: Settings) -> Iterator[Finding]:
    server = settings.server
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((server.host, server.port))
        except OSError as wrong:
            yield Finding(
                "note",
                f"{server.host} port {server.port}: {wrong.strerror}",
                "a server runs there already; if it isn't ours, choose another --port",
            )
        else:
            yield Finding("good", f"{server.host} port {server.port} is free")


def _disk(place: Place, settings: Settings) -> Iterator[Finding]:
    folder = Path(settings.storage.path).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    state: State = "good" if free >= DISK_BYTES_MIN else "bad"
    yield Finding(
        state, f"{free >> 20:,} MiB are free for the data folder", "" if state == "good" else "free some: a full disk stops new requests"
    )


def _sandbox(place: Place, settings: Settings) -> Iterator[Finding]:
    level = try_level()
    remedy = "" if level.rung == 3 else "agents run commands only in a sandbox; docs/guides/agents.md says what each level holds"
    yield Finding("good" if level.rung == 3 else "note", f"the sandbox for agents is at {level.says}" if level.rung else level.says, remedy)
    browser = browser_of(settings, place.environ)
    if browser is not None and level.rung == 3:
        yield Finding("good", f"agents can browse with {browser}")
    elif settings.agents.browser:
        yield Finding(
            "note",
            "agents have no browser here",
            "it needs level 3 of the sandbox, Chromium (Debian, Ubuntu: apt install chromium), and pip install 'headrace[workspace]'",
        )


def _shared(place: Place, settings: Settings) -> Iterator[Finding]:
    if settings.storage.url is None:
        return
    state = SharedState(Layout(Path(settings.storage.path)), settings.storage.url, MachineClock().instant)
    try:
        with state.opened() as database:
            processes, hosts = database.execute("SELECT count(*), count(DISTINCT host) FROM runner").fetchone()
            broken = audit_break(database)
    except StoreUnreachable as wrong:
        cause = " ".join(str(wrong.__cause__ or wrong).split())
        yield Finding("bad", f"PostgreSQL can't be reached: {cause}", "check [storage] url, and that the database runs")
        return
    yield Finding("good", f"PostgreSQL can be reached: {processes} processes on {hosts} hosts work with it")
    if broken is not None:
        yield Finding("bad", f"the audit log is not whole: {broken}", "compare it with an export (`headrace audit export`)")
    if settings.files.url is None:
        yield Finding("note", "the bytes of files lie in this host's data folder, where no other host finds them", "set [files] url")


def _modes(layout: Layout) -> Iterator[Finding]:
    for path in (layout.root, layout.development_key):
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
            yield Finding("bad", f"others can read {path}", f"chmod go-rwx {path}")
    lock = FileLock(layout.lock)
    if lock.take(process_id()):
        lock.release()
        yield Finding("good", "the data folder is free")
    else:
        yield Finding("note", f"a server runs on this data folder (process {lock.holder()})")


def _database(layout: Layout) -> Iterator[Finding]:
    if not layout.database.exists():
        return
    with contextlib.closing(connect(layout.database)) as database:
        problems = [row[0] for row in database.execute("PRAGMA quick_check(3)") if row[0] != "ok"]
    if problems:
        yield Finding("bad", f"the database {layout.database} is damaged: {'; '.join(problems)}", "stop the server and move the file away")
    else:
        yield Finding("good", "the database is sound")


def _log(layout: Layout) -> Iterator[Finding]:
    found = [damage for path in segments(layout.usage) for piece in read_pieces(path, live=True) for damage in piece.damages]
    for damage in found:
        yield Finding("bad", str(damage), "the file is kept as it is; what is around the damage is read")
    if not found:
        yield Finding("good", "every record of the usage log can be read")


def _books(layout: Layout) -> Iterator[Finding]:
    if not layout.database.exists():
        return
    with contextlib.closing(connect(layout.database)) as database:
        differences = verify(database, layout.usage)
    for difference in differences:
        yield Finding("bad", str(difference), "keep the data folder and report this: it must never happen")
    if not differences:
        yield Finding("good", "the books agree with the usage log")


def _runs_locally(settings: Settings) -> bool:
    return any(pool.dialect == "local" for pool in settings.pool or (EMBEDDED,))
