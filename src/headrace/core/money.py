"""Money is an integer of pico-USD (10⁻¹² dollar), so that a token's price, a request's cost and a year's bill are exact.

`$2.50 a million tokens` is 2,500,000 pico-USD a token. Totals may pass 2⁶³: Python integers hold them, stores keep them as text.
"""

from decimal import Decimal, InvalidOperation

PICO_PER_USD = 10**12
PICO_PER_TOKEN = 10**6  # one dollar a million tokens, in pico-USD a token


def pico_per_token(usd_per_mtok: str) -> int:
    """The price of one token, from dollars a million tokens written as text: `"0.25"` is 250,000.

    Raises ValueError for what is not a number, is negative, or is finer than a pico-USD a token (six decimal places).
    """
    try:
        price = Decimal(usd_per_mtok)
    except InvalidOperation:
        raise ValueError(f'{usd_per_mtok!r} is not an amount of dollars a million tokens, such as "0.25"') from None
    if not price.is_finite() or price < 0:
        raise ValueError(f"{usd_per_mtok!r} is not a price: it must be zero or more")
    numerator, denominator = price.as_integer_ratio()  # exact, where arithmetic on Decimal rounds to 28 digits
    pico, finer = divmod(numerator * PICO_PER_TOKEN, denominator)
    if finer:
        raise ValueError(f"{usd_per_mtok!r} is finer than the book keeps: at most six decimal places of a dollar a million tokens")
    return pico


def pico_of(usd: str) -> int:
    """An amount of dollars written as text: `"12.50"` is 12,500,000,000,000 pico-USD. Raises ValueError for what is none."""
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ValueError(f'{usd!r} is not an amount of dollars, such as "12.50"') from None
    if not amount.is_finite() or not 0 <= amount < 10**15:
        raise ValueError(f"{usd!r} is not an amount of money to spend")
    numerator, denominator = amount.as_integer_ratio()
    pico, finer = divmod(numerator * PICO_PER_USD, denominator)
    if finer:
        raise ValueError(f"{usd!r} is finer than a pico-dollar: at most twelve decimal places")
    return pico


def usd(pico: int) -> str:
    """All of an amount, to its last digit: 1,234,500 pico-USD is `"0.0000012345"`."""
    if pico < 0:
        return f"-{usd(-pico)}"
    digits = f"{pico % PICO_PER_USD:012d}".rstrip("0")
    return f"{pico // PICO_PER_USD}.{digits.ljust(2, '0')}"


def usd_per_mtok(pico: int) -> str:
    """A price of one token in dollars a million tokens: 250,000 is `"0.25"`."""
    return usd(pico * PICO_PER_TOKEN)
