"""A response before anything was said: what it was asked for, said again in full, as OpenAI's clients expect to read it."""

from collections.abc import Sequence
from typing import Any

import msgspec

from headrace.wire.responses_request import ResponsesRequest


def head_for(asked: ResponsesRequest, *, id: str, created_s: int) -> dict[str, Any]:
    """The response of `id` to what was asked."""
    return {
        "id": id,
        "object": "response",
        "created_at": created_s,
        "completed_at": None,
        "status": "in_progress",
        "background": bool(asked.background),
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "max_tool_calls": asked.max_tool_calls,
        "model": asked.model,
        "output": [],
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": asked.previous_response_id,
        "conversation": {"id": asked.conversation_id} if asked.conversation_id else None,
        "prompt_cache_key": asked.prompt_cache_key,
        "prompt_cache_retention": asked.prompt_cache_retention,
        "reasoning": _reasoning(asked),
        "safety_identifier": asked.safety_identifier,
        "service_tier": "default",
        "store": asked.stored,
        "temperature": 1.0 if asked.temperature is None else asked.temperature,
        "text": _text(asked),
        "tool_choice": asked.tool_choice or "auto",
        "tools": [tool_object(tool) for tool in asked.tools or ()],
        "top_logprobs": asked.top_logprobs or 0,
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "truncation": asked.truncation or "disabled",
        "usage": None,
        "user": asked.user,
        "metadata": asked.metadata or {},
    }


def _reasoning(asked: ResponsesRequest) -> dict[str, Any]:
    told = asked.reasoning
    summary = (told.summary or told.generate_summary) if told else None
    return {"effort": told.effort if told else None, "summary": summary}


def _text(asked: ResponsesRequest) -> dict[str, Any]:
    config = asked.text
    format: dict[str, Any] = {"type": "text"}
    if config is not None and config.format is not None:
        format = {name: value for name, value in msgspec.structs.asdict(config.format).items() if value is not None}
    verbosity = config.verbosity if config is not None and config.verbosity else "medium"
    return {"format": format, "verbosity": verbosity}


def tool_object(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as it is said again: a function with all of its members."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": True} | tool


def numbered(items: Sequence[dict[str, Any]], new_id: str) -> list[dict[str, Any]]:
    """The items as they are kept and listed: each with an id, and a message with its parts."""
    return [_kept(item, f"{new_id}{at:04x}") for at, item in enumerate(items)]


PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "function_call_output": "fco"}


def _kept(item: dict[str, Any], id: str) -> dict[str, Any]:
    kind = str(item.get("type") or "message")
    kept: dict[str, Any] = {"id": f"{PREFIXES.get(kind, 'item')}_{id}", **item, "type": kind}
    kept["id"] = kept["id"] or f"{PREFIXES.get(kind, 'item')}_{id}"
    if kind == "message":
        role = kept.setdefault("role", "user")
        if isinstance(kept.get("content"), str):
            part = "output_text" if role == "assistant" else "input_text"
            more: dict[str, Any] = {"annotations": [], "logprobs": []} if role == "assistant" else {}
            kept["content"] = [{"type": part, "text": kept["content"], **more}]
    if kind in ("message", "function_call", "function_call_output"):
        kept["status"] = kept.get("status") or "completed"
    return kept
