"""`headrace invoice`: what an organisation is asked for, and whether that is right."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import click
import msgspec

from headrace.cli.pages import html_of, pdf_of
from headrace.cli.periods import Month
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.compose import Place, finance_of, moment_now
from headrace.core.errors import InvalidRequest, SetupError
from headrace.core.money import usd
from headrace.core.usage import SEGMENTS
from headrace.metering import Attempted, Invoice, Proven, faults, prove
from headrace.metering.invoices import cents
from headrace.metering.lines import METERS

Kind: TypeAlias = Literal["table", "json", "html", "pdf"]
KINDS: tuple[Kind, ...] = ("table", "json", "html", "pdf")
COLUMNS = ("kind", "project", "model", "tier", "what", "quantity", "usd", "usd_exact")


@click.group()
def invoice() -> None:
    """Monthly invoices."""


@invoice.command("show")
@click.argument("organization")
@click.argument("month", type=Month())
@click.option("--format", "kind", type=click.Choice(KINDS), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there (a PDF needs this, or a pipe).")
@click.pass_obj
def show_invoice(place: Place, organization: str, month: str, kind: Kind, output: Path | None) -> None:
    """The invoice of a month: as it was issued, else as it would be now."""
    issued = [one for one in finance_of(place).invoices(organization) if one.month == month]
    _write(issued[0] if issued else finance_of(place).draft(organization, month, moment_now()), kind, output)


@invoice.command("issue")
@click.argument("organization")
@click.argument("month", type=Month())
@click.option("--format", "kind", type=click.Choice(KINDS), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.option(
    "--early", is_flag=True, help="Also before the month is over: what is used afterwards is billed with the next one, as a correction."
)
@click.pass_obj
def issue_invoice(place: Place, organization: str, month: str, kind: Kind, output: Path | None, early: bool) -> None:
    """Issue the invoice of a month, once and for all; what is learned later goes into the next one as a correction."""
    try:
        made = finance_of(place).issue(organization, month, moment_now(), early=early)
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    _write(made, kind, output)


@invoice.command("list")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_invoices(place: Place, kind: Format) -> None:
    """What was issued."""
    rows: list[dict[str, Cell]] = [
        {
            "number": one.number,
            "organization": one.organization,
            "month": one.month,
            "usd": one.total_usd,
            "usd_left_out": usd(one.residue_pico),
        }
        for one in finance_of(place).invoices()
    ]
    show(rows, ("number", "organization", "month", "usd", "usd_left_out"), kind, empty="No invoice was issued yet: headrace invoice issue.")


@invoice.command("prove")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("request")
@click.option("--records", required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The invoice's records.")
def prove_request(file: Path, request: str, records: Path) -> None:
    """Show that a request is on an invoice (JSON), without giving the other records away: `verify --proof` checks what this prints."""
    asked = _read(file)
    try:
        found = prove(asked, _records(records, asked), request)
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    if not found:
        raise InvalidRequest(f"{request} is not on the invoice {asked.number}")
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")


@invoice.command("verify")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--proof", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="What `headrace invoice prove` printed.")
@click.option(
    "--records", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The records, as `headrace usage export` gives them."
)
def verify_invoice(file: Path, proof: Path | None, records: Path | None) -> None:
    """Compute an invoice (JSON) again: its lines, its total, and with its records the root over them. Needs no server and no data."""
    asked = _read(file)
    wrong = faults(asked, None if records is None else _records(records, asked))
    if proof is not None:
        wrong += _unproven(proof, asked)
    for fault in wrong:
        click.secho(fault, fg="red", err=True)
    if wrong:
        raise click.ClickException(f"the invoice {asked.number} is not right")
    proved = f"{asked.records:,} records, root {asked.root}" if records is not None else "without its records"
    click.echo(f"The invoice {asked.number} is right: {len(asked.lines)} lines, {asked.total_usd} {asked.currency}, {proved}.")


def _read(file: Path) -> Invoice:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Invoice)
    except msgspec.MsgspecError as wrong:
        raise SetupError(f"{file} is no invoice of ours: {wrong}") from None


def _unproven(file: Path, asked: Invoice) -> list[str]:
    """What a proof does not show."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=list[Proven])
        held = [one.holds and one.root == asked.root for one in found]
    except (msgspec.MsgspecError, ValueError) as wrong:
        raise SetupError(f"{file} is no proof of ours: {wrong}") from None
    return [f"{one.record.request} is not shown to be on {asked.number}" for one, holds in zip(found, held, strict=True) if not holds]


def _records(file: Path, asked: Invoice) -> list[Attempted]:
    """The records of the invoice's month that are billed, in the order of its tree."""
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            if (
                row["organization"] == asked.organization
                and row["admitted"][:7] == asked.month
                and not row["ours"]
                and row["state"] != "held"
            ):
                found.append(_attempted(row))
        except (ValueError, KeyError, TypeError) as wrong:
            raise SetupError(f"{file}, line {number}: this is no record of `headrace usage export --format jsonl` ({wrong!r})") from None
    return sorted(found, key=lambda one: (one.request, one.attempt))


def _attempted(row: dict[str, str | int | None]) -> Attempted:
    return msgspec.convert(
        [
            row["request"], row["attempt"], row["state"], row["admitted_ns"], row["project"], row["key"], row["model"], row["tier"] or "",
            row["price"] or "", [row[segment] for segment in SEGMENTS], row["cost_pico"] or 0,
        ],
        Attempted,
    )  # fmt: skip


def _write(made: Invoice, kind: Kind, output: Path | None) -> None:
    if kind == "table":
        _table(made)
        return
    content = _WRITTEN[kind](made)
    if output is not None:
        output.write_bytes(content)
    elif kind == "pdf" and sys.stdout.isatty():
        raise click.ClickException("a PDF is not for terminals: give --output FILE")
    else:
        sys.stdout.buffer.write(content)


_WRITTEN: dict[Kind, Callable[[Invoice], bytes]] = {
    "json": lambda made: msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n",
    "html": lambda made: html_of(made).encode(),
    "pdf": pdf_of,
}


def _table(made: Invoice) -> None:
    rows: list[dict[str, Cell]] = [
        {
            "kind": line.kind,
            "project": line.project,
            "model": line.model,
            "tier": line.tier,
            "what": METERS[line.segment] if line.kind == "usage" else line.memo,
            "quantity": line.quantity,
            "usd": cents(line.amount_cents),
            "usd_exact": usd(line.exact_pico),
        }
        for line in made.lines
    ]
    total: dict[str, Cell] = {"kind": "total", "usd": made.total_usd, "usd_exact": usd(made.exact_pico)}
    show(rows, COLUMNS, "table", empty=f"Nothing was used by {made.organization} in {made.month}.", footer=total if rows else None)
    click.echo(f"Left out by rounding: {usd(made.residue_pico)} USD. Root over {made.records:,} records: {made.root}")
