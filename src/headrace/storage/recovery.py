"""What a crash left behind: what was admitted and never ended is written down as lost, and held at its bound.

Every unsealed segment of the folder belongs to a process that is gone, because the caller holds the folder's lock. Their records are
read together, what is open among them is appended to the new log as `Lost` and synced, and only then are they sealed. So a recovery
that is killed at any point is simply done again, and one that was finished finds nothing to do.
"""

import os
from pathlib import Path

import msgspec

from headrace.core.clock import Moment
from headrace.metering import Admit, AttemptId, Lost, admitted
from headrace.storage.segment import ACTIVE, SEALED, Damage, read_pieces, segments
from headrace.storage.usagelog import UsageLog


class Recovery(msgspec.Struct, frozen=True):
    """What was found: segments that were open, attempts held as lost, and bytes that no record could be read from."""

    segments: int
    records: int
    lost: tuple[Lost, ...]
    damages: tuple[Damage, ...]


def recover(usage: Path, log: UsageLog, now: Moment) -> Recovery:
    """Close the logs of dead processes. Raises StorageFull where the losses have no room; nothing is sealed then."""
    left = [path for path in segments(usage) if path.suffix == ACTIVE and path != log.path]
    found = _Found()
    contents = {path: found.read(path) for path in left}
    lost = tuple(Lost(admit, now) for attempt, admit in found.admits.items() if attempt not in found.ended)
    for record in lost:
        log.append(record)
    log.sync()
    for path, content in contents.items():
        _seal(path, content)
    return Recovery(segments=len(left), records=found.records, lost=lost, damages=tuple(found.damages))


class _Found:
    """What the segments say together. An end may be read before its admit, since clocks go back and names sort by time."""

    def __init__(self) -> None:
        self.admits: dict[AttemptId, Admit] = {}
        self.ended: set[AttemptId] = set()
        self.damages: list[Damage] = []
        self.records = 0

    def read(self, path: Path) -> int:
        """Take in a segment; return where what was written in it ends."""
        content = 0
        for piece in read_pieces(path):
            for record in piece.records:
                if isinstance(record, Admit):
                    self.admits[record.id] = record
                else:
                    attempt = admitted(record).id
                    self.admits.pop(attempt, None)
                    self.ended.add(attempt)
            self.records += len(piece.records)
            self.damages += piece.damages
            content = max(content, piece.content)
        return content


def _seal(path: Path, content: int) -> None:
    """Give back what was reserved and never written. Damaged bytes stay where they are."""
    file = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(file, content)
        os.fsync(file)
    finally:
        os.close(file)
    path.rename(path.with_suffix(SEALED))
