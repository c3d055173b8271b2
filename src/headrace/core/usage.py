"""What a request used, in segments that never overlap.

Vendors count differently: OpenAI's `prompt_tokens` includes what was read from the cache, Anthropic's `input_tokens` excludes it,
reasoning is part of the output here and beside it there. Each adapter turns its vendor's meaning into this one, once, at the edge.
"""

import msgspec


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Disjoint token counts of one attempt: the input is the first three together, the output the last two."""

    uncached: int
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0

    @property
    def tokens_in(self) -> int:
        return self.uncached + self.cache_read + self.cache_write

    @property
    def tokens_out(self) -> int:
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        return self.tokens_in + self.tokens_out


NOTHING = Usage(0)
