"""`headrace reload`: a running server reads its settings again, and takes them on whole or not at all."""

import click
import msgspec

from headrace.cli.client import admin_for
from headrace.compose import Place
from headrace.core.errors import SettingsInvalid


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What the server says it did."""

    version: str
    changed: bool
    needs_restart: tuple[str, ...]


@click.command()
@click.option("--url", help="Another server (default: the one of the settings).")
@click.option("--key", help="A key that may administer it (default: the data folder's development key).")
@click.pass_obj
def reload(place: Place, url: str | None, key: str | None) -> None:
    """Have the server take on edited settings.

    When they are wrong, it says why and nothing changes.
    """
    try:
        told = msgspec.convert(admin_for(place, url, key).post("/admin/reload"), Told)
    except SettingsInvalid as wrong:
        raise SettingsInvalid(f"{wrong.message}. Nothing has changed: the server goes on with the settings it has.") from None
    click.echo(f"The settings {told.version} are in force" + (" from now on." if told.changed else ", as before: nothing in them is new."))
    if told.needs_restart:
        click.secho(f"What has changed in these needs a restart: {', '.join(told.needs_restart)}.", fg="yellow", err=True)
