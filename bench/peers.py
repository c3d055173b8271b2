"""Public gateways and routers beside headrace and nginx, on the same work in one interleaved run.

    sh scripts/peers.sh && python -m bench.peers        installs them in .venv-peers, which takes some minutes and 2 GB; then measures

Optional, and no part of CI. Whichever of them is installed is measured: LiteLLM with a key, Portkey's gateway, `vllm-router` and `smg`.
None of them knows limits, budgets, prices or a ledger in this set-up, all of which are on in headrace. Unstreamed prompts of 2 and 300 KB.
"""

import argparse
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bench.machine import machine, tell
from bench.relay import _load, _nginx, _process, _proxy, _script, settings
from bench.server import free_port, processor_s, serving
from bench.vendor import ANSWER

SECONDS = 4
READY_S = 60.0
INSTALLED = Path(__file__).parent.parent / ".venv-peers"
MODELS = '{"object":"list","data":[{"id":"mock","object":"model","created":1760000000,"owned_by":"vendor"}]}'
LITELLM = """
model_list:
  - model_name: mock
    litellm_params: {{model: openai/mock, api_base: "http://127.0.0.1:{vendor}/v1", api_key: none}}
general_settings: {{master_key: sk-peer}}
"""


class Peer(NamedTuple):
    """A gateway as it is started, and what its clients send beside the request."""

    name: str
    command: Sequence[str]
    port: int
    key: str = "none"
    headers: dict[str, str] = {}  # noqa: RUF012 -- a NamedTuple's default


class Target(NamedTuple):
    name: str
    pid: int
    url: str
    key: str
    headers: dict[str, str]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=3)
    rounds = ask.parse_args().rounds
    seen: dict[tuple[int, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder, ExitStack() as closing:
        targets = list(_targets(Path(folder), closing))
        for size in (2_000, 300_000):
            for _ in range(rounds):
                for target in targets:
                    script = _script(Path(folder), size, target.key, stream=False, headers=target.headers)
                    before = processor_s(target.pid)
                    said = _load(target.url, script, 64 if size < 100_000 else 16, SECONDS)
                    done = int(said["requests"]) - int(said["refused"])
                    seen[size, target.name].append((processor_s(target.pid) - before) / max(done, 1) * 1e6)
    floors = {size: median(each) for (size, name), each in seen.items() if name == "nginx"}
    rows = [
        (f"{size // 1000} KB {name}", f"{median(each):.1f}", f"{median(each) / floors[size]:.1f}") for (size, name), each in seen.items()
    ]
    figures = {f"{name}_us_{size // 1000}k": round(median(each), 1) for (size, name), each in seen.items()}
    tell(machine("headrace"), ("target", "us/request", "x nginx"), rows, figures)


def _targets(scratch: Path, closing: ExitStack) -> Iterator[Target]:
    """All that can be started, running."""
    scratch.chmod(0o755)
    ports = {name: free_port() for name in ("plain", "floor_plain")}
    answer = f"default_type application/json; return 200 '{ANSWER}';"
    models = f"location = /v1/models {{ default_type application/json; return 200 '{MODELS}'; }}"  # smg asks for them
    vendor = f"server {{ listen 127.0.0.1:{ports['plain']} backlog=4096; {models} location / {{ {answer} }} }}"
    closing.enter_context(_nginx(scratch, "vendor", vendor))
    floor = closing.enter_context(_nginx(scratch, "floor", _proxy("plain", ports)))
    yield Target("nginx", floor.pid, f"http://127.0.0.1:{ports['floor_plain']}", "none", {})
    for make in PEERS:
        peer = make(scratch, ports["plain"])
        if not Path(peer.command[0]).exists() or not all(Path(part).exists() for part in peer.command if part.endswith(".js")):
            print(f"{peer.name} is not installed: sh scripts/peers.sh", file=sys.stderr)
            continue
        process = closing.enter_context(_process(peer.command))
        if _ready(peer.port):
            yield Target(peer.name, process.pid, f"http://127.0.0.1:{peer.port}", peer.key, peer.headers)
        else:
            print(f"{peer.name} was not ready after {READY_S:.0f} s", file=sys.stderr)
    server = closing.enter_context(serving(scratch / "headrace", settings({"mock": ports["plain"]})))
    yield Target("headrace", server.process.pid, server.url, server.key, {})


def _ready(port: int) -> bool:
    """It listens and answers something, whatever that is."""
    for _ in range(int(READY_S)):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(1)
    return False


def _litellm(scratch: Path, vendor: int) -> Peer:
    (scratch / "litellm.yaml").write_text(LITELLM.format(vendor=vendor))
    port = free_port()
    command = [str(INSTALLED / "bin" / "litellm"), "--config", str(scratch / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    return Peer("LiteLLM", command, port, "sk-peer")


def _portkey(scratch: Path, vendor: int) -> Peer:
    port, gateway = free_port(), INSTALLED / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    headers = {"x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{vendor}/v1"}
    return Peer("Portkey", ["/usr/bin/env", "node", str(gateway), f"--port={port}", "--headless"], port, headers=headers)


def _router(name: str, *words: str) -> Callable[[Path, int], Peer]:
    def made(scratch: Path, vendor: int) -> Peer:
        port = free_port()
        command = [str(INSTALLED / "bin" / name), *words, "--worker-urls", f"http://127.0.0.1:{vendor}", "--policy", "round_robin"]
        return Peer(name, [*command, "--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())], port)

    return made


PEERS: tuple[Callable[[Path, int], Peer], ...] = (
    _litellm,
    _portkey,
    _router("vllm-router"),
    _router("smg", "launch", "--backend", "openai"),
)

if __name__ == "__main__":
    main()
