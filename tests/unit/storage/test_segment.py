"""Reading a segment: in pieces, quickly or with care, the first version's too, and across damage."""

import os

import msgspec
import pytest

from headrace.metering import Admit, Evidence, Settle
from headrace.storage import segment
from headrace.storage.segment import (
    CHUNK_SIZE,
    FRAME_SIZE,
    HEADER_SIZE,
    file_name,
    framed,
    header,
    payload_at,
    process_of,
    read_pieces,
    read_segment,
    records_in,
)
from tests.unit.metering.builders import admit, lost, settle, void


@pytest.fixture
def path(layout):
    return layout.usage / file_name(10**15, 77, 3)


def encoded(record) -> bytes:
    return msgspec.msgpack.encode(record)


def test_a_name_tells_its_process(path):
    assert path.name == "0001000000000-77-000003.log"
    assert process_of(path) == 77
    assert process_of(path.with_name("notes.log")) is None
    assert process_of(path.with_name("a-b-c.log")) is None


def long_log() -> tuple[bytes, int]:
    """Some megabytes: requests, of which each hundredth goes on for long, and evidence as long as may be; and how many records."""
    data, count, waiting = bytearray(header(1, 77, "test")), 0, list[tuple[Admit, int]]()

    def say(record, of: int) -> int:
        nonlocal count
        at = len(data)
        data.extend(framed(encoded(record), at if isinstance(record, Admit) else of))
        count += 1
        return at

    for number in range(4_000):
        one = admit(str(number))
        at = say(one, 0)
        if number % 100:
            say(settle(one), at)
        else:
            waiting.append((one, at))
            say(Evidence(str(number), 1, os.urandom(60 * 1024)), 0)
        if len(waiting) > 3:
            say(settle(waiting[0][0]), waiting.pop(0)[1])
    return bytes(data), count


def test_pieces_together_are_the_whole(path):
    data, count = long_log()
    path.write_bytes(data + bytes(5_000))
    assert len(data) > 4 * CHUNK_SIZE
    carefully = [record for piece in read_pieces(path) for record in piece.records]
    assert len(carefully) == count
    pieces = list(read_pieces(path, quick=True))
    assert len(pieces) > 4
    assert sum(piece.found.count for piece in pieces) == count
    open_at: set[int] = set()
    for piece in pieces:
        assert not piece.damages
        open_at = (open_at - set(piece.found.earlier)) | piece.found.admits.keys()
    assert len(open_at) == 3
    ends = [record for piece in pieces for record in records_in(piece.found.ends)]
    assert ends == [record for record in carefully if isinstance(record, Settle)]
    assert pieces[-1].content == len(data)
    stopped = list(read_pieces(path, stop=len(data) // 2, quick=True))
    assert stopped[-1].end <= len(data) // 2


@pytest.mark.parametrize("quick", [False, True])
def test_damage_between_two_pieces_is_one_damage(path, quick):
    data, count = long_log()
    damaged = bytearray(data)
    damaged[CHUNK_SIZE - 400 : CHUNK_SIZE + 400] = b"?" * 800
    path.write_bytes(damaged)
    pieces = list(read_pieces(path, quick=quick))
    damages = [damage for piece in pieces for damage in piece.damages]
    assert sum(damage.length for damage in damages) >= 800
    assert not any(damage.torn for damage in damages)
    seen = sum(piece.found.count for piece in pieces)
    assert count - 8 <= seen < count


def test_a_frame_is_where_it_was_written(path):
    path.write_bytes(header(1, 1, "x") + framed(encoded(admit("a")), HEADER_SIZE))
    with path.open("rb") as file:
        assert payload_at(file.fileno(), HEADER_SIZE) == encoded(admit("a"))


def test_what_an_end_points_to_is_under_the_checksum(path):
    whole = bytearray(header(1, 1, "x") + framed(encoded(void(admit())), 1))
    path.write_bytes(whole)
    assert read_segment(path).records == [void(admit())]
    whole[HEADER_SIZE + 8] ^= 4
    path.write_bytes(whole)
    assert [(damage.offset, damage.torn) for damage in read_segment(path).damages] == [(HEADER_SIZE, True)]


def test_a_whole_frame_that_is_no_record_is_damage_to_who_reads_with_care(path):
    foreign = framed(encoded([9, "of a newer headrace"]))
    path.write_bytes(header(1, 1, "x") + foreign + framed(encoded(lost(admit()))))
    careful, quick = read_segment(path), read_segment(path, quick=True)
    assert [(damage.offset, damage.length) for damage in careful.damages] == [(HEADER_SIZE, len(foreign))]
    assert quick.damages == ()
    assert careful.records == quick.records == [lost(admit())]


@pytest.mark.parametrize("quick", [False, True])
def test_damage_that_looks_like_frames_is_looked_through(path, quick):
    """Bytes that look like the beginnings of long frames at every step."""
    garbage = b"\x01\xf0\x00\x00" * (64 * 1024 // 4)
    path.write_bytes(header(1, 1, "x") + garbage + framed(encoded(lost(admit()))) + bytes(1024))
    pieces = list(read_pieces(path, quick=quick))
    assert [record for piece in pieces for record in piece.records] == [lost(admit())]
    assert sum(damage.length for piece in pieces for damage in piece.damages) == len(garbage)


def test_a_writer_at_work_is_no_damage(path):
    whole = header(1, 1, "x") + framed(encoded(lost(admit())))
    for end in range(HEADER_SIZE, len(whole)):
        path.write_bytes(whole[:end] + bytes(200))
        reading = read_segment(path, live=True, quick=True)
        assert (reading.found.count, reading.damages, reading.ended) == (0, (), True)
    path.write_bytes(bytes(200))
    assert read_segment(path, live=True).ended
    path.write_bytes(whole[:20] + bytes(200))
    reading = read_segment(path, live=True)
    assert (reading.end, reading.damages) == (0, ())


def test_a_piece_always_has_room_for_a_frame():
    assert segment.FRAME_MAX > 60 * 1024 + 100 + FRAME_SIZE
    assert CHUNK_SIZE >= 2 * segment.FRAME_MAX


@pytest.mark.parametrize("cut", [slice(None, 40), slice(20, None)], ids=["its end is missing", "its beginning is missing"])
def test_a_write_that_was_cut_short_is_torn_however_much_is_reserved_behind_it(path, cut):
    """A kill in the middle of a store leaves any part of a frame, in front of room that many pieces are read of."""
    whole = header(1, 77, "test") + framed(encoded(admit("a")))
    frame = framed(encoded(settle(admit("b"))))
    part = bytearray(len(frame))
    part[cut] = frame[cut]
    path.write_bytes((whole + bytes(part)).ljust(3 * CHUNK_SIZE, b"\0"))
    damages = [damage for piece in read_pieces(path) for damage in piece.damages]
    assert [(damage.offset, damage.torn) for damage in damages] == [(len(whole), True)]
    with path.open("r+b") as file:
        file.seek(2 * CHUNK_SIZE)
        file.write(frame)
    damages = [damage for piece in read_pieces(path) for damage in piece.damages]
    assert not damages[0].torn, "something was written after it"
