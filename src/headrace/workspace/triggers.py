"""Addresses from which outsiders start runs: who made one says what is done, with what leave and budget; what comes in is only material.

    message ─► known, signed, not too large ─► claimed with the names of its thread and run ─► the thread made ─► the task said

The message is a context that anyone can have written, beside the task, which the person has fixed. So nothing in it is a request, chooses
a recipient, or lowers a check. A message that comes again is answered with the run that it has started.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.agents import Budget, Readers, Writers
from headrace.agents.events import ContextGiven
from headrace.agents.mandate import Mandate, grant_with, in_words, sealed, unsealed
from headrace.core.clock import SECOND, Clock, Moment
from headrace.core.errors import InvalidRequest, LeaveInvalid, NotAllowed, NotFound, NotReady
from headrace.core.identity import Principal
from headrace.core.money import pico_of
from headrace.storage import (
    Branch,
    Delivery,
    LocalArchive,
    Thread,
    Trigger,
    TriggerStore,
    keep_thread,
    stand,
    thread_of,
)
from headrace.wire.hooks import heard, secret_from
from headrace.workspace.bodies import as_json, body_of, read_body
from headrace.workspace.mail import Say
from headrace.workspace.runs import Runs, title_of
from headrace.workspace.visitors import Visitor, Visitors

MESSAGE_BYTES_MAX: Final = 256 << 10
SHOWN_CHARS_MAX: Final = 48_000
DAYS_MAX: Final = 366
PER_HOUR_MAX: Final = 10_000
STARTING_S: Final = 30
"""So long whoever claimed a message may take to make its thread; then it is taken for dead."""
FILE: Final = "trigger"
CONTEXT: Final = "the message from outside that started this run"
_TOLD_HEADERS: Final = ("content-type", "x-github-event")


class NewTrigger(msgspec.Struct, forbid_unknown_fields=True):
    """A trigger to be made. `leave` are texts as `headrace agent schedule --leave` takes them; `folder` is for who administers."""

    task: str
    budget_usd: str | None = None
    tokens_max: int = 500_000
    steps_max: int = 100
    model: str = ""
    folder: str | None = None
    hosts: tuple[str, ...] = ()
    leave: tuple[str, ...] = ()
    days: int = 90
    per_hour_max: int = 60
    take: bool = False
    trust_folder: bool = False


def new_trigger(asked: NewTrigger, owner: str, key: bytes, id: str, token: bytes, sign: bytes, by: str, now: Moment) -> Trigger:
    """The trigger, with its leave signed by `sign` and its secret made of `token`. Raises InvalidRequest."""
    if not asked.task.strip():
        raise InvalidRequest("Say what is to be done with each message.", param="task")
    if not (1 <= asked.days <= DAYS_MAX and 1 <= asked.per_hour_max <= PER_HOUR_MAX and min(asked.steps_max, asked.tokens_max) >= 1):
        raise InvalidRequest(f"days are 1 to {DAYS_MAX}, per_hour_max is 1 to {PER_HOUR_MAX:,}; steps_max and tokens_max are at least 1.")
    try:
        pico = None if asked.budget_usd is None else pico_of(asked.budget_usd)
        budget = Budget(pico_usd_max=pico, tokens_max=asked.tokens_max, steps_max=asked.steps_max)
    except ValueError as wrong:
        raise InvalidRequest(f"Invalid value for a budget: {wrong}.", param="budget_usd") from None
    expires = now + asked.days * 86_400 * SECOND
    mandate = Mandate(
        schedule=id,
        task=asked.task,
        folder=asked.folder or "",
        grant=grant_with(budget, frozenset(host.casefold() for host in asked.hosts), asked.leave, expires, by),
        expires_at=expires,
        by=by,
        take=asked.take,
        trust_folder=asked.trust_folder,
    )
    return Trigger(
        id=id,
        owner=owner,
        key=key,
        secret=secret_from(token),
        model=asked.model,
        leave=sealed(mandate, sign),
        per_hour_max=asked.per_hour_max,
        created=now,
    )


def given(headers: Mapping[str, str], body: bytes) -> ContextGiven:
    """The message as the model gets it, with the few headers that say what it is."""
    lines = [f"{name}: {headers[name][:200]}" for name in _TOLD_HEADERS if name in headers]
    text = body.decode("utf-8", "replace")
    if len(text) > SHOWN_CHARS_MAX:
        half = SHOWN_CHARS_MAX // 2
        text = f"{text[:half]}\n[{len(text) - 2 * half:,} characters left out]\n{text[-half:]}"
    return ContextGiven(CONTEXT, "\n".join([*lines, "", text]), Writers.ANYONE, Readers.PERSON)


class Triggers:
    """The handlers. `sign` gives the key that signs leave; `held` says whose a key of this digest is."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        runs: Runs,
        archive: LocalArchive,
        clock: Clock,
        new_id: Callable[[str], str],
        new_token: Callable[[], bytes],
        sign: Callable[[], bytes],
        held: Callable[[bytes], Principal | None],
    ) -> None:
        self._visitors, self._runs, self._archive, self._clock = visitors, runs, archive, clock
        self._new_id, self._new_token, self._sign, self._held = new_id, new_token, sign, held

    def routes(self) -> list[Route]:
        at = "/workspace/api/triggers"
        return [
            Route(at, self.triggers, methods=["GET", "POST"]),
            Route(f"{at}/{{trigger}}", self.trigger, methods=["GET", "DELETE"]),
            Route("/hooks/{trigger}", self.receive, methods=["POST"]),
        ]

    async def triggers(self, request: Request) -> Response:
        """GET mine. POST: a new one, whose secret is shown this once."""
        visitor = await self._visitors.of_either(request)
        if request.method == "GET":

            def mine(database: sqlite3.Connection) -> list[dict[str, Any]]:
                store = TriggerStore(database)
                return [self._told(one, store.deliveries(one.id, 1)) for one in store.of(visitor.owner)]

            return as_json({"triggers": await self._archive.run(mine)})
        asked = await read_body(request, NewTrigger)
        if asked.folder is not None and not visitor.admin:
            raise NotAllowed("A folder of the server's machine is for those who administer it: without one each run has its own.")
        made = self._made(asked, visitor)
        if not await self._archive.run(lambda database: TriggerStore(database).add(made)):
            raise InvalidRequest("You have too many triggers: take one back first.")
        return as_json({**self._told(made, ()), "secret": made.secret}, 201)

    def _made(self, asked: NewTrigger, visitor: Visitor) -> Trigger:
        by = visitor.principal.key_name or visitor.principal.key
        now, id = self._clock.moment(), self._new_id("trg_")
        return new_trigger(asked, visitor.owner, visitor.key, id, self._new_token(), self._sign(), by, now)

    async def trigger(self, request: Request) -> Response:
        """GET one, with what came. DELETE: take it back."""
        visitor, id = await self._visitors.of_either(request), request.path_params["trigger"]
        if request.method == "DELETE":
            now = self._clock.moment()
            await self._archive.run(lambda database: TriggerStore(database).end(visitor.owner, id, now))
            return Response(status_code=204)
        held = await self._archive.run(lambda database: TriggerStore(database).get(id))
        if held.owner != visitor.owner:
            raise NotFound("Trigger", id)
        came = await self._archive.run(lambda database: TriggerStore(database).deliveries(id))
        return as_json({**self._told(held, came), "deliveries": [_came(one) for one in came]})

    def _told(self, trigger: Trigger, came: Sequence[Delivery]) -> dict[str, Any]:
        """As its owner sees it; `came` begins with the latest message."""
        told = {"id": trigger.id, "path": f"/hooks/{trigger.id}", "model": trigger.model, "per_hour_max": trigger.per_hour_max}
        told |= {"created": trigger.created, "ended": trigger.ended, "last": _came(came[0]) if came else None}
        try:
            mandate = unsealed(trigger.leave, self._sign())
        except LeaveInvalid as invalid:
            return {**told, "task": "", "folder": None, "expires": None, "take": False, "may": [], "invalid": invalid.message}
        may = in_words(mandate) if self._clock.moment() < mandate.expires_at else ("Its leave is over: it starts nothing any more.",)
        about = {"task": mandate.task, "folder": mandate.folder or None, "expires": mandate.expires_at, "take": mandate.take}
        return {**told, **about, "may": may, "invalid": None}

    async def receive(self, request: Request) -> Response:
        """POST a signed message: it starts a run, once."""
        id = request.path_params["trigger"]
        trigger = await self._archive.run(lambda database: TriggerStore(database).get(id))
        if trigger.ended is not None:
            raise NotFound("Trigger", id)
        body = await body_of(request, MESSAGE_BYTES_MAX)
        now = self._clock.moment()
        message = heard(request.headers, body, trigger.secret, now // SECOND)
        mandate = self._mandate(trigger, now)
        fresh = Delivery(
            address=id, once=message.once, id=message.id, thread=self._new_id("thread_"), run=self._new_id("run_"), received=now
        )
        delivery, is_new = await self._archive.run(lambda database: TriggerStore(database).claim(trigger, fresh))
        if not await self._is_there(trigger, delivery):
            if not is_new and now - delivery.received < STARTING_S * SECOND:
                raise NotReady("This message is just being worked on: send it again later.", retry_after_ms=STARTING_S * 1_000)
            await self._start(trigger, mandate, delivery, given(request.headers, body))
        return as_json({"id": delivery.id, "thread": delivery.thread, "run": delivery.run, "again": not is_new}, 202)

    def _mandate(self, trigger: Trigger, now: Moment) -> Mandate:
        """Raises LeaveInvalid, or NotAllowed where it is over or its key is."""
        mandate = unsealed(trigger.leave, self._sign())
        if mandate.schedule != trigger.id:
            raise LeaveInvalid("This leave was given to another: nothing is done on it.")
        if now >= mandate.expires_at:
            raise NotAllowed("The leave of this trigger is over: its owner has to make another.")
        if self._held(trigger.key) is None:
            raise NotAllowed("The key that this trigger was made with is revoked, or over.")
        return mandate

    async def _is_there(self, trigger: Trigger, delivery: Delivery) -> bool:
        return await self._archive.run(thread_of, trigger.owner, delivery.thread) is not None

    async def _start(self, trigger: Trigger, mandate: Mandate, delivery: Delivery, message: ContextGiven) -> None:
        """Make the thread and say the task. What an earlier try has left is made anew."""
        now, run = self._clock.moment(), delivery.run
        thread = Thread(
            id=delivery.thread,
            key=trigger.key,
            title=title_of(mandate.task),
            folder=mandate.folder or None,
            intent="task",
            model=trigger.model,
            created=now,
            updated=now,
            run=run,
        )
        await asyncio.to_thread(self._make, thread, mandate, trigger.id, message)
        branch = Branch(id=run, thread=thread.id, parent=None, forked_at=0, created=now)
        self._runs.put(run, Say(mandate.task))
        await self._archive.run(keep_thread, trigger.owner, thread, branch)
        await self._archive.run(stand, run, "running", now, 0, 0)
        self._runs.take_up(run)

    def _make(self, thread: Thread, mandate: Mandate, trigger: str, message: ContextGiven) -> None:
        self._runs.drop(thread.run)
        try:
            self._runs.begin(thread.run, mandate.grant.budget, self._runs.origin(thread), trusted=mandate.trust_folder)
        except OSError as wrong:
            raise NotReady(f"The folder of this trigger can't be copied: {wrong}.") from wrong
        (self._runs.home(thread.run) / FILE).write_text(trigger)
        self._runs.write(thread.run, [(self._clock.moment(), message)])


def _came(delivery: Delivery) -> dict[str, Any]:
    return {"id": delivery.id, "thread": delivery.thread, "run": delivery.run, "received": delivery.received}
