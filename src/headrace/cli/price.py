"""`headrace price`: what a token costs, since when, what would cost otherwise, and what is wrong with a book."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from headrace.cli.periods import Month, When, span
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place, PriceChange, PriceFault, price_change, price_changes, price_faults, price_rows, rerate, set_price_row
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import InvalidRequest
from headrace.core.money import usd, usd_per_mtok
from headrace.metering import Price, UsdPerMtok, WrittenPrice, day_of

COLUMNS = ("model", "from", "to", "tier", "above", "usd_input", "usd_cached", "usd_output", "source")


@click.group()
def price() -> None:
    """The price books: what is sold, and what vendors charge."""


@price.command("list")
@click.option("--model", help="Only this model's rows.")
@click.option("--buy", is_flag=True, help="What vendors charge us at the pools of the settings, not what is sold.")
@click.option("--all", "everything", is_flag=True, help="Also the models that no pool serves.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_prices(place: Place, model: str | None, buy: bool, everything: bool, kind: Format) -> None:
    """Every row that can hold, in dollars a million tokens, with tiers and what a longer request costs. What has no row is unpriced."""
    rows = [shown for row in price_rows(place, buy=buy, model=model, everything=everything) for shown in _rows(row)]
    show(rows, COLUMNS, kind, empty=f"There is no price for {model}: add usd_per_mtok to its [[model]], or headrace price set.")


@price.command("set")
@click.argument("model")
@click.option("--input", "input_", required=True, metavar="USD", help="Dollars a million tokens of input.")
@click.option("--cached-input", metavar="USD", help="Read from the cache; without it what input costs.")
@click.option("--cache-write", metavar="USD", help="Written to the cache; without it what input costs.")
@click.option("--output", metavar="USD", help="Of the answer; without it the model has no price for answers.")
@click.option("--tier", "tiers", multiple=True, metavar="NAME=MULTIPLE", help="A service tier: priority=2, flex=0.5, batch=0.5.")
@click.option("--call", "calls", multiple=True, metavar="NAME=USD", help="What one call of a vendor's tool costs: web_search=0.01.")
@click.option("--from", "valid_from", type=click.DateTime(("%Y-%m-%d",)), help="The day from which it holds (default: today, UTC).")
@click.option("--to", "valid_to", type=click.DateTime(("%Y-%m-%d",)), help="The first day on which it holds no more.")
@click.option("--vendor", help="A row of what this vendor charges us, not of what is sold.")
@click.option("--source", default="headrace price set", show_default=True, help="Where the price comes from.")
@click.pass_obj
def set_price(
    place: Place,
    model: str,
    input_: str,
    cached_input: str | None,
    cache_write: str | None,
    output: str | None,
    tiers: tuple[str, ...],
    calls: tuple[str, ...],
    valid_from: datetime | None,
    valid_to: datetime | None,
    vendor: str | None,
    source: str,
) -> None:
    """Add a row to the book, from a day on. A running server sells by it within a second; what was rated before stays as it was."""
    written = WrittenPrice(
        model=model,
        usd_per_mtok=UsdPerMtok(input=input_, cached_input=cached_input, cache_write=cache_write, output=output),
        source=source,
        valid_from=(valid_from or datetime.now(UTC)).date(),  # noqa: TID251 -- the person's own today
        valid_to=None if valid_to is None else valid_to.date(),
        tiers=_pairs(tiers, "--tier priority=2"),
        usd_per_call=_pairs(calls, "--call web_search=0.01"),
    )
    try:
        row = set_price_row(place, written, vendor)
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    show(_rows(row), COLUMNS, "table", empty="")


@price.command("diff")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def diff(place: Place, file: Path, kind: Format) -> None:
    """What another book (TOML, as the shipped prices.toml) says otherwise than ours, today."""
    try:
        changes = price_changes(place, file.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise InvalidRequest(f"{file}: {wrong}") from None
    show([_change(one) for one in changes], ("model", "what", "usd_ours", "usd_theirs"), kind, empty="Both books say the same.")


@price.command("check")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def check(place: Place, kind: Format) -> None:
    """What is wrong or missing: models without a price, sold below what they cost, or otherwise than their maker's list."""
    faults = price_faults(place)
    show([_fault(one) for one in faults], ("grade", "model", "pool", "what"), kind, empty="Every model that is served has a price.")
    if any(one.grade == "error" for one in faults):
        sys.exit(1)


@price.command("what-if")
@click.option("--month", type=Month(), help="The period: a month, such as 2026-11.")
@click.option("--since", type=When(), help="Only requests from then on.")
@click.option("--until", type=When(), help="Only requests before then.")
@click.option("--book", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Under these rows (TOML) above ours.")
@click.option("--known", type=When(), help="Under our book as it was known then.")
@click.option("--tier", help="As if all had been served in this tier: batch, flex, priority.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def what_if(
    place: Place,
    month: str | None,
    since: Moment | None,
    until: Moment | None,
    book: Path | None,
    known: Moment | None,
    tier: str | None,
    kind: Format,
) -> None:
    """Rate a past period again under another book, and say what would have changed. Nothing is booked."""
    start, stop = span(month, since, until)
    try:
        found = rerate(place, start, stop, None if book is None else book.read_text(encoding="utf-8"), known, tier)
    except ValueError as wrong:
        raise InvalidRequest(f"{book}: {wrong}") from None
    rows: list[dict[str, Cell]] = [
        {
            "model": one.model,
            "tier": one.tier,
            "requests": one.requests,
            "usd_was": usd(one.was_pico),
            "usd_would": usd(one.would_pico),
            "usd_more": usd(one.would_pico - one.was_pico),
            "unpriced": one.unpriced,
        }
        for one in found
    ]
    was, would = sum(one.was_pico for one in found), sum(one.would_pico for one in found)
    total: dict[str, Cell] = {"model": "total", "usd_was": usd(was), "usd_would": usd(would), "usd_more": usd(would - was)}
    columns = ("model", "tier", "requests", "usd_was", "usd_would", "usd_more", "unpriced")
    show(rows, columns, kind, empty="Nothing was used in that time.", footer=total if len(rows) > 1 else None)


def _pairs(said: tuple[str, ...], example: str) -> dict[str, str]:
    found = dict(one.partition("=")[::2] for one in said)
    if any(not name or not value for name, value in found.items()):
        raise click.UsageError(f"write it as {example}")
    return found


def _rows(row: Price) -> list[dict[str, Cell]]:
    """The row itself, what longer requests cost, and its tiers."""
    shown = [_row(row, None), *(_row(step.price, step.tokens_in) for step in row.above)]
    for tier in row.tiers.values():
        shown += [_row(tier, None), *(_row(step.price, step.tokens_in) for step in tier.above)]
    return shown


def _row(row: Price, above: int | None) -> dict[str, Cell]:
    return {
        "model": row.model,
        "from": str(day_of(row.valid_from)) if row.valid_from else "always",
        "to": None if row.valid_to is None else str(day_of(row.valid_to)),
        "tier": row.tier,
        "above": above,
        "usd_input": usd_per_mtok(row.input_pico),
        "usd_cached": usd_per_mtok(row.cached_input_pico),
        "usd_output": None if row.output_pico is None else usd_per_mtok(row.output_pico),
        "source": row.source,
        "recorded": row.recorded // SECOND or None,
    }


def _change(one: PriceChange) -> dict[str, Cell]:
    return {"model": one.model, "what": one.what, "usd_ours": price_change(one.ours), "usd_theirs": price_change(one.theirs)}


def _fault(one: PriceFault) -> dict[str, Cell]:
    return {"grade": one.grade, "model": one.model, "pool": one.pool, "what": one.what}
