"""`headrace agent schedule`, `watch`, `inbox`: tasks at set times under signed leave, and what waits for a person."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from threading import Event as Bell

import click

from headrace.agents import Budget
from headrace.agents.events import Ended, Resumed
from headrace.agents.mandate import Mandate, grant_with, in_words, sealed
from headrace.agents.question import Question, answered, question
from headrace.agents.tools import CARDS
from headrace.cli.agentmodel import PICO, ServedEmbeddings, ServedModel
from headrace.cli.agentrun import begin, database_of, draft_of, drive, home_of, new_name, runs_of, standing, task_of
from headrace.cli.client import client_for
from headrace.cli.telling import tell_due, tell_skipped
from headrace.cli.terminal import MORE_PICO, MORE_STEPS, MORE_TOKENS, WHY_PAUSED, Terminal, short
from headrace.compose import Place, signing_key
from headrace.compose.clock import MachineClock, Names, process_id, shown_moment
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import HeadraceError, InvalidRequest, RunBusy, RunNotFound, UpstreamUnreachable
from headrace.sandbox import Draft, Level, try_level
from headrace.storage import Entry, FileLock, Firing, RunLog, Schedule, ScheduleStore, make_folder, read_run
from headrace.workspace import Keeper, Nobody, Scheduler, new_schedule, next_due

PERSON = "the person"
LOOK_S = 15
FOLLOW_S = 5
DAY = 86_400 * SECOND
SHOWN_DAYS = 7


class Days(click.ParamType[int]):
    """A number of days: 90d."""

    name = "days"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> int:
        text = str(value)
        if not text.removesuffix("d").isdigit() or int(text.removesuffix("d")) < 1:
            self.fail(f"{text!r} is no number of days: write 90d", param, context)
        return int(text.removesuffix("d"))


@click.command()
@click.argument("when")
@click.argument("task")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=".", show_default=True, help="The workspace."
)
@click.option("--zone", help="The time zone, such as Europe/Berlin (default: this machine's).")
@click.option("--model", default="", help="The model to work with (default: the first that the server lists).")
@click.option("--take", is_flag=True, help="Take its changes over into the folder without asking.")
@click.option("--tokens-max", type=click.IntRange(min=1), help="Each run pauses when so many tokens are used.")
@click.option("--usd-max", type=Decimal, help="Each run pauses when so many dollars are used.")
@click.option("--steps-max", type=click.IntRange(min=1), default=100, show_default=True, help="Each run pauses after so many calls.")
@click.option("--trust-folder", is_flag=True, help="Take the folder's AGENTS.md and skills for written by your own people.")
@click.option("--allow-host", multiple=True, help="A host that pages may be read from without asking; may be repeated.")
@click.option("--leave", multiple=True, help="What it may do unasked: 'TOOL name=value amount<=20 note=* x3'; may be repeated.")
@click.option("--for", "days", type=Days(), default="90d", show_default=True, help="How long its leave holds.")
@click.pass_obj
def schedule(
    place: Place,
    when: str,
    task: str,
    folder: Path,
    zone: str | None,
    model: str,
    take: bool,
    tokens_max: int | None,
    usd_max: Decimal | None,
    steps_max: int,
    trust_folder: bool,
    allow_host: Sequence[str],
    leave: Sequence[str],
    days: int,
) -> None:
    """Have TASK done at set times, WHEN as in "every weekday 9:00", by the server, or by `headrace agent watch`."""
    clock = MachineClock()
    now, id = clock.moment(), Names(clock)("sch_")
    budget = Budget(pico_usd_max=None if usd_max is None else int(usd_max * PICO), tokens_max=tokens_max, steps_max=steps_max)
    expires = now + days * DAY
    mandate = Mandate(
        schedule=id,
        task=task,
        folder=str(folder.resolve()),
        grant=grant_with(budget, frozenset(host.casefold() for host in allow_host), tuple(leave), expires, PERSON),
        expires_at=expires,
        by=PERSON,
        take=take,
        trust_folder=trust_folder,
    )
    made = new_schedule(id, when, zone or _zone_here(), sealed(mandate, signing_key(place)), model, now)
    with schedules_of(place) as store:
        store.add(made)
    click.echo(f"{id}: next on {_due(made, now)}, in {folder.resolve()}. Its leave holds until {shown_moment(expires)}.")
    for sentence in in_words(mandate):
        click.echo(f"  {sentence}")
    click.echo("The server does it while it runs, else `headrace agent watch`; `headrace agent inbox` shows what waits for you.")


@click.command("schedules")
@click.pass_obj
def list_schedules(place: Place) -> None:
    """The schedules: when each is due, and what it does."""
    now = MachineClock().moment()
    with schedules_of(place) as store:
        held = store.all()
        for each in held:
            click.echo(f"{each.id}  {each.spoken} ({each.zone})  {_due(each, now)}  {short(_task(place, store, each))}")
    if not held:
        click.echo("No schedules yet: headrace agent schedule 'every weekday 9:00' 'TASK' makes one.")


@click.command()
@click.argument("id")
@click.pass_obj
def unschedule(place: Place, id: str) -> None:
    """Take a schedule and its leave back, also for a run of it that is under way."""
    with schedules_of(place) as store:
        store.end(id, MachineClock().moment())
    click.echo(f"{id} is taken back.")


@click.command()
@click.option("--once", is_flag=True, help="Do what is due now, and end.")
@click.option("--url", help="Another server's API (default: the one of the settings; OPENAI_BASE_URL).")
@click.option("--key", help="Another key (default: the data folder's development key; OPENAI_API_KEY).")
@click.pass_obj
def watch(place: Place, once: bool, url: str | None, key: str | None) -> None:
    """Do what is scheduled, when it is due, until stopped, where no server does. Each moment is done once, whoever dies meanwhile."""
    lock, told = FileLock(make_folder(place.layout().root).watch_lock), False
    while not lock.take(process_id()):
        if once:
            click.echo(f"Process {lock.holder()}, a server or another watch, does what is scheduled here already.")
            return
        if not told:
            click.secho(
                f"Process {lock.holder()}, a server or another watch, does it now; this one waits to follow it.", dim=True, err=True
            )
            told = True
        Bell().wait(FOLLOW_S)
    try:
        _watch(place, once=once, url=url, key=key)
    finally:
        lock.release()


def _watch(place: Place, *, once: bool, url: str | None, key: str | None) -> None:
    level, clock, bell = try_level(), MachineClock(), Bell()
    click.secho(level.says, dim=True, err=True)
    with database_of(place) as database:
        store = ScheduleStore(database)
        scheduler = Scheduler(store, clock, new_name, lambda each, missed: tell_skipped(place, database, each.id, missed))
        while True:
            _notice_answers(place, store)
            for firing in scheduler.claim():
                _fire(place, store, firing, level, url, key)
            tell_due(place, database)
            if once:
                return
            wakes = scheduler.wakes()
            bell.wait(LOOK_S if wakes is None else min(LOOK_S, max(0.0, (wakes - clock.moment()) / SECOND)))


def _notice_answers(place: Place, store: ScheduleStore) -> None:
    """Runs that waited, and were answered or ended by a person meanwhile."""
    for firing in store.firings("waiting"):
        try:
            entries = read_run(home_of(place, firing.run) / "events.jsonl")
        except RunNotFound:
            continue
        if _question(entries) is None:
            store.mark(firing, "done" if isinstance(entries[-1].event, Ended) else "begun", firing.says, MachineClock().moment())


def _fire(place: Place, store: ScheduleStore, firing: Firing, level: Level, url: str | None, key: str | None) -> None:
    """Do one firing, or go on with it."""
    clock = MachineClock()
    keeper = Keeper(store, firing.schedule, signing_key(place), clock)
    terminal = Terminal(asks=False)
    try:
        mandate, model = keeper.mandate(), store.get(firing.schedule).model
        if not (home_of(place, firing.run) / "events.jsonl").exists():
            begin(
                place,
                mandate.task,
                Path(mandate.folder),
                mandate.grant,
                trust_folder=mandate.trust_folder,
                name=firing.run,
                schedule=firing.schedule,
            )
        click.secho(f"{firing.run}: {short(mandate.task)} {firing.says}".rstrip(), bold=True)
        client = client_for(place, url, key)
        _, ending = drive(
            place,
            firing.run,
            level,
            lambda: ServedModel(client, model or client.first_chat_model()),
            Nobody(),
            terminal.hear,
            lambda told: click.secho(told, fg="yellow", err=True),
            know=terminal.know,
            embeds=lambda: ServedEmbeddings.found(client),
        )
        if ending == "waiting":
            store.mark(firing, "waiting", firing.says, clock.moment())
            click.secho(f"{firing.run} waits for you: headrace agent inbox", fg="cyan")
            return
        if keeper.takes:
            draft_of(place, firing.run).take_over()
        store.mark(firing, "done", firing.says, clock.moment())
    except RunBusy:
        return
    except HeadraceError as error:
        passes = error.retryable or isinstance(error, UpstreamUnreachable)
        store.mark(firing, "begun" if passes else "failed", error.message, clock.moment())
        click.secho(f"{firing.run}: {error.message}{' It is tried again.' if passes else ''}", fg="red", err=True)


@click.command()
@click.pass_obj
def inbox(place: Place) -> None:
    """What waits for you: questions of runs, changes to take over, and what became of schedules in the last days."""
    empty = True
    for home, entries in runs_of(place):
        asked = _question(entries)
        if asked is not None:
            empty = False
            _show_question(home.name, entries, asked)
        elif (home / "schedule").exists() and standing(home, entries) == "done":
            draft = Draft.open(home / "draft")
            changes = len(draft.pending()) if draft is not None else 0
            if changes:
                empty = False
                click.echo(f"{home.name}  done, {changes} change{'s' if changes != 1 else ''}  {short(task_of(entries))}")
                click.secho(f"     headrace agent diff {home.name}; headrace agent keep {home.name}", dim=True)
    since = MachineClock().moment() - SHOWN_DAYS * DAY
    with schedules_of(place) as store:
        for firing in store.firings():
            if firing.due >= since and (firing.state in ("failed", "skipped") or firing.says):
                empty = False
                click.echo(f"{firing.schedule}  {shown_moment(firing.due)}  {firing.state:<8} {firing.run}  {firing.says}".rstrip())
    if empty:
        click.echo("Nothing waits for you.")


@click.command()
@click.argument("run")
@click.argument("answer", type=click.Choice(("yes", "no")))
@click.pass_obj
def answer(place: Place, run: str, answer: str) -> None:
    """Answer what RUN waits for, exactly as `headrace agent inbox` shows it: leave or none; it has happened or not; more or not."""
    clock = MachineClock()
    log = RunLog(home_of(place, run) / "events.jsonl")
    try:
        asked = _question(log.entries)
        if asked is None:
            raise InvalidRequest(f"{run} waits for nothing.")
        more = Resumed(MORE_PICO, MORE_TOKENS, MORE_STEPS)
        events = answered(asked, yes=answer == "yes", by=PERSON, now=clock.moment(), more=more)
        for event in events:
            log.append(event, clock.moment(), durable=True)
    finally:
        log.close()
    if not events:
        click.echo(f"{run} stays as it is; headrace agent undo {run} throws it away.")
        return
    click.echo(f"Answered. `headrace agent watch` goes on with it if it is a schedule's; else headrace agent resume {run} does.")


@contextmanager
def schedules_of(place: Place) -> Iterator[ScheduleStore]:
    """The schedules of the data folder."""
    with database_of(place) as database:
        yield ScheduleStore(database)


def _question(entries: Sequence[Entry]) -> Question | None:
    return question([entry.event for entry in entries], CARDS)


def _show_question(run: str, entries: Sequence[Entry], asked: Question) -> None:
    what = "leave" if asked.calls else "to know what happened" if asked.fate is not None else "more"
    click.secho(f"{run}  waits for {what}  {short(task_of(entries))}", fg="cyan")
    for number, (call, why) in enumerate(zip(asked.calls, asked.reasons, strict=True), 1):
        click.echo(f"  {number}. {call.tool} {call.arguments}")
        for reason in why:
            click.secho(f"       {reason.says}", dim=True)
    if asked.fate is not None:
        click.echo(f"  Has this happened? {asked.fate.tool} {asked.fate.arguments}")
    if asked.pause is not None:
        click.echo(f"  {WHY_PAUSED[asked.pause]} Go on, with more?")
    click.secho(f"     headrace agent answer {run} yes|no", dim=True)


def _task(place: Place, store: ScheduleStore, each: Schedule) -> str:
    try:
        return Keeper(store, each.id, signing_key(place), MachineClock()).mandate().task
    except HeadraceError as error:
        return error.message


def _due(each: Schedule, now: Moment) -> str:
    if each.rests:
        return "taken back" if each.ended is not None else "paused"
    due = next_due(each.cron, each.zone, now)
    return "never again" if due is None else shown_moment(due)


def _zone_here() -> str:
    """This machine's time zone, by its name; UTC where it has none."""
    link = os.path.realpath("/etc/localtime")
    return link.partition("/zoneinfo/")[2] or "UTC"
