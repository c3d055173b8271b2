"""The price book: which row holds on which day, in which layer, and what is unpriced."""

from datetime import date
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace.metering
from headrace.core.usage import Usage
from headrace.metering import (
    Above,
    Price,
    PriceBook,
    UsdPerMtok,
    WrittenPrice,
    cards_of,
    compiled,
    day_of,
    moment_of,
    parse_prices,
    price_row,
    rate,
    tier_of,
)
from headrace.metering.prices import share_of

SHIPPED = (Path(headrace.metering.__file__).parent / "prices.toml").read_text()


def row(valid_from: date | None, usd: str = "1", model: str = "m") -> Price:
    return price_row(model=model, usd_per_mtok=UsdPerMtok(input=usd), source="a test", valid_from=valid_from)


MARCH, MAY, JULY = row(date(2026, 3, 1), "3"), row(date(2026, 5, 1), "5"), row(date(2026, 7, 1), "7")
OWN_ALWAYS, OWN_MAY, OWN_JUNE = row(None, "0.1"), row(date(2026, 5, 1), "0.5"), row(date(2026, 6, 1), "0.6")

HOLDS = [
    # layers                                     on                  holds
    ([[MARCH, MAY]],                             date(2026, 2, 28),  None),
    ([[MARCH, MAY]],                             date(2026, 3, 1),   MARCH),
    ([[MARCH, MAY]],                             date(2026, 4, 30),  MARCH),
    ([[MAY, MARCH]],                             date(2026, 5, 1),   MAY),
    ([[MARCH, MAY]],                             date(2030, 1, 1),   MAY),
    ([[MARCH, MAY, JULY], [OWN_ALWAYS]],         date(2026, 8, 1),   OWN_ALWAYS),
    ([[MARCH, MAY], [OWN_MAY]],                  date(2026, 5, 1),   OWN_MAY),
    ([[MARCH, MAY, JULY], [OWN_JUNE]],           date(2026, 5, 9),   MAY),
    ([[MARCH, MAY, JULY], [OWN_JUNE]],           date(2026, 8, 1),   OWN_JUNE),
    ([[MARCH], [row(None, "1", "other")]],       date(2026, 8, 1),   MARCH),
    ([[]],                                       date(2026, 8, 1),   None),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "day", "expected"), HOLDS)
def test_which_row_holds(layers, day, expected):
    assert PriceBook(*layers).price_on("m", moment_of(day)) == expected


def test_of_two_rows_that_start_together_the_later_holds():
    assert PriceBook([row(date(2026, 3, 1), "1"), MARCH]).price_on("m", moment_of(date(2026, 3, 1))) == MARCH


def test_a_row_holds_to_the_nanosecond():
    book = PriceBook([MARCH, MAY])
    assert book.price_on("m", MAY.valid_from - 1) == MARCH
    assert book.price_on("m", MAY.valid_from) == MAY


def test_rows_that_can_hold_are_listed_by_model_and_date():
    other = row(date(2026, 1, 1), "1", "a")
    assert PriceBook([JULY, MAY, MARCH, other], [OWN_JUNE]).rows == (other, MARCH, MAY, OWN_JUNE)


def test_the_shipped_book_has_what_it_says():
    book = PriceBook(parse_prices(SHIPPED))
    november = moment_of(date(2026, 11, 2))
    own = book.price_on("smollm2-135m-instruct", november)
    assert own is not None
    assert (own.id, own.input_pico, own.cached_input_pico, own.output_pico) == ("smollm2-135m-instruct@2026-11-01", 10_000, 1_000, 40_000)
    assert own.source.startswith("headrace's own list price")
    embeddings = book.price_on("all-minilm-l6-v2", november)
    assert embeddings is not None
    assert (embeddings.input_pico, embeddings.cached_input_pico, embeddings.output_pico) == (5_000, 5_000, None)
    large, nano = book.price_on("gpt-5.4", november), book.price_on("gpt-5.4-nano", november)
    assert large is not None
    assert nano is not None
    assert (large.input_pico, large.cached_input_pico, large.output_pico) == (2_500_000, 250_000, 15_000_000)
    assert (nano.input_pico, nano.cached_input_pico, nano.output_pico) == (200_000, 20_000, 1_250_000)
    assert book.price_on("gpt-5.4", moment_of(date(2026, 3, 5))) is None, "nobody has checked what it was before"


def test_an_edited_price_of_an_operator_has_another_id():
    assert OWN_ALWAYS.id != row(None, "0.2").id
    assert OWN_ALWAYS.id == row(None, "0.10").id
    assert OWN_MAY.id.startswith("m@2026-05-01-")
    assert OWN_ALWAYS.id.startswith("m@always-")


def test_days_and_moments():
    assert moment_of(date(1970, 1, 2)) == 86_400 * 10**9
    assert day_of(moment_of(date(2026, 11, 1)) - 1) == date(2026, 10, 31)
    assert day_of(moment_of(date(2026, 11, 1))) == date(2026, 11, 1)


GOOD = 'model = "m"\nvalid_from = 2026-01-01\nusd_per_mtok = { input = "1" }\nsource = "s"\n'
WRONG = [
    ("[[price]]\n" + GOOD.replace('"1"', '"cheap"'), "the price of m from 2026-01-01 on: 'cheap' is not an amount"),
    ("[[price]]\n" + GOOD.replace('"1"', '"-1"'), "must be zero or more"),
    ("[[price]]\n" + GOOD.replace("input", "inputs"), "unknown field `inputs`"),
    ("[[price]]\n" + GOOD.replace('source = "s"\n', ""), "missing required field `source`"),
    ("[[prices]]\n" + GOOD, "unknown field `prices`"),
    ("[[price]\n", "line 1"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_a_wrong_book_says_what_is_wrong(text, says):
    with pytest.raises(ValueError, match=says):
        parse_prices(text)


def test_an_empty_book_has_no_price():
    assert parse_prices("") == ()


# ---------------------------------------------------------------------------------------------------------- a part of the prices

FULL = price_row(model="m", usd_per_mtok=UsdPerMtok(input="0.20", cached_input="0.02", output="1.25"), source="a test")

PARTS = [
    # thousandths, input, cached, output
    (500, 100_000, 10_000, 625_000),
    (1, 200, 20, 1_250),
    (0, 0, 0, 0),
    (1_500, 300_000, 30_000, 1_875_000),
]


@pytest.mark.parametrize(("permille", "input_pico", "cached_pico", "output_pico"), PARTS)
def test_a_part_of_the_prices(permille, input_pico, cached_pico, output_pico):
    price = PriceBook([FULL]).price_on("m", moment_of(date(2026, 1, 1)), permille)
    assert price == msgspec.structs.replace(
        FULL, id=f"{FULL.id}*{permille}", input_pico=input_pico, cached_input_pico=cached_pico, output_pico=output_pico
    )


def test_the_whole_of_the_prices_is_the_row_itself():
    book = PriceBook([FULL])
    moment = moment_of(date(2026, 1, 1))
    assert book.price_on("m", moment, 1_000) is book.price_on("m", moment) is FULL
    assert book.price_on("m", moment, 500) is book.price_on("m", moment, 500), "it is worked out once"


def test_half_a_pico_dollar_is_rounded_up():
    odd = msgspec.structs.replace(FULL, input_pico=3, cached_input_pico=1, output_pico=None)
    assert [share_of(odd, permille).input_pico for permille in (499, 500, 166, 167)] == [1, 2, 0, 1]
    assert share_of(odd, 500).cached_input_pico == 1
    assert share_of(odd, 500).output_pico is None, "what has no price has no part of one"


def test_what_is_unpriced_stays_so_and_each_day_has_its_own_row():
    book = PriceBook([MARCH, MAY])
    assert book.price_on("m", MARCH.valid_from - 1, 500) is None
    assert book.price_on("other", MARCH.valid_from, 500) is None
    march, may = (book.price_on("m", row.valid_from, 500) for row in (MARCH, MAY))
    assert march is not None
    assert may is not None
    assert (march.input_pico, may.input_pico, march.id != may.id) == (1_500_000, 2_500_000, True)


def test_the_parts_are_no_rows_of_the_book():
    book = PriceBook([FULL])
    book.price_on("m", moment_of(date(2026, 1, 1)), 500)
    assert book.rows == (FULL,)


USAGES = st.builds(Usage, st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))


@given(usage=USAGES, permille=st.integers(0, 1_000), more=st.integers(0, 1_000), pico=st.tuples(*[st.integers(0, 10**8)] * 3))
def test_a_larger_part_never_costs_less_and_none_costs_more_than_the_whole(usage, permille, more, pico):
    price = msgspec.structs.replace(FULL, input_pico=pico[0], cached_input_pico=pico[1], output_pico=pico[2])
    costs = [rate(usage, share_of(price, part)) for part in (permille, min(1_000, permille + more), 1_000)]
    assert costs == sorted(costs, key=lambda cost: cost or 0)
    assert costs[2] == rate(usage, price)


# ------------------------------------------------------------------------------------------------- tiers, steps, segments, calls

WHOLE = WrittenPrice(
    model="m",
    usd_per_mtok=UsdPerMtok(
        input="1", cached_input="0.1", output="4", cache_write="1.25", cache_write_1h="2", reasoning="5", audio_input="9"
    ),
    source="a test",
    valid_from=date(2026, 3, 1),
    above=(Above(tokens_in=200, usd_per_mtok=UsdPerMtok(input="3")), Above(tokens_in=100, usd_per_mtok=UsdPerMtok(input="2"))),
    tiers={"priority": "2", "flex": "0.5"},
    usd_per_call={"web_search": "0.01", "request": "0.000001"},
)


def test_what_is_priced_apart_and_what_is_not():
    price = compiled(WHOLE)
    assert price.weights == (
        1_000_000, 100_000, 1_250_000, 4_000_000, 5_000_000, 1_250_000, 2_000_000, 1_250_000, 9_000_000, 1_000_000, 100_000, 100_000,
        4_000_000, 4_000_000,
    )  # fmt: skip
    brief = compiled(msgspec.structs.replace(WHOLE, usd_per_mtok=UsdPerMtok(input="1", cache_write="1.25")))
    assert brief.weights[6] is None, "what an hour in the cache costs is not guessed"


@pytest.mark.parametrize(("tokens_in", "pico"), [(100, 1_000_000), (101, 2_000_000), (200, 2_000_000), (201, 3_000_000)])
def test_a_longer_request_is_priced_as_a_whole(tokens_in, pico):
    assert compiled(WHOLE).at(tokens_in).input_pico == pico
    assert compiled(WHOLE).tiers["priority"].at(tokens_in).input_pico == 2 * pico


def test_a_tier_multiplies_tokens_and_not_calls():
    flex = compiled(WHOLE).tiers["flex"]
    assert (flex.tier, flex.input_pico, flex.more["audio_in"]) == ("flex", 500_000, 4_500_000)
    assert flex.fees == compiled(WHOLE).fees == {"web_search": 10_000_000_000, "request": 1_000_000}


def test_every_id_is_its_own():
    price = compiled(WHOLE)
    rows = [price, *price.tiers.values()]
    ids = [one.id for row in rows for one in (row, *(step.price for step in row.above))]
    assert len(set(ids)) == 9
    assert len({card.id for card in cards_of(price, 1)}) == 9
    again = price.renamed("vendor/m")
    assert {again.model, again.above[0].price.model, again.tiers["flex"].model} == {"vendor/m"}
    assert again.id.startswith("vendor/m@2026-03-01-")
    assert price.renamed("m") is price


@pytest.mark.parametrize(
    "change", [{"above": ()}, {"tiers": {}}, {"usd_per_call": {}}, {"valid_to": date(2027, 1, 1)}, {"usd_per_mtok": UsdPerMtok(input="1")}]
)
def test_whatever_is_edited_the_id_is_another(change):
    assert compiled(msgspec.structs.replace(WHOLE, **change)).id != compiled(WHOLE).id


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tiers": {"flex": "half"}}, "'half' is not a number to multiply prices by"),
        ({"tiers": {"flex": "0.0001"}}, "in thousandths"),
        ({"tiers": {"flex": "-1"}}, "0 to 1000"),
        ({"usd_per_call": {"web_search": "free"}}, "'free' is not an amount of dollars"),
        ({"usd_per_call": {"web_search": "-1"}}, "zero to a million"),
        ({"usd_per_call": {"web_search": "0.0000000000001"}}, "finer than the book keeps"),
        ({"valid_to": date(2026, 3, 1)}, "ends before it begins"),
    ],
)
def test_what_is_no_price_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        compiled(msgspec.structs.replace(WHOLE, **change))


def test_a_step_begins_above_a_token():
    with pytest.raises(ValueError, match=r"above.tokens_in is at least 1"):
        Above(tokens_in=0, usd_per_mtok=UsdPerMtok(input="1"))


@pytest.mark.parametrize(
    ("said", "tier"), [(None, None), ("", None), ("auto", None), ("default", "standard"), ("fast", "priority"), ("flex", "flex")]
)
def test_what_tiers_are_called(said, tier):
    assert tier_of(said) == tier
