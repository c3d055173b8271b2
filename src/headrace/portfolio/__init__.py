"""What exists, as immutable values: the pools that are configured, and what is known of clouds, places, silicon, prices and speeds."""

from headrace.portfolio.catalog import Catalog, catalog
from headrace.portfolio.clouds import Cloud
from headrace.portfolio.contracts import Contract, OnDemand, Owned, Rented, Reserved, Spot, Tokens, kind_of, pico_per_accelerator_hour
from headrace.portfolio.costs import owned_pico_per_token, pico_per_hour
from headrace.portfolio.jurisdictions import COUNTRIES, Jurisdiction
from headrace.portfolio.pools import Dialect, ModelProfile, PathBound, Pool, Snapshot, TokenCost, abilities, context_of, snapshot
from headrace.portfolio.prices import PriceRow
from headrace.portfolio.regions import Region
from headrace.portfolio.serving import ServingPoint
from headrace.portfolio.silicon import Silicon

__all__ = [
    "COUNTRIES",
    "Catalog",
    "Cloud",
    "Contract",
    "Dialect",
    "Jurisdiction",
    "ModelProfile",
    "OnDemand",
    "Owned",
    "PathBound",
    "Pool",
    "PriceRow",
    "Region",
    "Rented",
    "Reserved",
    "ServingPoint",
    "Silicon",
    "Snapshot",
    "Spot",
    "TokenCost",
    "Tokens",
    "abilities",
    "catalog",
    "context_of",
    "kind_of",
    "owned_pico_per_token",
    "pico_per_accelerator_hour",
    "pico_per_hour",
    "snapshot",
]
