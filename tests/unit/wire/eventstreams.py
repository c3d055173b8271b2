"""Writes what the vendor's binary event stream says, from the format's own description: the counterpart of the reader under test."""

import json
import struct
from collections.abc import Mapping
from typing import TypeAlias
from uuid import UUID
from zlib import crc32


class Sized(int):
    """A whole number that is written in so many bytes."""

    def __new__(cls, number: int, bytes_: int) -> "Sized":
        made = super().__new__(cls, number)
        made.bytes_ = bytes_
        return made

    bytes_: int


class Time(int):
    """A time, in milliseconds since 1970."""


Value: TypeAlias = bool | Sized | Time | bytes | str | UUID

INTEGERS = {1: (2, ">b"), 2: (3, ">h"), 4: (4, ">i"), 8: (5, ">q")}


def written(value: Value) -> bytes:
    if isinstance(value, bool):
        return b"\x00" if value else b"\x01"
    if isinstance(value, Time):
        return b"\x08" + struct.pack(">q", value)
    if isinstance(value, Sized):
        kind, form = INTEGERS[value.bytes_]
        return bytes([kind]) + struct.pack(form, value)
    if isinstance(value, UUID):
        return b"\x09" + value.bytes
    if isinstance(value, bytes):
        return b"\x06" + struct.pack(">H", len(value)) + value
    text = value.encode()
    return b"\x07" + struct.pack(">H", len(text)) + text


def message(headers: Mapping[str, Value], payload: bytes = b"") -> bytes:
    heads = b"".join(bytes([len(name.encode())]) + name.encode() + written(value) for name, value in headers.items())
    return framed(heads, payload)


def framed(heads: bytes, payload: bytes = b"") -> bytes:
    """A message whose headers are these bytes, whatever they say, with its checksums right."""
    prelude = struct.pack(">II", 16 + len(heads) + len(payload), len(heads))
    frame = prelude + struct.pack(">I", crc32(prelude)) + heads + payload
    return frame + struct.pack(">I", crc32(frame))


def event(kind: str, body: object) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())


def exception(kind: str, body: object) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(body).encode())
