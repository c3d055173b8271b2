"""What a command in the sandbox may use, and what became of it."""

from typing import Literal, TypeAlias

import msgspec

Stopped: TypeAlias = Literal["time", "output", "draft", "entries", "person"]

STOPPED_SAYS: dict[Stopped, str] = {
    "time": "It was stopped: it ran longer than {limit} seconds.",
    "output": "It was stopped: it wrote more than {limit} bytes of output.",
    "draft": "It was stopped: the workspace grew beyond {limit} bytes.",
    "entries": "It was stopped: the workspace holds more than {limit} files and folders, or some too deep.",
    "person": "The person stopped it.",
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`processes_max` counts threads too. `memory_bytes_max` is address space, of each process."""

    seconds_max: float = 120
    output_bytes_max: int = 200_000
    processes_max: int = 256
    memory_bytes_max: int = 8 << 30
    file_bytes_max: int = 1 << 30
    draft_bytes_max: int = 2 << 30
    draft_entries_max: int = 500_000
    open_files_max: int = 1_024


class Outcome(msgspec.Struct, frozen=True):
    """`exit_code` is negative for a signal. `stopped`: why we ended it, in `says` as a sentence."""

    exit_code: int
    stdout: str
    stderr: str
    stopped: Stopped | None = None
    says: str = ""
