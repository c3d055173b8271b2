"""What a request used, in segments that never overlap.

Vendors count differently: OpenAI's `prompt_tokens` includes what was read from the cache, Anthropic's `input_tokens` excludes it,
reasoning is part of the output here and beside it there. Each adapter turns its vendor's meaning into this one, once, at the edge.
"""

import msgspec


class Usage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Disjoint token counts of one attempt: the output is `output` and `reasoning`, the input all the others together.

    What is written to a prompt cache is counted by how long it is kept, since vendors price that: `cache_write` for the vendor's shortest
    time (Anthropic's 5 minutes) or one that it does not say, and the longer ones by their names.
    """

    uncached: int
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_30m: int = 0
    cache_write_1h: int = 0
    cache_write_12h: int = 0

    @property
    def cache_written(self) -> int:
        return self.cache_write + self.cache_write_30m + self.cache_write_1h + self.cache_write_12h

    @property
    def tokens_in(self) -> int:
        return self.uncached + self.cache_read + self.cache_written

    @property
    def tokens_out(self) -> int:
        return self.output + self.reasoning

    @property
    def total(self) -> int:
        return self.tokens_in + self.tokens_out


NOTHING = Usage(0)
