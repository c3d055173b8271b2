"""What is scheduled, done by the server: each moment once, by whichever of its workers, also after one was killed; and whose it is."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import told
from tests.server import Installation, eventually, pool, priced
from tests.talker import SCRIPTS, Talker
from tests.visitor import API, Visitor

pytestmark = pytest.mark.sandbox(2)
DAY = 86_400 * 10**9


@pytest.fixture
def place(tmp_path: Path, talker: Talker) -> Installation:
    return Installation(tmp_path / "house", pool("vendor", talker.url, *SCRIPTS) + priced(*SCRIPTS) + "[agents]\nbrowser = ''\n")


def made(visitor: Visitor, task: str, model: str, **more: object) -> dict[str, Any]:
    return dict(visitor.post("/schedules", {"when": "every day 9:00", "task": task, "zone": "UTC", "model": model, **more}))


def age(place: Installation, schedule: str, days: int = 3) -> None:
    """As if it had been made so many days earlier, and nobody had looked since."""
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database, database:
        database.execute("UPDATE schedule SET since = since - ? WHERE id = ?", (days * DAY, schedule))


def rows(place: Installation) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database:
        return database.execute("SELECT state, run FROM firing WHERE run <> ''").fetchall()


def came(visitor: Visitor, schedule: str, state: str) -> Callable[[], Any]:
    """Its latest firing, once it stands so."""

    def look() -> Any:
        firings = visitor.get(f"/schedules/{schedule}")["firings"]
        return firings[0] if firings and firings[0]["state"] == state else None

    return look


def test_several_workers_do_each_moment_once_and_the_person_sees_and_answers(place, talker):
    with place.serving("--workers", "2") as server:
        ann = Visitor(server).sign_in(server.key)
        ben = Visitor(server).sign_in(told(place, "keys", "create", "ben", "--organization", "default", "--project", "default").split()[-1])
        assert len(ann.get("/schedules/when?text=every%20weekday%209:00&zone=Europe/Berlin")["next"]) == 3
        status, wrong = ann.call("GET", f"{API}/schedules/when?text=now%20and%20then")
        assert (status, "It is not clear when" in wrong["error"]["message"]) == (400, True)
        coder = made(ben, "Write hello.py", "coder", take=True, budget_usd="0.5", leave=["fetch url=https://a.example x2"])
        assert "It may use fetch up to 2 times a run, with url “https://a.example”." in coder["may"]
        asker = made(ann, "Look at that page", "visitor")
        assert ben.call("POST", f"{API}/schedules", {"when": "daily", "task": "x", "zone": "UTC", "folder": "/etc"})[0] == 403
        assert ann.call("GET", f"{API}/schedules/{coder['id']}")[0] == ben.call("DELETE", f"{API}/schedules/{asker['id']}")[0] == 404
        for visitor, one in ((ben, coder), (ann, asker)):
            age(place, one["id"])
            visitor.call("PATCH", f"{API}/schedules/{one['id']}", {"paused": False})  # which has it looked at

        done = eventually(came(ben, coder["id"], "done"), 30)
        assert (place.data / "workspace" / coder["id"] / "hello.py").read_text() == "print('hello')\n", "taken over, into its own folder"
        assert done["says"].startswith("Late by ")
        assert [one["state"] for one in ben.get(f"/schedules/{coder['id']}")["firings"]] == ["done", "skipped", "skipped"]
        thread = ben.get(f"/threads/{done['thread']}")
        assert (thread["label"], thread["title"], thread["run"]) == ("Scheduled", "Write hello.py", done["run"])
        assert ann.call("GET", f"{API}/threads/{done['thread']}")[0] == 404

        waits = eventually(came(ann, asker["id"], "waiting"), 30)
        (waiting,) = ann.get("/inbox")["waiting"]
        assert waiting["id"] == waits["thread"]
        ann.post(f"/threads/{waits['thread']}/answer", {"calls": {waiting["asks"][0]["call"]["id"]: False}})
        assert eventually(came(ann, asker["id"], "done"), 30)
        assert "already" in told(place, "agent", "watch", "--once"), "a watch beside it leaves it alone"
        assert sorted(rows(place)) == sorted([("done", done["run"]), ("done", waits["run"])])

        assert ann.call("PATCH", f"{API}/schedules/{asker['id']}", {"paused": True})[1]["next"] == []
        assert "paused" in told(place, "agent", "schedules")
        assert len(ann.call("PATCH", f"{API}/schedules/{asker['id']}", {"paused": False})[1]["next"]) == 3
        assert ann.call("DELETE", f"{API}/schedules/{asker['id']}")[0] == 204
        assert [one["ended"] is None for one in ann.get("/schedules")["schedules"]] == [False]


def test_a_folder_with_a_name_that_is_no_text_fails_its_schedule_and_nothing_else(place, talker, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / os.fsdecode(b"no-\xff")).write_text("x")
    with place.serving() as server:
        ann = Visitor(server).sign_in(server.key)
        one = made(ann, "Write hello.py", "coder", folder=str(folder))
        age(place, one["id"])
        ann.call("PATCH", f"{API}/schedules/{one['id']}", {"paused": False})  # which has it looked at
        assert "that is no text" in eventually(came(ann, one["id"], "failed"), 30)["says"]


def test_a_killed_server_goes_on_and_takes_up_what_the_terminal_has_made(place, talker, tmp_path):
    talker.go.clear()
    project = tmp_path / "project"
    project.mkdir()
    server = place.start()
    try:
        ann = Visitor(server).sign_in(server.key)
        told(place, "agent", "schedule", "every day", "Talk", "--folder", str(project), "--model", "slow", "--zone", "UTC")
        (slow,) = ann.get("/schedules")["schedules"]
        assert slow["terminal"], "what is made at the terminal is theirs who run the server"
        age(place, slow["id"], 1)
        assert eventually(lambda: any(asked["model"] == "slow" for asked in talker.asked), 30)
    finally:
        server.kill()
    ((state, run),) = rows(place)
    assert state == "begun"
    talker.go.set()
    with place.serving() as server:
        ann = Visitor(server).sign_in(server.key)
        done = eventually(came(ann, slow["id"], "done"), 30)
        assert done["run"] == run
        said = [one["event"]["type"] for one in ann.get(f"/threads/{done['thread']}/log")["events"]]
        assert (said.count("PersonSaid"), said.count("Ended")) == (1, 1)
    assert rows(place) == [("done", run)]
