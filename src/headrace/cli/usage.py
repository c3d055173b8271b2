"""`headrace usage`: what was used and what it costs, to the last digit."""

from datetime import UTC, datetime, timedelta

import click

from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Books, Place, now
from headrace.core.clock import SECOND, Moment
from headrace.core.money import usd
from headrace.storage import DIMENSIONS, Dimension, UsageRow

NUMBERS = ("requests", "input", "cached", "output", "usd")


class When(click.ParamType[Moment]):
    """A day or a moment, UTC, or an age such as 24h or 7d."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> Moment:
        text = str(value)
        units = {"m": "minutes", "h": "hours", "d": "days"}
        try:
            if text[-1:] in units and text[:-1].isdigit():
                moment = now() - timedelta(**{units[text[-1]]: int(text[:-1])})
            else:
                moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is not a time: write 2026-11-23, 2026-11-23T10:00, or an age such as 24h", param, context)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(aware.timestamp()) * SECOND


@click.group(invoke_without_command=True)
@click.option(
    "--by", multiple=True, type=click.Choice(DIMENSIONS), help="Group by this; may be given several times (default: model, key, class)."
)
@click.option("--since", type=When(), help="Only requests from then on: 2026-11-01, 2026-11-23T10:00 (UTC), 24h, 7d.")
@click.option("--until", type=When(), help="Only requests before then.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_context
def usage(context: click.Context, by: tuple[Dimension, ...], since: Moment | None, until: Moment | None, kind: Format) -> None:
    """Requests, tokens and cost, by model, key and class."""
    if context.invoked_subcommand is not None:
        return
    place: Place = context.obj
    group = by or ("model", "key", "class")
    with Books.open(place) as books:
        rows = books.usage(group, since, until)
    shown = [_row(row, group) for row in rows if row.requests or row.held]  # the rest was void: nothing was used
    total: dict[str, Cell] = {
        group[0]: "total",
        **{name: sum(_int(row[name]) for row in shown) for name in NUMBERS[:-1]},
        "usd": usd(sum(row.cost_pico for row in rows)),
    }
    columns = (*group, *NUMBERS, *(("notes",) if kind == "table" else ("unpriced", "lost", "estimated", "running")))
    show(shown, columns, kind, empty="Nothing was used yet: ask something with `headrace chat`.", footer=total if len(shown) > 1 else None)


@usage.command()
@click.pass_obj
def verify(place: Place) -> None:
    """Add everything up again from the usage log, and compare it with the books."""
    with Books.open(place) as books:
        differences = books.verify()
        balances = books.balances()
    for difference in differences:
        click.secho(str(difference), fg="red", err=True)
    if differences:
        raise click.ClickException(f"{len(differences)} balances differ: the usage log is the truth; see `headrace doctor`")
    click.echo(f"The books agree with the usage log: {len(balances)} accounts, their sum is {usd(sum(balances.values()))} USD.")
    for account, pico in balances.items():
        click.echo(f"  {account}  {usd(pico)}")


def _row(row: UsageRow, group: tuple[Dimension, ...]) -> dict[str, Cell]:
    notes = ((row.unpriced, "unpriced"), (row.lost, "unknown, billed at the bound"), (row.estimated, "estimated"), (row.held, "running"))
    return {
        **dict(zip(group, row.group, strict=True)),
        "requests": row.requests,
        "input": row.tokens_in,
        "cached": row.tokens_cached,
        "output": row.tokens_out,
        "usd": usd(row.cost_pico),
        "unpriced": row.unpriced,
        "lost": row.lost,
        "estimated": row.estimated,
        "running": row.held,
        "notes": ", ".join(f"{count} {what}" for count, what in notes if count),
    }


def _int(cell: Cell) -> int:
    return cell if isinstance(cell, int) else 0
