"""What of earlier prompts a replica still holds: a prefix cache with the least recently used evicted, from its tail.

A prompt is a chain of segments, each a key and how many tokens of it are meant: a system prompt that many share and then a conversation
that grows, or the hashed blocks of a trace, one a segment. What is cached of a prompt are the segments from its start on, as far as they
are held whole, and the part that is held of the first that is not. Touching goes backwards, so that of one prompt the end is evicted first.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

Segments: TypeAlias = Sequence[tuple[int, int]]


class PrefixCache:
    """The cache of one replica, in plain Python: the reference for the compiled one, and all that a replay of a trace needs."""

    __slots__ = ("_held", "total")

    def __init__(self) -> None:
        self._held: OrderedDict[int, int] = OrderedDict()
        self.total = 0

    def found(self, segments: Segments) -> int:
        """How many tokens from the start on are held."""
        tokens = 0
        for key, wanted in segments:
            held = self._held.get(key, 0)
            if held < wanted:
                return tokens + held
            tokens += wanted
        return tokens

    def keep(self, segments: Segments, room: int) -> None:
        """Hold `segments` from now on, and no more than `room` tokens in all."""
        held = self._held
        for key, tokens in reversed(segments):
            before = held.get(key)
            if before is None:
                held[key] = tokens
                self.total += tokens
                continue
            if tokens > before:
                held[key] = tokens
                self.total += tokens - before
            held.move_to_end(key)
        while self.total > room and held:
            key, tokens = next(iter(held.items()))
            over = self.total - room
            if tokens <= over:
                del held[key]
                self.total -= tokens
            else:
                held[key] = tokens - over
                self.total -= over
