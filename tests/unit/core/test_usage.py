"""Segments never overlap, so that sums are plain."""

from headrace.core.usage import NOTHING, Usage


def test_sums():
    usage = Usage(1, cache_read=20, cache_write=300, output=4_000, reasoning=50_000)
    assert (usage.tokens_in, usage.tokens_out, usage.total) == (321, 54_000, 54_321)


def test_nothing():
    assert NOTHING.total == 0
