"""Limits that are not a key's own: taken together, resized in use, shared among hosts."""

import msgspec
import pytest

from headrace.core.clock import SECOND
from headrace.core.errors import RateLimited
from headrace.gateway.meters import Meters, check, give_back, left_of_all, take
from headrace.metering import Limit, Whom
from headrace.testing.builders import a_principal, an_ask

ASK = an_ask()


def meters(*limits: Limit) -> Meters:
    one = Meters(None)
    one.change(limits)
    return one


def passes(one: Meters, now: int = 0, tokens: int = 10, ask=ASK):
    """What was taken, or None."""
    found = one.of(ask, now)
    try:
        check(found, ask, tokens, now)
    except RateLimited:
        return None
    return take(found, tokens, now)


def test_without_limits_there_is_nothing_to_take():
    assert meters().of(ASK, 0) == ()


def test_all_or_none():
    one = meters(Limit(name="many", whom=Whom(), requests_per_minute=100), Limit(name="one", whom=Whom(), tokens_per_day=10))
    assert passes(one) is not None
    assert passes(one) is None
    left = left_of_all(take((), 0, 0), {"requests": (9, 5, 1)})
    assert left == {"requests": (9, 5, 1)}
    many = one.of(ASK, 0)[0].gauges[0].limiter
    assert many.room(0, 0) is None
    assert many.paid_at[0] == SECOND * 60 // 100, "one request is owed, not two"


def test_what_is_left_is_what_the_scarcest_leaves():
    one = meters(
        Limit(name="a", whom=Whom(), requests_per_minute=5, tokens_per_minute=1_000),
        Limit(name="b", whom=Whom(), requests_per_day=50, tokens_per_day=100),
    )
    taken = passes(one)
    assert taken is not None
    left = left_of_all(taken, {"requests": (10, 9, 1)})
    assert (left["requests"][:2], left["tokens"][:2]) == ((5, 4), (100, 90))


def test_concurrency_is_free_again_and_says_when():
    one = meters(Limit(name="a", whom=Whom(), concurrent=2))
    first, second = passes(one), passes(one)
    assert first is not None
    assert second is not None
    with pytest.raises(RateLimited) as refused:
        check(one.of(ASK, 0), ASK, 1, 0)
    assert refused.value.retry_after_ms == 500
    give_back(first, 0, 8 * SECOND, 0)
    assert one.of(ASK, 0)[0].inflight == 1
    assert passes(one) is not None


def test_a_limit_that_is_changed_goes_on_with_what_was_taken():
    one = meters(Limit(name="a", whom=Whom(), requests_per_minute=4))
    for _ in range(3):
        assert passes(one) is not None
    one.change([Limit(name="a", whom=Whom(), requests_per_minute=3)])
    assert passes(one) is None
    one.change([Limit(name="a", whom=Whom(), requests_per_minute=4)])
    assert passes(one) is not None
    one.change([Limit(name="a", whom=Whom(), tokens_per_minute=10)])
    assert passes(one) is not None, "it limits something else now"
    one.change([])
    assert passes(one) == ()


def test_hosts_have_an_equal_part_each():
    one = meters(Limit(name="a", whom=Whom(), requests_per_minute=9, concurrent=1))
    one.share(4)
    found = one.of(ASK, 0)[0]
    assert (found.gauges[0].limiter.requests_per_minute, found.concurrent_max) == (2, 1)
    one.share(1)
    assert found.gauges[0].limiter.requests_per_minute == 9


def test_a_minted_keys_own_limits_hold_beside_its_parents():
    who = msgspec.structs.replace(a_principal(key="key_2"), parents=("key_1",), limited_as="key_1", key_limits=(("key_2", 1, None),))
    ask = an_ask(principal=who)
    one = meters()
    assert passes(one, ask=ask) is not None
    one.share(1)
    one.change([])
    assert passes(one, ask=ask) is None
