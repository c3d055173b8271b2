"""The real program as a process of its own, for benchmarks: started, awaited, stopped by id."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = (sys.executable, "-c", "from headrace.cli import main; main()")


class Server:
    """A running server: where it is, its key, and what it takes of the machine."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, folder: Path, ready_s: float) -> None:
        self.process, self.url, self.folder, self.ready_s = process, url, folder, ready_s

    @property
    def key(self) -> str:
        return (self.folder / "data" / "development.key").read_text().strip()

    def family(self) -> list[int]:
        """The process and all its living descendants."""
        return family(self.process.pid)

    def resident_mb(self) -> float:
        """Resident memory of the family."""
        return sum(_status_kib(pid, "VmRSS") for pid in self.family()) / 1024


@contextmanager
def serving(folder: Path, settings: str = "", environ: Mapping[str, str] | None = None, timeout_s: float = 120) -> Iterator[Server]:
    """Start in `folder` with these settings, wait until requests can be served, and stop at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headrace.toml").write_text(settings)
    port = free_port()
    arguments = ("--config", str(folder / "headrace.toml"), "--data", str(folder / "data"), "serve", "--port", str(port))
    began = time.perf_counter()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen([*COMMAND, *arguments], stdout=log, stderr=log, env={**os.environ, **(environ or {})})
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(url, process, folder, began + timeout_s)
        yield Server(process, url, folder, time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    pids, queue = [], [pid]
    while queue:
        one = queue.pop()
        pids.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            queue.extend(int(child) for child in children.read_text().split())
    return pids


def processor_s(pid: int) -> float:
    """Processor time, user and system, of a process with its threads and descendants."""
    total = 0
    for one in family(pid):
        fields = Path(f"/proc/{one}/stat").read_text().rsplit(") ", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], folder: Path, deadline: float) -> None:
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{(folder / 'server.log').read_text()}")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise RuntimeError(f"the server was not ready in time:\n{(folder / 'server.log').read_text()}")


def _status_kib(pid: int, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
