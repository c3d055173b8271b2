"""Where a client marks that a cached prompt may end, in OpenAI's words (`prompt_cache_breakpoint`) or in Anthropic's (`cache_control`), and
the rules by which the caches of Anthropic and Bedrock take marks.

Their rules are the same: at most four marks in a request, what is marked is kept for five minutes or an hour, and along the prompt (tools,
instructions, messages) the longer times come first. Read in November 2026: Anthropic's "Prompt caching", AWS's CachePointBlock.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from headrace.core.translation import Change
from headrace.wire.openai_chat import AudioPart, FilePart, ImagePart, Message, Part, TextPart, Tool

Kept: TypeAlias = Literal["5m", "1h"]
"""How long what is marked is kept, at least."""

MARKS_MAX = 4
KEPT: dict[str, Kept] = {"in_memory": "5m", "in-memory": "5m", "5m": "5m", "1h": "1h"}
"""By the times that clients name. Who names another has it for the longer one."""


class Mark(msgspec.Struct, frozen=True):
    """`param` is the request's field that marks; `ttl` how long the prompt shall be kept, None where that is not said."""

    param: str
    ttl: str | None = None


def mark_of(marked: Part | Tool | Message, path: str) -> Mark | None:
    """The mark at a part, a tool, or a message, whose end it is; `path` is where that stands."""
    if isinstance(marked, TextPart | ImagePart | AudioPart | FilePart) and marked.prompt_cache_breakpoint is not None:
        return _mark(f"{path}.prompt_cache_breakpoint", marked.prompt_cache_breakpoint)
    if isinstance(marked, TextPart | ImagePart | AudioPart | FilePart | Tool | Message) and marked.cache_control is not None:
        return _mark(f"{path}.cache_control", marked.cache_control)
    return None


def _mark(param: str, said: dict[str, object]) -> Mark:
    ttl = said.get("ttl")
    return Mark(param, None if ttl is None else str(ttl))


def settled(marks: Sequence[Mark], usual: Mark | None, *, hour: bool) -> tuple[list[Kept | None], list[Change]]:
    """How long what each of `marks` ends is kept, None for one that is one too many, and what of that is not as it was asked.

    `marks` stand in the order of the prompt; the last ones are taken, since what ends there holds all that is before. `usual` is the
    request's own word about the time, for marks that say none; `hour` is whether the model keeps anything for that long.
    """
    changes = [Change("dropped", mark.param, f"a request has {MARKS_MAX} marks at most") for mark in marks[:-MARKS_MAX]]
    taken = marks[-MARKS_MAX:]
    usually: Kept = "5m"
    if usual is not None and any(mark.ttl is None for mark in taken):
        usually = _kept(usual, "5m", hour, changes)
    times = [_kept(mark, usually, hour, changes) for mark in taken]
    longest: Kept = "5m"
    for at in reversed(range(len(times))):
        if times[at] == "5m" and longest == "1h":
            times[at] = "1h"  # at no price: all that is before an hour's mark is written for the hour
            if taken[at].ttl is not None:
                changes.append(Change("changed", taken[at].param, "it is kept for 1h, as what is marked behind it"))
        longest = times[at]
    return [*([None] * (len(marks) - len(taken))), *times], changes


def _kept(mark: Mark, usually: Kept, hour: bool, changes: list[Change]) -> Kept:
    if mark.ttl is None:
        return usually
    kept = KEPT.get(mark.ttl, "1h") if hour else "5m"
    if KEPT.get(mark.ttl) != kept:
        changes.append(Change("changed", mark.param, f"it is kept for {kept}"))
    return kept
