"""What every adapter is: something that answers an ask at one pool."""

from collections.abc import Callable
from typing import Protocol

from headrace.core.ask import Ask
from headrace.core.stream import Said
from headrace.core.translation import Change
from headrace.core.usage import Usage


class Gate(Protocol):
    """Whether more may be said now."""

    @property
    def must_wait(self) -> bool:
        """Who hears can't keep up: say no more until `drained` returns."""
        ...

    async def drained(self) -> None: ...


class Tap(Protocol):
    """Where more bytes of the client's own dialect go without being said one by one."""

    def write(self, data: bytes) -> None: ...

    def express(self, closed: Callable[[], None]) -> Callable[[bytes], None] | None:
        """Where whole chunks may go, with their frames as the upstream sent them, past all that stands between; None: nowhere now, or the
        client takes none. It must not be used any more from when `closed` is called: the client reads too slowly, or has left."""
        ...


class Hearer(Protocol):
    """Who hears what an adapter says. Hearing takes no time; who says much keeps to the gate."""

    usage: Usage | None
    """What the attempt has used until now, set by adapters that know it at every moment; who leaves early pays that."""
    usage_likely: Usage | None
    """An estimate of the same, set by adapters whose vendor says it only at the end; who leaves early pays that, marked as an estimate."""

    verbatim: Tap | None
    """Where more of an answer in the client's own dialect may go at once, when its first bytes were heard; None: nowhere."""

    @property
    def gate(self) -> Gate: ...

    def hear(self, said: Said) -> None: ...

    def translated(self, changes: tuple[Change, ...]) -> None:
        """What the pool's dialect could not take as it was asked; said before the upstream is contacted, by adapters that translate,
        and again, whole, when the upstream tells of more before it answers."""
        ...


class Provider(Protocol):
    """One adapter at one pool. `testing.providers.check_provider` is the suite that each must pass."""

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        """Say the answer to `ask` under the law of `core.stream`, and return when it is complete. Cancelling stops the work upstream.

        Raises the errors of `core.errors`, on the side they belong to; one of side CLIENT before anything is said means that the
        upstream did no work that it bills.
        """
        ...

    async def probe(self) -> None:
        """Ask for a sign of life that costs no tokens. Raises the errors of `core.errors` when there is none."""
        ...
