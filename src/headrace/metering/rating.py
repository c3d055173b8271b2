"""What usage costs: counts times prices, in integers, with no rounding anywhere.

What is sold is priced by the tier that was asked for, or by the one that served where that is cheaper: nobody pays more than the bound that
was held. What is bought is priced by the tier that the vendor says it served in.
"""

from collections.abc import Iterable, Sequence
from operator import mul
from typing import TypeAlias

import msgspec

from headrace.core.usage import Usage
from headrace.metering.prices import REQUEST, Price

Calls: TypeAlias = Sequence[tuple[str, int]]
"""The tools that a vendor ran, and how often."""
Rated: TypeAlias = tuple[Price | None, int | None]
"""The row that held, and the exact cost in pico-USD; None: unpriced."""


def rate(usage: Usage, price: Price | None, calls: Calls = ()) -> int | None:
    """The exact cost in pico-USD; None where there is no price for what was used: unpriced, never free."""
    if price is None:
        return None
    row = price.at(usage.tokens_in) if price.above else price
    whole, counts = row.whole, msgspec.structs.astuple(usage)
    if whole is not None:
        cost: int = sum(map(mul, counts, whole))
    else:
        cost = 0
        for count, pico in zip(counts, row.weights, strict=True):
            if count:
                if pico is None:
                    return None
                cost += count * pico
    if not calls and not row.fees:
        return cost
    fees = _fees(row, calls)
    return None if fees is None else cost + fees


def priced_units(units: Calls, price: Price | None) -> Calls:
    """Of what was counted in anything but tokens, that which the row has a price for: the rest of it is paid by the token."""
    return () if price is None or not units else tuple([one for one in units if one[0] in price.fees])


def by_request_only(price: Price) -> bool:
    """Whether a request costs the same whatever it uses: tokens nothing, and nothing else is counted."""
    rows = (price, *(step.price for step in price.above))
    return all(one.whole is not None and not any(one.whole) and one.fees.keys() <= {REQUEST} for one in rows)


def sold(usage: Usage, price: Price | None, served: str | None = None, calls: Calls = ()) -> Rated:
    """What a customer pays who was promised `price`, and was served in the tier `served`, where that is known. Where the book has no price
    for that tier, the promise holds."""
    if price is None:
        return None, None
    other = price.tiers.get(served) if served is not None and served != price.tier else None
    if other is None:
        return price.at(usage.tokens_in) if price.above else price, rate(usage, price, calls)
    asked, got = rate(usage, price, calls), rate(usage, other, calls)
    cheaper = price if asked is not None and (got is None or asked <= got) else other
    return cheaper.at(usage.tokens_in), asked if cheaper is price else got


def bought(usage: Usage, price: Price | None, served: str | None = None, calls: Calls = ()) -> Rated:
    """What a vendor charges who served in the tier `served`; of one that says nothing the row that was expected holds."""
    if price is not None and served is not None and served != price.tier:
        price = price.tiers.get(served)
    return (None, None) if price is None else (price.at(usage.tokens_in), rate(usage, price, calls))


def rate_bound(bound: Usage, price: Price | None, calls: Calls = ()) -> int | None:
    """The most that usage within `bound` can cost: every token at the dearest price that it can come to, however the input turns out to be
    cached and whatever length it has at last. `calls`: the most calls of each tool."""
    if price is None:
        return None
    most = _bound(bound, price, calls)
    for step in price.above:
        if most is not None and bound.tokens_in > step.tokens_in:
            longer = _bound(bound, step.price, calls)
            most = None if longer is None else max(most, longer)
    return most


def _bound(bound: Usage, row: Price, calls: Calls) -> int | None:
    input_pico, output_pico = row.dearest
    cost = bound.tokens_in * input_pico
    if bound.tokens_out:
        if output_pico is None:
            return None
        cost += bound.tokens_out * output_pico
    if not calls and not row.fees:
        return cost
    fees = _fees(row, calls)
    return None if fees is None else cost + fees


def _fees(row: Price, calls: Calls) -> int | None:
    """What calls cost, and the request itself; None: one has no price."""
    fees = 0
    for name, count in _calls(row, calls):
        if name not in row.fees:
            return None
        fees += count * row.fees[name]
    return fees


def _calls(row: Price, calls: Calls) -> Iterable[tuple[str, int]]:
    return (*calls, (REQUEST, 1)) if REQUEST in row.fees else calls
