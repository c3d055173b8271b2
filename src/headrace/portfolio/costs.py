"""What capacity costs: money an accelerator-hour, exact, and what a token on it then costs.

A token that is sold has an exact price in the price book. A token on rented or owned machines has none: its cost depends on how full
they are. So what this says of tokens is an estimate, for choosing and planning, and never goes into a bill.

    pico-USD a token = pico-USD an accelerator-hour / (3,600 s × tokens/s an accelerator at full use × utilisation)
"""

from decimal import Decimal, InvalidOperation

from headrace.core.money import PICO_PER_USD

SECONDS_PER_HOUR = 3_600
USD_PER_HOUR_MAX = 1_000_000


def pico_per_hour(usd_per_hour: str) -> int:
    """Pico-USD an hour, from dollars an hour written as text: `"8.60"` is 8,600,000,000,000.

    Raises ValueError for what is not a number, is negative or over a million dollars, or is finer than a pico-USD (twelve decimal places).
    """
    try:
        amount = Decimal(usd_per_hour)
    except InvalidOperation:
        raise ValueError(f'{usd_per_hour!r} is not an amount of dollars an hour, such as "8.60"') from None
    if not (amount.is_finite() and 0 <= amount <= USD_PER_HOUR_MAX):
        raise ValueError(f"{usd_per_hour!r} is not a price of an accelerator-hour: it must be zero to {USD_PER_HOUR_MAX:,} dollars")
    numerator, denominator = amount.as_integer_ratio()  # exact, where arithmetic on Decimal rounds to its context
    pico, finer = divmod(numerator * PICO_PER_USD, denominator)
    if finer:
        raise ValueError(f"{usd_per_hour!r} is finer than the book keeps: at most twelve decimal places of a dollar an hour")
    return pico


def owned_pico_per_token(*, pico_per_accelerator_hour: int, tokens_per_s_per_accelerator: float, utilisation: float = 1.0) -> float:
    """What a token costs on capacity that is paid by the hour, in pico-USD.

    `tokens_per_s_per_accelerator` is the throughput at full use, of whatever tokens are meant: all of a request's or those of its answer.
    `utilisation` is the share of it that is used over the hours paid for; what stands idle is paid by the tokens that are served.
    Raises ValueError unless the price is zero or more, the throughput above zero, and the utilisation above 0 and at most 1.
    """
    if pico_per_accelerator_hour < 0:
        raise ValueError("an accelerator-hour can't cost less than nothing")
    if not 0 < tokens_per_s_per_accelerator < float("inf"):
        raise ValueError("tokens a second an accelerator must be above zero")
    if not 0 < utilisation <= 1:
        raise ValueError("utilisation must be above 0 and at most 1")
    return pico_per_accelerator_hour / (SECONDS_PER_HOUR * tokens_per_s_per_accelerator * utilisation)
