"""What the terminal tells outside: webhooks of schedules and runs."""

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from headrace.core.errors import InvalidRequest
from tests.e2e.conftest import told
from tests.receiver import Receiver, receiving
from tests.server import eventually

pytestmark = pytest.mark.sandbox(2)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def test_what_schedules_and_runs_come_to_is_told(place, server, project, receiver):
    told(place, "webhook", "add", receiver.url)
    (one,) = json.loads(place.run("webhook", "list", "--format", "json").stdout)
    assert (one["url"], one["events"], one["of"]) == (receiver.url, "everything", "everybody")
    said = told(place, "agent", "schedule", "every day", "Fix add.py", "--folder", str(project), "--model", "visitor", "--zone", "UTC")
    (name,) = set(re.findall(r"sch_\w+", said))
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database, database:
        database.execute("UPDATE schedule SET since = since - 3 * 86400 * 1000000000 WHERE id = ?", (name,))
    told(place, "agent", "watch", "--once", "--url", server.base_url)
    assert eventually(lambda: sorted(receiver.kinds()) == ["schedule.skipped", "schedule.waits"])
    by_kind = {one["type"]: one["data"] for one in receiver.told}
    assert (by_kind["schedule.skipped"]["times"], by_kind["schedule.waits"]["schedule"]) == (2, name)
    assert by_kind["schedule.waits"]["calls"][0]["tool"] == "fetch"
    told(place, "agent", "unschedule", name)
    told(place, "agent", "run", "Fix add.py", "--folder", str(project), "--model", "talker", "--url", server.base_url)
    assert eventually(lambda: receiver.kinds()[2:] == ["run.finished"])
    assert receiver.told[2]["data"]["answer"] == "I have written the file."
    assert "It was heard." in told(place, "webhook", "test", one["id"])
    log = told(place, "webhook", "log", one["id"])
    assert log.count("heard") == 4
    told(place, "webhook", "remove", one["id"])
    with pytest.raises(InvalidRequest, match="no webhook"):
        told(place, "webhook", "remove", one["id"])
    with pytest.raises(InvalidRequest, match="no address"):
        told(place, "webhook", "add", "nowhere")
