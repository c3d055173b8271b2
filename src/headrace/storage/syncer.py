"""Group sync from outside of the servers: what they appended in the last few milliseconds is brought to disk together.

A process of its own, since a thread of a server would cost it far more than the sync: each time a thread waits for the interpreter, every
system call of the event loop wakes it in vain, at several microseconds each. It watches the segments that are written: one whose time of
change has moved is synced. A store into a mapped page sets that time when the page was clean, so what comes after a sync is never missed;
clocks that tick slowly are outwaited by further rounds. After a quiet second it looks less often, so that an idle server idles.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from headrace.storage.segment import ACTIVE
from headrace.storage.signs import Signs

TICK_MS: Final = 10  # the longest time that file systems take for one and the same moment
QUIET_AFTER_MS: Final = 1_000
QUIET_MS: Final = 50  # between two looks when it is quiet, but never more than five intervals

_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Syncer:
    """Syncs the segments of one folder, whichever processes write them. After a failure it only tells of it."""

    def __init__(self, usage: Path, interval_ms: int) -> None:
        self._usage, self._signs = usage, Signs(usage)
        self._interval_ms = interval_ms
        self._quiet_ms = 0
        self._rounds = 1 + -(-TICK_MS // interval_ms)
        self._folder = self._lists = 0
        self._files: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        self._left: dict[str, int] = {}
        self._failure = 0

    def round(self) -> int:
        """Sync what changed; return how many segments that were."""
        synced = 0
        if not self._failure:
            try:
                self._list()
                for name, file in self._files.items():
                    synced += self._sync(name, file)
            except OSError as error:
                self._failure = error.errno or errno.EIO
        self._signs.beat(self._failure)
        return synced

    @property
    def pause_ms(self) -> int:
        """How long to wait until the next round."""
        if self._quiet_ms < QUIET_AFTER_MS:
            return self._interval_ms
        return max(self._interval_ms, min(QUIET_MS, 5 * self._interval_ms))

    def keep(self, is_over: Callable[[float], bool]) -> None:
        """A round each time that `is_over`, which waits for so many seconds, says no; and a last one."""
        try:
            while not is_over(self.pause_ms / 1_000):
                waited_ms = self.pause_ms
                self._quiet_ms = 0 if self.round() else self._quiet_ms + waited_ms
            self.round()
        finally:
            self._signs.close()
            for file in self._files.values():
                os.close(file)

    def _sync(self, name: str, file: int) -> bool:
        changed = os.fstat(file).st_mtime_ns
        if changed != self._changed.get(name):
            self._changed[name], self._left[name] = changed, self._rounds
        if not self._left[name]:
            return False
        self._left[name] -= 1
        _fdatasync(file)
        return True

    def _list(self) -> None:
        """Watch the segments that are there; nothing is read while the folder is as it was. A name is given once."""
        changed = os.stat(self._usage).st_mtime_ns
        if changed != self._folder:
            self._folder, self._lists = changed, self._rounds
        if not self._lists:
            return
        self._lists -= 1
        names = {entry.name for entry in os.scandir(self._usage) if entry.name.endswith(ACTIVE)}
        for gone in self._files.keys() - names:
            os.close(self._files.pop(gone))
            self._changed.pop(gone, None)
            self._left.pop(gone, None)
        for new in names - self._files.keys():
            try:
                self._files[new] = os.open(self._usage / new, os.O_RDONLY)
            except FileNotFoundError:  # sealed in between, and synced by who sealed it
                continue
