"""What of a prompt is cached: from its start, as far as it is held; the end of the oldest goes first."""

import pytest

from headrace.simulator.prefix import PrefixCache

KEPT = (((1, 10), (2, 20)), ((3, 30),))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (((1, 10), (2, 20)), 30),
        (((1, 10), (2, 25)), 30),
        (((1, 5), (2, 20)), 25),
        (((1, 12), (2, 20)), 10),  # what comes after a hole is of no use
        (((9, 1), (1, 10)), 0),
        ((), 0),
    ],
)
def test_found_from_the_start_on(asked, found):
    cache = PrefixCache()
    for segments in KEPT:
        cache.keep(segments, 1_000)
    assert cache.found(asked) == found
    assert cache.total == 60


def test_the_end_of_the_oldest_goes_first():
    cache = PrefixCache()
    for segments in KEPT:
        cache.keep(segments, 45)
    assert cache.total == 45
    assert cache.found(((1, 10), (2, 20))) == 15
    assert cache.found(((3, 30),)) == 30
    cache.keep(((1, 10),), 20)
    assert (cache.found(((1, 10),)), cache.found(((3, 30),)), cache.total) == (10, 10, 20)
