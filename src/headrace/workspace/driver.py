"""The driver of a run: performs what the head wishes, and writes down what happened before and after, so that nothing is done twice.

    wish          before                 done                after
    CallModel     ModelAsked             the model           ModelSaid
    RunTool       Intended (durable)     the hands           Returned or Failed
    AskLeave      LeaveAsked             the person          LeaveGiven or LeaveRefused
    AskFate       FateAsked              the person          FateKnown
    Pause         Paused                 the person          Resumed
    Finish        Ended

Whoever is killed at any point of it leaves a log from which another driver goes on: an intent without an outcome is made again only when
its card says that twice is once.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol, TypeAlias, assert_never

from headrace.agents import Call, Grant, Leave, Reason, Turn
from headrace.agents.events import (
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
)
from headrace.agents.tools import CARDS, TOOLS
from headrace.agents.turn import AskFate, AskLeave, CallModel, Finish, Pause, Refuse, RunTool, Wait, Wish, arguments_of
from headrace.agents.values import Value, write
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.model import Model, Reply
from headrace.storage import RunLog
from headrace.workspace.conversation import body_of

MODEL_TRIES_MAX: Final = 3
RETRY_S: Final = 1.0

Ending: TypeAlias = Literal["done", "waiting"]


class Person(Protocol):
    """Who is asked. None means: nobody is there now; the run waits."""

    async def leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> tuple[bool, ...] | None: ...

    async def fate(self, call: Call) -> bool | None: ...

    async def more(self, reason: PauseReason) -> Resumed | None: ...


class Performs(Protocol):
    """The hands: tools by name."""

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value: ...


class Driver:
    """One run under way. `hear` is told each event once it is written."""

    def __init__(
        self,
        log: RunLog,
        model: Model,
        hands: Performs,
        person: Person,
        grant: Grant,
        clock: Clock,
        hear: Callable[[Event], None],
        *,
        by: str = "the person",
    ) -> None:
        self._log, self._model, self._hands, self._person = log, model, hands, person
        self._grant, self._clock, self._hear, self._by = grant, clock, hear, by
        self.turn = Turn(CARDS)
        self.events: list[Event] = []
        self._open: LeaveAsked | None = None
        for entry in log.entries:
            self._fold(entry.event)

    def add(self, event: Event, *, durable: bool = False) -> None:
        """It happened: written first, then true."""
        self._log.append(event, self._clock.moment(), durable=durable)
        self._fold(event)
        self._hear(event)

    def _fold(self, event: Event) -> None:
        self.events.append(event)
        self.turn.add(event)
        if isinstance(event, LeaveAsked):
            self._open = event

    async def run(self) -> Ending:
        """Go on until the run is done, or waits for a person who is not there."""
        while True:
            wish = self.turn.wish(self._grant, self._clock.moment())
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
                await self._call_model()
            case RunTool():
                await self._run_tool(wish)
            case Refuse(call, says):
                self.add(Failed(call.id, says))
            case AskLeave(calls, reasons):
                self.add(LeaveAsked(calls, reasons))
                return await self._ask_leave(calls, reasons)
            case AskFate(call):
                self.add(FateAsked(call.id))
                return await self._ask_fate(call)
            case Pause(reason):
                self.add(Paused(reason), durable=True)
                return await self._ask_more(reason)
            case Wait():
                return await self._ask_again()
            case Finish():
                return True
            case never:
                assert_never(never)
        return True

    async def _call_model(self) -> None:
        self.add(ModelAsked(self._model.name))
        reply = await self._reply(MODEL_TRIES_MAX)
        step = len(self.events)
        calls = tuple(Call(f"{step}.{at}", asked.name, asked.arguments) for at, asked in enumerate(reply.calls))
        self.add(ModelSaid(reply.text, calls, reply.tokens, reply.pico_usd, reply.request))

    async def _reply(self, tries_left: int) -> Reply:
        """What the model says; what may pass is waited for."""
        try:
            return await self._model.reply(body_of(self.events, TOOLS))
        except HeadraceError as error:
            if not error.retryable or tries_left <= 1:
                raise
            await asyncio.sleep((error.retry_after_ms or RETRY_S * 1000) / 1000)
        return await self._reply(tries_left - 1)

    async def _run_tool(self, wish: RunTool) -> None:
        call = wish.call
        if not wish.again:
            effect = CARDS[call.tool].effect is not None
            self.add(Intended(call.id, call.id, wish.standing), durable=effect)
        try:
            value = await self._hands.perform(call.tool, arguments_of(call) or {})
        except HeadraceError as error:
            self.add(Failed(call.id, error.message))
        else:
            self.add(Returned(call.id, write(value)), durable=CARDS[call.tool].effect is not None)

    async def _ask_leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> bool:
        answers = await self._person.leave(calls, reasons)
        if answers is None:
            return False
        for call, yes in zip(calls, answers, strict=True):
            leave = Leave(call.tool, call.arguments, self._by, self._clock.moment())
            self.add(LeaveGiven(call.id, leave) if yes else LeaveRefused(call.id), durable=True)
        return True

    async def _ask_fate(self, call: Call) -> bool:
        happened = await self._person.fate(call)
        if happened is None:
            return False
        self.add(FateKnown(call.id, happened), durable=True)
        return True

    async def _ask_more(self, reason: PauseReason) -> bool:
        more = await self._person.more(reason)
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
        assert self._open is not None, "who waits for leave has asked for it"
        left = [(call, why) for call, why in zip(self._open.calls, self._open.reasons, strict=True) if call.id in waiting]
        return await self._ask_leave(tuple(call for call, _ in left), tuple(why for _, why in left))
