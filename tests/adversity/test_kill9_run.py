"""A run is killed with SIGKILL after each of its events, and goes on in another process: nothing is lost and nothing is done twice.

The process dies right after an event is written, so an effect whose intent is the last line was not made: the person says so, and it is.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.agents.events import Ended
from headrace.sandbox import Draft
from headrace.storage import read_run
from tests.needs import need
from tests.shop import shop
from tests.unit.workspace.scripted import begin
from tests.unit.workspace.victim import TASK

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.sandbox(2),
    pytest.mark.timeout(600),  # some sixty processes, one after another
]
EVENTS_MAX = 40


def start(folder: Path, task: str = TASK) -> None:
    (folder / "project").mkdir(parents=True)
    (folder / "project" / "kept.txt").write_text("kept\n")
    Draft.begin(folder / "project", folder / "draft")
    begin(folder / "events.jsonl", task)


@pytest.fixture(scope="module")
def live() -> Iterator[Callable[..., int]]:
    """A run in a process of its own that is killed after so many events, or at one of a call: how it ended."""
    line = [sys.executable, "-m", "tests.unit.workspace.victim"]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as victims:
        told, answers = victims.stdin, victims.stdout
        assert told is not None
        assert answers is not None

        def ended(folder: Path, point: int | str, url: str = "") -> int:
            told.write(f"{point} {folder} {url}\n")
            told.flush()
            return int(answers.readline())

        yield ended
        told.close()


def outcome(folder: Path) -> dict[str, str]:
    draft = Draft.open(folder / "draft")
    assert draft is not None
    draft.take_over()
    return {path.name: path.read_text() for path in (folder / "project").iterdir()}


def test_killed_after_each_event_it_ends_the_same(tmp_path, live):
    for events in range(1, EVENTS_MAX):
        folder = tmp_path / str(events)
        start(folder)
        killed = live(folder, events)
        if killed == 0:
            assert events > 20, "the run has fewer events than a run of this script must have"
            return
        assert killed == -9
        assert live(folder, 10_000) == 0
        assert isinstance(read_run(folder / "events.jsonl")[-1].event, Ended)
        assert outcome(folder) == {"kept.txt": "kept\n", "notes.txt": "two\n", "ran.txt": "ran\n"}, events
    raise AssertionError("the run never ended")


@pytest.mark.sandbox(3)
@pytest.mark.parametrize("call", ["browser_submit", "browser_download"])
@pytest.mark.parametrize("point", ["Intended", "Returned"])
def test_killed_in_the_browser_it_opens_it_again_and_does_nothing_twice(tmp_path, live, point, call):
    need("chromium")
    with shop() as (url, asked):
        start(tmp_path, f"Order at {url} and keep the list")
        assert live(tmp_path, f"{point}:{call}", url) == -9
        assert live(tmp_path, 10_000, url) == 0
    assert isinstance(read_run(tmp_path / "events.jsonl")[-1].event, Ended)
    assert [one for one in asked if one.startswith("POST")] == ["POST 127.0.0.1/order size=Small"]
    assert {path.name: path.read_text() for path in (tmp_path / "draft" / "work" / "downloads").iterdir()} == {"_.._list.txt": "one\ntwo\n"}


def test_killed_again_and_again_it_still_ends(tmp_path, live):
    start(tmp_path)
    lives = 0
    while live(tmp_path, 2) != 0:
        lives += 1
        assert lives < EVENTS_MAX
    assert lives > 8
    assert outcome(tmp_path) == {"kept.txt": "kept\n", "notes.txt": "two\n", "ran.txt": "ran\n"}
