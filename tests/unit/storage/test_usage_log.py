"""The usage log: what is appended is there, has room, is followed from segment to segment, and is brought to disk."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from headrace.core.errors import InternalFailure, InvalidRequest, StorageFull
from headrace.core.usage import Usage
from headrace.metering import Record
from headrace.storage import UsageLog, UsageLogSettings
from headrace.storage.segment import RECORD_MAX, read_pieces, segments
from tests.unit.metering.builders import admit, lost, settle, void
from tests.unit.storage.conftest import HandClock


def read(usage: Path) -> list[Record]:
    return [record for path in segments(usage) for piece in read_pieces(path) for record in piece.records]


def test_what_is_appended_is_there_without_a_sync(log, layout):
    records = [admit("a"), admit("b"), settle(admit("a")), void(admit("b")), lost(admit("c"))]
    for record in records:
        log.append(record)
    assert read(layout.usage) == records
    assert log.open_admits == 0


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


@pytest.mark.parametrize("record", [admit("x" * 700), admit(bound_pico=2**63), admit(bound=Usage(2**70)), admit(bound_pico=2**70)])
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


def test_every_open_admit_is_sure_of_room(log):
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
            assert log._synced == log._appended == 50
            await log.synced()
            keeper.cancel()

    asyncio.run(story())


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
