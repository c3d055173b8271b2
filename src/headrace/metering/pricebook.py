"""The price book: which row held at a moment, by what was known then or is known now.

A book is built of layers, the shipped rows first and the operator's after them. A layer has the last word on a model from its own
first row on: rows of earlier layers that start then or later are hidden. So a price that an operator set is never overturned by an
update of the package, and a row without a date holds for ever. A row that ends gives way to the one before it.

Two kinds of time: a row holds from a day on (`valid_from`), and the book knows of it from another (`recorded`). `as_known` is the book as
it was, so that a bill can be computed again as it was computed.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from headrace.core.clock import Moment
from headrace.metering.prices import STANDARD, Price, agreed, share_of
from headrace.portfolio import Pool

KEPT_MAX = 100_000
FOREVER: Moment = 2**63 - 1


class CustomerContract(msgspec.Struct, frozen=True, kw_only=True):
    """What was agreed with a customer: a share of the list price, or rows of its own (`prices`), for the models named, else for all."""

    name: str
    organization: str
    project: str | None = None
    models: frozenset[str] = frozenset()
    permille: int = 1_000
    prices: tuple[Price, ...] = ()
    valid_from: Moment = 0
    valid_to: Moment | None = None

    def covers(self, organization: str, project: str, model: str, moment: Moment) -> bool:
        return (
            self.organization == organization
            and self.project in (None, project)
            and (not self.models or model in self.models)
            and self.valid_from <= moment
            and (self.valid_to is None or moment < self.valid_to)
        )

    @property
    def specificity(self) -> tuple[bool, bool, Moment]:
        """Compares as: one of a project before one of its organisation, one that names models before one for all, the later the first."""
        return self.project is not None, bool(self.models), self.valid_from


class Uplift(msgspec.Struct, frozen=True, kw_only=True):
    """What service at some place costs of the price elsewhere, such as 1,100 thousandths within a jurisdiction."""

    permille: int
    jurisdiction: str | None = None
    cloud: str | None = None
    region: str | None = None
    models: frozenset[str] = frozenset()

    def covers(self, pool: Pool, model: str) -> bool:
        return (
            (self.jurisdiction is None or self.jurisdiction in pool.jurisdictions)
            and self.cloud in (None, pool.cloud)
            and self.region in (None, pool.region)
            and (not self.models or model in self.models)
        )


class Sale(msgspec.Struct, frozen=True, gc=False):
    """Whom a model is sold to, and as what: `tier` None is whichever serves, `permille` the traffic class's share of the price."""

    model: str
    organization: str = ""
    project: str = ""
    tier: str | None = None
    permille: int = 1_000


class PriceBook:
    """Which row holds when; immutable. Later layers come before earlier ones, see the module's docstring."""

    __slots__ = ("_contracts", "_held", "_layers", "_rows", "_shares", "_starts", "_uplifts")

    def __init__(self, *layers: Iterable[Price], contracts: Iterable[CustomerContract] = (), uplifts: Iterable[Uplift] = ()) -> None:
        self._layers = tuple(tuple(layer) for layer in layers)
        rows: dict[str, tuple[Price, ...]] = {}
        for layer in self._layers:
            for model, own in _by_model(layer).items():
                below = (row for row in rows.get(model, ()) if row.valid_from < own[0].valid_from)
                rows[model] = (*below, *own)
        self._rows = rows
        self._contracts, self._uplifts = tuple(contracts), tuple(uplifts)
        self._shares: dict[tuple[str, int], Price] = {}
        self._held: dict[tuple[Sale, str | None], tuple[Moment, Moment, Price | None]] = {}
        self._starts = {model: tuple(row.valid_from for row in of_model) for model, of_model in rows.items()}

    @property
    def rows(self) -> tuple[Price, ...]:
        """Every row that can hold, by model and then by date."""
        return tuple(row for model in sorted(self._rows) for row in self._rows[model])

    @property
    def heeds_place(self) -> bool:
        """Whether a price depends on where it is served."""
        return bool(self._uplifts)

    @property
    def contracts(self) -> tuple[CustomerContract, ...]:
        return self._contracts

    def as_known(self, recorded: Moment) -> "PriceBook":
        """The book without what it learned after `recorded`."""
        layers = [[row for row in layer if row.recorded <= recorded] for layer in self._layers]
        return PriceBook(*layers, contracts=self._contracts, uplifts=self._uplifts)

    def price_on(self, model: str, moment: Moment, permille: int = 1_000) -> Price | None:
        """The row of `model` with the latest start at or before `moment`, at so many thousandths of its prices; None: unpriced."""
        price = self._row(model, moment)
        if price is None or permille == 1_000:
            return price
        held = self._shares.get((price.id, permille))
        if held is None:
            held = self._shares[price.id, permille] = share_of(price, permille)
        return held

    def sale(self, sale: Sale, moment: Moment, pool: Pool | None = None) -> Price | None:
        """What is charged for `sale` at `pool`: the customer's contract, else the list price; in its tier, else at its class's share; and
        with what the place costs more. Without a pool: the most that it can cost anywhere. None: unpriced."""
        key = sale, None if pool is None else pool.name
        held = self._held.get(key)
        if held is not None and held[0] <= moment < held[1]:
            return held[2]
        if len(self._held) >= KEPT_MAX:
            self._held.clear()
        price = self._sold(sale, moment, pool)
        self._held[key] = (*self._span(sale.model, moment), price)
        return price

    def _sold(self, sale: Sale, moment: Moment, pool: Pool | None) -> Price | None:
        price, own = self._by_contract(sale, moment)
        if price is None:
            return None
        if sale.tier is not None and price.tiers and sale.tier != STANDARD:
            return self._raised(in_tier(price, sale.tier), sale.model, pool, own)
        if sale.permille != 1_000:
            price = share_of(price, sale.permille)
        return self._raised(price, sale.model, pool, own)

    def _by_contract(self, sale: Sale, moment: Moment) -> tuple[Price | None, bool]:
        """What was agreed with the customer, and whether it is a price of its own, else the list price."""
        row = self._row(sale.model, moment)
        found = [one for one in self._contracts if one.covers(sale.organization, sale.project, sale.model, moment)]
        if not found:
            return row, False
        contract = max(found, key=lambda one: one.specificity)
        own = _holding([price for price in contract.prices if price.model == sale.model], moment)
        if own is not None:
            return own if row is None else agreed(own, row), True
        if row is None or contract.permille == 1_000:
            return row, False
        return agreed(share_of(row, contract.permille, f"~{contract.name}*"), row), False

    def _raised(self, price: Price | None, model: str, pool: Pool | None, own: bool) -> Price | None:
        """With what the place costs more; a price that was agreed on is the whole price."""
        if price is None or own or not self._uplifts:
            return price
        if pool is None:
            permille = max([1_000, *(one.permille for one in self._uplifts if not one.models or model in one.models)])
        else:
            permille = next((one.permille for one in self._uplifts if one.covers(pool, model)), 1_000)
        return price if permille == 1_000 else share_of(price, permille, "^")

    def _row(self, model: str, moment: Moment) -> Price | None:
        starts = self._starts.get(model)
        if starts is None:
            return None
        for row in reversed(self._rows[model][: bisect_right(starts, moment)]):
            if row.valid_to is None or moment < row.valid_to:
                return row
        return None

    def _span(self, model: str, moment: Moment) -> tuple[Moment, Moment]:
        """Between which moments nothing about the price of `model` changes."""
        rows: Sequence[Price] = self._rows.get(model, ())
        edges = {0, FOREVER, *(row.valid_from for row in rows), *(row.valid_to for row in rows if row.valid_to is not None)}
        for contract in self._contracts:
            edges |= {contract.valid_from, contract.valid_to or FOREVER}
            edges |= {edge for price in contract.prices for edge in (price.valid_from, price.valid_to or FOREVER)}
        order = sorted(edges)
        at = bisect_right(order, moment)
        return order[at - 1], order[at]


def in_tier(price: Price, tier: str) -> Price | None:
    """The row of another service tier, which knows those beside it; None: the book has no such tier."""
    found = price.tiers.get(tier)
    if found is None:
        return None
    beside = {name: other for name, other in price.tiers.items() if name != tier}
    return msgspec.structs.replace(found, tiers={**beside, price.tier: msgspec.structs.replace(price, tiers={})})


def _holding(rows: Iterable[Price], moment: Moment) -> Price | None:
    held = [row for row in rows if row.valid_from <= moment and (row.valid_to is None or moment < row.valid_to)]
    return max(held, key=lambda row: row.valid_from, default=None)


def _by_model(layer: Iterable[Price]) -> dict[str, tuple[Price, ...]]:
    """The rows of one layer by model, in order of date; of two that start together the later in the layer holds."""
    rows: dict[str, dict[Moment, Price]] = {}
    for row in layer:
        rows.setdefault(row.model, {})[row.valid_from] = row
    return {model: tuple(starts[start] for start in sorted(starts)) for model, starts in rows.items()}
