"""Streams held at once by one process: how many, and what each takes of memory and of processor time.

    make bench-streams          ARGS="--streams 2000"

Opens that many streams of one event every two seconds, holds them for a while, and counts events. Memory is what the server's process has
more than before the first.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

from bench.machine import machine, tell
from bench.relay import _process, settings
from bench.server import _status_kib, free_port, processor_s, serving

BODY = b'{"model": "mock-streams", "stream": true, "messages": [{"role": "user", "content": "hold"}], "max_completion_tokens": 256}'
HOLD_S = 10.0


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--streams", type=int, default=2_000)
    count = ask.parse_args().streams
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8 * count + 1_024)), hard))
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="bench-streams-") as scratch,
        _process([sys.executable, "-m", "bench.vendor", str(port), "1000", "2000"]),
        serving(Path(scratch) / "headrace", settings({"mock-streams": port})) as server,
    ):
        time.sleep(1)
        pid = server.process.pid
        before_kib = _status_kib(pid, "VmRSS")
        held, spent_s = asyncio.run(_hold(server.url, server.key, count, pid))
        kib = _status_kib(pid, "VmRSS") - before_kib
    figures = {
        "streams_held": held,
        "kib_per_stream": round(kib / max(held, 1), 1),
        "cpu_share_while_held": round(spent_s / HOLD_S, 3),
        "worker_mb_before": round(before_kib / 1024),
    }
    tell(machine("headrace", "uvloop"), ("figure", "value"), [(name, str(value)) for name, value in figures.items()], figures)


async def _hold(url: str, key: str, count: int, pid: int) -> tuple[int, float]:
    """Open them, hold them, and say how many are alive at the end, and what that took of the processor meanwhile."""
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
    streams = []
    for start in range(0, count, 100):
        streams += await asyncio.gather(*(_open(host, int(port), head) for _ in range(start, min(start + 100, count))))
    await asyncio.sleep(3)
    before = processor_s(pid)
    await asyncio.sleep(HOLD_S)
    spent_s = processor_s(pid) - before
    alive = sum(not reader.at_eof() for reader, _ in streams)
    for _, writer in streams:
        writer.close()
    return alive, spent_s


async def _open(host: str, port: int, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(head + BODY)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


if __name__ == "__main__":
    main()
