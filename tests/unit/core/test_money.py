"""Amounts are exact in both directions, to the last digit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.money import PICO_PER_USD, pico_of, pico_per_token, usd, usd_per_mtok

PRICES = [
    # dollars a million, pico a token
    ("0", 0),
    ("0.25", 250_000),
    ("2.50", 2_500_000),
    ("0.000001", 1),
    ("1e2", 100_000_000),
    ("  3 ", 3_000_000),
]


@pytest.mark.parametrize(("text", "pico"), PRICES)
def test_a_price_is_read(text: str, pico: int):
    assert pico_per_token(text) == pico


NO_PRICES = [
    ("free", "not an amount"),
    ("", "not an amount"),
    ("0,25", "not an amount"),
    ("-1", "zero or more"),
    ("NaN", "zero or more"),
    ("Infinity", "zero or more"),
    ("0.0000001", "six decimal places"),
]


@pytest.mark.parametrize(("text", "why"), NO_PRICES)
def test_what_is_no_price_is_refused_with_its_words(text: str, why: str):
    with pytest.raises(ValueError, match=why) as refused:
        pico_per_token(text)
    assert repr(text) in str(refused.value)


AMOUNTS = [
    (0, "0.00"),
    (1, "0.000000000001"),
    (1_234_500, "0.0000012345"),
    (PICO_PER_USD, "1.00"),
    (-3 * PICO_PER_USD // 2, "-1.50"),
    (2**70 * PICO_PER_USD, f"{2**70}.00"),
]


@pytest.mark.parametrize(("pico", "text"), AMOUNTS)
def test_an_amount_is_written(pico: int, text: str):
    assert usd(pico) == text


@given(st.integers(0, 10**15))
def test_a_price_that_is_written_is_read_as_the_same(pico: int):
    assert pico_per_token(usd_per_mtok(pico)) == pico


@pytest.mark.parametrize(("text", "pico"), [("12.50", 12_500_000_000_000), ("0", 0), ("0.000000000001", 1), ("1e3", 10**15)])
def test_an_amount_of_dollars(text: str, pico: int):
    assert pico_of(text) == pico


@pytest.mark.parametrize("text", ["", "much", "-1", "nan", "inf", "0.0000000000001", "1e15"])
def test_what_is_no_amount(text: str):
    with pytest.raises(ValueError, match=r"amount|finer"):
        pico_of(text)
