"""Traces arrive where OpenTelemetry's own variables say, one span a request, without a word of what was asked or answered."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from tests.server import Installation, eventually, pool, priced
from tests.vendor import Vendor


class Collector(http.server.ThreadingHTTPServer):
    """Takes what an exporter sends."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.taken: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Taking(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        assert isinstance(self.server, Collector)
        self.server.taken.append((self.path, body))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_request_becomes_a_span(tmp_path: Path, vendor: Vendor, collector: Collector):
    settings = "[telemetry]\ntraces = true\n" + pool("vendor", vendor.url, "answers") + priced("answers")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    with Installation(tmp_path, settings, environment).serving() as server, OpenAI(base_url=server.base_url, api_key=server.key) as client:
        client.chat.completions.create(model="answers", messages=[{"role": "user", "content": "a secret word: xylophone"}])
        eventually(lambda: collector.taken)
    paths, bodies = {path for path, _ in collector.taken}, b"".join(body for _, body in collector.taken)
    assert paths == {"/v1/traces"}
    for told in (b"chat answers", b"gen_ai.request.model", b"gen_ai.usage.input_tokens", b"headrace.pool"):
        assert told in bodies
    assert b"xylophone" not in bodies
