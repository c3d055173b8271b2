"""Simulated worlds from files: a scenario's pools by the same rules as the live ones, its traffic, its faults; run here or spread out."""

import gzip
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TextIO

import msgspec

from headrace.compose.books import Books
from headrace.compose.capacity import pool_of, shipped_catalog
from headrace.compose.place import Place
from headrace.compose.pools import PoolSettings
from headrace.compose.settings import Settings
from headrace.core.clock import MS
from headrace.core.errors import SettingsInvalid
from headrace.core.identity import TrafficClass
from headrace.metering import PriceBook
from headrace.portfolio import Catalog, Pool, Rented, Silicon, Tokens, kind_of, pico_per_accelerator_hour
from headrace.simulator import Mix, Service, Services, mix_of, shipped_services
from headrace.simulator.calls import Call, Replay, Workload
from headrace.simulator.faults import Demand, Fault
from headrace.simulator.fleet import Block, Fleet, Within
from headrace.simulator.known import fleet_of
from headrace.simulator.planet import Calibration, Difference, Planet, calibrated, differences
from headrace.simulator.report import Report
from headrace.simulator.run import Progress, Run, RunSettings
from headrace.simulator.sites import Site, Vendor
from headrace.simulator.synthetic import GEOGRAPHIES, Source, Surge, Synthetic
from headrace.simulator.traces import LOADERS, As
from headrace.simulator.training import Job

NOWHERE = "http://simulated.invalid/v1"
DEFAULT_CONCURRENCY = PoolSettings(name="x", endpoints=(NOWHERE,), models={"m": "m"}).concurrency_max
TPOT_MS, TTFT_MS = 50.0, 4_000.0
"""How slow a replica may become before it takes no more, where a pool does not say how many requests it works on."""
SETTLES = 3.0
"""Of sessions of a geometric number of turns 95 % are over after three times the mean."""
CONTINENTS: Mapping[str, str] = {
    **dict.fromkeys(("US", "CA", "MX"), "na"),
    **dict.fromkeys(("BR", "CL", "CO", "AR", "PE"), "sa"),
    **dict.fromkeys(("AE", "SA", "QA", "IL", "ZA", "KE", "NG", "EG", "BH", "MA", "KW", "OM"), "mea"),
    **dict.fromkeys(("JP", "CN", "HK", "TW", "KR", "SG", "IN", "AU", "NZ", "ID", "MY", "TH", "PH", "VN"), "apac"),
}
"""Of a country; all others are taken to be in Europe."""


class SimulationSettings(RunSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`RunSettings`, and what the traffic and the fleets are like. `within` is how each pool's own router picks a replica."""

    start_hour: float = 0.0
    within: Within = "prefix"


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file: pools as in headrace.toml, sources of traffic, faults, training jobs, and services of one's own."""

    title: str = ""
    simulation: SimulationSettings = SimulationSettings()
    pool: tuple[PoolSettings, ...] = ()
    silicon: tuple[Silicon, ...] = ()
    service: tuple[Service, ...] = ()
    source: tuple[Source, ...] = ()
    fault: tuple[Fault, ...] = ()
    training: tuple[Job, ...] = ()


def shipped_scenarios() -> tuple[str, ...]:
    """The names that need no file."""
    folder = files("headrace.simulator") / "data" / "scenarios"
    return tuple(sorted(each.name.removesuffix(".toml") for each in folder.iterdir() if each.name.endswith(".toml")))


def read_scenario(name: str) -> Scenario:
    """A shipped scenario by its name, or a file. Raises SettingsInvalid."""
    if name in shipped_scenarios():
        text = (files("headrace.simulator") / "data" / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as wrong:
            known = ", ".join(shipped_scenarios())
            raise SettingsInvalid(f"{name} is no file that can be read ({wrong}), and no shipped scenario: those are {known}") from None
    return parse_scenario(text, name)


def parse_scenario(text: str, name: str) -> Scenario:
    """Raises SettingsInvalid that names the file and the field."""
    try:
        tables = tomllib.loads(text)
        for pool in tables.get("pool", ()):
            if isinstance(pool, dict) and "weights" not in pool:
                pool.setdefault("endpoints", [NOWHERE])  # nobody is asked there
        scenario = msgspec.convert(tables, Scenario)
    except tomllib.TOMLDecodeError as wrong:
        raise SettingsInvalid(f"{name} is not valid TOML: {wrong}") from None
    except msgspec.ValidationError as wrong:
        raise SettingsInvalid(f"{name}: {wrong}") from None
    if scenario.simulation.name == RunSettings().name:
        scenario = msgspec.structs.replace(scenario, simulation=msgspec.structs.replace(scenario.simulation, name=Path(name).stem))
    return scenario


def with_pools_of(scenario: Scenario, settings: Settings) -> Scenario:
    """The scenario with the pools of a live installation in place of its own. Raises SettingsInvalid where none can be simulated."""
    pools = tuple(pool for pool in settings.pool if isinstance(pool.contract, Rented | Tokens) or pool.usd_per_mtok is not None)
    if not pools:
        raise SettingsInvalid("none of the settings' pools has a contract, so that nothing is known of its capacity or price")
    return msgspec.structs.replace(scenario, pool=pools, silicon=settings.silicon)


def sites_of(scenario: Scenario, scale: float) -> list[Site]:
    """The scenario's pools, with replicas on their silicon or as vendors. Raises SettingsInvalid."""
    services = shipped_services().with_own(scenario.service)
    known = shipped_catalog().with_silicon(scenario.silicon)
    names = [pool.name for pool in scenario.pool]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SettingsInvalid(f"two pools are named {min(twice)!r}: give each its own name")
    if not scenario.pool:
        raise SettingsInvalid("a scenario has at least one [[pool]]")
    return [_site(asked, scenario, services, known, scale) for asked in scenario.pool]


def mix_for(scenario: Scenario, model: str) -> Mix:
    """What the scenario's calls for a model are like; of a usual shape where no source asks for it."""
    shapes = [(one.calls_per_s, *one.shape) for one in scenario.source if one.model == model and one.calls_per_s > 0]
    return mix_of(shapes or [(1.0, 1_155.0, 0.0, 211.0)])


def workload_of(scenario: Scenario, settings: SimulationSettings) -> Workload:
    """The scenario's synthetic traffic. Raises SettingsInvalid where there is none."""
    if not scenario.source:
        raise SettingsInvalid("a scenario has at least one [[source]], unless a trace is replayed")
    surges = [
        Surge(from_ms=one.from_s * 1_000, to_ms=one.to_s * 1_000, factor=one.factor, source=one.source, tenant=one.tenant)
        for one in scenario.fault
        if isinstance(one, Demand)
    ]
    return Synthetic(
        scenario.source,
        seed=settings.seed,
        duration_ms=settings.duration_s * 1_000,
        scale=settings.scale,
        start_hour=settings.start_hour,
        surges=surges,
    )


def replay_of(kind: str, path: Path, as_: As) -> Workload:
    """A recorded trace. Raises SettingsInvalid for what is not one, and for one of nothing."""
    try:
        with _opened(path) as lines:
            workload = LOADERS[kind](lines, as_)
    except (OSError, ValueError, KeyError, msgspec.DecodeError) as wrong:
        raise SettingsInvalid(f"{path} cannot be read as {kind}: {wrong}") from None
    if not workload.expected:
        raise SettingsInvalid(f"{path}, read as {kind}, holds no request that was answered")
    return workload


def own_traffic(place: Place, as_: As) -> Workload:
    """What this installation was asked, by its own usage log. Raises SettingsInvalid where it was asked nothing."""
    with Books.open(place) as books:
        came = books.traffic()
    if not came:
        raise SettingsInvalid("the usage log holds no chat that was answered")
    tenants = {name: number for number, name in enumerate(dict.fromkeys(one.tenant for one in came))}
    calls = [
        Call(
            (one.at - came[0].at) / MS / as_.speed,
            msgspec.convert(one.traffic_class, TrafficClass),
            as_.model,
            tenants[one.tenant],
            as_.geography,
            max(1, one.tokens_in),
            one.tokens_out,
        )
        for one in came
    ]
    return Replay(calls)


def prepare(scenario: Scenario, workload: Workload | None = None, *, segments_max: int = 2, plain: bool = False) -> Run:
    """A run, ready to go. `plain`: with the fleet in plain Python, whatever is installed."""
    settings = scenario.simulation
    sites = sites_of(scenario, settings.scale)
    blocks = [site.block for site in sites if site.block is not None]
    fleet: Fleet = fleet_of(blocks, segments_max=segments_max, plain=plain)
    return Run(
        settings,
        sites,
        fleet,
        workload if workload is not None else workload_of(scenario, settings),
        faults=[one for one in scenario.fault if not isinstance(one, Demand)],
        jobs=_scaled_jobs(scenario.training, settings.scale),
    )


def simulate(scenario: Scenario, progress: Progress | None = None) -> Report:
    """Run a scenario as its file says."""
    return prepare(scenario).go(progress)


def planet(
    scenario: Scenario, *, slice_scale: float, slice_s: float, progress: Progress | None = None
) -> tuple[Report, tuple[Difference, ...]]:
    """A run as flows over full fleets, calibrated by a slice that is run request by request; and how far the two are apart there.

    The slice is `slice_scale` of the traffic and the fleets for `slice_s`, without faults, around the run's own start; before that it is
    given as long as its longest sessions take, so that as many are under way as in the flows.
    """
    settings = scenario.simulation
    short = msgspec.structs.replace(settings, duration_s=slice_s)
    settle_s = SETTLES * max((one.turns * (one.think_s + 1) for one in scenario.source), default=0.0)
    sliced = msgspec.structs.replace(short, scale=settings.scale * slice_scale, settle_s=settle_s, duration_s=settle_s + slice_s)
    sliced = msgspec.structs.replace(sliced, start_hour=settings.start_hour - settle_s / 3_600)
    measured = prepare(msgspec.structs.replace(scenario, fault=(), training=(), simulation=sliced)).go()
    sites = sites_of(scenario, settings.scale)

    def flows(of: SimulationSettings, calibration: Calibration | None, faults: Sequence[Fault]) -> Planet:
        return Planet(of, sites, scenario.source, start_hour=settings.start_hour, faults=faults, calibration=calibration)

    found = calibrated(measured, flows(short, None, ()).go())
    apart = differences(measured, flows(short, found, ()).go())
    return flows(settings, found, scenario.fault).go(progress), apart


def _site(asked: PoolSettings, scenario: Scenario, services: Services, known: Catalog, scale: float) -> Site:
    pool = pool_of(asked, scenario.silicon, PriceBook(()), 0)
    model = next(iter(asked.models))
    region = known.region(asked.cloud, asked.region)
    country = region.country if region is not None else asked.country
    geography = GEOGRAPHIES.index(CONTINENTS.get(country or "", "eu"))
    if not isinstance(asked.contract, Rented):
        scaled = max(1, round(pool.concurrency_max * scale))
        return Site(pool=msgspec.structs.replace(pool, concurrency_max=scaled), vendor=Vendor(), geography=geography)
    mix = mix_for(scenario, model)
    best = services.best(asked.models[model], asked.silicon, mix, ttft_ms_max=TTFT_MS, tpot_ms_max=TPOT_MS)
    if best is None:
        raise SettingsInvalid(
            f"pool {asked.name!r}: no service of {asked.models[model]} on {asked.silicon} is known that keeps to {TPOT_MS:.0f} ms a token;"
            " say one as [[service]]"
        )
    service, standing = best
    replicas = max(1, round(asked.contract.accelerators * scale / service.accelerators))
    at_once = replicas * standing.batch if asked.concurrency_max == DEFAULT_CONCURRENCY else max(1, round(asked.concurrency_max * scale))
    return Site(
        pool=_sized(pool, service, standing.ttft_ms, standing.tpot_ms, at_once),
        block=Block(service=service, replicas=replicas, within=scenario.simulation.within),
        geography=geography,
        hour_pico=_hour_pico(asked, asked.contract, known),
        kw_per_accelerator=_kw(known.silicon(asked.silicon)),
        carbon_g_per_kwh=_carbon(known, asked.cloud, asked.region, country),
    )


def _sized(pool: Pool, service: Service, ttft_ms: float, tpot_ms: float, at_once: int) -> Pool:
    return msgspec.structs.replace(
        pool,
        concurrency_max=at_once,
        waiting_max=max(16, 2 * at_once),
        ttft_ms=ttft_ms,
        tpot_ms=tpot_ms,
        prefill_tokens_per_s=1_000 / service.prompt_ms if service.prompt_ms else pool.prefill_tokens_per_s,
    )


def _hour_pico(asked: PoolSettings, contract: Rented, known: Catalog) -> int:
    row = known.list_price(asked.cloud, asked.region, asked.silicon, kind_of(contract))
    found = pico_per_accelerator_hour(contract, row)
    assert found is not None, "a pool without a price was refused before"
    return found


def _kw(silicon: Silicon | None) -> float | None:
    if silicon is None:
        return None
    if silicon.all_in_kw is not None:
        return silicon.all_in_kw
    return None if silicon.power_w is None else silicon.power_w / 1_000


def _carbon(known: Catalog, cloud: str, name: str, country: str | None) -> float | None:
    """Of the region, else the mean of the regions of its country of which it is known."""
    region = known.region(cloud, name)
    if region is not None and region.carbon_g_per_kwh is not None:
        return region.carbon_g_per_kwh
    others = [one.carbon_g_per_kwh for one in known.regions.values() if one.country == country and one.carbon_g_per_kwh is not None]
    return sum(others) / len(others) if others else None


def _scaled_jobs(jobs: Sequence[Job], scale: float) -> list[Job]:
    return [
        msgspec.structs.replace(job, accelerator_hours=job.accelerator_hours * scale, gang=max(1, round(job.gang * scale))) for job in jobs
    ]


def _opened(path: Path) -> TextIO:
    """The text of a file, also of a compressed one."""
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="")
