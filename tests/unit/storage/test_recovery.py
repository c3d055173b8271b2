"""After a crash: what was open is held as lost, once, whatever was damaged and however often recovery was cut short."""

from zlib import crc32

import msgspec
import pytest

from headrace.core.errors import SetupError
from headrace.metering import Lost
from headrace.storage import UsageLog, recover
from headrace.storage.segment import HEADER_SIZE, file_name, framed, header, read_pieces, segments
from tests.unit.metering.builders import admit, lost, settle, void

NOW = 5_000


def crash(log: UsageLog) -> None:
    """What a killed process leaves: the file as it is. (Its descriptor goes with the process; here with the log.)"""
    log._segment.close()


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
    fields[8] = 2
    path.write_bytes(fields + crc32(fields).to_bytes(4, "little"))
    with pytest.raises(SetupError, match=r"newer headrace \(format 2, known up to 1\)"):
        list(read_pieces(path))
