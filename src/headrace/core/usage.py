"""What a request used, in segments that never overlap.

Vendors count differently: OpenAI's `prompt_tokens` includes what was read from the cache, Anthropic's `input_tokens` excludes it,
reasoning is part of the output here and beside it there, and one tells sound and pictures apart where the next counts all as one. Each
adapter turns its vendor's meaning into this one, once, at the edge.
"""

from typing import Literal, TypeAlias

import msgspec

Segment: TypeAlias = Literal[
    "uncached", "cache_read", "cache_write", "output", "reasoning", "cache_write_30m", "cache_write_1h", "cache_write_12h",
    "audio_in", "image_in", "audio_read", "image_read", "audio_out", "image_out",
]  # fmt: skip


class Usage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Disjoint token counts of one attempt: its input and its output are each the sum of their segments.

    What is written to a prompt cache is counted by how long it is kept, since vendors price that: `cache_write` for the vendor's shortest
    time (Anthropic's 5 minutes) or one that it does not say, and the longer ones by their names. `uncached`, `cache_read` and `output` are
    text, and whatever a vendor does not tell apart from it; sound and pictures that it does tell apart are segments of their own, read
    from the cache (`…_read`) or not.
    """

    uncached: int
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_30m: int = 0
    cache_write_1h: int = 0
    cache_write_12h: int = 0
    audio_in: int = 0
    image_in: int = 0
    audio_read: int = 0
    image_read: int = 0
    audio_out: int = 0
    image_out: int = 0

    @property
    def cache_written(self) -> int:
        return self.cache_write + self.cache_write_30m + self.cache_write_1h + self.cache_write_12h

    @property
    def cached(self) -> int:
        """What was read from the cache, of all modalities."""
        return self.cache_read + self.audio_read + self.image_read

    @property
    def tokens_in(self) -> int:
        text = self.uncached + self.cache_read + self.cache_write + self.cache_write_30m + self.cache_write_1h + self.cache_write_12h
        return text + self.audio_in + self.audio_read + self.image_in + self.image_read

    @property
    def tokens_out(self) -> int:
        return self.output + self.reasoning + self.audio_out + self.image_out

    @property
    def total(self) -> int:
        return sum(msgspec.structs.astuple(self))


NOTHING = Usage(0)
SEGMENTS: tuple[Segment, ...] = (
    "uncached", "cache_read", "cache_write", "output", "reasoning", "cache_write_30m", "cache_write_1h", "cache_write_12h",
    "audio_in", "image_in", "audio_read", "image_read", "audio_out", "image_out",
)  # fmt: skip
"""In the order of `Usage`."""
OUTPUTS: frozenset[Segment] = frozenset(("output", "reasoning", "audio_out", "image_out"))
