"""A second try beside a slow first one: both may speak, one is heard.

The first that says anything has won, and the client hears it alone. Until then, and when nobody ever says anything, the client is that of
the first try, as if there were no second. The other is stopped, and billed as its vendor bills: where a vendor bills an abandoned answer
whole, it is read on in silence to learn what that was.
"""

from headrace.core.stream import Said
from headrace.gateway.attempt import Listener
from headrace.providers import Gate


class Race:
    """Who of several runners speaks to the one listener."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.first = Runner(self)
        self.winner: Runner | None = None

    def runner(self) -> "Runner":
        return Runner(self)


class Runner:
    """One attempt's listener: it is heard if it is the first, and speaks to nobody if it is not."""

    def __init__(self, race: Race) -> None:
        self._race = race
        self._patience_s = 0.0
        self.failure: Exception | None = None
        """What it ended with."""

    @property
    def _speaks(self) -> bool:
        """Whose client it is: the winner's, the first's until there is one. Who lost has none, and nobody left it."""
        return self is (self._race.winner or self._race.first)

    @property
    def left(self) -> bool:
        return self._speaks and self._race.listener.left

    @property
    def patience_s(self) -> float:
        return self._patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._patience_s = seconds
        if self._speaks:
            self._race.listener.patience_s = seconds

    @property
    def lost(self) -> bool:
        return self._race.winner is not None and self._race.winner is not self

    def hear(self, said: Said) -> None:
        if self._race.winner is None:
            self._race.winner = self
            self._race.listener.patience_s = self._patience_s
        if self._race.winner is self:
            self._race.listener.hear(said)

    verbatim = None  # who may have lost must be asked each time

    @property
    def gate(self) -> Gate:
        return self

    @property
    def must_wait(self) -> bool:
        return self._race.winner is self and self._race.listener.gate.must_wait

    async def drained(self) -> None:
        await self._race.listener.gate.drained()
