"""A place in one process's usage log, and what was paid and left open after it.

A holder of leases tells how its slices stand together with the place where its log ends at that moment, and an attempt is paid out of
its slices in the same breath as its end is appended. So after its death all that it had not told is what lies after the last place.
"""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from headrace.metering import Admit, AttemptId, Record, Settle, Void
from headrace.storage.segment import ACTIVE, SEALED, process_of, read_pieces, segments


class Mark(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The segment, by its name without its ending, and the bytes of it that are told of."""

    segment: str
    offset: int


START = Mark("", 0)


class Left(msgspec.Struct, frozen=True):
    """What was paid on each account after a mark, and what was admitted and has no end."""

    paid: dict[int, int]
    open: tuple[Admit, ...]


def left_after(usage: Path, pid: int, epoch: int, mark: Mark) -> Left:
    """Read the log of a process that is gone, from the segment of `mark` on."""
    paid: dict[int, int] = {}
    opened: dict[AttemptId, Admit] = {}
    ended: set[AttemptId] = set()
    for path in segments(usage):
        if path.suffix not in (ACTIVE, SEALED) or process_of(path) != pid or path.stem < mark.segment:
            continue
        told = mark.offset if path.stem == mark.segment else 0
        for before, records in _records(path, told):
            for record in records:
                _take(record, epoch, None if before else paid, opened, ended)
    return Left(paid, tuple(admit for attempt, admit in opened.items() if attempt not in ended))


def _records(path: Path, told: int) -> Iterable[tuple[bool, list[Record]]]:
    """All records of a segment, in two parts: those that were told of, and the others."""
    for start, stop, before in ((0, told, True), (told, None, False)):
        if before and not told:
            continue
        for piece in read_pieces(path, start, stop=stop):
            yield before, [record for record in piece.records if isinstance(record, (Admit, Settle, Void))]


def _take(record: Record, epoch: int, paid: dict[int, int] | None, opened: dict[AttemptId, Admit], ended: set[AttemptId]) -> None:
    admit = record if isinstance(record, Admit) else record.admitted
    if admit.epoch != epoch:
        return
    if isinstance(record, Admit):
        opened[admit.id] = admit
        return
    ended.add(admit.id)
    if isinstance(record, Settle) and paid is not None:
        for account in admit.accounts:
            paid[account] = paid.get(account, 0) + (record.cost_pico or 0)
