"""What comes to the gateway: calls in the order of time, and what a session asks once it has its answer."""

from collections.abc import Iterator
from typing import Protocol

import msgspec

from headrace.core.identity import TrafficClass
from headrace.simulator.prefix import Segments


class Call(msgspec.Struct, frozen=True, gc=False):
    """One request as its client makes it, at `at_ms` of the virtual clock.

    `segments` are what its prompt begins with, for prefix caches; `grows`: the answer will be part of the next prompt. `affinity` is a
    number that the calls of a session share. `session` says whose turn it is; -1: nobody's, no other call follows.
    """

    at_ms: float
    traffic_class: TrafficClass
    model: str
    tenant: int
    geography: int
    tokens_in: int
    tokens_out: int
    segments: Segments = ()
    affinity: int = 0
    grows: bool = False
    session: int = -1


class Workload(Protocol):
    """Arrivals, as a function of a seed or of a file."""

    def calls(self) -> Iterator[Call]:
        """Those that come by themselves, the earliest first."""
        ...

    def after(self, call: Call, ended_ms: float, *, answered: bool) -> Call | None:
        """What its session asks next, with the time of it: after thinking, or after a tool has run. None: no more."""
        ...

    @property
    def closed(self) -> bool:
        """Whether anybody asks again because of an answer."""
        ...

    @property
    def expected(self) -> int:
        """About how many calls there will be in all, for who shows progress."""
        ...


class Replay:
    """Calls that are given, such as those of a trace: nobody waits for an answer before asking again."""

    def __init__(self, held: list[Call]) -> None:
        self._held = sorted(held, key=lambda call: call.at_ms)

    def calls(self) -> Iterator[Call]:
        return iter(self._held)

    def after(self, call: Call, ended_ms: float, *, answered: bool) -> Call | None:
        return None

    @property
    def closed(self) -> bool:
        return False

    @property
    def expected(self) -> int:
        return len(self._held)
