"""Rating: exact, additive, monotone, and never free where no price is known."""

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.usage import NOTHING, Usage
from headrace.metering import (
    Above,
    UsdPerMtok,
    WrittenPrice,
    by_request_only,
    compiled,
    price_row,
    priced_units,
    rate,
    rate_bound,
    sold,
)
from headrace.metering.pricebook import in_tier

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


# ------------------------------------------------------------------------------------------------------------ tiers and calls

TIERED = compiled(
    WrittenPrice(
        model="t",
        usd_per_mtok=UsdPerMtok(input="1", cached_input="0.1", output="4", cache_write="1.25", audio_output="8"),
        source="a test",
        above=(Above(tokens_in=100, usd_per_mtok=UsdPerMtok(input="2", output="6")),),
        tiers={"priority": "2", "flex": "0.5"},
        usd_per_call={"web_search": "0.000001"},
    )
)
FLEX = in_tier(TIERED, "flex")
ONE, LONG = Usage(10), Usage(101)
SOLD = [
    # usage, promised,   served,      calls,                   the row's tier, cost
    (ONE,    TIERED,     None,        (),                      "standard", 10_000_000),
    (ONE,    TIERED,     "standard",  (),                      "standard", 10_000_000),
    (ONE,    TIERED,     "flex",      (),                      "flex",     5_000_000),
    (ONE,    TIERED,     "priority",  (),                      "standard", 10_000_000),
    (ONE,    FLEX,       "standard",  (),                      "flex",     5_000_000),
    (ONE,    FLEX,       "priority",  (),                      "flex",     5_000_000),
    (ONE,    TIERED,     "ultrafast", (),                      "standard", 10_000_000),
    (ONE,    PRICE,      "ultrafast", (),                      "standard", 25_000_000),
    (ONE,    None,       "flex",      (),                      None,       None),
    (LONG,   TIERED,     None,        (),                      "standard", 202_000_000),
    (ONE,    TIERED,     None,        (("web_search", 2),),    "standard", 12_000_000),
    (ONE,    TIERED,     None,        (("code", 1),),          "standard", None),
    (Usage(0, cache_write_1h=1), TIERED, None, (),             "standard", None),
    (Usage(0, cache_write_1h=1), TIERED, "flex", (),           "flex",     None),
]  # fmt: skip


@pytest.mark.parametrize(("usage", "price", "served", "calls", "tier", "cost"), SOLD)
def test_nobody_pays_more_than_was_promised(usage, price, served, calls, tier, cost):
    row, pico = sold(usage, price, served, calls)
    assert (row and row.tier, pico) == (tier, cost)


def test_a_bound_holds_whatever_becomes_of_the_request():
    assert rate_bound(Usage(10, output=1), TIERED) == 10 * 1_250_000 + 8_000_000
    assert rate_bound(Usage(101, output=1), TIERED) == 101 * 2_000_000 + 6_000_000
    assert rate_bound(Usage(10), TIERED, (("web_search", 3),)) == 10 * 1_250_000 + 3_000_000
    assert rate_bound(Usage(10), TIERED, (("code", 1),)) is None


SMALL = st.integers(0, 200)
PARTS = st.builds(Usage, *[SMALL] * 6, st.just(0), *[SMALL] * 7)


@given(PARTS, st.sampled_from(["standard", "flex", "priority", None]), st.sampled_from([TIERED, FLEX]))
def test_usage_never_costs_more_than_its_bound_in_any_tier(usage, served, price):
    _, cost = sold(usage, price, served)
    bound = rate_bound(Usage(usage.tokens_in, output=usage.tokens_out), price)
    assert cost is not None
    assert bound is not None
    assert cost <= bound


def test_a_request_has_its_own_fee():
    price = compiled(WrittenPrice(model="f", usd_per_mtok=UsdPerMtok(input="1"), source="a test", usd_per_call={"request": "0.000005"}))
    assert rate(Usage(1), price) == 6_000_000
    assert rate_bound(Usage(1), price) == 6_000_000


def a_row(input: str = "0", output: str | None = "0", above: tuple[Above, ...] = (), **fees: str):
    usd = UsdPerMtok(input=input, output=output)
    return compiled(WrittenPrice(model="f", usd_per_mtok=usd, source="a test", usd_per_call=fees, above=above))


def test_of_what_is_counted_otherwise_only_what_has_a_price_is_paid_for():
    assert priced_units((("image", 2), ("second", 3)), a_row(image="0.04")) == (("image", 2),)
    assert priced_units((("image", 2),), None) == ()
    assert priced_units((), a_row(image="0.04")) == ()
    assert (
        rate(NOTHING, a_row(image="0.04"), (("image", 2),)) == rate_bound(NOTHING, a_row(image="0.04"), (("image", 2),)) == 80_000_000_000
    )


@pytest.mark.parametrize(
    ("row", "only"),
    [
        (a_row(request="0.01"), True),
        (a_row(), True),
        (a_row("1", request="0.01"), False),
        (a_row(output=None, request="0.01"), False),
        (a_row(request="0.01", search_unit="0.002"), False),
        (a_row(above=(Above(tokens_in=9, usd_per_mtok=UsdPerMtok(input="1", output="1")),), request="0.01"), False),
    ],
)
def test_what_costs_the_same_whatever_it_uses(row, only):
    assert by_request_only(row) is only
