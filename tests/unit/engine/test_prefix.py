"""What counts as cached, where the backend doesn't say."""

from headrace.engine.prefix import BLOCK, PrefixCache


def test_only_whole_computed_blocks_count_and_one_token_is_always_computed() -> None:
    cache = PrefixCache(blocks_max=100)
    prompt = [*range(2 * BLOCK + 5)]
    table = [
        # prompt                                  cached
        (prompt, 2 * BLOCK),
        (prompt[: 2 * BLOCK], 2 * BLOCK - 1),
        (prompt[: 2 * BLOCK - 1], BLOCK),
        (prompt[: BLOCK - 1], 0),
        ([*prompt[:BLOCK], *prompt[:BLOCK], 1], BLOCK),
        ([9, *prompt], 0),
        ([], 0),
    ]
    assert cache.cached(prompt) == 0
    cache.computed(prompt)
    for tokens, cached in table:
        assert cache.cached(tokens) == cached


def test_the_least_recently_used_blocks_go_first() -> None:
    cache = PrefixCache(blocks_max=3)
    old, new = [1] * BLOCK, [2] * (2 * BLOCK)
    cache.computed(old)
    cache.computed(new)
    assert cache.cached([*old, 0]) == BLOCK
    cache.computed([3] * BLOCK)
    assert len(cache) == 3
    assert cache.cached([*old, 0]) == BLOCK
    assert cache.cached([*new, 0]) == 0
