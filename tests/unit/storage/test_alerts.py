"""An alert as its receiver gets it: signed, and told again until somebody has heard it."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from headrace.core.clock import SECOND
from headrace.storage import Alert
from headrace.storage.alerts import deliver

ALERT = Alert(
    account=3,
    percent=80,
    moment=9 * SECOND,
    spent_pico=8 * 10**12,
    limit_pico=10**13,
    tries=0,
    budget="acme",
    instance="",
    period="2026-11",
)


class Receiver(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Hook)
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def test_it_is_signed_as_standard_webhooks_are(receiver):
    assert deliver(ALERT, receiver.url, "whsec", 100 * SECOND) is None
    ((headers, body),) = receiver.heard
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(b"whsec", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert headers["webhook-timestamp"] == "100"
    assert json.loads(body) == {
        "type": "budget.threshold_reached",
        "timestamp": 9,
        "data": {"budget": "acme", "instance": None, "period": "2026-11", "percent": 80, "spent_usd": "8.00", "limit_usd": "10.00"},
    }


def test_who_hears_it_twice_can_say_so(receiver):
    deliver(ALERT, receiver.url, "whsec", 100 * SECOND)
    deliver(ALERT, receiver.url, "whsec", 200 * SECOND)
    assert receiver.heard[0][0]["webhook-id"] == receiver.heard[1][0]["webhook-id"]


def test_a_receiver_that_fails_or_is_not_there_was_not_told(receiver):
    receiver.status = 500
    assert "500" in (deliver(ALERT, receiver.url, "whsec", 1) or "")
    assert deliver(ALERT, "http://127.0.0.1:1/", "whsec", 1) is not None
