"""The binary event stream: AWS's own test vectors, every kind of header, and every kind of damage."""

import struct
from uuid import UUID
from zlib import crc32

import pytest

from headrace.core.errors import UpstreamGarbled
from headrace.wire.eventstream import HEADERS_BYTES_MAX, PAYLOAD_BYTES_MAX, Message, MessageReader
from tests.unit.wire.eventstreams import Sized, Time, framed, message


def read(wire: bytes) -> list[Message]:
    reader, found = MessageReader(), []
    reader.feed(wire)
    while (one := reader.next_message()) is not None:
        found.append(one)
    assert not reader.unfinished
    return found


# The vectors of AWS's SDK (github.com/boto/botocore, tests/unit/test_eventstream.py).
ALL_KINDS = (
    b"\x00\x00\x00\x62\x00\x00\x00\x52\x03\xb5\xcb\x9c\x010\x00\x011\x01\x012\x02\x02\x013\x03\x00\x03\x014\x04\x00\x00\x00\x04"
    b"\x015\x05\x00\x00\x00\x00\x00\x00\x00\x05\x016\x06\x00\x05bytes\x017\x07\x00\x04utf8\x018\x08\x00\x00\x00\x00\x00\x00\x00\x08"
    b"\x019\x090123456789abcdef\x63\x35\x36\x71"
)
KINDS: dict[str, object] = {
    "0": True,
    "1": False,
    "2": 2,
    "3": 3,
    "4": 4,
    "5": 5,
    "6": b"bytes",
    "7": "utf8",
    "8": 8,
    "9": UUID(bytes=b"0123456789abcdef"),
}
FOO = b"{'foo':'bar'}"
JSON_HEADER = b"\x00\x00\x00=\x00\x00\x00 \x07\xfd\x83\x96\x0ccontent-type\x07\x00\x10application/json{'foo':'bar'}\x8d\x9c\x08\xb1"
VECTORS: list[tuple[bytes, dict[str, object], bytes]] = [
    (b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2H\xeb}\x98\xc8\xff", {}, b""),
    (b"\x00\x00\x00\x17\x00\x00\x00\x07)\x86\x01X\x04byte\x02\xff\xc2\xf8i\xdc", {"byte": -1}, b""),
    (b"\x00\x00\x00\x19\x00\x00\x00\tq\x0e\x92>\x05short\x03\xff\xff\xb2|\xb6\xcc", {"short": -1}, b""),
    (b"\x00\x00\x00\x1d\x00\x00\x00\r\x83\xe3\xf0\xe7\x07integer\x04\xff\xff\xff\xff\x8b\x8e\x12\xeb", {"integer": -1}, b""),
    (
        b"\x00\x00\x00\x1e\x00\x00\x00\x0e]J\xdb\x8d\x04long\x05\xff\xff\xff\xff\xff\xff\xff\xffK\xc22\xda",
        {"long": -1},
        b"",
    ),
    (b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96", {}, FOO),
    (JSON_HEADER, {"content-type": "application/json"}, FOO),
    (ALL_KINDS, KINDS, b""),
]


@pytest.mark.parametrize(("wire", "headers", "payload"), VECTORS)
def test_the_sdks_vectors(wire: bytes, headers: dict[str, object], payload: bytes):
    assert [(one.headers, one.payload) for one in read(wire)] == [(headers, payload)]


def test_many_messages_in_one_piece_and_the_last_byte_by_itself():
    wire = b"".join(vector for vector, _, _ in VECTORS)
    assert [one.headers for one in read(wire)] == [headers for _, headers, _ in VECTORS]
    reader = MessageReader()
    reader.feed(ALL_KINDS[:-1])
    assert reader.next_message() is None
    assert reader.unfinished
    reader.feed(ALL_KINDS[-1:])
    assert reader.next_message() == Message(KINDS, b"")  # type: ignore[arg-type]


def test_a_header_that_is_text():
    one = read(message({"a": "text", "b": b"bytes"}))[0]
    assert (one.text("a"), one.text("b"), one.text("c")) == ("text", "", "")


def test_the_writer_of_the_tests_writes_the_vectors():
    values = {name: value for name, value in KINDS.items() if name not in "23458"} | {
        "2": Sized(2, 1),
        "3": Sized(3, 2),
        "4": Sized(4, 4),
        "5": Sized(5, 8),
        "8": Time(8),
    }
    assert message(dict(sorted(values.items()))) == ALL_KINDS  # type: ignore[arg-type]


def announcing(headers: int, payload: int) -> bytes:
    """The start of a message of such lengths."""
    prelude = struct.pack(">II", 16 + headers + payload, headers)
    return prelude + struct.pack(">I", crc32(prelude))


SHORT = struct.pack(">II", 15, 0)
DAMAGED = [
    (b"\x01\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'}\xc3e96", "a message's start"),
    (b"\x00\x00\x00\x1d\x00\x00\x00\x00\xfdR\x8cZ{'foo':'bar'\x8d\xc3e96", "checksum of a message is"),
    (JSON_HEADER.replace(b"content-type", b"content+type"), "checksum of a message is"),
    (JSON_HEADER.replace(b"\x00\x00\x00 ", b"\xff\x00\x01\x02"), "a message's start"),
    (b"\x00\x00\x00\x24\x00\x00\x00\x14\x4b\xb9\x82\xd0\x04test\x04asdf\x04test\x04asdf\xf3\xf4\x75\x63", "'test' twice"),
    (b'<html>not a stream at all</html>{"message":"no"}', "a message's start"),
    (SHORT + struct.pack(">I", crc32(SHORT)), "shorter than its headers"),
    (announcing(HEADERS_BYTES_MAX + 1, 0), "more than is held"),
    (announcing(0, PAYLOAD_BYTES_MAX + 1), "more than is held"),
    (framed(b"\x04name"), "headers of a message"),
    (framed(b"\x09name"), "headers of a message"),
    (framed(b"\x04name\x07\x00"), "headers of a message"),
    (framed(b"\x04name\x07\x00\x09short"), "headers of a message"),
    (framed(b"\x04name\x05\x00\x00"), "headers of a message"),
    (framed(b"\x04name\x09\x00\x00"), "headers of a message"),
    (framed(b"\x04name\x07\x00\x01\xff"), "headers of a message"),
    (framed(b"\x01\xff\x00"), "headers of a message"),
    (framed(b"\x04name\x0a"), "unknown type 10"),
]


@pytest.mark.parametrize(("wire", "words"), DAMAGED)
def test_damage_is_said_and_stays(wire: bytes, words: str):
    reader = MessageReader()
    reader.feed(message({"a": "b"}) + wire)
    assert reader.next_message() == Message({"a": "b"}, b"")
    for _ in range(2):
        with pytest.raises(UpstreamGarbled, match=words):
            reader.next_message()


@pytest.mark.parametrize(("headers", "payload"), [(HEADERS_BYTES_MAX, 0), (0, PAYLOAD_BYTES_MAX)])
def test_the_largest_message_is_waited_for(headers: int, payload: int):
    reader = MessageReader()
    reader.feed(announcing(headers, payload))
    assert reader.next_message() is None
