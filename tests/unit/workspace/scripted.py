"""A model that says what a script says, hands that count, and a person who answers as told."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from headrace.agents import Budget, Call, Grant, Reason
from headrace.agents.events import Event, PauseReason, PersonSaid, Resumed
from headrace.agents.values import Value
from headrace.core.errors import InvalidRequest
from headrace.core.model import Reply, ToolAsk
from headrace.storage import RunLog
from headrace.testing.clock import TurnedClock
from headrace.workspace import Driver

Step = tuple[str, dict[str, str]] | str


class ScriptedModel:
    """Says its steps in order: which one follows from the conversation alone, so that a second driver goes on with it."""

    name = "scripted"

    def __init__(self, script: Sequence[Sequence[Step]]) -> None:
        self._script = script
        self.asked: list[dict[str, object]] = []

    async def reply(self, body: bytes) -> Reply:
        request = json.loads(body)
        self.asked.append(request)
        turn = sum(message["role"] == "assistant" for message in request["messages"])
        said = self._script[turn] if turn < len(self._script) else ["done"]
        calls = tuple(ToolAsk(f"x{at}", step[0], json.dumps(step[1])) for at, step in enumerate(said) if not isinstance(step, str))
        text = " ".join(step for step in said if isinstance(step, str))
        return Reply(text=text, calls=calls, tokens=100, pico_usd=1_000, request=f"req-{turn}")


class TwoModels(ScriptedModel):
    """The run above, whose task is `task`, and its sub-agents, which are asked something else."""

    def __init__(self, task: str, above: Sequence[Sequence[Step]], below: Sequence[Sequence[Step]]) -> None:
        super().__init__(above)
        self._task, self._below = task, ScriptedModel(below)

    async def reply(self, body: bytes) -> Reply:
        request = json.loads(body)
        if request["messages"][1]["content"] == self._task:
            return await super().reply(body)
        self.asked.append(request)
        return await self._below.reply(body)


class Buyer(ScriptedModel):
    """Orders at the shop at this address and keeps its list, each once: what is next follows from what the tools have said."""

    def __init__(self, url: str) -> None:
        super().__init__([])
        self._url = url

    async def reply(self, body: bytes) -> Reply:
        heard = [str(message["content"]) for message in json.loads(body)["messages"] if message["role"] == "tool"]
        page, ordered = heard[-1] if heard else "", any("Ordered:" in said for said in heard)
        if any("downloads/" in said for said in heard):
            return Reply(text="Done.", calls=(), tokens=100, pico_usd=1_000, request="req")
        wanted = ("link", "List") if ordered else ("button", "Order now")
        found = re.search(rf'{wanted[0]} \\*"{wanted[1]}\\*" \[ref=(\w+)\]', page)
        told: tuple[str, dict[str, str]] = ("browser_open", {"url": self._url})
        if found and ordered:
            told = ("browser_download", {"ref": found[1]})
        elif found:
            told = ("browser_submit", {"ref": found[1], "what": "Order now", "host": "127.0.0.1"})
        return Reply(text="", calls=(ToolAsk("x", told[0], json.dumps(told[1])),), tokens=100, pico_usd=1_000, request="req")


class CountingHands:
    """Each call made is a line of a file, so that it is known also after the process was killed."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger

    async def perform(self, tool: str, arguments: Mapping[str, Value]) -> Value:
        if tool == "read_file" and arguments.get("path") == "missing":
            raise InvalidRequest("missing is not there.")
        with self._ledger.open("a") as file:
            file.write(json.dumps([tool, dict(arguments)]) + "\n")
        return "ok"

    @property
    def made(self) -> list[list[object]]:
        return [json.loads(line) for line in self._ledger.read_text().splitlines()] if self._ledger.exists() else []


class ToldPerson:
    """Answers every question alike; None is nobody."""

    def __init__(self, *, leave: bool | None = True, happened: bool | None = True, more: Resumed | None = None) -> None:
        self._leave, self._happened, self._more = leave, happened, more
        self.questions: list[str] = []

    async def leave(self, calls: tuple[Call, ...], reasons: tuple[tuple[Reason, ...], ...]) -> tuple[bool, ...] | None:
        self.questions.append(f"leave {len(calls)}")
        return None if self._leave is None else (self._leave,) * len(calls)

    async def fate(self, call: Call) -> bool | None:
        self.questions.append(f"fate {call.tool}")
        return self._happened

    async def more(self, reason: PauseReason) -> Resumed | None:
        self.questions.append(f"more {reason}")
        return self._more


def begin(path: Path, task: str) -> None:
    log = RunLog(path, new=True)
    log.append(PersonSaid(task), 0, durable=True)
    log.close()


def driver(
    path: Path,
    model: ScriptedModel,
    hands: CountingHands,
    person: ToldPerson,
    hear: Callable[[Event], None] = lambda event: None,
    budget: Budget | None = None,
) -> tuple[Driver, RunLog]:
    log = RunLog(path)
    return Driver(log, model, hands, person, Grant(budget=budget or Budget()), TurnedClock(), hear), log
