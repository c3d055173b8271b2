"""The usage log: what was admitted and how it ended, on disk before anybody relies on it.

An append is one write(2), so a killed process loses nothing; an owner task calls fdatasync for all appends of a few milliseconds
together, so a power cut loses at most those. Room is reserved ahead: an admit is taken only while every open admit, this one
included, is sure of room for its end. A full disk therefore refuses new work, and never loses the record of old work.

A segment that is full is followed by a new one. The admits that are open are said again in the new one, and then the old one is
sealed: cut to what was written and renamed. So each unsealed segment can be recovered without those before it.
"""

import asyncio
import errno
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from headrace.core.clock import Clock
from headrace.core.errors import InternalFailure, InvalidRequest, StorageFull
from headrace.metering import Admit, AttemptId, Lost, Record, Settle, Void
from headrace.storage.segment import HEADER_SIZE, PAYLOAD_MAX, RECORD_MAX, SEALED, file_name, framed, header

SYNC_INTERVAL_MS: Final = 10
SEGMENT_SIZE_MAX: Final = 64 * 1024 * 1024
RESERVE_STEP: Final = 1024 * 1024
ADMIT_PAYLOAD_MAX: Final = PAYLOAD_MAX - 384  # what a settle adds to its admit fits into the rest
TEXT_MAX: Final = 64  # characters of what an upstream said, where a record would be too long otherwise
AMOUNT_MAX: Final = 2**63 - 1  # of one attempt: nine million dollars

_encode = msgspec.msgpack.Encoder().encode
_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


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

    def __init__(self, usage: Path, *, clock: Clock, pid: int, process: str, settings: UsageLogSettings | None = None) -> None:
        """Begin the first segment in the folder `usage`. Raises StorageFull where there is no room for it."""
        self._usage, self._clock, self._pid, self._process = usage, clock, pid, process
        self._settings = settings or UsageLogSettings()
        self._open: dict[AttemptId, Admit] = {}
        self._number = 0
        self._retired: list[_Segment] = []
        self._appended = self._synced = 0
        self._dirty, self._one_waits = asyncio.Event(), asyncio.Lock()
        self._one_syncs = threading.Lock()
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

    def append(self, record: Record) -> None:
        """Say it for good: on return it survives the death of this process.

        Raises StorageFull for an admit or a loss that has no sure room; what was admitted can always be settled or voided.
        """
        if isinstance(record, Admit):
            self._append_admit(record)
        elif isinstance(record, Lost):
            self._make_room()
            self._segment.write(framed(_encode(record)))
        else:
            self._append_end(record)
        self._appended += 1
        self._dirty.set()

    async def keep_synced(self) -> None:
        """Sync what is appended, every few milliseconds; run it as a task of the server's group. After a failure nothing is admitted."""
        while self._sync_failure is None:
            await self._dirty.wait()
            await asyncio.sleep(self._settings.sync_interval_ms / 1_000)
            self._dirty.clear()
            try:
                await self.synced()
            except StorageFull:
                return  # `append` says so to every admit from now on

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

    def _append_admit(self, admit: Admit) -> None:
        if self._sync_failure is not None:
            raise self._unsynced(self._sync_failure)
        try:
            payload = _encode(admit)
        except OverflowError:
            payload = b""
        if not payload or len(payload) > ADMIT_PAYLOAD_MAX or (admit.bound_pico or 0) > AMOUNT_MAX:
            raise InvalidRequest(f"{admit.request} can't be accounted for: its names are too long, or its bound is beyond all money")
        self._make_room()
        self._segment.write(framed(payload))
        self._open[admit.id] = admit

    def _append_end(self, record: Settle | Void) -> None:
        attempt = record.admitted.id
        if attempt not in self._open:
            raise InternalFailure(f"attempt {attempt[1]} of {attempt[0]} ended twice, or was never admitted")
        payload = _encode(record)
        if len(payload) > PAYLOAD_MAX:
            payload = _encode(_shortened(record))
        self._segment.write(framed(payload))
        del self._open[attempt]

    def _make_room(self) -> None:
        """See that an admit, its end, and the ends of all open admits fit; begin a new segment when this one is long enough."""
        segment = self._segment
        if segment.end >= self._full_at:
            with suppress(StorageFull):  # a longer segment is better than none
                self._rotate()
            segment = self._segment
        needed = segment.end + (len(self._open) + 2) * RECORD_MAX
        if needed > segment.reserved:
            segment.reserve(needed)

    def _rotate(self) -> None:
        following = self._begin()
        for admit in self._open.values():
            following.write(framed(_encode(admit)))
        self._retired.append(self._segment)
        self._segment = following
        self._full_at = max(self._settings.segment_size_max, 2 * following.end)  # what is carried over is never most of a segment

    def _unsynced(self, error: OSError) -> StorageFull:
        return StorageFull(
            f"the usage log {self.path} can't be brought to disk ({error.strerror}): nothing more is admitted; check the disk, then restart"
        )

    def _begin(self) -> "_Segment":
        moment = self._clock.moment()
        while True:
            path = self._usage / file_name(moment, self._pid, self._number)
            self._number += 1
            if path.with_suffix(SEALED).exists():
                continue  # the clock went back: a name is given once
            try:
                return _Segment(path, header(moment, self._pid, self._process), room=(2 * len(self._open) + 2) * RECORD_MAX)
            except FileExistsError:
                continue


class _Segment:
    """The file that is being written: where it ends, and up to where its room is reserved."""

    __slots__ = ("_file", "end", "path", "reserved")

    def __init__(self, path: Path, first: bytes, room: int) -> None:
        self.path = path
        self.end = self.reserved = 0
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise
        except OSError as error:
            raise StorageFull(f"{path} can't be made for the usage log ({error.strerror}): free some room on its disk") from error
        try:
            self.reserve(HEADER_SIZE + room)
            self.write(first)
        except StorageFull:
            os.close(self._file)
            path.unlink()
            raise

    def reserve(self, size: int) -> None:
        """Have room up to `size` and a step more. Raises StorageFull; what was reserved before stays so."""
        target = (size // RESERVE_STEP + 1) * RESERVE_STEP
        try:
            _allocate(self._file, self.reserved, target - self.reserved)
        except OSError as error:
            raise StorageFull(
                f"the disk of {self.path.parent} has no room for the usage log ({error.strerror}): "
                f"free some; until then nothing new is admitted, and what runs is still recorded"
            ) from error
        self.reserved = target

    def write(self, frame: bytes) -> None:
        try:
            written = os.pwrite(self._file, frame, self.end)
        except OSError as error:
            raise StorageFull(f"the usage log {self.path} can't be written ({error.strerror}): check its disk") from error
        if written != len(frame):
            raise StorageFull(f"the usage log {self.path} took {written} of {len(frame)} bytes: check its disk")
        self.end += written

    def sync(self) -> None:
        _fdatasync(self._file)

    def seal(self) -> None:
        """Give back what was reserved and not used, and say by the name that no more will come."""
        os.ftruncate(self._file, self.end)
        os.fsync(self._file)
        self.path.rename(self.path.with_suffix(SEALED))
        self.close()

    def close(self) -> None:
        os.close(self._file)


def _allocate(file: int, offset: int, size: int) -> None:
    """Make sure that writing there can't fail for want of room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, offset, size)
    elif os.pwrite(file, bytes(size), offset) != size:  # macOS
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _shortened(record: Settle | Void) -> Settle | Void:
    if isinstance(record, Void):
        return msgspec.structs.replace(record, reason=record.reason[:TEXT_MAX])
    return msgspec.structs.replace(record, model_served=record.model_served and record.model_served[:TEXT_MAX])


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
