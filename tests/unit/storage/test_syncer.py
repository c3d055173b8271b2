"""The syncer: what was appended, by whichever process, is synced in the next round; what was not is left alone; a failure is told."""

import os
import subprocess
import sys
import time

import pytest

from headrace.storage import UsageLog
from headrace.storage.signs import Signs
from headrace.storage.syncer import Syncer
from tests.unit.metering.builders import admit, settle
from tests.unit.storage.conftest import crash


@pytest.fixture
def syncer(layout):
    return Syncer(layout.usage, 10)


def settled(syncer: Syncer) -> None:
    """Rounds until nothing is left to do."""
    for _ in range(100):
        if not syncer.round():
            return
    raise AssertionError("it never comes to rest")


def pause() -> None:
    """Longer than a file system takes for one moment."""
    time.sleep(0.03)


@pytest.mark.parametrize("mapped", [True, False], ids=["mapped", "written"])
def test_each_append_is_synced_once_it_is_there(new_log, syncer, mapped):
    log: UsageLog = new_log(mapped=mapped)
    assert syncer.round() == 1
    settled(syncer)
    for number in range(20):
        pause()
        log.append(admit(str(number)))
        assert syncer.round() == 1, number
        settled(syncer)
        assert syncer.round() == 0


def test_an_append_in_the_middle_of_a_sync_is_not_missed(new_log, syncer):
    """The first store after a sync makes the page dirty again, and that is seen, however short the time between."""
    log: UsageLog = new_log(segment_size_max=1024 * 1024)
    for number in range(300):
        log.append(admit(str(number)))
        assert syncer.round() == 1
        log.append(settle(admit(str(number))))
    assert syncer.round() == 1
    settled(syncer)


def test_many_logs_are_followed_as_they_come_and_go(new_log, syncer):
    logs: list[UsageLog] = [new_log() for _ in range(5)]
    assert syncer.round() == 5
    settled(syncer)
    pause()
    logs[0].append(admit("a"))
    logs[1].close()
    logs.append(new_log())
    assert syncer.round() == 2, "the one that was appended to, and the new one"
    settled(syncer)
    assert len(syncer._files) == 5
    pause()
    crash(logs[2])
    assert syncer.round() == 0


def test_a_failure_is_told_from_then_on(new_log, syncer, layout):
    signs = Signs(layout.usage)
    log: UsageLog = new_log()
    syncer.round()
    assert signs.heard() == 0
    (file,) = syncer._files.values()
    os.dup2(os.open("/dev/full", os.O_WRONLY), file)  # can't be synced
    log.append(admit("a"))
    for _ in range(3):
        syncer.round()
        assert signs.heard()
    signs.close()


@pytest.mark.parametrize(("interval_ms", "quiet_ms"), [(1, 5), (10, 50), (40, 50), (100, 100)])
def test_it_looks_less_often_when_it_is_quiet_and_at_a_last_time(new_log, layout, interval_ms, quiet_ms):
    log: UsageLog = new_log()
    signs, waits = Signs(layout.usage), list[int]()
    syncer = Syncer(layout.usage, interval_ms)

    def is_over(wait_s: float) -> bool:
        waits.append(round(wait_s * 1_000))
        if sum(waits) > 1_500 and len(log._open) == 0:
            pause()
            log.append(admit("a"))
            waits.append(0)
        signs.heard()
        return waits.count(0) > 0 and len(waits) > waits.index(0) + 4

    syncer.keep(is_over)
    assert signs.heard() == 0, "a last round"
    first, then = waits[: waits.index(0)], waits[waits.index(0) + 1 :]
    assert (first[0], first[-1]) == (interval_ms, quiet_ms)
    assert sum(wait for wait in first if wait == interval_ms) >= 1_000 or interval_ms == quiet_ms
    assert set(then) == {interval_ms}, "as soon as there is something again"
    signs.close()


LOADER = "import sys; from headrace.storage.loader import main; sys.exit(main(sys.argv[1:]))"


def test_the_loaders_child_syncs_and_goes_with_it(new_log, layout):
    signs = Signs(layout.usage)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    loader = subprocess.Popen([sys.executable, "-c", LOADER, layout.root, "5"], stdin=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 20
    while signs.heard() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    loader.kill()
    loader.wait()
    while signs.heard() is not None:
        assert time.monotonic() < deadline, "the child outlives its parent"
        time.sleep(0.1)
    assert loader.stdin is not None
    loader.stdin.close()
    signs.close()


@pytest.mark.parametrize("arguments", [(), ("a", "b", "c"), ("a", "often"), ("a", "0")])
def test_what_the_loader_is_told_is_checked(arguments, layout):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", "headrace.storage", *arguments], capture_output=True, env=environment, check=False)
    assert (done.returncode, b"usage: " in done.stderr) == (2, True)
