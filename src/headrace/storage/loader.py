"""The process that keeps SQLite up to the usage log: `python -m headrace.storage DATA_FOLDER [INTERVAL_MS]`, owned by the server.

A process of its own, since a thread would fight the event loop for the interpreter; and it has a child that syncs the log every
INTERVAL_MS, since that must not wait while it loads. The server keeps a pipe to its standard input; when that closes, because the server
ended or died, the loader takes a last look and ends. It looks once a second, and at once when the log's folder has changed, and gives way
to the server: what it knows may be a moment old, and no request shall wait for it.
"""

import gc
import os
import select
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from headrace.core.errors import HeadraceError, NotReady
from headrace.storage.database import connect
from headrace.storage.folder import FileLock, Layout, make_folder
from headrace.storage.loading import POLL_S, Loaded, Loader
from headrace.storage.syncer import Syncer
from headrace.storage.usagelog import SYNC_INTERVAL_MS

INTERVAL_S: Final = 1.0
TICK_S: Final = 0.1
STDIN: Final = 0
NICE: Final = 10
"""A pass takes tens of milliseconds of a processor, once a second. Where all are busy, requests go first, and the loader still has a tenth
of one: that is as many requests a second as a server can take."""


def follow(layout: Layout, pid: int) -> None:
    """Load until standard input closes, and once more then."""
    lock = FileLock(layout.loader_lock)
    while not lock.take(pid):  # the loader of a server that has just gone is on its last pass
        if _is_closed(POLL_S, STDIN):
            return
    database = connect(layout.database)
    try:
        loader = Loader(layout.usage, database)
        complaint, waited_s = "", INTERVAL_S
        while not _is_closed(TICK_S, STDIN):
            waited_s += TICK_S
            if waited_s >= INTERVAL_S or loader.is_called:
                complaint, waited_s = _try(loader, complaint), 0.0
        _report(loader.load())
    finally:
        database.close()
        lock.release()


@contextmanager
def syncing(usage: Path, interval_ms: int) -> Iterator[None]:
    """A child that syncs the log, as long as this process and the server live."""
    told, tells = os.pipe()
    child = os.fork()
    if not child:
        os.close(tells)
        _sync(usage, interval_ms, told)
    os.close(told)
    try:
        yield
    finally:
        os.close(tells)
        os.waitpid(child, 0)


def main(arguments: list[str]) -> int:
    if not 1 <= len(arguments) <= 2 or not all(argument.isdigit() and int(argument) for argument in arguments[1:]):
        sys.stderr.write("usage: python -m headrace.storage DATA_FOLDER [INTERVAL_MS] < PIPE\n")
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer; we end when it closes our pipe
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gc.disable()  # rows are many and make no cycles: each look for garbage would go through all of them
    try:
        layout = make_folder(Path(arguments[0]))
        with syncing(layout.usage, int(arguments[1]) if len(arguments) > 1 else SYNC_INTERVAL_MS):
            os.nice(NICE)  # the child that syncs goes on as it was: durability waits for nobody
            follow(layout, os.getpid())
    except (HeadraceError, sqlite3.Error, OSError) as error:
        sys.stderr.write(f"the usage loader stopped: {error}\n")
        return 1
    return 0


def _sync(usage: Path, interval_ms: int, told: int) -> None:
    """The child's life; it ends here."""
    status = 1
    try:
        Syncer(usage, interval_ms).keep(lambda wait_s: _is_closed(wait_s, STDIN, told))
        status = 0
    except OSError as error:
        sys.stderr.write(f"the usage log is not synced by the loader ({error}): the server does it itself\n")
    finally:
        os._exit(status)


def _is_closed(wait_s: float, *files: int) -> bool:
    """Wait, and say whether one of these has been closed at its other end."""
    readable, _, _ = select.select(files, [], [], wait_s)
    return any(not os.read(file, 4096) for file in readable)


def _try(loader: Loader, complaint: str) -> str:
    """A pass; on failure (the database is busy, the disk full) say so once: the next pass takes in what this one could not."""
    try:
        _report(loader.load())
    except (NotReady, sqlite3.OperationalError) as error:
        if str(error) != complaint:
            sys.stderr.write(f"usage is not loaded for now: {error}\n")
        return str(error)
    return ""


def _report(loaded: Loaded) -> None:
    for damage in loaded.damages:
        sys.stderr.write(f"{damage}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
