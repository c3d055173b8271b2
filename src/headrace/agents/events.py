"""The transcript of a run: all that happened, in order, as a closed union of frozen events. It is the whole state of an agent.

A call that changes something is two events: `Intended` is written before it is made and `Returned` (or `Failed`) after. An intent without
an outcome is what a crash leaves behind; `FateAsked` and `FateKnown` are how it is settled when the call may not simply be made again.
Data is kept as the JSON text in which it was said, so that a transcript reads and hashes the same for ever.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from headrace.agents.judge import Reason
from headrace.agents.leave import Call, Grant, Leave
from headrace.agents.tools import Tool

IMPORTED: Final = "what came in with a file"
"""The name of a context that says so of all that stands before it."""
PauseReason: TypeAlias = Literal["money", "tokens", "steps", "stopped"]


class PersonSaid(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """The request, or more of it while the run goes on. `pictures` are shown with it, by the names under which the run keeps them."""

    text: str
    pictures: tuple[str, ...] = ()


class ContextGiven(msgspec.Struct, frozen=True, tag=True):
    """Text that the model gets beside the request: instructions of a folder, a skill, a memory. It never counts as the person's words."""

    name: str
    text: str
    writers: int
    readers: int


class ToolsGiven(msgspec.Struct, frozen=True, tag=True):
    """From now on the run has these tools beside the workspace's own, with these cards: a tool that changes later changes nothing here.

    `writers` can have written what the tools say of themselves.
    """

    tools: tuple[Tool, ...]
    writers: int


class TaskGiven(msgspec.Struct, frozen=True, tag=True):
    """The first event of a sub-agent: what it is to do, in the words of the agent above it, which are never the person's.

    `grant` is what was handed over to it, and `tools` names those that it has; none named: all. A whole run begins with it, too, where not
    a person but another program words the task; what that one says later is another of these.
    """

    text: str
    grant: Grant
    tools: tuple[str, ...]


class ModelAsked(msgspec.Struct, frozen=True, tag=True):
    """A model is called. Without a `ModelSaid` after it, the call may be made again: it changes nothing but the bill."""

    model: str


class ModelSaid(msgspec.Struct, frozen=True, tag=True):
    """What the model said, which tools it wants called, and what that used. Nothing that it says is trusted."""

    text: str
    calls: tuple[Call, ...] = ()
    tokens: int = 0
    pico_usd: int = 0
    request: str = ""


class LeaveAsked(msgspec.Struct, frozen=True, tag=True):
    """The person is shown these exact calls and why they need leave."""

    calls: tuple[Call, ...]
    reasons: tuple[tuple[Reason, ...], ...]


class LeaveGiven(msgspec.Struct, frozen=True, tag=True):
    """The person allows one call, exactly as it is."""

    call: str
    leave: Leave


class LeaveRefused(msgspec.Struct, frozen=True, tag=True):
    """The person refuses one call; `says` goes to the model."""

    call: str
    says: str = ""


class Intended(msgspec.Struct, frozen=True, tag=True):
    """The call is about to be made. `key` stays the same when it is made again, for who can tell a repetition by it."""

    call: str
    key: str
    standing: str | None = None


class Returned(msgspec.Struct, frozen=True, tag=True):
    """The call was made, and this is what came back, as JSON. `sealed`: the model gets only a handle of it."""

    call: str
    value: str
    sealed: bool = False


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The call was not made, or broke; the model is told why."""

    call: str
    says: str


class FateAsked(msgspec.Struct, frozen=True, tag=True):
    """A crash came between an effect's intent and its outcome, and only the person can find out whether it happened."""

    call: str


class FateKnown(msgspec.Struct, frozen=True, tag=True):
    """`happened`: it did, and is not made again; otherwise it is."""

    call: str
    happened: bool


class Paused(msgspec.Struct, frozen=True, tag=True):
    reason: PauseReason


class Resumed(msgspec.Struct, frozen=True, tag=True):
    """The run goes on, with so much more to use; 0 adds nothing."""

    more_pico_usd: int = 0
    more_tokens: int = 0
    more_steps: int = 0


class Within(msgspec.Struct, frozen=True, tag=True):
    """It happened to the sub-agent that this call started."""

    call: str
    event: "Event"


class Ended(msgspec.Struct, frozen=True, tag=True):
    """The run is over. `text` is its answer."""

    text: str


Event: TypeAlias = (
    PersonSaid
    | ContextGiven
    | ToolsGiven
    | TaskGiven
    | Within
    | ModelAsked
    | ModelSaid
    | LeaveAsked
    | LeaveGiven
    | LeaveRefused
    | Intended
    | Returned
    | Failed
    | FateAsked
    | FateKnown
    | Paused
    | Resumed
    | Ended
)
