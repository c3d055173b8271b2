"""A vendor's report, held against what our books say that it charges."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta

import msgspec

from headrace.compose.finance import Finance
from headrace.core.clock import SECOND
from headrace.core.usage import NOTHING, Usage
from headrace.metering import Billed, Booked, Bought, Explained, PriceBook, added, explain, explained, match, moment_of, read_billed
from headrace.metering.catalogue import DATED
from headrace.metering.prices import DAY
from headrace.storage import Tally

MARGIN = 3_600 * SECOND


class Reconciled(msgspec.Struct, frozen=True):
    """Both sums, and what explains their difference, part by part."""

    vendor: str
    billed_pico: int | None
    booked_pico: int
    groups: int
    explained: tuple[Explained, ...]
    requests: int | None = None
    """Of a list of requests: how many were found among our attempts."""

    @property
    def by_cause(self) -> Mapping[str, int]:
        sums: Counter[str] = Counter()
        for one in self.explained:
            sums[one.cause] += one.pico
        return dict(sorted(sums.items()))


def reconcile(finance: Finance, book: PriceBook, vendor: str, texts: Iterable[str]) -> Reconciled:
    """Hold a vendor's files together against the books of the days that they tell of; a list of requests against our attempts, each against
    its own. Raises ValueError for a file that is none."""
    rows = [row for text in texts for row in read_billed(text)]
    if not rows:
        raise ValueError("the report tells of nothing")
    lists = sum(row.moment is not None for row in rows)
    if lists == len(rows):
        return _by_request(finance, book, vendor, rows)
    if lists:
        raise ValueError("some rows are of single requests and some of whole days, which would count twice: give them apart")
    return _by_day(finance, book, vendor, rows)


def _by_request(finance: Finance, book: PriceBook, vendor: str, rows: Sequence[Billed]) -> Reconciled:
    """Attempts of the list's days that it does not have are told, too; those of an hour before and after may be on it."""
    since, until = moment_of(min(row.day for row in rows)), moment_of(max(row.day for row in rows) + timedelta(days=1))
    attempts = finance.bought(vendor, since - MARGIN, until + MARGIN)
    models = {one.model for one in attempts}
    pairs = [
        (line, attempt)
        for line, attempt in match([_named(row, models) for row in rows], attempts)
        if line is not None or (attempt is not None and since <= attempt.admitted < until)
    ]
    found: list[Explained] = []
    for line, attempt in pairs:
        found += explained((line, attempt), {} if attempt is None else _weights(book, vendor, attempt))
    told = [row.pico for row in rows if row.pico is not None]
    booked = sum(attempt.pico for _, attempt in pairs if attempt is not None)
    both = sum(line is not None and attempt is not None for line, attempt in pairs)
    in_order = sorted(found, key=lambda one: (one.day, one.model, one.request, one.line))
    return Reconciled(vendor, sum(told) if told else None, booked, len(rows), tuple(in_order), both)


def _weights(book: PriceBook, vendor: str, attempt: Bought) -> dict[str, tuple[int | None, ...]]:
    """By tier what the vendor charged when it was sent, for a prompt of that length."""
    row = book.price_on(f"{vendor}/{attempt.model}", attempt.admitted)
    if row is None:
        return {}
    return {tier: one.at(attempt.usage.tokens_in).weights for tier, one in {row.tier: row, **row.tiers}.items()}


def _by_day(finance: Finance, book: PriceBook, vendor: str, rows: Sequence[Billed]) -> Reconciled:
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
    return _named(row, {model for _, model in ours})


def _named(row: Billed, known: Collection[str]) -> Billed:
    plain = DATED.sub("", row.model)
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
