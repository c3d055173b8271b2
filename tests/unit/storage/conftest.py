"""A data folder with a log and a clock that tests turn by hand."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from headrace.core.clock import Instant, Moment
from headrace.storage import Database, Layout, SharedState, UsageLog, UsageLogSettings, make_folder
from tests.postgres import Postgres, postgres

PID = 4_711


class HandClock:
    def __init__(self) -> None:
        self.now: Moment = 1_795_000_000_000_000_000

    def instant(self) -> Instant:
        return self.now

    def moment(self) -> Moment:
        return self.now


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return make_folder(tmp_path / "data")


@pytest.fixture
def new_log(layout: Layout, clock: HandClock) -> Callable[..., UsageLog]:
    def new(segment_size_max: int = 64 * 1024, mapped: bool | None = None, pid: int = PID) -> UsageLog:
        settings = UsageLogSettings(segment_size_max=segment_size_max)
        return UsageLog(layout.usage, clock=clock, pid=pid, process="a test", settings=settings, mapped=mapped)

    return new


def crash(log: UsageLog) -> None:
    """What a killed process leaves: the file as it is. (Its descriptor and its lock go with the process; here with the log.)"""
    log._segment.close()


@pytest.fixture
def log(new_log: Callable[[], UsageLog]) -> UsageLog:
    return new_log()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    """One for all tests of a process; each has databases of its own in it."""
    with postgres() as one:
        yield one


_numbers = count()


@pytest.fixture
def remote(cluster: Postgres) -> str:
    """The address of a database that is empty."""
    name = f"state_{next(_numbers)}"
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return cluster.url.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, layout: Layout, clock: HandClock) -> SharedState:
    """What hosts share, in either kind of database."""
    return SharedState(layout, request.getfixturevalue("remote") if request.param == "postgresql" else None, clock.instant)


@pytest.fixture
def shared(state: SharedState) -> Iterator[Database]:
    with state.opened() as database:
        yield database
