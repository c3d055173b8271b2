"""What is said in answer to an ask: a closed union of frozen events, in the order in which they happen.

The law of a stream: any number of things said for any number of choices, one `Finished` a choice, then `Used` exactly once, and
after it at most `Verbatim` bytes that were held back until the usage was known. A failure is raised, never said.
"""

from typing import Literal, TypeAlias

import msgspec

from headrace.core.usage import Usage

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


class TokenLogprob(msgspec.Struct, frozen=True):
    """One chosen token with the natural logarithm of its probability, and the likeliest alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


class Text(msgspec.Struct, frozen=True, tag=True):
    """More of the answer's text."""

    text: str
    choice: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()


class Reasoning(msgspec.Struct, frozen=True, tag=True):
    """More of what the model thinks before it answers. `signature` proves to its vendor that the thoughts so far are its own, and comes
    with or after the last of them; `redacted` are thoughts that only the vendor can read. `format` names whose signature it is: nobody
    else takes it back."""

    text: str
    choice: int = 0
    signature: str | None = None
    redacted: str | None = None
    format: str | None = None


class ToolCallBegun(msgspec.Struct, frozen=True, tag=True):
    """The model calls a tool; the arguments follow under the same `index`."""

    index: int
    id: str
    name: str
    choice: int = 0


class ToolCallArguments(msgspec.Struct, frozen=True, tag=True):
    """More of a tool call's arguments: a fragment of JSON text."""

    index: int
    text: str
    choice: int = 0


class Finished(msgspec.Struct, frozen=True, tag=True):
    """A choice is complete."""

    reason: FinishReason
    choice: int = 0


class Used(msgspec.Struct, frozen=True, tag=True):
    """What the attempt used, or None where the upstream finished without saying; `model_served` is its own name for what answered, `tier`
    its own name for the service tier it served in, and `calls` the tools that it ran itself, with how often, or how much it made of what
    is not counted in tokens."""

    usage: Usage | None
    model_served: str | None = None
    tier: str | None = None
    calls: tuple[tuple[str, int], ...] = ()


class Verbatim(msgspec.Struct, frozen=True, tag=True):
    """Bytes that the upstream already said in the client's own dialect: whole frames of a stream, or one whole answer. `kind` is their
    content type, said with the first of them, where the dialect leaves it open."""

    data: bytes
    kind: str = ""


Said: TypeAlias = Text | Reasoning | ToolCallBegun | ToolCallArguments | Finished | Used | Verbatim
