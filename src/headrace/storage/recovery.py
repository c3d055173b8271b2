"""What a crash left behind: what was admitted and never ended is written down as lost, and held at its bound.

A segment that is not sealed is locked as long as its process lives; those that can be locked belong to processes that are gone. Their
records are read together, what is open among them is appended to the new log as `Lost` and synced, and only then are they sealed. So a
recovery that is killed at any point is simply done again, and one that was finished finds nothing to do.
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from headrace.core.clock import Moment
from headrace.metering import Admit, Aside, AttemptId, Card, Evidence, Lost, Record, admitted
from headrace.storage.segment import ACTIVE, DRAFT, SEALED, Damage, process_of, read_pieces, records_in, segments
from headrace.storage.usagelog import UsageLog


class Recovery(msgspec.Struct, frozen=True):
    """What was found: segments that were open, attempts held as lost, and bytes that no record could be read from."""

    segments: int
    records: int
    lost: tuple[Lost, ...]
    damages: tuple[Damage, ...]


def recover(usage: Path, log: UsageLog, now: Moment, *, pids: Collection[int] | None = None) -> Recovery:
    """Close the logs of dead processes; of these `pids` only, where given. A log whose process lives is never touched.

    Raises StorageFull where the losses have no room; nothing is sealed then.
    """
    with ExitStack() as held:
        left: dict[Path, int] = {}
        for path in segments(usage):
            if path.suffix == ACTIVE and (pids is None or process_of(path) in pids):
                file = held.enter_context(_locked(path))
                if file is not None:
                    left[path] = file
        for draft in usage.glob(f"*{DRAFT}"):
            if (pids is None or process_of(draft) in pids) and held.enter_context(_locked(draft)) is not None:
                draft.unlink()
        found = _Left()
        contents = {path: found.read(path) for path in left}
        lost = tuple(Lost(admit, now) for admit in found.lost())
        for record in lost:
            log.append(record)
        log.sync()
        for path, content in contents.items():
            _seal(path, left[path], content)
    return Recovery(segments=len(left), records=found.records, lost=lost, damages=tuple(found.damages))


def is_held(usage: Path, pid: int) -> bool:
    """Whether a living process writes to a log under this process id."""
    for path in segments(usage):
        if path.suffix == ACTIVE and process_of(path) == pid:
            with _locked(path) as file:
                if file is None and path.exists():
                    return True
    return False


class _Left:
    """What the segments say together. An end may be read before its admit, since clocks go back and names sort by time."""

    def __init__(self) -> None:
        self.damages: list[Damage] = []
        self.records = 0
        self._files: list[Path] = []
        self._admits: dict[AttemptId, Admit] = {}
        self._ended: set[AttemptId] = set()

    def read(self, path: Path) -> int:
        """Take in a segment; return where what was written in it ends."""
        content, admits = 0, dict[int, bytes]()
        for piece in read_pieces(path, quick=True):
            found = piece.found
            for of in found.earlier:
                admits.pop(of, None)
            admits |= found.admits
            self._take(records_in(found.alone))
            self.records += found.count
            self.damages += piece.damages
            content = max(content, piece.content)
        self._take(records_in([*admits.values()]))
        self._files.append(path)
        return content

    def lost(self) -> list[Admit]:
        """What was admitted and has not ended. An admit that was carried over from one segment to the next may have ended there."""
        if self._admits and len(self._files) > 1:
            for path in self._files:
                for piece in read_pieces(path, quick=True):
                    self._take(records_in(piece.found.ends))
        return [admit for attempt, admit in self._admits.items() if attempt not in self._ended]

    def _take(self, records: Iterable[Record | Aside]) -> None:
        for record in records:
            if isinstance(record, Admit):
                self._admits[record.id] = record
            elif not isinstance(record, (Evidence, Card)):
                self._ended.add(admitted(record).id)


@contextmanager
def _locked(path: Path) -> Iterator[int | None]:
    """The file, open and locked; None where its process lives, or has just sealed it."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_it = path.exists() and os.path.samestat(os.fstat(file), path.stat())
        yield file if is_it else None
    except BlockingIOError:
        yield None
    finally:
        os.close(file)


def _seal(path: Path, file: int, content: int) -> None:
    """Give back what was reserved and never written. Damaged bytes stay where they are."""
    os.ftruncate(file, content)
    os.fsync(file)
    path.rename(path.with_suffix(SEALED))
