"""The driver of a run: performs what the head wishes, and writes down what happened before and after, so that nothing is done twice.

    wish          before                 done                after
    CallModel     ModelAsked             the model           ModelSaid
    RunTool       Intended (durable)     the hands           Returned or Failed
                                         or a sub-agent
    AskLeave      LeaveAsked             the person          LeaveGiven or LeaveRefused
    AskFate       FateAsked              the person          FateKnown
    Pause         Paused                 the person          Resumed
    Finish        Ended

Whoever is killed at any point of it leaves a log from which another driver goes on: an intent without an outcome is made again only when
its card says that twice is once. A sub-agent is the same again, one level down: its events lie in the same log, within its call.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol, TypeAlias, assert_never

import msgspec

from headrace.agents import Budget, Call, Grant, Leave, Reason, Turn
from headrace.agents.delegation import DELEGATE, handed
from headrace.agents.events import (
    IMPORTED,
    ContextGiven,
    Ended,
    Event,
    Failed,
    FateAsked,
    FateKnown,
    Intended,
    LeaveAsked,
    LeaveGiven,
    LeaveRefused,
    ModelAsked,
    ModelSaid,
    Paused,
    PauseReason,
    Resumed,
    Returned,
    TaskGiven,
    ToolsGiven,
    Within,
)
from headrace.agents.tools import TOOLS, Tool
from headrace.agents.turn import AskFate, AskLeave, CallModel, Finish, Pause, Refuse, RunTool, Wait, Wish, arguments_of
from headrace.agents.values import Value, write
from headrace.core.clock import Clock
from headrace.core.errors import CostTooHigh, HeadraceError
from headrace.core.model import Model, Reply
from headrace.storage import RunLog
from headrace.workspace.conversation import body_of
from headrace.workspace.journal import Journal, JournalWithin, RunJournal
from headrace.workspace.pictures import Shows

MODEL_TRIES_MAX: Final = 3
RETRY_S: Final = 1.0
ANSWER_TOKENS_MIN: Final = 64
"""A sub-agent that has not even so much left for an answer is not asked any more."""

Ending: TypeAlias = Literal["done", "waiting"]
Granted: TypeAlias = Callable[[], Grant]
"""What may be done without asking, looked up again for each wish: leave ends, and is taken back."""


def tools_given(events: Sequence[Event]) -> ToolsGiven | None:
    """What a run was told last of its tools; None: nothing, or only before it came in with a file."""
    for event in reversed(events):
        if isinstance(event, ToolsGiven):
            return event
        if isinstance(event, ContextGiven) and event.name == IMPORTED:
            return None
    return None


class Person(Protocol):
    """Who is asked. None means: nobody is there now; the run waits."""

    async def leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> tuple[bool, ...] | None: ...

    async def fate(self, call: Call) -> bool | None: ...

    async def more(self, reason: PauseReason) -> Resumed | None: ...


class Performs(Protocol):
    """The hands: tools by name."""

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value: ...


class Means(msgspec.Struct, frozen=True):
    """What an agent works with, and so do those to whom it hands a part."""

    model: Model
    hands: Performs
    person: Person
    clock: Clock
    by: str
    shows: Callable[[Sequence[Event]], Shows] = lambda events: lambda name: None


class Work:
    """An agent under way on a journal: a run's own, or a sub-agent."""

    def __init__(self, journal: Journal, means: Means, grant: Grant | Granted) -> None:
        self._journal, self._means = journal, means
        self._granted: Granted = grant if callable(grant) else lambda: grant

    @property
    def turn(self) -> Turn:
        return self._journal.turn

    @property
    def events(self) -> list[Event]:
        return self._journal.events

    def add(self, event: Event, *, durable: bool = False) -> None:
        """It happened: written first, then true."""
        self._journal.add(event, durable=durable)

    def tools(self) -> dict[str, Tool]:
        """The tools of which the model is told."""
        given = tools_given(self.events)
        return {**TOOLS, **({tool.card.tool: tool for tool in given.tools} if given else {})}

    async def run(self) -> Ending:
        """Go on until the run is done, or waits for a person who is not there."""
        while True:
            wish = self.turn.wish(self._granted(), self._means.clock.moment())
            if isinstance(wish, Finish):
                if not self.turn.ended:
                    self.add(Ended(wish.text), durable=True)
                return "done"
            if not await self._do(wish):
                return "waiting"

    async def _do(self, wish: Wish) -> bool:
        """Perform one wish; False when it waits for who is not there."""
        match wish:
            case CallModel():
                return await self._call_model()
            case RunTool():
                return await self._run_tool(wish)
            case Refuse(call, says):
                self.add(Failed(call.id, says))
            case AskLeave(calls, reasons):
                self.add(LeaveAsked(calls, reasons), durable=True)
                return await self._ask_leave(calls, reasons)
            case AskFate(call):
                self.add(FateAsked(call.id))
                return await self._ask_fate(call)
            case Pause(reason):
                return await self._pause(reason)
            case Wait():
                return await self._ask_again()
            case Finish():
                return True
            case never:
                assert_never(never)
        return True

    async def _call_model(self) -> bool:
        left, tools, shows = self.turn.left(self._granted()), self.tools(), self._means.shows(self.events)
        tokens = self._answer_tokens(left, len(body_of(self.events, tools)))
        if tokens == 0:
            return await self._pause("tokens")
        body = body_of(self.events, tools, tokens_out_max=tokens, pico_usd_max=left.pico_usd_max, shows=shows)
        self.add(ModelAsked(self._means.model.name))
        try:
            reply = await self._reply(body, MODEL_TRIES_MAX)
        except CostTooHigh:
            return await self._pause("money")
        step = len(self.events)
        calls = tuple(Call(f"{self._journal.prefix}{step}.{at}", asked.name, asked.arguments) for at, asked in enumerate(reply.calls))
        self.add(ModelSaid(reply.text, calls, reply.tokens, reply.pico_usd, reply.request))
        return True

    def _answer_tokens(self, left: Budget, prompt_bytes: int) -> int | None:
        """The most that an answer to a prompt of so many bytes may have, 0 where there must be none; None: as many as the model says."""
        return None

    async def _reply(self, body: bytes, tries_left: int) -> Reply:
        """What the model says; what may pass is waited for."""
        try:
            return await self._means.model.reply(body)
        except HeadraceError as error:
            if not error.retryable or tries_left <= 1:
                raise
            await asyncio.sleep((error.retry_after_ms or RETRY_S * 1000) / 1000)
        return await self._reply(body, tries_left - 1)

    async def _run_tool(self, wish: RunTool) -> bool:
        call = wish.call
        effect = self.turn.card(call.tool).effect is not None
        if not wish.again:
            self.add(Intended(call.id, call.id, wish.standing), durable=effect)
        if call.tool == DELEGATE:
            return await self._delegate(call)
        try:
            value = await self._means.hands.perform(call.tool, arguments_of(call) or {})
        except HeadraceError as error:
            self.add(Failed(call.id, error.message))
        else:
            self.add(Returned(call.id, write(value)), durable=effect)
        return True

    async def _delegate(self, call: Call) -> bool:
        """Have a sub-agent do it; False when that one waits for who is not there."""
        task = self._task_of(call)
        if task is None:
            grant = self._granted()
            try:
                task = handed(arguments_of(call) or {}, grant, self.turn.left(grant), self.tools())
            except HeadraceError as error:
                self.add(Failed(call.id, error.message))
                return True
            self.add(Within(call.id, task), durable=True)
        below = SubAgent(JournalWithin(self._journal, call.id), self._means, task, self.tools())
        if await below.run() == "waiting" and below.spent is None:
            return False
        self.add(Returned(call.id, write(below.outcome())), durable=True)
        return True

    def _task_of(self, call: Call) -> TaskGiven | None:
        for event in self.events:
            if isinstance(event, Within) and event.call == call.id and isinstance(event.event, TaskGiven):
                return event.event
        return None

    async def _ask_leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> bool:
        answers = await self._means.person.leave(calls, reasons)
        if answers is None:
            return False
        for call, yes in zip(calls, answers, strict=True):
            leave = Leave(call.tool, call.arguments, self._means.by, self._means.clock.moment())
            self.add(LeaveGiven(call.id, leave) if yes else LeaveRefused(call.id), durable=True)
        return True

    async def _ask_fate(self, call: Call) -> bool:
        happened = await self._means.person.fate(call)
        if happened is None:
            return False
        self.add(FateKnown(call.id, happened), durable=True)
        return True

    async def _pause(self, reason: PauseReason) -> bool:
        self.add(Paused(reason), durable=True)
        return await self._ask_more(reason)

    async def _ask_more(self, reason: PauseReason) -> bool:
        more = await self._means.person.more(reason)
        if more is None:
            return False
        self.add(more, durable=True)
        return True

    async def _ask_again(self) -> bool:
        """What was asked before, of a person who was not there or before a crash, is asked once more."""
        waiting = self.turn.waits_for()
        if isinstance(waiting, str):
            return await self._ask_more(waiting)
        if isinstance(waiting, Call):
            return await self._ask_fate(waiting)
        asked = next(event for event in reversed(self.events) if isinstance(event, LeaveAsked))
        left = [(call, why) for call, why in zip(asked.calls, asked.reasons, strict=True) if call.id in waiting]
        return await self._ask_leave(tuple(call for call, _ in left), tuple(why for _, why in left))


class SubAgent(Work):
    """A sub-agent. When what was handed over is used up it asks nobody for more, but says how far it came; `spent` tells what ended."""

    def __init__(self, journal: JournalWithin, means: Means, task: TaskGiven, tools: Mapping[str, Tool]) -> None:
        super().__init__(journal, means, task.grant)
        self._tools = {name: tools[name] for name in task.tools if name in tools}
        self._asked_bytes = self._used = 0
        self.spent: PauseReason | None = None

    def tools(self) -> dict[str, Tool]:
        return self._tools

    async def _pause(self, reason: PauseReason) -> bool:
        self.spent = reason
        return False

    def _answer_tokens(self, left: Budget, prompt_bytes: int) -> int | None:
        """So many that the prompt fits beside them for certain: what the last call used, and of what is new a token a byte."""
        if left.tokens_max is None:
            return None
        used = self.turn.tokens - self._used if self._asked_bytes else 0
        prompt = used + prompt_bytes - self._asked_bytes
        self._asked_bytes, self._used = prompt_bytes, self.turn.tokens
        room = left.tokens_max - prompt
        return room if room >= ANSWER_TOKENS_MIN else 0

    def outcome(self) -> dict[str, Value]:
        """What the run above gets to hear of it."""
        turn = self.turn
        said: dict[str, Value] = {"answer": turn.answer or "", "tokens": turn.tokens, "steps": turn.steps}
        return said if self.spent is None else {**said, "unfinished": f"Its {self.spent} were used up."}


class Driver(Work):
    """One run under way. `hear` is told each event once it is written; `shows` gives the model the pictures of a conversation."""

    def __init__(
        self,
        log: RunLog,
        model: Model,
        hands: Performs,
        person: Person,
        grant: Grant | Granted,
        clock: Clock,
        hear: Callable[[Event], None],
        *,
        by: str = "the person",
        shows: Callable[[Sequence[Event]], Shows] | None = None,
    ) -> None:
        means = Means(model, hands, person, clock, by)
        super().__init__(RunJournal(log, clock, hear), means if shows is None else msgspec.structs.replace(means, shows=shows), grant)
