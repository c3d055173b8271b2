"""The llama.cpp backend, over xllamacpp: any architecture, exact counts of cached tokens, alternatives of log probabilities.

llama.cpp batches in a thread of its own; here one Python thread a sequence waits in its blocking call, bounded by the sequences at once,
and the worker is woken through a pipe. Its listener, which can't be left out, is bound to a socket in a private folder and serves the one
thing that the library has no call for: tokenising.
"""

import contextlib
import http.client
import importlib
import json
import os
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from headrace.core.stream import TokenLogprob
from headrace.engine.backend import Produced
from headrace.engine.frames import Sampling, Setup

TOKENIZE_TIMEOUT_S = 60


class Tokenising(http.client.HTTPConnection):
    """HTTP over the private socket."""

    def __init__(self, path: str) -> None:
        super().__init__("engine", timeout=TOKENIZE_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Running:
    """One sequence, as the thread that waits for it sees it."""

    def __init__(self, key: int) -> None:
        self.key, self.cancelled, self.tokens, self.over = key, False, 0, False


class LlamaCpp:
    """A model in llama.cpp's server loop, in this process."""

    def __init__(self, setup: Setup) -> None:
        # libgomp reads nothing else: without it the threads spin at barriers, and collapse when others want a core.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # noqa: TID251 -- in the worker's own environment, before the library loads
        library: Any = importlib.import_module("xllamacpp")
        self._folder = tempfile.TemporaryDirectory(prefix="headrace-")  # mode 0700
        listener = str(Path(self._folder.name) / "listener.sock")
        self._server: Any = library.Server(_parameters(library, setup, listener))
        self._listener = listener
        self._running: dict[int, Running] = {}
        self._threads = ThreadPoolExecutor(setup.sequences_max, thread_name_prefix="sequence")
        self._produced: deque[Produced] = deque()  # bounded by the answers' tokens
        self._bell_out, self._bell_in = os.pipe()
        os.set_blocking(self._bell_in, False)
        self._rung = threading.Lock()  # held while the bell rings

    def tokenize(self, pieces: Sequence[str]) -> list[int]:
        tokens: list[int] = []
        for piece in pieces:
            with contextlib.closing(Tokenising(self._listener)) as connection:  # kept open, it would be closed under us when idle
                asked = json.dumps({"content": piece, "add_special": False, "parse_special": True})
                connection.request("POST", "/tokenize", asked, {"content-type": "application/json"})
                tokens += json.loads(connection.getresponse().read())["tokens"]
        return tokens

    def begin(self, key: int, prompt: Sequence[int], sampling: Sampling, output_max: int) -> int:
        running = self._running[key] = Running(key)
        self._threads.submit(self._work, running, _body(prompt, sampling, output_max))
        return 0  # it says itself with the first token

    def cancel(self, key: int) -> None:
        if running := self._running.pop(key, None):
            running.cancelled = True  # its thread reads it with the next piece of prompt or token, and llama.cpp frees the slot

    def step(self) -> list[Produced]:
        if self._rung.locked():
            os.read(self._bell_out, 1)
            self._rung.release()
        collected = []
        while self._produced:
            produced = self._produced.popleft()
            if produced.key in self._running:
                collected.append(produced)
                if produced.finish or produced.failure:
                    del self._running[produced.key]
        return collected

    def eager(self) -> bool:
        return False

    def wake(self) -> int | None:
        return self._bell_out

    def kv_use(self) -> float:
        return 0.0

    def notes(self) -> list[str]:
        return []

    def _work(self, running: Running, body: dict[str, Any]) -> None:
        """In a thread: one sequence from its first token to its last."""

        def hear(chunk: dict[str, Any]) -> bool:  # what this raises is swallowed by the library, so it raises nothing
            if not running.cancelled and not running.over:
                self._take(running, chunk, body)
            return running.cancelled

        try:
            if not running.cancelled:
                self._server.handle_completions(body, hear)
            if not running.over and not running.cancelled:
                self._say(Produced(running.key, 0, "", failure="llama.cpp ended the answer without a word."))
        except (ValueError, RuntimeError) as failure:
            self._say(_failed(running.key, str(failure), body))

    def _take(self, running: Running, chunk: dict[str, Any], body: dict[str, Any]) -> None:
        if error := chunk.get("error"):
            running.over = True
            self._say(_failed(running.key, str(error.get("message")), body))
            return
        timings, choices = chunk.get("timings") or {}, chunk.get("choices") or []
        if not choices or "predicted_n" not in timings:
            return  # progress in reading the prompt
        done, choice = int(timings["predicted_n"]), choices[0]
        finish = choice.get("finish_reason")
        fresh, running.tokens, running.over = done - running.tokens, done, bool(finish)
        logprobs = _logprobs(choice.get("logprobs"), body["n_probs"] if body["tops"] else 0)
        self._say(Produced(running.key, fresh, choice["text"], logprobs, finish, int(timings["cache_n"])))

    def _say(self, produced: Produced) -> None:
        self._produced.append(produced)
        if self._rung.acquire(blocking=False):
            os.write(self._bell_in, b"!")


def _parameters(library: Any, setup: Setup, listener: str) -> Any:
    chosen = library.CommonParams()
    chosen.model.path = setup.weights
    chosen.hostnames = [listener]
    chosen.n_ctx = setup.kv_tokens
    chosen.kv_unified = True  # one cache for all, not a share each
    chosen.n_parallel = setup.sequences_max
    chosen.n_batch = chosen.n_ubatch = setup.prefill_tokens_max
    chosen.cpuparams.n_threads = setup.threads
    chosen.cpuparams_batch.n_threads = setup.threads
    chosen.n_gpu_layers = 0
    chosen.cache_ram_mib = 0  # it would grow to 8 GB beside the cache
    chosen.verbosity = -1
    chosen.ui = chosen.use_jinja = False
    return chosen


def _body(prompt: Sequence[int], sampling: Sampling, output_max: int) -> dict[str, Any]:
    """llama.cpp's request. Its defaults (top_k 40, min_p 0.05, …) are all overwritten: what the client didn't ask for is off."""
    body: dict[str, Any] = {
        "prompt": list(prompt), "n_predict": output_max, "stream": True, "cache_prompt": True,
        "timings_per_token": True, "return_progress": True,
        "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p,
        "typical_p": 1.0, "repeat_penalty": sampling.repetition_penalty, "repeat_last_n": len(prompt) + output_max,
        "frequency_penalty": sampling.frequency_penalty, "presence_penalty": sampling.presence_penalty,
        "seed": sampling.seed, "ignore_eos": sampling.ignore_end,
        "n_probs": max(1, sampling.logprobs) if sampling.logprobs is not None else 0, "tops": bool(sampling.logprobs),
    }  # fmt: skip
    if sampling.schema:
        body["json_schema"] = json.loads(sampling.schema)
    return body


def _failed(key: int, why: str, body: dict[str, Any]) -> Produced:
    """The request is to blame for its schema; the rest was checked before, so it is our fault."""
    return Produced(key, 0, "", failure=why[:300], blame="request" if "json_schema" in body else "engine")


def _logprobs(said: dict[str, Any] | None, alternatives: int) -> tuple[TokenLogprob, ...]:
    return tuple(
        TokenLogprob(
            each["token"],
            float(each["logprob"]),
            tuple((other["token"], float(other["logprob"])) for other in each["top_logprobs"][:alternatives]),
        )
        for each in (said or {}).get("content") or []
        if each["token"]  # not the one that ends the answer
    )
