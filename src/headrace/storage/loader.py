"""The process that keeps SQLite up to the usage log: `python -m headrace.storage.loader DATA_FOLDER`, owned by the server.

A process of its own, since a thread would fight the event loop for the interpreter. The server keeps a pipe to its standard input;
when that closes, because the server ended or died, the loader takes a last look and ends.
"""

import os
import select
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Final

from headrace.core.errors import HeadraceError, NotReady
from headrace.storage.database import connect
from headrace.storage.folder import FileLock, Layout, make_folder
from headrace.storage.loading import POLL_S, Loaded, Loader

INTERVAL_S: Final = 0.25


def follow(layout: Layout, pid: int) -> None:
    """Load until standard input closes, and once more then."""
    lock = FileLock(layout.loader_lock)
    while not lock.take(pid):  # the loader of a server that has just gone is on its last pass
        if _is_closed(POLL_S):
            return
    database = connect(layout.database)
    try:
        loader = Loader(layout.usage, database)
        complaint = ""
        while not _is_closed(INTERVAL_S):
            complaint = _try(loader, complaint)
        _report(loader.load())
    finally:
        database.close()
        lock.release()


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m headrace.storage.loader DATA_FOLDER < PIPE\n")
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer; we end when it closes our pipe
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        follow(make_folder(Path(arguments[0])), os.getpid())
    except (HeadraceError, sqlite3.Error, OSError) as error:
        sys.stderr.write(f"the usage loader stopped: {error}\n")
        return 1
    return 0


def _is_closed(wait_s: float) -> bool:
    """Wait, and say whether the server has closed our standard input."""
    readable, _, _ = select.select([0], [], [], wait_s)
    return bool(readable) and not os.read(0, 4096)


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
