"""kill -9 of the whole server in the middle of load, and SIGTERM in the middle of load: the books against the vendor's own bills.

Clients of several kinds ask a vendor that counts for itself; each request asks for a model of its own, so that `headrace usage --by
model` tells each apart. After each kill the server starts again on what it left behind. In the end, whatever the vendor billed is
confirmed or held, what a client got whole is confirmed to the token, and nothing is there twice.

`KILL9_SEED=…` tries another seed, `KILL9_ROUNDS=…` more of its kills.
"""

import http.client
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from tests.client import Heard, ask, begin, hear_stream
from tests.server import Installation, Running, at_once, eventually, pool, priced
from tests.vendor import Vendor

ROUNDS = int(os.environ.get("KILL9_ROUNDS", "6"))
CLIENTS = 6
BOUND_OUT = 300
SCRIPTS = ("answers", "answers", "answers", "usage-in-last-chunk", "answers-slowly", "answers-slowly", "answers-long", "byte-by-byte")


class Load:
    """Clients who ask until they are stopped or the server is gone, each with a way of its own, and what they heard."""

    def __init__(self, models: Iterator[str], rng: Random) -> None:
        self._models, self._rng, self._lock = models, rng, threading.Lock()
        self.heard: dict[str, Heard] = {}
        self.stop = threading.Event()

    def run(self, server: Running) -> list[threading.Thread]:
        threads = [threading.Thread(target=self._client, args=(server,), daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        return threads

    def _client(self, server: Running) -> None:
        while not self.stop.is_set():
            with self._lock:
                model, way = next(self._models), self._rng.choice(("stream", "stream", "whole", "leave", "leave at once"))
            self.heard[model] = Heard(0, "cut")
            self.heard[model] = heard = _asked(server, model, way)
            if heard.status == 0:
                return


def _asked(server: Running, model: str, way: str) -> Heard:
    if not way.startswith("leave"):
        return ask(server, model, stream=way == "stream", max_completion_tokens=BOUND_OUT)
    heard = Heard(0, "cut")
    try:
        connection, answer = begin(server, model, max_completion_tokens=BOUND_OUT)
        heard.status = answer.status
        heard.end = "left"
        if way == "leave":
            answer.readline()
        answer.close()
        connection.close()
    except (http.client.HTTPException, ConnectionError):
        pass
    return heard


def models() -> list[str]:
    return [f"{SCRIPTS[number % len(SCRIPTS)]}/{number}" for number in range(3_000)]


def check(rows: list[dict[str, Any]], vendor: Vendor, heard: dict[str, Heard]) -> None:
    """Our books against the vendor's."""
    books = {row["model"]: row for row in rows}
    assert len(books) == len(rows)
    for model, bills in vendor.by_model().items():
        assert model in books, f"{model} was billed by the vendor and is not in the books"
        row, tokens_in, tokens_out = books[model], sum(bill.tokens_in for bill in bills), sum(bill.tokens_out for bill in bills)
        assert row["requests"] == 1, f"{model} is there {row['requests']} times"
        assert row["running"] == 0
        if row["lost"] or row["estimated"]:
            assert (row["input"] >= tokens_in, row["output"]) == (True, BOUND_OUT), f"{model} is held below its bound: {row}"
        else:
            assert (row["input"], row["output"]) == (tokens_in, tokens_out), f"{model}: {row}, the vendor billed {bills}"
    for model, one in heard.items():
        if one.status == 200 and one.end == "whole":
            row = books[model]
            assert (row["requests"], row["lost"], row["estimated"]) == (1, 0, 0), f"{model} was heard whole and is not confirmed: {row}"
            assert one.usage is not None
            assert (row["input"], row["output"]) == (one.usage["prompt_tokens"], one.usage["completion_tokens"])
    for model in books.keys() - heard.keys():
        raise AssertionError(f"{model} is in the books and nobody asked for it")


def test_kill_9_of_the_server_loses_nothing_and_doubles_nothing(tmp_path: Path):
    rng, names = Random(int(os.environ.get("KILL9_SEED") or 0)), models()
    following = iter(names)
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, *names, drain_ms_max=2_000) + priced("answers/0"))
        heard: dict[str, Heard] = {}
        for _ in range(ROUNDS):
            server = installation.start()
            load = Load(following, rng)
            clients = load.run(server)
            time.sleep(rng.uniform(0.05, 0.8))
            server.kill()
            load.stop.set()
            for client in clients:
                client.join(10)
            heard |= load.heard
        with installation.serving() as server:
            following_one = next(following)
            heard[following_one] = last = ask(server, following_one, stream=True, max_completion_tokens=BOUND_OUT)
            assert last.end == "whole", "the server serves after all that"
        rows = installation.usage("model")
        check(rows, vendor, heard)
        assert sum(one.end == "whole" for one in heard.values()) > ROUNDS, "the load was no load"
        assert any(row["lost"] for row in rows), "nothing was ever cut short: the kills came too late"
        assert "agree with the usage log" in installation.run("usage", "verify").stdout
        assert installation.usage("model") == rows, "asking twice adds nothing"


def test_sigterm_under_load_finishes_what_runs(tmp_path: Path):
    """Streams that run are finished and settled; new ones are refused; the end is 0."""
    names = models()
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, *names, drain_ms_max=2_000))
        server = installation.start()
        load = Load(iter(names), Random(7))
        clients = load.run(server)
        time.sleep(0.7)
        server.stop()
        load.stop.set()
        for client in clients:
            client.join(10)
        rows = installation.usage("model")
        check(rows, vendor, load.heard)
        assert sum(row["lost"] for row in rows) == 0
        cut = {model: one for model, one in load.heard.items() if one.status == 200 and one.end == "cut"}
        assert not cut, "a stream that ran was not finished"
        assert "agree with the usage log" in installation.run("usage", "verify").stdout
        assert not list((installation.data / "usage").glob("*.active")), "the log is sealed"


def test_sigterm_cuts_what_outlasts_the_deadline(tmp_path: Path):
    """Past server.stop_timeout_s the rest is cut, so that nobody takes it for whole, and settled at its bound; the end is 0."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers-long") + "[server]\nstop_timeout_s = 1\n")
        server = installation.start()
        heard = Heard(200, "cut")

        def listen() -> None:
            connection, answer = begin(server, "answers-long", max_completion_tokens=BOUND_OUT)
            try:
                hear_stream(answer, heard)
            except (http.client.IncompleteRead, ConnectionError):
                pass
            finally:
                connection.close()

        def stop() -> None:
            assert eventually(lambda: bool(vendor.bills))
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < 6

        at_once(listen, stop)
        assert heard.end == "cut"
        (row,) = installation.usage("model")
        assert (row["requests"], row["estimated"], row["lost"], row["running"]) == (1, 1, 0, 0)
        assert row["output"] == BOUND_OUT


def test_a_second_sigterm_does_not_wait(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers-long"))
        server = installation.start()
        connection, answer = begin(server, "answers-long", max_completion_tokens=BOUND_OUT)
        assert answer.readline()
        server.process.terminate()
        time.sleep(0.3)
        assert server.process.poll() is None, "the first one waits for the stream"
        began = time.monotonic()
        server.stop()
        assert time.monotonic() - began < 4
        connection.close()
        answer.close()
        (row,) = installation.usage("model")
        assert (row["estimated"], row["lost"], row["running"]) == (1, 0, 0)
