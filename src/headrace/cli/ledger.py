"""`headrace ledger`: the books, whether they are whole, and what people enter into them."""

from pathlib import Path
from typing import Literal

import click

from headrace.cli.output import opened
from headrace.cli.periods import FOREVER, Month, When, span
from headrace.cli.tables import FORMATS, Format, show
from headrace.compose import Books, DayCheck, Place, budget_balances, budget_faults, close_month, finance_of, moment_now
from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest
from headrace.core.money import usd
from headrace.metering.ledger import customer
from headrace.metering.prices import pico_of
from headrace.storage import JournalEntry


@click.group()
def ledger() -> None:
    """The double-entry ledger."""


@ledger.command()
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def balances(place: Place, kind: Format) -> None:
    """What every account shows: debits less credits, in USD. Together they are zero. Those of budgets (budget:…), even among themselves,
    show what is spent, held, leased to workers and free of budgets that run."""
    with Books.open(place) as books:
        books.load()
        found = books.balances() | budget_balances(place, moment_now())
    rows = [{"account": account, "usd": usd(pico)} for account, pico in found.items()]
    show(rows, ("account", "usd"), kind, empty="Nothing is booked yet.")


@ledger.command()
@click.option("--by-day", is_flag=True, help="Show day by day what the books and the usage log say.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True, help="Of the table by day.")
@click.pass_obj
def verify(place: Place, by_day: bool, kind: Format) -> None:
    """Check everything again: both chains of hashes, the log's bytes, every cost, correction and balance, and what budgets have spent."""
    finance = finance_of(place)
    wrong = [*finance.audit(), *budget_faults(place, finance)]
    if by_day:
        days = finance.days()
        show([_told(day) for day in days], tuple(DAY_COLUMNS), kind, empty="Nothing is booked yet.")
        wrong += [f"{day.day}: the books and the usage log differ" for day in days if not day.agrees]
    for fault in wrong:
        click.secho(fault, fg="red", err=True)
    if wrong:
        raise click.ClickException(f"the ledger is not whole: {len(wrong)} faults")
    click.echo(
        "The ledger is whole: its chains, the usage log's bytes, every cost and every balance agree.", err=by_day and kind != "table"
    )


DAY_COLUMNS = ("day", "usd_usage", "usd_usage_log", "usd_vendors", "usd_vendors_log", "usd_entered", "agrees")


def _told(day: DayCheck) -> dict[str, str | int | None]:
    pico = (day.usage_pico, day.usage_log_pico, day.purchase_pico, day.purchase_log_pico, day.entered_pico)
    return dict(zip(DAY_COLUMNS, (day.day, *map(usd, pico), "yes" if day.agrees else "no"), strict=True))


@ledger.command()
@click.argument("month", type=Month())
@click.pass_obj
def close(place: Place, month: str) -> None:
    """Post what capacity that is paid by the hour cost in a month, once: what was used of it, and what stood idle."""
    try:
        made = close_month(finance_of(place), place.settings(), month)
    except ValueError as wrong:
        raise InvalidRequest(f"{month} was closed with other amounts ({wrong}): enter an adjustment") from None
    rows = [{"debit": one.debit, "credit": one.credit, "usd": usd(one.amount_pico), "memo": one.memo} for one in made]
    show(rows, ("debit", "credit", "usd", "memo"), "table", empty="No pool is paid by the hour.")


@ledger.command()
@click.option("--month", type=Month(), help="Only this month, such as 2026-11.")
@click.option("--since", type=When(), help="Only what was admitted from then on.")
@click.option("--until", type=When(), help="Only what was admitted before then.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there instead of to standard output.")
@click.pass_obj
def journal(place: Place, month: str | None, since: Moment | None, until: Moment | None, output: Path | None) -> None:
    """The books as a journal for hledger, day by day."""
    start, stop = span(month, since, until)
    text = finance_of(place).journal(start, min(stop, moment_now() + 1) if stop == FOREVER else stop)
    with opened(output) as file:
        file.write(text)


@ledger.command()
@click.argument("kind", type=click.Choice(("credit", "adjustment", "payment")))
@click.argument("organization")
@click.argument("amount")
@click.option("--project", default="", help="Of this project only.")
@click.option("--name", required=True, help="Names the entry for ever: entered again, it changes nothing.")
@click.option("--memo", default="", help="What it is for; it stands on the invoice.")
@click.pass_obj
def enter(
    place: Place, kind: Literal["credit", "adjustment", "payment"], organization: str, amount: str, project: str, name: str, memo: str
) -> None:
    """Enter a credit, an adjustment (with a minus it lowers what is owed) or a payment, in USD. Nothing is ever edited: another entry
    undoes what was wrong."""
    lowers = kind != "adjustment" or amount.startswith("-")
    try:
        pico = pico_of(amount.removeprefix("-"))
        who, other = customer(organization, project), f"{_OTHER[kind]}:{organization}"
        debit, credit = (other, who) if lowers else (who, other)
        one = JournalEntry(name=name, moment=moment_now(), kind=kind, debit=debit, credit=credit, amount_pico=pico, memo=memo)
        made = finance_of(place).enter(one)
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    click.echo(f"{name}: {usd(pico)} USD from {credit} to {debit}." if made else f"{name} was entered before; nothing has changed.")


_OTHER = {"credit": "credits", "adjustment": "adjustments", "payment": "bank"}
