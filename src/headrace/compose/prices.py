"""The two price books of a server, what is sold and what vendors charge: from the package, the settings, and what was set at run time."""

import functools
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.resources import files

from headrace.compose.pools import PoolSettings
from headrace.compose.settings import ContractSettings, Settings, UpliftSettings
from headrace.metering import (
    Catalogue,
    CustomerContract,
    Price,
    PriceBook,
    Purchases,
    Uplift,
    WrittenPrice,
    compiled,
    moment_of,
    parse_prices,
)
from headrace.metering.prices import permille_of
from headrace.portfolio import Rented
from headrace.storage import PriceSet

VENDORS = {"gcp": "google", "xai": "x-ai"}
"""By our name of a vendor the catalogue's, where they differ."""


@functools.cache
def catalogue() -> Catalogue:
    """Vendors' published prices, as the package ships them."""
    return Catalogue((files("headrace.metering") / "data" / "catalogue.json").read_bytes())


@functools.cache
def _listed() -> tuple[Price, ...]:
    """What makers charge for their models, and above it the shipped book."""
    known = catalogue()
    return tuple(price for model in known.models() for price in known.sold(model))


@functools.cache
def _shipped() -> tuple[Price, ...]:
    return parse_prices((files("headrace.metering") / "prices.toml").read_text(encoding="utf-8"))


def price_book(settings: Settings, prices: Sequence[PriceSet] = ()) -> PriceBook:
    """What is sold: makers' lists, the shipped rows above them, the settings' own above those, and last what was set at run time."""
    own = [compiled(model.price(model.usd_per_mtok)) for model in settings.model if model.usd_per_mtok is not None]
    return PriceBook(
        _listed(),
        _shipped(),
        own,
        [one.price for one in prices if one.side == "sell"],
        contracts=[_contract(one) for one in settings.contract],
        uplifts=[_uplift(one) for one in settings.uplift],
    )


def purchases(settings: Settings, prices: Iterable[PriceSet] = ()) -> Purchases:
    """What vendors charge: their lists, and above them what was set at run time for a vendor, and what a pool's settings say."""
    names: dict[tuple[str, str], str] = {}
    rows: dict[str, tuple[Price, ...]] = {}
    own: list[Price] = []
    for pool in settings.pool:
        if pool.dialect == "local" or isinstance(pool.contract, Rented):
            continue
        for ours, its in pool.models.items():
            name = f"{vendor_of(pool)}/{its}"
            if pool.usd_per_mtok is not None:
                name = f"{vendor_of(pool)}/{pool.name}/{its}"
                own.append(compiled(WrittenPrice(model=name, usd_per_mtok=pool.usd_per_mtok, source=f"pool {pool.name}")))
            names[pool.name, ours] = name
            rows[name] = catalogue().bought(VENDORS.get(vendor_of(pool), vendor_of(pool)), its)
    listed = [price.renamed(name) for name, held in rows.items() for price in held]
    return Purchases(PriceBook(listed, own, [one.price for one in prices if one.side == "buy"]), names)


def vendor_of(pool: PoolSettings) -> str:
    """Who charges for a pool."""
    return pool.vendor or pool.cloud


def _contract(one: ContractSettings) -> CustomerContract:
    return CustomerContract(
        name=one.name,
        organization=one.organization,
        project=one.project,
        models=frozenset(one.models),
        permille=permille_of(one.multiple),
        prices=tuple(compiled(price, prefix=f"{one.name}/") for price in one.prices()),
        valid_from=_moment(one.valid_from) or 0,
        valid_to=_moment(one.valid_to),
    )


def _uplift(one: UpliftSettings) -> Uplift:
    return Uplift(
        permille=permille_of(one.multiple),
        jurisdiction=one.jurisdiction,
        cloud=one.cloud,
        region=one.region,
        models=frozenset(one.models),
    )


def _moment(day: date | None) -> int | None:
    return None if day is None else moment_of(day)
