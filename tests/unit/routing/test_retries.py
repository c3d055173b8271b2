"""A budget of retries: earned by what is asked, spent one by one, and never more than the share in the long run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.routing import RetryBudget


def test_what_is_saved_is_spent_and_then_earned_again():
    budget = RetryBudget(0.5, 2)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    budget.earn()
    assert not budget.spend(), "half a retry is none"
    budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_no_more_is_saved_than_may_be():
    budget = RetryBudget(1, 3)
    for _ in range(50):
        budget.earn()
    assert [budget.spend() for _ in range(4)] == [True, True, True, False]


def test_with_a_share_of_nothing_nothing_is_tried_again():
    budget = RetryBudget(0)
    for _ in range(100):
        budget.earn()
    assert not budget.spend()


@pytest.mark.parametrize(("share", "saved_max"), [(-0.1, 1), (0.1, -1)])
def test_a_share_is_none_or_more(share, saved_max):
    with pytest.raises(ValueError, match="0 or more"):
        RetryBudget(share, saved_max)


@given(share=st.sampled_from([0.125, 0.25, 0.5, 1.0]), saved_max=st.integers(0, 5), asked=st.lists(st.integers(0, 3), max_size=80))
def test_over_any_stretch_no_more_is_spent_than_the_share_and_what_was_saved(share, saved_max, asked):
    """Each number says how often somebody wanted to try again after one more request came."""
    budget, spent = RetryBudget(share, saved_max), [0]
    for wanted in asked:
        budget.earn()
        spent.append(spent[-1] + sum([budget.spend() for _ in range(wanted)]))
    for start in range(len(spent)):
        for end in range(start, len(spent)):
            assert spent[end] - spent[start] <= saved_max + share * (end - start)
