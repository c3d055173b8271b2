"""`headrace simulate`: a scenario on a virtual clock, and two of its reports side by side."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path
from statistics import fmean, stdev

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from headrace.cli.keeping import KEEP, keep_report, keeps
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place
from headrace.compose.simulated import (
    Scenario,
    own_traffic,
    prepare,
    read_scenario,
    replay_of,
    shipped_scenarios,
    sites_of,
    with_pools_of,
)
from headrace.compose.simulated import planet as flows_of
from headrace.compose.sweep import cells, run_here, run_on_ray
from headrace.core.errors import InvalidRequest, SettingsInvalid
from headrace.routing import POLICIES
from headrace.simulator.calls import Workload
from headrace.simulator.events import EVENTS, happening
from headrace.simulator.fitted import sources_of, toml_of
from headrace.simulator.known import compiled_here
from headrace.simulator.page import comparison, page
from headrace.simulator.report import ClassReport, PoolReport, Report, decode, encode
from headrace.simulator.run import Progress
from headrace.simulator.shown import shown as shown_of
from headrace.simulator.traces import LOADERS, As

DEFAULT = "small"
OWN = "usage"
SEGMENTS_REPLAYED = 300
EVENT_HELP = "What goes wrong in the middle third; may be given again."
JSON_HELP = "Write the report as JSON (- for standard output)."


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND]")
@click.option("--scenario", default=DEFAULT, show_default=True, metavar="NAME|FILE", help="A shipped scenario, or a file of your own.")
@click.option("--list", "listed", is_flag=True, help="List the shipped scenarios, the events and the policies.")
@click.option("--pools", is_flag=True, help="Take the pools of the settings in place of the scenario's.")
@click.option("--policy", type=click.Choice(tuple(POLICIES)), help="Place by another policy than the scenario says.")
@click.option("--seed", type=int, help="Of all chance: the same seed gives the same bytes.")
@click.option("--hours", type=float, help="How long, on the virtual clock.")
@click.option("--scale", type=float, help="A part of the scenario: of its traffic and its replicas.")
@click.option(
    "--event", "events", multiple=True, type=click.Choice(tuple(EVENTS)), help="What goes wrong in the middle third; may be given again."
)
@click.option("--replay", metavar="FORMAT:FILE", help=f"Recorded traffic: {', '.join(LOADERS)}; usage alone is your own.")
@click.option("--speed", type=float, default=1.0, show_default=True, help="Replay so many times as fast.")
@click.option("--trace", "watched", type=int, metavar="REQUEST", help="Tell the story of one request, by its number.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as JSON (- for standard output)."
)
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as a page.")
@click.option("--progress", is_flag=True, help="Tell how far it is in lines of standard error, for who is no terminal.")
@KEEP
@click.pass_context
def simulate(
    context: click.Context,
    scenario: str,
    listed: bool,
    pools: bool,
    policy: str | None,
    seed: int | None,
    hours: float | None,
    scale: float | None,
    events: tuple[str, ...],
    replay: str | None,
    speed: float,
    watched: int | None,
    json_file: Path | None,
    html_file: Path | None,
    progress: bool,
    keep: bool | None,
) -> None:
    """Run a scenario on a virtual clock: the gateway's own decisions, over silicon that is modelled.

    Prints a summary; every run ends with its books checked.
    """
    if context.invoked_subcommand is not None:
        return
    if listed:
        _list()
        return
    said = {"policy": policy, "seed": seed, "scale": scale, "duration_s": _seconds(hours), "watch": watched}
    chosen = _chosen(context.ensure_object(Place), scenario, pools, said)
    sites = sites_of(chosen, chosen.simulation.scale)
    faults = happening(events, sites, chosen.simulation.duration_s)
    chosen = msgspec.structs.replace(chosen, fault=(*chosen.fault, *faults))
    workload = None if replay is None else _replayed(context.ensure_object(Place), replay, chosen, speed)
    run = prepare(chosen, workload, segments_max=2 if workload is None else SEGMENTS_REPLAYED)
    if not compiled_here():
        Console(stderr=True).print("numba is not installed, so this takes much longer: pip install 'headrace\\[simulate]'", style="yellow")
    with _lines() if progress else _bar(run.settings.name) as shown:
        report = run.go(shown)
    _deliver(report, json_file, html_file)
    if keeps(context.ensure_object(Place), keep):
        keep_report(context.ensure_object(Place), "simulation", shown_of(report), encode(report))


@simulate.command()
@click.argument("one", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("other", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the comparison as a page.")
def compare(one: Path, other: Path, html_file: Path | None) -> None:
    """Two reports, written with --json, side by side."""
    first, second = _read(one), _read(other)
    if html_file is not None:
        _write(html_file, comparison(first, second).encode())
    _compare(first, second, Console(width=None if sys.stdout.isatty() else 160))


@simulate.command()
@click.option("--scenario", default="fifteen", show_default=True, metavar="NAME|FILE", help="A shipped scenario, or a file of your own.")
@click.option("--pools", is_flag=True, help="Take the pools of the settings in place of the scenario's.")
@click.option("--policy", type=click.Choice(tuple(POLICIES)), help="Place by another policy than the scenario says.")
@click.option("--hours", type=float, help="How long, on the virtual clock.")
@click.option(
    "--event", "events", multiple=True, type=click.Choice(tuple(EVENTS)), help="What goes wrong in the middle third; may be given again."
)
@click.option("--slice", "slice_scale", type=float, default=0.01, show_default=True, help="The part that is run request by request first.")
@click.option("--slice-minutes", type=float, default=3.0, show_default=True, help="How long that part is run.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as JSON (- for standard output)."
)
@click.option("--html", "html_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as a page.")
@KEEP
@click.pass_obj
def planet(
    place: Place,
    scenario: str,
    pools: bool,
    policy: str | None,
    hours: float | None,
    events: tuple[str, ...],
    slice_scale: float,
    slice_minutes: float,
    json_file: Path | None,
    html_file: Path | None,
    keep: bool | None,
) -> None:
    """A whole day of a whole fleet, as flows.

    Each class's traffic from each geography flows to where the same decisions send it. A small slice is run request by request first, to
    calibrate the flows; how far the two are apart is printed.
    """
    chosen = _chosen(place, scenario, pools, {"policy": policy, "duration_s": _seconds(hours)})
    faults = happening(events, sites_of(chosen, chosen.simulation.scale), chosen.simulation.duration_s)
    chosen = msgspec.structs.replace(chosen, fault=(*chosen.fault, *faults))
    if not (0 < slice_scale <= 1 and 0 < slice_minutes < inf):
        raise InvalidRequest("--slice is above 0 and at most 1, and --slice-minutes above 0")
    with _bar(chosen.simulation.name) as shown:
        report, apart = flows_of(chosen, slice_scale=slice_scale, slice_s=slice_minutes * 60, progress=shown)
    _deliver(report, json_file, html_file)
    if keeps(place, keep):
        keep_report(place, "simulation", shown_of(report), encode(report))
    if json_file is None or str(json_file) != "-":
        console = Console(width=None if sys.stdout.isatty() else 160)
        table = _table("flows beside the slice", "slice", "flows", "difference")
        for one in apart:
            table.add_row(one.what, f"{one.slice_:,.4g}", f"{one.fluid:,.4g}", f"{one.percent:+.1f} %" if one.slice_ else "")
        console.print("", table, highlight=False)


@simulate.command()
@click.option("--scenario", default=DEFAULT, show_default=True, metavar="NAME|FILE", help="A shipped scenario, or a file of your own.")
@click.option("--policy", "policies", multiple=True, type=click.Choice(tuple(POLICIES)), help="Each is run; may be given again.")
@click.option(
    "--event", "events", multiple=True, metavar="EVENT[+EVENT]", help="Each set of events is run, beside none; may be given again."
)
@click.option("--seeds", default="1-4", show_default=True, help="Such as 1-8, or 1,5,9.")
@click.option("--hours", type=float, help="How long, on the virtual clock.")
@click.option("--scale", type=float, help="A part of the scenario: of its traffic and its replicas.")
@click.option("--processes", type=int, default=1, show_default=True, help="How many run at once on this machine.")
@click.option(
    "--ray", "address", metavar="ADDRESS", help="Run on this Ray cluster (local: start one here; auto: the one this machine is in)."
)
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def sweep(
    place: Place,
    scenario: str,
    policies: tuple[str, ...],
    events: tuple[str, ...],
    seeds: str,
    hours: float | None,
    scale: float | None,
    processes: int,
    address: str | None,
    kind: Format,
) -> None:
    """Many runs: policies, events and seeds, and what they come to.

    Figures are means over the seeds, each with half of its 95 % interval. On a Ray cluster they are the same as here.
    """
    chosen = _chosen(place, scenario, False, {"duration_s": _seconds(hours), "scale": scale})
    sets = [(), *(tuple(each.split("+")) for each in events)]
    try:
        held = cells(chosen, policies=policies or (chosen.simulation.policy,), events=sets, seeds=_seeds(seeds))
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    with _bar("sweep") as shown:

        def told(done: int, count: int) -> None:
            shown(done / count, done)

        reports = run_here(held, processes=processes, told=told) if address is None else run_on_ray(held, address=address, told=told)
    rows: dict[tuple[str, str], list[Report]] = {}
    for cell, report in zip(held, reports, strict=True):
        rows.setdefault((cell.policy, "+".join(cell.events) or "-"), []).append(report)
    show([_summed(policy, named, own) for (policy, named), own in rows.items()], SWEPT, kind, empty="Nothing was run.")


@simulate.command()
@click.argument("recorded", metavar="FORMAT:FILE")
@click.option("--model", default="gpt-oss-120b", show_default=True, help="What the calls are taken to be for.")
@click.pass_obj
def fit(place: Place, recorded: str, model: str) -> None:
    """Sources of synthetic traffic that are like a recorded one, as tables for a scenario.

    FORMAT:FILE as --replay takes it; usage alone is your own.
    """
    workload = _recorded(place, recorded, As(model=model))
    try:
        found = sources_of(list(workload.calls()), recorded.partition(":")[0])
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    click.echo("\n".join(toml_of(source) for source in found), nl=False)


SWEPT = ("policy", "events", "runs", "served_percent", "within_slo_percent", "ttft_ms_p99", "cached_percent", "usd_per_mtok")


def _summed(policy: str, named: str, reports: list[Report]) -> dict[str, Cell]:
    def mean(values: list[float]) -> str:
        half = 1.96 * stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
        return f"{fmean(values):.4g} ± {half:.2g}"

    return {
        "policy": policy,
        "events": named,
        "runs": len(reports),
        "served_percent": mean([100 * one.served / max(1, one.arrived) for one in reports]),
        "within_slo_percent": mean([100 * sum(c.within_slo * c.served for c in one.classes) / max(1, one.served) for one in reports]),
        "ttft_ms_p99": mean([max((c.ttft_ms.p99 for c in one.classes if c.traffic_class != "batch"), default=0.0) for one in reports]),
        "cached_percent": mean([100 * one.hit_rate for one in reports]),
        "usd_per_mtok": mean([one.usd_per_mtok or 0.0 for one in reports]),
    }


def _seeds(text: str) -> list[int]:
    try:
        found: list[int] = []
        for part in text.split(","):
            low, _, high = part.partition("-")
            found += range(int(low), int(high or low) + 1)
    except ValueError:
        raise InvalidRequest(f"--seeds is such as 1-8, or 1,5,9, and not {text!r}") from None
    return found


def _list() -> None:
    for name in shipped_scenarios():
        click.echo(f"{name:12} {read_scenario(name).title}")
    click.echo(f"\nevents: {', '.join(EVENTS)}\npolicies: {', '.join(POLICIES)}")


def _changed(scenario: Scenario, said: dict[str, object]) -> Scenario:
    try:
        return msgspec.structs.replace(scenario, simulation=msgspec.structs.replace(scenario.simulation, **said))
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None


def _seconds(hours: float | None) -> float | None:
    """Of `--hours`. Raises InvalidRequest for what no clock shows."""
    if hours is not None and not 0 < hours < inf:
        raise InvalidRequest(f"--hours is a number above zero, and not {hours:g}")
    return None if hours is None else hours * 3_600


def _replayed(place: Place, replay: str, scenario: Scenario, speed: float) -> Workload:
    if not 0 < speed < inf:
        raise InvalidRequest("--speed is a number above 0")
    return _recorded(place, replay, As(model=next(iter(scenario.pool[0].models)), seed=scenario.simulation.seed, speed=speed))


def _recorded(place: Place, replay: str, as_: As) -> Workload:
    if replay == OWN:
        return own_traffic(place, as_)
    kind, _, path = replay.partition(":")
    if kind not in LOADERS or not path:
        raise InvalidRequest(f"recorded traffic is FORMAT:FILE, where FORMAT is one of {', '.join(LOADERS)}")
    return replay_of(kind, Path(path), as_)


def _chosen(place: Place, name: str, pools: bool, said: Mapping[str, object]) -> Scenario:
    """The scenario by its name, with what the command line says above it."""
    scenario = read_scenario(name)
    if pools:
        scenario = with_pools_of(scenario, place.settings())
    return _changed(scenario, {field: value for field, value in said.items() if value is not None})


@contextmanager
def _bar(name: str) -> Iterator[Progress]:
    """A bar with the time left, where somebody watches."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=1.0)
        yield lambda share, count: bar.update(task, completed=share, description=f"{name}, {count:,}")


@contextmanager
def _lines() -> Iterator[Progress]:
    """A line for each full percent."""
    told = -1

    def tell(share: float, count: int) -> None:
        nonlocal told
        if (percent := int(100 * share)) > told:
            told = percent
            click.echo(f"{percent} %, {count:,} events", err=True)

    yield tell


def _deliver(report: Report, json_file: Path | None, html_file: Path | None) -> None:
    if json_file is not None:
        _write(json_file, encode(report))
    if html_file is not None:
        _write(html_file, page(report).encode())
    if json_file is None or str(json_file) != "-":
        _print(report, Console(width=None if sys.stdout.isatty() else 160))


def _write(path: Path, content: bytes) -> None:
    if str(path) == "-":
        sys.stdout.buffer.write(content + b"\n")
        return
    try:
        path.write_bytes(content)
    except OSError as wrong:
        raise SettingsInvalid(f"{path} cannot be written: {wrong.strerror}") from None


def _read(path: Path) -> Report:
    try:
        return decode(path.read_bytes())
    except msgspec.DecodeError as wrong:
        raise InvalidRequest(f"{path} is not a report of headrace simulate: {wrong}") from None


def _print(report: Report, console: Console) -> None:
    console.print(
        f"[bold]{escape(report.name)}[/]  seed={report.seed} policy={report.policy} scale={report.scale:g}"
        f"  {report.duration_s / 3_600:g} h on the virtual clock",
        highlight=False,
    )
    console.print(
        f"{report.arrived:,} requests: {report.served:,} served, {report.refused:,} refused, {report.cut:,} cut off,"
        f" {report.in_flight:,} on their way; {report.tokens_per_minute:,.0f} tokens a minute, {report.hit_rate:.1%} of prompts cached,"
        f" {_usd(report.usd_per_mtok)} USD a million tokens" + ("" if report.carbon_kg is None else f", {report.carbon_kg:,.1f} kg of CO₂"),
        highlight=False,
    )
    console.print(_class_table(report.classes), "", _pool_table(report.pools), highlight=False)
    for job in report.jobs:
        finished = "not finished" if job.finished_s is None else f"finished after {job.finished_s / 3_600:.2f} h"
        console.print(
            f"training {escape(job.name)}: {job.done:.1%} done, {finished}, {job.started} starts,"
            f" {job.lost_accelerator_hours:,.1f} of {job.used_accelerator_hours:,.1f} accelerator-hours lost to being called back",
            highlight=False,
        )
    for line in report.story:
        console.print(escape(line), highlight=False)


def _class_table(classes: tuple[ClassReport, ...]) -> Table:
    table = _table(
        "class", "arrived", "served", "refused", "TTFT p50", "p95", "p99", "SLO", "TPOT p50", "p99", "SLO", "within SLO", "cached"
    )
    for one in classes:
        cached = one.tokens_cached / one.tokens_in if one.tokens_in else 0.0
        colour = "green" if one.within_slo >= 0.99 else "yellow" if one.within_slo >= 0.95 else "red"
        table.add_row(
            one.traffic_class,
            f"{one.arrived:,}",
            f"{one.served:,}",
            f"{one.refused + one.cut:,}",
            *(f"{value:,.0f}" for value in (one.ttft_ms.p50, one.ttft_ms.p95, one.ttft_ms.p99, one.ttft_slo_ms)),
            *(f"{value:,.1f}" for value in (one.tpot_ms.p50, one.tpot_ms.p99, one.tpot_slo_ms)),
            f"[{colour}]{one.within_slo:.2%}[/]",
            f"{cached:.1%}",
        )
    return table


def _pool_table(pools: tuple[PoolReport, ...]) -> Table:
    table = _table(
        "pool", "silicon", "accelerators", "served", "failed", "in use", "peak", "TTFT p50", "TPOT p50", "cached", "sent back", "USD a Mtok"
    )
    for one in pools:
        cached = one.tokens_cached / one.tokens_in if one.tokens_in else 0.0
        table.add_row(
            escape(one.pool),
            one.silicon,
            f"{one.accelerators:,}" if one.accelerators else "-",
            f"{one.served:,}",
            f"{one.failed:,}",
            f"{one.utilisation:.1%}",
            f"{one.utilisation_peak:.1%}",
            f"{one.ttft_ms.p50:,.0f}",
            f"{one.tpot_ms.p50:,.1f}",
            f"{cached:.1%}",
            f"{one.preemptions:,}",
            _usd(one.usd_per_mtok),
        )
    return table


def _compare(one: Report, other: Report, console: Console) -> None:
    table = _table("", one.name, other.name, "difference")
    for name, before, after in rows_of(one, other):
        change = "" if not before else f"{after / before - 1:+.1%}"
        table.add_row(
            name, f"{before:,.4g}" if before < 1_000 else f"{before:,.0f}", f"{after:,.4g}" if after < 1_000 else f"{after:,.0f}", change
        )
    console.print(f"seed={one.seed} policy={one.policy}  beside  seed={other.seed} policy={other.policy}", highlight=False)
    console.print(table, highlight=False)


def rows_of(one: Report, other: Report) -> list[tuple[str, float, float]]:
    """What is compared: of the whole, of each class in either, and of each pool."""
    rows: list[tuple[str, float, float]] = [
        ("requests", one.arrived, other.arrived),
        ("served", one.served, other.served),
        ("refused", one.refused, other.refused),
        ("cached, % of prompts", 100 * one.hit_rate, 100 * other.hit_rate),
        ("USD a million tokens", one.usd_per_mtok or 0.0, other.usd_per_mtok or 0.0),
        ("CO₂, kg", one.carbon_kg or 0.0, other.carbon_kg or 0.0),
    ]
    first, second = ({each.traffic_class: each for each in report.classes} for report in (one, other))
    for name in dict.fromkeys([*first, *second]):
        if name in first and name in second:
            a, b = first[name], second[name]
            rows += [
                (f"{name}: TTFT p50, ms", a.ttft_ms.p50, b.ttft_ms.p50),
                (f"{name}: TTFT p99, ms", a.ttft_ms.p99, b.ttft_ms.p99),
                (f"{name}: TPOT p50, ms", a.tpot_ms.p50, b.tpot_ms.p50),
                (f"{name}: within SLO, %", 100 * a.within_slo, 100 * b.within_slo),
                (f"{name}: refused", a.refused, b.refused),
            ]
    places = {each.pool: each for each in other.pools}
    rows += [
        (f"{each.pool}: in use, %", 100 * each.utilisation, 100 * places[each.pool].utilisation)
        for each in one.pools
        if each.pool in places
    ]
    return rows


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for at, name in enumerate(names):
        table.add_column(name, justify="left" if not at or name == "silicon" else "right", no_wrap=True)
    return table


def _usd(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}"
