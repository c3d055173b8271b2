"""A browser in the sandbox: Chromium with namespaces of its own, its own sandbox inside of them, and no way out but our proxy.

It is started by a program of ours that whoever drives it takes for the browser. It gets no network, none of our files and none of our
environment; a port of the inside leads to the egress proxy. Landlock and our filter of system calls stay away, since Chromium needs what
they refuse to confine its own pages, which it does more tightly. Without bubblewrap there is no browser.
"""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Final

from headrace.core.errors import SandboxRefused
from headrace.sandbox.command import ETC, INNER, OUTER, PROXY_PORT, SYSTEM, bound, user_of
from headrace.sandbox.draft import Draft
from headrace.sandbox.level import Level, is_root

USER: Final = 1_000
_TMP_BYTES: Final = 1 << 30
_ETC: Final = (*ETC, "/etc/fonts", "/etc/chromium", "/etc/chromium.d", "/var/cache/fontconfig")
_LIMITS: Final = {"RLIMIT_NPROC": 2_048, "RLIMIT_FSIZE": 1 << 30, "RLIMIT_NOFILE": 8_192, "RLIMIT_CORE": 0}


def browser_program(program: str, draft: Draft, level: Level, proxy: Path, downloads: Path) -> Path:
    """A program that starts the browser confined, and passes its arguments on. Raises SandboxRefused below level 3."""
    if level.rung != 3 or level.bwrap is None:
        raise SandboxRefused(f"A browser needs level 3 of the sandbox; here is {level.says}")
    inner = {
        "limits": _LIMITS,
        "proxy": "/run/headrace/proxy.sock",
        "port": PROXY_PORT,
        "program": [program],
    }
    binds = {"inner.py": INNER, "python": Path(sys.base_prefix), "proxy.sock": proxy, "downloads": downloads}
    shown = {name: f"/mnt/{name}" if is_root() else str(path) for name, path in binds.items()}
    python = [os.path.realpath(sys.executable), "-I", "-S"]
    line = [level.bwrap, "--unshare-all", "--unshare-user", "--uid", str(USER), "--gid", str(USER), "--cap-drop", "ALL"]
    line += ["--new-session", "--die-with-parent", "--hostname", "sandbox", "--proc", "/proc", "--dev", "/dev"]
    line += ["--size", str(_TMP_BYTES), "--tmpfs", "/tmp"]  # noqa: S108 a new one, inside
    line += [word for path in (*SYSTEM, *_ETC) if os.path.exists(path) for word in bound(path)]
    if not sys.base_prefix.startswith("/usr"):
        line += ["--ro-bind", shown["python"], sys.base_prefix]
    line += ["--ro-bind", shown["inner.py"], "/run/headrace/inner.py", "--bind", shown["proxy.sock"], "/run/headrace/proxy.sock"]
    line += ["--bind", shown["downloads"], str(downloads), "--chdir", "/tmp", "--"]  # noqa: S108 its own
    line += [*python, "/run/headrace/inner.py", json.dumps(inner)]
    if is_root():
        os.chown(downloads, user_of(draft), user_of(draft))
        told = {"binds": {name: str(path) for name, path in binds.items()}, "line": line, "user": user_of(draft)}
        line = [*python, str(OUTER), json.dumps(told)]
    script = draft.place / "browser"
    script.write_text(f'#!/bin/sh\nexec {shlex.join(line)} "$@"\n')
    script.chmod(0o700)
    return script


def browser_environment() -> dict[str, str | float | bool]:
    """All that the browser gets of an environment."""
    return {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8"}  # noqa: S108 its own
