"""What a stranger may send over a socket: nothing of it stops others, and whatever is refused is refused in OpenAI's form."""

import contextlib
import json
import resource
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import pytest

from tests.client import ask, chat_body
from tests.processes import need_processes, resident_mb
from tests.server import Running, at_once, eventually
from tests.vendor import FLOOD_SIZE, FLOODS, TEXT, Vendor

pytestmark = pytest.mark.xdist_group("scripted")

BODY_MAX, HEAD_MAX, REQUEST_TIMEOUT_S = 262_144, 16_384, 1.5


@dataclass
class Answer:
    """One answer as it stood on the wire."""

    version: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str | None]:
        error: dict[str, str | None] = json.loads(self.body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert self.headers["content-type"] == "application/json"
        return error


class Wire:
    """One connection, byte by byte."""

    def __init__(self, server: Running, *, receive_size: int | None = None) -> None:
        self._socket = socket.socket()
        if receive_size is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_size)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", server.port))
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def was_reset(self, *, within_s: float) -> bool:
        """The server ended the connection, which nobody here has read to its end."""
        watched = select.poll()
        watched.register(self._socket, 0)  # only what is told unasked: an error, a hang-up
        return any(events & select.POLLERR for _, events in watched.poll(within_s * 1000))

    def answer(self, *, bodiless: bool = False) -> Answer:
        """The next answer; those that only say 100 are passed over."""
        while True:
            line = self._file.readline().decode("latin-1").rstrip("\r\n")
            assert line.startswith("HTTP/1."), f"not an answer: {line!r}"
            version, status, _ = line.split(" ", 2)
            headers = {}
            while (field := self._file.readline().decode("latin-1").rstrip("\r\n")) != "":
                name, _, value = field.partition(":")
                headers[name.lower()] = value.strip()
            if status != "100":
                return Answer(version, int(status), headers, b"" if bodiless else self._body(headers))

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            pieces = []
            while size := int(self._file.readline(), 16):
                pieces.append(self._file.read(size))
                self._file.readline()
            while (field := self._file.readline().decode("latin-1").rstrip("\r\n")) != "":  # the trailer
                name, _, value = field.partition(":")
                headers[name.lower()] = value.strip()
            return b"".join(pieces)
        return self._file.read(int(headers["content-length"])) if "content-length" in headers else self._file.read()

    def line(self) -> bytes:
        return self._file.readline()

    @property
    def ended(self) -> bool:
        """The server has closed the connection, and said nothing more."""
        with contextlib.suppress(ConnectionResetError):
            return self._file.read(1) == b""
        return True


def post(server: Running, body: bytes, *lines: str, path: str = "/v1/chat/completions", version: str = "1.1", length: bool = True) -> bytes:
    head = [f"POST {path} HTTP/{version}", "Host: localhost", f"Authorization: Bearer {server.key}"]
    head += [f"Content-Length: {len(body)}"] if length else []
    return "\r\n".join((*head, *lines, "", "")).encode("latin-1") + body


def get(server: Running, path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n\r\n".encode()


def exchange(server: Running, sent: bytes) -> Answer:
    with Wire(server) as wire:
        wire.send(sent)
        return wire.answer(bodiless=sent.startswith(b"HEAD "))


GOOD = chat_body("answers")
STREAMED = chat_body("answers", stream=True)


@pytest.fixture(autouse=True)
def alive(scripted: Running) -> Iterator[None]:
    """After each story the server serves on, and nothing went wrong inside."""
    before = len(scripted.said)
    yield
    assert ask(scripted, "answers").text == TEXT
    assert "Traceback" not in scripted.said[before:]


# What is not HTTP, or not for us.

MALFORMED = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 60,
    b"hello\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nno colon here\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nname : value\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nx: a\x00b\r\n\r\n",
    b"GET /a b HTTP/1.1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: many\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
]


@pytest.mark.parametrize("sent", MALFORMED, ids=lambda sent: repr(sent[:90]))
def test_what_is_not_http_is_told_so(scripted: Running, sent: bytes):
    with Wire(scripted) as wire:
        wire.send(sent)
        answer = wire.answer()
        assert answer.status == 400
        assert answer.error["code"] == "malformed_request"
        assert answer.headers["connection"] == "close"
        assert wire.ended


ELSEWHERE = [
    # request                                       status   code                    allow
    ("GET", "/nowhere", 404, "unknown_url", None),
    ("GET", "/v1", 404, "unknown_url", None),
    ("GET", "/v1/nothing", 404, "unknown_url", None),
    ("POST", "/v1/chat/completion", 404, "unknown_url", None),
    ("GET", "/../../etc/passwd", 404, "unknown_url", None),
    ("GET", "/%2e%2e/etc/passwd", 404, "unknown_url", None),
    ("GET", "/v1/models/%00", 404, "model_not_found", None),
    ("GET", "/v1/models/gpt-9", 404, "model_not_found", None),
    ("GET", "/v1/chat/completions", 405, "method_not_allowed", "POST"),
    ("DELETE", "/v1/chat/completions", 405, "method_not_allowed", "POST"),
    ("OPTIONS", "/v1/chat/completions", 405, "method_not_allowed", "POST"),
    ("GET", "/v1/embeddings", 405, "method_not_allowed", "POST"),
    ("PUT", "/v1/models", 405, "method_not_allowed", "GET, HEAD"),
    ("DELETE", "/healthz", 405, "method_not_allowed", "GET, HEAD"),
    ("BREW", "/healthz", 400, "malformed_request", None),
]


@pytest.mark.parametrize(("method", "path", "status", "code", "allow"), ELSEWHERE, ids=[f"{row[0]} {row[1]}" for row in ELSEWHERE])
def test_what_is_not_there(scripted: Running, method: str, path: str, status: int, code: str, allow: str | None):
    answer = exchange(scripted, get(scripted, path, method))
    assert (answer.status, answer.error["code"]) == (status, code)
    if allow is not None:
        assert sorted(answer.headers["allow"].split(", ")) == sorted(allow.split(", "))


def test_head(scripted: Running):
    with Wire(scripted) as wire:
        wire.send(get(scripted, "/healthz", "HEAD") + get(scripted, "/v1/models", "HEAD") + get(scripted, "/v1/chat/completions", "HEAD"))
        assert [wire.answer(bodiless=True).status for _ in range(3)] == [200, 200, 405]


ACCEPTED = {
    "a query": ("/v1/chat/completions?api-version=1", ()),
    "the whole address": ("http://localhost/v1/chat/completions", ()),
    "a charset": ("/v1/chat/completions", ("Content-Type: application/json; charset=utf-8",)),
    "capital letters": ("/v1/chat/completions", ("CONTENT-TYPE: APPLICATION/JSON",)),
    "no content type": ("/v1/chat/completions", ()),
    "an empty header": ("/v1/chat/completions", ("X-Nothing:",)),
    "bytes beyond ASCII": ("/v1/chat/completions", ("X-Name: Zo\xeb",)),
    "a header many times": ("/v1/chat/completions", tuple(f"X-Hop: {number}" for number in range(100))),
    "an upgrade to HTTP/2": (
        "/v1/chat/completions",
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ),
    "an upgrade to a WebSocket": ("/v1/chat/completions", ("Connection: Upgrade", "Upgrade: websocket")),
}


@pytest.mark.parametrize(("path", "lines"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_unusual_and_fine(scripted: Running, path: str, lines: tuple[str, ...]):
    """`Upgrade: h2c` is what Java's client and `curl --http2` send with a plain request: an offer, not a demand."""
    answer = exchange(scripted, post(scripted, GOOD, *lines, path=path))
    assert answer.status == 200, answer.body
    assert json.loads(answer.body)["choices"][0]["message"]["content"] == TEXT


@pytest.mark.parametrize("path", ["/healthz", "/v1/models"])
def test_an_upgrade_on_a_cold_route(scripted: Running, path: str):
    sent = get(scripted, path)[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    assert exchange(scripted, sent).status == 200


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"]
)
def test_another_content_type(scripted: Running, kind: str):
    answer = exchange(scripted, post(scripted, GOOD, f"Content-Type: {kind}"))
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic c2s6aHI=", "Bearer sk-hr-nobody", "sk-hr-nobody", "Bearer \xff\xfe", "Bearer " + "x" * 9_000],
)
def test_no_key(scripted: Running, authorization: str):
    for path, body in (("/v1/chat/completions", GOOD), ("/v1/models", b"")):
        method = "POST" if body else "GET"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {len(body)}\r\n\r\n"
        answer = exchange(scripted, head.encode("latin-1") + body)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")


def test_a_scheme_in_small_letters(scripted: Running):
    sent = post(scripted, GOOD).replace(b"Bearer", b"bearer")
    assert exchange(scripted, sent).status == 200


# What is not JSON, or not a request.

DEEP = 100_000
BODIES = {
    "empty": (b"", 400, "invalid_json"),
    "null": (b"null", 400, "invalid_value"),
    "an array": (b"[]", 400, "invalid_value"),
    "a number": (b"1", 400, "invalid_value"),
    "cut": (GOOD[:-1], 400, "invalid_json"),
    "two": (GOOD + GOOD, 400, "invalid_json"),
    "NaN": (GOOD[:-1] + b',"n":NaN}', 400, "invalid_json"),
    "infinity": (GOOD[:-1] + b',"n":1e999}', 400, None),
    "a huge integer": (GOOD[:-1] + b',"max_tokens":' + b"9" * 400 + b"}", 400, None),
    "more than 64 bits": (GOOD[:-1] + b',"max_tokens":18446744073709551616}', 400, None),
    "more tokens than there are": (GOOD[:-1] + b',"max_tokens":9223372036854775807}', 400, None),
    "deep messages": (b'{"model":"answers","messages":' + b"[" * DEEP + b"]" * DEEP + b"}", 400, None),
    "deep elsewhere": (GOOD[:-1] + b',"metadata":' + b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"}", 400, None),
    "not UTF-8": (GOOD.replace(b"headrace", b"head\xff\xferace"), 400, None),
    "not UTF-8 in the model": (GOOD.replace(b"answers", b"answers\xff"), 400, None),
    "a lone surrogate": (GOOD.replace(b'"answers"', b'"\\ud800"'), 400, None),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD, 400, "invalid_json"),
    "UTF-16": (GOOD.decode().encode("utf-16"), 400, "invalid_json"),
    "no model": (b'{"messages":[]}', 400, "invalid_value"),
    "a model that is none": (GOOD.replace(b"answers", b"a" * 5_000), 404, "model_not_found"),
    "a model with line ends": (GOOD.replace(b"answers", b"answers\\r\\nx-evil: 1"), 404, "model_not_found"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES)
def test_a_body_that_is_not_a_request(scripted: Running, body: bytes, status: int, code: str | None):
    answer = exchange(scripted, post(scripted, body))
    assert answer.status == status, answer.body[:300]
    assert code is None or answer.error["code"] == code
    assert "x-evil" not in answer.headers


def test_a_key_twice_means_the_same_to_us_and_to_the_vendor(scripted: Running, vendor: Vendor):
    """Else a request could be priced as one model and served as another."""
    body = b'{"model":"500","messages":[{"role":"user","content":"x"}],"stream":true,"model":"answers"}'
    before = len(vendor.bills)
    answer = exchange(scripted, post(scripted, body))
    asked = [bill.model for bill in vendor.bills[before:]]
    assert (answer.status, asked) in ((200, ["answers"]), (400, []))


# How large.


def test_a_body_over_the_limit_is_refused_by_its_length(scripted: Running):
    with Wire(scripted) as wire:
        wire.send(post(scripted, b"", f"Content-Length: {BODY_MAX + 1}", length=False))
        answer = wire.answer()
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        assert wire.ended


def test_a_body_over_the_limit_is_refused_as_it_comes(scripted: Running):
    with Wire(scripted) as wire:
        wire.send(post(scripted, b"", "Transfer-Encoding: chunked", length=False))
        piece = b"x" * 65_536
        for _ in range(6):
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        assert wire.answer().status == 413


def test_who_sends_all_of_it_first_still_reads_the_refusal(scripted: Running):
    """A client that writes ten megabytes before it reads must not lose the answer in a reset."""
    with Wire(scripted) as wire:
        wire.send(post(scripted, b"x" * 10_000_000))
        answer = wire.answer()
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")


def test_a_chunked_body_is_as_good_as_another(scripted: Running):
    with Wire(scripted) as wire:
        wire.send(post(scripted, b"", "Transfer-Encoding: chunked", length=False))
        for at in range(0, len(GOOD), 7):
            piece = GOOD[at : at + 7]
            wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        wire.send(b"0\r\n\r\n" + get(scripted, "/healthz"))
        assert [wire.answer().status for _ in range(2)] == [200, 200]


def test_100_continue(scripted: Running):
    with Wire(scripted) as wire:
        wire.send(post(scripted, b"", "Expect: 100-continue", f"Content-Length: {len(GOOD)}", length=False))
        assert wire.line() == b"HTTP/1.1 100 Continue\r\n"
        assert wire.line() == b"\r\n"
        wire.send(GOOD)
        assert wire.answer().status == 200


def test_100_continue_is_not_said_to_what_is_too_large(scripted: Running):
    with Wire(scripted) as wire:
        wire.send(post(scripted, b"", "Expect: 100-continue", f"Content-Length: {BODY_MAX + 1}", length=False))
        assert wire.line().startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("pause_s", [0.0, 0.02], ids=["at once", "in pieces"])
@pytest.mark.parametrize(
    "filler", [b"X-Long: " + b"y" * 20_000, b"\r\n".join(b"X-%d: %s" % (n, b"z" * 40) for n in range(500))], ids=["long", "many"]
)
def test_a_head_over_the_limit(scripted: Running, filler: bytes, pause_s: float):
    with Wire(scripted) as wire:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sent = b"GET /healthz HTTP/1.1\r\n" + filler + b"\r\n\r\n"
            for at in range(0, len(sent), 6_000 if pause_s else len(sent)):
                wire.send(sent[at : at + (6_000 if pause_s else len(sent))])
                time.sleep(pause_s)
        answer = wire.answer()
        assert (answer.status, answer.error["code"]) == (431, "headers_too_large")


def test_an_address_over_the_limit(scripted: Running):
    with Wire(scripted) as wire:
        wire.send(get(scripted, "/v1/models/" + "m" * 20_000))
        assert wire.answer().status in (414, 431)


# How slow.


def test_half_requests_hold_nobody_up_and_end(scripted: Running):
    """A hundred clients who send half a request and wait: others are served meanwhile, and each of them is told 408 in time."""
    halves = [b"POST /v1/chat", post(scripted, GOOD)[:60], post(scripted, GOOD)[:-10], get(scripted, "/healthz")[:-2]]
    with contextlib.ExitStack() as opened:
        wires = [opened.enter_context(Wire(scripted)) for _ in range(100)]
        for number, wire in enumerate(wires):
            wire.send(halves[number % len(halves)])
        began = time.monotonic()
        for _ in range(5):
            assert ask(scripted, "answers").text == TEXT
        assert time.monotonic() - began < 1.0
        for wire in wires:
            answer = wire.answer()
            assert (answer.status, answer.error["code"]) == (408, "request_timeout")
        assert REQUEST_TIMEOUT_S <= time.monotonic() - began < REQUEST_TIMEOUT_S + 3


def test_a_trickle_is_not_progress(scripted: Running):
    with Wire(scripted) as wire:
        began = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in post(scripted, GOOD):
                wire.send(bytes([byte]))
                time.sleep(0.1)
                if time.monotonic() - began > REQUEST_TIMEOUT_S + 2.5:
                    break
        assert wire.answer().status == 408


def test_who_stops_reading_stops_the_vendor_and_nobody_else(scripted: Running, vendor: Vendor):
    """Nothing is read from the vendor faster than the client takes it; a client who stands still too long is let go."""
    before = len(vendor.bills)
    with Wire(scripted, receive_size=4_096) as wire:
        wire.send(post(scripted, chat_body("floods", stream=True)))
        assert eventually(lambda: len(vendor.bills) > before)
        bill = vendor.bills[before]
        assert wire.line().startswith(b"HTTP/1.1 200")
        time.sleep(1)
        sent = bill.tokens_out
        assert sent * FLOOD_SIZE < 60_000_000, "the vendor was read faster than the client"  # kernels hold up to 37 MB between two sockets
        time.sleep(0.5)
        assert bill.tokens_out <= sent + 1
        assert ask(scripted, "answers").text == TEXT
        assert wire.was_reset(within_s=12), f"it was never let go:\n{scripted.said[-2000:]}"
    assert eventually(lambda: bill.tokens_out >= FLOODS, 12), "the rest is read without the client, since the vendor bills it"


def test_who_never_reads_an_answer_that_ends_the_connection(scripted: Running):
    """The answer is whole and the connection closing: what the client does not take is thrown away all the same."""
    with Wire(scripted, receive_size=4_096) as wire:
        wire.send(post(scripted, chat_body("floods"), "Connection: close"))
        assert wire.was_reset(within_s=12)


def test_a_slow_reader_gets_all_of_it(scripted: Running):
    with Wire(scripted, receive_size=4_096) as wire:
        wire.send(post(scripted, chat_body("huge-frames", stream=True), "Connection: close"))
        answer = wire.answer()
        assert answer.body.count(b"x" * 3_000_000) == 1
        assert answer.body.endswith(b"data: [DONE]\n\n")


# One connection, many requests; many connections.


def test_one_connection_for_all(scripted: Running):
    with Wire(scripted) as wire:
        for number in range(20):
            wire.send(post(scripted, STREAMED if number % 2 else GOOD) if number % 3 else get(scripted, "/v1/models"))
            answer = wire.answer()
            assert answer.status == 200
            assert answer.headers.get("connection") != "close"


@pytest.mark.parametrize("order", ["hcsh", "shcs", "csch", "hhhh", "cccc", "sshc", "hchchchc"])
def test_pipelined_requests_are_answered_in_their_order(scripted: Running, order: str):
    """`h` a hot route, `s` the same streamed and slow, `c` a cold one: all sent at once."""
    slow = chat_body("answers-slowly", stream=True)
    sent = {"h": post(scripted, GOOD), "s": post(scripted, slow), "c": get(scripted, "/v1/models")}
    with Wire(scripted) as wire:
        wire.send(b"".join(sent[one] for one in order))
        for one in order:
            answer = wire.answer()
            assert answer.status == 200
            kind = {"h": b'"chat.completion"', "s": b"[DONE]", "c": b'"list"'}[one]
            assert kind in answer.body


@pytest.mark.parametrize("first", ["hot", "cold", "stream"])
def test_pipelined_before_something_malformed(scripted: Running, first: str):
    """What came whole is answered first; a refusal never stands where another request's answer is expected."""
    sent = {"hot": post(scripted, chat_body("answers-slowly")), "cold": get(scripted, "/healthz"), "stream": post(scripted, STREAMED)}[
        first
    ]
    with Wire(scripted) as wire:
        wire.send(sent + b"what\r\n\r\n")
        assert wire.answer().status == 200


def test_pipelining_has_a_bound(scripted: Running, vendor: Vendor):
    """A thousand requests on one connection are worked on one at a time."""
    before = len(vendor.bills)
    with Wire(scripted) as wire:
        wire.send(post(scripted, chat_body("answers-long", stream=True)))
        with contextlib.suppress(TimeoutError):
            wire._socket.settimeout(0.5)
            for _ in range(1_000):
                wire.send(post(scripted, GOOD))
        time.sleep(0.2)
        assert len(vendor.bills) - before == 1
    assert eventually(
        lambda: scripted.metric("headrace_requests_inflight") == 0, 25
    )  # an earlier client that left is read on for, up to 20 s
    assert len(vendor.bills) - before == 1, "nobody was there any more for the others"


def test_connection_close(scripted: Running):
    for sent in (post(scripted, GOOD, "Connection: close"), post(scripted, STREAMED, "Connection: close")):
        with Wire(scripted) as wire:
            wire.send(sent)
            answer = wire.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert wire.ended


def test_http_1_0(scripted: Running):
    """It knows no chunks: a stream ends where the connection does."""
    for body in (GOOD, STREAMED):
        with Wire(scripted) as wire:
            wire.send(post(scripted, body, version="1.0"))
            answer = wire.answer()
            assert answer.status == 200
            assert "transfer-encoding" not in answer.headers
            assert answer.body.strip().endswith(b"}" if body == GOOD else b"data: [DONE]")
            assert wire.ended
    assert exchange(scripted, get(scripted, "/healthz").replace(b"HTTP/1.1", b"HTTP/1.0")).status == 200


def test_many_connections(scripted: Running):
    """Four hundred that idle, and the next one is served as ever."""
    count = min(400, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2 - 100)
    with contextlib.ExitStack() as opened:
        wires = [opened.enter_context(Wire(scripted)) for _ in range(count)]
        began = time.monotonic()
        assert ask(scripted, "answers").text == TEXT
        assert time.monotonic() - began < 1
        for wire in wires[::40]:
            wire.send(get(scripted, "/healthz"))
            assert wire.answer().status == 200


def test_many_at_once(scripted: Running):
    at_once(*([lambda: [ask(scripted, "answers", stream=True).end == "whole" or pytest.fail("not whole") for _ in range(10)]] * 16))


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_what_was_answered_is_let_go(scripted: Running, stream: bool):
    """At once, and not at some later look for garbage: 400 requests of 200 KB are 80 MB."""
    need_processes()
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": "water " * 33_000}]}
    for _ in range(20):
        ask(scripted, "answers", stream=stream, **asked)
    before_mb = resident_mb(scripted.process.pid)
    for _ in range(400):
        assert ask(scripted, "answers", stream=stream, **asked).text == TEXT
    assert resident_mb(scripted.process.pid) - before_mb < 30
