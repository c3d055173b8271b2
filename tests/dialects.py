"""A vendor that speaks three dialects over a real socket (OpenAI's chat and Responses, Anthropic's Messages) and keeps what it was sent.

It answers all alike: a call of the first tool where there are tools and no result of one yet, else a text; a model named `thinker` thinks
first, one named `broken` fails, `nameless` without a code, one named `cut` dies in the middle, and what one named `shaped` says is JSON.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TEXT = ("Water ", "runs ", "downhill.")
THOUGHT = "It is about water."
TOKENS_IN, TOKENS_CACHED, TOKENS_OUT = 11, 4, 5
ARGUMENTS = '{"city": "Ghent"}'


@dataclass
class Sent:
    """One request as the vendor got it."""

    path: str
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads(self.raw)
        return body


@dataclass
class Polyglot:
    url: str = ""
    sent: list[Sent] = field(default_factory=list)
    answered: list[bytes] = field(default_factory=list)

    @property
    def last(self) -> Sent:
        return self.sent[-1]

    @staticmethod
    @contextmanager
    def open() -> "Iterator[Polyglot]":
        vendor = Polyglot()

        class Handler(_Handler):
            told = vendor

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        vendor.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield vendor
        finally:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    told: Polyglot
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(200, b'{"object":"list","data":[]}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["content-length"]))
        sent = Sent(self.path, {name.lower(): value for name, value in self.headers.items()}, raw)
        self.told.sent.append(sent)
        asked = sent.body
        if asked["model"] in ("broken", "nameless"):
            code = b'"bad_luck"' if asked["model"] == "broken" else b"null"
            body = b'{"error":{"message":"No such luck.","type":"invalid_request_error","param":"luck","code":%b}}' % code
            self._answer(400, body)
            return
        write = {"/v1/messages": _messages, "/v1/responses": _responses, "/v1/chat/completions": _chat}[self.path]
        whole, events = write(asked)
        if not asked.get("stream"):
            body = json.dumps(whole).encode()
            self.told.answered.append(body)
            self._answer(200, body)
            return
        frames = [_frame(self.path, event) for event in events]
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if asked["model"] == "cut":
            for frame in frames[:-3]:
                self._chunk(frame)
            self.close_connection = True
            self.connection.close()
            return
        self.told.answered.append(b"".join(frames))
        for frame in frames:
            self._chunk(frame)
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _frame(path: str, event: dict[str, Any]) -> bytes:
    if path == "/v1/chat/completions":
        return b"data: [DONE]\n\n" if not event else b"data: " + json.dumps(event).encode() + b"\n\n"
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _called(asked: dict[str, Any], results: bool) -> str | None:
    """The tool that is called."""
    if results or not asked.get("tools") or asked.get("tool_choice") == "none":
        return None
    tool = asked["tools"][0]
    name: str = tool.get("function", tool).get("name") or tool["type"]
    return name


def _chat(asked: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    name = _called(asked, any(message["role"] == "tool" for message in asked["messages"]))
    words = (ARGUMENTS,) if asked["model"] == "shaped" else TEXT
    usage = {
        "prompt_tokens": TOKENS_IN,
        "completion_tokens": TOKENS_OUT,
        "total_tokens": TOKENS_IN + TOKENS_OUT,
        "prompt_tokens_details": {"cached_tokens": TOKENS_CACHED},
    }
    head = {"id": "chatcmpl-vendor", "created": 1, "model": asked["model"]}
    message: dict[str, Any] = {"role": "assistant", "content": None if name else "".join(words)}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if asked["model"] == "thinker":
        message["reasoning_content"] = THOUGHT
        deltas.append({"reasoning_content": THOUGHT})
    if name:
        arguments = json.dumps({"input": "*** patch"}) if name == "grep" else ARGUMENTS
        call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}
        message["tool_calls"] = [call]
        deltas.append({"tool_calls": [{"index": 0, **call, "function": {"name": name, "arguments": ""}}]})
        deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in (arguments[:5], arguments[5:])]
    else:
        deltas += [{"content": word} for word in words]
    reason = "length" if asked.get("max_completion_tokens") == 16 else "tool_calls" if name else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    chunks = [
        {**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas
    ]
    chunks.append({**head, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    chunks.append({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}, [*chunks, {}]


def _messages(asked: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    results = any(block["type"] == "tool_result" for turn in asked["messages"] for block in turn["content"] if isinstance(block, dict))
    name = _called(asked, results)
    usage = {"input_tokens": TOKENS_IN - TOKENS_CACHED, "cache_read_input_tokens": TOKENS_CACHED, "cache_creation_input_tokens": 0}
    block: dict[str, Any] = (
        {"type": "tool_use", "id": "toolu_1", "name": name, "input": {}} if name else {"type": "text", "text": "", "citations": None}
    )
    deltas: list[dict[str, Any]] = (
        [{"type": "input_json_delta", "partial_json": ARGUMENTS}] if name else [{"type": "text_delta", "text": word} for word in TEXT]
    )
    message = {"id": "msg_vendor", "type": "message", "role": "assistant", "model": asked["model"], "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    reason = "tool_use" if name else "end_turn"
    whole_block = {**block, "input": json.loads(ARGUMENTS)} if name else {**block, "text": "".join(TEXT)}
    whole = {**message, "content": [whole_block], "stop_reason": reason, "usage": {**usage, "output_tokens": TOKENS_OUT}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": {"output_tokens": TOKENS_OUT}},
        {"type": "message_stop"},
    ]
    return whole, events


def _responses(asked: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    results = any(str(item.get("type")).endswith("_output") for item in asked["input"] if isinstance(item, dict))
    name = _called(asked, results)
    head = _response(asked)
    thought = {"type": "reasoning", "id": "rs_v", "summary": [], "encrypted_content": "vendor-sealed"}
    item, steps = _function_call(name) if name else _said()
    usage = {
        "input_tokens": TOKENS_IN,
        "input_tokens_details": {"cached_tokens": TOKENS_CACHED, "cache_write_tokens": 0},
        "output_tokens": TOKENS_OUT,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": TOKENS_IN + TOKENS_OUT,
    }
    whole = {**head, "status": "completed", "completed_at": 2, "output": [thought, item], "usage": usage}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": head},
        {"type": "response.in_progress", "response": head},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_v", "summary": []}},
        {"type": "response.output_item.done", "output_index": 0, "item": thought},
        *steps,
        {"type": "response.output_item.done", "output_index": 1, "item": item},
        {"type": "response.completed", "response": whole},
    ]
    return whole, [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _response(asked: dict[str, Any]) -> dict[str, Any]:
    """A response that has begun, whole as Open Responses wants it."""
    return {
        "id": f"resp_vendor{id(asked)}",
        "object": "response",
        "created_at": 1,
        "completed_at": None,
        "status": "in_progress",
        "model": asked["model"],
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": [{"strict": None, "description": None, **tool} for tool in asked.get("tools", ())],
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "top_logprobs": 0,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "text": {"format": {"type": "text"}},
        "truncation": "disabled",
        "usage": None,
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": None,
        "store": asked.get("store", True),
        "background": False,
        "service_tier": "default",
        "metadata": asked.get("metadata", {}),
        "safety_identifier": None,
        "prompt_cache_key": asked.get("prompt_cache_key"),
    }


def _said() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The item of a text, and the events in which it comes."""
    text, place = "".join(TEXT), {"item_id": "msg_v", "output_index": 1, "content_index": 0}
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"type": "message", "id": "msg_v", "role": "assistant", "status": "completed", "content": [part]}
    return item, [
        {"type": "response.output_item.added", "output_index": 1, "item": {**item, "status": "in_progress", "content": []}},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in TEXT),
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
    ]


def _function_call(name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The item of a call, and the events in which it comes."""
    place = {"item_id": "fc_v", "output_index": 1}
    item = {"type": "function_call", "id": "fc_v", "call_id": "call_1", "name": name, "arguments": ARGUMENTS, "status": "completed"}
    return item, [
        {"type": "response.output_item.added", "output_index": 1, "item": {**item, "status": "in_progress", "arguments": ""}},
        *({"type": "response.function_call_arguments.delta", **place, "delta": piece} for piece in (ARGUMENTS[:5], ARGUMENTS[5:])),
        {"type": "response.function_call_arguments.done", **place, "arguments": ARGUMENTS},
    ]
