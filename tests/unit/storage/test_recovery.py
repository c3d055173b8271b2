"""After a crash: what was open is held as lost, once, whatever was damaged and however often recovery was cut short."""

import fcntl
import struct
from zlib import crc32

import msgspec
import pytest

from headrace.core.errors import SetupError
from headrace.metering import Lost, Record
from headrace.storage import recover
from headrace.storage.segment import HEADER_SIZE, file_name, framed, header, read_pieces, segments
from tests.unit.metering.builders import admit, lost, settle, void
from tests.unit.storage.conftest import crash

NOW = 5_000


def test_what_was_open_is_lost_once(new_log, layout):
    dead = new_log()
    for record in (admit("a"), admit("b"), admit("c"), settle(admit("a")), void(admit("b"))):
        dead.append(record)
    crash(dead)
    log = new_log()
    first = recover(layout.usage, log, NOW)
    assert (first.segments, first.records, first.lost, first.damages) == (1, 5, (lost(admit("c"), moment=NOW),), ())
    assert dead.path.with_suffix(".sealed").exists()
    assert log.path.exists()
    again = recover(layout.usage, log, NOW)
    assert (again.segments, again.lost) == (0, ())
    crash(log)
    after = recover(layout.usage, new_log(), NOW)
    assert (after.segments, after.records, after.lost) == (1, 1, ())


def test_an_admit_may_end_in_a_later_or_an_earlier_file(new_log, layout, clock):
    one, two = new_log(), new_log()
    one.append(admit("a"))
    one._open.clear()
    two.append(admit("a"))
    two.append(settle(admit("a")))
    crash(one)
    crash(two)
    assert recover(layout.usage, new_log(), NOW).lost == ()
    clock.now -= 10**12
    three = new_log()
    three.append(admit("b"))
    three.append(settle(admit("b")))
    clock.now += 10**12
    four = new_log()
    four.append(admit("b"))
    crash(three)
    crash(four)
    assert recover(layout.usage, new_log(), NOW).lost == ()


def test_a_log_whose_process_lives_is_never_touched(new_log, layout):
    living, dead, log = new_log(pid=1), new_log(pid=2), new_log(pid=3)
    living.append(admit("a"))
    dead.append(admit("b"))
    crash(dead)
    found = recover(layout.usage, log, NOW)
    assert [record.admitted.request for record in found.lost] == ["b"]
    assert living.path.exists()
    living.append(settle(admit("a")))
    living.close()
    assert living.path.with_suffix(".sealed").exists()


def test_only_the_logs_of_given_processes_are_recovered(new_log, layout):
    dead = [new_log(pid=number) for number in (1, 2, 12)]
    for number, one in enumerate(dead):
        one.append(admit(str(number)))
        crash(one)
    log = new_log()
    assert [record.admitted.request for record in recover(layout.usage, log, NOW, pids={2}).lost] == ["1"]
    assert [one.path.exists() for one in dead] == [True, False, True]
    assert {record.admitted.request for record in recover(layout.usage, log, NOW).lost} == {"0", "2"}


def test_a_segment_that_is_sealed_meanwhile_is_left_alone(new_log, layout):
    log = new_log()
    vanished = layout.usage / file_name(10**15, 9, 0)
    left = segments(layout.usage)
    assert recover(layout.usage, log, NOW).segments == 0
    (layout.usage / "link.log").symlink_to(vanished)
    assert recover(layout.usage, log, NOW).segments == 0, "what can't be opened any more is somebody else's business"
    assert segments(layout.usage)[: len(left)] == left


def test_what_was_begun_and_has_no_name_yet_is_cleared_away(new_log, layout):
    draft = layout.usage / file_name(10**15, 1, 0).replace(".log", ".new")
    draft.write_bytes(bytes(2048))
    held = layout.usage / file_name(10**15, 2, 0).replace(".log", ".new")
    held.write_bytes(bytes(2048))
    with held.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        recover(layout.usage, new_log(), NOW)
        assert (draft.exists(), held.exists()) == (False, True)


def test_an_admit_that_was_carried_over_may_have_ended_in_the_next_segment(new_log, layout):
    """Killed after a segment was followed, and before it was sealed."""
    dead = new_log()
    waiting = [admit(f"w{number}") for number in range(3)]
    for one in waiting:
        dead.append(one)
    first = dead.path
    while dead.path == first:
        dead.append(admit("x"))
        dead.append(settle(admit("x")))
    dead.append(settle(waiting[0]))
    dead.append(void(waiting[1]))
    for segment in dead._retired:
        segment.close()
    crash(dead)
    found = recover(layout.usage, new_log(), NOW)
    assert (found.segments, found.lost) == (2, (lost(waiting[2], moment=NOW),))


def test_what_the_first_version_left_is_recovered(new_log, layout):
    path = layout.usage / file_name(10**15, 1, 0)
    path.write_bytes(first_version([admit("a"), admit("b"), settle(admit("a"))]) + bytes(1_000))
    found = recover(layout.usage, new_log(), NOW)
    assert (found.records, found.lost, found.damages) == (3, (lost(admit("b"), moment=NOW),), ())
    assert path.with_suffix(".sealed").exists()


def first_version(records: list[Record]) -> bytes:
    fields = struct.pack("<8sHHIq36s", b"HRUSAGE\n", 1, 0, 2, 1, b"test")
    data = fields + struct.pack("<I", crc32(fields))
    for record in records:
        payload = msgspec.msgpack.encode(record)
        data += struct.pack("<II", len(payload), crc32(payload, len(payload))) + payload
    return data


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_recovery_that_was_killed_is_done_again(new_log, layout, kept):
    dead = new_log()
    for name in ("a", "b"):
        dead.append(admit(name))
    crash(dead)
    killed = new_log()
    for name in ("a", "b")[:kept]:
        killed.append(Lost(admit(name), NOW))
    crash(killed)
    assert {record.admitted.request for record in recover(layout.usage, new_log(), NOW).lost} == {"a", "b"} - set(("a", "b")[:kept])


@pytest.mark.parametrize(("cut", "more"), [(3, b""), (3, bytes(50)), (0, b"garbage" + bytes(50))])
def test_a_torn_tail_is_reported_and_kept(new_log, layout, cut, more):
    dead = new_log()
    dead.append(admit("a"))
    dead.append(settle(admit("a")))
    end = dead._segment.end
    crash(dead)
    data = dead.path.read_bytes()[: end - cut] + more
    dead.path.write_bytes(data)
    found = recover(layout.usage, new_log(), NOW)
    assert [one.torn for one in found.damages] == [True]
    assert "cut short" in str(found.damages[0])
    sealed = dead.path.with_suffix(".sealed").read_bytes()
    assert data.startswith(sealed)
    assert not any(data[len(sealed) :]), "only reserved room is given back"


def test_damage_in_the_middle_is_skipped_reported_and_kept(new_log, layout):
    dead = new_log()
    for name in ("a", "b", "c"):
        dead.append(admit(name))
        dead.append(settle(admit(name)))
    crash(dead)
    data = bytearray(dead.path.read_bytes())
    data[HEADER_SIZE + 12] ^= 0xFF
    dead.path.write_bytes(data)
    found = recover(layout.usage, new_log(), NOW)
    assert [(one.file, one.offset, one.torn) for one in found.damages] == [(dead.path.name, HEADER_SIZE, False)]
    assert "damaged bytes, skipped" in str(found.damages[0])
    assert found.lost == ()
    assert bytes(data).startswith(dead.path.with_suffix(".sealed").read_bytes())
    assert found.records == 5


def test_a_damaged_header_hides_nothing(layout):
    path = layout.usage / file_name(10**15, 1, 0)
    path.write_bytes(b"?" * HEADER_SIZE + framed(msgspec.msgpack.encode(admit())))
    (piece,) = read_pieces(path)
    assert piece.records == [admit()]
    assert [damage.length for damage in piece.damages] == [HEADER_SIZE]


def test_a_whole_frame_that_is_no_record_is_damage(layout):
    path = layout.usage / file_name(10**15, 1, 0)
    foreign = framed(msgspec.msgpack.encode(["not", "a", "record"]))
    path.write_bytes(header(1, 1, "x") + foreign + framed(msgspec.msgpack.encode(admit())))
    (piece,) = read_pieces(path)
    assert piece.records == [admit()]
    assert [(damage.offset, damage.length) for damage in piece.damages] == [(HEADER_SIZE, len(foreign))]


def test_empty_files_and_those_of_others_are_no_trouble(new_log, layout):
    (layout.usage / "1-1-000000.log").touch()
    (layout.usage / "notes.txt").write_text("mine")
    found = recover(layout.usage, new_log(), NOW)
    assert (found.segments, found.records, found.damages) == (1, 0, ())
    assert len(segments(layout.usage)) == 2


def test_a_file_of_a_newer_headrace_is_not_guessed_at(layout):
    path = layout.usage / file_name(10**15, 1, 0)
    fields = bytearray(header(1, 1, "x")[:60])
    fields[8] = 4
    path.write_bytes(fields + crc32(fields).to_bytes(4, "little"))
    with pytest.raises(SetupError, match=r"newer headrace \(format 4, known up to 3\)"):
        list(read_pieces(path))
