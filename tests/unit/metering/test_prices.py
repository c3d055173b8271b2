"""The price book: which row holds on which day, in which layer, and what is unpriced."""

from datetime import date
from pathlib import Path

import pytest

import headrace.metering
from headrace.metering import Price, PriceBook, UsdPerMtok, day_of, moment_of, parse_prices, price_row

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
