"""Whatever is cut, flipped, zeroed or written over: what is read from a segment was written to it, in that order."""

import struct
import tempfile
from pathlib import Path
from zlib import crc32

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.metering import Admit, Aside, AttemptId, Evidence, Lost, Record, Settle, Void
from headrace.storage.segment import HEADER_SIZE, framed, header, read_pieces

NAMES = st.text(max_size=12)
COUNTS = st.integers(0, 2**40)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
PLACED = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9), st.floats(allow_nan=False)), max_size=3).map(tuple)
ADMITS = st.builds(
    Admit,
    NAMES,
    st.integers(0, 9),
    COUNTS,
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    NAMES,
    st.booleans(),
    USAGES,
    st.none() | COUNTS,
    st.none() | NAMES,
    st.none() | NAMES,
    PLACED,
)
OUTCOMES = st.sampled_from(["completed", "client_left"])
CHANGES = st.lists(st.builds(Change, st.just("dropped"), NAMES, NAMES), max_size=2).map(tuple)
SETTLES = st.builds(
    Settle,
    ADMITS,
    COUNTS,
    USAGES,
    st.none() | COUNTS,
    st.just("confirmed"),
    OUTCOMES,
    st.none() | COUNTS,
    COUNTS,
    st.none() | NAMES,
    CHANGES,
)
EVIDENCE = st.builds(Evidence, NAMES, COUNTS, st.binary(max_size=300))
RECORDS: st.SearchStrategy[Record | Aside] = (
    ADMITS | SETTLES | st.builds(Lost, ADMITS, COUNTS) | st.builds(Void, ADMITS, COUNTS, NAMES) | EVIDENCE
)


@st.composite
def stories(draw: st.DrawFn) -> list[Record | Aside]:
    """Records of any kind, among them ends that follow their admits."""
    records: list[Record | Aside] = []
    for record in draw(st.lists(RECORDS, max_size=8)):
        if isinstance(record, Settle | Void) and draw(st.booleans()):
            records.insert(draw(st.integers(0, len(records))), record.admitted)
        records.append(record)
    return records


LISTS = stories()
FULL_LISTS = LISTS.filter(bool)


def written(records: list[Record | Aside]) -> bytes:
    data, places = bytearray(header(1, 2, "test")), dict[AttemptId, int]()
    for record in records:
        of = 0
        if isinstance(record, Admit):
            of = places[record.id] = len(data)
        elif isinstance(record, Settle | Void):
            of = places.pop(record.admitted.id, 0)
        data += framed(msgspec.msgpack.encode(record), of)
    return bytes(data)


def written_by_the_first_version(records: list[Record | Aside]) -> bytes:
    fields = struct.pack("<8sHHIq36s", b"HRUSAGE\n", 1, 0, 2, 1, b"test")
    data = fields + struct.pack("<I", crc32(fields))
    for record in records:
        payload = msgspec.msgpack.encode(record)
        data += struct.pack("<II", len(payload), crc32(payload, len(payload))) + payload
    return data


def read(data: bytes, *, live: bool = False) -> tuple[list[Record | Aside], int, int]:
    """What is read, how many bytes are called damaged, and where the reading ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1-1-000000.log"
        path.write_bytes(data)
        pieces = list(read_pieces(path, live=live))
    damaged = sum(damage.length for piece in pieces for damage in piece.damages)
    return [record for piece in pieces for record in piece.records], damaged, pieces[-1].end


def read_quickly(data: bytes) -> tuple[list[Record | Aside], int]:
    """What is left when admits whose end is there as well are left out, and how many records were seen."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "1-1-000000.log"
        path.write_bytes(data)
        (piece,) = read_pieces(path, quick=True)
    return piece.records, piece.found.count


def is_part(read_records: list[Record | Aside], all_records: list[Record | Aside]) -> bool:
    rest = iter(all_records)
    return all(any(record == other for other in rest) for record in read_records)


@given(LISTS, st.integers(0, 5_000))
def test_what_was_written_is_read_and_room_ahead_is_its_end(records, room):
    data = written(records)
    for live in (False, True):
        assert read(data + bytes(room), live=live)[:2] == (records, 0)


@given(LISTS)
def test_what_the_first_version_wrote_is_read(records):
    assert read(written_by_the_first_version(records) + bytes(100))[:2] == (records, 0)


@given(LISTS)
def test_a_quick_reading_leaves_out_admits_whose_end_it_has_and_nothing_else(records):
    found, count = read_quickly(written(records))
    assert count == len(records)
    rest = list(records)
    for record in found:
        rest.remove(record)
    assert all(isinstance(record, Admit) for record in rest)
    ended = {record.admitted.id for record in records if isinstance(record, Settle | Void)}  # an id names one admit, outside of this test
    assert all(isinstance(record, Admit) and record.id in ended for record in rest)
    for number, record in enumerate(records):
        if isinstance(record, Admit) and record.id not in [end.admitted.id for end in records[number:] if isinstance(end, Settle | Void)]:
            assert record in found


@given(LISTS, st.data())
def test_a_cut_loses_only_what_it_cuts(records, data):
    whole = written(records)
    cut = data.draw(st.integers(0, len(whole)))
    found, _, _ = read(whole[:cut] + bytes(100))
    assert found == records[: len(found)]
    if cut >= HEADER_SIZE:
        kept = written(records[: len(found)])
        assert len(kept) <= cut
        assert len(found) == len(records) or len(written(records[: len(found) + 1])) > cut


@given(LISTS, st.data())
def test_a_writer_is_followed_to_its_last_whole_record(records, data):
    whole = written(records)
    cut = data.draw(st.integers(0, len(whole)))
    found, damaged, end = read(whole[:cut] + bytes(100), live=True)
    assert damaged == 0
    if found:
        assert end == len(written(found))
        assert found == records[: len(found)]


@given(FULL_LISTS, st.data())
def test_a_flipped_bit_loses_one_record_and_is_reported(records, data):
    whole = bytearray(written(records))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= 1 << data.draw(st.integers(0, 7))
    found, damaged, _ = read(bytes(whole))
    assert is_part(found, records)
    assert len(found) >= len(records) - 1
    assert damaged > 0


@given(FULL_LISTS, st.data(), st.binary(min_size=1, max_size=600))
def test_bytes_written_over_lose_what_they_cover(records, data, garbage):
    whole = written(records)
    start = data.draw(st.integers(HEADER_SIZE, len(whole)))
    found, _, _ = read(whole[:start] + garbage + whole[start + len(garbage) :])
    assert is_part(found, records)
    before = sum(1 for count in range(1, len(records) + 1) if len(written(records[:count])) <= start)
    assert found[:before] == records[:before]


@given(LISTS.filter(lambda records: len(records) > 1), st.data())
def test_a_page_of_zeros_in_the_middle_does_not_end_the_log(records, data):
    whole = written(records)
    gone = data.draw(st.integers(0, len(records) - 2))
    start, end = len(written(records[:gone])), len(written(records[: gone + 1]))
    found, damaged, _ = read(whole[:start] + bytes(end - start) + whole[end:] + bytes(4096))
    assert found == records[:gone] + records[gone + 1 :]
    assert damaged == end - start
