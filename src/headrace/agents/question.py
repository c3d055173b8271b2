"""What a run waits for, and what an answer to it is: for who answers later, from elsewhere."""

from collections.abc import Mapping, Sequence

import msgspec

from headrace.agents.cards import Card
from headrace.agents.events import Event, FateKnown, LeaveAsked, LeaveGiven, LeaveRefused, PauseReason, Resumed, Within
from headrace.agents.judge import Reason
from headrace.agents.leave import Call, Leave
from headrace.agents.turn import Turn
from headrace.core.clock import Moment


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One of three: leave for `calls`, with reasons; the fate of one call that a crash cut off; or more of what is used up (`pause`).

    `within` are the calls of the sub-agents that ask, the outermost first.
    """

    calls: tuple[Call, ...] = ()
    reasons: tuple[tuple[Reason, ...], ...] = ()
    fate: Call | None = None
    pause: PauseReason | None = None
    within: tuple[str, ...] = ()


def question(events: Sequence[Event], cards: Mapping[str, Card]) -> Question | None:
    """What the run waits for; None where it can go on, or is over."""
    turn = Turn(cards)
    for event in events:
        turn.add(event)
    return _of(turn, events, ())


def _of(turn: Turn, events: Sequence[Event], within: tuple[str, ...]) -> Question | None:
    below = turn.open_within()
    if below is not None:
        child = turn.within(below)
        assert child is not None, "an open sub-agent has a turn"
        return _of(child, [event.event for event in events if isinstance(event, Within) and event.call == below], (*within, below))
    waits = turn.waits()
    if waits is None:
        return None
    if isinstance(waits, str):
        return Question(pause=waits, within=within)
    if isinstance(waits, Call):
        return Question(fate=waits, within=within)
    asked = next(event for event in reversed(events) if isinstance(event, LeaveAsked))
    left = [(call, why) for call, why in zip(asked.calls, asked.reasons, strict=True) if call.id in waits]
    return Question(calls=tuple(call for call, _ in left), reasons=tuple(why for _, why in left), within=within)


def answered(asked: Question, *, yes: bool, by: str, now: Moment, more: Resumed) -> list[Event]:
    """The events of this answer; `more` is what a pause is ended with. A pause that is answered with no stays one."""
    events: list[Event] = []
    for call in asked.calls:
        events.append(LeaveGiven(call.id, Leave(call.tool, call.arguments, by, now)) if yes else LeaveRefused(call.id))
    if asked.fate is not None:
        events.append(FateKnown(asked.fate.id, yes))
    if asked.pause is not None and yes:
        events.append(more)
    for call_id in reversed(asked.within):
        events = [Within(call_id, event) for event in events]
    return events
