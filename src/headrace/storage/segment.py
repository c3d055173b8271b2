"""One file of the usage log: its header, its frames, and how to read it when the power failed, a byte flipped or a page is gone.

    header   64 bytes: magic, version, creation moment, process id, name of the process, CRC of these
    frame    length u32 | crc32 u32 | payload (one record, msgpack)        little-endian; the CRC covers the length too
    ...
    zeros    space reserved ahead, so that what was admitted can always be settled: a length of zero ends the log

Frames are found again after damage: from the first bad byte on, the next place where length, CRC and record all agree. What lies
between is reported and left where it is. Bad bytes after the last good frame are a torn tail: a write that a crash cut short.
"""

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from headrace.core.clock import MS, Moment
from headrace.core.errors import SetupError
from headrace.metering import Record

MAGIC: Final = b"HRUSAGE\n"
VERSION: Final = 1
HEADER_SIZE: Final = 64
RECORD_MAX: Final = 1_024  # bytes of a frame; room for this much is kept free for each open admit
PAYLOAD_MAX: Final = RECORD_MAX - 8
CHUNK_SIZE: Final = 8 * 1024 * 1024
ACTIVE, SEALED = ".log", ".sealed"

_HEADER = struct.Struct("<8sHHIq36s")
_FRAME = struct.Struct("<II")
_MAYBE_FRAME = re.compile(rb"(?!\x00\x00)(?=.[\x00-\x03]\x00\x00)", re.DOTALL)  # a length from 1 to 1,023
_decode = msgspec.msgpack.Decoder(Record).decode


class Damage(msgspec.Struct, frozen=True):
    """Bytes of a file that hold no record. `torn`: at the end, where a crash cut a write short."""

    file: str
    offset: int
    length: int
    torn: bool

    def __str__(self) -> str:
        what = "a write that was cut short" if self.torn else "damaged bytes, skipped"
        return f"{self.file}: {what}, {self.length} bytes at offset {self.offset}; the file is kept as it is"


class Reading(msgspec.Struct, frozen=True):
    """What a piece of a segment holds.

    `end` is from where to read on, `content` where what was written ends (0: nothing was, here); `ended`: nothing more is there as of now.
    """

    records: list[Record]
    end: int
    content: int
    damages: tuple[Damage, ...]
    ended: bool


def file_name(moment: Moment, pid: int, number: int) -> str:
    """Names sort by time."""
    return f"{moment // MS:013d}-{pid}-{number:06d}{ACTIVE}"


def header(moment: Moment, pid: int, process: str) -> bytes:
    """`process` is who writes, cut to 36 bytes: as much as a UUID."""
    fields = _HEADER.pack(MAGIC, VERSION, 0, pid, moment, process.encode()[:36])
    return (fields + struct.pack("<I", crc32(fields))).ljust(HEADER_SIZE, b"\0")


def framed(payload: bytes) -> bytes:
    length = len(payload)
    return _FRAME.pack(length, crc32(payload, length)) + payload


def segments(usage: Path) -> list[Path]:
    """Every segment of a folder, oldest first, sealed or not."""
    return sorted((path for path in usage.iterdir() if path.suffix in (ACTIVE, SEALED)), key=lambda path: path.stem)


def read_segment(path: Path, start: int = 0, *, live: bool = False, stop: int | None = None) -> Reading:
    """Read about `CHUNK_SIZE` bytes of records from `start` on, and none that lie beyond `stop`.

    `live`: somebody may be writing to the file at this moment. Bad bytes at its end are a write under way then: they end the reading
    and are no damage. Raises SetupError for a file that a newer headrace wrote.
    """
    with path.open("rb", buffering=0) as file:
        if live and os.pread(file.fileno(), 4, start) == bytes(4):  # nothing new: the common case of a follower
            return Reading([], start, 0, (), ended=True)
        reading = _read(file.fileno(), path.name, start, stop, live)
        if live and reading.damages:  # a write may have ended between the copies of two pages: look again before calling it damage
            reading = _read(file.fileno(), path.name, start, stop, live)
        return reading


def read_pieces(path: Path, start: int = 0, *, live: bool = False, stop: int | None = None) -> Iterator[Reading]:
    """All of a file from `start` to `stop`, a piece at a time."""
    while True:
        reading = read_segment(path, start, live=live, stop=stop)
        yield reading
        if reading.ended:
            return
        start = reading.end


def _read(file: int, name: str, start: int, stop: int | None, live: bool) -> Reading:
    data = os.pread(file, CHUNK_SIZE if stop is None else min(CHUNK_SIZE, max(0, stop - start)), start)
    end = os.fstat(file).st_size if stop is None else stop
    return _scan(name, data, start, final=start + len(data) >= end or not data, live=live)


def _scan(name: str, data: bytes, start: int, *, final: bool, live: bool) -> Reading:
    """Take the frames of `data`, which lies at `start` of its file. `final`: the file has no more after it."""
    records: list[Record] = []
    damages: list[Damage] = []
    size = len(data)
    offset = _header_end(name, data, damages) if start == 0 else 0
    if live and damages and not any(data[offset : offset + 4]):
        return Reading([], start, 0, (), ended=True)  # the header is being written
    while True:
        offset = _take_frames(data, offset, records)
        if not final and size - offset < RECORD_MAX:
            return Reading(records, start + offset, start + offset, tuple(damages), ended=False)
        good = _next_good(data, offset, live)
        if good is None:
            break
        damages.append(Damage(name, start + offset, good - offset, torn=False))
        offset = good
    if live:
        return Reading(records, start + offset, start + offset, tuple(damages), ended=True)
    end = size if final else size - RECORD_MAX + 1  # a frame may begin in the last bytes and go on after them
    bad = len(data[offset:end].rstrip(b"\0"))
    if bad:
        damages.append(Damage(name, start + offset, bad, torn=final))
    return Reading(records, start + end, start + offset + bad if offset + bad else 0, tuple(damages), ended=final)


def _header_end(name: str, data: bytes, damages: list[Damage]) -> int:
    """Where the first frame starts. A bad header is reported and does not hide the records after it."""
    if len(data) < HEADER_SIZE:
        return 0
    magic, version, _, _, _, _ = _HEADER.unpack_from(data)
    intact = struct.unpack_from("<I", data, _HEADER.size)[0] == crc32(data[: _HEADER.size])
    if intact and magic == MAGIC and version > VERSION:
        raise SetupError(f"{name} was written by a newer headrace (format {version}, known up to {VERSION}); upgrade headrace to read it")
    if not (intact and magic == MAGIC) and any(data[:HEADER_SIZE]):
        damages.append(Damage(name, 0, HEADER_SIZE, torn=False))
    return HEADER_SIZE


def _take_frames(data: bytes, offset: int, records: list[Record]) -> int:
    """Take the good frames that lie at `offset` one after the other; return where they end."""
    view, size, unpack, take = memoryview(data), len(data), _FRAME.unpack_from, records.append
    while offset + 8 <= size:
        length, checksum = unpack(data, offset)
        end = offset + 8 + length
        if not 0 < length <= PAYLOAD_MAX or end > size:
            break
        payload = view[offset + 8 : end]
        if crc32(payload, length) != checksum:
            break
        try:
            take(_decode(payload))
        except msgspec.MsgspecError:
            break
        offset = end
    return offset


def _next_good(data: bytes, offset: int, live: bool) -> int | None:
    """Where the next good frame after bad bytes begins; what is reserved ahead in a live file is not looked through."""
    if live and data[offset : offset + 4] == bytes(4):
        return None
    for match in _MAYBE_FRAME.finditer(data, offset + 1):
        frame: list[Record] = []
        if _take_frames(data[match.start() : match.start() + RECORD_MAX], 0, frame):
            return match.start()
    return None
