"""Time limits without a timer a request: one walk each 250 ms over whatever is open.

Who is watched notes only that something came (`stirred`), which costs a store and no look at a clock; the walk itself says when it first
saw that. So a limit is never judged early, and late by at most two walks. A walk that comes late itself, because the loop was busy, judges
nobody: what the upstreams said in the meantime has not been read yet.
"""

import asyncio
from typing import Protocol

from headrace.providers.settings import TransportSettings

SWEEP_S = 0.25


class Watched(Protocol):
    def sweep(self, now: float) -> None:
        """Look whether a limit has passed; `now` is in the loop's seconds."""
        ...


class Sweep:
    """Walks for as long as there is somebody to watch."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def watch(self, one: Watched) -> None:
        self._watched.add(one)
        if self._timer is None:
            self._wait(self._loop.time())

    def forget(self, one: Watched) -> None:
        self._watched.discard(one)

    def _wait(self, now: float) -> None:
        self._due = now + SWEEP_S
        self._timer = self._loop.call_at(self._due, self._walk)

    def _walk(self) -> None:
        now = self._loop.time()
        if now - self._due < SWEEP_S:
            for one in tuple(self._watched):
                one.sweep(now)
        self._timer = None
        if self._watched:
            self._wait(now)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Patience:
    """How long one exchange has been waited for, as the walks see it."""

    __slots__ = ("_began", "_settings", "_since")

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self.renew()

    def renew(self) -> None:
        """Another exchange begins."""
        self._since = self._began = -1.0

    def lost(self, now: float, *, stirred: bool, heard: bool) -> str | None:
        """Which patience is lost, as the end of a sentence that begins with whose it was. `stirred`: something came since the last walk."""
        if self._began < 0:
            self._began = self._since = now
            return None
        if stirred:
            self._since = now
        settings = self._settings
        if settings.total_timeout_ms and (now - self._began) * 1000 > settings.total_timeout_ms:
            return f"was not done with its answer after {settings.total_timeout_ms} ms"
        if not heard:
            late = (now - self._since) * 1000 > settings.first_byte_timeout_ms
            return f"gave no answer in time: not a byte in {settings.first_byte_timeout_ms} ms" if late else None
        late = (now - self._since) * 1000 > settings.between_bytes_timeout_ms
        return f"stopped in the middle of its answer: not a byte in {settings.between_bytes_timeout_ms} ms" if late else None
