"""Usage into SQLite, by one writer: it takes the usage log in from where it left off, a transaction a piece.

How far a segment is loaded is written in the same transaction as what was loaded, so a kill at any point loads nothing twice and skips
nothing.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from headrace.core.errors import NotReady
from headrace.metering.chain import START, linked
from headrace.storage.audit import digest_of
from headrace.storage.books import Bookkeeper
from headrace.storage.database import connect, transaction
from headrace.storage.folder import FileLock, Layout
from headrace.storage.rollups import tidy
from headrace.storage.segment import ACTIVE, Damage, Reading, read_pieces, read_segment, segments

WAIT_S: Final = 10.0
POLL_S: Final = 0.02
TIDIED_MAX: Final = 24  # hours whose sums are made in one pass


class Loaded(msgspec.Struct, frozen=True):
    """What a pass over the log took in."""

    records: int
    damages: tuple[Damage, ...]


class Loader:
    """Follows the logs of one data folder, whichever processes write them. Its caller holds the loader's lock."""

    def __init__(self, usage: Path, database: sqlite3.Connection) -> None:
        self._usage, self._database, self._books = usage, database, Bookkeeper(database)
        self._loaded: dict[str, int] = dict(database.execute("SELECT name, loaded FROM segment"))
        self._complete: set[str] = {name for (name,) in database.execute("SELECT name FROM segment WHERE complete")}
        self._left: list[Path] = []
        self._changed, self._lists = 0, 0

    def load(self) -> Loaded:
        """Take in all that the log holds now."""
        records = 0
        damages: list[Damage] = []
        for path in self._list():
            try:
                for piece in self._pieces(path):
                    records += piece.found.count
                    damages += piece.damages
            except FileNotFoundError:
                continue  # sealed between our look at the folder and at the file: the next pass finds it under its new name
        if not records:
            tidy(self._database, TIDIED_MAX)
        return Loaded(records, tuple(damages))

    @property
    def is_called(self) -> bool:
        """The folder has changed: there is a new segment, or somebody waits for what the log holds."""
        return os.stat(self._usage).st_mtime_ns != self._changed

    def _list(self) -> list[Path]:
        """The segments that are not complete. The folder is read when it has changed, and once more, since clocks tick slowly."""
        changed = os.stat(self._usage).st_mtime_ns
        if changed != self._changed:
            self._changed, self._lists = changed, 2
        if self._lists:
            self._lists -= 1
            self._left = segments(self._usage)
        self._left = [path for path in self._left if path.stem not in self._complete]
        return self._left

    def _pieces(self, path: Path) -> Iterator[Reading]:
        """Take in a segment from where we left off, and yield each piece of it that was read."""
        live, ended = path.suffix == ACTIVE, False
        while not ended:
            start = self._loaded.get(path.stem, 0)
            piece = read_segment(path, start, live=live, quick=True)
            try:
                self._take(path, piece)
            except msgspec.MsgspecError:  # a whole frame that is no record: look at each
                piece = read_segment(path, start, live=live)
                self._take(path, piece)
            yield piece
            ended = piece.ended

    def _take(self, path: Path, piece: Reading) -> None:
        complete = piece.ended and path.suffix != ACTIVE
        if piece.end == self._loaded.get(path.stem, 0) and not complete:
            return
        try:
            with transaction(self._database):
                self._books.take(piece.found)
                self._chain(path, piece.end)
                self._database.execute(
                    "INSERT INTO segment (name, loaded, complete, damaged) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
                    "SET loaded = excluded.loaded, complete = excluded.complete, damaged = damaged + excluded.damaged",
                    (path.stem, piece.end, complete, sum(damage.length for damage in piece.damages)),
                )
        except BaseException:
            self._books.forget()
            raise
        self._loaded[path.stem] = piece.end
        if complete:
            self._complete.add(path.stem)

    def _chain(self, path: Path, end: int) -> None:
        """A page of the ledger's chain: these bytes were loaded, after all those before."""
        start = self._loaded.get(path.stem, 0)
        if end == start:
            return
        number, before = self._database.execute("SELECT id, hash FROM page ORDER BY id DESC LIMIT 1").fetchone() or (0, START)
        digest = digest_of(path, start, end)
        self._database.execute(
            "INSERT INTO page (id, segment, start, stop, digest, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (number + 1, path.stem, start, end, digest, linked(before, path.stem, start, end, digest)),
        )


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
            os.utime(layout.usage)  # a loader looks at once at a folder that has changed
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
            for piece in read_pieces(path, loaded.get(path.stem, 0), live=True, quick=True):
                ends[path.stem] = piece.end
    return ends


def _reached(layout: Layout, targets: dict[str, int]) -> bool:
    database = connect(layout.database)
    try:
        loaded: dict[str, int] = dict(database.execute("SELECT name, loaded FROM segment"))
    finally:
        database.close()
    return all(loaded.get(name, 0) >= end for name, end in targets.items())
