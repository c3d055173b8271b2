"""What of a prompt is kept in Anthropic's cache: up to the blocks that the client marks, and to its end where the client asks for that."""

from collections.abc import Sequence
from typing import Any

from headrace.core.translation import Change
from headrace.wire.anthropic_generations import Generation
from headrace.wire.openai_chat import ChatRequest
from headrace.wire.openai_marks import Kept, Mark, settled

NOT_KNOWN = "only Anthropic's own models are known to take it"


def cached(asked: ChatRequest, generation: Generation, blocks: Sequence[dict[str, Any]], changes: list[Change]) -> dict[str, Any]:
    """The member that keeps the prompt to its end, if that is asked for. `blocks` are all of the prompt in their order: the `Mark` that
    some bear as `cache_control` becomes what Anthropic is told, or goes."""
    marked = [block for block in blocks if "cache_control" in block]
    marks: list[Mark] = [block.pop("cache_control") for block in marked]
    usual, end = _end(asked)
    if asked.prompt_cache_options is not None and asked.prompt_cache_retention is not None:
        changes.append(Change("dropped", "prompt_cache_retention", "prompt_cache_options says how long it is kept"))
    if not generation.claude:
        changes += [Change("dropped", mark.param, NOT_KNOWN) for mark in [*marks, *([usual] if usual else [])]]
        return {}
    if end is not None and marked and marked[-1] is blocks[-1]:
        end = None  # the client has marked it, and a second mark there is refused
    times, more = settled([*marks, *([end] if end else [])], usual, hour=True)
    changes += more
    for block, kept in zip(marked, times, strict=False):
        if kept is not None:
            block["cache_control"] = _control(kept)
    if end is None or (kept := times[-1]) is None:
        return {}
    return {"cache_control": _control(kept)}


def _end(asked: ChatRequest) -> tuple[Mark | None, Mark | None]:
    """What the request says of its cache as a whole, and that again where it says that the whole prompt shall be kept."""
    options = asked.prompt_cache_options
    if options is not None:
        ttl = options.get("ttl")
        whole = Mark("prompt_cache_options", None if ttl is None else str(ttl))
        return whole, None if options.get("mode") == "explicit" else whole
    if asked.prompt_cache_retention is not None:
        whole = Mark("prompt_cache_retention", asked.prompt_cache_retention)
        return whole, whole
    return None, None


def _control(kept: Kept) -> dict[str, Any]:
    return {"type": "ephemeral", "ttl": kept}
