"""Who is whose child, what runs in it, and whether it lives: read from /proc."""

import os
from pathlib import Path

from tests.needs import missing


def need_processes() -> None:
    if not Path("/proc/self/task").exists():
        missing("who is whose child is read from /proc")


def children(pid: int) -> list[int]:
    """None where it has gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def sockets(pid: int) -> int:
    """How many it has open."""
    files = Path(f"/proc/{pid}/fd")
    return sum(os.readlink(file).startswith("socket:") for file in files.iterdir())


def resident_mb(pid: int) -> float:
    """How much of memory it holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def lives(pid: int) -> bool:
    """Whether it runs: one that nobody has waited for yet is dead, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
