"""`headrace webhook`: addresses that are told of what happens to everybody's runs and to schedules, and what each was told."""

from collections.abc import Sequence

import click

from headrace.cli.agentrun import database_of
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.cli.telling import NOBODYS, tell_due
from headrace.compose import Place, new_token
from headrace.compose.clock import MachineClock, Names, shown_moment
from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest
from headrace.storage import Subscriber, drop_subscriber, keep_subscriber, pause_subscriber, subscribers_of, tell_one, tellings_of
from headrace.wire.hooks import secret_from
from headrace.workspace import KINDS, check_address, check_kinds, test_message, told_of


@click.group()
def webhook() -> None:
    """Have addresses told when runs end or wait for somebody, and what schedules do; signed as Standard Webhooks are."""


@webhook.command("add")
@click.argument("url")
@click.option("--event", "events", multiple=True, type=click.Choice(KINDS), help="Only this; may be repeated (default: everything).")
@click.pass_obj
def add(place: Place, url: str, events: Sequence[str]) -> None:
    """Have URL told of everybody's runs and of schedules. Its secret is shown once."""
    clock = MachineClock()
    fresh = Subscriber(
        id=Names(clock)("whk_"),
        owner=NOBODYS,
        url=check_address(url, private=True),
        secret=secret_from(new_token()),
        kinds=check_kinds(events),
        created=clock.moment(),
    )
    with database_of(place) as database:
        if not keep_subscriber(database, fresh):
            raise InvalidRequest("There are too many webhooks: headrace webhook remove takes one away.")
    click.secho(f"{fresh.id} is told from now on. This is the secret that its messages are signed with, shown only now:", err=True)
    click.echo(fresh.secret)


@webhook.command("list")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_webhooks(place: Place, kind: Format) -> None:
    """All addresses that are told, also those that people have set at the page or by the API."""
    with database_of(place) as database:
        rows: list[dict[str, Cell]] = [
            {
                "id": each.id,
                "url": each.url,
                "events": " ".join(each.kinds) or "everything",
                "of": each.owner or "everybody",
                "created": shown_moment(each.created),
                "paused": None if each.paused is None else shown_moment(each.paused),
            }
            for each in subscribers_of(database, None)
        ]
    show(rows, ("id", "url", "events", "of", "created", "paused"), kind, empty="Nobody is told yet: headrace webhook add URL.")


@webhook.command("pause")
@click.argument("id")
@click.pass_obj
def pause(place: Place, id: str) -> None:
    """Tell ID nothing until it goes on: what happens meanwhile is not told later."""
    _rest(place, id, MachineClock().moment())
    click.echo(f"{id} is told nothing until headrace webhook resume {id}.")


@webhook.command("resume")
@click.argument("id")
@click.pass_obj
def resume(place: Place, id: str) -> None:
    """Tell ID again what happens, and what waited for it."""
    _rest(place, id, None)
    click.echo(f"{id} is told again.")


def _rest(place: Place, id: str, since: Moment | None) -> None:
    with database_of(place) as database:
        if not pause_subscriber(database, None, id, since):
            raise InvalidRequest(f"There is no webhook {id!r}: headrace webhook list shows them.")


@webhook.command("remove")
@click.argument("id")
@click.pass_obj
def remove(place: Place, id: str) -> None:
    """Tell ID nothing any more, and forget what it was told."""
    with database_of(place) as database:
        if not drop_subscriber(database, None, id):
            raise InvalidRequest(f"There is no webhook {id!r}: headrace webhook list shows them.")
    click.echo(f"{id} is told nothing any more.")


@webhook.command("log")
@click.argument("id")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def log(place: Place, id: str, kind: Format) -> None:
    """What ID was told, the latest first: whether it was heard, and if not why."""
    with database_of(place) as database:
        rows: list[dict[str, Cell]] = [
            {
                "created": shown_moment(telling.created),
                "event": telling.kind,
                "state": told_of(telling)["state"],
                "tries": telling.tries,
                "failure": telling.failure,
                "id": telling.id,
            }
            for telling in tellings_of(database, id)
        ]
    show(rows, ("created", "event", "state", "tries", "failure", "id"), kind, empty="It was told nothing yet.")


@webhook.command("test")
@click.argument("id")
@click.pass_obj
def test(place: Place, id: str) -> None:
    """Tell ID something now, and say whether it was heard."""
    clock = MachineClock()
    with database_of(place) as database:
        held = next((each for each in subscribers_of(database, None) if each.id == id), None)
        if held is None:
            raise InvalidRequest(f"There is no webhook {id!r}: headrace webhook list shows them.")
        if held.paused is not None:
            raise InvalidRequest(f"{id} is paused: headrace webhook resume {id} lets it go on.")
        fresh = test_message(id, Names(clock)("test_"), clock.moment())
        tell_one(database, fresh)
        tell_due(place, database)
        told = next(telling for telling in tellings_of(database, id) if telling.id == fresh.id)
    click.echo("It was heard." if told.delivered is not None else f"It was not heard: {told.failure or 'it is being told by the server'}.")
