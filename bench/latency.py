"""Latency that headrace adds at half of the load it can take, beside a bare reverse proxy.

    make bench-latency          ARGS="--seconds 10"

Requests of 2 KB leave at a fixed pace, whether or not earlier ones have come back, and each is timed from when it was due: so a stall
counts for all that it delays. The pace is half of what headrace takes with 64 connections; the vendor alone, nginx before it, and
headrace before it take turns. What is added is the difference of the percentiles to the vendor's own.
"""

import argparse
import asyncio
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import uvloop

from bench.machine import machine, tell
from bench.relay import _load, _nginx, _proxy, _script, settings
from bench.server import free_port, serving
from bench.vendor import ANSWER

CONNECTIONS = 64
ROUNDS = 3
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seconds", type=float, default=5.0)
    seconds = ask.parse_args().seconds
    if missing := [program for program in ("nginx", "wrk") if shutil.which(program) is None]:
        sys.exit(f"bench-latency needs {' and '.join(missing)}: `make system` installs them on Debian")
    ports = {name: free_port() for name in ("plain", "floor_plain")}
    answer = f"default_type application/json; return 200 '{ANSWER}';"
    vendor = f"server {{ listen 127.0.0.1:{ports['plain']} backlog=4096; location / {{ {answer} }} }}"
    with tempfile.TemporaryDirectory(prefix="bench-latency-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        with (
            _nginx(scratch, "vendor", vendor),
            _nginx(scratch, "floor", _proxy("plain", ports)),
            serving(scratch / "headrace", settings({"mock": ports["plain"]})) as server,
        ):
            time.sleep(1)
            script = _script(scratch, 2_000, server.key, stream=False)
            most = float(_load(server.url, script, CONNECTIONS, 3)["rps"])
            targets = {"vendor": ports["plain"], "nginx": ports["floor_plain"], "headrace": int(server.url.rpartition(":")[2])}
            found = _rounds(targets, _request(script, server.key), most / 2, seconds)
    rows = [
        (name, *(f"{p:.2f} ms" for p in each), *(f"{a - b:.2f} ms" for a, b in zip(each, found["vendor"], strict=True)))
        for name, each in found.items()
    ]
    figures = {"requests_per_s": round(most / 2)} | {
        f"added_ms_{p}_{name}": round(found[name][at] - found["vendor"][at], 2)
        for name in ("nginx", "headrace")
        for at, p in ((0, "p50"), (1, "p99"))
    }
    tell(machine("headrace", "uvloop"), ("target", "p50", "p99", "added p50", "added p99"), rows, figures)


def _request(script: Path, key: str) -> bytes:
    """The request that the load's script sends, as bytes."""
    body = script.read_text().partition("wrk.body=[==[")[2].partition("]==]")[0].encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _rounds(targets: Mapping[str, int], request: bytes, pace: float, seconds: float) -> dict[str, tuple[float, float]]:
    """The median over the rounds of each target's median and 99th percentile, in milliseconds."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, port in targets.items():
            took = sorted(uvloop.run(_paced(port, request, pace, seconds)))
            seen[name].append((took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3))
    return {name: (statistics.median(p50 for p50, _ in each), statistics.median(p99 for _, p99 in each)) for name, each in seen.items()}


class _Client(asyncio.Protocol):
    """One connection: a request is out, or it is free."""

    def __init__(self, pacer: "_Pacer") -> None:
        self._pacer, self._held, self._due = pacer, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pacer.free(self)

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, end, body = self._held.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        assert head.startswith(b"HTTP/1.1 200"), head
        self._held = b""
        self._pacer.took.append(time.perf_counter() - self._due)
        self._pacer.free(self)


class _Pacer:
    """Whose turn it is: requests that are due wait for a free connection, and their time runs."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._free: list[_Client] = []
        self._due: deque[float] = deque()
        self.took: list[float] = []

    def free(self, client: _Client) -> None:
        if self._due:
            client.ask(self._request, self._due.popleft())
        else:
            self._free.append(client)

    def send(self, due: float) -> None:
        if self._free:
            self._free.pop().ask(self._request, due)
        else:
            self._due.append(due)


async def _paced(port: int, request: bytes, pace: float, seconds: float) -> list[float]:
    loop, pacer = asyncio.get_running_loop(), _Pacer(request)
    clients = [await loop.create_connection(lambda: _Client(pacer), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    began, sent = time.perf_counter(), 0
    while (now := time.perf_counter()) < began + seconds:
        while began + sent / pace <= now:
            pacer.send(began + sent / pace)
            sent += 1
        await asyncio.sleep(max(began + sent / pace - time.perf_counter(), 0))
    await asyncio.sleep(0.5)
    for transport, _ in clients:
        transport.close()
    return pacer.took[len(pacer.took) // 10 :]


if __name__ == "__main__":
    main()
