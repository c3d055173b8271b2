"""`headrace reconcile`: a vendor's bill against our books, and why they differ."""

from pathlib import Path

import click

from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place, reconciled
from headrace.core.errors import InvalidRequest
from headrace.core.money import usd
from headrace.metering.reconcile import Explained

COLUMNS = ("day", "model", "cause", "tokens", "usd")
COLUMNS_OF_REQUESTS = ("day", "model", "request", "vendor_id", "cause", "tokens", "usd")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--vendor", required=True, help="Whose bill it is, as the pools' settings name it: openai, anthropic, azure.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def reconcile(place: Place, files: tuple[Path, ...], vendor: str, kind: Format) -> None:
    """Hold a vendor's usage or costs (OpenAI's or Anthropic's JSON, or a table) against our books, and explain every difference.

    A vendor's list of requests (Bedrock's log of invocations, or a table with a time a row) is held against our attempts, one by one.
    """
    try:
        found = reconciled(place, vendor, [file.read_text(encoding="utf-8") for file in files])
    except (ValueError, UnicodeDecodeError) as wrong:
        raise InvalidRequest(f"{files[0]}: {wrong}") from None
    columns = COLUMNS if found.requests is None else COLUMNS_OF_REQUESTS
    show([_row(one) for one in found.explained], columns, kind, empty="There is no difference.")
    if kind != "table":
        return
    billed = "says no amounts" if found.billed_pico is None else f"bills {usd(found.billed_pico)} USD"
    what = f"{found.groups} days and models" if found.requests is None else f"{found.groups} requests, {found.requests} of them ours"
    click.echo(f"{vendor} {billed}, our books say {usd(found.booked_pico)} USD, for {what}.")
    for cause, pico in found.by_cause.items():
        click.echo(f"  {cause:<10} {usd(pico)}")


def _row(one: Explained) -> dict[str, Cell]:
    named: dict[str, Cell] = {"request": one.request, "vendor_id": one.line}
    return {"day": str(one.day), "model": one.model, **named, "cause": one.cause, "tokens": one.tokens, "usd": usd(one.pico)}
