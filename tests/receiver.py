"""Somebody's address that is told things: it keeps what it heard, and answers as it is told to."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver(ThreadingHTTPServer):
    """`heard` are headers, by names in small letters, and bodies. `fails` are the statuses of the next answers; then it hears."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.fails: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]

    def kinds(self) -> list[str]:
        return [one["type"] for one in self.told]


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.fails.pop(0) if self.server.fails else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """The address, for as long as the block lasts."""
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()
        yield receiver
        receiver.shutdown()
