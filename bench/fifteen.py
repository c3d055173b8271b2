"""Fifteen billion tokens a minute: how many pass through one small machine, in the shape in which others publish it.

    make bench-15b              ARGS="--seconds 20 --connections 16"

Prompts of 50,000, 75,000 and 100,000 tokens in thirds, answers of 16 events, half of them streamed: the shape of LiteLLM's published 13.5
billion tokens a minute (docs, October 2026: 132 processors, a mock inside of the gateway's own process). Here there is a real upstream hop
over loopback, to a vendor beside: nginx for whole answers, `bench.vendor` for streams. Governance is on: keys, limits, rules, placement
among 12 pools a model, usage log, pricing, ledger. A token is taken to be 4 bytes of prompt. Load, vendor and gateway share the machine's
cores, so besides what went through in a second the figure to read is the processor time: what the gateway would take of cores of its own.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import machine, tell
from bench.relay import _load, _nginx, _process, settings
from bench.server import Server, free_port, processor_s, serving
from bench.vendor import ANSWER

BYTES_PER_TOKEN = 4
PROMPTS = (50_000, 75_000, 100_000)
WORDS = "A headrace leads water to the wheel, and every token that passes through this one is counted once. "
EVENTS, INTERVAL_MS = 16, 1
TARGET = 15e9


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seconds", type=int, default=20)
    ask.add_argument("--connections", type=int, default=16)
    chosen = ask.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-15b-") as scratch, _field(Path(scratch)) as (server, vendor):
        script = _script(Path(scratch), server.key)
        _load(server.url, script, chosen.connections, 2)  # warm
        before, began = processor_s(server.process.pid), time.perf_counter()
        full = _figures(server.url, script, chosen.connections, chosen.seconds)
        spent_s, took_s = processor_s(server.process.pid) - before, time.perf_counter() - began
        resident_mb = server.resident_mb()
        whole = _script(Path(scratch), server.key, streams=False)
        lone, direct = (_figures(url, whole, 1, 4) for url in (server.url, vendor))
    tokens_per_minute = full["rps"] * sum(PROMPTS) / len(PROMPTS) * 60
    cores = spent_s / took_s
    figures = {
        "tokens_per_minute": round(tokens_per_minute),
        "cpu_cores": round(cores, 2),
        "tokens_per_minute_per_core": round(tokens_per_minute / cores),
        "cores_for_15b": round(TARGET / (tokens_per_minute / cores), 2),
        "cpu_us_per_request": round(spent_s / full["requests"] * 1e6),
        "requests_per_s": round(full["rps"]),
        "refused": full["refused"],
        "added_ms_p50": round(lone["p50"] - direct["p50"], 2),
        "added_ms_p99": round(lone["p99"] - direct["p99"], 2),
        "resident_mb": round(resident_mb),
    }
    tell(
        machine("headrace", "uvloop", "httptools", "msgspec"),
        ("figure", "value"),
        [(name, f"{value:,}") for name, value in figures.items()],
        figures,
    )


@contextmanager
def _field(scratch: Path) -> Iterator[tuple[Server, str]]:
    scratch.chmod(0o755)
    plain, streams, front = free_port(), free_port(), free_port()
    answer = f"default_type application/json; return 200 '{ANSWER}';"
    body = "".join(f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ {answer} }} }}" for port in (plain, front))
    vendors = {"mock": plain, "mock-streams": streams}
    with (
        _nginx(scratch, "vendor", body),
        _process([sys.executable, "-m", "bench.vendor", str(streams), str(EVENTS), str(INTERVAL_MS)]),
        serving(scratch / "headrace", settings(vendors)) as server,
    ):
        time.sleep(1)
        yield server, f"http://127.0.0.1:{front}"


def _script(scratch: Path, key: str, *, streams: bool = True) -> Path:
    """Requests in turn: three sizes of prompt, whole and streamed."""
    bodies = []
    for tokens in PROMPTS:
        size = tokens * BYTES_PER_TOKEN
        text = (WORDS * (size // len(WORDS) + 1))[:size]
        for model, stream in (("mock", False), ("mock-streams", True))[: 1 + streams]:
            asked = {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}], "max_completion_tokens": 16}
            bodies.append(json.dumps(asked))
    listed = ",".join(f"[==[{body}]==]" for body in bodies)
    path = scratch / "load.lua"
    path.write_text(
        f"local bodies = {{{listed}}}\nlocal turn = 0\nlocal made = {{}}\n"
        f'local headers = {{["Content-Type"]="application/json", ["Authorization"]="Bearer {key}"}}\n'
        "function init(args) for i, body in ipairs(bodies) do made[i] = wrk.format('POST', nil, headers, body) end end\n"
        "function request() turn = turn % #made + 1 return made[turn] end\n"
    )
    return path


def _figures(url: str, script: Path, connections: int, seconds: int) -> dict[str, float]:
    """What wrk says, as numbers; times in milliseconds."""
    said = _load(url, script, connections, seconds)
    return {name: _number(value) for name, value in said.items()}


def _number(said: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|)", said)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "": 1.0}[found[2]] if found else 0.0


if __name__ == "__main__":
    main()
