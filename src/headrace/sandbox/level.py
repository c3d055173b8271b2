"""How much this machine can confine: a ladder, of which a rung is tried out before anything is run on it.

    3  bubblewrap: own namespaces of users, processes, mounts and network; and inside, all of rung 2
    2  Landlock and the filter of system calls, without internet sockets at all; as root, another user
    0  nothing: commands are refused, and it says why

A rung is chosen once, by trying it; no argument of a tool lowers it, and a command that fails is never tried again on a lower one.
"""

import ctypes
import os
import platform
import shutil
import sys
from typing import Literal, TypeAlias

import msgspec

from headrace.sandbox.seccomp import program

Rung: TypeAlias = Literal[3, 2, 0]
_LANDLOCK_CREATE = 444
NOBODY = 65_534
SIGNALS_ABI = 6


class Level(msgspec.Struct, frozen=True):
    """What was found. `lacks` says in sentences what keeps it from the rung above."""

    rung: Rung
    bwrap: str | None
    landlock_abi: int
    lacks: tuple[str, ...] = ()

    @property
    def says(self) -> str:
        """One line for people."""
        if self.rung == 3:
            return f"level 3: bubblewrap, seccomp and Landlock (ABI {self.landlock_abi})"
        if self.rung == 2:
            return f"level 2: seccomp and Landlock (ABI {self.landlock_abi}). {' '.join(self.lacks)}"
        return f"no sandbox, so no command is run. {' '.join(self.lacks)}"


def landlock_abi() -> int:
    """The version of Landlock that the kernel offers, 0 for none."""
    if sys.platform != "linux":
        return 0
    found = ctypes.CDLL(None, use_errno=True).syscall(_LANDLOCK_CREATE, None, 0, 1)
    return max(int(found), 0)


def find_level(bwrap_works: bool, bwrap: str | None, abi: int, *, linux: bool) -> Level:
    """The highest rung for what was found; pure, so that each case is a line of a table."""
    if not linux:
        return Level(0, None, 0, ("The sandbox needs Linux.",))
    filtered = program() is not None
    lacks = []
    if not filtered:
        lacks.append(f"No filter of system calls is known for {platform.machine()}.")
    if abi < 1:
        lacks.append("The kernel offers no Landlock (5.13 or newer does, when it is switched on).")
    if lacks:
        return Level(0, bwrap, abi, tuple(lacks))
    if not (bwrap and bwrap_works) and abi < SIGNALS_ABI:
        return Level(0, bwrap, abi, ("Without bubblewrap it needs Linux 6.12, whose Landlock keeps signals inside, too.",))
    if bwrap is None:
        return Level(2, None, abi, ("bubblewrap is not installed (Debian, Ubuntu: apt install bubblewrap, or make system).",))
    if not bwrap_works:
        return Level(2, bwrap, abi, ("bubblewrap can't make namespaces here (containers often forbid it).",))
    return Level(3, bwrap, abi)


def which_bwrap(path: str | None = None) -> str | None:
    return shutil.which("bwrap", path=path)


def is_root() -> bool:
    return os.geteuid() == 0
