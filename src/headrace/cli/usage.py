"""`headrace usage`: what was used and what it costs, to the last digit."""

from pathlib import Path

import click

from headrace.cli.output import opened, write_csv, write_jsonl, write_parquet
from headrace.cli.periods import Month, When, span, this_month
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Books, Place, capacity, chargeback, finance_of, shared_state
from headrace.compose.chargeback import shown
from headrace.compose.finance import month_of
from headrace.core.clock import Moment
from headrace.core.money import usd, usd_per_mtok
from headrace.core.usage import SEGMENTS
from headrace.metering.capacity import CACHED, INPUT, OUTPUT
from headrace.metering.focus import COLUMNS as FOCUS
from headrace.metering.focus import Names, rows_of
from headrace.storage import COLUMNS, DIMENSIONS, Dimension, UsageRow, key_names

WORK = (("input", INPUT), ("cached", CACHED), ("output", OUTPUT))
NUMBERS = ("requests", "input", "cached", "output", "usd")


@click.group(invoke_without_command=True)
@click.option(
    "--by", multiple=True, type=click.Choice(DIMENSIONS), help="Group by this; may be given several times (default: model, key, class)."
)
@click.option("--since", type=When(), help="Only requests from then on: 2026-11-01, 2026-11-23T10:00 (UTC), 24h, 7d.")
@click.option("--until", type=When(), help="Only requests before then.")
@click.option(
    "--margin", is_flag=True, help="Revenue, what vendors charge, capacity, margin and what the cache saved (default: this month)."
)
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_context
def usage(
    context: click.Context, by: tuple[Dimension, ...], since: Moment | None, until: Moment | None, margin: bool, kind: Format
) -> None:
    """Requests, tokens and cost, by model, key and class."""
    if context.invoked_subcommand is not None:
        return
    place: Place = context.obj
    group = by or ("model", "key", "class")
    if margin:
        _margins(place, group, since, until, kind)
        return
    with Books.open(place) as books:
        rows = books.usage(group, since, until)
    shown = [_row(row, group) for row in rows if row.requests or row.held or row.ours]  # the rest was void: nothing was used
    total: dict[str, Cell] = {
        group[0]: "total",
        **{name: sum(_int(row[name]) for row in shown) for name in NUMBERS[:-1]},
        "usd": usd(sum(row.cost_pico for row in rows)),
    }
    columns = (*group, *NUMBERS, *(("notes",) if kind == "table" else ("unpriced", "lost", "estimated", "running", "ours")))
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


@usage.command()
@click.option("--month", type=Month(), help="Only this month, such as 2026-11.")
@click.option("--since", type=When(), help="Only requests from then on.")
@click.option("--until", type=When(), help="Only requests before then.")
@click.option("--organization", help="Only this organisation's.")
@click.option("--format", "kind", type=click.Choice(("jsonl", "csv", "parquet")), default="jsonl", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there (Parquet needs this).")
@click.pass_obj
def export(
    place: Place, month: str | None, since: Moment | None, until: Moment | None, organization: str | None, kind: str, output: Path | None
) -> None:
    """Every attempt as a row: who, what, where, its tokens by segment, what it costs and what the vendor charges, to the last digit."""
    start, stop = span(month, since, until)
    rows = finance_of(place).exported(organization, start, stop)
    if kind == "parquet":
        if output is None:
            raise click.UsageError("Parquet is no text: give --output FILE")
        integers = frozenset((*SEGMENTS, "attempt", "admitted_ns", "ours", "cost_pico", "buy_pico", "ttft_ms", "duration_ms"))
        write_parquet(rows, COLUMNS, integers, output)
        return
    with opened(output) as file:
        if kind == "csv":
            write_csv(rows, COLUMNS, file)
        else:
            write_jsonl(rows, file)


@usage.command()
@click.option("--month", type=Month(), required=True, help="The billing period, such as 2026-11.")
@click.option("--organization", help="Only this organisation's.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there instead of to standard output.")
@click.pass_obj
def focus(place: Place, month: str, organization: str | None, output: Path | None) -> None:
    """A month as FOCUS 1.2 (CSV): one row a day, key, model, price and segment."""
    finance = finance_of(place)
    lines = finance.lines(organization, *month_of(month))
    issued = {(one.organization, one.month): one for one in finance.invoices(organization) if one.month == month}
    with shared_state(place).opened() as database:
        names = key_names(database)
    with opened(output) as file:
        write_csv(rows_of(lines, Names(keys=names), issued), FOCUS, file)


@usage.command("capacity")
@click.option("--month", type=Month(), help="A month, such as 2026-11 (default: this one until now).")
@click.option("--since", type=When(), help="From then on.")
@click.option("--until", type=When(), help="Before then.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def show_capacity(place: Place, month: str | None, since: Moment | None, until: Moment | None, kind: Format) -> None:
    """Pools that are paid by the hour: what they cost, how full they were, and what a million tokens cost at that, idle hours included."""
    first, last = month_of(month) if month is not None else this_month()
    found = capacity(finance_of(place), place.settings(), since or first, until or last)
    rows: list[dict[str, Cell]] = [
        {
            "pool": one.pool,
            "hours": one.hours,
            "usd": usd(one.paid.whole_pico),
            "usd_idle": usd(one.paid.idle_pico),
            "percent_used": f"{100 * one.paid.utilisation:.2f}",
            **{f"usd_mtok_{what}": _mtok(one.per_mtok(work)) for what, work in WORK},
        }
        for one in found
    ]
    columns = ("pool", "hours", "usd", "usd_idle", "percent_used", *(f"usd_mtok_{what}" for what, _ in WORK))
    show(rows, columns, kind, empty="No pool is paid by the hour.")


def _mtok(pico: int | None) -> str | None:
    return None if pico is None else usd_per_mtok(pico)


def _margins(place: Place, group: tuple[Dimension, ...], since: Moment | None, until: Moment | None, kind: Format) -> None:
    first, last = this_month()
    found = chargeback(finance_of(place), place.settings(), group, first if since is None else since, last if until is None else until)
    rows: list[dict[str, Cell]] = [{**shown(one, group)} for one in found]
    columns = (*group, "requests", "ours", "usd_revenue", "usd_vendors", "usd_capacity", "usd_margin", "usd_cache_saved", "cost_unknown")
    show(rows, columns, kind, empty="Nothing was used in that time.")


def _row(row: UsageRow, group: tuple[Dimension, ...]) -> dict[str, Cell]:
    notes = (
        (row.unpriced, "unpriced"),
        (row.lost, "unknown, billed at the bound"),
        (row.estimated, "estimated"),
        (row.held, "running"),
        (row.ours, "borne by us: nothing of them was heard"),
    )
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
        "ours": row.ours,
        "notes": ", ".join(f"{count} {what}" for count, what in notes if count),
    }


def _int(cell: Cell) -> int:
    return cell if isinstance(cell, int) else 0
