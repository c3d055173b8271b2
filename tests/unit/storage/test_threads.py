"""Threads that are deleted leave nothing behind."""

import contextlib

from headrace.storage import (
    AgentTask,
    Branch,
    Layout,
    Subscriber,
    Thread,
    add_text,
    claim_task,
    connect,
    drop_thread,
    keep_share,
    keep_subscriber_of_task,
    keep_thread,
    put_into_thread,
)

KNOWN_AFTERWARDS = {"trigger_delivery"}
"""What came from outside stays known, so that nobody can tell it again."""


def test_no_table_knows_of_a_thread_that_is_gone(layout: Layout) -> None:
    with contextlib.closing(connect(layout.database)) as database:
        thread = Thread(id="t", key=b"k", title="", label="", created=1, updated=1, run="r")
        keep_thread(database, "ann", thread, Branch(id="r", thread="t", parent=None, forked_at=0, created=1))
        add_text(database, "t", "r", [(0, "words")])
        keep_share(database, "token", "t", "r", 1, 1)
        put_into_thread(database, "ann", "t", "a.txt", 5, 10)
        claim_task(database, AgentTask(thread="t", owner="ann", context="c", message="m", created=1))
        told = Subscriber(id="p", owner="ann", url="https://example.org", secret="", created=1, thread="t", name="p", token="s")
        assert keep_subscriber_of_task(database, told)
        assert drop_thread(database, "ann", "t") == ["r"]
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        naming = [table for table in tables if any(row[1] == "thread" for row in database.execute(f"PRAGMA table_info({table})"))]
        assert {"thread_run", "thread_share", "thread_put", "agent_task", "subscriber"} <= {*naming}
        held = [table for table in naming if database.execute(f"SELECT 1 FROM {table} WHERE thread = 't'").fetchone()]
        assert not {*held} - KNOWN_AFTERWARDS
