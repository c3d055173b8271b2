"""One agent's turn as a function of its transcript, and the rules that decide what needs a person's leave."""

from headrace.agents.cards import Card, Effect, Field
from headrace.agents.judge import Allow, Ask, Deny, Reason, Verdict, judge
from headrace.agents.knowledge import Knowledge
from headrace.agents.labels import Label, Readers, Writers
from headrace.agents.leave import Budget, Call, Grant, Leave, StandingLeave
from headrace.agents.turn import Turn, Wish, next_wish

__all__ = [
    "Allow",
    "Ask",
    "Budget",
    "Call",
    "Card",
    "Deny",
    "Effect",
    "Field",
    "Grant",
    "Knowledge",
    "Label",
    "Leave",
    "Readers",
    "Reason",
    "StandingLeave",
    "Turn",
    "Verdict",
    "Wish",
    "Writers",
    "judge",
    "next_wish",
]
