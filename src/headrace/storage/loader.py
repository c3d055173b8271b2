"""The one writer of usage into SQLite: it follows the usage log, a transaction a piece.

How far a segment is loaded is written in the same transaction as what was loaded, so a kill at any point loads nothing twice and skips
nothing. It runs as a process of its own, `python -m headrace.storage.loader DATA_FOLDER`, owned by the server: a thread would fight the
event loop for the interpreter. The server keeps a pipe to its standard input; when that closes, the loader takes a last look and ends.
"""

import os
import select
import signal
import sqlite3
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from headrace.core.errors import HeadraceError, NotReady
from headrace.storage.books import book
from headrace.storage.database import connect, transaction
from headrace.storage.folder import FileLock, Layout, make_folder
from headrace.storage.segment import ACTIVE, Damage, Reading, read_pieces, segments

INTERVAL_S: Final = 0.25
WAIT_S: Final = 10.0
POLL_S: Final = 0.02


class Loaded(msgspec.Struct, frozen=True):
    """What a pass over the log took in."""

    records: int
    damages: tuple[Damage, ...]


class Loader:
    """Follows the log of one data folder. Its caller holds the loader's lock."""

    def __init__(self, usage: Path, database: sqlite3.Connection) -> None:
        self._usage, self._database = usage, database
        self._loaded: dict[str, int] = dict(database.execute("SELECT name, loaded FROM segment"))
        self._complete: set[str] = {name for (name,) in database.execute("SELECT name FROM segment WHERE complete")}

    def load(self) -> Loaded:
        """Take in all that the log holds now."""
        records = 0
        damages: list[Damage] = []
        for path in segments(self._usage):
            if path.stem in self._complete:
                continue
            try:
                for piece in read_pieces(path, self._loaded.get(path.stem, 0), live=path.suffix == ACTIVE):
                    self._take(path, piece)
                    records += len(piece.records)
                    damages += piece.damages
            except FileNotFoundError:
                continue  # sealed between our look at the folder and at the file: the next pass finds it under its new name
        return Loaded(records, tuple(damages))

    def _take(self, path: Path, piece: Reading) -> None:
        complete = piece.ended and path.suffix != ACTIVE
        if piece.end == self._loaded.get(path.stem) and not complete:
            return
        with transaction(self._database):
            book(self._database, piece.records)
            self._database.execute(
                "INSERT INTO segment (name, loaded, complete, damaged) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
                "SET loaded = excluded.loaded, complete = excluded.complete, damaged = damaged + excluded.damaged",
                (path.stem, piece.end, complete, sum(damage.length for damage in piece.damages)),
            )
        self._loaded[path.stem] = piece.end
        if complete:
            self._complete.add(path.stem)


def load_once(layout: Layout, pid: int) -> Loaded:
    """Have the database show all that the log holds as of now. Where a loader is at work, wait for it instead.

    Raises NotReady when that loader does not get there.
    """
    lock = FileLock(layout.loader_lock)
    targets = _ends(layout)
    for _ in range(int(WAIT_S / POLL_S)):
        if lock.take(pid):
            try:
                return _load_alone(layout)
            finally:
                lock.release()
        if _reached(layout, targets):
            return Loaded(0, ())
        time.sleep(POLL_S)
    raise NotReady(f"the usage loader (process {lock.holder()}) does not keep up with the usage log: try again, or restart the server")


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


def _load_alone(layout: Layout) -> Loaded:
    database = connect(layout.database)
    try:
        return Loader(layout.usage, database).load()
    finally:
        database.close()


def _ends(layout: Layout) -> dict[str, int]:
    """Where each segment that is not complete ends now, from how far it is loaded."""
    database = connect(layout.database)
    try:
        rows = database.execute("SELECT name, loaded, complete FROM segment").fetchall()
    finally:
        database.close()
    loaded = {name: bytes_loaded for name, bytes_loaded, _ in rows}
    complete = {name for name, _, whole in rows if whole}
    ends: dict[str, int] = {}
    for path in segments(layout.usage):
        if path.stem not in complete:
            for piece in read_pieces(path, loaded.get(path.stem, 0), live=True):
                ends[path.stem] = piece.end
    return ends


def _reached(layout: Layout, targets: dict[str, int]) -> bool:
    database = connect(layout.database)
    try:
        loaded: dict[str, int] = dict(database.execute("SELECT name, loaded FROM segment"))
    finally:
        database.close()
    return all(loaded.get(name, 0) >= end for name, end in targets.items())


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
