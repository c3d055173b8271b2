"""A past period rated again under another book: what would have changed, model by model."""

from collections.abc import Iterable, Mapping

import msgspec

from headrace.metering import PriceBook, Sale, sold
from headrace.metering.prices import STANDARD
from headrace.storage import Rated


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What one model cost in a period, and would have under another book. `unpriced` attempts would have no price there."""

    model: str
    tier: str
    requests: int
    was_pico: int
    would_pico: int
    unpriced: int


def rerated(attempts: Iterable[Rated], book: PriceBook, shares: Mapping[str, int], tier: str | None = None) -> list[Changed]:
    """Rate attempts again at the moment of each, in the tier in which each was served, or all in `tier`. `shares`: the thousandths of the
    price that a traffic class pays."""
    sums: dict[tuple[str, str], list[int]] = {}
    for one in attempts:
        asked = tier or one.tier
        sale = Sale(one.model, one.organization, one.project, asked or None, shares.get(one.traffic_class, 1_000))
        _, pico = sold(one.usage, book.sale(sale, one.admitted), None, one.calls)
        found = sums.setdefault((one.model, asked or STANDARD), [0, 0, 0, 0])
        found[0] += 1
        found[1] += one.cost_pico
        found[2] += pico or 0
        found[3] += pico is None
    return [
        Changed(model=model, tier=asked, requests=row[0], was_pico=row[1], would_pico=row[2], unpriced=row[3])
        for (model, asked), row in sorted(sums.items())
    ]
