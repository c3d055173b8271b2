"""`headrace plan`: what to buy where and when, what it costs, and what that is worth."""

import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console

from headrace.cli.planview import alternatives_table, purchases_table, rentals_table, servings_table, summary
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place
from headrace.compose.planning import EXAMPLES, example, question
from headrace.planner import Effort, Planned, alternatives, make_plan, worths

F = Callable[..., None]


def asked(command: F) -> F:
    """The options by which every command of the group says what to plan."""
    for option in (
        click.option("--gap", type=click.FloatRange(0, 1), help="How far from the cheapest a plan may be, as a share (default: 0.005)."),
        click.option("--portfolio", type=click.Path(path_type=Path, dir_okay=False), help="What can be had, and the limits (TOML)."),
        click.option("--demand", type=click.Path(path_type=Path, dir_okay=False), help="What is asked for (TOML)."),
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@asked
@click.option("--alone/--no-alone", default=True, show_default=True, help="Show the plans from one cloud or on one silicon alone beside it.")
@click.option("--format", "kind", type=click.Choice(("table", "json")), default="table", show_default=True)
@click.pass_context
def plan(
    context: click.Context, demand: Path | None, portfolio: Path | None, gap: float | None, alone: bool, kind: Format
) -> None:
    """What to own, reserve, rent or buy by the token: by cloud, region, silicon and quarter.

    Without files it plans the example that is shipped. What pools of the settings hold already is taken into account.
    """
    if context.invoked_subcommand is not None:
        return
    planned = _planned(context.obj, demand, portfolio, gap)
    beside = alternatives(planned) if alone else ()
    if kind == "json":
        told = {"plan": planned.plan, "usd_per_mtok": planned.plan.usd_per_mtok, "alternatives": beside}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=2).decode() + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 200)
    for part in (*summary(planned), purchases_table(planned.plan), rentals_table(planned.plan), servings_table(planned.plan)):
        console.print(part, highlight=False)
    if beside:
        console.print(alternatives_table(beside), highlight=False)
    click.secho("Why: headrace plan explain. What to change in headrace.toml: headrace plan apply.", dim=True, err=True)


@plan.command()
@asked
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def explain(place: Place, demand: Path | None, portfolio: Path | None, gap: float | None, kind: Format) -> None:
    """What one more unit, one relaxed rule, one kind of contract is worth, in words."""
    planned = _planned(place, demand, portfolio, gap)
    found = worths(planned)
    if kind == "table":
        for each in found:
            click.echo(each.sentence)
        return
    rows: list[dict[str, Cell]] = [{"about": each.about, "what": each.what, "usd": f"{each.usd:.4f}", "sentence": each.sentence} for each in found]
    show(rows, ("about", "what", "usd", "sentence"), kind, empty="")


@plan.command("example")
@click.argument("name", type=click.Choice(EXAMPLES))
def example_command(name: str) -> None:
    """Print a file to start from: the demand, or the portfolio."""
    sys.stdout.write(example(name))


def _planned(place: Place, demand: Path | None, portfolio: Path | None, gap: float | None) -> Planned:
    asks = question(demand, portfolio, place.settings())
    return make_plan(asks, Effort() if gap is None else Effort(gap=gap))


