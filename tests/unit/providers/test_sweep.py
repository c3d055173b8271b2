"""When patience is lost, on a clock that the test turns."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from headrace.providers.settings import TransportSettings
from headrace.providers.sweep import SWEEP_S, Patience, Sweep


class Timer:
    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at, self.call, self.cancelled = at, call, False

    def cancel(self) -> None:
        self.cancelled = True


class TurnedLoop:
    """An event loop of which only the clock is used."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, call))
        return self.timers[-1]

    def turn(self, to: float, *, stalls: bool = False) -> None:
        """Let time pass. When the loop stalls, what was due in between comes late, at the end."""
        while due := sorted((one for one in self.timers if one.at <= to and not one.cancelled), key=lambda one: one.at):
            self.timers.remove(due[0])
            self.now = to if stalls else due[0].at
            due[0].call()
        self.now = to


class Walked:
    def __init__(self, sweep: Sweep | None = None) -> None:
        self.seen: list[float] = []
        self._sweep = sweep

    def sweep(self, now: float) -> None:
        self.seen.append(now)
        if self._sweep is not None:
            self._sweep.forget(self)


@pytest.fixture
def loop() -> TurnedLoop:
    return TurnedLoop()


@pytest.fixture
def sweep(loop: TurnedLoop) -> Sweep:
    return Sweep(cast(asyncio.AbstractEventLoop, loop))


def test_it_walks_while_there_is_somebody_to_watch(loop: TurnedLoop, sweep: Sweep):
    loop.turn(10)
    assert not loop.timers, "nobody is watched, so nothing wakes"
    one = Walked()
    sweep.watch(one)
    loop.turn(11)
    assert one.seen == [10.25, 10.5, 10.75, 11]
    sweep.forget(one)
    loop.turn(12)
    assert len(one.seen) == 4
    assert not loop.timers


def test_who_leaves_during_a_walk(loop: TurnedLoop, sweep: Sweep):
    all_of_them = [Walked(sweep) for _ in range(5)]
    for one in all_of_them:
        sweep.watch(one)
    loop.turn(1)
    assert [one.seen for one in all_of_them] == [[SWEEP_S]] * 5
    assert not loop.timers


def test_a_walk_that_comes_late_judges_nobody(loop: TurnedLoop, sweep: Sweep):
    """The loop was busy for 3 s: what the upstreams said in that time is read after this walk, and judged by the next."""
    one = Walked()
    sweep.watch(one)
    loop.turn(3, stalls=True)
    assert one.seen == []
    loop.turn(3.3)
    assert one.seen == [3.25]


def test_it_can_be_stopped(loop: TurnedLoop, sweep: Sweep):
    sweep.stop()
    one = Walked()
    sweep.watch(one)
    sweep.stop()
    loop.turn(3)
    assert one.seen == []


LIMITS = TransportSettings(first_byte_timeout_ms=2_000, between_bytes_timeout_ms=1_000, total_timeout_ms=5_000)
NO_TOTAL = TransportSettings(first_byte_timeout_ms=2_000, between_bytes_timeout_ms=1_000, total_timeout_ms=0)

STORIES = [
    # when something came, and of what settings; when patience is lost, and how that is told
    ([], LIMITS, 2.5, "gave no answer in time: not a byte in 2000 ms"),
    ([1.9], LIMITS, 3.25, "stopped in the middle of its answer: not a byte in 1000 ms"),
    ([0.1, 1.0, 1.9, 2.8], LIMITS, 4.25, "stopped in the middle of its answer: not a byte in 1000 ms"),
    ([n * 0.5 for n in range(1, 40)], LIMITS, 5.5, "was not done with its answer after 5000 ms"),
    ([n * 0.5 for n in range(1, 40)], NO_TOTAL, 20.75, "stopped in the middle of its answer: not a byte in 1000 ms"),
]


@pytest.mark.parametrize(("came", "settings", "lost_at", "words"), STORIES)
def test_patience(came: list[float], settings: TransportSettings, lost_at: float, words: str):
    patience = Patience(settings)
    walk, before = 0.0, -1.0
    while True:
        walk += SWEEP_S
        stirred = any(before < at <= walk for at in came)
        heard = any(at <= walk for at in came)
        if lost := patience.lost(walk, stirred=stirred, heard=heard):
            break
        before = walk
    assert (walk, lost) == (lost_at, words)


def test_patience_is_new_with_each_exchange():
    patience = Patience(LIMITS)
    assert patience.lost(1.0, stirred=False, heard=False) is None
    assert patience.lost(2.9, stirred=False, heard=False) is None
    patience.renew()
    assert patience.lost(3.2, stirred=False, heard=False) is None
    assert patience.lost(5.1, stirred=False, heard=False) is None
    assert patience.lost(5.3, stirred=False, heard=False) is not None
