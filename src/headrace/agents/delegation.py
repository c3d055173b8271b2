"""A task handed to a sub-agent: never more than the run above has left, and nothing that was allowed to it ahead of time."""

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Final

from headrace.agents.cards import Card
from headrace.agents.events import TaskGiven
from headrace.agents.leave import Budget, Grant
from headrace.agents.tools import Tool
from headrace.agents.values import Value, said
from headrace.core.errors import InvalidRequest

DELEGATE: Final = "delegate"
STEPS_HANDED: Final = 20
AMOUNT_MAX: Final = Decimal(10**12)
"""Who asks for more than this of anything means all that is left; a number may be written that takes hours to be counted out."""
_PICO: Final = 10**12

DELEGATION: Final = Tool(
    Card(
        tool=DELEGATE,
        says="Have a sub-agent do a part of the task by itself, in the same folder. It knows only what you tell it, and gives one answer.",
        repeatable=True,
    ),
    {
        "task": "All that it needs to know, and what it is to answer.",
        "tools?": "The names of the tools that it may use, separated by spaces; all but this one when left out.",
        "tokens_max?": "How many tokens it may use, of those that are left.",
        "usd_max?": "How many dollars it may use, of those that are left.",
        "steps_max?": f"How often it may think; {STEPS_HANDED} when left out.",
    },
)
"""Its answer carries the label of what the sub-agent has read, so the card names no fields."""


def handed(arguments: Mapping[str, Value], grant: Grant, left: Budget, tools: Iterable[str]) -> TaskGiven:
    """What a sub-agent begins with. Raises InvalidRequest with a sentence for the model."""
    task = said(arguments.get("task"))
    if not task.strip():
        raise InvalidRequest("Say in 'task' what is to be done.")
    had = [tool for tool in tools if tool != DELEGATE]
    wanted = said(arguments.get("tools")).split()
    unknown = [tool for tool in wanted if tool not in had]
    if unknown:
        raise InvalidRequest(f"There is no tool {unknown[0]!r} to hand over; there are {', '.join(sorted(had))}.")
    steps = _number(arguments, "steps_max")
    usd = _number(arguments, "usd_max")
    tokens = _number(arguments, "tokens_max")
    budget = Budget(
        pico_usd_max=_least(None if usd is None else int(usd * _PICO), left.pico_usd_max),
        tokens_max=_least(None if tokens is None else int(tokens), left.tokens_max),
        steps_max=min(STEPS_HANDED if steps is None else int(steps), left.steps_max),
    )
    return TaskGiven(task, Grant(kinds=grant.kinds, hosts=grant.hosts, budget=budget), tuple(wanted or had))


def _number(arguments: Mapping[str, Value], name: str) -> Decimal | None:
    text = said(arguments.get(name)).strip().lstrip("$")
    if not text:
        return None
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise InvalidRequest(f"{name} is a number, not {text!r}.") from None
    if not number.is_finite() or number <= 0:
        raise InvalidRequest(f"{name} is more than nothing.")
    return min(number, AMOUNT_MAX)


def _least(asked: int | None, left: int | None) -> int | None:
    amounts = [amount for amount in (asked, left) if amount is not None]
    return min(amounts) if amounts else None
