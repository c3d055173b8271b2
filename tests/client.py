"""A client with nothing between it and the wire, for what the official ones hide: frames, cuts, leaving early."""

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.server import Running


@dataclass
class Heard:
    """What one client got of an answer. `end` is `whole`, `cut`, or the code of the error that it ended with."""

    status: int
    end: str
    text: str = ""
    usage: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def chat_body(model: str, *, stream: bool = False, **more: object) -> bytes:
    asked: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "What is a headrace?"}], "stream": stream, **more}
    if stream:
        asked.setdefault("stream_options", {"include_usage": True})
    return json.dumps(asked).encode()


def begin(
    server: Running, model: str, *, stream: bool = True, key: str | None = None, **more: object
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Ask, and wait for the head of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=15)
    headers = {"authorization": f"Bearer {key or server.key}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", chat_body(model, stream=stream, **more), headers)
        return connection, connection.getresponse()
    except BaseException:
        connection.close()
        raise


def ask(server: Running, model: str, *, stream: bool = False, key: str | None = None, **more: object) -> Heard:
    """Ask and hear all of it. A connection that ends without an answer is status 0."""
    try:
        connection, answer = begin(server, model, stream=stream, key=key, **more)
    except (http.client.HTTPException, ConnectionError):
        return Heard(0, "cut")
    except TimeoutError:
        return Heard(0, "no answer")
    try:
        return _heard(answer)
    finally:
        connection.close()


def _heard(answer: http.client.HTTPResponse) -> Heard:
    headers = {name.lower(): value for name, value in answer.getheaders()}
    try:
        if headers.get("content-type", "").startswith("text/event-stream"):
            return hear_stream(answer, Heard(answer.status, "cut", headers=headers))
        said = json.loads(answer.read())
    except (http.client.IncompleteRead, ConnectionError):
        return Heard(answer.status, "cut", headers=headers)
    if "error" in said:
        return Heard(answer.status, said["error"]["code"], error=said["error"], headers=headers)
    return Heard(answer.status, "whole", said["choices"][0]["message"]["content"], said["usage"], headers=headers)


def hear_stream(answer: http.client.HTTPResponse, heard: Heard) -> Heard:
    """Read frames until the end; `heard` holds what came, also when this raises."""
    for line in answer:
        if not line.startswith(b"data: "):
            continue
        data = line[6:].strip()
        if data == b"[DONE]":
            heard.end = "whole"
            continue
        chunk = json.loads(data)
        if "error" in chunk:
            heard.end, heard.error = chunk["error"]["code"], chunk["error"]
            continue
        heard.usage = chunk.get("usage") or heard.usage
        heard.text += "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])
    return heard


def post(server: Running, path: str, body: object, key: str | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """Post a value as JSON, or bytes as they are."""
    request = urllib.request.Request(
        server.url + path,
        body if isinstance(body, bytes) else json.dumps(body).encode(),
        {"authorization": f"Bearer {key or server.key}", "content-type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as wrong:
        with wrong:
            return wrong.code, json.loads(wrong.read())
