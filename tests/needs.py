"""What a test needs beside Python: a program, a platform, the embedded engine. Without it the test is skipped, with the reason.

In CI (`CI=true`) nothing may be missing, since `make system` and `scripts/environment.sh` install it there: a skip for such a reason is a
failure. So a test that silently stops running is noticed on the day.
"""

import os
import shutil
import sys
from functools import cache
from typing import NoReturn

import pytest

from headrace.sandbox import Level, try_level

PACKAGES = {
    "nginx": "nginx-light",
    "wrk": "wrk",
    "promtool": "prometheus",
    "curl": "curl",
    "node": "nodejs",
    "npm": "npm",
    "hledger": "hledger",
    "chromium": "chromium",
}
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def need(program: str) -> str:
    """The path of `program`; skips the test when this machine has none, and fails it in CI."""
    found = shutil.which(program, path=SYSTEM_PATH)
    if found is None:
        package = PACKAGES.get(program, program)
        missing(f"{program} is not installed: make system (Debian's package {package})")
    return found


def need_sandbox(level: int) -> None:
    """Skips the test, with what this machine lacks, where it can't confine a command at `level` (see sandbox/level.py)."""
    found = _found()
    if found.rung >= level:
        return
    if found.bwrap is None and sys.platform == "linux":
        missing("bubblewrap is not installed: make system")
    pytest.skip(f"it confines commands at level {level}, and this machine has {found.says}")


@cache
def _found() -> Level:
    return try_level()


def missing(reason: str) -> NoReturn:
    """Skip for `reason` on a person's machine, fail for it in CI."""
    if in_ci():
        pytest.fail(f"CI must have what its tests need: {reason}", pytrace=False)
    pytest.skip(reason)


def in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}
