"""One stretch of work on a run: from when there is something to do until it is done, waits for the person, or has failed.

                 ┌────────────────────────────── more mail ─────────────────────────────┐
    mail ─► heed ─► the driver goes on ─┬─ done, waiting, failed ─► said, and kept ─────┴─► no mail: let go
                        ▲   mail meanwhile: what is said is heard at the next step
                        └── stop: cut off here; what was said so far stays, what was begun is closed, the run pauses

Nothing here is remembered: who takes the run up next, after a crash as well, finds all of it in the log and the mail.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, assert_never

from headrace.agents import Call, Grant, Reason
from headrace.agents.events import (
    Event,
    Failed,
    FateKnown,
    Intended,
    LeaveGiven,
    LeaveRefused,
    ModelAsked,
    ModelSaid,
    Paused,
    PauseReason,
    PersonSaid,
    Resumed,
    Returned,
    TaskGiven,
    Within,
)
from headrace.agents.question import question
from headrace.agents.tools import CARDS
from headrace.agents.turn import Finish, Wait
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.model import Model, Reply
from headrace.storage import RunLog, ThreadState
from headrace.workspace.driver import Driver, Granted, Performs
from headrace.workspace.honesty import verdict
from headrace.workspace.intents import Intent, fitted
from headrace.workspace.live import Begun, Live, Stands
from headrace.workspace.mail import Answer, Fate, Go, Halt, Letter, More, Say, Stop, Task, take
from headrace.workspace.pictures import Shows, shows_of

LOOK_S: Final = 0.1
STOPPED: Final = "The person stopped it."


class Speaker(Model, Protocol):
    """A model whose words can be heard as they come. `partial` is what it had said, and that cost, when it was cut off; `sees`: it is
    shown pictures."""

    partial: Reply | None

    @property
    def sees(self) -> bool: ...


class Kept(Protocol):
    """Where what happened is made known beyond the log: found by words, counted in the thread, told outside."""

    async def __call__(
        self,
        state: ThreadState,
        said: list[tuple[int, str]],
        pico_usd: int,
        tokens: int,
        events: Sequence[Event],
        why: HeadraceError | None,
    ) -> None: ...


class _Fitted:
    """The model, asked as the intent wants it."""

    def __init__(self, speaker: Speaker, intent: Callable[[], Intent], live: Live) -> None:
        self._speaker, self._intent, self._live = speaker, intent, live

    @property
    def name(self) -> str:
        return self._speaker.name

    async def reply(self, body: bytes) -> Reply:
        self._live.tell(Begun(self.name))
        return await self._speaker.reply(fitted(body, self._intent()))


class _Told:
    """The person, as far as letters go: each is an answer to what was asked last, and good once."""

    def __init__(self) -> None:
        self.calls: dict[str, bool] = {}
        self.happened: bool | None = None
        self.granted: Resumed | None = None

    async def leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> tuple[bool, ...] | None:
        if any(call.id not in self.calls for call in calls):
            return None
        return tuple(self.calls.pop(call.id) for call in calls)

    async def fate(self, call: Call) -> bool | None:
        happened, self.happened = self.happened, None
        return happened

    async def more(self, reason: PauseReason) -> Resumed | None:
        granted, self.granted = self.granted, None
        return granted


class Work:
    """Works on one run, whose log this process holds. `woken` is set when mail may have come."""

    def __init__(
        self,
        *,
        home: Path,
        log: RunLog,
        speaker: Speaker,
        hands: Performs,
        grant: Granted,
        clock: Clock,
        intent: Callable[[list[Event]], Intent],
        live: Live,
        woken: asyncio.Event,
        keep: Kept,
        by: str,
        interrupt: Callable[[], bool],
    ) -> None:
        self._home, self._clock, self._grant, self._speaker = home, clock, grant, speaker
        self._live, self._woken, self._keep, self._interrupt = live, woken, keep, interrupt
        self._person = _Told()
        self._texts: list[tuple[int, str]] = []
        self._pico = self._tokens = 0
        self._unheard: list[PersonSaid | TaskGiven] = []
        self._later: list[Letter] = []
        self._stopped = False
        model = _Fitted(speaker, lambda: intent(self._driver.events), live)
        self._driver = Driver(log, model, hands, self._person, grant, clock, self._hear, by=by, shows=self._shows)

    async def go_on(self, *, resumed: bool, equip: Callable[[Driver], Awaitable[None]]) -> None:
        """Work until nothing is left to do of what was told by now. `resumed`: whoever worked on it before did not come to an end. `equip`
        tells the run which tools it has."""
        go, worked, letters = resumed, False, take(self._home)
        while True:
            go = self._heed(letters, go=go)
            if not go or not self._can_go_on():
                break
            await equip(self._driver)
            go, worked = False, True
            self._live.tell(Stands("running"))
            await self._note("running")
            state, failure = await self._watched()
            await self._note(state, failure)
            if failure is not None:
                self._live.fail(failure)
            else:
                self._live.tell(Stands(state, why=(verdict(self._driver.events) or "") if state == "done" else ""))
            letters, self._later = self._later, []
        if not worked:
            await self._note(self._stands())
            self._live.tell(Stands(self._stands()))

    @property
    def ended(self) -> bool:
        """Whether the run is done."""
        return self._driver.turn.ended

    def _shows(self, events: Sequence[Event]) -> Shows:
        return shows_of(self._home, events) if self._speaker.sees else lambda name: None

    def _stands(self) -> ThreadState:
        """How the run stands while nobody works on it."""
        turn = self._driver.turn
        if turn.ended or not self._driver.events:
            return "done" if turn.ended else "new"
        return "stopped" if turn.waits_for() == "stopped" else "waiting"

    def _can_go_on(self) -> bool:
        """Whether there is anything but to wait for an answer that nobody has given."""
        answered = self._person.calls or self._person.happened is not None or self._person.granted
        wish = self._driver.turn.wish(self._grant(), self._clock.moment())
        if isinstance(wish, Finish):
            return not self._driver.turn.ended
        return bool(answered) or not isinstance(wish, Wait)

    def _heed(self, letters: list[Letter], *, go: bool) -> bool:
        """Take in what was told while nobody worked; whether there is anything to do then. `go`: there was before."""
        for letter in letters:
            match letter:
                case Say() | Task():
                    self._say(self._said(letter))
                case Answer(calls):
                    self._person.calls |= calls
                case Fate(happened):
                    self._person.happened = happened
                case More(pico_usd, tokens, steps):
                    self._person.granted = Resumed(pico_usd, tokens, steps)
                case Go():
                    self._resume()
                case Stop():
                    if go and self._can_go_on():  # it stops what came before it, though nobody has begun with that
                        self._close_off()
                case Halt():
                    pass  # nothing runs
                case never:
                    assert_never(never)
            go = (go or not isinstance(letter, Halt)) and not isinstance(letter, Stop)
        return go

    def _said(self, letter: Say | Task) -> PersonSaid | TaskGiven:
        return said_in(letter, self._grant())

    def _say(self, said: PersonSaid | TaskGiven) -> None:
        """Who says something else instead of answering has said no."""
        for call in self._asked():
            self._driver.add(LeaveRefused(call, "They said something else instead."))
        asked = question(self._driver.events, CARDS)
        if asked is not None:
            self._person.calls |= {call.id: False for call in asked.calls}  # of sub-agents
        self._resume()
        self._driver.add(said, durable=True)

    def _resume(self) -> None:
        if self._driver.turn.waits_for() == "stopped":
            self._driver.add(Resumed())

    def _asked(self) -> list[str]:
        """The calls that leave is being asked for."""
        waiting = self._driver.turn.waits_for()
        return [call.id for call in self._open_calls() if call.id in waiting] if isinstance(waiting, frozenset) else []

    async def _watched(self) -> tuple[ThreadState, HeadraceError | None]:
        """Let the driver go on, and look at the mail meanwhile."""
        self._stopped = False
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._run())
            watching = tasks.create_task(self._watch(running))
            ended = await running
            watching.cancel()
        return ended

    async def _run(self) -> tuple[ThreadState, HeadraceError | None]:
        try:
            while True:
                ending = await self._driver.run()
                if ending == "waiting":
                    return "waiting", None
                if not self._unheard:
                    return "done", None
                self._hear_said()
        except HeadraceError as error:
            return "failed", error
        except asyncio.CancelledError:
            if not self._stopped:
                raise  # the server stops: who comes next goes on
            self._close_off()
            return "stopped", None

    async def _watch(self, running: "asyncio.Task[tuple[ThreadState, HeadraceError | None]]") -> None:
        while True:
            for letter in take(self._home):
                if isinstance(letter, Say | Task):
                    self._unheard.append(self._said(letter))
                elif isinstance(letter, Stop):
                    self._stopped = True
                    running.cancel()
                elif isinstance(letter, Halt):
                    self._interrupt()
                else:
                    self._later.append(letter)
            self._woken.clear()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _close_off(self) -> None:
        """What was cut off: the words so far are kept, and calls that were not made are not made later either."""
        if isinstance(self._last(), ModelAsked):
            partial = self._speaker.partial
            if partial is not None:
                self._driver.add(ModelSaid(partial.text, (), partial.tokens, partial.pico_usd, partial.request))
        begun = {event.call for event in self._driver.events if isinstance(event, Intended)}
        tools = self._driver.tools()
        for call in self._open_calls():
            tool = tools.get(call.tool)
            effect = None if tool is None else tool.card.effect
            if call.id not in begun or effect is None or effect.contained:  # of another effect nobody knows: it will be asked about
                self._driver.add(Failed(call.id, STOPPED))
        self._driver.add(Paused("stopped"), durable=True)

    def _open_calls(self) -> list[Call]:
        """The calls that the model wanted and that have no outcome."""
        closed = {event.call for event in self._driver.events if isinstance(event, Returned | Failed)}
        closed |= {event.call for event in self._driver.events if isinstance(event, FateKnown) and event.happened}
        last = next((event for event in reversed(self._driver.events) if isinstance(event, ModelSaid)), None)
        return [call for call in (last.calls if last else ()) if call.id not in closed]

    def _last(self) -> Event | None:
        return self._driver.events[-1] if self._driver.events else None

    def _hear(self, event: Event) -> None:
        """The driver has written an event."""
        match innermost(event):
            case PersonSaid(text) | TaskGiven(text):
                self._texts.append((len(self._driver.events) - 1, text))
            case ModelSaid() as said:
                self._texts.append((len(self._driver.events) - 1, said.text))
                self._pico += said.pico_usd
                self._tokens += said.tokens
                if said.calls and self._unheard and said is event:
                    self._hear_said()
            case Returned() | Failed() | LeaveGiven() | LeaveRefused() as outcome if outcome is event:
                self._hear_said()
            case _:
                pass
        self._live.nudge()

    def _hear_said(self) -> None:
        """What was said while the model or a tool was at work."""
        unheard, self._unheard = self._unheard, []
        for said in unheard:
            self._driver.add(said, durable=True)

    async def _note(self, state: ThreadState, why: HeadraceError | None = None) -> None:
        texts, pico, tokens = self._texts, self._pico, self._tokens
        self._texts, self._pico, self._tokens = [], 0, 0
        await self._keep(state, texts, pico, tokens, self._driver.events, why)


def said_in(letter: Say | Task, grant: Grant) -> PersonSaid | TaskGiven:
    """What a letter says, as it is written down."""
    return letter.event if isinstance(letter, Say) else TaskGiven(letter.text, grant, ())


def innermost(event: Event) -> Event:
    """What happened, to whichever sub-agent it did."""
    while isinstance(event, Within):
        event = event.event
    return event
