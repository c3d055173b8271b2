"""What every adapter is: something that answers an ask at one pool."""

from collections.abc import AsyncGenerator
from typing import Protocol

from headrace.core.ask import Ask
from headrace.core.stream import Said
from headrace.core.usage import Usage


class Tally:
    """What an attempt has used when it ends before its end: None where only the upstream could tell."""

    __slots__ = ("usage",)

    def __init__(self) -> None:
        self.usage: Usage | None = None


class Provider(Protocol):
    """One adapter at one pool. `testing.providers.check_provider` is the suite that each must pass.

    Errors are those of `core.errors`, on the side they belong to; one of side CLIENT before anything is said means that the upstream
    did no work that it bills.
    """

    def stream(self, ask: Ask, tally: Tally) -> AsyncGenerator[Said, None]:
        """Answer `ask` under the law of `core.stream`. Closing the generator stops the work upstream and leaves the usage in `tally`."""
        ...
