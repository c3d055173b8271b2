"""What can be had: accelerators under a term, tokens by price, and what is held already; and the limits that a plan keeps."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeAlias

import msgspec

from headrace.core.money import PICO_PER_USD
from headrace.portfolio import Catalog
from headrace.portfolio.prices import HourlyKind
from headrace.portfolio.tables import read_tables, rows

Term: TypeAlias = Literal["owned", "reserved_3y", "reserved_1y", "on_demand", "spot"]
TERMS: tuple[Term, ...] = ("owned", "reserved_3y", "reserved_1y", "on_demand", "spot")
QUARTERS: Mapping[Term, int] = {"owned": 20, "reserved_3y": 12, "reserved_1y": 4}
"""How long one is bound. What isn't here is held by the hour."""
LEAD_QUARTERS: Mapping[Term, int] = {"owned": 2, "reserved_3y": 1}
"""From order to use, where the offer doesn't say: an assumption, since no vendor promises it."""
QUANTUM: Mapping[str, int] = {"nvidia-gb200": 72, "nvidia-gb300": 72, "aws-trainium1": 16, "aws-trainium2": 16, "cerebras-cs3": 1}
"""Accelerators that are bought together, by silicon: a rack, an instance. Of what isn't here, eight: a node."""
QUANTUM_DEFAULT = 8
SPOT_AVAILABLE = 0.7
"""The share of the spot accelerators paid for that is there at a time: an assumption; the rest is being replaced."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Offer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accelerators of one kind at one place under one term.

    Without `usd_per_accelerator_hour` at the list price. `country` says where machines of your own are. They come in multiples of
    `quantum`, at most `accelerators_max`, to be ordered `lead_quarters` ahead. Of the hours of a term at least the share `take_or_pay` is
    paid, used or not. `available` of spot: the share of those paid for that is there. `quarters` is how long one is bound.
    """

    cloud: str
    region: str
    silicon: str
    term: Term
    country: str | None = None
    usd_per_accelerator_hour: Amount | None = None
    quantum: Annotated[int, msgspec.Meta(ge=1)] | None = None
    accelerators_max: Annotated[int, msgspec.Meta(ge=0)] | None = None
    lead_quarters: Annotated[int, msgspec.Meta(ge=0)] | None = None
    take_or_pay: Share = 1.0
    available: Share | None = None
    quarters: Annotated[int, msgspec.Meta(ge=1)] | None = None
    grade: str = "settings"

    @property
    def committed(self) -> bool:
        """It is bound for a term, and so bought before it is known how things turn out."""
        return self.term in QUARTERS

    @property
    def size(self) -> int:
        return self.quantum or QUANTUM.get(self.silicon, QUANTUM_DEFAULT)

    @property
    def lead(self) -> int:
        return LEAD_QUARTERS.get(self.term, 0) if self.lead_quarters is None else self.lead_quarters

    @property
    def length(self) -> int:
        return self.quarters or QUARTERS.get(self.term, 1)

    @property
    def share_there(self) -> float:
        if self.available is not None:
            return self.available
        return SPOT_AVAILABLE if self.term == "spot" else 1.0


class Market(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Many offers at once: each silicon in each region of a cloud that the catalog has a price for, under each of the terms.

    `discounts` from the price on demand, by term, where no price of that term is known or another was agreed.
    """

    cloud: str
    regions: tuple[str, ...]
    silicon: tuple[str, ...]
    terms: tuple[Term, ...] = ("reserved_3y", "on_demand", "spot")
    discounts: Mapping[Term, Share] = {}
    accelerators_max: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Held(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Accelerators that are bound already, for `quarters_left` more quarters from the first on."""

    cloud: str
    region: str
    silicon: str
    country: str | None = None
    accelerators: Annotated[int, msgspec.Meta(ge=1)]
    usd_per_accelerator_hour: Amount = 0.0
    quarters_left: Annotated[int, msgspec.Meta(ge=1)] = 20


class TokenOffer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens of one model by price, from a vendor who has the accelerators. `usd_per_quarter_min` is paid, used or not."""

    cloud: str
    region: str = "anywhere"
    model: str
    input: Amount
    cached_input: Amount | None = None
    output: Amount
    tokens_per_s_max: Amount | None = None
    usd_per_quarter_min: Amount = 0.0
    ttft_ms: Amount = 500.0
    tpot_ms: Amount = 20.0


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan keeps to. Shares are of all that is spent. `outage`: what may fail without anyone noticing who can't wait.

    `utilisation` is how full accelerators may be with what can't wait, `utilisation_deferrable` with all there is; `caution` is the share
    of a speed's possible error that is taken off it. `accelerators_max` is by silicon, `power_kw_max` by `cloud/region`. `carbon_t_max` is
    tonnes a quarter, `usd_per_carbon_t` a price on each, `carbon_g_per_kwh` what a grid has of which nothing is known.
    `risk_share` weighs the mean of the dearest `risk_tail` of cases against the expected cost. `tail_share` is how much of what is still
    owed after the last quarter counts.
    """

    quarters: Annotated[int, msgspec.Meta(ge=1, le=20)] = 4
    blocks: Annotated[int, msgspec.Meta(ge=1, le=24)] = 4
    cloud_share_max: Mapping[str, Share] = {}
    silicon_vendor_share_max: Mapping[str, Share] = {}
    spot_share_max: Share = 0.0
    outage: Literal["none", "region", "cloud"] = "none"
    utilisation: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.7
    utilisation_deferrable: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    caution: Share = 0.0
    accelerators_max: Mapping[str, int] = {}
    power_kw_max: Mapping[str, Amount] = {}
    carbon_t_max: Amount | None = None
    usd_per_carbon_t: Amount = 0.0
    carbon_g_per_kwh: Amount = 400.0
    risk_share: Share = 0.0
    risk_tail: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.1
    tail_share: Share = 0.0


class Supply(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be had, and under which limits."""

    offers: tuple[Offer, ...] = ()
    markets: tuple[Market, ...] = ()
    tokens: tuple[TokenOffer, ...] = ()
    held: tuple[Held, ...] = ()
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        keys = [(each.cloud, each.region, each.silicon, each.term) for each in self.offers]
        if twice := {key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else set():
            raise ValueError(f"there are two offers of {' '.join(min(twice))}: give one, or different terms")


def parse_supply(text: str) -> Supply:
    """The supply of a TOML text. Raises ValueError that says what is wrong, and in which row."""
    tables = read_tables(text, "portfolio", frozenset({"offer", "market", "tokens", "held", "limits"}))
    limits = rows(tables["limits"], "limits", Limits)
    if len(limits) > 1:
        raise ValueError("the portfolio has [[limits]] twice: it has one")
    return Supply(
        offers=rows(tables["offer"], "offers", Offer),
        markets=rows(tables["market"], "markets", Market),
        tokens=rows(tables["tokens"], "tokens", TokenOffer),
        held=rows(tables["held"], "held accelerators", Held),
        limits=limits[0] if limits else Limits(),
    )


def offers_of(market: Market, catalog: Catalog) -> tuple[Offer, ...]:
    """The market's offers at the catalog's prices, or at the discount from the price on demand; what has neither is not offered.

    Of a price that was seen in a range it is the upper end. Raises ValueError for a region that the catalog doesn't know.
    """
    found: list[Offer] = []
    for region in market.regions:
        if catalog.region(market.cloud, region) is None:
            near = catalog.nearest("region", region, cloud=market.cloud)
            raise ValueError(f"no region {region!r} of {market.cloud} is known{f': did you mean {near[0]}?' if near else ''}")
        for silicon in market.silicon:
            found += _at(market, region, silicon, catalog)
    return tuple(found)


_LISTED: Mapping[Term, HourlyKind] = {
    "owned": "owned",
    "reserved_3y": "reserved",
    "reserved_1y": "reserved",
    "on_demand": "on_demand",
    "spot": "spot",
}


def _at(market: Market, region: str, silicon: str, catalog: Catalog) -> Iterable[Offer]:
    asked = catalog.list_price(market.cloud, region, silicon, "on_demand")
    if asked is None:
        return  # the cloud doesn't have it there; an estimate of no cloud in particular is no offer
    for term in market.terms:
        off = market.discounts.get(term)
        row = asked if off is not None else catalog.list_price(market.cloud, region, silicon, _LISTED[term])
        if row is not None and (off is not None or term != "reserved_1y"):
            yield Offer(
                cloud=market.cloud,
                region=region,
                silicon=silicon,
                term=term,
                usd_per_accelerator_hour=row.pico_per_accelerator_hour_max / PICO_PER_USD * (1 - (off or 0)),
                accelerators_max=market.accelerators_max,
                grade=row.grade if off is None else "discount",
            )


def inside(holding: frozenset[str], required: Iterable[str] | None, known: frozenset[str]) -> bool:
    """Whether one of the required jurisdictions is among those that hold at a place. Raises ValueError for a name that is none."""
    if required is None:
        return True
    wanted = frozenset(required)
    if wanted - known:
        raise ValueError(f"no jurisdiction is named {min(wanted - known)!r}: give a country's code in lower case, or a name such as eu")
    return not holding.isdisjoint(wanted)
