"""`headrace agent` as a person uses it: the real program, its server, and a vendor whose model says what a script says."""

import json
import re
from pathlib import Path

import pytest

from headrace.core.errors import NotFound
from tests.e2e.conftest import told
from tests.server import Installation, Running

pytestmark = pytest.mark.sandbox(2)


def run(place: Installation, server: Running, project: Path, model: str, task: str, *more: str) -> tuple[str, str]:
    """What it says, and the run's name."""
    ended = place.run("agent", "run", task, "--folder", str(project), "--model", model, "--url", server.base_url, *more)
    said = ended.stdout + ended.stderr
    found = re.search(r"run_[0-9a-f]{8,}", said)
    assert found is not None
    return said, found.group()


def test_a_task_is_done_taken_over_and_undone(place, server, project):
    before = (project / "add.py").read_text()
    said, name = run(place, server, project, "coder", "Fix add.py and run a check", "--take")
    for words in (
        "▸ edit_file",
        "exit 0",
        "│ passed",
        "The sign was wrong",
        "changed  add.py",
        "Taken over",
        "440 tokens, $0.00056",
    ):
        assert words in said
    assert "a + b" in (project / "add.py").read_text()
    assert name in place.run("agent", "list").stdout
    assert "taken over" in place.run("agent", "list").stdout
    place.run("agent", "undo", name)
    assert (project / "add.py").read_text() == before
    assert "thrown away already" in place.run("agent", "undo", name, expect=1).stderr


def test_without_taking_over_the_folder_is_as_it_was(place, server, project):
    before = (project / "add.py").read_text()
    said, name = run(place, server, project, "coder", "Fix add.py and run a check")
    assert "stay in the draft" in said
    assert (project / "add.py").read_text() == before
    assert "a + b" not in before
    assert "+    return a + b" in place.run("agent", "diff", name).stdout
    assert "changed  add.py" in place.run("agent", "diff", name, "--stat").stdout
    assert "[1] @@ -2,1 +2,1 @@" in place.run("agent", "diff", name, "--hunks").stdout
    assert "Taken over: 1 change." in place.run("agent", "keep", name, "--hunks", "add.py:1", "--drop-rest").stdout
    assert "Nothing of add.py waits" in place.run("agent", "keep", name, "--hunks", "add.py", expect=1).stderr
    assert "a + b" in (project / "add.py").read_text()


def test_what_needs_leave_waits_when_nobody_can_be_asked(place, server, project):
    said, name = run(place, server, project, "visitor", "Read add.py and write what it does")
    assert f"The run waits for you: headrace agent resume {name}" in said
    assert f"{name}  " in place.run("agent", "list").stdout
    assert "waits for leave  Read add.py" in place.run("agent", "list").stdout


def test_a_model_that_only_talks_is_called_what_it_is(place, server, project):
    said, _ = run(place, server, project, "talker", "Write a file b.txt")
    assert "The model only talked" in said
    assert "stronger model" in said


def test_a_budget_pauses_the_run(place, server, project):
    said, name = run(place, server, project, "spender", "List the files", "--usd-max", "0.0002")
    assert "its budget of money is used up" in said
    assert "waits for you" in place.run("agent", "resume", name, "--model", "spender", "--url", server.base_url).stderr


def test_an_agents_tokens_are_metered_like_anyones(place, server, project):
    run(place, server, project, "coder", "Fix add.py and run a check")
    rows = [row for row in place.usage("model") if row["model"] == "coder"]
    assert rows[0]["requests"] % 4 == 0


def test_what_is_remembered_is_seen_corrected_and_erased(place, server, project):
    run(place, server, project, "rememberer", "Remember that I prefer tabs.")
    (one,) = json.loads(place.run("memory", "list", "--folder", str(project), "--format", "json").stdout)
    assert (one["text"], one["how"]) == ("I prefer tabs", "said")
    shown = told(place, "memory", "show", one["id"])
    for words in ("I prefer tabs", "you said it", str(project), "run_"):
        assert words in shown
    said, _ = run(place, server, project, "recaller", "What do I prefer, tabs or spaces?")
    assert "I prefer tabs" in said
    told(place, "memory", "edit", one["id"], "I prefer spaces")
    assert "you edited it" in told(place, "memory", "show", one["id"])
    assert "Remembered as mem_" in told(place, "memory", "add", "Nobody works on Sundays", "--folder", str(project))
    assert "Nobody works on Sundays" in told(place, "memory", "list")
    told(place, "memory", "forget", one["id"])
    with pytest.raises(NotFound):
        told(place, "memory", "show", one["id"])


@pytest.mark.parametrize("name", ["run_0", "../x", "/etc"])
def test_no_such_run(place, name):
    assert "run" in place.run("agent", "undo", name, expect=1).stderr
