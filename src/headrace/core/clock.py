"""Two kinds of time, both integers of nanoseconds, both handed in as arguments.

An `Instant` only grows and says how long something took; a `Moment` is the time of day (Unix, UTC) and says what price held.
Nobody below `compose` reads a clock: who needs the time is given it, or is given a `Clock`.
"""

from typing import Protocol, TypeAlias

Instant: TypeAlias = int
Moment: TypeAlias = int

MS = 1_000_000
SECOND = 1_000_000_000


class Clock(Protocol):
    """Where time comes from: the machine in production, a number that tests turn by hand."""

    def instant(self) -> Instant: ...

    def moment(self) -> Moment: ...
