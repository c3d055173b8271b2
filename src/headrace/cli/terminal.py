"""A run at a terminal: its steps as they happen, and a person who is asked there."""

import asyncio
import json
import shutil
import sys
from collections.abc import Callable
from typing import assert_never

import click

from headrace.agents import Call, Reason
from headrace.agents.delegation import DELEGATE
from headrace.agents.events import (
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
from headrace.agents.remembering import MEMORY
from headrace.cli.printed import Printed

SHOWN_CHARS_MAX = 400
ALWAYS = frozenset((DELEGATE, *(tool.card.tool for tool in MEMORY)))
MORE_STEPS, MORE_TOKENS, MORE_PICO = 50, 100_000, 10**12


class Terminal:
    """Shows and asks. `asks` is False where nobody can answer: then a run that needs an answer waits. `draw` writes without ending
    the line, where lines can be drawn again."""

    def __init__(self, *, asks: bool, say: Callable[[str], None] = click.echo, draw: Callable[[str], None] | None = None) -> None:
        self._asks, self._out, self._draw = asks, say, draw
        self._calls: dict[str, Call] = {}
        self._printed: Printed | None = None
        self._drawn = False

    def _say(self, line: str) -> None:
        self._undraw()
        self._out(line)

    def shell(self, command: str) -> None:
        """A command begins; what it says is shown as it comes."""
        self._printed = Printed()

    def printed(self, text: str) -> None:
        if self._printed is None:
            return
        for line in self._printed.add(text):
            self._say(click.style(f"  │ {line}", dim=True))
        self._undraw()
        if self._draw is not None and self._printed.line:
            self._draw(click.style(f"  │ {self._printed.line}"[: shutil.get_terminal_size().columns - 1], dim=True))
            self._drawn = True

    def _undraw(self) -> None:
        if self._drawn and self._draw is not None:
            self._draw("\r\x1b[K")
            self._drawn = False

    def _ended(self, value: str) -> str:
        """What came back, without what was shown already."""
        printed, self._printed = self._printed, None
        if printed is None:
            return short(value)
        if printed.line:
            self._say(click.style(f"  │ {printed.line}", dim=True))
        told = json.loads(value)
        return " ".join([f"exit {told['exit_code']}", *([told["stopped"]] if "stopped" in told else [])])

    def hear(self, event: Event) -> None:  # noqa: C901 one arm an event: a table in all but form
        """Show one step."""
        match event:
            case ModelSaid(text, calls):
                self._calls.update((call.id, call) for call in calls)
                if text and calls:
                    self._say(click.style(short(text), dim=True))
            case Intended(call):
                self._say(click.style(f"▸ {self._shown(call)}", bold=True))
            case Returned(_, value):
                self._say(click.style(f"  {self._ended(value)}", dim=True))
            case Failed(call, says):
                self._printed = None
                self._say(click.style(f"  ✗ {self._shown(call)}: {short(says)}", fg="yellow"))
            case Ended(text):
                self._say(f"\n{text}")
            case Paused(reason):
                self._say(click.style(f"The run pauses: {WHY_PAUSED[reason]}", fg="yellow"))
            case Within(_, inner):
                self.hear(inner)
            case TaskGiven(text):
                self._say(click.style(f"▸ a sub-agent: {short(text)}", bold=True))
            case ToolsGiven(tools):
                if more := [tool.card.tool for tool in tools if tool.card.tool not in ALWAYS]:
                    self._say(click.style(f"with {short(', '.join(more))}", dim=True))
            case (
                PersonSaid()
                | ContextGiven()
                | ModelAsked()
                | LeaveAsked()
                | LeaveGiven()
                | LeaveRefused()
                | FateAsked()
                | FateKnown()
                | Resumed()
            ):
                pass
            case never:
                assert_never(never)

    def know(self, event: Event) -> None:
        """Learn of an event of before, without showing it."""
        if isinstance(event, Within):
            self.know(event.event)
        elif isinstance(event, ModelSaid):
            self._calls.update((call.id, call) for call in event.calls)

    def _shown(self, call: str) -> str:
        asked = self._calls[call]
        return short(f"{asked.tool} {asked.arguments}")

    async def leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> tuple[bool, ...] | None:
        if not self._asks:
            return None
        self._say(click.style("\nThis needs your leave:", fg="cyan"))
        for number, (call, why) in enumerate(zip(calls, reasons, strict=True), 1):
            self._say(f"{number}. {call.tool} {call.arguments}")
            for reason in why:
                self._say(click.style(f"     {reason.says}", dim=True))
        if len(calls) == 1 or await self._yes("All of them, exactly as shown?"):
            yes = len(calls) > 1 or await self._yes("Exactly this, once?")
            return (yes,) * len(calls)
        return tuple([await self._yes(f"Number {number}?") for number in range(1, len(calls) + 1)])

    async def fate(self, call: Call) -> bool | None:
        if not self._asks:
            return None
        self._say(click.style(f"\nThe run was cut off while it did this: {call.tool} {call.arguments}", fg="cyan"))
        return await self._yes("Has it happened? (no: it is done again)")

    async def more(self, reason: PauseReason) -> Resumed | None:
        if not self._asks or not await self._yes("Go on, with as much again?"):
            return None
        return Resumed(MORE_PICO, MORE_TOKENS, MORE_STEPS)

    async def _yes(self, question: str) -> bool:
        return await asyncio.to_thread(click.confirm, click.style(question, fg="cyan"), default=False)


WHY_PAUSED: dict[PauseReason, str] = {
    "money": "its budget of money is used up.",
    "tokens": "its budget of tokens is used up.",
    "steps": "it has made as many steps as it may.",
    "stopped": "it was stopped.",
}


def short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARS_MAX else f"{line[:SHOWN_CHARS_MAX]} …"


def can_ask() -> bool:
    return sys.stdin.isatty()


def drawing() -> Callable[[str], None] | None:
    """How to write at a terminal without ending the line; None where the output goes elsewhere."""
    return (lambda text: click.echo(text, nl=False)) if sys.stdout.isatty() else None
