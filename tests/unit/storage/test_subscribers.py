"""Messages to addresses outside: written down once, and forgotten after their time without a look at all that others were told."""

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest

from headrace.core.clock import SECOND
from headrace.storage import Layout, Subscriber, connect, keep_subscriber, tell, telling_heard, tellings_of
from headrace.storage.subscribers import KEPT_S

NOW = 1_795_000_000_000_000_000


@pytest.fixture
def database(layout: Layout) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(layout.database)) as database:
        for id, owner in (("whk_1", ""), ("whk_2", "ann"), ("whk_3", "bob")):
            keep_subscriber(database, Subscriber(id=id, owner=owner, url="https://example.org", secret="s", created=NOW))
        yield database


def test_what_happened_is_told_once_to_each_that_it_concerns(database: sqlite3.Connection) -> None:
    assert tell(database, "ann", "run.done", "run_1_2_done", b"{}", NOW) == 2
    tell(database, "ann", "run.done", "run_1_2_done", b"{}", NOW + 1)
    assert [len(tellings_of(database, id)) for id in ("whk_1", "whk_2", "whk_3")] == [1, 1, 0]


def test_what_was_heard_is_forgotten_after_its_time_and_what_was_not_is_kept(database: sqlite3.Connection) -> None:
    tell(database, "ann", "run.done", "heard", b"{}", NOW)
    telling_heard(database, "msg_heard_whk_1", NOW, None)
    tell(database, "ann", "run.done", "later", b"{}", NOW + KEPT_S * SECOND + 1)
    assert [one.id for one in tellings_of(database, "whk_1")] == ["msg_later_whk_1"]
    assert [one.id for one in tellings_of(database, "whk_2")] == ["msg_later_whk_2", "msg_heard_whk_2"]


def test_telling_looks_through_no_whole_table(database: sqlite3.Connection) -> None:
    asked = list[str]()
    database.set_trace_callback(asked.append)
    tell(database, "ann", "run.done", "one", b"{}", NOW)
    database.set_trace_callback(None)
    plans = [database.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in asked if "telling" in sql]
    assert plans
    assert not [row for plan in plans for row in plan if row[3].startswith("SCAN telling")]
