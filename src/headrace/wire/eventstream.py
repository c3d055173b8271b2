"""`application/vnd.amazon.eventstream`: bytes in, whole messages out, under any chunking.

    total length · headers' length · CRC of these eight bytes · headers · payload · CRC of all before it

All lengths and checksums are four bytes, big-endian; the checksums are CRC-32 as in gzip. A header is its name's length in one byte, the
name, its type in one byte, and the value, which for text and bytes starts with two bytes of length. The limits are those of AWS's SDKs.
"""

import struct
from typing import TypeAlias
from uuid import UUID
from zlib import crc32

import msgspec

from headrace.core.errors import UpstreamGarbled

HEADERS_BYTES_MAX = 128 * 1024
PAYLOAD_BYTES_MAX = 24 * 1024 * 1024
"""A message is held until it is whole, so it has a limit."""

Value: TypeAlias = bool | int | bytes | str | UUID
"""What a header may hold. A time is milliseconds since 1970."""

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_FRAME_BYTES = _PRELUDE.size + _CRC.size
_INTEGERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q"), 8: struct.Struct(">q")}
_LENGTH = struct.Struct(">H")
_UUID_BYTES = 16


class Message(msgspec.Struct, frozen=True):
    """One message: what its headers say, and its payload."""

    headers: dict[str, Value]
    payload: bytes

    def text(self, name: str) -> str:
        """A header that is text; empty when it is missing or something else."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class MessageReader:
    """Holds only what is not yet read: `feed` it, then take messages until there is none."""

    def __init__(self) -> None:
        self._held, self._at = bytearray(), 0

    def feed(self, data: bytes) -> None:
        del self._held[: self._at]
        self._at = 0
        self._held += data

    def next_message(self) -> Message | None:
        """The next message, or None until more is fed. Raises UpstreamGarbled for bytes that are no such stream, and then always."""
        left = len(self._held) - self._at
        if left < _PRELUDE.size:
            return None
        total, in_headers, said_crc = _PRELUDE.unpack_from(self._held, self._at)
        if crc32(self._held[self._at : self._at + 8]) != said_crc:
            raise UpstreamGarbled("The upstream's event stream is damaged: the checksum of a message's start is wrong.")
        in_payload = total - _FRAME_BYTES - in_headers
        if in_payload < 0:
            raise UpstreamGarbled("The upstream's event stream is damaged: a message is shorter than its headers.")
        if in_headers > HEADERS_BYTES_MAX or in_payload > PAYLOAD_BYTES_MAX:
            raise UpstreamGarbled(f"The upstream's event stream has a message of {total} bytes, which is more than is held.")
        if left < total:
            return None
        frame = bytes(self._held[self._at : self._at + total])
        if crc32(frame[: -_CRC.size]) != _CRC.unpack_from(frame, total - _CRC.size)[0]:
            raise UpstreamGarbled("The upstream's event stream is damaged: the checksum of a message is wrong.")
        headers_end = _PRELUDE.size + in_headers
        message = Message(_headers(frame[_PRELUDE.size : headers_end]), frame[headers_end : -_CRC.size])
        self._at += total
        return message

    @property
    def unfinished(self) -> bool:
        """Whether bytes are held that are not yet a message."""
        return len(self._held) > self._at


def _headers(data: bytes) -> dict[str, Value]:
    found: dict[str, Value] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name = data[at + 1 : name_end].decode()
            if name in found:
                raise UpstreamGarbled(f"The upstream's event stream is damaged: a message has the header {name!r} twice.")
            found[name], at = _value(data, name_end)
    except (struct.error, IndexError, UnicodeDecodeError) as wrong:
        raise UpstreamGarbled(f"The upstream's event stream is damaged: the headers of a message can't be read: {wrong}.") from None
    return found


def _value(data: bytes, at: int) -> tuple[Value, int]:
    """The value whose type stands at `at`, and where it ends."""
    kind, at = data[at], at + 1
    match kind:
        case 0 | 1:
            return kind == 0, at
        case 2 | 3 | 4 | 5 | 8:
            number: int = _INTEGERS[kind].unpack_from(data, at)[0]
            return number, at + _INTEGERS[kind].size
        case 6 | 7:
            start = at + _LENGTH.size
            held = _exactly(data, start, _LENGTH.unpack_from(data, at)[0])
            return held.decode() if kind == 7 else held, start + len(held)
        case 9:
            return UUID(bytes=_exactly(data, at, _UUID_BYTES)), at + _UUID_BYTES
        case _:
            raise UpstreamGarbled(f"The upstream's event stream is damaged: a header is of the unknown type {kind}.")


def _exactly(data: bytes, at: int, count: int) -> bytes:
    held = data[at : at + count]
    if len(held) < count:
        raise IndexError("a value ends after its headers")
    return held
