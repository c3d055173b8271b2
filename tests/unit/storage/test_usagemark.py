"""What a dead process had not told of, out of its log."""

import pytest

from headrace.core.usage import Usage
from headrace.metering import Admit, Settle, Void
from headrace.storage import UsageLog, UsageLogSettings
from headrace.storage.usagemark import START, Mark, left_after
from headrace.testing.clock import TurnedClock

PID = 4_711


def admit(request: str, *, epoch: int = 3, accounts: tuple[int, ...] = (1, 2), bound: int = 100) -> Admit:
    return Admit(
        request, 1, 5, "acme", "demo", "key_1", "batch", "chat", "m", "p", False, Usage(10, output=10), bound, None, None, (),
        epoch, accounts,
    )  # fmt: skip


def settle(of: Admit, cost: int) -> Settle:
    return Settle(of, 6, Usage(1), cost, "confirmed", "completed", None, 1)


@pytest.fixture
def log(layout):
    log = UsageLog(layout.usage, clock=TurnedClock(), pid=PID, process="p", settings=UsageLogSettings(segment_size_max=64 * 1024))
    yield log
    log.close()


def test_what_was_paid_after_the_mark_and_what_is_open(layout, log):
    told, later, void, opened, others = (admit(name) for name in ("told", "later", "void", "open", "others"))
    log.append(told)
    log.append(settle(told, 10))
    log.append(later)
    mark = Mark(*log.place)
    log.append(settle(later, 20))
    log.append(void)
    log.append(Void(void, 7, "refused"))
    log.append(opened)
    stranger = admit("stranger", epoch=4)
    log.append(stranger)
    log.append(settle(stranger, 99))
    free = admit("free", accounts=(2,))
    log.append(free)
    log.append(settle(free, 5))
    left = left_after(layout.usage, PID, 3, mark)
    assert left.paid == {1: 20, 2: 25}
    assert [one.request for one in left.open] == ["open"]
    assert left_after(layout.usage, PID, 3, START).paid == {1: 30, 2: 35}
    assert left_after(layout.usage, PID + 1, 3, START).paid == {}
    del others


def test_over_several_segments(layout, log):
    """What was open when a segment was full is said again in the next one, and counted once."""
    long = admit("long")
    log.append(long)
    first = Mark(*log.place)
    paid = 0
    marks = []
    for number in range(600):
        one = admit(f"r{number}")
        log.append(one)
        log.append(settle(one, number))
        paid += number
        marks.append((Mark(*log.place), paid))
    assert log.place[0] != first.segment
    left = left_after(layout.usage, PID, 3, first)
    assert left.paid[1] == paid
    assert [one.request for one in left.open] == ["long"]
    for mark, before in marks[::97]:
        assert left_after(layout.usage, PID, 3, mark).paid.get(1, 0) == paid - before
    log.append(settle(long, 1))
    left = left_after(layout.usage, PID, 3, first)
    assert (left.paid[1], left.open) == (paid + 1, ())
