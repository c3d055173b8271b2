"""Messages to addresses outside: written down once, and forgotten after their time without a look at all that others were told."""

import contextlib
import sqlite3
from collections.abc import Iterator

import pytest

from headrace.core.clock import SECOND
from headrace.storage import (
    AgentTask,
    Layout,
    Subscriber,
    claim_task,
    claim_telling,
    connect,
    due_tellings,
    keep_subscriber,
    keep_subscriber_of_task,
    subscribers_of,
    subscribers_of_task,
    tell,
    tell_of_task,
    telling_heard,
    tellings_of,
)
from headrace.storage.subscribers import KEPT_S, OF_TASK_MAX, SUBSCRIBERS_MAX

NOW = 1_795_000_000_000_000_000


@pytest.fixture
def database(layout: Layout) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(connect(layout.database)) as database:
        for id, owner in (("whk_1", ""), ("whk_2", "ann"), ("whk_3", "bob")):
            keep_subscriber(database, Subscriber(id=id, owner=owner, url="https://example.org", secret="s", created=NOW))
        claim_task(database, AgentTask(thread="t", owner="ann", context="c", message="m", created=NOW))
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


def of_task(id: str, thread: str = "t", name: str = "", url: str = "https://example.org") -> Subscriber:
    return Subscriber(id=id, owner="ann", url=url, secret="", created=NOW, thread=thread, name=name)


def due(database: sqlite3.Connection, now: int = NOW) -> list[tuple[str, bytes]]:
    return [(one.subscriber, one.body) for one, _ in due_tellings(database, now)]


def tried(database: sqlite3.Connection, failure: str | None, now: int = NOW) -> bytes:
    """The first that is due, tried; what it says."""
    telling, _ = due_tellings(database, now)[0]
    assert claim_telling(database, telling, now)
    telling_heard(database, telling.id, now, failure)
    return telling.body


def test_what_happens_to_a_task_is_first_tried_in_its_order(database: sqlite3.Connection) -> None:
    keep_subscriber_of_task(database, of_task("p"))
    keep_subscriber_of_task(database, of_task("q", name="q"))
    tell_of_task(database, "t", "run_1_done", [("a2a.answer", b"1"), ("a2a.status", b"2")], NOW)
    assert due(database) == [("p", b"1"), ("q", b"1")], "one after the other, but each by itself"
    first, _ = due_tellings(database, NOW)[0]
    assert claim_telling(database, first, NOW)
    assert due(database) == [("q", b"1")], "nobody else tells the second while the first is being told"
    telling_heard(database, first.id, NOW, "it answered with 413")
    assert due(database) == [("q", b"1"), ("p", b"2")], "and what was refused does not hold it up"


@pytest.mark.parametrize("before", [True, False])
def test_what_was_tried_in_vain_is_overtaken_by_later_news_of_its_kind(database: sqlite3.Connection, before: bool) -> None:
    keep_subscriber_of_task(database, of_task("p"))
    tell_of_task(database, "t", "run_1_running", [("a2a.status", b"working")], NOW)
    if before:
        tried(database, "it answered with 500")
    tell_of_task(database, "t", "run_2_done", [("a2a.answer", b"answer"), ("a2a.status", b"done")], NOW + 1)
    if not before:
        assert tried(database, "it answered with 500") == b"working", "it is tried once in any case"
    later = NOW + 3_600 * SECOND
    assert [tried(database, None, later) for _ in range(2)] == [b"answer", b"done"]
    assert due(database, later) == []
    assert tellings_of(database, "p") == [], "what a task's address has heard is not kept"


def test_an_address_of_a_task_is_no_webhook(database: sqlite3.Connection) -> None:
    for number in range(SUBSCRIBERS_MAX + 1):
        claim_task(database, AgentTask(thread=f"t{number}", owner="ann", context="c", message=f"m{number}", created=NOW))
        keep_subscriber_of_task(database, of_task(f"p{number}", thread=f"t{number}"))
    assert tell(database, "ann", "run.done", "run_1_2_done", b"{}", NOW) == 2
    assert [one.id for one in subscribers_of(database, "ann")] == ["whk_2"]
    assert len(subscribers_of(database, None)) == 3
    assert keep_subscriber(database, Subscriber(id="whk_4", owner="ann", url="https://example.org", secret="s", created=NOW))


def test_a_task_has_so_many_addresses_each_once(database: sqlite3.Connection) -> None:
    for number in range(OF_TASK_MAX):
        assert keep_subscriber_of_task(database, of_task(f"p{number}", url=f"https://example.org/{number}")) is not None
    assert keep_subscriber_of_task(database, of_task("p", name="more")) is None
    again = keep_subscriber_of_task(database, of_task("p", url="https://example.org/3"))
    assert again is not None
    assert again.id == "p3", "who names none gives the same address again"
    assert len(subscribers_of_task(database, "t")) == OF_TASK_MAX


def test_a_task_that_is_gone_has_no_addresses(database: sqlite3.Connection) -> None:
    assert keep_subscriber_of_task(database, of_task("p", thread="gone")) is None
    assert subscribers_of_task(database, "gone") == []
