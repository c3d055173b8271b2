"""A vendor of OpenAI's chat dialect that does what frameworks ask of a model: it fills in schemas, calls the tool that fits, and knows
when it has its result. What it says follows from what it is asked, so that their own suites can be passed without a model.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.server import listening

TOKENS_IN, TOKENS_CACHED = 20, 8
WORDS = "Water runs down the headrace to the wheel."


@dataclass
class Scholar:
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    @staticmethod
    @contextmanager
    def open() -> "Iterator[Scholar]":
        scholar = Scholar()

        class Handler(_Handler):
            told = scholar

        with listening(Handler) as port:
            scholar.url = f"http://127.0.0.1:{port}/v1"
            yield scholar


def filled(schema: Any, text: str = "Ghent", root: Any = None) -> Any:
    """A value of a JSON schema: the first that fits, three for a number."""
    root = schema if root is None else root
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found.get(part, {})
        return filled(found, text, root)
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return filled(schema[choice][0], text, root)
    given = schema.get("enum") or [schema[name] for name in ("const",) if name in schema]
    return given[0] if given else _typed(schema, text, root)


def _typed(schema: dict[str, Any], text: str, root: Any) -> Any:
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "integer" | "number":
            return 3
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            return [filled(schema.get("items", {}), text, root)]
        case "string":
            return text
        case _:
            members: dict[str, Any] = schema.get("properties") or {}
            required: Any = schema.get("required", members)
            return {name: filled(member, text, root) for name, member in members.items() if name in required}


def answered(asked: dict[str, Any]) -> tuple[str | None, list[dict[str, Any]]]:
    """Text, and calls of tools."""
    messages = asked.get("messages") or [{}]
    quoted = _quoted(messages[-1])
    tools = [tool["function"] for tool in asked.get("tools") or () if tool.get("type") == "function"]
    choice = asked.get("tool_choice")
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    wanted = [tool for tool in tools if named in (None, tool["name"])]
    if wanted and choice != "none" and (messages[-1].get("role") == "user" or named or choice == "required"):
        calls = wanted if asked.get("parallel_tool_calls", False) else wanted[:1]
        return None, [
            {
                "id": f"call_{at}",
                "type": "function",
                "function": {"name": tool["name"], "arguments": json.dumps(filled(tool.get("parameters"), quoted))},
            }
            for at, tool in enumerate(calls)
        ]
    shape = asked.get("response_format") or {}
    if shape.get("type") == "json_schema":
        return json.dumps(filled(shape["json_schema"].get("schema"), quoted)), []
    if shape.get("type") == "json_object":
        return "{}", []
    return _stopped(WORDS, asked.get("stop")), []


def _quoted(message: dict[str, Any]) -> str:
    """What stands in quotes in what was said last, as people name things to a model."""
    content = message.get("content")
    said = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    found = re.search(r"'([^']+)'", said)
    return found[1] if found else "Ghent"


def _stopped(text: str, stop: Any) -> str:
    for word in [stop] if isinstance(stop, str) else stop or ():
        text = text.partition(str(word))[0]
    return text


class _Handler(BaseHTTPRequestHandler):
    told: Scholar
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(b'{"object":"list","data":[]}')

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.told.asked.append(asked)
        if self.path.endswith("/embeddings"):
            given = asked["input"] if isinstance(asked.get("input"), list) else [asked.get("input")]
            data = [{"object": "embedding", "index": at, "embedding": [0.5, 0.25]} for at in range(len(given))]
            self._answer(json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}).encode())
            return
        text, calls = answered(asked)
        tokens_out = max(1, len((text or "").split()))
        usage = {
            "prompt_tokens": TOKENS_IN,
            "completion_tokens": tokens_out,
            "total_tokens": TOKENS_IN + tokens_out,
            "prompt_tokens_details": {"cached_tokens": TOKENS_CACHED},
            "completion_tokens_details": {"reasoning_tokens": 0},
        }
        head = {"id": "chatcmpl-scholar", "created": 1, "model": asked.get("model")}
        reason = "tool_calls" if calls else "stop"
        if not asked.get("stream"):
            message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
            choices = [{"index": 0, "message": message, "finish_reason": reason}]
            self._answer(json.dumps({**head, "object": "chat.completion", "choices": choices, "usage": usage}).encode())
            return
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": f"{word} "} for word in (text or "").split(" ")[:-1]]
        deltas += [{"content": (text or "").split(" ")[-1]}] if text else []
        for at, call in enumerate(calls):
            deltas.append({"tool_calls": [{"index": at, **call, "function": {**call["function"], "arguments": ""}}]})
            deltas.append({"tool_calls": [{"index": at, "function": {"arguments": call["function"]["arguments"]}}]})
        self._begin()
        for delta in deltas:
            self._frame({**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        self._frame({**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if (asked.get("stream_options") or {}).get("include_usage"):
            self._frame({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _begin(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

    def _frame(self, event: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
