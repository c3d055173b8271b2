"""`headrace price`: what a token costs, and since when."""

import click

from headrace.cli.tables import FORMATS, Format, show
from headrace.compose import Place, price_book
from headrace.core.money import usd_per_mtok
from headrace.metering import Price, day_of


@click.group()
def price() -> None:
    """The price book."""


@price.command("list")
@click.option("--model", help="Only this model's rows.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_prices(place: Place, model: str | None, kind: Format) -> None:
    """Every row that can hold, in dollars a million tokens. What has no row is unpriced, not free."""
    rows = [_row(row) for row in price_book(place.settings()).rows if model in (None, row.model)]
    columns = ("model", "from", "usd_input", "usd_cached", "usd_output", "source")
    show(rows, columns, kind, empty=f"There is no price for {model}: add usd_per_mtok to its [[model]] in headrace.toml.")


def _row(row: Price) -> dict[str, str | int | None]:
    return {
        "model": row.model,
        "from": str(day_of(row.valid_from)) if row.valid_from else "always",
        "usd_input": usd_per_mtok(row.input_pico),
        "usd_cached": usd_per_mtok(row.cached_input_pico),
        "usd_output": None if row.output_pico is None else usd_per_mtok(row.output_pico),
        "source": row.source,
    }
