"""The real program, started as a person starts it: a folder with settings and data, commands in it, a server that runs and ends.

Nothing of headrace is imported here: what these helpers know is what a stranger knows, its command line, its output and its port.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from tests import forks

PROGRAM = (sys.executable, "-c", "from headrace.cli import main; main()")
START_S = 20.0
START_WITH_MODEL_S = 100.0
COMMAND_S = 60.0
READY = re.compile(r"is ready at\s+(http://\S+:\d+)/v1")
KEY = re.compile(r"sk-hr-[A-Za-z0-9_-]{30,}")
Got = TypeVar("Got")


class Running:
    """One server process, ready to be asked."""

    def __init__(self, process: "subprocess.Popen[bytes] | forks.Forked", folder: Path, said: Path) -> None:
        self.process, self.folder, self._said = process, folder, said
        self.url = ""

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def key(self) -> str:
        """The development key, as the data folder keeps it."""
        return (self.folder / ".headrace" / "development.key").read_text().strip()

    @property
    def said(self) -> str:
        """All that the process has written to the terminal so far."""
        return self._said.read_text()

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a plain GET with the development key."""
        request = urllib.request.Request(self.url + path, headers={"authorization": f"Bearer {self.key}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as wrong:
            with wrong:
                return wrong.code, wrong.read()

    def metric(self, name: str) -> float:
        """The sum of a metric's samples."""
        lines = self.get("/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[{{ ]", line))

    def stop(self, timeout_s: float = 30.0) -> None:
        """SIGTERM, as a service manager stops it. It must end with 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout_s)
        assert code == 0, f"the server ended with {code} after SIGTERM:\n{self.said}"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)


class Installation:
    """A folder with a headrace.toml and its data. Commands run in it; a server can be started in it, again and again."""

    def __init__(self, folder: Path, settings: str = "", environment: Mapping[str, str] | None = None, *, forked: bool = True) -> None:
        """`forked`: servers, too, begin as forks of a process that has imported the program, as commands do (see forks.py); else as
        a person starts them, which costs a second of imports."""
        self.folder, self._forked = folder, forked
        folder.mkdir(parents=True, exist_ok=True)
        if settings:
            (folder / "headrace.toml").write_text(settings)
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_SERVER", "HEADRACE_STORAGE", "OPENAI_"))
        }
        self.environment = {**kept, "COLUMNS": "200", **(environment or {})}
        self._starts = 0

    @property
    def data(self) -> Path:
        return self.folder / ".headrace"

    def run(self, *arguments: str, expect: int | None = 0, timeout_s: float = COMMAND_S) -> "subprocess.CompletedProcess[str]":
        """One command to its end, which must be `expect`; None: whatever it ends with."""
        ended = forks.run(arguments, cwd=self.folder, env=self.environment, timeout=timeout_s)
        assert expect is None or ended.returncode == expect, f"{arguments} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        return ended

    def usage(self, *by: str) -> list[dict[str, Any]]:
        """The rows of `headrace usage --format json`, grouped by `by`."""
        grouping = [part for dimension in by for part in ("--by", dimension)]
        rows: list[dict[str, Any]] = json.loads(self.run("usage", *grouping, "--format", "json").stdout)
        return rows

    def begin(self, *arguments: str) -> Running:
        """Start a server and return at once."""
        self._starts += 1
        said = self.folder / f"said-{self._starts}.txt"
        with said.open("wb") as terminal:
            process = self._process(("serve", "--port", "0", *arguments), terminal.fileno())
        return Running(process, self.folder, said)

    def _process(self, arguments: tuple[str, ...], terminal: int) -> "subprocess.Popen[bytes] | forks.Forked":
        if self._forked:
            return forks.Forked(arguments, cwd=self.folder, env=self.environment, out=terminal, err=terminal)
        return subprocess.Popen(
            (*PROGRAM, *arguments),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.STDOUT,
        )

    def start(self, *arguments: str, within_s: float = START_S) -> Running:
        """Start a server and wait until it says that it is ready, and is."""
        running = self.begin(*arguments)
        try:
            found = eventually(lambda: running.process.poll() is not None or READY.search(running.said), within_s)
            assert isinstance(found, re.Match), f"the server did not start:\n{running.said}"
            running.url = found[1]
            assert running.get("/readyz")[0] == 200
        except BaseException:
            running.kill()
            raise
        return running

    @contextmanager
    def serving(self, *arguments: str, within_s: float = START_S) -> Iterator[Running]:
        """A server for as long as the block lasts, stopped by SIGTERM at its end unless it has ended by then."""
        running = self.start(*arguments, within_s=within_s)
        try:
            yield running
            if running.process.poll() is None:
                running.stop()
        finally:
            if running.process.poll() is None:
                running.kill()


def eventually(look: Callable[[], Got], within_s: float = 10.0, every_s: float = 0.02) -> Got:
    """What `look` returns as soon as that is true; at the end of the time, whatever it is then."""
    deadline = time.monotonic() + within_s
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(every_s)
    return found


def at_once(*works: Callable[[], object], within_s: float = 60.0) -> None:
    """Run all of them, each in a thread of its own; the first failure is raised when all have ended."""
    failures: list[BaseException] = []

    def guarded(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as failure:  # noqa: BLE001 -- handed to the test's own thread
            failures.append(failure)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    deadline = time.monotonic() + within_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    assert not any(thread.is_alive() for thread in threads), f"still at work after {within_s} s"


def pool(name: str, url: str, *models: str, **more: str | int | bool | list[str]) -> str:
    """The TOML of a pool at a scripted vendor, under the vendor's own names of the models."""
    named = ", ".join(f'"{model}" = "{model}"' for model in models)
    lines = [f"{field} = {json.dumps(value)}" for field, value in more.items()]
    return "\n".join(("[[pool]]", f'name = "{name}"', f'endpoints = ["{url}"]', f"models = {{ {named} }}", *lines, "\n"))


def priced(*models: str) -> str:
    """The TOML that gives each model the same price: 1 USD a million tokens in, 4 out."""
    rows = [f'[[model]]\nname = "{model}"\nusd_per_mtok = {{ input = "1", cached_input = "0.1", output = "4" }}\n' for model in models]
    return "\n".join(rows)


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A server of the standard library on a port of its own, which is what the block gets, for as long as it lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
