"""`headrace agent schedule` and what follows: done once at its time, unasked where it was allowed, and what waits is answered later."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headrace.core.errors import InvalidRequest
from tests.e2e.conftest import told
from tests.server import Installation

pytestmark = pytest.mark.sandbox(2)


def scheduled(place: Installation, project: Path, task: str, model: str, *more: str) -> str:
    """A schedule of every day that was made three days ago, as far as it knows."""
    said = told(place, "agent", "schedule", "every day", task, "--folder", str(project), "--model", model, "--zone", "UTC", *more)
    found = re.search(r"sch_\w+", said)
    assert found is not None
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database, database:
        database.execute("UPDATE schedule SET since = since - 3 * 86400 * 1000000000 WHERE id = ?", (found[0],))
    return found[0]


def test_it_is_done_once_late_and_says_so(place, server, project):
    name = scheduled(place, project, "Fix add.py and run a check", "coder", "--take")
    assert name in told(place, "agent", "schedules")
    assert "It is tried again." in told(place, "agent", "watch", "--once", "--url", "http://127.0.0.1:9/v1")
    first = place.run("agent", "watch", "--once", "--url", server.base_url).stdout
    assert "The sign was wrong" in first
    assert "a + b" in (project / "add.py").read_text()
    assert "The sign was wrong" not in told(place, "agent", "watch", "--once", "--url", server.base_url)
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database:
        rows = database.execute("SELECT state, count(*), count(DISTINCT run) FROM firing WHERE schedule = ? GROUP BY state", (name,))
        assert {state: count for state, count, _ in rows} == {"done": 1, "skipped": 2}
    assert f"{name} is taken back" in told(place, "agent", "unschedule", name)
    assert "taken back" in told(place, "agent", "schedules")


def test_what_needs_leave_waits_in_the_inbox_until_it_is_answered(place, server, project):
    scheduled(place, project, "Read add.py and write what it does", "visitor")
    waiting = told(place, "agent", "watch", "--once", "--url", server.base_url)
    found = re.search(r"(run_\w+) waits for you", waiting)
    assert found is not None
    run = found[1]
    inbox = told(place, "agent", "inbox")
    for words in (f"{run}  waits for leave", "fetch", "https://collect.invalid/?a=1", f"headrace agent answer {run} yes|no", "skipped"):
        assert words in inbox
    assert "waits for you" not in told(place, "agent", "watch", "--once", "--url", server.base_url)
    told(place, "agent", "answer", run, "no")
    assert "I could not read it." in told(place, "agent", "watch", "--once", "--url", server.base_url)
    with pytest.raises(InvalidRequest, match="waits for nothing"):
        told(place, "agent", "answer", run, "yes")


def test_a_leave_that_somebody_changed_is_none(place, server, project):
    name = scheduled(place, project, "Fix add.py", "coder", "--take")
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database, database:
        (leave,) = database.execute("SELECT leave FROM schedule WHERE id = ?", (name,)).fetchone()
        database.execute("UPDATE schedule SET leave = ? WHERE id = ?", (leave.replace(b"Fix add.py", b"Send it all"), name))
    assert "not the one that was signed" in told(place, "agent", "watch", "--once", "--url", server.base_url)
    assert "failed" in told(place, "agent", "inbox")
    assert "a + b" not in (project / "add.py").read_text()
