"""`headrace plan`: what to buy where and when, what it costs, whether the simulator agrees, and what that is worth."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

import click
import msgspec
from rich.console import Console

from headrace.cli.keeping import KEEP, keep_report, keeps
from headrace.cli.periods import When
from headrace.cli.planview import SPEEDS, forecast_lines, plan_tables, speed_rows, summary, verdict_lines
from headrace.cli.tables import FORMATS, Cell, Format, rich_table, show
from headrace.compose import Place
from headrace.compose.planning import (
    EXAMPLES,
    TRACE_KINDS,
    TraceKind,
    example,
    existing,
    history,
    question,
    traced,
    verified,
)
from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest
from headrace.core.identity import TrafficClass
from headrace.planner import (
    Alternative,
    Effort,
    Planned,
    alternatives,
    changed,
    daily,
    demands_of,
    diff,
    foreseen,
    make_plan,
    page,
    tasks,
    wanted,
    worths,
    written,
)
from headrace.planner.parts import from_one_alone
from headrace.planner.shown import shown
from headrace.routing import CLASSES

Command = TypeVar("Command", bound=Callable[..., object])


def asked(command: Command) -> Command:
    """The options by which every command of the group says what to plan."""
    file = click.Path(path_type=Path, dir_okay=False)
    for option in (
        click.option("--gap", type=click.FloatRange(0, 1), help="How far from the cheapest a plan may be, as a share (default: 0.005)."),
        click.option("--portfolio", type=file, help="What can be had, and the limits (TOML; default: the shipped example)."),
        click.option("--demand", type=file, help="What is asked for (TOML; default: the shipped example)."),
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@asked
@click.option(
    "--alone/--no-alone", default=True, show_default=True, help="Show the plans from one cloud or on one silicon alone beside it."
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Hold it against the simulator, and plan again until it holds.")
@click.option("--seconds", type=click.FloatRange(1), default=30.0, show_default=True, help="Of the busiest hour, so many are simulated.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the simulated traffic.")
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write the report as one page of HTML, too.")
@click.option("--format", "kind", type=click.Choice(("table", "json")), default="table", show_default=True)
@KEEP
@click.pass_context
def plan(
    context: click.Context,
    demand: Path | None,
    portfolio: Path | None,
    gap: float | None,
    alone: bool,
    verify: bool,
    seconds: float,
    seed: int,
    html: Path | None,
    kind: Literal["table", "json"],
    keep: bool | None,
) -> None:
    """What to own, reserve, rent or buy by the token: by cloud, region, silicon and quarter.

    Without files it plans the example that is shipped. What pools of the settings have reserved or own is taken into account.
    """
    if context.invoked_subcommand is not None:
        return
    planned, effort = _planned(context.obj, demand, portfolio, gap), _effort(gap)
    checked = None
    if verify:
        _tell("Simulating the busiest hour of the plan …")
        checked = verified(planned, seed=seed, seconds=seconds, effort=effort)
        planned = checked.planned
    beside = _beside(planned) if alone else ()
    kept = keeps(context.obj, keep)
    worth = worths(planned) if html is not None or kept else ()
    if html is not None:
        html.write_text(page(planned.plan, beside, worth, checked), encoding="utf-8")
    verdicts = () if checked is None else tuple((hour.state, hour.verdicts) for hour in checked.hours)
    told = {"plan": planned.plan, "usd_per_mtok": planned.plan.usd_per_mtok, "verdicts": verdicts, "alternatives": beside}
    if kept:
        keep_report(context.obj, "plan", shown(planned.plan, beside, worth, checked), msgspec.json.encode(told))
    if kind == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    for part in (*summary(planned), *plan_tables(planned.plan)):
        console.print(part, highlight=False)
    if checked is not None:
        for part in verdict_lines(planned.plan, checked):
            console.print(part, highlight=False)
    if beside:
        console.print(rich_table(from_one_alone(beside)), highlight=False)
    _tell("Why: headrace plan explain. As pools of the settings: headrace plan apply.")


@plan.command()
@asked
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def explain(place: Place, demand: Path | None, portfolio: Path | None, gap: float | None, kind: Format) -> None:
    """What one more unit, one relaxed rule, one kind of contract is worth, in words."""
    found = worths(_planned(place, demand, portfolio, gap))
    if kind == "table":
        for each in found:
            click.echo(each.sentence)
        return
    rows: list[dict[str, Cell]] = [
        {"about": each.about, "what": each.what, "usd": f"{each.usd:.4f}", "sentence": each.sentence} for each in found
    ]
    show(rows, ("about", "what", "usd", "sentence"), kind, empty="")


@plan.command()
@asked
@click.option("--quarter", type=click.IntRange(1), default=1, show_default=True, help="As of which quarter of the plan.")
@click.option("--skypilot", type=click.Path(path_type=Path, file_okay=False), help="Write task files for SkyPilot to this folder, too.")
@click.pass_obj
def apply(place: Place, demand: Path | None, portfolio: Path | None, gap: float | None, quarter: int, skypilot: Path | None) -> None:
    """The [[pool]] changes that the plan asks for, as a diff to review; nothing is changed.

    `headrace plan apply > plan.diff`, look through it, then `patch < plan.diff`. Provisioning is left to you, or to SkyPilot with the
    tasks that --skypilot writes, which start nothing by themselves.
    """
    planned = _planned(place, demand, portfolio, gap)
    if quarter > planned.plan.quarters:
        raise InvalidRequest(f"The plan has {planned.plan.quarters} quarters, and no quarter {quarter}")
    models = {demand.title: demand.model for demand in planned.question.ask.demands}
    pools = wanted(planned.plan, models, quarter - 1)
    file = place.file
    before = file.read_text(encoding="utf-8") if file is not None and file.exists() else ""
    sys.stdout.write(diff(before, changed(before, existing(place.settings()), pools), "headrace.toml" if file is None else file.name))
    if skypilot is not None:
        skypilot.mkdir(parents=True, exist_ok=True)
        for name, text in tasks(pools):
            (skypilot / name).write_text(text, encoding="utf-8")
        _tell(f"Tasks are in {skypilot}: look at each with `sky launch --dryrun` before you start it.")


@plan.command()
@asked
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def speeds(place: Place, demand: Path | None, portfolio: Path | None, gap: float | None, kind: Format) -> None:
    """How much each silicon serves of each demand within its objectives, and how that is known."""
    asks = question(demand, portfolio, place.settings(), servable=False)
    columns = SPEEDS if kind != "table" else SPEEDS[:-1]  # at a terminal the source would leave no room for the figures
    show(speed_rows(asks), columns, kind, empty="None of the silicon in the portfolio is known to serve any of it.")


@plan.command()
@click.option("--since", type=When(), help="Usage from then on: 2026-11-01, 90d.")
@click.option("--until", type=When(), help="Usage before then.")
@click.option("--trace", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="A trace of requests instead of the usage log.")
@click.option(
    "--kind", "trace_kind", type=click.Choice(TRACE_KINDS), default="csv", show_default=True, help="Its form; csv: by its header."
)
@click.option(
    "--class", "traffic_class", type=click.Choice(tuple(CLASSES)), default="realtime", show_default=True, help="The trace's class."
)
@click.option("--model", default="gpt-oss-120b", show_default=True, help="The trace's model.")
@click.option("--quarters", type=click.IntRange(1, 20), default=4, show_default=True, help="How far ahead.")
@click.pass_obj
def forecast(
    place: Place,
    since: Moment | None,
    until: Moment | None,
    trace: Path | None,
    trace_kind: TraceKind,
    traffic_class: TrafficClass,
    model: str,
    quarters: int,
) -> None:
    """A demand file from what was used, with growth and cases by a forecast: `headrace plan forecast > demand.toml`.

    Four weeks of whole days are needed for a forecast; with fewer, the demand is what was used, and does not grow.
    """
    usage = history(place, since, until) if trace is None else traced(trace, trace_kind, traffic_class=traffic_class, model=model)
    demands = demands_of(usage)
    if not demands:
        raise InvalidRequest(
            "Nothing was used in that time, so nothing can be foreseen: `headrace plan example demand` is a file to start from"
        )
    grown, cases, found = foreseen(demands, daily(usage), quarters)
    sys.stdout.write(written(grown, cases))
    for line in forecast_lines(grown, found):
        _tell(line)


@plan.command("example")
@click.argument("name", type=click.Choice(EXAMPLES))
def example_command(name: str) -> None:
    """Print a file to start from: a demand, or a portfolio."""
    sys.stdout.write(example(name))


def _planned(place: Place, demand: Path | None, portfolio: Path | None, gap: float | None) -> Planned:
    return make_plan(question(demand, portfolio, place.settings()), _effort(gap))


def _effort(gap: float | None) -> Effort:
    return Effort() if gap is None else Effort(gap=gap)


def _beside(planned: Planned) -> tuple[Alternative, ...]:
    _tell("Planning from each cloud and on each silicon alone …")
    return alternatives(planned)


def _tell(sentence: str) -> None:
    click.secho(sentence, dim=True, err=True)
