"""A vendor's report, held against what our books say that it charges."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date, timedelta

import msgspec

from headrace.compose.finance import Finance
from headrace.core.usage import NOTHING, Usage
from headrace.metering import Billed, Booked, Explained, PriceBook, added, explain, moment_of, read_billed
from headrace.metering.catalogue import DATED
from headrace.metering.prices import DAY
from headrace.storage import Tally


class Reconciled(msgspec.Struct, frozen=True):
    """Both sums, and what explains their difference, part by part."""

    vendor: str
    billed_pico: int | None
    booked_pico: int
    groups: int
    explained: tuple[Explained, ...]

    @property
    def by_cause(self) -> Mapping[str, int]:
        sums: Counter[str] = Counter()
        for one in self.explained:
            sums[one.cause] += one.pico
        return dict(sorted(sums.items()))


def reconcile(finance: Finance, book: PriceBook, vendor: str, texts: Iterable[str]) -> Reconciled:
    """Hold a vendor's files together against the books of the days that they tell of. Raises ValueError for a file that is none."""
    rows = [row for text in texts for row in read_billed(text)]
    if not rows:
        raise ValueError("the report tells of nothing")
    first, last = min(row.day for row in rows), max(row.day for row in rows)
    tallied = finance.purchased(vendor, moment_of(first), moment_of(last + timedelta(days=1)))
    ours: dict[tuple[date, str], Booked] = {}
    for (day, model), found in tallied.items():
        ours[day, model] = _booked(vendor, model, day, found, book)
    billed = added([_as_ours(row, ours) for row in rows])
    counts = Counter((row.day, row.model) for row in (_as_ours(row, ours) for row in rows))
    explained: list[Explained] = []
    for name in sorted({*billed, *ours}):
        if name in billed and name in ours:
            explained += explain(billed[name], ours[name], counts[name])
        elif name in billed:
            one = billed[name]
            explained.append(Explained(*name, "unknown", one.pico or 0, one.usage.total if one.usage else 0))
        else:
            explained.append(Explained(*name, "unknown", -ours[name].pico, -ours[name].usage.total))
    told = [row.pico for row in billed.values() if row.pico is not None]
    return Reconciled(vendor, sum(told) if told else None, sum(one.pico for one in ours.values()), len(billed), tuple(explained))


def _as_ours(row: Billed, ours: Mapping[tuple[date, str], Booked]) -> Billed:
    """A row under the name by which we ask: vendors tell the dated name of what served."""
    plain = DATED.sub("", row.model)
    known = {model for _, model in ours}
    return row if row.model in known or plain not in known else msgspec.structs.replace(row, model=plain)


def _booked(vendor: str, model: str, day: date, found: Mapping[str, Tally], book: PriceBook) -> Booked:
    sums = list(found.values())
    row = book.price_on(f"{vendor}/{model}", moment_of(day) + DAY - 1)
    weights = {} if row is None else {row.tier: row.weights, **{tier: other.weights for tier, other in row.tiers.items()}}
    used = [Usage(*tokens) for tally in sums for tokens in (tally.tokens, tally.tokens_ours)]
    return Booked(
        usage=_sum(used),
        pico=sum(tally.buy_pico for tally in sums),
        requests=sum(tally.requests + tally.ours for tally in sums),
        uncertain=_sum([Usage(*tally.tokens_uncertain) for tally in sums]),
        failed=sum(tally.void for tally in sums),
        weights=weights,
        tier=next((tier for tier in found if tier in weights), "standard"),
    )


def _sum(usages: Iterable[Usage]) -> Usage:
    total = msgspec.structs.astuple(NOTHING)
    for usage in usages:
        total = tuple(a + b for a, b in zip(total, msgspec.structs.astuple(usage), strict=True))
    return Usage(*total)
