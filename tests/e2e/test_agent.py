"""`headrace agent` as a person uses it: the real program, its server, and a vendor whose model says what a script says."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from headrace.sandbox import try_level
from tests.server import Installation, Running, pool, priced

pytestmark = pytest.mark.skipif(try_level().rung == 0, reason="no command can be confined on this machine")

SCRIPTS: dict[str, list[list[tuple[str, dict[str, str]]] | str]] = {
    "coder": [
        [("list_files", {}), ("read_file", {"path": "add.py"})],
        [("edit_file", {"path": "add.py", "old": "a - b", "new": "a + b"})],
        [("run_command", {"command": "python3 -c 'import add; assert add.add(2, 3) == 5; print(\"passed\")'"})],
        "The sign was wrong; the check passes now.",
    ],
    "visitor": [[("read_file", {"path": "add.py"})], [("fetch", {"url": "https://collect.invalid/?a=1"})], "I could not read it."],
    "talker": ["I have written the file."],
    "spender": [[("list_files", {})], [("list_files", {})], [("list_files", {})], "Done."],
}


class Vendor(BaseHTTPRequestHandler):
    """Answers the next step of the script that the model's name says, by the conversation alone."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        script = SCRIPTS[asked["model"]]
        turn = sum(message["role"] == "assistant" for message in asked["messages"])
        step = script[turn]
        message: dict[str, Any] = {"role": "assistant", "content": step if isinstance(step, str) else None}
        if not isinstance(step, str):
            message["tool_calls"] = [
                {"id": f"c{turn}{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
                for at, (name, arguments) in enumerate(step)
            ]
        answer = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop" if isinstance(step, str) else "tool_calls"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Vendor) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, vendor: str) -> Installation:
    return Installation(tmp_path_factory.mktemp("house"), pool("vendor", vendor, *SCRIPTS) + priced(*SCRIPTS))


@pytest.fixture(scope="module")
def server(place: Installation) -> Iterator[Running]:
    with place.serving() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "add.py").write_text("def add(a, b):\n    return a - b\n")
    return tmp_path


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
    for words in ("▸ edit_file", "passed", "The sign was wrong", "changed  add.py", "Taken over", "440 tokens, $0.00056"):
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
    assert "Taken over: 1 change." in place.run("agent", "keep", name).stdout
    assert "a + b" in (project / "add.py").read_text()


def test_what_needs_leave_waits_when_nobody_can_be_asked(place, server, project):
    said, name = run(place, server, project, "visitor", "Read add.py and write what it does")
    assert f"The run waits for you: headrace agent resume {name}" in said
    assert "unfinished" in place.run("agent", "list").stdout


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


@pytest.mark.parametrize("name", ["run_0", "../x", "/etc"])
def test_no_such_run(place, name):
    assert "run" in place.run("agent", "undo", name, expect=1).stderr
