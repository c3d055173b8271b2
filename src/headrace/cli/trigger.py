"""`headrace trigger`: addresses of the server at which signed messages from outside start runs."""

from collections.abc import Sequence
from pathlib import Path

import click

from headrace.cli.agentrun import database_of
from headrace.cli.schedule import PERSON, Days
from headrace.cli.tables import FORMATS, Cell, Format, show
from headrace.cli.terminal import short
from headrace.compose import Place, new_token, shared_state, signing_key
from headrace.compose.clock import MachineClock, Names, shown_moment
from headrace.core.errors import HeadraceError, InvalidApiKey, InvalidRequest, SetupError
from headrace.metering import digest, principal_of
from headrace.storage import KeyStore, Trigger, TriggerStore
from headrace.workspace import Keeper, NewTrigger, new_trigger, owner_of


@click.group()
def trigger() -> None:
    """Have runs started by signed messages from outside: what is done is fixed here, what comes in is only material."""


@trigger.command("add")
@click.argument("task")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The folder that each run works on (default: each has an empty one of its own).",
)
@click.option("--model", default="", help="The model to work with (default: the first that the server lists).")
@click.option("--usd-max", help="Each run pauses when so many dollars are used.")
@click.option(
    "--tokens-max", type=click.IntRange(min=1), default=500_000, show_default=True, help="Each run pauses when so many tokens are used."
)
@click.option("--steps-max", type=click.IntRange(min=1), default=100, show_default=True, help="Each run pauses after so many calls.")
@click.option("--per-hour", type=click.IntRange(min=1), default=60, show_default=True, help="No more runs an hour than this.")
@click.option("--take", is_flag=True, help="Take its changes over into the folder without asking.")
@click.option("--trust-folder", is_flag=True, help="Take the folder's AGENTS.md and skills for written by your own people.")
@click.option("--allow-host", multiple=True, help="A host that pages may be read from without asking; may be repeated.")
@click.option("--leave", multiple=True, help="What it may do unasked: 'TOOL name=value amount<=20 note=* x3'; may be repeated.")
@click.option("--for", "days", type=Days(), default="90d", show_default=True, help="How long its leave holds.")
@click.option("--key", help="Whose threads its runs are, by their key (default: the data folder's development key).")
@click.pass_obj
def add(
    place: Place,
    task: str,
    folder: Path | None,
    model: str,
    usd_max: str | None,
    tokens_max: int,
    steps_max: int,
    per_hour: int,
    take: bool,
    trust_folder: bool,
    allow_host: Sequence[str],
    leave: Sequence[str],
    days: int,
    key: str | None,
) -> None:
    """Have TASK done with each message that comes. Its secret is shown once."""
    secret = key or place.development_key()
    if secret is None:
        raise SetupError("there is no development key yet: start the server once with `headrace serve`, or give --key")
    clock = MachineClock()
    asked = NewTrigger(
        task=task,
        budget_usd=usd_max,
        tokens_max=tokens_max,
        steps_max=steps_max,
        model=model,
        folder=None if folder is None else str(folder.resolve()),
        hosts=tuple(allow_host),
        leave=tuple(leave),
        days=days,
        per_hour_max=per_hour,
        take=take,
        trust_folder=trust_folder,
    )
    with shared_state(place).opened() as shared, database_of(place) as database:
        held = [row for row in KeyStore(shared, place.layout()).rows() if row.digest == digest(secret) and row.revoked is None]
        if not held or held[0].role is not None:
            raise InvalidApiKey("This key is not known here: `headrace keys list` shows those that are.")
        owner = owner_of(principal_of(held[:1]))
        id, now = Names(clock)("trg_"), clock.moment()
        made = new_trigger(asked, owner, digest(secret), id, new_token(), signing_key(place), PERSON, now)
        if not TriggerStore(database).add(made):
            raise InvalidRequest("There are too many triggers: headrace trigger remove takes one back.")
    click.secho(f"{made.id}: signed messages to the server's /hooks/{made.id} start it. This is its secret, shown only now:", err=True)
    click.echo(made.secret)


@trigger.command("list")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def list_triggers(place: Place, kind: Format) -> None:
    """All triggers, also those that people have made at the page or by the API."""
    with database_of(place) as database:
        store = TriggerStore(database)
        rows: list[dict[str, Cell]] = [
            {
                "id": each.id,
                "path": f"/hooks/{each.id}",
                "task": _task(place, store, each),
                "of": each.owner,
                "runs": store.started(each.id),
                "ended": None if each.ended is None else shown_moment(each.ended),
            }
            for each in store.of(None)
        ]
    show(rows, ("id", "path", "task", "of", "runs", "ended"), kind, empty="There are none yet: headrace trigger add 'TASK'.")


@trigger.command("remove")
@click.argument("id")
@click.pass_obj
def remove(place: Place, id: str) -> None:
    """Take ID and its leave back, also for a run of it that is under way."""
    with database_of(place) as database:
        TriggerStore(database).end(None, id, MachineClock().moment())
    click.echo(f"{id} is taken back.")


@trigger.command("log")
@click.argument("id")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
@click.pass_obj
def log(place: Place, id: str, kind: Format) -> None:
    """Which messages came to ID, the latest first, and the runs that they have started."""
    with database_of(place) as database:
        TriggerStore(database).get(id)
        rows: list[dict[str, Cell]] = [
            {"received": shown_moment(one.received), "message": one.id, "thread": one.thread, "run": one.run}
            for one in TriggerStore(database).deliveries(id)
        ]
    show(rows, ("received", "message", "thread", "run"), kind, empty="Nothing came yet.")


def _task(place: Place, store: TriggerStore, each: Trigger) -> str:
    try:
        return short(Keeper(store, each.id, signing_key(place), MachineClock()).mandate().task)
    except HeadraceError as error:
        return error.message
