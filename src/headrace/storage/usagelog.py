"""The usage log: what was admitted and how it ended, on disk before anybody relies on it.

An append puts one frame where the system has it at once, so a killed process loses nothing; all appends of a few milliseconds are synced
together, so a power cut loses at most those. Room is reserved ahead: an admit is taken only while every open admit, this one included, is
sure of room for its end. A full disk therefore refuses new work, and never loses the record of old work.

A segment that is full is followed by a new one. The admits that are open are said again in the new one, and then the old one is
sealed: cut to what was written and renamed. So each unsealed segment can be recovered without those before it.

It is the loader's process that syncs, see `syncer`; where none does (it has not begun yet, or has died), the log syncs itself.
"""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import InternalFailure, InvalidRequest, StorageFull
from headrace.core.translation import Change
from headrace.metering import Admit, Aside, AttemptId, Evidence, Lost, Record, Settle, Void
from headrace.storage.filesystem import keeps_reservations
from headrace.storage.segment import FRAME_MAX, FRAME_SIZE, RECORD_MAX, file_name, header
from headrace.storage.signs import Signs
from headrace.storage.writer import SegmentWriter

SYNC_INTERVAL_MS: Final = 10
SEGMENT_SIZE_MAX: Final = 64 * 1024 * 1024
SEGMENT_END_MAX: Final = 2**32 - 2**26  # a frame names the place of another in 32 bits
LOOK_MS: Final = 100  # how long a syncer may be silent, beside its own interval, until the log syncs itself
PAYLOAD_MAX: Final = RECORD_MAX - FRAME_SIZE
ADMIT_PAYLOAD_MAX: Final = PAYLOAD_MAX - 1_024  # what an end adds to its admit fits into the rest
PLACED_MAX: Final = 64
CALLS_MAX: Final = 4
TIER_MAX: Final = 24
TEXT_MAX: Final = 64  # characters of what an upstream said, where a record would be too long otherwise
AMOUNT_MAX: Final = 2**63 - 1  # of one attempt: nine million dollars
EVIDENCE_MAX: Final = 60 * 1024

_encode = msgspec.msgpack.Encoder().encode


class UsageLogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often appends are synced to disk, and how large a segment grows before the next one is begun."""

    sync_interval_ms: int = SYNC_INTERVAL_MS
    segment_size_max: int = SEGMENT_SIZE_MAX

    def __post_init__(self) -> None:
        if not 1 <= self.sync_interval_ms <= 1_000:
            raise ValueError("storage.sync_interval_ms must be 1 to 1000")
        if not 64 * 1024 <= self.segment_size_max <= 1024 * 1024 * 1024:
            raise ValueError("storage.segment_size_max must be 64 KiB to 1 GiB")


class UsageLog:
    """One process's log. Only the thread that opened it appends; `sync` may run in any."""

    def __init__(
        self, usage: Path, *, clock: Clock, pid: int, process: str, settings: UsageLogSettings | None = None, mapped: bool | None = None
    ) -> None:
        """Begin the first segment in the folder `usage`. Raises StorageFull where there is no room for it.

        `mapped`: whether records are stored through a mapping; None: where the file system is known to be good for it.
        """
        self._usage, self._clock, self._pid, self._process = usage, clock, pid, process
        self._settings = settings or UsageLogSettings()
        self._mapped = keeps_reservations(usage) if mapped is None else mapped
        self._open: dict[AttemptId, int] = {}  # where in the segment the admit lies
        self._number = 0
        self._retired: list[SegmentWriter] = []
        self._before = self._synced = 0
        self._one_waits, self._one_syncs = asyncio.Lock(), threading.Lock()
        self._sync_failure: OSError | None = None
        self._segment = self._begin()
        self._full_at = self._settings.segment_size_max

    @property
    def open_admits(self) -> int:
        """How many attempts are admitted and have not ended."""
        return len(self._open)

    @property
    def path(self) -> Path:
        """The segment that is written to now."""
        return self._segment.path

    @property
    def place(self) -> tuple[str, int]:
        """The segment that is written to, by its name without its ending, and where in it the log ends."""
        return self._segment.path.stem, self._segment.end

    def append(self, record: Record | Aside) -> None:
        """Say it for good: on return it survives the death of this process.

        Raises StorageFull for an admit, a loss or evidence that has no sure room; what was admitted can always be settled or voided.
        """
        if isinstance(record, Admit):
            self._append_admit(record)
        elif isinstance(record, (Settle, Void)):
            self._append_end(record)
        else:
            self._append_alone(record)

    async def keep_synced(self) -> None:
        """Sync what is appended, every few milliseconds, unless another process does; run it as a task of the server's group.

        After a failure nothing is admitted.
        """
        interval_s = self._settings.sync_interval_ms / 1_000
        with _signs(self._usage) as signs:
            while self._sync_failure is None:
                failure = None if signs is None else signs.heard()
                if failure:
                    self._sync_failure = OSError(failure, os.strerror(failure))  # `append` says so to every admit from now on
                elif (failure is None or self._retired) and self._appended > self._synced:
                    with suppress(StorageFull):
                        await self.synced()
                await asyncio.sleep(interval_s if failure is None else 2 * interval_s + LOOK_MS / 1_000)

    async def synced(self) -> None:
        """Return when all that is appended so far survives a power cut. Raises StorageFull when the disk fails."""
        target = self._appended
        async with self._one_waits:
            if self._synced < target:
                await asyncio.to_thread(self.sync)

    def sync(self) -> None:
        """Bring everything to disk, and seal the segments that were followed by another."""
        with self._one_syncs:
            target, retired, current = self._appended, tuple(self._retired), self._segment
            try:
                for segment in (*retired, current):
                    segment.sync()
                for segment in retired:  # only now: the admits that were open in it are safe in the segment after it
                    segment.seal()
                    self._retired.remove(segment)
                if retired or self._synced == 0:  # names changed: of the sealed, and of the first
                    _sync_folder(self._usage)
            except OSError as error:
                self._sync_failure = error
                raise self._unsynced(error) from error
            self._synced = target

    def close(self) -> None:
        """Sync and stop. With nothing open the log is sealed; otherwise the next start finds what was left open."""
        self.sync()
        with self._one_syncs:
            if self._open:
                self._segment.close()
            else:
                self._segment.seal()

    @property
    def _appended(self) -> int:
        """Bytes appended so far: they only grow."""
        return self._before + self._segment.end

    def _append_admit(self, admit: Admit) -> None:
        if self._sync_failure is not None:
            raise self._unsynced(self._sync_failure)
        try:
            payload = _encode(admit)
        except OverflowError:
            payload = b""
        if not 0 < len(payload) <= ADMIT_PAYLOAD_MAX or (admit.bound_pico or 0) > AMOUNT_MAX:
            payload = _fitting(admit)
        segment = self._segment
        if segment.end >= self._full_at or segment.end + (len(self._open) + 2) * RECORD_MAX > segment.reserved:
            segment = self._make_room(RECORD_MAX)
        at = segment.end
        segment.write(payload, at)
        self._open[admit.request, admit.attempt] = at

    def _append_end(self, record: Settle | Void) -> None:
        admit = record.admitted
        attempt = admit.request, admit.attempt
        at = self._open.get(attempt)
        if at is None:
            raise InternalFailure(f"attempt {attempt[1]} of {attempt[0]} ended twice, or was never admitted")
        try:
            payload = _encode(record)
        except OverflowError:
            payload = b""
        if not 0 < len(payload) <= PAYLOAD_MAX or (
            isinstance(record, Settle) and max(record.cost_pico or 0, record.buy_pico or 0) > AMOUNT_MAX
        ):
            payload = _encode(_shortened(record))
        self._segment.write(payload, at)
        del self._open[attempt]

    def _append_alone(self, record: Lost | Aside) -> None:
        payload = _encode(record)
        if len(payload) > FRAME_MAX - FRAME_SIZE or (isinstance(record, Evidence) and len(record.content) > EVIDENCE_MAX):
            raise InternalFailure(f"a record of {len(payload):,} bytes is too long for the usage log: evidence may have {EVIDENCE_MAX:,}")
        self._make_room(FRAME_SIZE + len(payload)).write(payload, 0)

    def _make_room(self, size: int) -> SegmentWriter:
        """See that so many bytes, an end, and the ends of all open admits fit; begin a new segment when this one is long enough."""
        segment = self._segment
        if segment.end >= self._full_at:
            with suppress(StorageFull):  # a longer segment is better than none
                self._rotate()
            segment = self._segment
        needed = segment.end + size + (len(self._open) + 1) * RECORD_MAX
        if needed > SEGMENT_END_MAX:
            raise StorageFull(f"the usage log {self.path} can't be followed by another segment: check the folder and its disk")
        if needed > segment.reserved:
            segment.reserve(needed)
        return segment

    def _rotate(self) -> None:
        old, following = self._segment, self._begin()
        moved: dict[AttemptId, int] = {}
        try:
            for attempt, at in self._open.items():
                moved[attempt] = following.end
                following.write(old.read(at), following.end)
        except StorageFull:
            following.discard()
            raise
        self._before += old.end
        self._retired.append(old)
        self._segment, self._open = following, moved
        self._full_at = max(self._settings.segment_size_max, 2 * following.end)  # what is carried over is never most of a segment

    def _unsynced(self, error: OSError) -> StorageFull:
        return StorageFull(
            f"the usage log {self.path} can't be brought to disk ({error.strerror}): nothing more is admitted; check the disk, then restart"
        )

    def _begin(self) -> SegmentWriter:
        moment = self._clock.moment()
        while True:
            path = self._usage / file_name(moment, self._pid, self._number)
            self._number += 1
            with suppress(FileExistsError):  # the clock went back: a name is given once
                first, room = header(moment, self._pid, self._process), (2 * len(self._open) + 2) * RECORD_MAX
                return SegmentWriter(path, first, room, mapped=self._mapped)


def _fitting(admit: Admit) -> bytes:
    """An admit that is too long, with no more of its placing than has room. Raises InvalidRequest when it is too long for other reasons."""
    try:
        payload = _encode(msgspec.structs.replace(admit, placed=admit.placed[:PLACED_MAX]))
    except OverflowError:
        payload = b""
    if not 0 < len(payload) <= ADMIT_PAYLOAD_MAX or (admit.bound_pico or 0) > AMOUNT_MAX:
        raise InvalidRequest(f"{admit.request} can't be accounted for: its names are too long, or its bound is beyond all money")
    return payload


def _shortened(record: Settle | Void) -> Settle | Void:
    """An end with what is sure to fit: an upstream's words are cut, and a claim beyond all money is not believed."""
    admit = msgspec.structs.replace(record.admitted, placed=record.admitted.placed[:PLACED_MAX])
    if isinstance(record, Void):
        return msgspec.structs.replace(record, admitted=admit, reason=record.reason[:TEXT_MAX])
    if max(*msgspec.structs.astuple(record.usage), record.cost_pico or 0, record.buy_pico or 0) > AMOUNT_MAX:
        record = msgspec.structs.replace(record, usage=admit.bound, cost_pico=admit.bound_pico, buy_pico=None, calls=(), state="estimated")
    served = record.model_served and record.model_served[:TEXT_MAX]
    tier, calls = record.tier and record.tier[:TIER_MAX], tuple((name[:TEXT_MAX], count) for name, count in record.calls[:CALLS_MAX])
    short = msgspec.structs.replace(record, admitted=admit, model_served=served, tier=tier, calls=calls)
    kept = len(short.translation)
    while kept and len(_encode(short)) > PAYLOAD_MAX:
        kept //= 2
        rest = Change("changed", "...", f"{len(record.translation) - kept} more")
        short = msgspec.structs.replace(short, translation=(*record.translation[:kept], rest))
    return short


@contextmanager
def _signs(usage: Path) -> Iterator[Signs | None]:
    """What a syncer tells; None where nobody can tell us anything."""
    try:
        signs = Signs(usage)
    except OSError:
        yield None
        return
    with closing(signs):
        yield signs


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
