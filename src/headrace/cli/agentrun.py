"""Runs of agents as the commands begin them and go on with them: where they lie, what they may do, and the server as their model."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from headrace.agents import Grant, Readers, Writers
from headrace.agents.events import ContextGiven, Ended, Event, PersonSaid, TaskGiven
from headrace.compose import Place, outfit_of
from headrace.compose.clock import MachineClock, Names
from headrace.core.errors import InvalidRequest
from headrace.core.model import Model
from headrace.sandbox import Draft, Level, Limits
from headrace.storage import Entry, RunLog, make_folder, read_run
from headrace.workspace import Driver, Ending, Granted, Person, brought_along, equipped


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
    place: Place, task: str, folder: Path, grant: Grant, *, trust_folder: bool = False, name: str | None = None, by_agent: bool = False
) -> str:
    """Make a run of this task, which has not gone a step yet; its name. One that was being made when the process died is made anew.

    `by_agent`: another agent words the task, so nothing in it counts as a person's choice.
    """
    clock, name = MachineClock(), name or new_name()
    home = home_of(place, name)
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    draft = Draft.begin(folder, home / "draft")
    (home / "grant.json").write_bytes(msgspec.json.encode(grant))
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
    grant: Granted | None = None,
) -> tuple[Driver, Ending]:
    """Go on with a run until it is done, or waits for a person who is not there. Raises RunBusy while another process does."""
    home = home_of(place, name)
    log = RunLog(home / "events.jsonl")
    try:
        draft = draft_of(place, name)
        for entry in log.entries:
            know(entry.event)
        return asyncio.run(_driven(place, log, draft, level, model(), person, grant or grant_of(home), hear, tell))
    finally:
        log.close()


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
) -> tuple[Driver, Ending]:
    async with equipped(outfit_of(place.settings(), place.environ), draft, level, Limits(), tell) as toolbox:
        driver = Driver(log, model, toolbox, person, grant, MachineClock(), hear)
        toolbox.give(driver)
        return driver, await driver.run()


def standing(home: Path, entries: Sequence[Entry]) -> str:
    """How a run stands, in a word or two."""
    if (home / "draft" / "taken.json").exists():
        return "taken over"
    return "done" if isinstance(entries[-1].event, Ended) else "unfinished"


def task_of(entries: Sequence[Entry]) -> str:
    """What a run was asked first."""
    return next((entry.event.text for entry in entries if isinstance(entry.event, PersonSaid | TaskGiven)), "")
