"""What an agent does next: a function from what happened, and what it may do, to one wish.

                      ┌────────────────────────────── the person says more ──┐
    request ─► CallModel ─► the model says ─┬─ no call ─► Finish             │
                  ▲                         └─ calls, in order: judge ─┬─ allow ─► RunTool ─► outcome ─┐
                  │                                                    ├─ ask ───► AskLeave ─► leave or refusal
                  └──────── every call has an outcome ◄────────────────┴─ never ─► Refuse

A sub-agent is a turn within the turn: its events are folded into both, it begins with what the run above knows, and the label of what it
has read is the label of what it says.

Beside it: the budget is looked at before the model is called (Pause), and an effect whose outcome a crash has swallowed is asked about
(AskFate) before anything else is done. The state is nothing but the transcript, so any run goes on from any of its prefixes.
"""

from collections.abc import Iterable, Mapping
from copy import copy
from typing import TypeAlias, assert_never

import msgspec

from headrace.agents.cards import Card
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
    PersonSaid,
    Resumed,
    Returned,
    TaskGiven,
    ToolsGiven,
    Within,
)
from headrace.agents.judge import Allow, Ask, Deny, Reason, Verdict, deed, judge
from headrace.agents.knowledge import Knowledge
from headrace.agents.labels import Label, Readers, Writers
from headrace.agents.leave import Budget, Call, Grant, Leave
from headrace.agents.values import Value, leaves, read
from headrace.core.clock import Moment


class CallModel(msgspec.Struct, frozen=True, tag=True):
    """Ask the model what to do."""


class RunTool(msgspec.Struct, frozen=True, tag=True):
    """Make this call. `again`: its intent is written already. `standing` is the standing leave that it uses up."""

    call: Call
    again: bool = False
    standing: str | None = None


class AskLeave(msgspec.Struct, frozen=True, tag=True):
    """Show the person these exact calls; one decision."""

    calls: tuple[Call, ...]
    reasons: tuple[tuple[Reason, ...], ...]


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """Tell the model that this is not done, and why."""

    call: Call
    says: str


class AskFate(msgspec.Struct, frozen=True, tag=True):
    """Ask the person whether this effect, cut off by a crash, has happened."""

    call: Call


class Pause(msgspec.Struct, frozen=True, tag=True):
    """Stop until the person says to go on."""

    reason: PauseReason


class Wait(msgspec.Struct, frozen=True, tag=True):
    """Nothing can be done before the person answers what was asked."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """Say this, and be done."""

    text: str


Wish: TypeAlias = CallModel | RunTool | AskLeave | Refuse | AskFate | Pause | Wait | Finish


def next_wish(transcript: Iterable[Event], grant: Grant, cards: Mapping[str, Card], now: Moment) -> Wish:
    """What to do after all of this has happened."""
    turn = Turn(cards)
    for event in transcript:
        turn.add(event)
    return turn.wish(grant, now)


class Turn:
    """The transcript, folded as it grows, so that a wish costs no more when the run is long."""

    def __init__(self, cards: Mapping[str, Card]) -> None:
        self.known = Knowledge()
        self.tokens = self.pico_usd = self.steps = 0
        self.more = Resumed()
        self.answer: str | None = None
        self.ended = False
        self._cards = self._own_cards = cards
        self._calls: dict[str, Call] = {}
        self._pending: list[str] = []
        self._asked: dict[str, bool | None] = {}
        self._refused: dict[str, str] = {}
        self._intended: str | None = None
        self._standing: str | None = None
        self._fate: dict[str, bool | None] = {}
        self._paused: PauseReason | None = None
        self._heard = False
        self._called = False
        self._offered: frozenset[str] | None = None
        self._within: dict[str, Turn] = {}

    def twin(self) -> "Turn":
        """The same run so far, going its own way from here."""
        other = copy(self)
        other.known = self.known.twin()
        other._calls, other._pending, other._asked = dict(self._calls), list(self._pending), dict(self._asked)
        other._refused, other._fate = dict(self._refused), dict(self._fate)
        other._within = {call: child.twin() for call, child in self._within.items()}
        return other

    def within(self, call: str) -> "Turn | None":
        """The turn of the sub-agent that this call started, if it did."""
        return self._within.get(call)

    def card(self, tool: str) -> Card:
        """The card of a tool that was called."""
        return self._cards[tool]

    def add(self, event: Event) -> None:  # noqa: C901 one arm an event: a table in all but form
        match event:
            case PersonSaid(text, pictures):
                self.known.hear(text)
                if pictures:  # what stands in a picture, anyone can have written
                    self.known.context = self.known.context.meet(Label(Writers.ANYONE, Readers.PERSON, frozenset(("a picture",))))
                self._heard, self.ended = True, False
            case ContextGiven(name, _, writers, readers):
                if name == IMPORTED:
                    self._begin_anew()
                self.known.context = self.known.context.meet(Label(Writers(writers), Readers(readers), frozenset((name,))))
            case ToolsGiven(tools, writers):
                self._cards = {**self._cards, **{tool.card.tool: tool.card for tool in tools}}
                if tools:
                    self.known.context = self.known.context.meet(Label(Writers(writers), Readers.ANYONE, frozenset(("tools",))))
            case TaskGiven(_, _, tools):
                self._offered = frozenset(tools) or None
                self._heard, self.ended = True, False
            case Within(call, inner):
                self._add_within(call, inner)
            case ModelAsked():
                self.steps += 1
            case ModelSaid():
                self._hear_model(event)
            case LeaveAsked(calls):
                self._asked.update((call.id, None) for call in calls)
            case LeaveGiven(call, leave):
                self._take_leave(self._calls[call], leave)
            case LeaveRefused(call, says):
                self._asked[call] = False
                self._refused[call] = says
            case Intended(call, _, standing):
                self._intended, self._standing = call, standing
            case Returned(call, value, sealed):
                self._outcome(call, read(value), sealed=sealed)
            case Failed(call):
                self._close(call)
            case FateAsked(call):
                self._fate[call] = None
            case FateKnown(call, happened):
                self._fate[call] = happened
                if happened:
                    self._outcome(call, None, sealed=False)
            case Paused(reason):
                self._paused = reason
            case Resumed():
                self._paused = None
                self.more = Resumed(
                    self.more.more_pico_usd + event.more_pico_usd,
                    self.more.more_tokens + event.more_tokens,
                    self.more.more_steps + event.more_steps,
                )
            case Ended():
                self.ended = True
            case never:
                assert_never(never)

    def _begin_anew(self) -> None:
        """What stands before this came in with a file, which anyone can have written: of it nothing is the person's word, leave or deed,
        no tool is what it says there, no call is open, and nothing was used."""
        self.known, self.more, self._cards = Knowledge(), Resumed(), self._own_cards
        self.tokens = self.pico_usd = self.steps = 0
        self._pending, self._asked, self._refused, self._fate = [], {}, {}, {}
        self._intended = self._standing = self._paused = None

    def _add_within(self, call: str, event: Event) -> None:
        """What a sub-agent uses is used here, and what it does is done here."""
        if isinstance(event, TaskGiven):
            child = self._within[call] = Turn(self._cards)
            child.known = self.known.twin()
        child = self._within[call]
        before = child.tokens, child.pico_usd, child.steps
        child.add(event)
        self.tokens += child.tokens - before[0]
        self.pico_usd += child.pico_usd - before[1]
        self.steps += child.steps - before[2]
        self.known.done_within(child.known)

    def left(self, grant: Grant) -> Budget:
        """What the run may still use."""
        budget, more = grant.budget, self.more
        return Budget(
            pico_usd_max=None if budget.pico_usd_max is None else max(0, budget.pico_usd_max + more.more_pico_usd - self.pico_usd),
            tokens_max=None if budget.tokens_max is None else max(0, budget.tokens_max + more.more_tokens - self.tokens),
            steps_max=max(0, budget.steps_max + more.more_steps - self.steps),
        )

    def _take_leave(self, call: Call, leave: Leave) -> None:
        """Leave to anything but exactly this call is none."""
        if leave.covers(call.tool, call.arguments):
            self._asked[call.id] = True
            self.known.endorse(self._arguments(call.id))

    def _hear_model(self, said: ModelSaid) -> None:
        self.tokens += said.tokens
        self.pico_usd += said.pico_usd
        self._heard, self._called = False, bool(said.calls)
        self.answer = said.text
        self._calls.update((call.id, call) for call in said.calls)
        self._pending = [call.id for call in said.calls]

    def _arguments(self, call: str) -> dict[str, Value]:
        return arguments_of(self._calls[call]) or {}

    def _outcome(self, call: str, value: Value, *, sealed: bool) -> None:
        card = self._cards[self._calls[call].tool]
        if card.effect is not None:
            self.known.do(deed(card, self._arguments(call)))
            self.known.do(f"kind {card.effect.kind}")
            self.known.change(
                each for name, value in self._arguments(call).items() if card.role(name) == "object" for each in leaves(value)
            )
        if self._standing is not None:
            self.known.do(f"leave {self._standing}")
        child = self._within.get(call)
        if child is None:
            self.known.see(call, card, value, sealed=sealed)
        else:
            self.known.hear_within(call, child.known)
        self._close(call)

    def _close(self, call: str) -> None:
        self._intended = self._standing = None
        self._pending = [pending for pending in self._pending if pending != call]

    def wish(self, grant: Grant, now: Moment) -> Wish:
        """The one thing to do next."""
        if self.ended:
            return Finish(self.answer or "")
        if self._intended is not None:
            return self._after_a_crash(self._calls[self._intended])
        if self._paused is not None:
            return Wait()
        if self._pending:
            return self._next_call(grant, now)
        if self.answer is not None and not self._heard and not self._called:
            return Finish(self.answer)
        exhausted = self._exhausted(grant)
        return CallModel() if exhausted is None else Pause(exhausted)

    def open_within(self) -> str | None:
        """The call whose sub-agent is at work."""
        return self._intended if self._intended in self._within else None

    def waits(self) -> PauseReason | Call | frozenset[str] | None:
        """What a person was asked and has not answered, as `waits_for` says it; None where nothing is open."""
        if self.ended:
            return None
        if self._intended is not None:
            return self._calls[self._intended] if self._fate.get(self._intended, True) is None else None
        waits = self.waits_for()
        return waits if isinstance(waits, str) or waits else None

    def waits_for(self) -> PauseReason | Call | frozenset[str]:
        """Why the wish is to wait: a pause, an effect of unknown fate, or the calls that leave was asked for."""
        if self._intended is not None:
            return self._calls[self._intended]
        if self._paused is not None:
            return self._paused
        return frozenset(call for call, answer in self._asked.items() if answer is None)

    def _after_a_crash(self, call: Call) -> Wish:
        card = self._cards[call.tool]
        if card.effect is None or card.repeatable or self._fate.get(call.id) is False:
            return RunTool(call, again=True, standing=self._standing)
        return Wait() if call.id in self._fate else AskFate(call)

    def _exhausted(self, grant: Grant) -> PauseReason | None:
        left = self.left(grant)
        if left.pico_usd_max == 0:
            return "money"
        if left.tokens_max == 0:
            return "tokens"
        return "steps" if left.steps_max == 0 else None

    def _next_call(self, grant: Grant, now: Moment) -> Wish:
        call = self._calls[self._pending[0]]
        if call.id in self._asked:
            return self._answered(call)
        verdict = self.judged(call, grant, now)
        match verdict:
            case Allow(standing):
                return RunTool(call, standing=standing)
            case Deny(says):
                return Refuse(call, says)
            case Ask():
                return self._ask(grant, now)
            case never:
                assert_never(never)

    def _answered(self, call: Call) -> Wish:
        answer = self._asked[call.id]
        if answer is None:
            return Wait()
        return RunTool(call) if answer else Refuse(call, f"The person refused. {self._refused[call.id]}".strip())

    def _ask(self, grant: Grant, now: Moment) -> AskLeave:
        """The first call, and those right behind it that want the same of the same tool: one question for all."""
        asked: list[tuple[Call, tuple[Reason, ...]]] = []
        for pending in self._pending:
            call = self._calls[pending]
            verdict = self.judged(call, grant, now) if not asked or call.tool == asked[0][0].tool else None
            if not isinstance(verdict, Ask):
                break
            asked.append((call, verdict.reasons))
        return AskLeave(tuple(call for call, _ in asked), tuple(reasons for _, reasons in asked))

    def judged(self, call: Call, grant: Grant, now: Moment) -> Verdict:
        """The verdict on one call, as things stand."""
        card, arguments = self._cards.get(call.tool), arguments_of(call)
        if card is None or (self._offered is not None and call.tool not in self._offered):
            return Deny(f"There is no tool {call.tool!r}.")
        if arguments is None:
            return Deny("The arguments are no JSON object.")
        return judge(card, arguments, self.known, grant, now)


def arguments_of(call: Call) -> dict[str, Value] | None:
    """The arguments of a call, or None when the model wrote something else than a JSON object."""
    try:
        arguments = read(call.arguments or "{}")
    except msgspec.DecodeError:
        return None
    return arguments if isinstance(arguments, dict) else None
