"""The log of one run: each event a line, chained by hashes, written before the next thing is done.

A line is `{"seq":…,"at":…,"event":{…},"hash":"…"}`, whose hash is taken over the hash before it and everything else of the line; so
nothing can be changed, left out or put in between without all that follows telling. One `write(2)` a line survives `kill -9`; what an
effect depends on is synced to the disk as well. Who writes holds the file's lock, which the system takes back when the process dies,
however it dies.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from headrace.agents.events import Event
from headrace.core.clock import Moment
from headrace.core.errors import RunBusy, RunLogDamaged, RunNotFound

_FIRST: Final = "0" * 64
_HASH_AT_END: Final = len('"hash":""}') + 64


class Entry(msgspec.Struct, frozen=True):
    """One event, when and as which of the run it happened."""

    seq: int
    at: Moment
    event: Event
    hash: str = ""


class RunLog:
    """A run's log, open for writing by this process alone. `entries` is all that is in it."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """Open it, or make it. A line that a crash cut short is taken away. Raises RunNotFound, RunBusy, RunLogDamaged."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if new else 0)
        try:
            self._file = os.open(path, flags, 0o600)
        except FileNotFoundError:
            raise RunNotFound(path.parent.name) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise RunBusy(f"Run {path.parent.name} is being worked on by another process.") from None
        try:
            content = path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if len(whole) < len(content):
                os.ftruncate(self._file, len(whole))
            self.entries = list(read_entries(whole))
        except BaseException:
            os.close(self._file)
            raise
        self._last = self.entries[-1].hash if self.entries else _FIRST
        self._seq = len(self.entries)

    def append(self, event: Event, at: Moment, *, durable: bool) -> Entry:
        """Write it down. `durable`: not only past our own death, but past the machine's."""
        body = msgspec.json.encode(Entry(self._seq, at, event))[: -len('"hash":""}')]
        digest = _chained(self._last, body)
        line = body + b'"hash":"' + digest.encode() + b'"}\n'
        written = os.write(self._file, line)
        assert written == len(line), "a line is written whole, or the disk is full and raises"
        if durable:
            os.fdatasync(self._file)
        entry = Entry(self._seq, at, event, digest)
        self._last, self._seq = digest, self._seq + 1
        self.entries.append(entry)
        return entry

    def close(self) -> None:
        os.close(self._file)


def read_entries(content: bytes) -> Iterator[Entry]:
    """The entries of a log, checked one by one. Raises RunLogDamaged at the first that is not as it was written."""
    last = _FIRST
    for number, line in enumerate(content.splitlines()):
        try:
            entry = msgspec.json.decode(line, type=Entry)
        except msgspec.MsgspecError as wrong:
            raise RunLogDamaged(f"Event {number} of the log can't be read: {wrong}") from wrong
        if entry.seq != number or entry.hash != _chained(last, line[:-_HASH_AT_END]):
            raise RunLogDamaged(f"Event {number} of the log is not the one that was written.")
        last = entry.hash
        yield entry


def read_run(path: Path) -> tuple[Entry, ...]:
    """All whole entries of a run's log, without holding it. Raises RunNotFound, RunLogDamaged."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise RunNotFound(path.parent.name) from None
    return tuple(read_entries(content[: content.rfind(b"\n") + 1]))


def _chained(last: str, body: bytes) -> str:
    return hashlib.sha256(last.encode() + body).hexdigest()
