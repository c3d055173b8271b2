"""Rating: exact, additive, monotone, and never free where no price is known."""

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.usage import NOTHING, Usage
from headrace.metering import UsdPerMtok, price_row, rate, rate_bound

PRICE = price_row(
    model="m", usd_per_mtok=UsdPerMtok(input="2.50", cached_input="0.25", output="15.00"), source="a test", valid_from=date(2026, 3, 6)
)
INPUT_ONLY = price_row(model="e", usd_per_mtok=UsdPerMtok(input="0.005"), source="a test")
DEAR_CACHE = price_row(model="c", usd_per_mtok=UsdPerMtok(input="1", cached_input="3", output="2"), source="a test")

COUNTS = st.integers(0, 10**12)
USAGES = st.builds(Usage, *[COUNTS] * 8)

TABLE = [
    # usage                     price       cost in pico-USD
    (NOTHING,                   PRICE,      0),
    (Usage(1),                  PRICE,      2_500_000),
    (Usage(0, 1),               PRICE,      250_000),
    (Usage(0, 0, 1),            PRICE,      2_500_000),
    (Usage(0, 0, 1, 0, 0, 2, 4, 8), PRICE,  37_500_000),
    (Usage(0, 0, 0, 1),         PRICE,      15_000_000),
    (Usage(0, 0, 0, 0, 1),      PRICE,      15_000_000),
    (Usage(10**6, 0, 0, 10**6), PRICE,      17_500_000_000_000),
    (Usage(7),                  INPUT_ONLY, 35_000),
    (Usage(7, output=1),        INPUT_ONLY, None),
    (Usage(7),                  None,       None),
    (NOTHING,                   None,       None),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "price", "cost"), TABLE)
def test_what_usage_costs(usage, price, cost):
    assert rate(usage, price) == cost


@pytest.mark.parametrize(
    ("bound", "price", "cost"),
    [
        (Usage(10), DEAR_CACHE, 30_000_000),
        (Usage(10, output=2), DEAR_CACHE, 34_000_000),
        (Usage(1), None, None),
        (Usage(1, output=1), INPUT_ONLY, None),
    ],
)
def test_what_a_bound_can_cost(bound, price, cost):
    assert rate_bound(bound, price) == cost


def plus(one: Usage, other: Usage) -> Usage:
    return Usage(*(a + b for a, b in zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)))


@given(USAGES, USAGES)
def test_rating_is_additive_and_monotone(one, other):
    together, alone, rest = rate(plus(one, other), PRICE), rate(one, PRICE), rate(other, PRICE)
    assert together is not None
    assert alone is not None
    assert rest is not None
    assert together == alone + rest
    assert together >= alone


@given(USAGES, st.sampled_from([PRICE, DEAR_CACHE]))
def test_usage_never_costs_more_than_its_bound(usage, price):
    cost, bound = rate(usage, price), rate_bound(Usage(usage.tokens_in, output=usage.tokens_out), price)
    assert cost is not None
    assert bound is not None
    assert cost <= bound
