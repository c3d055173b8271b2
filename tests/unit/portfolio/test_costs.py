"""What capacity costs: exact an hour, an estimate a token."""

import pytest

from headrace.portfolio.costs import owned_pico_per_token, pico_per_hour

EXACT = [
    ("8.60",             8_600_000_000_000),
    ("0",                0),
    ("0.467333333333",   467_333_333_333),
    ("1e-12",            1),
    ("1000000",          10**18),
]  # fmt: skip


@pytest.mark.parametrize(("usd", "pico"), EXACT)
def test_dollars_an_hour_are_exact(usd: str, pico: int):
    assert pico_per_hour(usd) == pico


WRONG = [
    ("8,60",                                  "is not an amount of dollars an hour"),
    ("",                                      "is not an amount"),
    ("-1",                                    "must be zero to 1,000,000 dollars"),
    ("1000000.01",                            "must be zero to 1,000,000 dollars"),
    ("NaN",                                   "must be zero to"),
    ("Infinity",                              "must be zero to"),
    ("1e999999",                              "must be zero to"),
    ("0.0000000000001",                       "finer than the book keeps"),
    ("1.0000000000000000000000000000000001",  "finer than the book keeps"),
]  # fmt: skip


@pytest.mark.parametrize(("usd", "says"), WRONG)
def test_what_is_no_price_is_refused(usd: str, says: str):
    with pytest.raises(ValueError, match=says):
        pico_per_hour(usd)


COSTS = [
    # $/h       tokens/s   utilisation   dollars a million tokens
    ("2.00",    4_951.0,   1.0,          0.1122),   # DeepSeek's day: $87,072 for 776 billion tokens
    ("14.00",   8_758.0,   1.0,          0.4440),
    ("14.00",   8_758.0,   0.5,          0.8881),
    ("0",       1.0,       1.0,          0.0),
]  # fmt: skip


@pytest.mark.parametrize(("usd", "tokens_per_s", "utilisation", "expected"), COSTS)
def test_what_a_token_costs(usd: str, tokens_per_s: float, utilisation: float, expected: float):
    pico = owned_pico_per_token(
        pico_per_accelerator_hour=pico_per_hour(usd), tokens_per_s_per_accelerator=tokens_per_s, utilisation=utilisation
    )
    assert pico / 1e6 == pytest.approx(expected, abs=5e-5)


def test_without_a_utilisation_it_is_in_full_use():
    assert owned_pico_per_token(pico_per_accelerator_hour=7_200, tokens_per_s_per_accelerator=2) == 1.0


NEVER = [
    ({"pico_per_accelerator_hour": -1},                       "less than nothing"),
    ({"tokens_per_s_per_accelerator": 0.0},                   "must be above zero"),
    ({"tokens_per_s_per_accelerator": float("inf")},          "must be above zero"),
    ({"tokens_per_s_per_accelerator": float("nan")},          "must be above zero"),
    ({"utilisation": 0.0},                                    "above 0 and at most 1"),
    ({"utilisation": 1.01},                                   "above 0 and at most 1"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "says"), NEVER)
def test_what_cannot_be_is_refused(wrong: dict[str, float], says: str):
    right = {"pico_per_accelerator_hour": 1, "tokens_per_s_per_accelerator": 1.0, "utilisation": 1.0}
    with pytest.raises(ValueError, match=says):
        owned_pico_per_token(**{**right, **wrong})  # type: ignore[arg-type]
