"""Replicas that serve, as the simulator drives them: submit, run until, and who is done.

    waiting ──room for its prompt──► reading its prompt, a chunk a step ──► decoding, a token a step ──► done
       ▲                                         │                                │
       └────────────── no room for the next token: the last admitted goes back, to be read again ───────┘

Each step takes one token from every decoding sequence and fills what is left of its chunk with prompts, first come first served, as
engines with chunked prefill do. Two fleets keep to this: the one in plain Python steps one by one and is the reference; the compiled one
jumps over steps in which nothing but decoding happens. Their times agree to 1e-9.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from headrace.simulator.prefix import Segments
from headrace.simulator.service import Service

Within: TypeAlias = Literal["turns", "least", "prefix"]
WITHIN: tuple[Within, ...] = ("turns", "least", "prefix")
"""How a pool's own router picks a replica: by turns, the one with least to do, or the one that holds the prefix unless it is crowded."""
CROWDED = 1.25
ROOMY = 4
"""A replica with fewer requests than this is never crowded."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas of one kind, next to each other. `offload_tokens` are what each caches beyond its accelerators' memory."""

    service: Service
    replicas: int
    within: Within = "prefix"
    cached_block: int = 16
    offload_tokens: int = 0


class Done(NamedTuple):
    """A request that has its whole answer. Times are in milliseconds of the virtual clock, at which steps ended; what a first token takes
    beside its steps (`Service.first_ms`) comes on top of them for whoever asked."""

    slot: int
    replica: int
    finished_ms: float
    first_ms: float
    started_ms: float
    hit: int
    preempted: int


class Fleet(Protocol):
    """All replicas of all pools on one virtual clock, which never goes back."""

    @property
    def next_ms(self) -> float:
        """Before this, `run` has nothing to do; infinite: nobody is at work."""
        ...

    def submit(
        self, now_ms: float, block: int, tokens_in: int, tokens_out: int, segments: Segments, *, affinity: int = 0, grows: bool = True
    ) -> int:
        """Hand in a request, after `run` has been asked for `now_ms`. Returns its slot; -1: it fits on no replica, or none is alive."""
        ...

    def run(self, until_ms: float, most: int) -> Sequence[Done]:
        """Let time pass until `until_ms`, or until `most` are done or a few more that end together."""
        ...

    def stop(self, replica: int) -> Sequence[tuple[int, bool]]:
        """A replica dies; returns the slots of what it had, and whether a first token of each was out."""
        ...

    def start(self, replica: int) -> None:
        """It is there again, with an empty cache."""
        ...

    def pace(self, now_ms: float, replica: int, factor: float) -> None:
        """From its next step on all takes `factor` times as long as its service says."""
        ...

    def first_of(self, block: int) -> int:
        """The index of a block's first replica."""
        ...

    def held(self, replica: int) -> tuple[int, int, int, int]:
        """Of a replica: requests in it, tokens of context in use, tokens cached, and preemptions so far."""
        ...


def rank(affinity: int, replica: int) -> int:
    """By which the replica that holds a prefix is found: the highest of all replicas has it (rendezvous hashing), within 31 bits."""
    mixed = (affinity ^ (replica * 0x9E3779B1)) & 0x7FFFFFFF
    mixed = ((mixed ^ (mixed >> 15)) * 0x2C1B3C6D) & 0x7FFFFFFF
    return ((mixed ^ (mixed >> 12)) * 0x297A2D39) & 0x7FFFFFFF
