"""`headrace keys`: who may ask. A secret is shown once, and revoking works at once."""

from datetime import UTC, datetime
from typing import get_args

import click

from headrace.cli.tables import FORMATS, Format, show
from headrace.compose import Books, Place
from headrace.core.clock import SECOND, Moment
from headrace.core.identity import TrafficClass
from headrace.core.money import usd
from headrace.core.roles import Role

ROLES: tuple[Role, ...] = get_args(Role)
CLASSES: tuple[TrafficClass, ...] = get_args(TrafficClass)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys."""


@keys.command()
@click.argument("name")
@click.option("--organization", default="default", show_default=True)
@click.option("--project", default="default", show_default=True)
@click.option("--class", "traffic_class", type=click.Choice(CLASSES), default="realtime", show_default=True, help="Traffic class.")
@click.option("--requests-per-minute", type=click.IntRange(min=1), help="Default: [limits] of the settings.")
@click.option("--tokens-per-minute", type=click.IntRange(min=1), help="Default: [limits] of the settings.")
@click.option("--parent", help="The key, by id or name, that it is minted from: it has the same owner, may do less, and ends with it.")
@click.option("--budget", "budget_usd", help="What it and the keys minted from it may spend in all, in US dollars.")
@click.option("--models", help="The only models that it may ask for, separated by commas.")
@click.option("--classes", help="The only traffic classes that it may ask in, separated by commas.")
@click.option("--expires", help="For how long it is good: 10m, 24h, 7d.")
@click.option("--role", type=click.Choice(ROLES), help="Make a key that administers the organisation in this role, and does nothing else.")
@click.pass_obj
def create(
    place: Place,
    name: str,
    organization: str,
    project: str,
    traffic_class: TrafficClass,
    requests_per_minute: int | None,
    tokens_per_minute: int | None,
    parent: str | None,
    budget_usd: str | None,
    models: str | None,
    classes: str | None,
    expires: str | None,
    role: Role | None,
) -> None:
    """Make a key called NAME and show its secret, this once."""
    with Books.open(place) as books:
        row, secret = books.create_key(
            name=name,
            organization=organization,
            project=project,
            traffic_class=traffic_class,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            parent=parent,
            budget_usd=budget_usd,
            models=_names(models),
            classes=_names(classes),
            expires_in_s=None if expires is None else _seconds(expires),
            role=role,
        )
    owner = f"{row.organization}/{row.project}" if row.role is None else f"{row.organization}, which it administers as {row.role}"
    click.secho(f"{row.id} is ready, for {owner}. This is its secret, which is shown only now:", err=True)
    click.echo(secret)


@keys.command("list")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_keys(place: Place, kind: Format) -> None:
    """All keys, revoked ones too. Secrets are kept nowhere."""
    with Books.open(place) as books:
        rows = [
            {
                "id": row.id,
                "name": row.name,
                "organization": row.organization,
                "project": row.project,
                "class": row.traffic_class if row.role is None else f"administers: {row.role}",
                "secret": row.shown,
                "created": _time(row.created),
                "revoked": _time(row.revoked),
                "parent": row.parent,
                "budget_usd": None if row.budget_pico is None else usd(row.budget_pico),
                "expires": _time(row.expires),
            }
            for row in books.key_rows()
        ]
    show(
        rows,
        ("id", "name", "organization", "project", "class", "secret", "created", "revoked", "parent", "budget_usd", "expires"),
        kind,
        empty="There are no keys yet.",
    )


@keys.command()
@click.argument("key")
@click.pass_obj
def revoke(place: Place, key: str) -> None:
    """Revoke KEY, given by its id or name. Running servers refuse it from the next request on."""
    with Books.open(place) as books:
        row = books.revoke_key(key)
    click.echo(f"{row.id} ({row.name}) is revoked.")


def _names(listed: str | None) -> tuple[str, ...] | None:
    return None if listed is None else tuple(name for part in listed.split(",") if (name := part.strip()))


def _seconds(span: str) -> int:
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    if not span[:-1].isdigit() or span[-1:] not in units or not int(span[:-1]):
        raise click.BadParameter(f"{span!r} is no span of time: 90s, 10m, 24h, 7d", param_hint="--expires")
    return int(span[:-1]) * units[span[-1]]


def _time(moment: Moment | None) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment // SECOND, UTC).strftime("%Y-%m-%d %H:%M UTC")
