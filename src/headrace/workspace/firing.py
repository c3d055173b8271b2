"""What is scheduled, done by the server: each moment once, whichever of its workers looks, and also with a watch beside it.

    the lock of the data folder ─► claimed in one row with the name of its run ─► the run made, with a thread ─► worked on like any other
                                                       ▲                                                            │
                                          whoever is killed leaves this row ◄── done, waiting, failed: marked ──────┘

Only who has the lock looks, and the system takes it back from the dead. Everything is found again from the rows, the logs and the threads,
so the next one goes on wherever the last one was killed; a run that was not made whole has done nothing, and is made anew.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from headrace.agents.events import Ended, PersonSaid
from headrace.agents.mandate import Mandate, takes
from headrace.agents.question import question
from headrace.agents.tools import CARDS
from headrace.core.clock import SECOND, Clock, Moment
from headrace.core.errors import HeadraceError, RunNotFound
from headrace.storage import (
    Branch,
    FileLock,
    Firing,
    FiringState,
    LocalArchive,
    Schedule,
    ScheduleStore,
    Thread,
    add_text,
    keep_thread,
    stand,
    thread_of_run,
)
from headrace.workspace.live import stands
from headrace.workspace.runs import Runs, title_of
from headrace.workspace.scheduling import Keeper, Scheduler

FILE: Final = "schedule"
"""The file in the folder of a run that names the schedule whose leave holds for it."""
LABEL: Final = "Scheduled"
LOOK_S: Final = 5.0
AGAIN_S: Final = 30
"""So long after a failure that passes by itself it is tried again."""
Got = TypeVar("Got")

Skipped = Callable[[Schedule, list[Moment]], Awaitable[None]]


class Firings:
    """Does what is due, for as long as the server lives. `house` is who runs the server: owner, and the digest of the key."""

    def __init__(
        self,
        *,
        runs: Runs,
        archive: LocalArchive,
        clock: Clock,
        new_id: Callable[[str], str],
        sign: Callable[[], bytes],
        house: tuple[str, bytes],
        lock: FileLock,
        process: int,
        skipped: Skipped,
        log: logging.Logger,
    ) -> None:
        self._runs, self._archive, self._clock, self._new_id, self._sign = runs, archive, clock, new_id, sign
        self._house, self._lock, self._process, self._skipped, self._log = house, lock, process, skipped, log
        self._held = False
        self._news = asyncio.Event()

    def ring(self) -> None:
        """Something may be due."""
        self._news.set()

    async def keep_firing(self) -> None:
        """Look whenever something is due, and now and then for what others have made."""
        try:
            while not self._runs.stopping:
                self._news.clear()
                self._held = self._held or self._lock.take(self._process)
                wait_s = await self._looked() if self._held else LOOK_S
                try:
                    async with asyncio.timeout(wait_s):
                        await self._news.wait()
                except TimeoutError:
                    continue
        finally:
            self._lock.release()

    async def _looked(self) -> float:
        """How long until the next look."""
        try:
            return await self.look()
        except Exception:  # noqa: BLE001 -- a task that raises would end the server, which owns it
            self._log.exception("schedules can't be looked at now; it is tried again")
            return LOOK_S

    async def look(self) -> float:
        """Claim what is due, and see to all that is under way; in how many seconds to look again."""
        missed: list[tuple[Schedule, list[Moment]]] = []

        def claimed(store: ScheduleStore) -> tuple[list[Firing], Moment | None]:
            scheduler = Scheduler(store, self._clock, lambda: self._new_id("run_"), lambda each, moments: missed.append((each, moments)))
            return [*scheduler.claim(), *store.firings("waiting")], scheduler.wakes()

        under_way, wakes = await self._stored(claimed)
        for schedule, moments in missed:
            await self._skipped(schedule, moments)
        for firing in under_way:
            await self._see_to(firing)
        return LOOK_S if wakes is None else min(LOOK_S, max(0.0, (wakes - self._clock.moment()) / SECOND))

    async def _see_to(self, firing: Firing) -> None:
        """Begin it, go on with it, or mark what came of it."""
        try:
            await self._go_on(firing)
        except HeadraceError as error:
            await self._mark(firing, "failed", error.message)
        except OSError as wrong:
            await self._mark(firing, "failed", f"The folder can't be copied: {wrong}.")
        except Exception:  # noqa: BLE001 -- a fault of ours is this moment's end, and not that of all others
            self._log.exception("what schedule %s was to do at %d failed", firing.schedule, firing.due)
            await self._mark(firing, "failed", "It failed; the server's log tells why.")

    async def _go_on(self, firing: Firing) -> None:
        if self._runs.works_on(firing.run):
            return
        thread = await self._archive.run(thread_of_run, firing.run)
        if (
            thread is not None
            and thread.state == "waiting"
            and firing.state == "waiting"
            and not await asyncio.to_thread(self._answered, thread)
        ):
            return
        schedule = await self._stored(lambda store: store.get(firing.schedule))
        mandate = await self._stored(lambda store: Keeper(store, schedule.id, self._sign(), self._clock).mandate())
        if thread is None:
            await self._begin(firing, schedule, mandate)
            return
        stood = await asyncio.to_thread(self._stands, firing.run)
        if stood == "done":
            if takes(mandate, self._clock.moment(), ended=schedule.ended is not None):  # also when the server was killed between the two
                await asyncio.to_thread(self._runs.draft(firing.run).take_over)
            await self._mark(firing, "done", firing.says)
        elif stood == "waiting":
            await self._mark(firing, "waiting", firing.says)
        elif thread.state == "failed":
            await self._failed(firing, thread)
        elif thread.state == "stopped":
            await self._mark(firing, "failed", "Somebody stopped it.")
        else:
            await self._mark(firing, "begun", firing.says)
            self._runs.resume(firing.run)

    def _answered(self, thread: Thread) -> bool:
        """Whether somebody at the terminal has written into its log since it came to a stand."""
        return (self._runs.home(thread.run) / "events.jsonl").stat().st_mtime_ns > thread.updated

    def _stands(self, run: str) -> FiringState:
        events = [entry.event for entry in self._runs.entries(run)]
        if events and isinstance(events[-1], Ended):
            return "done"
        asked = question(events, CARDS)
        return "begun" if asked is None or asked.pause == "stopped" else "waiting"

    async def _failed(self, firing: Firing, thread: Thread) -> None:
        told = await asyncio.to_thread(stands, self._runs.home(firing.run))
        why = told.why if told is not None and told.why else "It failed; the server's log tells why."
        if told is None or not told.passes:
            await self._mark(firing, "failed", why)
        elif self._clock.moment() - thread.updated > AGAIN_S * SECOND:
            self._runs.resume(firing.run)

    async def _begin(self, firing: Firing, schedule: Schedule, mandate: Mandate) -> None:
        """Make the run, and the thread in which it is seen. One that a watch has begun is only given a thread."""
        owner, key = (schedule.owner, schedule.key) if schedule.owner else self._house
        now = self._clock.moment()
        thread = Thread(
            id=self._new_id("thread_"),
            key=key,
            title=title_of(mandate.task),
            label=LABEL,
            folder=mandate.folder,
            intent="task",
            model=schedule.model,
            created=now,
            updated=now,
            run=firing.run,
            state="running",
        )
        await asyncio.to_thread(self._make, firing.run, schedule.id, mandate)
        branch = Branch(id=firing.run, thread=thread.id, parent=None, forked_at=0, created=now)
        await self._archive.run(keep_thread, owner, thread, branch)
        await self._archive.run(add_text, thread.id, firing.run, [(0, mandate.task)])
        await self._archive.run(stand, firing.run, "running", now, 0, 0)
        self._runs.resume(firing.run)

    def _make(self, run: str, schedule: str, mandate: Mandate) -> None:
        if self._is_made(run):
            return
        self._runs.drop(run)
        self._runs.begin(run, mandate.grant.budget, Path(mandate.folder), trusted=mandate.trust_folder)
        (self._runs.home(run) / FILE).write_text(schedule)
        self._runs.write(run, [(self._clock.moment(), PersonSaid(mandate.task))])

    def _is_made(self, run: str) -> bool:
        try:
            said = any(isinstance(entry.event, PersonSaid) for entry in self._runs.entries(run))
        except RunNotFound:
            return False
        return said and (self._runs.home(run) / FILE).exists()

    async def _mark(self, firing: Firing, state: FiringState, says: str) -> None:
        if (state, says) != (firing.state, firing.says):
            await self._stored(lambda store: store.mark(firing, state, says, self._clock.moment()))

    async def _stored(self, work: Callable[[ScheduleStore], Got]) -> Got:
        return await self._archive.run(lambda database: work(ScheduleStore(database)))
