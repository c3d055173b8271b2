"""Processor time of a governed request beside a bare reverse proxy, in one interleaved run.

    make bench-relay            ARGS="--shapes 2k,sse --rounds 5"

On loopback it starts a vendor (nginx with a fixed chat completion, and `bench.vendor` for streams), the floor (nginx as a reverse proxy
to either), the least that Python needs to pass a request on (`bench.bare`), and headrace with everything on: keys, limits, a hard budget,
rules, placement among 12 pools a model, usage log, pricing, ledger. The load comes from wrk. The figure is processor time, user and
system, of a target with all its processes, since on a shared machine that moves less than seconds do; what to quote is the ratio to the
floor, taken round by round. Needs nginx and wrk (`make system`).
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.machine import machine, tell
from bench.server import free_port, processor_s, serving
from bench.vendor import ANSWER, EVENTS

NO_HEADERS: Mapping[str, str] = {}
POOLS = 12
"""For each kind of vendor, so that each request is placed among so many."""
HEAD = """
[limits]
requests_per_minute = 1_000_000_000
tokens_per_minute = 1_000_000_000_000
[telemetry]
access_log = false
[[rule]]
name = "nobody's"
organization = "nobody"
jurisdictions = ["eu"]
[[budget]]
name = "everybody"
usd = "1000000000"
period = "month"
"""
POOL = """
[[pool]]
name = "{model}-{number}"
endpoints = ["http://127.0.0.1:{port}/v1"]
models = {{ "{model}" = "{model}" }}
"""
PRICE = """
[[model]]
name = "{model}"
usd_per_mtok = {{ input = "2.50", cached_input = "0.25", output = "15.00" }}
"""
NGINX = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.err crit;
events {{ worker_connections 8192; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; client_body_buffer_size 1m; client_max_body_size 64m;
  client_body_temp_path {folder}/{name}.b; proxy_temp_path {folder}/{name}.p; fastcgi_temp_path {folder}/{name}.f;
  uwsgi_temp_path {folder}/{name}.u; scgi_temp_path {folder}/{name}.s;
  {body}
}}
"""
WORDS = "A headrace leads water to the wheel, and every token that passes through this one is counted once. "


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--shapes", default="2k,24k,300k,sse")
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--seconds", type=int, default=4)
    chosen = ask.parse_args()
    if missing := [program for program in ("nginx", "wrk") if shutil.which(program) is None]:
        sys.exit(f"bench-relay needs {' and '.join(missing)}: `make system` installs them on Debian")
    rows: list[tuple[str, ...]] = []
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-relay-") as scratch, _field(Path(scratch)) as (targets, key):
        for shape in chosen.shapes.split(","):
            for name, cpu_us, ratio, load in _measure(Path(scratch), shape, targets, key, chosen.rounds, chosen.seconds):
                unit = "event" if shape == "sse" else "request"
                rows.append(
                    (f"{shape} {name}", f"{cpu_us:.1f} us/{unit}", f"{ratio:.2f}", load["rps"], load["p50"], load["p99"], load["refused"])
                )
                if name == "headrace":
                    figures |= {f"ratio_{shape}": round(ratio, 2), f"cpu_us_{shape}": round(cpu_us, 1)}
    tell(
        machine("headrace", "uvloop", "httptools", "msgspec"),
        ("shape", "processor", "x nginx", "req/s", "p50", "p99", "refused"),
        rows,
        figures,
    )


@contextmanager
def _field(scratch: Path) -> Iterator[tuple[dict[str, tuple[int, dict[bool, str]]], str]]:
    """Vendor, floor and headrace, running: each target's process and its address for plain requests and for streams."""
    scratch.chmod(0o755)
    ports = {name: free_port() for name in ("plain", "streams", "floor_plain", "floor_streams", "bare")}
    answer = f"default_type application/json; return 200 '{ANSWER}';"
    plain = f"server {{ listen 127.0.0.1:{ports['plain']} backlog=4096; location / {{ {answer} }} }}"
    with (
        _nginx(scratch, "vendor", plain),
        _process([sys.executable, "-m", "bench.vendor", str(ports["streams"])]),
        _nginx(scratch, "floor", _proxy("plain", ports) + _proxy("streams", ports)) as floor,
        _process([sys.executable, "-m", "bench.bare", *(str(ports[name]) for name in ("bare", "plain", "streams"))]) as bare,
        serving(scratch / "headrace", settings({"mock": ports["plain"], "mock-streams": ports["streams"]})) as server,
    ):
        time.sleep(1)
        floors = {False: f"http://127.0.0.1:{ports['floor_plain']}", True: f"http://127.0.0.1:{ports['floor_streams']}"}
        yield (
            {
                "nginx": (floor.pid, floors),
                "bare Python": (bare.pid, dict.fromkeys((False, True), f"http://127.0.0.1:{ports['bare']}")),
                "headrace": (server.process.pid, dict.fromkeys((False, True), server.url)),
            },
            server.key,
        )


def settings(vendors: dict[str, int]) -> str:
    """Everything on: limits, rules, prices, and for each model a dozen pools at its vendor's port."""
    pools = [POOL.format(model=model, port=port, number=number) for model, port in vendors.items() for number in range(POOLS)]
    return "".join((HEAD, *pools, *(PRICE.format(model=model) for model in vendors)))


def _proxy(kind: str, ports: dict[str, int]) -> str:
    buffering = "off" if kind == "streams" else "on"
    return f"""
      upstream {kind} {{ server 127.0.0.1:{ports[kind]}; keepalive 1024; keepalive_requests 100000000; }}
      server {{ listen 127.0.0.1:{ports[f"floor_{kind}"]} backlog=4096; location / {{ proxy_pass http://{kind}; proxy_http_version 1.1;
        proxy_set_header Connection ""; proxy_buffering {buffering}; }} }}"""


def _nginx(scratch: Path, name: str, body: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    conf = scratch / f"{name}.conf"
    conf.write_text(NGINX.format(folder=scratch, name=name, body=body))
    return _process(["nginx", "-c", str(conf), "-e", str(scratch / f"{name}.err")])


@contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _measure(
    scratch: Path, shape: str, targets: dict[str, tuple[int, dict[bool, str]]], key: str, rounds: int, seconds: int
) -> Iterator[tuple[str, float, float, dict[str, str]]]:
    stream = shape == "sse"
    size = 2_000 if stream else int(shape.removesuffix("k")) * 1_000
    connections = 400 if stream else 16 if size > 100_000 else 64
    script = _script(scratch, size, key, stream=stream)
    seen: dict[str, list[float]] = defaultdict(list)
    last: dict[str, dict[str, str]] = {}
    for _ in range(rounds):
        for name, (pid, urls) in targets.items():
            before = processor_s(pid)
            last[name] = _load(urls[stream], script, connections, max(seconds, 7) if stream else seconds)
            things = int(last[name]["requests"]) * (EVENTS + 2 if stream else 1)
            seen[name].append((processor_s(pid) - before) / max(things, 1) * 1e6)
    for name in targets:
        ratios = [mine / floor for mine, floor in zip(seen[name], seen["nginx"], strict=True)]
        yield name, statistics.median(seen[name]), statistics.median(ratios), last[name]


def _script(scratch: Path, size: int, key: str, *, stream: bool, headers: Mapping[str, str] = NO_HEADERS) -> Path:
    text = (WORDS * (size // len(WORDS) + 1))[:size]
    asked = {
        "model": "mock-streams" if stream else "mock",
        "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": text}],
        "stream": stream,
        "max_completion_tokens": 256,
        **({"stream_options": {"include_usage": True}} if stream else {}),
    }
    path = scratch / "load.lua"
    more = "".join(f'wrk.headers["{name}"]="{value}"\n' for name, value in headers.items())
    path.write_text(
        f'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\n{more}'
        f'wrk.headers["Authorization"]="Bearer {key}"\nwrk.body=[==[{json.dumps(asked)}]==]\n'
    )
    return path


def _load(url: str, script: Path, connections: int, seconds: int) -> dict[str, str]:
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "30s",
        "--latency",
        "-s",
        str(script),
        f"{url}/v1/chat/completions",
    ]
    said = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=True).stdout

    def found(pattern: str, otherwise: str) -> str:
        match = re.search(pattern, said, re.MULTILINE)
        return match[1] if match else otherwise

    return {
        "requests": found(r"(\d+) requests in", "0"),
        "rps": found(r"Requests/sec:\s+([\d.]+)", "0"),
        "p50": found(r"^\s+50%\s+(\S+)", "-"),
        "p99": found(r"^\s+99%\s+(\S+)", "-"),
        "refused": found(r"Non-2xx or 3xx responses: (\d+)", "0"),
    }


if __name__ == "__main__":
    main()
