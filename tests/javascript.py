"""The official client of JavaScript against a server: a script of Node beside the packages that `make system` put on this machine."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.needs import missing, need
from tests.server import Running


def told(script: str, server: Running, folder: Path, *packages: str) -> dict[str, Any]:
    """What `script` prints as JSON, run in `folder` with the server's base URL and key; it may import openai, and `packages`."""
    node = need("node")
    root = subprocess.run([need("npm"), "root", "-g"], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    for package in ("openai", *packages):
        if not Path(root, package).is_dir():
            missing(f"the npm package {package} is not installed: make system, or npm install -g {package}")
    (folder / "ask.mjs").write_text(script)
    (folder / "node_modules").symlink_to(root)
    ran = subprocess.run(
        [node, "ask.mjs", server.base_url, server.key], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout)
    return said
