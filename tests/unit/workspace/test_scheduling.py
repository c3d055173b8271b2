"""Schedules: each moment is claimed once, what was missed is written down, and the leave is checked for each step."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest

from headrace.agents import Budget, Grant
from headrace.agents.events import LeaveAsked, PersonSaid
from headrace.agents.mandate import Mandate, grant_with, sealed
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import InvalidRequest, LeaveInvalid
from headrace.storage import Layout, RunLog, Schedule, ScheduleStore, connect, leave_key
from headrace.testing.clock import NOON, TurnedClock
from headrace.workspace import Driver, Keeper, Scheduler, new_schedule
from headrace.workspace.scheduling import DUE_MAX, dues
from tests.unit.workspace.scripted import CountingHands, ScriptedModel, Step, ToldPerson

KEY = b"k" * 32
DAY = 86_400


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(tmp_path / "headrace.sqlite")) as opened:
        yield opened


@pytest.fixture
def store(database: sqlite3.Connection) -> ScheduleStore:
    return ScheduleStore(database)


def mandate(id: str = "sch_1", expires_at: Moment = NOON + 30 * DAY * SECOND) -> Mandate:
    grant = grant_with(Budget(), frozenset(), ("fetch url=https://news.example x2",), expires_at, "ann")
    return Mandate(schedule=id, task="Read the news", folder="/p", grant=grant, expires_at=expires_at, by="ann")


def made(store: ScheduleStore, spoken: str = "every day 13:00", leave: bytes | None = None) -> Schedule:
    schedule = new_schedule("sch_1", spoken, "UTC", leave or sealed(mandate(), KEY), "", NOON)
    store.add(schedule)
    return schedule


def scheduler(store: ScheduleStore, clock: TurnedClock, first: int = 1) -> Scheduler:
    numbers = iter(range(first, 1_000))
    return Scheduler(store, clock, lambda: f"run_{next(numbers)}")


def states(store: ScheduleStore) -> list[tuple[int, str, str]]:
    """Each firing: hours from noon, how it stands, its run."""
    return [((each.due - NOON) // SECOND // 3_600, each.state, each.run) for each in store.firings()]


def test_a_moment_is_claimed_once_whoever_looks(store):
    clock = TurnedClock()
    made(store)
    assert scheduler(store, clock).claim() == []
    assert scheduler(store, clock).wakes() == NOON + 3_600 * SECOND
    clock.turn(s=3_600)
    for first in (1, 5, 9):  # also after whoever claimed it was killed
        assert [firing.run for firing in scheduler(store, clock, first).claim()] == ["run_1"]
    assert states(store) == [(1, "begun", "run_1")]
    store.mark(store.firings()[0], "done", "", clock.moment())
    assert scheduler(store, clock).claim() == []
    clock.turn(s=DAY)
    assert [firing.run for firing in scheduler(store, clock, 2).claim()] == ["run_2"]


def test_of_two_who_look_at_the_same_time_one_claims_it(store):
    schedule = made(store)
    due = NOON + 3_600 * SECOND
    assert store.claim(schedule, [], due, "run_1", "", due)
    assert not store.claim(schedule, [], due, "run_2", "", due)
    assert states(store) == [(1, "begun", "run_1")]


def test_what_was_missed_is_written_down_and_the_last_is_done_late(store):
    clock = TurnedClock()
    made(store)
    clock.turn(s=3 * DAY)
    (firing,) = scheduler(store, clock).claim()
    assert states(store) == [(1, "skipped", ""), (25, "skipped", ""), (49, "begun", "run_1")]
    assert firing.says == "Late by 23 hours: nobody watched."


def test_what_was_taken_back_is_due_no_more(store):
    clock = TurnedClock()
    made(store)
    store.end("sch_1", NOON)
    clock.turn(s=DAY)
    assert scheduler(store, clock).claim() == []
    assert scheduler(store, clock).wakes() is None
    with pytest.raises(InvalidRequest, match="no schedule"):
        store.end("sch_2", NOON)


def test_a_schedule_that_nobody_watched_for_long_is_no_flood():
    found = dues("* * * * *", "UTC", NOON, NOON + 3 * DAY * SECOND)
    assert len(found) == DUE_MAX
    assert found[-1] == NOON + 3 * DAY * SECOND


@pytest.mark.parametrize(
    ("day", "hours"),
    [((2026, 3, 29), [7]), ((2026, 10, 25), [8]), ((2026, 6, 1), [7])],
    ids=["clocks go forward", "clocks go back", "summer"],
)
def test_nine_in_the_morning_is_that_of_the_place(day, hours):
    year, month, date = day
    start = int(datetime(year, month, date, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()) * SECOND
    found = dues("0 9 * * *", "Europe/Berlin", start, start + 20 * 3_600 * SECOND)
    assert [datetime.fromtimestamp(moment / SECOND, ZoneInfo("UTC")).hour for moment in found] == hours


@pytest.mark.parametrize(
    ("spoken", "zone", "says"),
    [("99 9 * * *", "UTC", "no line of cron"), ("daily", "Mars/North", "no time zone"), ("0 0 30 2 *", "UTC", "never comes|no line")],
)
def test_a_schedule_that_can_not_be_is_refused(spoken, zone, says):
    with pytest.raises(InvalidRequest, match=says):
        new_schedule("sch_1", spoken, zone, b"", "", NOON)


def test_the_key_is_made_once_and_for_its_owner_alone(tmp_path):
    layout = Layout(tmp_path)
    assert leave_key(layout, KEY) == KEY
    assert leave_key(layout, b"o" * 32) == KEY
    assert layout.leave_key.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["leave.key"]


SCRIPT: list[list[Step]] = [[("fetch", {"url": "https://news.example"})], [("fetch", {"url": "https://news.example"})], ["Read."]]


def play(tmp_path: Path, store: ScheduleStore, clock: TurnedClock, before=lambda step: None) -> tuple[str, Driver, list[list[object]]]:
    path = tmp_path / "events.jsonl"
    log = RunLog(path, new=not path.exists())
    hands = CountingHands(tmp_path / "ledger")
    model = ScriptedModel(SCRIPT)
    steps = iter(range(100))

    def hear(event: object) -> None:
        before(next(steps))

    driver = Driver(log, model, hands, ToldPerson(leave=None), Keeper(store, "sch_1", KEY, clock), clock, hear)
    if not driver.events:
        driver.add(PersonSaid("Tell me the news"))
    try:
        return asyncio.run(driver.run()), driver, hands.made
    finally:
        log.close()


def test_what_was_allowed_ahead_is_done_unasked(tmp_path, store):
    made(store)
    ending, _, hands = play(tmp_path, store, TurnedClock())
    assert (ending, len(hands)) == ("done", 2)


@pytest.mark.parametrize("how", ["taken back", "over"])
def test_leave_that_ends_while_the_run_goes_on_allows_nothing_more(tmp_path, store, how):
    made(store)
    clock = TurnedClock()

    def end(step: int) -> None:
        if step == 5:  # the first page was read
            if how == "over":
                clock.turn(s=31 * DAY)
            else:
                store.end("sch_1", clock.moment())

    ending, driver, hands = play(tmp_path, store, clock, end)
    assert (ending, len(hands)) == ("waiting", 1)
    assert isinstance(driver.events[-1], LeaveAsked)


def test_leave_that_was_changed_or_moved_stops_the_run_before_anything_is_done(tmp_path, store, database):
    made(store)
    other = sealed(mandate("sch_2"), KEY)
    forged = sealed(msgspec.structs.replace(mandate(), grant=Grant(hosts=frozenset(("evil.example",)))), b"x" * 32)
    for leave in (other, forged, b""):
        database.execute("UPDATE schedule SET leave = ?", (leave,))
        with pytest.raises(LeaveInvalid):
            play(tmp_path, store, TurnedClock())
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(("how", "takes"), [("holds", True), ("taken back", False), ("over", False)])
def test_what_was_done_is_taken_over_unasked_as_long_as_its_leave_holds(store, how, takes):
    made(store, leave=sealed(msgspec.structs.replace(mandate(), take=True), KEY))
    clock = TurnedClock()
    if how == "taken back":
        store.end("sch_1", NOON)
    if how == "over":
        clock.turn(s=31 * DAY)
    assert Keeper(store, "sch_1", KEY, clock).takes is takes
