"""Vendors that misbehave: what the client sees, what the books show, and that the next request is served.

One server, one vendor, one request for each way to misbehave, streamed and not. Every request asks for a model of its own, so that
`headrace usage --by model` tells each apart. All are asked together first, and the tests then look at one row each.
"""

import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.client import Heard, ask, begin, chat_body
from tests.server import Installation, Running, at_once, eventually, pool
from tests.vendor import TEXT, TOKENS_IN, WORDS, Vendor

pytestmark = pytest.mark.xdist_group("upstreams")

TWO = "".join(WORDS[:2])
TRANSPORT = """
[transport]
connect_timeout_ms = 2000
first_byte_timeout_ms = 700
between_bytes_timeout_ms = 700
[health]  # one vendor plays all parts here: what it does for one model must not close it for the next
failures_max = 1_000_000
samples_min = 1_000_000
"""

# fmt: off
TABLE = [
    # the vendor              asked       the client sees                                the books show
    ("answers",               "whole",    (200, "whole", TEXT),                          "confirmed"),
    ("answers",               "stream",   (200, "whole", TEXT),                          "confirmed"),
    ("usage-in-last-chunk",   "stream",   (200, "whole", TEXT),                          "confirmed"),
    ("usage-in-every-chunk",  "stream",   (200, "whole", TEXT),                          "confirmed"),
    ("usage-never",           "whole",    (200, "whole", TEXT),                          "estimated"),
    ("usage-never",           "stream",   (200, "whole", TEXT),                          "estimated"),
    ("byte-by-byte",          "whole",    (200, "whole", TEXT),                          "confirmed"),
    ("byte-by-byte",          "stream",   (200, "whole", TEXT),                          "confirmed"),
    ("with-crlf",             "stream",   (200, "whole", TEXT),                          "confirmed"),
    ("until-eof",             "whole",    (200, "whole", TEXT),                          "confirmed"),
    ("until-eof",             "stream",   (200, "whole", TEXT),                          "confirmed"),
    ("huge-frames",           "whole",    (200, "whole", "x" * 3_000_000),               "confirmed"),
    ("huge-frames",           "stream",   (200, "whole", "x" * 3_000_000),               "confirmed"),
    ("answers-slowly",        "whole",    (200, "whole", TEXT),                          "confirmed"),
    ("answers-slowly",        "stream",   (200, "whole", TEXT),                          "confirmed"),
    ("closes-after",          "whole",    (200, "whole", TEXT),                          "confirmed"),
    ("closes-after",          "stream",   (200, "whole", TEXT),                          "confirmed"),
    # it may have computed, so it may bill: held at the bound, which the client owes where it heard something, and we where it did not
    ("cut-mid-stream",        "whole",    (502, "upstream_cut", ""),                     "ours"),
    ("cut-mid-stream",        "stream",   (200, "upstream_cut", TWO),                    "estimated"),
    ("cut-mid-frame",         "stream",   (200, "upstream_cut", TWO),                    "estimated"),
    ("cut-before-done",       "stream",   (200, "upstream_cut", TWO),                    "estimated"),
    ("cut-at-once",           "whole",    (502, "upstream_cut", ""),                     "ours"),
    ("cut-at-once",           "stream",   (502, "upstream_cut", ""),                     "ours"),
    ("stalls-at-once",        "whole",    (504, "upstream_timeout", ""),                 "ours"),
    ("stalls-at-once",        "stream",   (504, "upstream_timeout", ""),                 "ours"),
    ("stalls-between",        "whole",    (504, "upstream_timeout", ""),                 "ours"),
    ("stalls-between",        "stream",   (200, "upstream_timeout", TWO),                "estimated"),
    ("error-frame",           "stream",   (200, "upstream_failed", TWO),                 "estimated"),
    ("error-in-one-write",    "stream",   (200, "upstream_failed", TWO),                "estimated"),
    ("broken-json",           "whole",    (502, "upstream_garbled", ""),                 "ours"),
    ("broken-json",           "stream",   (200, "upstream_garbled", TWO),                "estimated"),
    # it says itself that it did nothing: nothing is owed
    ("error-frame",           "whole",    (502, "upstream_failed", ""),                  "void"),
    ("error-frame-first",     "stream",   (502, "upstream_failed", ""),                  "void"),
    ("500",                   "whole",    (502, "upstream_failed", ""),                  "void"),
    ("500",                   "stream",   (502, "upstream_failed", ""),                  "void"),
    ("503",                   "whole",    (503, "upstream_overloaded", ""),              "void"),
    ("503",                   "stream",   (503, "upstream_overloaded", ""),              "void"),
    ("429-ms",                "whole",    (503, "upstream_overloaded", ""),              "void"),
    ("429-ms",                "stream",   (503, "upstream_overloaded", ""),              "void"),
    ("429-s",                 "whole",    (503, "upstream_overloaded", ""),              "void"),
    ("401",                   "whole",    (502, "upstream_failed", ""),                  "void"),
    ("401",                   "stream",   (502, "upstream_failed", ""),                  "void"),
    ("404",                   "whole",    (502, "upstream_failed", ""),                  "void"),
    ("400",                   "whole",    (400, "vendor_code", ""),                      "void"),
    ("400",                   "stream",   (400, "vendor_code", ""),                      "void"),
    ("html-error",            "whole",    (502, "upstream_failed", ""),                  "void"),
    ("html-error",            "stream",   (502, "upstream_failed", ""),                  "void"),
    ("not-http",              "whole",    (502, "upstream_failed", ""),                  "void"),
    ("not-http",              "stream",   (502, "upstream_failed", ""),                  "void"),
    ("endless-head",          "whole",    (502, "upstream_failed", ""),                  "void"),
]
# fmt: on


@dataclass
class Day:
    """What happened: what each client heard, what a client of the same pool heard right after, the books, and the vendor's bills."""

    heard: dict[str, Heard]
    after: dict[str, Heard]
    books: dict[str, dict[str, int]]
    vendor: Vendor
    said: str


def model_of(script: str, asked: str) -> str:
    return f"{script}/{asked}"


def state_of(row: dict[str, int] | None) -> str:
    if row is None or not row["requests"]:
        return "ours" if row is not None and row["ours"] else "void"
    return next((state for state in ("running", "lost", "estimated") if row[state]), "confirmed")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    models = [model_of(script, asked) for script, asked, _, _ in TABLE]
    nexts = [f"answers/after-{model}" for model in models]
    with Vendor.open() as vendor:
        pools = [pool(f"vendor-{number}", vendor.url, model) for number, model in enumerate((*models, *nexts))]  # a 429 closes only its own
        installation = Installation(tmp_path_factory.mktemp("upstreams"), "".join(pools) + TRANSPORT)
        heard: dict[str, Heard] = {}
        after: dict[str, Heard] = {}
        with installation.serving() as server:

            def one(model: str) -> None:
                heard[model] = ask(server, model, stream=model.endswith("/stream"), max_completion_tokens=50)
                after[model] = ask(server, f"answers/after-{model}")

            at_once(*(lambda model=model: one(model) for model in models))
            server.stop()
        yield Day(heard, after, {row["model"]: row for row in installation.usage("model")}, vendor, server.said)


@pytest.mark.parametrize(("script", "asked", "seen", "state"), TABLE, ids=[f"{row[0]}-{row[1]}" for row in TABLE])
def test_a_vendor_that(day: Day, script: str, asked: str, seen: tuple[int, str, str], state: str):
    model = model_of(script, asked)
    heard, row = day.heard[model], day.books.get(model)
    assert (heard.status, heard.end, heard.text) == seen
    assert state_of(row) == state
    bill, *more = day.vendor.bills_of(model)
    assert not more or script == "cut-at-once", "asked again only where a kept connection ended without an answer"
    if state == "confirmed":
        assert row is not None
        assert (row["input"], row["output"]) == (bill.tokens_in, bill.tokens_out)
        assert heard.usage is not None
        assert (heard.usage["prompt_tokens"], heard.usage["completion_tokens"]) == (bill.tokens_in, bill.tokens_out)
    elif state == "estimated":
        assert row is not None
        assert row["output"] == 50, "held at its bound"
        assert row["input"] >= bill.tokens_in
    assert (day.after[model].status, day.after[model].text) == (200, TEXT), "the next request is served"


@pytest.mark.parametrize(("script", "asked"), [(row[0], row[1]) for row in TABLE if row[2][1] != "whole"])
def test_an_error_says_all_four_things(day: Day, script: str, asked: str):
    error = day.heard[model_of(script, asked)].error
    assert error is not None
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]


def test_a_vendors_wait_is_passed_on(day: Day):
    assert day.heard[model_of("429-ms", "whole")].headers["retry-after-ms"] == "250"
    assert day.heard[model_of("429-ms", "stream")].headers["retry-after-ms"] == "250"
    assert day.heard[model_of("429-s", "whole")].headers["retry-after-ms"] == "2000"


def test_a_refusal_is_in_the_vendors_own_words(day: Day):
    assert day.heard[model_of("400", "whole")].error == {
        "message": "temperature must be at most 2",
        "type": "invalid_request_error",
        "param": None,
        "code": "vendor_code",
    }


def test_a_wrong_key_of_ours_is_not_shown_as_the_clients(day: Day):
    """A 401 of the vendor means the operator's key; the client's is fine, and must not be told to change it."""
    assert day.heard[model_of("401", "whole")].status == 502
    assert "wrong key" in day.said, "the operator reads the vendor's words in the log"


def test_no_fault_of_ours(day: Day):
    assert "Traceback" not in day.said
    assert "a fault of ours" not in day.said


# Two pools.


def test_failover_before_the_first_byte(tmp_path: Path):
    """Whatever fails before the client has heard anything is tried elsewhere, and each try is accounted for."""
    failing = ("500", "429-ms", "401", "cut-at-once", "stalls-at-once", "error-frame-first", "not-http", "html-error")
    with Vendor.open() as bad, Vendor.open() as good:
        two = ", ".join(f'"{script}" = "answers"' for script in failing)
        settings = (
            "".join(pool(f"bad-{script}", bad.url, script) for script in failing)  # each rests when it says so, and no other for it
            + '[routing]\npolicy = "weighted"\nretry_share = 1.0\n'
            + f'[[pool]]\nname = "good"\nendpoints = ["{good.url}"]\nmodels = {{ {two} }}\n{TRANSPORT}'
        )
        installation = Installation(tmp_path, settings)
        rounds = 8
        heard: list[Heard] = []
        with installation.serving() as server:
            asks = [(script, stream) for script in failing for stream in (True, False)] * (rounds // 2)
            at_once(*(lambda a=a: heard.append(ask(server, a[0], stream=a[1], max_completion_tokens=50)) for a in asks))
        assert {(one.status, one.end, one.text) for one in heard} == {(200, "whole", TEXT)}
        rows = {row["pool"]: row for row in installation.usage("pool")}
        assert (rows["good"]["requests"], rows["good"]["estimated"]) == (len(asks), 0)
        assert rows["good"]["output"] == sum(bill.tokens_out for bill in good.bills) == len(asks) * len(WORDS)
        tried = bad.asked
        assert sum(tried.values()) > len(failing), "chance sent none to the bad pool"
        held = Counter({row["model"]: row["ours"] for row in installation.usage("model", "pool") if row["pool"].startswith("bad-")})
        assert held["stalls-at-once"] == tried["stalls-at-once"]
        assert bool(held["cut-at-once"]) == bool(tried["cut-at-once"])
        owed = sum(row["ours"] for name, row in rows.items() if name.startswith("bad-"))
        assert owed == held["stalls-at-once"] + held["cut-at-once"], "the others say themselves that nothing is owed"


def test_an_unreachable_pool_is_passed_over(tmp_path: Path):
    with Vendor.open() as vendor:
        settings = pool("gone", "http://127.0.0.1:9/v1", "answers") + pool("good", vendor.url, "answers") + TRANSPORT
        installation = Installation(tmp_path, settings)
        with installation.serving() as server:
            heard = [ask(server, "answers", stream=True) for _ in range(8)]
        assert {(one.status, one.text) for one in heard} == {(200, TEXT)}
        assert {row["pool"]: row["requests"] for row in installation.usage("pool")} in ({"good": 8}, {"good": 8, "gone": 0})


def test_no_second_voice_after_the_first_byte(tmp_path: Path):
    with Vendor.open() as bad, Vendor.open() as good:
        settings = (
            pool("bad", bad.url, "cut-mid-stream")
            + pool("good", good.url, "cut-mid-stream").replace('= "cut', '= "answers-slowly/cut')
            + TRANSPORT
        )
        installation = Installation(tmp_path, settings)
        heard: list[Heard] = []
        with installation.serving() as server:
            at_once(*([lambda: heard.append(ask(server, "cut-mid-stream", stream=True))] * 12))
        seen = sorted({(one.end, one.text) for one in heard})
        assert seen in ([("upstream_cut", TWO), ("whole", TEXT)], [("upstream_cut", TWO)], [("whole", TEXT)])
        assert len(bad.bills) + len(good.bills) == 12, "each request was tried once"
        assert sum(one.end == "whole" for one in heard) == len(good.bills)


def test_a_full_pool_refuses_with_503(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("small", vendor.url, "answers-slowly", concurrency_max=2))
        heard: list[Heard] = []
        with installation.serving() as server:
            at_once(*([lambda: heard.append(ask(server, "answers-slowly", stream=True))] * 6))
            assert ask(server, "answers-slowly").status == 200
        assert sorted(one.end for one in heard) == ["no_capacity"] * 4 + ["whole"] * 2
        assert {one.status for one in heard if one.end == "no_capacity"} == {503}


def test_an_idle_connection_that_the_vendor_just_closed(tmp_path: Path):
    """It is asked anew on a fresh connection: the client notices nothing, the vendor is asked once."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "closes-when-asked-again", "answers"))
        with installation.serving() as server:
            heard = [ask(server, "closes-when-asked-again", stream=stream) for stream in (False, True, False)]
        assert {(one.status, one.end) for one in heard} == {(200, "whole")}
        assert len(vendor.bills) == 3


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_large_answer_leaves_its_connection_fit_for_the_next(tmp_path: Path, stream: bool):
    """Reading was stopped while it was large; the next answer on the same connection must be read all the same."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "huge-frames", "answers") + TRANSPORT)
        with installation.serving() as server:
            for _ in range(3):
                assert len(ask(server, "huge-frames", stream=stream).text) == 3_000_000
                assert ask(server, "answers").text == TEXT
        assert vendor.connections == 1


def test_large_bursts_from_many_connections(tmp_path: Path):
    """So much arrives at once that reading stops before anybody listens; it must go on when somebody does."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "huge-frames"))
        heard: list[Heard] = []
        with installation.serving() as server:
            at_once(*([lambda: heard.append(ask(server, "huge-frames", stream=True))] * 20))
        assert [(one.end, len(one.text)) for one in heard] == [("whole", 3_000_000)] * 20


def test_connections_are_kept(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers"))
        with installation.serving() as server:
            for number in range(10):
                assert ask(server, "answers", stream=bool(number % 2)).end == "whole"
        assert vendor.connections == 1


# Clients who leave.


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_who_leaves_is_billed_what_the_vendor_bills(tmp_path: Path, stream: bool):
    """The vendor computes on, so it is heard to its end: the usage is the vendor's own, to the token."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers-long", drain_ms_max=20_000))
        with installation.serving() as server:
            leave_early(server, vendor, "answers-long", stream=stream)
            assert eventually(lambda: server.metric("headrace_requests_inflight") == 0 and bool(vendor.bills))
            assert server.metric("headrace_usage_log_open_admits") == 0
        (bill,) = vendor.bills
        (row,) = installation.usage("model")
        assert not bill.hung_up
        assert (state_of(row), row["input"], row["output"]) == ("confirmed", TOKENS_IN, bill.tokens_out)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_a_client_who_leaves_a_vendor_that_stops(tmp_path: Path, stream: bool):
    """With drain_ms_max = 0 the vendor hears at once that nobody listens; what it used stays unknown, held at the bound."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers-long", drain_ms_max=0))
        with installation.serving() as server:
            leave_early(server, vendor, "answers-long", stream=stream)
            assert eventually(lambda: bool(vendor.bills) and vendor.bills[0].hung_up, 2.0), "the vendor was not told"
        (row,) = installation.usage("model")
        assert (state_of(row), row["output"]) == ("estimated", 300)


def test_a_drain_has_an_end(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers-long", drain_ms_max=300))
        with installation.serving() as server:
            leave_early(server, vendor, "answers-long", stream=True)
            assert eventually(lambda: vendor.bills[0].hung_up, 3.0)
        (row,) = installation.usage("model")
        assert (state_of(row), row["output"]) == ("estimated", 300)


def leave_early(server: Running, vendor: Vendor, model: str, *, stream: bool) -> None:
    if stream:
        connection, answer = begin(server, model, stream=True, max_completion_tokens=300)
        assert answer.readline().startswith(b"data: ")
        answer.close()
        connection.close()
        return
    body = chat_body(model, max_completion_tokens=300)
    with socket.create_connection(("127.0.0.1", server.port)) as wire:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.key}\r\ncontent-length: {len(body)}\r\n\r\n"
        wire.sendall(head.encode() + body)
        assert eventually(lambda: bool(vendor.bills)), "the vendor was not asked"
