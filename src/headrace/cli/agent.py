"""`headrace agent`: a task for an agent in a folder, with live steps; resumed, listed, taken over or undone as a whole."""

import sys
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import click

from headrace.agents import Budget
from headrace.agents.events import PersonSaid
from headrace.agents.mandate import grant_with
from headrace.cli.agentmodel import PICO, ServedEmbeddings, ServedModel
from headrace.cli.agentrun import begin, draft_of, drive, home_of, runs_of, standing, task_of
from headrace.cli.client import client_for
from headrace.cli.clone import clone
from headrace.cli.hunks import asked_for, choice_of, show_change
from headrace.cli.printed import plain
from headrace.cli.schedule import DAY, PERSON, answer, inbox, list_schedules, schedule, unschedule, watch
from headrace.cli.terminal import Terminal, can_ask, drawing, short
from headrace.compose import Place
from headrace.compose.clock import MachineClock, shown_moment
from headrace.sandbox import Change, Choice, Draft, review, try_level
from headrace.sandbox import drop as drop_pieces
from headrace.sandbox import keep as keep_pieces
from headrace.storage import RunLog
from headrace.workspace import BUILT_IN, verdict

MODEL = click.option("--model", help="The model to work with (default: the first that the server lists).")
TAKE = click.option("--take", is_flag=True, help="Take the changes over into the folder without asking.")
URL = click.option("--url", help="Another server's API (default: the one of the settings; OPENAI_BASE_URL).")
KEY = click.option("--key", help="Another key (default: the data folder's development key; OPENAI_API_KEY).")


@click.group()
def agent() -> None:
    """Have an agent do a task in a folder: in a draft and a sandbox, asking before what needs leave."""


@agent.command("run")
@click.argument("task")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".", show_default=True, help="The workspace."
)
@MODEL
@TAKE
@click.option("--tokens-max", type=click.IntRange(min=1), help="Pause when so many tokens are used.")
@click.option("--usd-max", type=Decimal, help="Pause when so many dollars are used.")
@click.option("--steps-max", type=click.IntRange(min=1), default=100, show_default=True, help="Pause after so many calls of the model.")
@click.option("--trust-folder", is_flag=True, help="Take the folder's AGENTS.md and skills for written by your own people.")
@click.option("--allow-host", multiple=True, help="A host that pages may be read from without asking; may be repeated.")
@click.option("--leave", multiple=True, help="What it may do unasked, today: 'TOOL name=value amount<=20 note=* x3'; may be repeated.")
@URL
@KEY
@click.pass_obj
def run(
    place: Place,
    task: str,
    folder: Path,
    model: str | None,
    take: bool,
    tokens_max: int | None,
    usd_max: Decimal | None,
    steps_max: int,
    trust_folder: bool,
    allow_host: Sequence[str],
    leave: Sequence[str],
    url: str | None,
    key: str | None,
) -> None:
    """Do TASK. What it does to files is a draft until you take it over, and can be undone afterwards.

    What commands say is shown as it comes. Ctrl-C stops the command that runs; where none does, the run, to be resumed."""
    budget = Budget(pico_usd_max=None if usd_max is None else int(usd_max * PICO), tokens_max=tokens_max, steps_max=steps_max)
    hosts = frozenset(host.casefold() for host in allow_host)
    grant = grant_with(budget, hosts, tuple(leave), MachineClock().moment() + DAY, PERSON)
    name = begin(place, task, folder, grant, trust_folder=trust_folder)
    click.secho(f"{name} in {folder.resolve()}", dim=True, err=True)
    _go_on(place, name, model, take=take, url=url, key=key)


@agent.command("resume")
@click.argument("run")
@click.option("-m", "--message", help="Say this first: more, or something else, to do.")
@MODEL
@TAKE
@URL
@KEY
@click.pass_obj
def resume(place: Place, run: str, message: str | None, model: str | None, take: bool, url: str | None, key: str | None) -> None:
    """Go on with RUN where it was: after a crash, a pause, a question, or with more to do."""
    if message is not None:
        log = RunLog(home_of(place, run) / "events.jsonl")
        log.append(PersonSaid(message), MachineClock().moment(), durable=True)
        log.close()
    _go_on(place, run, model, take=take, url=url, key=key)


@agent.command("list")
@click.pass_obj
def list_runs(place: Place) -> None:
    """The runs, the newest first: how each stands, and what it was asked."""
    found = waits = False
    for home, entries in runs_of(place):
        found = True
        began = shown_moment(entries[0].at) if entries else " " * len(shown_moment(0))
        state = standing(home, entries)
        waits |= state.startswith("waits")
        click.echo(f"{home.name}  {began}  {state:<15}  {short(task_of(entries))}")
    if waits:
        click.echo("What waits is shown and answered with: headrace agent inbox")
    if not found:
        click.echo("No runs yet: headrace agent run 'TASK' starts one.")


@agent.command("diff")
@click.argument("run")
@click.option("--stat", is_flag=True, help="Only which files, and what became of them.")
@click.option("--hunks", is_flag=True, help="What waits to be taken over, piece by piece, with the numbers that `keep --hunks` takes.")
@click.pass_obj
def diff(place: Place, run: str, stat: bool, hunks: bool) -> None:
    """What RUN has changed in its draft, as a unified diff."""
    draft = draft_of(place, run)
    if stat:
        _show(draft.changes(), "in the draft")
    elif hunks:
        for change in review(draft):
            show_change(change)
    else:
        difference = "".join(draft.difference())
        click.echo(plain(difference) if sys.stdout.isatty() else difference, nl=False)  # a file gets it exactly


@agent.command("keep")
@click.argument("run")
@click.option("--hunks", "wanted", multiple=True, help="Only this: PATH, or of it the pieces PATH:1,3 of `diff --hunks`; may be repeated.")
@click.option("--choose", is_flag=True, help="Ask about each piece.")
@click.option("--drop-rest", is_flag=True, help="Give up what is not kept: in the draft it is again as in the folder.")
@click.pass_obj
def keep(place: Place, run: str, wanted: Sequence[str], choose: bool, drop_rest: bool) -> None:
    """Take the changes of RUN's draft over into its folder: all together, or what you choose of them."""
    draft = draft_of(place, run)
    if not wanted and not choose:
        _take_over(draft, run)
        return
    choices = asked_for(review(draft)) if choose else [choice_of(text) for text in wanted]
    taken = keep_pieces(draft, choices)
    left = review(draft)
    if drop_rest and left:
        drop_pieces(draft, [Choice(change.path) for change in left])
    _say_taken(len(taken), run)
    if left:
        what = f"{len(left)} change{'s' if len(left) != 1 else ''}"
        click.echo(f"{what} given up." if drop_rest else f"{what} left in the draft: headrace agent diff {run} --hunks shows them.")


@agent.command("undo")
@click.argument("run")
@click.pass_obj
def undo(place: Place, run: str) -> None:
    """Put the folder back as it was before RUN's changes were taken over; or throw its draft away."""
    draft = draft_of(place, run)
    if draft.is_taken:
        _show(draft.undo(), "undone")
    draft.discard()
    click.echo(f"{run}: its draft is thrown away, and {draft.origin} is as if it had not been.")


def _go_on(place: Place, name: str, model: str | None, *, take: bool, url: str | None, key: str | None) -> None:
    draft, level = draft_of(place, name), try_level()
    click.secho(level.says, dim=True, err=True)
    terminal = Terminal(asks=can_ask(), draw=drawing())

    def served() -> ServedModel:
        client = client_for(place, url, key)
        found = ServedModel(client, model or client.first_chat_model())
        if found.built_in:
            click.secho(BUILT_IN, fg="yellow", err=True)
        return found

    driver, ending = drive(
        place,
        name,
        level,
        served,
        terminal,
        terminal.hear,
        _warn,
        know=terminal.know,
        embeds=lambda: ServedEmbeddings.found(client_for(place, url, key)),
        screen=terminal,
    )
    if ending == "waiting":
        click.secho(f"The run waits for you: headrace agent resume {name}", fg="cyan", err=True)
        return
    weak = verdict(driver.events)
    if weak is not None:
        click.secho(weak, fg="yellow", err=True)
    offer(draft, name, take=take)
    click.secho(f"{driver.turn.tokens:,} tokens, ${Decimal(driver.turn.pico_usd) / PICO:f}", dim=True, err=True)


def _warn(what: str) -> None:
    click.secho(what, fg="yellow", err=True)


def offer(draft: Draft, name: str, *, take: bool) -> None:
    """Show what changed; take it over where that is wanted."""
    changes = draft.changes()
    if not changes:
        return
    _show(changes, "in the draft")
    if take or (can_ask() and click.confirm(f"Take them over into {draft.origin}?", default=False)):
        _take_over(draft, name)
    else:
        click.echo(
            f"They stay in the draft {draft.work}; headrace agent diff {name} shows them, headrace agent keep {name} takes them over."
        )


def _take_over(draft: Draft, name: str) -> None:
    _say_taken(len(draft.take_over()), name)


def _say_taken(count: int, name: str) -> None:
    click.echo(f"Taken over: {count} change{'s' if count != 1 else ''}. To undo it: headrace agent undo {name}")


def _show(changes: Sequence[Change], where: str) -> None:
    for change in changes:
        click.echo(f"  {change.kind:<8} {plain(change.path)}")
    click.echo(f"{len(changes)} change{'s' if len(changes) != 1 else ''} {where}.")


for command in (clone, schedule, list_schedules, unschedule, watch, inbox, answer):
    agent.add_command(command)
