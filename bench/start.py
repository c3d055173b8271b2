"""How long a stranger waits: from a fresh clone to the first streamed token, and from start to ready; and what stays resident.

    make bench-start            also runs `make serve` in a fresh clone, with what the package cache holds

The clone is made from this repository's HEAD into a temporary folder, with a new environment and an empty weights cache.
"""

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from bench.machine import machine, tell
from bench.server import Server, free_port, serving

REMOTE = '[[pool]]\nname = "vendor"\nendpoints = ["http://127.0.0.1:1/v1"]\nmodels = { "mock" = "mock" }\n'
ROOT = Path(__file__).parent.parent
CLONE_TIMEOUT_S = 600


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--no-clone", action="store_true", help="leave out the fresh clone")
    ask.add_argument("--rounds", type=int, default=3)
    chosen = ask.parse_args()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="bench-start-") as scratch:
        folder = Path(scratch)
        if not chosen.no_clone:
            figures["clone_to_first_token_s"] = round(_fresh_clone(folder), 1)
        with serving(folder / "warm") as server:
            _first_token_s(server.url, server.key)
        ready = []
        for _ in range(chosen.rounds):
            with serving(folder / "warm") as server:
                ready.append(server.ready_s)
                figures["first_token_s"] = round(_first_token_s(server.url, server.key), 3)
                figures |= _memory(server)
        figures["start_to_ready_s"] = round(sorted(ready)[len(ready) // 2], 2)
        bare = []
        for _ in range(chosen.rounds):
            with serving(folder / "bare", REMOTE) as server:
                bare.append(server.ready_s)
                figures["rss_without_model_mb"] = round(server.resident_mb())
        figures["start_to_ready_without_model_s"] = round(sorted(bare)[len(bare) // 2], 2)
    rows = [(name, value) for name, value in figures.items()]
    tell(machine("headrace", "openvino-genai", "uvloop"), ("figure", "value"), rows, figures)


def _memory(server: Server) -> dict[str, object]:
    return {"rss_with_model_mb": round(server.resident_mb()), "processes": len(server.family())}


def _first_token_s(url: str, key: str) -> float:
    """From the request to the first text of the answer."""
    split = urlsplit(url)
    connection = http.client.HTTPConnection(split.hostname or "", split.port, timeout=120)
    body = {
        "model": "smollm2-135m-instruct",
        "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        "stream": True,
        "max_tokens": 8,
    }
    began = time.perf_counter()
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {key}", "content-type": "application/json"}
    )
    answer = connection.getresponse()
    for line in answer:
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            took = time.perf_counter() - began
            answer.read()
            return took
    raise RuntimeError(f"no token came: {answer.status}")


def _fresh_clone(folder: Path) -> float:
    clone, port = folder / "clone", free_port()
    environ = {**os.environ, "HEADRACE_CACHE": str(folder / "cache"), "HEADRACE_SERVER_PORT": str(port)}
    environ.pop("VIRTUAL_ENV", None)
    began = time.perf_counter()
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    log = (folder / "clone.log").open("wb")
    process = subprocess.Popen(["make", "serve"], cwd=clone, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        key, deadline = clone / ".headrace" / "development.key", began + CLONE_TIMEOUT_S
        while time.perf_counter() < deadline:
            if process.poll() is not None:
                raise RuntimeError((folder / "clone.log").read_text())
            if key.exists() and _is_ready(port):
                _first_token_s(f"http://127.0.0.1:{port}", key.read_text().strip())
                return time.perf_counter() - began
            time.sleep(0.05)
        raise RuntimeError((folder / "clone.log").read_text())
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(clone, ignore_errors=True)


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    main()
