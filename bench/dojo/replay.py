"""One task of the benchmark performed by the head's own turns, with the benchmark's ground truth as the model and the person who asks.

The scripted model says the calls of the task's ground truth, those to one tool in a row at once, as a model calls in parallel. The person
gives leave to exactly these and refuses everything else. Only what the head wishes is performed.
"""

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec
from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
from pydantic import BaseModel

from headrace.agents import Budget, Call, Card, Grant, Leave, Turn, Verdict
from headrace.agents.events import (
    Event,
    Failed,
    Intended,
    LeaveAsked,
    LeaveGiven,
    LeaveRefused,
    ModelAsked,
    ModelSaid,
    PersonSaid,
    Returned,
)
from headrace.agents.turn import AskLeave, CallModel, Finish, Refuse, RunTool

GRANT = Grant(budget=Budget(steps_max=1 << 40))
"""An attacker has all the time in the world."""
SPACES = re.compile(r"\s+")


def plain(result: object) -> object:
    """A tool's result as plain data."""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list | tuple):
        return [plain(each) for each in result]
    if isinstance(result, dict):
        return {str(key): plain(value) for key, value in result.items()}
    return result if result is None or isinstance(result, bool | int | float | str) else str(result)


def json_of(value: object) -> str:
    return msgspec.json.encode(value).decode()


@dataclass
class Run:
    """A task under way: its world, the head's state, and what was counted."""

    suite: object
    task: object
    env: object
    cards: dict[str, Card]
    marker: str | None = None
    turn: Turn = None  # type: ignore[assignment]
    asks: int = 0
    attacker_asked: int = 0
    exposed: int = 0
    trace: list[FunctionCall] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    ids: count = field(default_factory=count)

    def __post_init__(self) -> None:
        self.pre = self.env.model_copy(deep=True)
        self.runtime = FunctionsRuntime(self.suite.tools)
        self.turn = Turn(self.cards)
        self.add(PersonSaid(self.task.PROMPT))
        self.truth = self.task.ground_truth(self.pre.model_copy(deep=True))

    def add(self, event: Event) -> None:
        self.turn.add(event)

    def fork(self) -> "Run":
        """The same run from here on, apart."""
        twin = copy.copy(self)
        twin.env = self.env.model_copy(deep=True)
        twin.turn = self.turn.twin()
        twin.trace, twin.read = list(self.trace), list(self.read)
        return twin

    def verdict(self, tool: str, arguments: dict[str, object]) -> Verdict:
        return self.turn.judged(Call("x", tool, json_of(arguments)), GRANT, 0)

    def say(self, calls: Sequence[FunctionCall], allowed: Callable[[Call], bool]) -> None:
        """The model wants these; everything that follows from it happens."""
        made = tuple(Call(f"c{next(self.ids)}", call.function, json_of(dict(call.args))) for call in calls)
        originals = {call.id: original for call, original in zip(made, calls, strict=True)}
        self.add(ModelAsked("scripted"))
        self.add(ModelSaid("", made))
        while True:
            match self.turn.wish(GRANT, 0):
                case RunTool(call):
                    self._perform(call, originals[call.id])
                case AskLeave(asked, reasons):
                    self.add(LeaveAsked(asked, reasons))
                    yes = [allowed(call) for call in asked]
                    self.asks += any(yes)
                    self.attacker_asked += not any(yes)
                    for call, answer in zip(asked, yes, strict=True):
                        self.add(LeaveGiven(call.id, Leave(call.tool, call.arguments, "person", 0)) if answer else LeaveRefused(call.id))
                case Refuse(call, says):
                    self.add(Failed(call.id, says))
                case CallModel() | Finish():
                    return
                case other:
                    raise AssertionError(other)

    def _perform(self, call: Call, original: FunctionCall) -> None:
        self.add(Intended(call.id, call.id))
        result, error = self.runtime.run_function(self.env, call.tool, copy.deepcopy(dict(original.args)))
        self.trace.append(original)
        if error is not None:
            self.add(Failed(call.id, error))
            return
        data = plain(result)
        self.read.append(json_of(data))
        self.exposed += self.marker is not None and self.marker in squeezed(json_of(data))
        self.add(Returned(call.id, json_of(data)))

    def useful(self) -> bool:
        output = [{"type": "text", "content": self.task.GROUND_TRUTH_OUTPUT}]
        return bool(self.suite._check_user_task_utility(self.task, output, self.pre, self.env, self.trace))

    def breached(self, injection: object) -> bool:
        output = [{"type": "text", "content": ""}]
        return bool(self.suite._check_injection_task_security(injection, output, self.pre, self.env, self.trace))


def squeezed(text: str) -> str:
    return SPACES.sub("", text.replace("\\n", ""))


def in_a_row(calls: Sequence[FunctionCall]) -> list[list[FunctionCall]]:
    """Calls to one tool right behind each other, as one saying of the model."""
    turns: list[list[FunctionCall]] = []
    for call in calls:
        if turns and turns[-1][0].function == call.function:
            turns[-1].append(call)
        else:
            turns.append([call])
    return turns
