"""The machine's clock, chance and names: the only place that reads them."""

import os
import secrets
import time
from datetime import UTC, datetime
from random import Random

from headrace.core.clock import MS, Moment


class MachineClock:
    """The time of this machine. A moment never goes back while the process lives, whatever is done to the machine's clock."""

    def __init__(self) -> None:
        self._latest = 0

    instant = staticmethod(time.monotonic_ns)

    def moment(self) -> Moment:
        now = time.time_ns()
        if now > self._latest:
            self._latest = now
            return now
        return self._latest


class Names:
    """Ids that sort by time, never repeat, and tell nothing: milliseconds, this process's own chance, a count."""

    def __init__(self, clock: MachineClock) -> None:
        self._clock, self._process, self._count = clock, secrets.token_hex(4), 0
        self._ms, self._shown = 0, ""

    def __call__(self, prefix: str) -> str:
        self._count += 1
        ms = self._clock.moment() // MS
        if ms != self._ms:
            self._ms, self._shown = ms, f"{ms:011x}{self._process}"
        return f"{prefix}{self._shown}{self._count:08x}"


def chance() -> Random:
    """Chance for placement; not for secrets."""
    return Random(secrets.randbits(64))


def now() -> datetime:
    """The time of day, UTC."""
    return datetime.now(UTC)


def process_id() -> int:
    return os.getpid()


def shown_moment(moment: Moment) -> str:
    """A moment as people and programs read it: RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(moment / 10**9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
