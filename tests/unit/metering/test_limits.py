"""Limits: exact waits, truthful remainders, refunds that never give back what time has given back already."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import MS, SECOND
from headrace.metering import Granted, Limiter, Refused
from headrace.metering.limits import DAY_WINDOW, MINUTE


def limiter(requests: int | None = None, tokens: int | None = None) -> Limiter:
    return Limiter(requests_per_minute=requests, tokens_per_minute=tokens, now=0)


def grant(outcome: Granted | Refused) -> Granted:
    assert isinstance(outcome, Granted)
    return outcome


def test_what_is_not_limited_passes():
    one = limiter()
    granted = [grant(one.take(5, 10**9)) for _ in range(1_000)][-1]
    assert granted == Granted(None, None, None, None, None)
    one.give_back(6, 10, granted)


def test_requests_a_minute():
    one = limiter(requests=60)
    remaining = [grant(one.take(0, 0)).remaining_requests for _ in range(60)]
    assert remaining == list(range(59, -1, -1))
    assert one.take(0, 0) == Refused("requests", 1_000, 0, None, 60_000, None)
    assert isinstance(one.take(SECOND - 1, 0), Refused)
    assert isinstance(one.take(SECOND, 0), Granted)


def test_tokens_a_minute():
    one = limiter(tokens=600)
    granted = grant(one.take(0, 500))
    assert (granted.remaining_tokens, granted.reset_tokens_ms) == (100, 50_000)
    assert one.take(0, 101) == Refused("tokens", 100, None, 100, None, 50_000)
    assert isinstance(one.take(100 * MS, 101), Granted)


def test_more_than_the_limit_can_never_pass():
    one = limiter(requests=1, tokens=600)
    assert one.take(0, 601) == Refused("tokens", None, 1, 600, 0, 0)
    assert isinstance(one.take(0, 600), Granted)
    assert one.take(0, 601) == Refused("tokens", None, 0, 0, 60_000, 60_000)


def test_a_refusal_takes_nothing_of_either_and_names_what_takes_longest():
    one = limiter(requests=1, tokens=600)
    grant(one.take(0, 10))
    refused = one.take(SECOND, 10)
    assert refused == Refused("requests", 59_000, 0, 600, 59_000, 0)
    two = limiter(requests=2, tokens=600)
    grant(two.take(0, 600))
    assert two.take(0, 300) == Refused("tokens", 30_000, 1, 0, 30_000, 60_000)
    assert two.take(0, 300) == Refused("tokens", 30_000, 1, 0, 30_000, 60_000)


def test_the_bound_is_taken_and_the_difference_given_back():
    one = limiter(tokens=600)
    granted = grant(one.take(0, 600))
    assert isinstance(one.take(0, 1), Refused)
    one.give_back(0, 590, granted)
    assert grant(one.take(0, 590)).remaining_tokens == 0


def test_what_time_gave_back_is_not_given_back_again():
    one = limiter(tokens=60)
    first = grant(one.take(0, 30))
    second = grant(one.take(30 * SECOND, 60))  # the first is paid by now
    one.give_back(31 * SECOND, 30, first)
    assert isinstance(one.take(31 * SECOND, 2), Refused)
    one.give_back(31 * SECOND, 59, second)
    assert grant(one.take(31 * SECOND, 59)).remaining_tokens == 1


def test_what_was_given_back_moves_those_behind_it_up():
    one = limiter(tokens=60)
    first, second = grant(one.take(0, 30)), grant(one.take(0, 30))
    one.give_back(10 * SECOND, 30, first)  # ten of it were paid; the second is paid at 40 s now, not at 60
    third = grant(one.take(40 * SECOND, 60))
    one.give_back(41 * SECOND, 30, second)
    assert isinstance(one.take(41 * SECOND, 2), Refused)
    one.give_back(41 * SECOND, 60, third)
    assert grant(one.take(41 * SECOND, 60)).remaining_tokens == 0


def test_a_bound_that_was_too_low_is_made_up_for():
    one = limiter(tokens=600)
    granted = grant(one.take(0, 100))
    one.give_back(0, -600, granted)
    assert one.take(0, 1) == Refused("tokens", 10_100, None, 0, None, 70_000)


@pytest.mark.parametrize(("requests", "tokens"), [(0, None), (None, 0), (-1, 5)])
def test_a_limit_is_at_least_one(requests, tokens):
    with pytest.raises(ValueError, match="at least 1 a minute"):
        limiter(requests, tokens)


STEPS = st.lists(st.tuples(st.integers(0, 20 * SECOND), st.integers(0, 150), st.integers(0, 150), st.booleans()), max_size=60)


@given(limit=st.integers(1, 100), steps=STEPS)
def test_over_any_stretch_of_time_no_more_is_used_than_the_limit_and_its_burst(limit, steps):
    """What was granted and not given back, counted from each grant on, fits a full bucket and what time adds."""
    one = limiter(tokens=limit)
    now = 0
    open_grants: list[tuple[Granted, int, int, int]] = []
    used: list[list[int]] = []
    for wait, bound, actual, gives_back in steps:
        now += wait
        outcome = one.take(now, bound)
        if isinstance(outcome, Granted):
            open_grants.append((outcome, bound, min(bound, actual), len(used)))
            used.append([now, bound])
        elif outcome.retry_after_ms is None:
            assert bound > limit
        if gives_back and open_grants:
            granted, taken, spent, index = open_grants.pop(now % len(open_grants))
            one.give_back(now, taken - spent, granted)
            used[index][1] = spent
    for index, (start, _) in enumerate(used):
        total = 0
        for moment, tokens in used[index:]:
            total += tokens
            assert total * MINUTE <= limit * MINUTE + (moment - start) * limit


@given(limit=st.integers(1, 10**6), debt=st.integers(1, 10**6), more=st.integers(1, 10**6))
def test_a_retry_after_is_true_to_the_millisecond(limit, debt, more):
    one = limiter(tokens=limit)
    grant(one.take(0, min(debt, limit)))
    outcome = one.take(0, min(more, limit))
    if isinstance(outcome, Refused):
        assert outcome.retry_after_ms is not None
        assert isinstance(one.take((outcome.retry_after_ms - 1) * MS, min(more, limit)), Refused)
        assert isinstance(one.take(outcome.retry_after_ms * MS, min(more, limit)), Granted)


# --------------------------------------------------------------------------------------------------- what others who share it have taken


def test_what_others_have_taken_is_gone():
    one = limiter(requests=10, tokens=600)
    one.heard(0, 4, 500, 0)
    granted = grant(one.take(0, 50))
    assert (granted.remaining_requests, granted.remaining_tokens) == (5, 50)
    assert isinstance(one.take(0, 51), Refused)


def test_what_others_have_taken_can_be_more_than_there_was():
    one = limiter(requests=1, tokens=600)
    one.heard(0, 3, 1_200, 0)
    assert one.take(0, 1) == Refused("requests", 180_000, 0, 0, 180_000, 120_000)


def test_what_others_give_back_is_there_again():
    one = limiter(tokens=600)
    one.heard(0, 1, 600, 0)
    one.heard(0, 0, 0, 590)
    assert grant(one.take(0, 590)).remaining_tokens == 0


def test_others_give_back_of_their_own_only():
    """What is held here for a request of ours is not theirs to give."""
    one = limiter(tokens=600)
    mine = grant(one.take(0, 500))
    one.heard(0, 1, 50, 0)
    one.heard(0, 0, 0, 600)
    assert grant(one.take(0, 100)).remaining_tokens == 0
    one.give_back(0, 500, mine)
    assert grant(one.take(0, 500)).remaining_tokens == 0


def test_they_give_back_the_latest_first_and_nothing_that_time_has_paid():
    one = limiter(tokens=60)
    one.heard(0, 1, 20, 0)
    one.heard(0, 1, 30, 0)
    one.heard(30 * SECOND, 0, 0, 25)  # 20 of the first and 10 of the second are paid: 20 were left, of 25 given back
    assert grant(one.take(30 * SECOND, 60)).remaining_tokens == 0
    one.heard(90 * SECOND, 0, 0, 5)
    assert grant(one.take(90 * SECOND, 60)).remaining_tokens == 0


def test_they_give_back_a_part_of_several():
    one = limiter(tokens=600)
    for _ in range(3):
        one.heard(0, 1, 100, 0)
    one.heard(0, 0, 0, 150)
    assert grant(one.take(0, 450)).remaining_tokens == 0


def test_what_they_took_long_ago_is_owed_by_nobody():
    """They say when by what they know all is paid: 3 of 10 requests, and 90 of 600 tokens, are left of what they took in an hour."""
    one = limiter(requests=10, tokens=600)
    now = 3_600 * SECOND
    one.heard(now, 200, 9_000, 3_000, (now + 18 * SECOND, now + 9 * SECOND))
    granted = grant(one.take(now, 10))
    assert (granted.remaining_requests, granted.remaining_tokens) == (6, 500)
    two = limiter(requests=10, tokens=600)
    two.heard(now, 200, 9_000, 3_000, (now - SECOND, now - SECOND))
    granted = grant(two.take(now, 10))
    assert (granted.remaining_requests, granted.remaining_tokens) == (9, 590), "all is paid"


def test_what_they_did_not_know_of_is_owed_as_well():
    """Two who took at once don't know of each other: what one of them says is paid by then leaves out what the other took."""
    one = limiter(requests=60, tokens=600)
    one.heard(SECOND, 20, 200, 0, (11 * SECOND, 11 * SECOND), (5, 50))
    granted = grant(one.take(SECOND, 0))
    assert (granted.remaining_requests, granted.remaining_tokens) == (60 - 15 - 1, 600 - 150)
    two = limiter(requests=60, tokens=600)
    two.heard(SECOND, 20, 200, 0, (0, 0), (5, 50))
    granted = grant(two.take(SECOND, 0))
    assert (granted.remaining_requests, granted.remaining_tokens) == (60 - 5 - 1, 600 - 50)


def test_whoever_took_something_owes_it_whatever_others_know():
    one = limiter(requests=60, tokens=600)
    mine = grant(one.take(0, 300))
    one.heard(0, 1, 100, 0, (0, 0))
    granted = grant(one.take(0, 0))
    assert granted.remaining_tokens == 300
    one.give_back(0, 300, mine)
    assert grant(one.take(0, 0)).remaining_tokens == 600


def test_when_all_is_paid():
    one = limiter(requests=60, tokens=600)
    assert one.paid_at == (0, 0)
    grant(one.take(5 * SECOND, 50))
    assert one.paid_at == (6 * SECOND, 10 * SECOND)
    assert limiter().paid_at == (0, 0)


def test_how_much_was_given_back():
    one = limiter(tokens=60)
    first = grant(one.take(0, 30))
    assert one.give_back(10 * SECOND, 30, first) == 20, "ten were paid by time"
    assert one.give_back(10 * SECOND, -5, first) == -5
    assert limiter(requests=5).give_back(0, 7, Granted(None, None, None, None, None)) == 0


def test_of_what_is_not_limited_nothing_is_kept():
    one = limiter(requests=10)
    one.heard(0, 3, 500, 100)
    assert grant(one.take(0, 10**9)).remaining_requests == 6
    two = limiter(tokens=600)
    two.heard(0, 3, 500, 0)
    assert grant(two.take(0, 100)).remaining_requests is None


def test_nothing_new_changes_nothing():
    one = limiter(requests=10, tokens=600)
    one.heard(0, 0, 0, 0)
    granted = grant(one.take(0, 1))
    assert (granted.remaining_requests, granted.remaining_tokens) == (9, 599)


# ------------------------------------------------------------------------------------------------------------------------- by the day


def test_a_days_limit_flows_back_over_the_day():
    one = Limiter(requests_per_minute=2, tokens_per_minute=24_000, now=0, window=DAY_WINDOW)
    grant(one.take(0, 24_000))
    refused = one.take(0, 1_000)
    assert isinstance(refused, Refused)
    assert refused.retry_after_ms == 3_600_000
    assert one.room(3_600 * SECOND, 1_000) is None
    assert grant(one.take(3_600 * SECOND, 1_000)).remaining_tokens == 0


def test_what_is_done_is_put_together_and_owes_the_same():
    one, two = (Limiter(requests_per_minute=None, tokens_per_minute=10**9, now=0, window=DAY_WINDOW) for _ in range(2))
    two._compact_at = 10**9
    kept = []
    for number in range(20_000):
        first, second = grant(one.take(number, 100)), grant(two.take(number, 100))
        if number % 1_000:
            one.give_back(number, 40, first)
            two.give_back(number, 40, second)
        else:
            kept.append((first, second))
    assert len(one._holds) < 9_000 < len(two._holds)
    for first, second in kept:
        assert one.give_back(20_000, 100, first) == two.give_back(20_000, 100, second)
    assert grant(one.take(30_000, 5)).remaining_tokens == grant(two.take(30_000, 5)).remaining_tokens
