"""A house for agents: an installation, its server, a folder, and a vendor whose models say what a script says."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner

from headrace.cli.main import headrace
from tests.server import Installation, Running, pool, priced

SCRIPTS: dict[str, list[list[tuple[str, dict[str, str]]] | str]] = {
    "coder": [
        [("list_files", {}), ("read_file", {"path": "add.py"})],
        [("edit_file", {"path": "add.py", "old": "a - b", "new": "a + b"})],
        [("run_command", {"command": "python3 -c 'import add; assert add.add(2, 3) == 5; print(\"passed\")'"})],
        "The sign was wrong; the check passes now.",
    ],
    "visitor": [[("read_file", {"path": "add.py"})], [("fetch", {"url": "https://collect.invalid/?a=1"})], "I could not read it."],
    "talker": ["I have written the file."],
    "rememberer": [[("remember", {"text": "I prefer tabs"})], "Noted."],
    "recaller": [[("recall", {"query": "tabs or spaces"})], "You prefer tabs."],
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
    return Installation(
        tmp_path_factory.mktemp("house"), pool("vendor", vendor, *SCRIPTS) + priced(*SCRIPTS) + "[agents]\nschedules = false\n"
    )


@pytest.fixture(scope="module")
def server(place: Installation) -> Iterator[Running]:
    with place.serving() as running:
        yield running


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "add.py").write_text("def add(a, b):\n    return a - b\n")
    return tmp_path


def told(place: Installation, *arguments: str) -> str:
    """What a command says, run in this process: starting the program costs more than what it does. Raises what it fails with."""
    line = ("--config", str(place.folder / "headrace.toml"), "--data", str(place.data), *arguments)
    ended = CliRunner().invoke(headrace, line, catch_exceptions=False, standalone_mode=False)
    if ended.exception is not None:
        raise ended.exception
    return ended.output
