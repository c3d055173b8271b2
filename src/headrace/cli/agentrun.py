"""Runs of agents as the commands begin them and go on with them: where they lie, what they may do, and the server as their model."""

import asyncio
import signal
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from types import FrameType

import msgspec

from headrace.agents import Grant, Readers, Writers
from headrace.agents.events import ContextGiven, Ended, Event, ModelSaid, PersonSaid, TaskGiven
from headrace.agents.question import question
from headrace.agents.tools import CARDS
from headrace.cli.telling import tell_run, used
from headrace.compose import Place, outfit_of, signing_key
from headrace.compose.clock import MachineClock, Names
from headrace.core.errors import HeadraceError, InvalidRequest
from headrace.core.model import Model
from headrace.sandbox import Draft, Level, Limits
from headrace.storage import Entry, MemoryStore, RunLog, ScheduleStore, ThreadState, connect, make_folder, read_run
from headrace.workspace import (
    Driver,
    Embeds,
    Ending,
    Granted,
    Keeper,
    Person,
    Remembering,
    Screen,
    Toolbox,
    brought_along,
    equipped,
    innermost,
)


def home_of(place: Place, name: str) -> Path:
    """The folder of one run. A name is never a path. Raises InvalidRequest."""
    if not name.replace("_", "").isalnum():
        raise InvalidRequest(f"{name!r} is no name of a run.")
    layout = make_folder(place.layout().root)
    layout.runs.mkdir(mode=0o700, exist_ok=True)
    return layout.runs / name


def new_name() -> str:
    """A name for a run."""
    return Names(MachineClock())("run_")


def begin(
    place: Place,
    task: str,
    folder: Path,
    grant: Grant,
    *,
    trust_folder: bool = False,
    name: str | None = None,
    by_agent: bool = False,
    schedule: str | None = None,
) -> str:
    """Make a run of this task, which has not gone a step yet; its name. One that was being made when the process died is made anew.

    `by_agent`: another agent words the task, so nothing in it counts as a person's choice. `schedule`: its leave holds for the run.
    """
    clock, name = MachineClock(), name or new_name()
    home = home_of(place, name)
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    draft = Draft.begin(folder, home / "draft")
    (home / "grant.json").write_bytes(msgspec.json.encode(grant))
    if schedule is not None:
        (home / "schedule").write_text(schedule)
    fresh = home / "events.new"
    fresh.unlink(missing_ok=True)
    log = RunLog(fresh, new=True)
    for given in brought_along(draft, trusted=trust_folder):
        log.append(given, clock.moment(), durable=False)
    if by_agent:
        log.append(
            ContextGiven("whose task this is", "The task comes from another agent.", Writers.ANYONE, Readers.ANYONE),
            clock.moment(),
            durable=False,
        )
    log.append(TaskGiven(task, grant, ()) if by_agent else PersonSaid(task), clock.moment(), durable=True)
    log.close()
    fresh.rename(home / "events.jsonl")
    return name


def grant_of(home: Path) -> Grant:
    """What a run was allowed when it began."""
    return msgspec.json.decode((home / "grant.json").read_bytes(), type=Grant)


def draft_of(place: Place, run: str) -> Draft:
    """The draft of a run. Raises RunNotFound, or InvalidRequest when it is thrown away."""
    home = home_of(place, run)
    read_run(home / "events.jsonl")
    draft = Draft.open(home / "draft")
    if draft is None:
        raise InvalidRequest(f"The draft of {run} is thrown away already.")
    return draft


def drive(
    place: Place,
    name: str,
    level: Level,
    model: Callable[[], Model],
    person: Person,
    hear: Callable[[Event], None],
    tell: Callable[[str], None],
    *,
    know: Callable[[Event], None] = lambda event: None,
    embeds: Callable[[], Embeds | None] = lambda: None,
    screen: Screen | None = None,
) -> tuple[Driver, Ending]:
    """Go on with a run until it is done, or waits for a person who is not there. Raises RunBusy while another process does. With a `screen`
    somebody sees what commands say, and an interrupt stops a command before it stops the run."""
    home = home_of(place, name)
    log = RunLog(home / "events.jsonl")
    try:
        draft = draft_of(place, name)
        for entry in log.entries:
            know(entry.event)
        with database_of(place) as database:
            memory = Remembering(MemoryStore(database), str(draft.origin), name, embeds(), MachineClock(), Names(MachineClock()))
            driven = _driven(place, log, draft, level, model(), person, _granted(place, home, database), hear, tell, memory, screen)
            try:
                driver, ending = asyncio.run(driven)
            except HeadraceError as error:
                _tell_outside(place, home, database, "failed", error)
                raise
            _tell_outside(place, home, database, ending, None)
            return driver, ending
    finally:
        log.close()


def _tell_outside(place: Place, home: Path, database: sqlite3.Connection, state: ThreadState, why: HeadraceError | None) -> None:
    entries = read_run(home / "events.jsonl")
    events = [entry.event for entry in entries]
    said = [event for event in map(innermost, events) if isinstance(event, ModelSaid)]
    about = {"title": task_of(entries), **used(sum(one.tokens for one in said), sum(one.pico_usd for one in said))}
    if (home / "schedule").exists():
        about["schedule"] = (home / "schedule").read_text()
    tell_run(place, database, home.name, about, events, state, why)


async def _driven(
    place: Place,
    log: RunLog,
    draft: Draft,
    level: Level,
    model: Model,
    person: Person,
    grant: Grant | Granted,
    hear: Callable[[Event], None],
    tell: Callable[[str], None],
    memory: Remembering,
    screen: Screen | None,
) -> tuple[Driver, Ending]:
    outfit = outfit_of(place.settings(), place.environ)
    async with equipped(outfit, draft, level, Limits(), tell, memory, screen=screen) as toolbox:
        driver = Driver(log, model, toolbox, person, grant, MachineClock(), hear)
        toolbox.give(driver)
        await memory.bring(driver)
        with _interrupting(toolbox) if screen is not None else nullcontext():
            return driver, await driver.run()


@contextmanager
def _interrupting(toolbox: Toolbox) -> Iterator[None]:
    """An interrupt stops the command that runs; where none does, it is what it was."""
    before, loop = signal.getsignal(signal.SIGINT), asyncio.get_running_loop()

    def interrupted(number: int, frame: FrameType | None) -> None:
        if toolbox.interrupt():
            loop.call_soon_threadsafe(lambda: None)  # the loop looks at once
        elif callable(before):
            before(number, frame)

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _granted(place: Place, home: Path, database: sqlite3.Connection) -> Grant | Granted:
    """What the run may do: what was allowed when it began, or of a schedule's run what is signed, as it holds now."""
    if not (home / "schedule").exists():
        return grant_of(home)
    key = signing_key(place)
    return Keeper(ScheduleStore(database), (home / "schedule").read_text(), key, MachineClock())


@contextmanager
def database_of(place: Place) -> Iterator[sqlite3.Connection]:
    """The database of the data folder, for what must not be lost."""
    with closing(connect(make_folder(place.layout().root).database, durable=True)) as database:
        yield database


@contextmanager
def memories(place: Place) -> Iterator[MemoryStore]:
    """The memories of the data folder."""
    with database_of(place) as database:
        yield MemoryStore(database)


def runs_of(place: Place) -> Iterator[tuple[Path, Sequence[Entry]]]:
    """The runs, the newest first: where each lies, and what happened in it."""
    for path in sorted(place.layout().runs.glob("*/events.jsonl"), reverse=True):
        yield path.parent, read_run(path)


def standing(home: Path, entries: Sequence[Entry]) -> str:
    """How a run stands, in a word or three; what it waits for first."""
    if not entries:
        return "empty"
    asked = question([entry.event for entry in entries], CARDS)
    if asked is not None and asked.pause != "stopped":
        return "waits for leave" if asked.calls else "waits for your word" if asked.fate is not None else f"used up its {asked.pause}"
    if (home / "draft" / "taken.json").exists():
        return "taken over"
    return "done" if isinstance(entries[-1].event, Ended) else "unfinished"


def task_of(entries: Sequence[Entry]) -> str:
    """What a run was asked first."""
    return next((entry.event.text for entry in entries if isinstance(entry.event, PersonSaid | TaskGiven)), "")
