"""A browser's part, without one: it signs in, keeps its cookie, and says where its requests come from."""

import http.cookiejar
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

from tests.server import Running, eventually

API = "/workspace/api"


class Visitor:
    """Somebody at the page. A call returns status and what was answered, read as JSON where there is any."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.cookies = http.cookiejar.CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def call(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.server.url + path, method=method, data=data, headers=named)
        try:
            with self._opener.open(request, timeout=20) as answer:
                return answer.status, _read(answer.read())
        except urllib.error.HTTPError as wrong:
            with wrong:
                return wrong.code, _read(wrong.read())

    def get(self, path: str) -> Any:
        """What is there; it must be."""
        status, found = self.call("GET", API + path)
        assert status == 200, (path, status, found)
        return found

    def post(self, path: str, body: object = None) -> Any:
        status, found = self.call("POST", API + path, {} if body is None else body)
        assert status in (200, 201, 202), (path, status, found)
        return found

    def sign_in(self, key: str) -> "Visitor":
        self.post("/session", {"key": key})
        return self

    def thread(self, **asked: str) -> str:
        """A new thread's path."""
        return f"/threads/{self.post('/threads', asked)['id']}"

    def say(self, thread: str, text: str, until: str = "done", within_s: float = 30, **more: str) -> Any:
        """Say it, and wait until the run stands so; return its events."""
        self.post(f"{thread}/messages", {"text": text, **more})
        return self.wait(thread, until, within_s)

    def wait(self, thread: str, until: str, within_s: float = 30) -> Any:
        assert eventually(lambda: self.get(thread)["state"] == until, within_s), self.get(thread)
        return self.get(f"{thread}/log")["events"]

    @contextmanager
    def following(self, thread: str, last: str = "") -> Iterator[HTTPResponse]:
        """The stream of events."""
        request = urllib.request.Request(f"{self.server.url}{API}{thread}/events", headers={"last-event-id": last} if last else {})
        with self._opener.open(request, timeout=20) as stream:
            yield stream


def read_until(stream: HTTPResponse, words: str) -> str:
    """What the stream says up to the line that has these words."""
    said = ""
    while words not in said:
        line = stream.readline()
        assert line, f"the stream ended without {words!r}: {said}"
        said += line.decode()
    return said


def _read(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content
