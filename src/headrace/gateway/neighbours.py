"""The other workers of the same server, as the gateway knows them: what they have taken, and what they work on."""

from typing import Protocol

from headrace.core.clock import Instant


class OfPool(Protocol):
    """One pool, by all workers."""

    def tell(self, inflight: int, closed_until: Instant) -> None:
        """This worker has so many requests there, and holds it for closed until then."""
        ...

    def others(self) -> tuple[int, Instant]:
        """The same of all the others together: the sum, and the latest."""
        ...


class OfKey(Protocol):
    """One key's limits, by all workers."""

    def add(self, requests: int, tokens: int, given_back: int, paid_at: tuple[Instant, Instant]) -> None:
        """This worker has taken and given back so much more. By what it knows of all workers, what was taken of requests and of tokens is
        paid at these instants."""
        ...

    def news(self) -> tuple[int, int, int, tuple[Instant, Instant], tuple[int, int]] | None:
        """What the others have taken and given back since the last time, at first since ever. Then the view of the one of them who knows
        most: when all is paid, and how many requests and tokens, of whomever, it does not know of. None: nothing is new."""
        ...


class Neighbours(Protocol):
    def pool(self, name: str) -> OfPool: ...

    def key(self, name: str) -> OfKey: ...
