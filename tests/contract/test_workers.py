"""Several workers with the embedded model: one engine for all of them, whoever of them dies, and books in which everything is once."""

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import Heard, ask, begin, hear_stream
from tests.processes import children, command, need_processes, sockets
from tests.server import START_WITH_MODEL_S, Installation, Running, at_once, eventually
from tests.unit.engine.test_gguf import model

pytestmark = pytest.mark.engine

MODEL = "smollm2-135m-instruct"
EMBEDDINGS = "all-minilm-l6-v2"
BOUND = 200
LONG: dict[str, Any] = {"max_completion_tokens": BOUND, "ignore_eos": True}
SETTINGS = """
[server]
workers = 2

[engine]
kv_cache_mb = 256
"""


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    need_processes()
    return Installation(tmp_path, SETTINGS)


@pytest.fixture
def server(place: Installation) -> Iterator[Running]:
    with place.serving(within_s=START_WITH_MODEL_S) as running:
        yield running


# The processes.


class Family:
    """The processes of one server as they are now: the one that runs the engine, and the workers."""

    def __init__(self, server: Running) -> None:
        forked = [pid for pid in children(server.process.pid) if "headrace.storage" not in command(pid)]
        self.engines = [pid for pid in forked if any("headrace.engine" in command(child) for child in children(pid))]
        self.workers = [pid for pid in forked if pid not in self.engines]


class Streams:
    """Clients who each hear a long stream, in threads of their own."""

    def __init__(self, server: Running, count: int) -> None:
        self.heard = [Heard(0, "cut") for _ in range(count)]
        self.begun = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._hear, args=(server, heard), daemon=True) for heard in self.heard]
        for thread in self._threads:
            thread.start()
        for _ in range(count):
            assert self.begun.acquire(timeout=60), "a stream did not begin"

    def _hear(self, server: Running, heard: Heard) -> None:
        try:
            connection, answer = begin(server, MODEL, **LONG)
            heard.status = answer.status
            answer.readline()
        finally:
            self.begun.release()
        try:
            hear_stream(answer, heard)
        except (http.client.HTTPException, ConnectionError):
            heard.end = "cut"
        finally:
            connection.close()

    def ends(self) -> Counter[str]:
        """How they ended, once they all have."""
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a stream never ends"
        return Counter(heard.end for heard in self.heard)


def embed(server: Running, *texts: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
        connection.request("POST", "/v1/embeddings", json.dumps({"model": EMBEDDINGS, "input": texts}), headers)
        said: dict[str, Any] = json.loads(connection.getresponse().read())
        return said
    finally:
        connection.close()


def booked(place: Installation, model: str = MODEL) -> dict[str, Any]:
    rows = [row for row in place.usage("model") if row["model"] == model]
    assert len(rows) == 1
    return rows[0]


def answers_again(server: Running) -> int:
    """How many requests it took until one was answered."""
    tries = 0

    def answered() -> bool:
        nonlocal tries
        tries += 1
        return ask(server, MODEL, max_completion_tokens=4).end == "whole"

    assert eventually(answered, 60, every_s=0.2), server.said
    return tries


# What they do.


def test_all_workers_ask_one_engine(place: Installation, server: Running):
    """Streamed, whole and embedded from many connections at once: whoever is asked, the answer is right and booked once."""
    heard: list[Heard] = []
    vectors: list[dict[str, Any]] = []

    def chats(stream: bool) -> None:
        for _ in range(3):
            heard.append(ask(server, MODEL, stream=stream, max_completion_tokens=8, ignore_eos=True, temperature=0))

    def embeds() -> None:
        vectors.extend(embed(server, "a river", "a mill") for _ in range(3))

    at_once(*[lambda: chats(True), lambda: chats(False), embeds] * 4)
    family = Family(server)
    assert (len(family.engines), len(family.workers)) == (1, 2)
    models = [command(pid) for pid in children(family.engines[0])]
    assert sum("headrace.engine.worker" in model for model in models) == 1, "the model is in memory once"
    assert not any(children(worker) for worker in family.workers)
    assert len(heard) == 24
    assert {(one.end, one.text) for one in heard} == {("whole", heard[0].text)}
    assert len({json.dumps(one["data"]) for one in vectors}) == 1
    row = booked(place)
    assert (row["requests"], row["estimated"], row["lost"]) == (24, 0, 0)
    assert row["output"] == sum(one.usage["completion_tokens"] for one in heard if one.usage is not None) == 24 * 8
    row = booked(place, EMBEDDINGS)
    assert (row["requests"], row["input"]) == (12, sum(one["usage"]["total_tokens"] for one in vectors))
    assert server.get("/readyz")[0] == 200
    assert eventually(lambda: server.metric("headrace_engine_generation_tokens_total") == 24 * 8), "each worker knows what the engine did"


def test_who_leaves_pays_what_was_made(place: Installation, server: Running):
    for lines in (0, 1, 7):
        connection, answer = begin(server, MODEL, **LONG)
        for _ in range(lines):
            answer.readline()
        answer.close()
        connection.close()
    assert eventually(lambda: booked(place)["requests"] == 3 and not booked(place)["running"])
    row = booked(place)
    assert (row["estimated"], row["lost"]) == (0, 0), "what was made is known to the token"
    assert 0 < row["output"] < 3 * BOUND
    assert row["input"]
    assert eventually(lambda: server.metric("headrace_engine_requests_running") == 0), "the engine works for nobody"


def test_a_worker_is_killed_while_it_streams(place: Installation, server: Running):
    family = Family(server)
    streams = Streams(server, 8)
    killed = min(family.workers, key=sockets)  # the system shares connections out, now and then all to one
    os.kill(killed, signal.SIGKILL)
    ends = streams.ends()
    assert set(ends) <= {"cut", "whole"}
    assert ends["whole"], "the other worker's streams went on"
    answers_again(server)
    assert eventually(lambda: len(Family(server).workers) == 2)
    assert Family(server).engines == family.engines, "the engine did not notice"
    assert killed not in Family(server).workers
    assert eventually(lambda: server.metric("headrace_engine_requests_running") == 0), "what the dead worker had asked was given up"
    assert eventually(lambda: not booked(place)["running"])
    row = booked(place)
    assert row["lost"] == ends["cut"], "only what the dead worker worked on is held at its bound"
    whole = [one.usage["completion_tokens"] for one in streams.heard if one.usage is not None]
    assert len(whole) == ends["whole"]
    assert sum(whole) + ends["cut"] * BOUND < row["output"] <= sum(whole) + ends["cut"] * BOUND + 4 * 8


def test_the_engines_process_is_killed(place: Installation, server: Running):
    family = Family(server)
    streams = Streams(server, 4)
    before = children(family.engines[0])
    os.kill(family.engines[0], signal.SIGKILL)
    assert streams.ends() == {"engine_failed": 4}, "who heard something is told that it broke"
    refused = ask(server, MODEL, max_completion_tokens=4)
    if refused.end != "whole":  # else it is back already
        assert refused.status in (502, 503)
        assert "retry-after-ms" in refused.headers
    tries = answers_again(server)
    after = Family(server)
    assert after.workers == family.workers, "no worker was harmed"
    assert after.engines
    assert after.engines != family.engines
    assert not any("headrace" in command(pid) for pid in before), "the model's own process ended with it"
    assert eventually(lambda: server.get("/readyz")[0] == 200)
    assert eventually(lambda: not booked(place)["running"])
    row = booked(place)
    assert (row["estimated"], row["lost"]) == (0, 0)
    assert 5 <= row["requests"] <= 5 + tries
    assert 4 < row["output"] < 4 * BOUND
    assert eventually(lambda: "data" in embed(server, "a river")), "the other model is back, too"


def test_a_stop_lets_answers_end(place: Installation):
    with place.serving(within_s=START_WITH_MODEL_S) as server:
        streams = Streams(server, 4)
        server.stop(90)  # four long answers, on a machine with other work
        assert streams.ends() == {"whole": 4}
    assert booked(place)["output"] == 4 * BOUND
    assert not list(place.data.glob("*.sock"))
    assert "error" not in server.said.lower(), server.said


def test_the_first_process_is_killed(place: Installation):
    """The workers end what they began, and then everybody is gone."""
    with place.serving(within_s=START_WITH_MODEL_S) as server:
        family = Family(server)
        everybody = [*children(server.process.pid), *children(family.engines[0])]
        streams = Streams(server, 4)
        server.kill()
        assert streams.ends() == {"whole": 4}
        assert eventually(lambda: not any("headrace" in command(pid) for pid in everybody), 20), "nobody is left behind"
    with place.serving(within_s=START_WITH_MODEL_S) as server:
        assert ask(server, MODEL, max_completion_tokens=4, ignore_eos=True).end == "whole"
    row = booked(place)
    assert (row["requests"], row["output"], row["lost"], row["estimated"]) == (5, 4 * BOUND + 4, 0, 0)


def test_a_model_that_cannot_be_loaded(place: Installation):
    """Its head can be read, and no backend knows it: the process of the engine finds out, and the whole server says so."""
    (place.folder / "strange.gguf").write_bytes(model("strange"))
    began = time.monotonic()
    ended = place.run("serve", "--port", "0", "--weights", "strange.gguf", expect=1)
    assert "strange.gguf" in ended.stdout + ended.stderr
    assert "cannot be loaded" in ended.stdout + ended.stderr
    assert time.monotonic() - began < 40
    assert not list(place.data.glob("*.sock"))
