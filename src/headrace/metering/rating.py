"""What usage costs: counts times prices, in integers, with no rounding anywhere."""

from headrace.core.usage import Usage
from headrace.metering.prices import Price


def rate(usage: Usage, price: Price | None) -> int | None:
    """The exact cost in pico-USD; None where there is no price for what was used: unpriced, never free.

    What is written to the cache, for however long, costs what input costs, until the book has tiers.
    """
    if price is None:
        return None
    cost = (usage.uncached + usage.cache_written) * price.input_pico + usage.cache_read * price.cached_input_pico
    tokens_out = usage.output + usage.reasoning
    if not tokens_out:
        return cost
    if price.output_pico is None:
        return None
    return cost + tokens_out * price.output_pico


def rate_bound(bound: Usage, price: Price | None) -> int | None:
    """The most that usage within `bound` can cost: its input at the dearer of the two input prices, its output in full."""
    if price is None:
        return None
    cost = bound.tokens_in * max(price.input_pico, price.cached_input_pico)
    if not bound.tokens_out:
        return cost
    if price.output_pico is None:
        return None
    return cost + bound.tokens_out * price.output_pico
