"""`headrace ledger`: the books, whether they are whole, and what people enter into them."""

from pathlib import Path
from typing import Literal

import click

from headrace.cli.output import opened
from headrace.cli.periods import FOREVER, Month, When, span
from headrace.cli.tables import FORMATS, Format, show
from headrace.compose import Books, Place, close_month, finance_of, moment_now
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
    """What every account shows: debits less credits, in USD. Together they are zero."""
    with Books.open(place) as books:
        books.load()
        rows = [{"account": account, "usd": usd(pico)} for account, pico in books.balances().items()]
    show(rows, ("account", "usd"), kind, empty="Nothing is booked yet.")


@ledger.command()
@click.pass_obj
def verify(place: Place) -> None:
    """Check everything again: both chains of hashes, the log's bytes, every cost, every correction, every balance."""
    wrong = finance_of(place).audit()
    for fault in wrong:
        click.secho(fault, fg="red", err=True)
    if wrong:
        raise click.ClickException(f"the ledger is not whole: {len(wrong)} faults")
    click.echo("The ledger is whole: its chains, the usage log's bytes, every cost and every balance agree.")


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
