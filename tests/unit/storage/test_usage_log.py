"""The usage log: what is appended is there, has room, is followed from segment to segment, and is brought to disk."""

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path

import msgspec
import pytest

from headrace.core.errors import InternalFailure, InvalidRequest, StorageFull
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.metering import Admit, Aside, Evidence, Record, Settle
from headrace.storage import UsageLog, UsageLogSettings
from headrace.storage.filesystem import keeps_reservations
from headrace.storage.segment import RECORD_MAX, read_pieces, segments
from headrace.storage.signs import Signs
from tests.unit.metering.builders import admit, lost, settle, void
from tests.unit.storage.conftest import HandClock


def read(usage: Path) -> list[Record | Aside]:
    return [record for path in segments(usage) for piece in read_pieces(path) for record in piece.records]


@pytest.fixture(params=[True, False], ids=["mapped", "written"])
def mapped(request):
    return request.param


def test_what_is_appended_is_there_without_a_sync(new_log, layout, mapped):
    log = new_log(mapped=mapped)
    evidence = Evidence("e", 1, b"x" * 60 * 1024)
    records = [admit("a"), evidence, admit("b"), settle(admit("a")), void(admit("b")), lost(admit("c"))]
    for record in records:
        log.append(record)
    assert read(layout.usage) == records
    assert log.open_admits == 0


def test_this_machine_stores_through_a_mapping(log):
    assert (log._segment._map is not None) is keeps_reservations(log.path.parent)


def test_where_no_mapping_can_be_had_records_are_written(layout):
    """The process may have no more address space than it has."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", NARROW, layout.usage], capture_output=True, text=True, check=False, env=environment)
    assert (child.stdout, child.stderr) == ("True\n", "")
    assert len(read(layout.usage)) == 20_000


NARROW = """
import resource, sys
from pathlib import Path
from headrace.storage import UsageLog
from tests.unit.metering.builders import admit, settle
from tests.unit.storage.conftest import HandClock

log = UsageLog(Path(sys.argv[1]), clock=HandClock(), pid=1, process="a test", mapped=True)
used = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (used, used))
for number in range(10_000):
    log.append(admit(str(number)))
    log.append(settle(admit(str(number))))
print(log._segment._map is None)
"""


def test_names_sort_by_time_and_never_meet(new_log, clock, layout):
    logs = [new_log(), new_log()]
    clock.now += 10**9
    logs.append(new_log())
    assert [path.name for path in segments(layout.usage)] == [log.path.name for log in logs]
    assert logs[0].path.name == "1795000000000-4711-000000.log"


@pytest.mark.parametrize("end", [settle(admit("a")), void(admit("a"))])
def test_an_attempt_ends_once(log, end):
    with pytest.raises(InternalFailure, match="ended twice, or was never admitted"):
        log.append(end)
    log.append(admit("a"))
    log.append(end)
    with pytest.raises(InternalFailure, match="attempt 0 of a ended twice"):
        log.append(end)


@pytest.mark.parametrize("record", [admit("x" * 1_600), admit(bound_pico=2**63), admit(bound=Usage(2**70)), admit(bound_pico=2**70)])
def test_what_cannot_be_accounted_for_is_not_admitted(log, layout, record):
    with pytest.raises(InvalidRequest, match="can't be accounted for"):
        log.append(record)
    assert read(layout.usage) == []
    assert log.open_admits == 0


def test_what_an_upstream_says_never_keeps_an_attempt_from_ending(log, layout):
    long = admit("x" * 400)
    for record in (long, msgspec.structs.replace(settle(long), model_served="é" * 5_000)):
        log.append(record)
    log.append(admit("b"))
    log.append(msgspec.structs.replace(void(admit("b")), reason="r" * 5_000))
    ends = read(layout.usage)[1::2]
    assert ends == [
        msgspec.structs.replace(settle(long), model_served="é" * 64),
        msgspec.structs.replace(void(admit("b")), reason="r" * 64),
    ]


def test_whatever_is_long_an_attempt_ends(log, layout):
    """All that a vendor may say at once, after an admission as long as can be."""
    long = msgspec.structs.replace(
        admit("x" * 200), placed=PLACED[:64], price="p" * 80, buy="b" * 80, user="é" * 64, tier="priority", evidence="e" * 24
    )
    huge = Usage(*[2**62] * 14)
    end = msgspec.structs.replace(
        settle(long, usage=huge, cost_pico=2**62), model_served="é" * 500, tier="é" * 500, calls=(("é" * 99, 1),) * 9, price="p" * 90,
        buy="b" * 90, buy_pico=2**62,
    )  # fmt: skip
    log.append(long)
    log.append(end)
    said, ended = read(layout.usage)
    assert isinstance(ended, Settle)
    assert (said, ended.usage, ended.tier, ended.price, len(ended.calls)) == (long, huge, "é" * 24, "p" * 90, 4)


PLACED = tuple((number, number % 5, number / 7) for number in range(200))


def test_an_admit_carries_its_placing_as_far_as_there_is_room(log, layout):
    for count in (0, 5, 64):
        log.append(msgspec.structs.replace(admit(str(count)), placed=PLACED[:count]))
    many = msgspec.structs.replace(admit("many"), placed=PLACED, evidence="e" * 24)
    log.append(many)
    log.append(settle(many))
    *said, end = read(layout.usage)
    assert [record.placed for record in said if isinstance(record, Admit)] == [(), PLACED[:5], PLACED[:64], PLACED[:64]]
    assert isinstance(end, Settle)
    assert said[-1] == end.admitted == msgspec.structs.replace(many, placed=PLACED[:64])


def test_an_end_carries_its_translation_as_far_as_there_is_room(log, layout):
    few = tuple(Change("dropped", f"messages[{number}].name", "has no such thing") for number in range(10))
    many = tuple(Change("changed", f"tools[{number}].strict", "why " * 20) for number in range(40))
    for name, changes in (("few", few), ("many", many), ("long", (Change("dropped", "x" * 5_000, "y"),))):
        one = msgspec.structs.replace(admit(name), placed=PLACED[: 5 if name == "few" else 64])
        log.append(one)
        log.append(msgspec.structs.replace(settle(one), translation=changes, model_served="é" * 64))
    said = [record.translation for record in read(layout.usage) if isinstance(record, Settle)]
    assert said[0] == few
    assert said[1][:-1] == many[: len(said[1]) - 1]
    assert said[1][-1] == Change("changed", "...", f"{40 - len(said[1]) + 1} more")
    assert said[2] == (Change("changed", "...", "1 more"),)


@pytest.mark.parametrize("wrong", [{"usage": Usage(2**70)}, {"cost_pico": 2**70}, {"cost_pico": 2**63}])
def test_a_claim_beyond_all_money_is_not_believed(log, layout, wrong):
    log.append(admit())
    log.append(msgspec.structs.replace(settle(admit()), **wrong))
    _, end = read(layout.usage)
    assert isinstance(end, Settle)
    assert (end.state, end.usage, end.cost_pico) == ("estimated", admit().bound, admit().bound_pico)


def test_evidence_has_a_bound(log, layout):
    with pytest.raises(InternalFailure, match=r"evidence may have 61,440"):
        log.append(Evidence("e", 1, bytes(61_441)))
    assert read(layout.usage) == []


def test_every_open_admit_is_sure_of_room(new_log, mapped):
    log = new_log(mapped=mapped)
    for number in range(3_000):
        log.append(admit(str(number)))
        assert log.path.stat().st_size >= log._segment.end + (log.open_admits + 1) * RECORD_MAX


def test_a_full_segment_is_followed_and_sealed_once_the_next_is_safe(log, layout):
    first, waiting = log.path, admit("waiting")
    log.append(waiting)
    numbers = 0
    while log.path == first:
        log.append(admit(str(numbers)))
        log.append(settle(admit(str(numbers))))
        numbers += 1
    assert first.exists(), "not before what is open in it is on disk in the next"
    assert waiting in [record for piece in read_pieces(log.path) for record in piece.records]
    log.sync()
    assert not first.exists()
    assert first.with_suffix(".sealed").stat().st_size < 128 * 1024, "what was reserved is given back"
    log.append(settle(waiting))
    log.close()
    assert {path.suffix for path in segments(layout.usage)} == {".sealed"}


def test_a_clean_end_seals_and_one_with_open_admits_does_not(new_log):
    done, left = new_log(), new_log()
    left.append(admit("open"))
    done.close()
    left.close()
    assert done.path.with_suffix(".sealed").exists()
    assert left.path.exists()


def test_appends_are_synced_together(new_log):
    async def story() -> None:
        log = new_log()
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(log.keep_synced())
            for number in range(50):
                log.append(admit(str(number)))
                await asyncio.sleep(0.0005)
            await asyncio.gather(*(log.synced() for _ in range(20)))
            assert log._synced == log._appended
            assert log._synced > 50 * 100
            await log.synced()
            keeper.cancel()

    asyncio.run(story())


async def beating(signs: Signs, seconds: float) -> None:
    """Another process says for so long that it syncs."""
    for _ in range(int(seconds * 200)):
        signs.beat(0)
        await asyncio.sleep(0.005)


async def kept(log: UsageLog, story: Coroutine[None, None, None]) -> None:
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(log.keep_synced())
        await story
        keeper.cancel()


def test_the_log_does_not_sync_while_another_process_does(new_log, layout):
    signs, log = Signs(layout.usage), new_log()

    async def story() -> None:
        await beating(signs, 0.3)
        before = log._synced
        log.append(admit("a"))
        await beating(signs, 0.3)
        assert log._synced == before < log._appended, "somebody else does"
        await asyncio.sleep(0.4)
        assert log._synced == log._appended, "nobody else does any more"

    asyncio.run(kept(log, story()))
    signs.close()


def test_a_segment_that_was_followed_is_sealed_although_another_process_syncs(new_log, layout):
    signs = Signs(layout.usage)
    log = new_log()
    first = log.path
    while log.path == first:
        log.append(admit("a"))
        log.append(settle(admit("a")))
    asyncio.run(kept(log, beating(signs, 0.5)))
    assert first.with_suffix(".sealed").exists()
    signs.close()


def test_a_disk_that_fails_under_the_other_process_stops_admission(new_log, layout):
    signs = Signs(layout.usage)

    async def story() -> None:
        async with asyncio.TaskGroup() as tasks:
            keeper = tasks.create_task(log.keep_synced())
            while not keeper.done():
                signs.beat(errno.EIO)
                await asyncio.sleep(0.005)

    log = new_log()
    log.append(admit("a"))
    asyncio.run(story())
    with pytest.raises(StorageFull, match=r"can't be brought to disk \(Input/output error\)"):
        log.append(admit("b"))
    log.append(settle(admit("a")))
    signs.close()


def test_signs_of_an_earlier_time_are_none(layout):
    signs = Signs(layout.usage)
    signs.beat(errno.EIO)
    later = Signs(layout.usage)
    assert later.heard() is None
    signs.beat(0)
    assert later.heard() == 0
    assert later.heard() is None
    signs.close()
    later.close()


def test_where_nobody_can_tell_us_anything_the_log_syncs_itself(new_log, layout):
    (layout.usage / "syncing").mkdir()
    log = new_log()
    log.append(admit("a"))
    asyncio.run(kept(log, asyncio.sleep(0.2)))
    assert log._synced == log._appended


def test_a_disk_that_fails_stops_admission_and_says_so(new_log):
    log = new_log()
    log.append(admit("a"))
    file = log._segment._file
    os.dup2(os.open("/dev/full", os.O_WRONLY), file)  # can't be synced any more

    async def story() -> None:
        with pytest.raises(StorageFull, match="can't be brought to disk"):
            await log.synced()
        await log.keep_synced()  # ends by itself

    asyncio.run(story())
    with pytest.raises(StorageFull, match="can't be brought to disk"):
        log.append(admit("b"))


FULL = """
import resource, sys
from pathlib import Path
from headrace.core.errors import StorageFull
from headrace.storage import UsageLog
from tests.unit.metering.builders import admit, settle
from tests.unit.storage.conftest import HandClock

log = UsageLog(Path(sys.argv[1]), clock=HandClock(), pid=1, process="a test")
limit = 2 * 1024 * 1024 + 100
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
admitted = []
try:
    while True:
        log.append(admit(str(len(admitted))))
        admitted.append(admit(str(len(admitted))))
except StorageFull as full:
    print(full)
for one in admitted:
    log.append(settle(one))
print(len(admitted))
"""


def run_full(usage: Path) -> int:
    """Admit until nothing fits, then settle all; return how many were."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.run([sys.executable, "-c", FULL, usage], capture_output=True, text=True, check=False, env=environment)
    assert not child.stderr
    message, count = child.stdout.splitlines()
    assert "has no room for the usage log" in message
    assert "nothing new is admitted" in message
    return int(count)


def test_with_no_more_room_nothing_is_admitted_and_everything_is_settled(layout):
    count = run_full(layout.usage)
    records = read(layout.usage)
    assert len(records) == 2 * count > 1_000
    assert len({settled.admitted.id for settled in records[count:]}) == count  # type: ignore[union-attr]


def test_on_a_full_disk_nothing_is_admitted_and_everything_is_settled(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        count = run_full(disk)
        assert len(read(disk)) == 2 * count > 1_000
        (disk / "filler").write_bytes(bytes(max(0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize)))
        with pytest.raises(StorageFull, match=r"free some room|has no room"):
            UsageLog(disk, clock=HandClock(), pid=2, process="a test")
        assert len(segments(disk)) == 1, "what could not be begun is taken away"
    finally:
        subprocess.run(["umount", disk], check=True)


def test_no_folder_no_log(tmp_path, clock):
    with pytest.raises(StorageFull, match="can't be made for the usage log"):
        UsageLog(tmp_path / "missing", clock=clock, pid=1, process="a test")


@pytest.mark.parametrize(
    "wrong", [{"sync_interval_ms": 0}, {"sync_interval_ms": 1_001}, {"segment_size_max": 1}, {"segment_size_max": 2**31}]
)
def test_settings_have_bounds(wrong):
    with pytest.raises(ValueError, match="must be"):
        UsageLogSettings(**wrong)
