"""A clock that is turned by hand."""

from headrace.core.clock import MS, SECOND, Instant, Moment

NOON: Moment = 1_795_003_200 * SECOND
"""Where a clock stands when nothing else is said: 2026-11-18, 12:00 UTC."""


class TurnedClock:
    """Stands still until somebody turns it. The instant and the moment go on together, as they do in the world."""

    def __init__(self, *, moment: Moment = NOON, instant: Instant = SECOND) -> None:
        self._moment, self._instant = moment, instant

    def instant(self) -> Instant:
        return self._instant

    def moment(self) -> Moment:
        return self._moment

    def turn(self, *, ms: int = 0, s: int = 0) -> None:
        """Let time pass. Raises ValueError for time that would go back."""
        passed = ms * MS + s * SECOND
        if passed < 0:
            raise ValueError("time does not go back")
        self._instant += passed
        self._moment += passed
