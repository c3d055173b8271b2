"""What a guardrail is asked and what it may say: a small pure function from a passage of text to a verdict.

    def no_code_names(passage: Passage) -> Verdict:
        at = passage.text.find("Bluebird")
        return Allow() if at < 0 else Redact(((at, at + 8, "[PROJECT]"),), "a code name")

Of a streamed answer it is asked again and again, each time with a window that begins a little before what was not passed on yet.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

Way: TypeAlias = Literal["input", "output"]


class Passage(msgspec.Struct, frozen=True):
    """A text on its way: of a message in `role`, or as `embedding`; of an answer by the `assistant`, its `tool_call`s and `thought`s."""

    text: str
    way: Way
    role: str


class Allow(msgspec.Struct, frozen=True, tag=True):
    """It may pass as it is."""


class Redact(msgspec.Struct, frozen=True, tag=True):
    """It may pass with these parts exchanged: from, to, by what; they don't overlap and stand in their order. `why` says what they were."""

    spans: tuple[tuple[int, int, str], ...]
    why: str


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """It may not pass, and neither may what comes after it."""

    why: str


Verdict: TypeAlias = Allow | Redact | Refuse
Guard: TypeAlias = Callable[[Passage], Verdict]
