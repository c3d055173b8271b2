"""Clients and frameworks that nobody here wrote, in an environment of their own (`scripts/environment.sh clients`), against our server."""

import os
import subprocess
from pathlib import Path

from tests.needs import missing
from tests.server import Running

ENVIRONMENT = Path(__file__).parents[1] / ".venv-clients"
FRAMEWORKS = Path(__file__).parent / "frameworks"


def need_others() -> None:
    if not (ENVIRONMENT / ".installed").exists():
        missing("the clients and frameworks of others are not installed: sh scripts/environment.sh clients (400 MB)")


def run(server: Running, *command: str, folder: Path = FRAMEWORKS) -> str:
    """What a program of that environment says, which must end with 0."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST"))}
    ended = subprocess.run(
        [str(ENVIRONMENT / "bin" / command[0]), *command[1:]],
        cwd=folder,
        env={**environment, "HEADRACE_URL": server.url, "HEADRACE_KEY": server.key},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert ended.returncode == 0, ended.stdout[-8_000:] + ended.stderr[-2_000:]
    return ended.stdout


def suite_passes(server: Running, suite: str) -> None:
    """A suite of that environment, by its own pytest."""
    loops = [part for one in ("test", "fixture") for part in ("-o", f"asyncio_default_{one}_loop_scope=session")]
    options = ["-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(FRAMEWORKS), "--confcutdir", str(FRAMEWORKS)]
    said = run(server, "python", "-m", "pytest", *options, "-o", "asyncio_mode=auto", *loops, suite)
    assert " passed" in said
