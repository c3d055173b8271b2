"""Schedules over HTTP: made with their leave, seen with what came of them, paused and taken back. Each is its owner's alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.agents import Budget
from headrace.agents.mandate import Mandate, grant_with, in_words, sealed
from headrace.agents.times import cron_of
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import InvalidRequest, LeaveInvalid, NotAllowed, NotFound
from headrace.core.money import pico_of
from headrace.storage import Firing, LocalArchive, Schedule, ScheduleStore, thread_of_run
from headrace.workspace.bodies import Resting, as_json, read_body
from headrace.workspace.scheduling import Keeper, coming, new_schedule
from headrace.workspace.visitors import Visitor, Visitors

SCHEDULES_MAX: Final = 100
TASK_CHARS_MAX: Final = 20_000
DAYS_MAX: Final = 366
SHOWN: Final = 3
Got = TypeVar("Got")


class NewSchedule(msgspec.Struct, forbid_unknown_fields=True):
    """A schedule to be made. `when` is as people say it; `leave` are texts as `headrace agent schedule --leave` takes them; without a
    `folder`, which is for who administers, it has one of its own."""

    when: str
    task: str
    zone: str
    model: str = ""
    folder: str | None = None
    take: bool = False
    budget_usd: str | None = None
    tokens_max: int | None = 500_000
    steps_max: int = 100
    hosts: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    days: int = 90
    trust_folder: bool = False


class Schedules:
    """The handlers. `sign` gives the key that signs leave, `folders` is where those lie that schedules have of their own, `ring` wakes who
    does what is due; `house` is the owner of those that were made at the terminal."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        archive: LocalArchive,
        clock: Clock,
        new_id: Callable[[str], str],
        sign: Callable[[], bytes],
        folders: Path,
        house: str,
        ring: Callable[[], None],
    ) -> None:
        self._visitors, self._archive, self._clock, self._new_id = visitors, archive, clock, new_id
        self._sign, self._folders, self._house, self._ring = sign, folders, house, ring

    def routes(self) -> list[Route]:
        at = "/workspace/api/schedules"
        return [
            Route(at, self.schedules, methods=["GET", "POST"]),
            Route(f"{at}/when", self.when),
            Route(f"{at}/{{schedule}}", self.schedule, methods=["GET", "PATCH", "DELETE"]),
        ]

    async def schedules(self, request: Request) -> Response:
        """GET mine, each with what came of its last moment. POST: a new one."""
        visitor = await self._visitors.of_either(request)
        if request.method == "GET":
            return as_json({"schedules": await self._stored(lambda store: [self._told(store, one) for one in self._mine(store, visitor)])})
        asked = await read_body(request, NewSchedule)
        if asked.folder is not None and not visitor.admin:
            raise NotAllowed("A folder of the server's machine is for those who administer it: without one the schedule has its own.")
        made = self._made(asked, visitor)

        def kept(store: ScheduleStore) -> dict[str, Any]:
            if sum(not one.ended for one in self._mine(store, visitor)) >= SCHEDULES_MAX:
                raise InvalidRequest(f"You have {SCHEDULES_MAX} schedules: take one back first.")
            store.add(made)
            return self._told(store, made)

        told = await self._stored(kept)
        self._ring()
        return as_json(told, 201)

    def _made(self, asked: NewSchedule, visitor: Visitor) -> Schedule:
        """Raises InvalidRequest."""
        if not asked.task.strip() or len(asked.task) > TASK_CHARS_MAX:
            raise InvalidRequest(f"Say what is to be done, in at most {TASK_CHARS_MAX:,} characters.", param="task")
        if not (1 <= asked.days <= DAYS_MAX and asked.steps_max >= 1 and (asked.tokens_max is None or asked.tokens_max >= 1)):
            raise InvalidRequest(f"days are 1 to {DAYS_MAX}; steps_max and tokens_max are at least 1.")
        if asked.folder is not None and not Path(asked.folder).is_dir():
            raise InvalidRequest(f"There is no folder {asked.folder!r} on the server's machine.", param="folder")
        try:
            pico = None if not asked.budget_usd else pico_of(asked.budget_usd)
        except ValueError as wrong:
            raise InvalidRequest(f"Invalid value for a budget: {wrong}.", param="budget_usd") from None
        now, id, by = self._clock.moment(), self._new_id("sch_"), visitor.principal.key_name or visitor.principal.key
        expires = now + asked.days * 86_400 * SECOND
        budget = Budget(pico_usd_max=pico, tokens_max=asked.tokens_max, steps_max=asked.steps_max)
        mandate = Mandate(
            schedule=id,
            task=asked.task.strip(),
            folder=str(self._folders / id) if asked.folder is None else str(Path(asked.folder).resolve()),
            grant=grant_with(budget, frozenset(host.strip().casefold() for host in asked.hosts), asked.leave, expires, by),
            expires_at=expires,
            by=by,
            take=asked.take,
            trust_folder=asked.trust_folder,
        )
        leave = sealed(mandate, self._sign())
        return new_schedule(id, asked.when, asked.zone, leave, asked.model, now, owner=visitor.owner, key=visitor.key)

    async def when(self, request: Request) -> Response:
        """GET when `text` is, in `zone`: the line of cron, and the next moments."""
        await self._visitors.of_either(request)
        text, zone = request.query_params.get("text", "")[:200], request.query_params.get("zone", "UTC")[:64]
        cron = cron_of(text)
        return as_json({"cron": cron, "next": coming(cron, zone, self._clock.moment(), SHOWN)})

    async def schedule(self, request: Request) -> Response:
        """GET one, with what came of it. PATCH: let it rest, or go on. DELETE: take it and its leave back."""
        visitor, id, now = await self._visitors.of_either(request), request.path_params["schedule"], self._clock.moment()
        if request.method == "GET":
            return as_json(await self._whole(visitor, id))
        resting = None if request.method == "DELETE" else await read_body(request, Resting)

        def changed(store: ScheduleStore) -> None:
            self._one(store, visitor, id)
            if resting is None:
                store.end(id, now)
            elif resting.paused:
                store.pause(id, now)
            else:
                store.go_on(id, now)

        await self._stored(changed)
        self._ring()
        return Response(status_code=204) if resting is None else as_json(await self._whole(visitor, id))

    async def _whole(self, visitor: Visitor, id: str) -> dict[str, Any]:
        told, firings = await self._stored(lambda store: (self._told(store, self._one(store, visitor, id)), store.told(id)))
        threads = {one.run: await self._archive.run(thread_of_run, one.run) for one in firings if one.run}
        return {**told, "firings": [_came(one, None if (of := threads.get(one.run)) is None else of.id) for one in firings]}

    def _mine(self, store: ScheduleStore, visitor: Visitor) -> list[Schedule]:
        return [one for one in store.all() if (one.owner or self._house) == visitor.owner]

    def _one(self, store: ScheduleStore, visitor: Visitor, id: str) -> Schedule:
        found = next((one for one in self._mine(store, visitor) if one.id == id), None)
        if found is None:
            raise NotFound("Schedule", id)
        return found

    def _told(self, store: ScheduleStore, schedule: Schedule) -> dict[str, Any]:
        now, last = self._clock.moment(), store.told(schedule.id)[:1]
        told = {
            "id": schedule.id,
            "when": schedule.spoken,
            "zone": schedule.zone,
            "model": schedule.model,
            "created": schedule.created,
            "ended": schedule.ended,
            "paused": schedule.paused,
            "terminal": not schedule.owner,
            "next": [] if schedule.rests else coming(schedule.cron, schedule.zone, now, SHOWN),
            "last": _came(last[0], None) if last else None,
        }
        try:
            mandate = Keeper(store, schedule.id, self._sign(), self._clock).mandate()
        except LeaveInvalid as invalid:
            return {**told, "task": "", "folder": None, "expires": None, "may": [], "invalid": invalid.message}
        own = Path(mandate.folder).is_relative_to(self._folders)
        may = in_words(mandate) if now < mandate.expires_at else ("Its leave is over: whatever needs leave waits in the inbox.",)
        about = {"task": mandate.task, "folder": None if own else mandate.folder, "expires": mandate.expires_at, "may": may}
        return {**told, **about, "invalid": None}

    async def _stored(self, work: Callable[[ScheduleStore], Got]) -> Got:
        return await self._archive.run(lambda database: work(ScheduleStore(database)))


def _came(firing: Firing, thread: str | None) -> dict[str, Any]:
    return {"due": firing.due, "state": firing.state, "says": firing.says, "run": firing.run, "thread": thread, "changed": firing.changed}
