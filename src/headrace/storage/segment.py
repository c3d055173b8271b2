"""One file of the usage log: its header, its frames, and how to read it when the power failed, a byte flipped or a page is gone.

    header   64 bytes: magic, version, creation moment, process id, name of the process, CRC of these
    frame    length u32 | crc32 u32 | of u32 | payload (one record, msgpack)                                            little-endian
    ...
    zeros    space reserved ahead, so that what was admitted can always be settled: a length of zero ends the log

`of` says where in this file the admit lies that a record ends: for an admit where it lies itself, 0 for a record that stands alone. It
saves readers from decoding admits whose end they have. The CRC covers all three. The first version had no `of`, the second no cards of
prices, and its ends no tiers, tools and purchases; both are still read.

Frames are found again after damage: from the first bad byte on, the next place where length, CRC and record all agree. What lies
between is reported and left where it is. Bad bytes after the last good frame are a torn tail: a write that a crash cut short.
"""

import os
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar
from zlib import crc32

import msgspec

from headrace.core.clock import MS, Moment
from headrace.core.errors import SetupError
from headrace.metering import Aside, Record

MAGIC: Final = b"HRUSAGE\n"
VERSION: Final = 3
HEADER_SIZE: Final = 64
FRAME_MAX: Final = 65_536  # bytes of any frame
RECORD_MAX: Final = 2_560  # bytes of the frame of an admit or an end; room for this much is kept free for each open admit
CHUNK_SIZE: Final = 512 * 1024
ACTIVE, SEALED, DRAFT = ".log", ".sealed", ".new"

T = TypeVar("T")

_HEADER = struct.Struct("<8sHHIq36s")
FRAME: Final = struct.Struct("<III")
_FRAMES = {1: struct.Struct("<II"), 2: FRAME, 3: FRAME}
FRAME_SIZE: Final = FRAME.size
_MAYBE_FRAME = re.compile(rb"(?!\x00\x00)(?=..\x00\x00)", re.DOTALL)  # a length from 1 to 65,535
_decode = msgspec.msgpack.Decoder(Record | Aside).decode


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a file that hold no record. `torn`: at the end, where a crash cut a write short."""

    file: str
    offset: int
    length: int
    torn: bool

    def __str__(self) -> str:
        what = "a write that was cut short" if self.torn else "damaged bytes, skipped"
        return f"{self.file}: {what}, {self.length} bytes at offset {self.offset}; the file is kept as it is"


class Found:
    """The payloads of a piece of a segment, as they are taken out of it.

    `admits`, by where they lie, are those that don't end in the piece; `ends` are the ends of attempts that were admitted in this file,
    and `earlier` where the admits lie of those that were admitted before the piece; `alone` are all other records.
    """

    __slots__ = ("admits", "alone", "count", "earlier", "ends")

    def __init__(self) -> None:
        self.admits: dict[int, bytes] = {}
        self.earlier: list[int] = []
        self.ends: list[bytes] = []
        self.alone: list[bytes] = []
        self.count = 0


class Reading(msgspec.Struct, frozen=True):
    """What a piece of a segment holds.

    `end` is from where to read on, `content` where what was written ends (0: nothing was, here); `ended`: nothing more is there as of now.
    """

    found: Found
    end: int
    content: int
    damages: tuple[Damage, ...]
    ended: bool

    @property
    def records(self) -> list[Record | Aside]:
        """What was read, decoded: all of it in the order of the file, unless it was read quickly."""
        return records_in([*self.found.admits.values(), *self.found.ends, *self.found.alone])


def file_name(moment: Moment, pid: int, number: int) -> str:
    """Names sort by time."""
    return f"{moment // MS:013d}-{pid}-{number:06d}{ACTIVE}"


def process_of(path: Path) -> int | None:
    """The id of the process that a segment's name gives; None: it was named by somebody else."""
    parts = path.stem.split("-")
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else None


def header(moment: Moment, pid: int, process: str) -> bytes:
    """`process` is who writes, cut to 36 bytes: as much as a UUID."""
    fields = _HEADER.pack(MAGIC, VERSION, 0, pid, moment, process.encode()[:36])
    return (fields + struct.pack("<I", crc32(fields))).ljust(HEADER_SIZE, b"\0")


def framed(payload: bytes, of: int = 0) -> bytes:
    length = len(payload)
    return FRAME.pack(length, crc32(payload, length ^ of), of) + payload


def payload_at(file: int, offset: int) -> bytes:
    """The payload of the frame that was written at `offset`."""
    length, _, _ = FRAME.unpack(os.pread(file, FRAME_SIZE, offset))
    return os.pread(file, length, offset + FRAME_SIZE)


def records_in(payloads: Sequence[bytes]) -> list[Record | Aside]:
    """The records of these payloads. A whole frame that holds none is left out: who reads with care reports it as damage."""
    return decoded(payloads, _decode)


def decoded(payloads: Sequence[bytes], decode: Callable[[bytes], T]) -> list[T]:
    """As `records_in`, for who looks into a part of a record only."""
    try:
        return [decode(payload) for payload in payloads]
    except msgspec.MsgspecError:
        return [decode(payload) for payload in payloads if _is_record(payload)]


def segments(usage: Path) -> list[Path]:
    """Every segment of a folder, oldest first, sealed or not."""
    return sorted((path for path in usage.iterdir() if path.suffix in (ACTIVE, SEALED)), key=lambda path: path.stem)


def read_segment(path: Path, start: int = 0, *, live: bool = False, stop: int | None = None, quick: bool = False) -> Reading:
    """Read about `CHUNK_SIZE` bytes of records from `start` on, and none that lie beyond `stop`.

    `live`: somebody may be writing to the file at this moment. Bad bytes at its end are a write under way then: they end the reading
    and are no damage. `quick`: leave out admits that end in the same piece, and take a whole frame for a record without decoding it.
    Raises SetupError for a file that a newer headrace wrote.
    """
    with path.open("rb", buffering=0) as opened:
        file = opened.fileno()
        if live and os.pread(file, 4, start) == bytes(4):  # nothing new: the common case of a follower
            return Reading(Found(), start, 0, (), ended=True)
        reading = _read(file, path.name, start, stop, live, quick)
        if live and reading.damages:  # a write may have ended between the copies of two pages: look again before calling it damage
            reading = _read(file, path.name, start, stop, live, quick)
        return reading


def read_pieces(path: Path, start: int = 0, *, live: bool = False, stop: int | None = None, quick: bool = False) -> Iterator[Reading]:
    """All of a file from `start` to `stop`, a piece at a time."""
    while True:
        reading = read_segment(path, start, live=live, stop=stop, quick=quick)
        yield reading
        if reading.ended:
            return
        start = reading.end


def _read(file: int, name: str, start: int, stop: int | None, live: bool, quick: bool) -> Reading:
    size = CHUNK_SIZE if stop is None else min(CHUNK_SIZE, max(0, stop - start))
    data = os.pread(file, size, start)
    version = _version(name, data if start == 0 else os.pread(file, HEADER_SIZE, 0))
    end = os.fstat(file).st_size if stop is None else stop
    final = start + len(data) >= end or not data
    reading = _Scan(name, data, start, version or VERSION, quick).reading(final=final, live=live, good_header=version is not None)
    if final or live or not reading.damages:
        return reading
    *before, last = reading.damages
    if last.offset + last.length != reading.content or not _is_empty(file, start + len(data), end):
        return reading
    return msgspec.structs.replace(reading, damages=(*before, msgspec.structs.replace(last, torn=True)))


def _is_empty(file: int, start: int, stop: int) -> bool:
    """Whether a part of a file was reserved and never written."""
    return all(not any(os.pread(file, min(CHUNK_SIZE, stop - at), at)) for at in range(start, stop, CHUNK_SIZE))


def _version(name: str, data: bytes) -> int | None:
    """The format that the header tells; None for one that can't be read. Raises SetupError for one that is newer than this code."""
    if len(data) < HEADER_SIZE:
        return None
    magic, version, _, _, _, _ = _HEADER.unpack_from(data)
    if magic != MAGIC or struct.unpack_from("<I", data, _HEADER.size)[0] != crc32(data[: _HEADER.size]):
        return None
    if version not in _FRAMES:
        raise SetupError(f"{name} was written by a newer headrace (format {version}, known up to {VERSION}); upgrade headrace to read it")
    return int(version)


class _Scan:
    """The frames of `data`, which lies at `start` of its file."""

    def __init__(self, name: str, data: bytes, start: int, version: int, quick: bool) -> None:
        self._name, self._data, self._start, self._version, self._quick = name, data, start, version, quick
        self._head = _FRAMES[version]
        self._found = Found()
        self._damages: list[Damage] = []

    def reading(self, *, final: bool, live: bool, good_header: bool) -> Reading:
        """Take all frames. `final`: the file has no more after `data`."""
        data, start, size = self._data, self._start, len(self._data)
        offset = 0
        if start == 0 and size >= HEADER_SIZE:
            offset = HEADER_SIZE
            if not good_header and any(data[:HEADER_SIZE]):  # it is reported, and does not hide the records after it
                self._damages.append(Damage(self._name, 0, HEADER_SIZE, torn=False))
        if live and self._damages and not any(data[offset : offset + 4]):
            return Reading(Found(), start, 0, (), ended=True)  # the header is being written
        while True:
            offset = self._take(offset)
            if not final and size - offset < FRAME_MAX:
                return Reading(self._found, start + offset, start + offset, tuple(self._damages), ended=False)
            good = self._next_good(offset, live)
            if good is None:
                break
            self._damages.append(Damage(self._name, start + offset, good - offset, torn=False))
            offset = good
        if live:
            return Reading(self._found, start + offset, start + offset, tuple(self._damages), ended=True)
        end = size if final else size - FRAME_MAX + 1  # a frame may begin in the last bytes and go on after them
        bad = len(data[offset:end].rstrip(b"\0"))
        if bad:
            self._damages.append(Damage(self._name, start + offset, bad, torn=final))
        return Reading(self._found, start + end, start + offset + bad if offset + bad else 0, tuple(self._damages), ended=final)

    def _take(self, offset: int) -> int:
        """Take the good frames that lie at `offset` one after the other; return where they end."""
        if self._quick and self._version > 1:
            return self._take_quickly(offset)
        found = self._found
        while frame := self._frame(offset):
            payload, offset = frame
            found.alone.append(payload)
            found.count += 1
        return offset

    def _take_quickly(self, offset: int) -> int:
        data, size, unpack, found, at = self._data, len(self._data), FRAME.unpack_from, self._found, self._start + offset
        admits, ends, alone = found.admits, found.ends, found.alone
        first, count = at - offset, 0
        while offset + FRAME_SIZE <= size:
            length, checksum, of = unpack(data, offset)
            begin = offset + FRAME_SIZE
            end = begin + length
            if not 0 < length <= FRAME_MAX - FRAME_SIZE or end > size:
                break
            payload = data[begin:end]
            if crc32(payload, length ^ of) != checksum:
                break
            if not of:
                alone.append(payload)
            elif of == first + offset:
                admits[of] = payload
            else:
                if admits.pop(of, None) is None:
                    found.earlier.append(of)
                ends.append(payload)
            offset = end
            count += 1
        found.count += count
        return offset

    def _frame(self, offset: int) -> tuple[bytes, int] | None:
        """The good frame that lies at `offset`, which is one that can be decoded: its payload, and where it ends."""
        data, begin = self._data, offset + self._head.size
        if begin > len(data):
            return None
        length, checksum, of = (*self._head.unpack_from(data, offset), 0)[:3]
        end = begin + length
        if not 0 < length <= FRAME_MAX - FRAME_SIZE or end > len(data) or of > self._start + offset:
            return None
        payload = data[begin:end]
        if crc32(payload, length ^ of) != checksum:
            return None
        return (payload, end) if _is_record(payload) else None

    def _next_good(self, offset: int, live: bool) -> int | None:
        """Where the next good frame after bad bytes begins; what is reserved ahead in a live file is not looked through."""
        data = self._data
        if live and data[offset : offset + 4] == bytes(4):
            return None
        end = len(data.rstrip(b"\0"))
        return next((match.start() for match in _MAYBE_FRAME.finditer(data, offset + 1, end) if self._frame(match.start())), None)


def _is_record(payload: bytes) -> bool:
    try:
        _decode(payload)
    except msgspec.MsgspecError:
        return False
    return True
