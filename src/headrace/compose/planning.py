"""A planning question from files, or from what the package ships; without a portfolio of its own, what the settings' pools hold is in
it."""

from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from headrace.compose.books import Books
from headrace.compose.capacity import shipped_catalog
from headrace.compose.place import Place
from headrace.compose.settings import Settings
from headrace.core.clock import Moment
from headrace.core.errors import SettingsInvalid
from headrace.core.identity import TrafficClass
from headrace.core.money import PICO_PER_USD
from headrace.planner import (
    Ask,
    Effort,
    Existing,
    Held,
    HourlyUsage,
    Instance,
    Planned,
    Supply,
    Verified,
    instance,
    nobody_serves,
    parse_demand,
    parse_supply,
    parse_trace,
    speed_by,
    usage_of,
    verify,
)
from headrace.portfolio import Catalog, Owned, Rented, Reserved, kind_of, pico_per_accelerator_hour
from headrace.simulator import shipped_services, traces
from headrace.simulator.calls import Workload
from headrace.simulator.known import fleet_of
from headrace.simulator.traces import As

TraceKind: TypeAlias = Literal["csv", "azure", "mooncake", "burstgpt", "servegen", "sessions", "usage"]
TRACES: Mapping[TraceKind, Callable[[Iterable[str], As], Workload]] = {
    "azure": traces.azure,
    "mooncake": traces.mooncake,
    "burstgpt": traces.burstgpt,
    "servegen": traces.servegen,
    "sessions": traces.sessions,
    "usage": traces.usage,
}
"""By the simulator's readers; `csv` is told apart by its own header."""
TRACE_KINDS: tuple[TraceKind, ...] = ("csv", *TRACES)
EXAMPLES = ("demand", "portfolio", "planet-demand", "planet-portfolio")


def example(name: str) -> str:
    """The text of a file that the package ships to start from."""
    return (files("headrace.planner") / "data" / f"{name}.toml").read_text(encoding="utf-8")


def question(demand: Path | None, portfolio: Path | None, settings: Settings, *, servable: bool = True) -> Instance:
    """What to plan: each file, or the example where there is none. Raises SettingsInvalid that says which is wrong, and how; with
    `servable` also for a demand that nothing can serve.
    """
    known = shipped_catalog().with_silicon(settings.silicon)
    ask = read_ask(demand)
    supply = read_supply(portfolio)
    held = (*supply.held, *held_by(settings, known))
    try:
        asked = instance(ask, msgspec.structs.replace(supply, held=held), known, speed_by(shipped_services(), known))
    except ValueError as wrong:
        raise SettingsInvalid(f"{portfolio or 'the example portfolio'}: {wrong}") from None
    if servable and (nobody := nobody_serves(asked)):
        raise SettingsInvalid(
            f"nothing in the portfolio can serve {', '.join(nobody)} within its class's objectives and where it may be served: "
            "see which silicon its model is known to run on with `headrace plan speeds`, or give your own as [[silicon]] with tokens_per_s"
        )
    return asked


def planet_question() -> Instance:
    """Fifteen billion tokens a minute, over five clouds."""
    known = shipped_catalog()
    return instance(
        parse_demand(example("planet-demand")), parse_supply(example("planet-portfolio")), known, speed_by(shipped_services(), known)
    )


def history(place: Place, since: Moment | None, until: Moment | None) -> tuple[HourlyUsage, ...]:
    """What the books of a data folder say was used, by the hour."""
    with Books.open(place) as books:
        return tuple(HourlyUsage(**{name: getattr(row, name) for name in row.__struct_fields__}) for row in books.hourly(since, until))


def traced(file: Path, kind: TraceKind, *, traffic_class: TrafficClass, model: str) -> tuple[HourlyUsage, ...]:
    """What a trace says was asked, by the hour. Raises SettingsInvalid where it is not what it is said to be."""
    try:
        with file.open(encoding="utf-8") as lines:
            if kind == "csv":
                return parse_trace(lines.read(), traffic_class=traffic_class, model=model)
            return usage_of(TRACES[kind](lines, As(model=model, traffic_class=traffic_class)).calls())
    except (ValueError, KeyError, UnicodeDecodeError, msgspec.DecodeError) as wrong:
        raise SettingsInvalid(f"{file} is no trace of the kind {kind}: {wrong}") from None


def existing(settings: Settings) -> tuple[Existing, ...]:
    """The pools of the settings that are paid by the hour."""
    return tuple(
        Existing(
            name=pool.name,
            cloud=pool.cloud,
            region=pool.region,
            silicon=pool.silicon,
            kind=kind_of(pool.contract),
            accelerators=pool.contract.accelerators,
        )
        for pool in settings.pool
        if isinstance(pool.contract, Rented)
    )


def verified(planned: Planned, *, seed: int, seconds: float, effort: Effort) -> Verified:
    """The plan held against the simulator, and made again until it holds."""
    return verify(planned, shipped_services(), fleet_of, seed=seed, seconds=seconds, effort=effort)


def read_ask(file: Path | None) -> Ask:
    """Raises SettingsInvalid."""
    try:
        return parse_demand(_text(file, "demand"))
    except ValueError as wrong:
        raise SettingsInvalid(f"{file or 'the example demand'}: {wrong}") from None


def read_supply(file: Path | None) -> Supply:
    """Raises SettingsInvalid."""
    try:
        return parse_supply(_text(file, "portfolio"))
    except ValueError as wrong:
        raise SettingsInvalid(f"{file or 'the example portfolio'}: {wrong}") from None


def held_by(settings: Settings, known: Catalog) -> Iterable[Held]:
    """What pools of the settings have reserved or own: it is there and paid, whatever is planned."""
    for pool in settings.pool:
        if isinstance(pool.contract, Reserved | Owned):
            listed = known.list_price(pool.cloud, pool.region, pool.silicon, "owned" if isinstance(pool.contract, Owned) else "reserved")
            pico = pico_per_accelerator_hour(pool.contract, listed)
            yield Held(
                cloud=pool.cloud,
                region=pool.region,
                country=pool.country,
                silicon=pool.silicon,
                accelerators=pool.contract.accelerators,
                usd_per_accelerator_hour=(pico or 0) / PICO_PER_USD,
            )


def _text(file: Path | None, name: str) -> str:
    if file is None:
        return example(name)
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsInvalid(f"{file} does not exist; `headrace plan example` writes one to start from") from None
    except (OSError, UnicodeDecodeError) as wrong:
        raise SettingsInvalid(f"{file} can't be read: {wrong}") from None
