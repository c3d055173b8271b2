"""`headrace budget`: what may be spent, by whom, and how it stands."""

import difflib
from typing import Literal, get_args

import click
import msgspec

from headrace.cli.keys import CLASSES
from headrace.cli.tables import FORMATS, Format, show
from headrace.compose import BudgetSettings, Place, command_noted, correct, open_budgets
from headrace.core.errors import InvalidRequest
from headrace.core.identity import TrafficClass
from headrace.core.money import pico_of
from headrace.core.money import usd as shown_usd
from headrace.core.usage import Usage
from headrace.metering import Mode, Period, Scope
from headrace.storage import Treasury

SCOPES: tuple[Scope, ...] = get_args(Scope)


@click.group()
def budget() -> None:
    """Set budgets, and see how they stand. Those of headrace.toml ([[budget]]) are shown too, once they were used."""


@budget.command("set")
@click.argument("name")
@click.option("--usd", required=True, help='The amount, such as "500" or "0.50".')
@click.option("--period", type=click.Choice(get_args(Period)), default="month", show_default=True)
@click.option("--timezone", default="UTC", show_default=True, help="Where its days and months begin, such as Europe/Berlin.")
@click.option("--mode", type=click.Choice(get_args(Mode)), default="hard", show_default=True)
@click.option("--organization")
@click.option("--project")
@click.option("--key", help="By id or name; keys minted from it count too.")
@click.option("--user")
@click.option("--session")
@click.option("--model")
@click.option("--class", "traffic_class", type=click.Choice(CLASSES))
@click.option("--for-each", type=click.Choice(SCOPES), help="An amount for each of these, instead of one for all.")
@click.option("--alerts-percent", default="50,80,100", show_default=True, help="At which parts of it the webhook is told.")
@click.pass_obj
def set_budget(
    place: Place,
    name: str,
    usd: str,
    period: Period,
    timezone: str,
    mode: Mode,
    organization: str | None,
    project: str | None,
    key: str | None,
    user: str | None,
    session: str | None,
    model: str | None,
    traffic_class: TrafficClass | None,
    for_each: Scope | None,
    alerts_percent: str,
) -> None:
    """Set the budget NAME, or change it. Running servers keep to it within a second."""
    try:
        rule = BudgetSettings(
            name=name,
            usd=usd,
            period=period,
            timezone=timezone,
            mode=mode,
            organization=organization,
            project=project,
            key=key,
            user=user,
            session=session,
            model=model,
            traffic_class=traffic_class,
            for_each=for_each,
            alerts_percent=tuple(int(part) for part in alerts_percent.split(",") if part.strip()),
        )
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    with open_budgets(place) as treasury:
        treasury.set_rule(name, msgspec.json.encode(rule).decode())
    told = {"usd": usd, "period": period, "mode": mode}
    command_noted(place, "budget.updated", name, told, organization=organization, project=project)
    click.echo(f"{name}: {shown_usd(rule.budget.limit_pico)} USD by {period}, {mode}.")


@budget.command("remove")
@click.argument("name")
@click.pass_obj
def remove(place: Place, name: str) -> None:
    """Take back the budget NAME that was set with `headrace budget set`. What was spent of it stays on record."""
    with open_budgets(place) as treasury:
        treasury.remove_rule(name)
    command_noted(place, "budget.deleted", name, {})
    click.echo(f"{name} holds no more.")


@budget.command("list")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_budgets(place: Place, kind: Format) -> None:
    """Every budget, with what it is and whom it holds for."""
    settings = place.settings()
    with open_budgets(place) as treasury:
        rules = [msgspec.json.decode(content, type=BudgetSettings) for content in treasury.rules().values()]
    named = {one.name: (one, "settings") for one in settings.budget} | {one.name: (one, "command line") for one in rules}
    rows = [
        {
            "budget": one.name,
            "usd": one.usd,
            "period": one.period,
            "timezone": one.timezone,
            "mode": one.mode,
            "for": _whom(one),
            "set_in": where,
        }
        for one, where in named.values()
    ]
    show(rows, ("budget", "usd", "period", "timezone", "mode", "for", "set_in"), kind, empty="There are no budgets.")


@budget.command("show")
@click.argument("name", required=False)
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def show_budget(place: Place, name: str | None, kind: Format) -> None:
    """How the budget NAME stands, or all: what is spent, at work, unknown, and free."""
    settings = place.settings()
    with open_budgets(place) as treasury:
        rows = _standing(treasury, name)
        known = {*(one.name for one in settings.budget), *treasury.rules()}
    if name is not None and not rows and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        raise InvalidRequest(f"there is no budget {name!r}{f': did you mean {close[0]!r}?' if close else ', see `headrace budget list`'}")
    columns = ("budget", "instance", "period", "mode", "limit_usd", "spent_usd", "held_usd", "unknown_usd", "leased_free_usd", "free_usd")
    show(rows, columns, kind, empty="Nothing was charged to a budget yet.")


@budget.command("unknown")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def unknown(place: Place, kind: Format) -> None:
    """Attempts whose end nobody knows, each charged at its bound until `headrace budget correct` tells the truth."""
    with open_budgets(place) as treasury:
        rows: list[dict[str, str | int | None]] = [
            {"request": one.request, "attempt": one.attempt, "usd": shown_usd(one.booked_pico)} for one in treasury.unknown()
        ]
    show(rows, ("request", "attempt", "usd"), kind, empty="Nothing is held for want of knowing.")


@budget.command("correct")
@click.argument("request")
@click.option("--usd", required=True, help="What it came to, such as 0.0012.")
@click.option("--input", "tokens_in", type=click.IntRange(min=0), required=True, help="Tokens of the prompt.")
@click.option("--output", "tokens_out", type=click.IntRange(min=0), required=True, help="Tokens of the answer.")
@click.option("--attempt", type=click.IntRange(min=1), default=1, show_default=True)
@click.pass_obj
def correct_attempt(place: Place, request: str, usd: str, tokens_in: int, tokens_out: int, attempt: int) -> None:
    """Say what REQUEST came to that was booked at its bound. The books are corrected by new rows, and budgets get the difference back."""
    try:
        cost_pico = pico_of(usd)
    except ValueError as wrong:
        raise InvalidRequest(str(wrong)) from None
    before, after = correct(place, request, attempt, Usage(tokens_in, output=tokens_out), cost_pico)
    click.echo(f"{request}, attempt {attempt}: {shown_usd(after)} USD instead of {shown_usd(before)}.")


def _standing(treasury: Treasury, name: str | None) -> list[dict[str, str | int | None]]:
    return [
        {
            "budget": row.budget,
            "instance": row.instance,
            "period": row.period,
            "mode": row.mode,
            "limit_usd": shown_usd(row.limit_pico),
            "spent_usd": shown_usd(row.spent_pico),
            "held_usd": shown_usd(row.held_pico),
            "unknown_usd": shown_usd(row.unknown_pico),
            "leased_free_usd": shown_usd(row.leased_free_pico),
            "free_usd": shown_usd(row.available_pico),
        }
        for row in treasury.accounts(name)
    ]


def _whom(one: BudgetSettings) -> str:
    fields: tuple[Literal["organization", "project", "key", "user", "session", "model", "traffic_class"], ...]
    fields = ("organization", "project", "key", "user", "session", "model", "traffic_class")
    named = [f"{field.replace('traffic_', '')} {getattr(one, field)}" for field in fields if getattr(one, field) is not None]
    if one.for_each is not None:
        named.append(f"each {one.for_each}")
    return ", ".join(named) or "all"
