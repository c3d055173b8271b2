"""The segment that is being written: where it ends, up to where its room is reserved, and how a frame gets there.

Where the file system keeps what it reserves, the reserved room is mapped into memory and a frame is stored there: no system call, and no
pause in which the interpreter is handed to another thread and back. What is stored belongs to the system from that instant, as after
write(2): it survives the process. A kill in the middle of a store leaves a frame whose CRC does not agree, which is a torn tail; nobody
was told that it was taken. Stores can't fail for want of room, since none goes beyond what is reserved. Elsewhere it is write(2).

The mapping is a window from where is written next to the end of what is reserved, and moves on with it. It is touched from front to back
once, so that reading ahead would only make more to write. A file is locked as long as its process lives, and has its name only when its
header is in it: who finds it unlocked can be sure that nobody writes it any more.
"""

import errno
import fcntl
import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Final
from zlib import crc32

from headrace.core.errors import StorageFull
from headrace.storage.segment import DRAFT, FRAME, FRAME_SIZE, HEADER_SIZE, SEALED, payload_at

RESERVE_STEP: Final = 1024 * 1024

_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class SegmentWriter:
    """One segment, from its beginning to its seal."""

    __slots__ = ("_base", "_file", "_map", "_mapped", "end", "path", "reserved")

    def __init__(self, path: Path, first: bytes, room: int, *, mapped: bool) -> None:
        """Begin the file with its header `first`, and have `room` for frames.

        Raises FileExistsError for a name that is taken, and StorageFull where there is no room; then nothing is left behind.
        """
        self.path = path
        self.end = self.reserved = self._base = 0
        self._mapped = mapped
        self._map: mmap.mmap | None = None
        draft = path.with_suffix(DRAFT)
        if path.exists() or path.with_suffix(SEALED).exists():
            raise FileExistsError(path)
        try:
            self._file = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise
        except OSError as error:
            raise _unmade(path, error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.reserve(HEADER_SIZE + room)
            self._write(first)
            self.end = len(first)
            draft.rename(path)
        except (OSError, StorageFull) as error:
            self.close()
            draft.unlink(missing_ok=True)
            if isinstance(error, BlockingIOError | FileNotFoundError):  # somebody who recovers took the draft for a dead one's
                raise FileExistsError(path) from error
            if isinstance(error, OSError):
                raise _unmade(path, error) from error
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
        if self._mapped:
            self._look()

    def write(self, payload: bytes, of: int) -> None:
        """Append a frame: `of` is where the admit lies that it ends, its own place for an admit, 0 for what stands alone."""
        length, at, window = len(payload), self.end, self._map
        frame = FRAME.pack(length, crc32(payload, length ^ of), of) + payload
        end = at + FRAME_SIZE + length
        if window is not None:
            window[at - self._base : end - self._base] = frame
        else:
            self._write(frame)
        self.end = end  # only now: another thread may be syncing up to here

    def read(self, offset: int) -> bytes:
        """The payload that was written at `offset`."""
        return payload_at(self._file, offset)

    def sync(self) -> None:
        _fdatasync(self._file)

    def seal(self) -> None:
        """Give back what was reserved and not used, and say by the name that no more will come."""
        self._map = None
        os.ftruncate(self._file, self.end)
        os.fsync(self._file)
        self.path.rename(self.path.with_suffix(SEALED))
        self.close()

    def discard(self) -> None:
        """Take back a segment that nothing is in yet."""
        self.path.unlink()
        self.close()

    def close(self) -> None:
        self._map = None
        os.close(self._file)

    def _write(self, frame: bytes) -> None:
        try:
            written = os.pwrite(self._file, frame, self.end)
        except OSError as error:
            raise StorageFull(f"the usage log {self.path} can't be written ({error.strerror}): check its disk") from error
        if written != len(frame):
            raise StorageFull(f"the usage log {self.path} took {written} of {len(frame)} bytes: check its disk")

    def _look(self) -> None:
        """Move the window. Where none can be had (no address space is left), frames are written instead."""
        self._base = self.end // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        self._map = None
        with suppress(OSError):
            self._map = mmap.mmap(self._file, self.reserved - self._base, offset=self._base)
            self._map.madvise(mmap.MADV_RANDOM)


def _unmade(path: Path, error: OSError) -> StorageFull:
    return StorageFull(f"{path} can't be made for the usage log ({error.strerror}): free some room on its disk")


def _allocate(file: int, offset: int, size: int) -> None:
    """Make sure that writing there can't fail for want of room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, offset, size)
    elif os.pwrite(file, bytes(size), offset) != size:  # macOS
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
