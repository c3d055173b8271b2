"""How much of a prompt was already in the key-value cache, for a backend that reuses it but doesn't say so.

OpenVINO keeps full blocks of 32 tokens under a hash of everything before them, and gives up the least recently used. This mirrors
it: a block counts as cached only after the step that computed it, the cache holds as many blocks as the pipeline does, and at least
one token of a prompt is always computed. Where the mirror is not exact (a block of a prompt still being read may be shared already,
a partly filled last block may match) it counts fewer tokens as cached than were.
"""

from collections import OrderedDict
from collections.abc import Sequence

BLOCK = 32


class PrefixCache:
    """The blocks that the pipeline is known to hold."""

    def __init__(self, blocks_max: int) -> None:
        self._blocks_max = blocks_max
        self._blocks: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._blocks)

    def cached(self, prompt: Sequence[int]) -> int:
        """Tokens at the head of `prompt` that need no computing; their blocks count as just used."""
        found = 0
        for chain in _chains(prompt):
            if chain not in self._blocks:
                break
            self._blocks.move_to_end(chain)
            found += BLOCK
        return min(found, max(0, len(prompt) - 1))

    def computed(self, tokens: Sequence[int]) -> None:
        """The keys and values of all of `tokens` are now in the cache."""
        for chain in _chains(tokens):
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
        while len(self._blocks) > self._blocks_max:
            self._blocks.popitem(last=False)


def _chains(tokens: Sequence[int]) -> list[int]:
    """One number for each full block, standing for the block and all before it."""
    chains, chain = [], 0
    for start in range(0, len(tokens) - BLOCK + 1, BLOCK):
        chain = hash((chain, *tokens[start : start + BLOCK]))
        chains.append(chain)
    return chains
