"""Usage into SQLite, by one writer: it takes the usage log in from where it left off, a transaction a piece.

How far a segment is loaded is written in the same transaction as what was loaded, so a kill at any point loads nothing twice and skips
nothing.
"""

import sqlite3
import time
from pathlib import Path
from typing import Final

import msgspec

from headrace.core.errors import NotReady
from headrace.storage.books import book
from headrace.storage.database import connect, transaction
from headrace.storage.folder import FileLock, Layout
from headrace.storage.segment import ACTIVE, Damage, Reading, read_pieces, segments

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


def load_once(layout: Layout, pid: int, *, wait_s: float = WAIT_S) -> Loaded:
    """Have the database show all that the log holds as of now. Where a loader is at work, wait for it instead.

    Raises NotReady when that loader does not get there.
    """
    lock = FileLock(layout.loader_lock)
    targets: dict[str, int] | None = None
    for _ in range(max(1, int(wait_s / POLL_S))):
        if lock.take(pid):
            try:
                return _load_alone(layout)
            finally:
                lock.release()
        if targets is None:
            targets = _ends(layout)
        if _reached(layout, targets):
            return Loaded(0, ())
        time.sleep(POLL_S)
    raise NotReady(f"the usage loader (process {lock.holder()}) does not keep up with the usage log: try again, or restart the server")


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
