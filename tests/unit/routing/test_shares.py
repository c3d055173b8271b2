"""Vendors' shares: of the tokens of the last while, and of nothing when there were few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import SECOND
from headrace.routing import Shares
from headrace.routing.shares import SLICES

MINUTE = 60 * SECOND


def shares(tokens_min: int = 100, **caps: float) -> Shares:
    """Over a minute, in slices of five seconds."""
    return Shares(caps, window_s=60, tokens_min=tokens_min)


def test_over_is_more_than_the_cap():
    of = shares(a=0.5, b=0.9)
    of.add("a", 50, 0)
    of.add("b", 50, 0)
    assert of.over(0) == frozenset()
    of.add("a", 1, 0)
    assert of.over(0) == {"a"}


def test_a_vendor_without_a_cap_has_what_comes_and_counts_in_the_whole():
    of = shares(a=0.5)
    of.add("c", 1_000, 0)
    of.add("a", 900, 0)
    assert of.over(0) == frozenset()
    of.add("a", 101, 0)
    assert of.over(0) == {"a"}


def test_shares_of_few_tokens_mean_nothing():
    of = shares(tokens_min=100, a=0.1)
    of.add("a", 99, 0)
    assert of.over(0) == frozenset()
    of.add("a", 1, 0)
    assert of.over(0) == {"a"}


def test_who_may_have_nothing_is_over_with_the_first_token():
    of = shares(a=0.0, b=1.0)
    of.add("b", 100, 0)
    assert of.over(0) == frozenset()
    of.add("a", 1, 0)
    assert of.over(0) == {"a"}


def test_what_is_older_than_the_window_is_forgotten():
    of = shares(a=0.5, b=0.5)
    of.add("a", 1_000, 10 * MINUTE)
    of.add("b", 400, 10 * MINUTE + 30 * SECOND)
    assert of.over(11 * MINUTE - 1) == {"a"}
    assert of.over(11 * MINUTE) == {"b"}
    assert of.over(20 * MINUTE) == frozenset()


def test_a_window_shorter_than_its_slices():
    of = Shares({"a": 0.5}, window_s=0, tokens_min=1)
    of.add("a", 5, 5)
    assert of.over(5 + SLICES - 1) == {"a"}
    assert of.over(5 + SLICES) == frozenset()


@pytest.mark.parametrize("cap", [-0.01, 1.01])
def test_a_cap_is_a_share(cap):
    with pytest.raises(ValueError, match="share of vendor 'a' is 0 to 1"):
        shares(a=cap)


@given(
    served=st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc"), st.integers(0, 50)), max_size=40),
    caps=st.fixed_dictionaries({"a": st.sampled_from([0.0, 0.25, 0.5, 1.0]), "b": st.sampled_from([0.0, 0.25, 0.5, 1.0])}),
)
def test_who_is_over_is_who_had_more_than_their_part_of_the_window(served, caps):
    """Against a plain list of all that was served: what is said of slices that are wholly inside or outside of the window is exact."""
    of, now = Shares(caps, window_s=60, tokens_min=1), 0
    told: list[tuple[int, str, int]] = []
    for passed, vendor, tokens in served:
        now += passed
        of.add(vendor, tokens, now * SECOND)
        told.append((now // 5, vendor, tokens))
        held = [(whose, count) for slice_, whose, count in told if slice_ > now // 5 - SLICES]
        whole = sum(count for _, count in held)
        over = {name for name, cap in caps.items() if sum(count for whose, count in held if whose == name) > cap * whole}
        assert of.over(now * SECOND) == (over if whole else set())
