"""What is configured, looked at without a server: the pools with their places and costs, and whether a server would take the settings."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, TypeAlias

import msgspec

from headrace.compose.adapters import Adapters
from headrace.compose.capacity import UNKNOWN_COST, pool_of, region_of, shipped_catalog
from headrace.compose.checkup import Finding
from headrace.compose.clock import MachineClock, Names
from headrace.compose.pools import PoolSettings
from headrace.compose.prices import price_book
from headrace.compose.settings import Settings
from headrace.compose.world import EMBEDDED, fixed_keys, live_world, what_exists
from headrace.core.clock import Moment
from headrace.core.money import usd_per_mtok
from headrace.gateway import World
from headrace.portfolio import Catalog, Contract, Pool, Rented, TokenCost, Tokens, kind_of
from headrace.routing import broken_rule

Basis: TypeAlias = Literal["settings", "price book", "measured", "vendor-claimed", "estimated", "unknown"]
"""How a cost is known: said in the settings, a row of the price book, or reckoned from a serving point of that grade."""


class Tariff(msgspec.Struct, frozen=True, kw_only=True):
    """What a million tokens of one model cost us at a pool, in US dollars as text; of owned capacity, at full use.

    With `basis` unknown they are what placement reckons with, so that nobody is preferred for what isn't known.
    """

    model: str
    served_as: str
    input: str
    cached_input: str
    output: str
    basis: Basis


class PoolOverview(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as the settings describe it. `owned`: it is paid by the hour, used or not. A local pool names its models when it runs."""

    name: str
    dialect: str
    vendor: str
    cloud: str
    region: str
    jurisdictions: tuple[str, ...]
    silicon: str
    contract: str
    owned: bool
    concurrency_max: int
    tariffs: tuple[Tariff, ...]


def overview(settings: Settings, moment: Moment) -> tuple[PoolOverview, ...]:
    """Every pool of the settings, in their order. Raises SettingsInvalid where one can't be what it says."""
    book, known = price_book(settings), shipped_catalog().with_silicon(settings.silicon)
    return tuple(
        _local(asked) if asked.dialect == "local" else _remote(asked, pool_of(asked, settings.silicon, book, moment), known)
        for asked in settings.pool or (EMBEDDED,)
    )


def _local(asked: PoolSettings) -> PoolOverview:
    return PoolOverview(
        name=asked.name,
        dialect=asked.dialect,
        vendor=asked.vendor or asked.cloud,
        cloud=asked.cloud,
        region=asked.region,
        jurisdictions=tuple(sorted(region_of(asked).jurisdictions)),
        silicon=asked.silicon,
        contract="this machine",
        owned=True,
        concurrency_max=asked.concurrency_max,
        tariffs=(),
    )


def _remote(asked: PoolSettings, pool: Pool, known: Catalog) -> PoolOverview:
    return PoolOverview(
        name=pool.name,
        dialect=pool.dialect,
        vendor=pool.vendor,
        cloud=pool.cloud,
        region=pool.region,
        jurisdictions=tuple(sorted(pool.jurisdictions)),
        silicon=pool.silicon,
        contract=_said(asked.contract),
        owned=pool.owned,
        concurrency_max=pool.concurrency_max,
        tariffs=tuple(_tariff(asked, cost, ours, known) for ours, cost in pool.costs.items()),
    )


def _tariff(asked: PoolSettings, cost: TokenCost, model: str, known: Catalog) -> Tariff:
    return Tariff(
        model=model,
        served_as=asked.models[model],
        input=usd_per_mtok(round(cost.input_pico)),
        cached_input=usd_per_mtok(round(cost.cached_input_pico)),
        output=usd_per_mtok(round(cost.output_pico)),
        basis="unknown" if cost is UNKNOWN_COST else _basis(asked, asked.models[model], known),
    )


def _basis(asked: PoolSettings, its: str, known: Catalog) -> Basis:
    if isinstance(asked.contract, Rented):
        point = known.serving_point(asked.silicon, its)
        return "settings" if asked.tokens_per_s is not None or point is None else point.grade
    return "settings" if asked.usd_per_mtok is not None else "price book"


def _said(contract: Contract | None) -> str:
    """A contract in a few words, such as `reserved, 64 at 8.60 USD/h`."""
    if contract is None or isinstance(contract, Tokens):
        return "tokens"
    price = contract.usd_per_accelerator_hour
    each = "list price" if price is None else f"{price} USD/h"
    return f"{kind_of(contract)}, {contract.accelerators} at {each}"


def judge(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether a server with this environment would take the settings, and what in them may not be what was meant.

    Raises SettingsInvalid where it would refuse them. Asks no upstream.
    """
    clock = MachineClock()
    moment = clock.moment()
    book = price_book(settings)
    fixed_keys(settings, environ, moment)
    world = live_world(settings, what_exists(settings, (), book, moment), book, {}, {})
    with asyncio.Runner() as runner:
        runner.run(_reach(settings, environ, clock))
    pools = overview(settings, moment)
    models = {tariff.model for pool in pools for tariff in pool.tariffs}
    yield Finding("good", f"pools: {len(pools)}, models: {len(models)}, rules: {len(settings.rule)}; a server would take them")
    for pool in pools:
        yield from _of_pool(pool)
    yield from _of_rules(world, _models_here(settings.pool))


async def _reach(settings: Settings, environ: Mapping[str, str], clock: MachineClock) -> None:
    """Make the adapters as a server does, with their addresses and secrets, and let them go."""
    adapters = Adapters(environ, clock, Names(clock), asyncio.get_running_loop())
    try:
        adapters.providers(settings, ())
    finally:
        adapters.close()


def _of_pool(pool: PoolOverview) -> Iterator[Finding]:
    if not pool.jurisdictions:
        own = 'say country = "DE" (or where it is)' if pool.cloud == "on-premises" else ""
        where = f"{pool.cloud} {pool.region}"
        yield Finding("note", f"pool {pool.name}: no jurisdiction holds at {where}, so a rule about jurisdictions keeps data away", own)
    for tariff in pool.tariffs:
        if tariff.basis == "unknown":
            yield Finding(
                "note",
                f"pool {pool.name}: what {tariff.model} costs there is not known, so it is taken to be dear",
                "give the pool tokens_per_s" if pool.owned else "give the pool usd_per_mtok, or the model a price",
            )


def _of_rules(world: World, here: frozenset[str]) -> Iterator[Finding]:
    """Models that a rule leaves nowhere to go. Of the built-in engine's models only it knows the names, so `here` are left out."""
    for rule in world.rules:
        for model, pools in world.snapshot.pools_of.items():
            concerned = rule.model in (None, model) and model not in here
            if concerned and all(broken_rule(pool, rule.rules) for pool in pools):
                yield Finding("note", f"rule {rule.rules.names[0]} leaves no pool for {model}: such requests are refused")


def _models_here(pools: Iterable[PoolSettings]) -> frozenset[str]:
    return frozenset(model for pool in pools if pool.dialect == "local" for model in pool.models)
