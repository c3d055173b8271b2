"""What a worker and the bank say to each other over the bank's socket: JSON, whose numbers have no end, each message after its length."""

import asyncio
import struct
from typing import TypeAlias

import msgspec

from headrace.metering import AccountOpening, Said, Told
from headrace.storage.usagemark import Mark

SIZE_MAX = 16 * 1024 * 1024
_SIZE = struct.Struct("<I")


class Hello(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A worker is there; its log begins with this segment."""

    process: str
    pid: int
    segment: str


class Open(msgspec.Struct, frozen=True, tag=True, array_like=True):
    openings: tuple[AccountOpening, ...]


class Beat(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """How slices stand as of a place in the worker's log. `last`: the worker ends, and everything is returned."""

    mark: Mark
    saids: tuple[Said, ...]
    last: bool = False


class Rules(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What budgets were set at the command line?"""


class Webhook(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Where alerts go, and the secret that they are signed with."""

    url: str
    secret: str


Asked: TypeAlias = Hello | Open | Beat | Rules | Webhook


class Welcome(msgspec.Struct, frozen=True, tag=True, array_like=True):
    epoch: int


class Opened(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """For each opening the account's number, and what was granted to this holder of it, returned and settled."""

    numbers: tuple[tuple[int, int, int, int], ...]


class Lent(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """`version` changes whenever the rules do; `hosts` share the limits of rates."""

    tolds: tuple[Told, ...]
    version: str
    hosts: int


class RulesAre(msgspec.Struct, frozen=True, tag=True, array_like=True):
    contents: tuple[str, ...]
    version: str


class Noted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    pass


class Down(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The store can't be reached."""

    why: str


class FencedOff(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The store has booked this holder's end."""


class Recall(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Said unasked: give back what lies free of these accounts."""

    accounts: tuple[int, ...]


Answered: TypeAlias = Welcome | Opened | Lent | RulesAre | Noted | Down | FencedOff | Recall

_encode = msgspec.json.Encoder().encode
decode_asked = msgspec.json.Decoder(Asked).decode
decode_answered = msgspec.json.Decoder(Answered).decode


def framed(message: Asked | Answered) -> bytes:
    payload = _encode(message)
    return _SIZE.pack(len(payload)) + payload


async def payload_from(reader: asyncio.StreamReader) -> bytes:
    """The next message. Raises EOFError (IncompleteReadError) when the other side has gone."""
    size = _SIZE.unpack(await reader.readexactly(_SIZE.size))[0]
    if size > SIZE_MAX:
        raise EOFError(f"a message of {size:,} bytes is none of ours")
    return await reader.readexactly(size)
