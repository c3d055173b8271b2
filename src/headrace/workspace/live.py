"""What happens in a run between two events, as lines of a file that is begun anew each time somebody works on it: the words of a model
as they come, what a command says, how the run stands, what went wrong.

Nothing of it is the run's state, which is its log. It lets any worker of the server show what one of them does, and a page that comes
back read what was said so far of an answer that is still being made.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.errors import HeadraceError, UpstreamUnreachable
from headrace.storage import ThreadState

FILE: Final = "live.jsonl"


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """A model begins to answer."""

    model: str


class Words(msgspec.Struct, frozen=True, tag="words"):
    """More of its answer, or of what it thinks before it."""

    text: str
    kind: Literal["text", "thought"] = "text"


class Shell(msgspec.Struct, frozen=True, tag="shell"):
    """A command begins to run in the sandbox."""

    command: str


class Printed(msgspec.Struct, frozen=True, tag="printed"):
    """What it says, as it comes: text of either output, with whatever control sequences it holds."""

    text: str


class Noted(msgspec.Struct, frozen=True, tag="noted"):
    """A sentence for the person that is no event: what is missing this time."""

    says: str


class Stands(msgspec.Struct, frozen=True, tag="stands"):
    """How the run stands from now on; with `code` and `why` where it failed, and whether that passes by itself."""

    state: ThreadState
    code: str = ""
    why: str = ""
    passes: bool = False


Happening: TypeAlias = Begun | Words | Shell | Printed | Noted | Stands

_decoder = msgspec.json.Decoder(Happening)


class Live:
    """The file, for who works on the run. `news` is called after each line."""

    def __init__(self, home: Path, news: Callable[[], None]) -> None:
        self._news = news
        fresh = home / f".{FILE}"
        self._file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fresh.replace(home / FILE)

    def tell(self, said: Happening) -> None:
        os.write(self._file, msgspec.json.encode(said) + b"\n")
        self._news()

    def words(self, text: str, *, thought: bool) -> None:
        self.tell(Words(text, "thought" if thought else "text"))

    def shell(self, command: str) -> None:
        self.tell(Shell(command))

    def printed(self, text: str) -> None:
        self.tell(Printed(text))

    def note(self, says: str) -> None:
        self.tell(Noted(says))

    def nudge(self) -> None:
        """The log has grown."""
        self._news()

    def fail(self, error: HeadraceError) -> None:
        passes = error.retryable or isinstance(error, UpstreamUnreachable)
        self.tell(Stands("failed", error.code, error.message, passes))

    def close(self) -> None:
        os.close(self._file)


class Follower:
    """Reads a run's log and its live file from wherever it was, as both grow."""

    def __init__(self, home: Path, after: int) -> None:
        """`after`: the number of the last event that is known; -1: none is."""
        self._log, self._live = home / "events.jsonl", home / FILE
        self._after = after
        self._log_at = self._live_at = 0
        self._inode = 0
        self._began = False

    def events(self) -> list[tuple[int, bytes]]:
        """The events after those that are known: number and line. They were checked when they were written."""
        lines, self._log_at = _more(self._log, self._log_at)
        found = []
        for line in lines:
            seq = msgspec.json.decode(line, type=_Numbered).seq
            if seq > self._after:
                self._after = seq
                found.append((seq, line))
        return found

    def moments(self) -> list[bytes]:
        """What was told since. Of a file that is met for the first time, only what is still true: the answer that is being made."""
        try:
            found = os.stat(self._live)
        except FileNotFoundError:
            return []
        if found.st_ino != self._inode or found.st_size < self._live_at:
            self._inode, self._live_at = found.st_ino, 0
            lines, self._live_at = _more(self._live, 0)
            return _still_true(lines)
        lines, self._live_at = _more(self._live, self._live_at)
        return lines


class _Numbered(msgspec.Struct):
    seq: int


def stands(home: Path) -> Stands | None:
    """What the live file says last of how the run stands."""
    lines, _ = _more(home / FILE, 0)
    told = [said for line in lines if isinstance(said := _decoder.decode(line), Stands)]
    return told[-1] if told else None


def _still_true(lines: list[bytes]) -> list[bytes]:
    """How it stands, and what was said since a model or a command last began: only one of them is at work at a time."""
    said = [_decoder.decode(line) for line in lines]
    begun = max((at for at, one in enumerate(said) if isinstance(one, Begun | Shell)), default=len(said))
    last = max((at for at, one in enumerate(said) if isinstance(one, Stands)), default=-1)
    if last > begun and said[last] != Stands("running"):
        return [lines[last]]
    return [*(lines[last : last + 1] if last >= 0 else []), *(line for at, line in enumerate(lines) if at >= begun and at != last)]


def _more(path: Path, start: int) -> tuple[list[bytes], int]:
    """The whole lines from `start` on, and where they end."""
    with contextlib.suppress(FileNotFoundError):
        if os.stat(path).st_size <= start:
            return [], start
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(start)
        content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        return whole.splitlines(), start + len(whole)
    return [], start
