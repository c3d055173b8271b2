"""A public router beside headrace and nginx, on the same work in one interleaved run: `python -m bench.peers PATH_OF_VLLM_ROUTER`.

Optional, and no part of CI: `sh scripts/routers.sh` installs it as `.venv-routers/bin/vllm-router`. It relays and balances; it knows
no keys, limits, prices or records. Unstreamed prompts of 2 and 300 KB.
"""

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import median

from bench.machine import machine, tell
from bench.relay import _load, _nginx, _process, _proxy, _script, settings
from bench.server import free_port, processor_s, serving
from bench.vendor import ANSWER

ROUNDS, SECONDS = 3, 4


def main(router: str) -> None:
    ports = {name: free_port() for name in ("plain", "floor_plain", "router", "metrics")}
    answer = f"default_type application/json; return 200 '{ANSWER}';"
    vendor = f"server {{ listen 127.0.0.1:{ports['plain']} backlog=4096; location / {{ {answer} }} }}"
    command = [router, "--worker-urls", f"http://127.0.0.1:{ports['plain']}", "--policy", "round_robin", "--host", "127.0.0.1"]
    command += ["--port", str(ports["router"]), "--prometheus-port", str(ports["metrics"])]
    seen: dict[tuple[int, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="bench-peers-") as folder:
        scratch = Path(folder)
        scratch.chmod(0o755)
        with (
            _nginx(scratch, "vendor", vendor),
            _nginx(scratch, "floor", _proxy("plain", ports)) as floor,
            _process(command) as beside,
            serving(scratch / "headrace", settings({"mock": ports["plain"]})) as server,
        ):
            time.sleep(3)
            targets = {
                "nginx": (floor.pid, f"http://127.0.0.1:{ports['floor_plain']}"),
                "vllm-router": (beside.pid, f"http://127.0.0.1:{ports['router']}"),
                "headrace": (server.process.pid, server.url),
            }
            for size in (2_000, 300_000):
                script = _script(scratch, size, server.key, stream=False)
                for _ in range(ROUNDS):
                    for name, (pid, url) in targets.items():
                        before = processor_s(pid)
                        done = int(_load(url, script, 64 if size < 100_000 else 16, SECONDS)["requests"])
                        seen[size, name].append((processor_s(pid) - before) / max(done, 1) * 1e6)
    rows = [(f"{size // 1000} KB {name}", f"{median(each):.1f}") for (size, name), each in seen.items()]
    tell(
        machine("headrace"),
        ("target", "us/request"),
        rows,
        {f"{name}_us_{size // 1000}k": round(median(each), 1) for (size, name), each in seen.items()},
    )


if __name__ == "__main__":
    main(sys.argv[1])
