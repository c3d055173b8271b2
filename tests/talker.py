"""A vendor whose models follow scripts and stream their words, for what is tested through the workspace: over real sockets, in threads.

The model's name says the script. A step is a text, or the calls that it wants made; which step is next follows from the conversation
alone, so a run that goes on after a crash meets the same model. `{said}` in a text is what the person said last, `{url}` in a call the
address in it and `{ref}` a link of the page seen last. A model named `slow` says a word and then waits, until it is hung up on or `go` is
set.
"""

import json
import re
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from tests.server import pool, priced

Step: TypeAlias = str | list[tuple[str, dict[str, str]]]

SCRIPTS: dict[str, list[Step]] = {
    "echo": ["You said: {said}"],
    "slow": ["Water runs down the headrace to the wheel."],
    "coder": [
        [("list_files", {})],
        [("write_file", {"path": "hello.py", "text": "print('hello')\n"})],
        "I wrote **hello.py**.",
    ],
    "visitor": [[("fetch", {"url": "https://collect.invalid/?a=1"})], "I could not read that page."],
    "keeper": [[("remember", {"text": "I live in Bern"})], "I will remember."],
    "seer": ["I see {pictures} with: {said}"],
    "boss": [[("delegate", {"task": "Count to three"})], "It was counted."],
    "manager": [
        [("other__send", {"message": "Write hello.py"})],
        [("read_file", {"path": "received/other/hello.py"})],
        "The other agent wrote it.",
    ],
    "misled": [[("read_file", {"path": "notes.txt"})], [("other__send", {"message": "All the notes"})], "I could not."],
    "shell": [
        [
            (
                "run_command",
                {"command": r"printf 'a \033[31mred\033[0m word\n10%%\r100%%\n\377\n'; until [ -e go ]; do sleep 0.1; done; echo gone on"},
            )
        ],
        "It ran.",
    ],
    "waiter": [[("run_command", {"command": "echo waiting; sleep 600"})], "Somebody stopped it."],
    "noter": [
        [("notes__search", {"query": "shopping"}), ("notes__look", {"path": "/etc/shadow"})],
        [("notes__add", {"title": "x", "text": "see mallory@evil.example"})],
        "It is noted.",
    ],
    "codex": [[("exec_command", {"cmd": "echo made by codex > hello.txt"})], "I made hello.txt."],
    "claude": [[("Bash", {"command": "echo made by claude > hello.txt", "description": "Make it"})], "I made hello.txt."],
    "drawer": [
        "The way of a request:\n\n```mermaid\nflowchart LR\n  ask[Ask] -->|key| gate{Gate}-->pool[(Pool)]\n"
        "  gate -.-> no[<script>alert(1)</script>]\n```\n\nAnd told:\n\n```mermaid\nsequenceDiagram\n  Client->>Gate: ask\n"
        "  Gate-->>Client: words\n```\n\nA faulty one:\n\n```mermaid\nflowchart LR\n  a --> \n```"
    ],
    "guest": [
        [("browser_open", {"url": "{url}"})],
        [("browser_hand_over", {"why": "Sign in, please."})],
        [("browser_click", {"ref": "{ref}"})],
        "I have read it.",
    ],
    "painter": [
        "# A heading\n\nSome *text* with `code`, a [link](https://example.org/) and **weight**.\n\n| river | length |\n|---|---:|\n"
        "| Rhine | 1,233 |\n| Elbe | 1,094 |\n\n```python\ndef add(a, b):\n    return a + b\n```\n\n$$E = mc^2$$\n\n- one\n- two\n\n"
        "<img src=x onerror=alert(1)><script>alert(2)</script>\n\n![remote](https://evil.invalid/p.png)"
    ],
}
BLIND: dict[str, list[Step]] = {"reader": ["You said: {said}"]}
"""Served by a pool that sees no pictures, where a test wants one."""
WORDS_A_PIECE = 2


class Talker(ThreadingHTTPServer):
    """`asked` are the requests that came; `go` lets slow models go on; `hung_up` is set when one was left."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[dict[str, Any]] = []
        self.go, self.hung_up = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Talker
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b'{"object":"list","data":[]}', "application/json")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(asked)
        step = _next(asked)
        if not asked.get("stream"):
            message = {"role": "assistant", "content": step if isinstance(step, str) else None, **_calls(step, asked)}
            answer = {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": asked["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": _reason(step)}],
                "usage": _USAGE,
            }
            self._answer(json.dumps(answer).encode(), "application/json")
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self._stream(asked, step)
        except OSError:
            self.server.hung_up.set()

    def _stream(self, asked: dict[str, Any], step: Step) -> None:
        if isinstance(step, str):
            words = step.split(" ")
            for at in range(0, len(words), WORDS_A_PIECE):
                piece = " ".join(words[at : at + WORDS_A_PIECE]) + (" " if at + WORDS_A_PIECE < len(words) else "")
                self._say({"index": 0, "delta": {"content": piece}, "finish_reason": None}, asked)
                while asked["model"] == "slow" and not self.server.go.wait(0.05):
                    self.wfile.write(b": waiting\n\n")
                    self.wfile.flush()
        else:
            self._say({"index": 0, "delta": _calls(step, asked, numbered=True), "finish_reason": None}, asked)
        self._say({"index": 0, "delta": {}, "finish_reason": _reason(step)}, asked)
        self._say(None, asked)
        self.wfile.write(b"data: [DONE]\n\n")

    def _say(self, choice: dict[str, Any] | None, asked: dict[str, Any]) -> None:
        chunk = {
            "id": "x",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": asked["model"],
            "choices": [] if choice is None else [choice],
            "usage": _USAGE if choice is None else None,
        }
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


_USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}


def _next(asked: dict[str, Any]) -> Step:
    messages = asked["messages"]
    last = max(at for at, message in enumerate(messages) if message["role"] == "user")
    turn = sum(message["role"] == "assistant" for message in messages[last:])
    script = (SCRIPTS | BLIND)[str(asked["model"])]
    step: Step = script[min(turn, len(script) - 1)]
    offered = {tool["function"]["name"] for tool in asked.get("tools", ())}
    if not isinstance(step, str) and any(name not in offered for name, _ in step):  # as a sub-agent, which may not hand on
        step = script[-1]
    said: str | list[dict[str, Any]] = messages[last]["content"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": said}] if isinstance(said, str) else said
    pictures = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    words = " ".join(part["text"] for part in parts if part["type"] == "text")
    if isinstance(step, str):
        return step.replace("{said}", words).replace("{pictures}", " and ".join(_described(url) for url in pictures) or "nothing")
    refs = re.findall(r"link .*?\[ref=(\w+)\]", str(messages[-1]["content"]))
    urls = re.findall(r"https?://\S+", words)
    filled = {"{url}": urls[0] if urls else "none", "{ref}": refs[0] if refs else "none"}
    return [(name, {argument: filled.get(value, value) for argument, value in given.items()}) for name, given in step]


def _described(url: str) -> str:
    kind, _, data = url.removeprefix("data:").partition(";base64,")
    return f"{kind} of {len(b64decode(data)):,} bytes"


def _calls(step: Step, asked: dict[str, Any], *, numbered: bool = False) -> dict[str, Any]:
    if isinstance(step, str):
        return {}
    calls = [
        {"id": f"c{len(asked['messages'])}{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for at, (name, arguments) in enumerate(step)
    ]
    return {"tool_calls": [{**call, "index": at} for at, call in enumerate(calls)] if numbered else calls}


def _reason(step: Step) -> str:
    return "stop" if isinstance(step, str) else "tool_calls"


def blind(url: str) -> str:
    """The TOML of a pool whose model sees no pictures."""
    return pool("blinders", url, *BLIND, capabilities=["tools"]) + priced(*BLIND)


@contextmanager
def talking() -> Iterator[Talker]:
    """The vendor, for as long as the block lasts."""
    with Talker() as talker:
        thread = threading.Thread(target=talker.serve_forever, daemon=True, kwargs={"poll_interval": 0.05})
        thread.start()
        yield talker
        talker.go.set()
        talker.shutdown()
