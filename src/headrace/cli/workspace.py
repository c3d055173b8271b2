"""`headrace workspace`: the way into the page, for whoever can read the data folder."""

import click

from headrace.compose import MachineClock, Place, link_for, shared_state
from headrace.core.errors import SetupError


@click.command()
@click.option("--url", help="Address of the server (default: the one that the settings name).")
@click.option("--key", help="Sign in with this key (default: the development key of the data folder).")
@click.pass_obj
def workspace(place: Place, url: str | None, key: str | None) -> None:
    """Print a link to the workspace that signs you in. It is good once, and for a quarter of an hour."""
    secret = key or place.development_key()
    if secret is None:
        raise SetupError("there is no development key yet: start the server once with `headrace serve`, or give --key")
    server = place.settings().server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104 -- compared with, not bound to
    own = f"http://{f'[{host}]' if ':' in host else host}:{server.port}"
    click.echo((url or own).rstrip("/") + link_for(shared_state(place), MachineClock(), secret))
