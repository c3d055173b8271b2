"""Several endpoints of one pool: requests go round them, and one that can't be reached is left alone for a while.

Only a connection that was never made leads to the next endpoint here: nothing was sent, so nothing can be billed or done twice. Every
other failure is the gateway's to judge.
"""

from collections.abc import Sequence

from headrace.core.ask import Ask
from headrace.core.clock import SECOND, Clock, Instant
from headrace.core.errors import HeadraceError, UpstreamUnreachable
from headrace.providers.provider import Hearer, Provider

REST = 2 * SECOND
"""How long an endpoint that can't be reached is not asked while others can be."""


class Spread:
    """One adapter an endpoint, as one provider."""

    def __init__(self, providers: Sequence[Provider], clock: Clock) -> None:
        if not providers:
            raise ValueError("a pool has at least one endpoint")
        self._providers, self._clock = tuple(providers), clock
        self._rests_until: list[Instant] = [0] * len(providers)
        self._turn = 0

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        failure: HeadraceError | None = None
        for index in self._order():
            try:
                await self._providers[index].answer(ask, hearer)
            except UpstreamUnreachable as unreachable:
                self._rests_until[index] = self._clock.instant() + REST
                failure = unreachable
            else:
                return
        assert failure is not None
        raise failure

    async def probe(self) -> None:
        """Alive as long as one of them is; each that answers is asked again at once."""
        failure: HeadraceError | None = None
        alive = False
        for index, provider in enumerate(self._providers):
            try:
                await provider.probe()
            except HeadraceError as dead:
                failure = dead
                self._rests_until[index] = self._clock.instant() + REST
            else:
                alive, self._rests_until[index] = True, 0
        if not alive:
            assert failure is not None
            raise failure

    def _order(self) -> list[int]:
        """From the next in turn on, those that rest last."""
        count, self._turn = len(self._providers), self._turn + 1
        now = self._clock.instant()
        turn = [(self._turn + step) % count for step in range(count)]
        return sorted(turn, key=lambda index: self._rests_until[index] > now)
