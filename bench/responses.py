"""What other dialects cost beside chat: processor time an event, relayed to who speaks the dialect and translated for who does not. And the
lines of a batch a second, and what a kept response takes.

    make bench-responses        ARGS="--seconds 5 --rounds 3"

The vendor sends 100 events a stream, 20 ms apart, in the dialect that it is asked in. Load comes from wrk. Chat is the first row, and what
the others are compared with.
"""

import argparse
import asyncio
import http.client
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.machine import machine, tell
from bench.relay import WORDS, _process
from bench.server import Server, _status_kib, free_port, processor_s, serving
from bench.vendor import EVENTS

CHATS: dict[str, tuple[str, str]] = {
    "chat relayed": ("/v1/chat/completions", "chat"),
    "responses relayed": ("/v1/responses", "responses"),
    "responses translated": ("/v1/responses", "chat"),
    "messages relayed": ("/v1/messages", "messages"),
    "messages translated": ("/v1/messages", "chat"),
}
LINES, KEPT = 2_000, 10_000
POOLS = """
[limits]
requests_per_minute = 0
tokens_per_minute = 0
[[pool]]
name = "chat"
endpoints = ["http://127.0.0.1:{port}/v1"]
models = {{ chat = "mock" }}
concurrency_max = 10000
[[pool]]
name = "responses"
endpoints = ["http://127.0.0.1:{port}/v1"]
models = {{ responses = "mock" }}
responses = true
concurrency_max = 10000
[[pool]]
name = "messages"
dialect = "anthropic"
endpoints = ["http://127.0.0.1:{port}"]
models = {{ messages = "mock" }}
concurrency_max = 10000
[[model]]
name = "chat"
usd_per_mtok = {{ input = "0.20", cached_input = "0.02", output = "1.25" }}
"""


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seconds", type=int, default=6)
    ask.add_argument("--rounds", type=int, default=3)
    chosen = ask.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("bench-responses needs wrk: `make system` installs it on Debian")
    rows: list[tuple[str, ...]] = []
    figures: dict[str, float] = {}
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="bench-responses-") as scratch,
        _process([sys.executable, "-m", "bench.vendor_dialects", str(port)]),
        serving(Path(scratch) / "headrace", POOLS.format(port=port)) as server,
    ):
        time.sleep(1)
        for name, cpu_us, ratio in _events(Path(scratch), server, chosen.rounds, chosen.seconds):
            rows.append((name, f"{cpu_us:.1f} us/event", f"{ratio:.2f}"))
            figures |= {f"cpu_us_{name.replace(' ', '_')}": round(cpu_us, 1), f"ratio_{name.replace(' ', '_')}": round(ratio, 2)}
        lines_per_s = _batch(server)
        kept_s, kib, disk_kib = asyncio.run(_kept(server))
    rows += [
        ("batch", f"{lines_per_s:.0f} lines/s", ""),
        (f"{KEPT} responses kept", f"{kept_s / KEPT * 1e6:.0f} us of processor each", f"{kib} KiB of memory, {disk_kib} KiB on disk"),
    ]
    figures |= {"batch_lines_per_s": round(lines_per_s), "kept_memory_kib": kib, "kept_disk_bytes_each": round(disk_kib * 1024 / KEPT)}
    tell(machine("headrace", "uvloop", "msgspec"), ("what", "costs", "x chat"), rows, figures)


def _events(scratch: Path, server: Server, rounds: int, seconds: int) -> Iterator[tuple[str, float, float]]:
    seen: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, (path, model) in CHATS.items():
            before = processor_s(server.process.pid)
            streams = _load(scratch, server, path, _asked(path, model), seconds)
            seen[name].append((processor_s(server.process.pid) - before) / max(streams * EVENTS, 1) * 1e6)
    for name in CHATS:
        ratios = [mine / chat for mine, chat in zip(seen[name], seen["chat relayed"], strict=True)]
        yield name, statistics.median(seen[name]), statistics.median(ratios)


def _asked(path: str, model: str) -> dict[str, Any]:
    text = (WORDS * 20)[:2_000]
    if path == "/v1/responses":
        return {"model": model, "input": text, "stream": True, "store": False}
    return {"model": model, "messages": [{"role": "user", "content": text}], "stream": True, "max_tokens": 256}


def _load(scratch: Path, server: Server, path: str, asked: dict[str, Any], seconds: int) -> int:
    script = scratch / "load.lua"
    script.write_text(
        'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\n'
        f'wrk.headers["Authorization"]="Bearer {server.key}"\nwrk.body=[==[{json.dumps(asked)}]==]\n'
    )
    command = ["wrk", "-t1", "-c100", f"-d{seconds}s", "--timeout", "30s", "-s", str(script), server.url + path]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout
    found = re.search(r"(\d+) requests in", said)
    if "Non-2xx" in said or found is None:
        sys.exit(f"{path} was refused:\n{said}")
    return int(found[1])


def _batch(server: Server) -> float:
    lines = [
        {
            "custom_id": str(at),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]},
        }
        for at in range(LINES)
    ]
    edge = "edge"
    form = f'--{edge}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--{edge}\r\n'
    form += (
        'content-disposition: form-data; name="file"; filename="x.jsonl"\r\n\r\n'
        + "\n".join(map(json.dumps, lines))
        + f"\r\n--{edge}--\r\n"
    )
    file = _call(server, "POST", "/v1/files", form, f"multipart/form-data; boundary={edge}")["id"]
    began = time.perf_counter()
    made = _call(
        server, "POST", "/v1/batches", json.dumps({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"})
    )
    while (now := _call(server, "GET", f"/v1/batches/{made['id']}"))["status"] != "completed":
        time.sleep(0.1)
    if now["request_counts"]["completed"] != LINES:
        sys.exit(f"the batch did not answer all lines: {now}")
    return LINES / (time.perf_counter() - began)


def _call(server: Server, method: str, path: str, body: str | None = None, kind: str = "application/json") -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request(method, path, body, {"authorization": f"Bearer {server.key}", "content-type": kind})
    told: dict[str, Any] = json.load(connection.getresponse())
    connection.close()
    return told


async def _kept(server: Server) -> tuple[float, int, int]:
    """Processor seconds, memory and disk that so many kept responses take."""
    database = server.folder / "data" / "headrace.sqlite"
    _call(server, "POST", "/v1/responses", json.dumps({"model": "chat", "input": "Hi"}))
    pid, files = server.process.pid, [database, database.with_name(f"{database.name}-wal")]
    before = processor_s(pid), _status_kib(pid, "VmRSS"), sum(file.stat().st_size for file in files)
    body = json.dumps({"model": "chat", "input": (WORDS * 20)[:2_000]})
    await asyncio.gather(*(asyncio.to_thread(_keep_some, server, body, KEPT // 8) for _ in range(8)))
    after = processor_s(pid), _status_kib(pid, "VmRSS"), sum(file.stat().st_size for file in files)
    return after[0] - before[0], after[1] - before[1], (after[2] - before[2]) // 1024


def _keep_some(server: Server, body: str, count: int) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    for _ in range(count):
        connection.request("POST", "/v1/responses", body, {"authorization": f"Bearer {server.key}", "content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"a response was refused with {answer.status}")
    connection.close()


if __name__ == "__main__":
    main()
