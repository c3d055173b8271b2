"""A chat request in OpenAI's words, said in Anthropic's: POST /v1/messages, always as a stream.

Each field of the request is in exactly one of four tables: what the gateway itself sees to, what is translated, what is dropped and
reported (the answer is as useful without it), and what is refused (without it the answer would be another one).
"""

from typing import Any

import msgspec

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.wire.anthropic_cache import cached
from headrace.wire.anthropic_generations import Effort, Generation, generation_of
from headrace.wire.anthropic_schema import Narrowed, narrowed
from headrace.wire.anthropic_tools import Tooling, tooling_for
from headrace.wire.anthropic_turns import Conversation, conversation_for
from headrace.wire.openai_chat import ChatRequest, JsonObjectFormat, JsonSchemaFormat


class Translation(msgspec.Struct, frozen=True):
    """The body to send, and what of the request it does not say as it was asked. `betas` are what it takes of Anthropic's betas: names for
    the header `anthropic-beta`."""

    body: bytes
    changes: tuple[Change, ...]
    betas: tuple[str, ...] = ()


class Untranslated(msgspec.Struct, frozen=True):
    """Why a parameter has no equal, and at which values it asks for nothing."""

    why: str
    neutral: tuple[object, ...] = ()


SEEN_TO = ("model", "stream", "stream_options")
TRANSLATED = (
    "messages",
    "max_completion_tokens",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "stop",
    "response_format",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning_effort",
    "service_tier",
    "safety_identifier",
    "prompt_cache_retention",
    "prompt_cache_options",
)
DROPPED = {
    "frequency_penalty": Untranslated("Anthropic has no penalties", (0,)),
    "presence_penalty": Untranslated("Anthropic has no penalties", (0,)),
    "repetition_penalty": Untranslated("Anthropic has no penalties", (1,)),
    "seed": Untranslated("Anthropic takes no seed"),
    "logit_bias": Untranslated("Anthropic takes no biases", ({},)),
    "min_p": Untranslated("Anthropic takes temperature, top_p and top_k only", (0,)),
    "min_tokens": Untranslated("Anthropic has no least length", (0,)),
    "ignore_eos": Untranslated("Anthropic's models end where they end", (False,)),
    "verbosity": Untranslated("Anthropic has no setting for it: say it in the instructions", ("medium",)),
    "prediction": Untranslated("Anthropic takes no predicted output"),
    "audio": Untranslated("no audio was asked for"),
    "store": Untranslated("Anthropic stores no answers", (False,)),
    "metadata": Untranslated("Anthropic keeps no metadata", ({},)),
    "user": Untranslated("it may name a person: 'safety_identifier' is passed on", ("",)),
    "prompt_cache_key": Untranslated("Anthropic finds a cached prompt without a key"),
}
REFUSED = {
    "n": Untranslated("gives one answer at a time", (1,)),
    "logprobs": Untranslated("tells no log probabilities", (False,)),
    "top_logprobs": Untranslated("tells no log probabilities", (0,)),
    "modalities": Untranslated("answers in text only", ([], ["text"])),
    "web_search_options": Untranslated("would search in another way and at its own price"),
    "moderation": Untranslated("does not moderate on demand"),
    "functions": Untranslated("knows no functions beside tools: use 'tools'", ([],)),
    "function_call": Untranslated("knows no functions beside tools: use 'tool_choice'", ("none", "auto")),
}

EFFORTS: dict[str, Effort | None] = {
    "none": None,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
BUDGETS: dict[str, int] = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
BUDGET_MIN = 1_024
BINDING = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
BINDING_BETA = "thinking-binding-controls-2026-08-01"
"""Thoughts that don't hold any more are left out of the prompt, and that is told; else the request would be refused, and a conversation
once edited, by its client or on its way through another dialect, could never go on."""
TOP_P_THINKING_MIN = 0.95


def request_for(asked: ChatRequest, *, model: str, tokens_out_max: int, inference_geo: str | None = None) -> Translation:
    """The request to Anthropic's `model`, for an answer of at most `tokens_out_max` tokens, thoughts included, that is computed in
    `inference_geo` (`us`, `global`; None: wherever the account's settings say).

    Raises NotTranslatable for what must not be dropped, and InvalidRequest for what no vendor would take, naming the field.
    """
    try:
        return _translated(asked, model, tokens_out_max, inference_geo)
    except RecursionError:
        raise InvalidRequest("The request's schemas are nested too deeply.") from None


def _translated(asked: ChatRequest, model: str, tokens_out_max: int, inference_geo: str | None) -> Translation:
    _refuse(asked)
    generation = generation_of(model)
    changes = _dropped(asked)
    off = asked.reasoning_effort == "none" and generation.unthinking in ("disabled", "between_tools")
    conversation = conversation_for(asked.messages, generation, thinks=not (generation.binds and off))
    answer = _answer_schema(asked, generation, changes)
    tooling = tooling_for(asked, generation, conversation.called, answer)
    changes += [*conversation.changes, *tooling.changes]
    thinking, effort = _thinking(asked, generation, conversation, tooling, tokens_out_max, changes)
    betas: tuple[str, ...] = ()
    if generation.binds and conversation.thoughts:
        thinking, betas = {"thinking": thinking.get("thinking", {"type": "adaptive"}) | BINDING}, (BINDING_BETA,)
    body: dict[str, Any] = {"model": model, "max_tokens": tokens_out_max, "stream": True}
    if inference_geo is not None:
        body["inference_geo"] = inference_geo
    if conversation.system:
        body["system"] = conversation.system
    body |= {"messages": conversation.turns} | tooling.members | thinking
    body |= _sampling(asked, generation, thinking, changes) | _stops(asked, generation) | _asides(asked, generation, changes)
    config = ({"effort": effort} if effort else {}) | ({"format": {"type": "json_schema", "schema": answer.schema}} if answer else {})
    if config:
        body["output_config"] = config
    body |= cached(asked, generation, [*tooling.members.get("tools", ()), *conversation.blocks], changes)
    return Translation(msgspec.json.encode(body), tuple(changes), betas)


def _refuse(asked: ChatRequest) -> None:
    for param, row in REFUSED.items():
        value = getattr(asked, param)
        if value is not None and value not in row.neutral:
            raise NotTranslatable(f"Unsupported value for '{param}': Anthropic {row.why}.", param=param)


def _dropped(asked: ChatRequest) -> list[Change]:
    values = [(param, row, getattr(asked, param)) for param, row in DROPPED.items()]
    return [Change("dropped", param, row.why) for param, row, value in values if value is not None and value not in row.neutral]


def _answer_schema(asked: ChatRequest, generation: Generation, changes: list[Change]) -> Narrowed | None:
    """The schema that the answer must keep to. What is enforced only in part is refused where the client wants it strict."""
    param = "response_format"
    match asked.response_format:
        case JsonObjectFormat():
            words = "Anthropic has no mode for any JSON object: ask for a 'json_schema'."
            raise NotTranslatable(f"Unsupported value for '{param}': {words}", param=param)
        case JsonSchemaFormat(json_schema=given):
            if not generation.schemas:
                raise NotTranslatable(f"Unsupported value for '{param}': this model does not enforce schemas.", param=param)
            path = f"{param}.json_schema.schema"
            if given.schema is None:
                raise InvalidRequest(f"Missing required parameter: '{path}'.", param=path)
            answer = narrowed(given.schema, path)
            lost = f"not enforced, but told to the model: {', '.join(answer.lost)}"
            if answer.lost and given.strict:
                raise NotTranslatable(f"Anthropic does not enforce all of '{path}': {', '.join(answer.lost)}.", param=path)
            if answer.lost:
                changes.append(Change("changed", path, lost))
            return answer
        case _:
            return None


def _thinking(
    asked: ChatRequest, generation: Generation, conversation: Conversation, tooling: Tooling, tokens_out_max: int, changes: list[Change]
) -> tuple[dict[str, Any], Effort | None]:
    """The members that ask for thoughts, and the effort. What the client does not say is left to the model."""
    wished = asked.reasoning_effort
    if wished is None:
        return {}, None
    if wished not in EFFORTS:
        names = ", ".join(EFFORTS)
        raise InvalidRequest(f"Invalid value for 'reasoning_effort': it must be one of {names}.", param="reasoning_effort")
    if wished == "none":
        return _unthinking(generation, changes)
    why = ""
    if generation.thinking == "adaptive":
        effort = _effort(wished, generation)
        if effort != wished:
            changes.append(Change("changed", "reasoning_effort", f"{effort} is the nearest that this model has"))
        return {"thinking": {"type": "adaptive", "display": "summarized"}}, effort
    if generation.thinking == "none":
        why = "this model does not think"
    elif tokens_out_max <= BUDGET_MIN:
        why = f"this model thinks only where more than {BUDGET_MIN} tokens may be said"
    elif tooling.forced and generation.claude:
        why = "this model does not think where it must call a tool"
    elif conversation.thoughtless and generation.claude:
        why = "this model goes on thinking only from its own thoughts, and they were not given back"
    if why:
        changes.append(Change("dropped", "reasoning_effort", why))
        return {}, None
    budget = max(BUDGET_MIN, min(BUDGETS[wished], tokens_out_max // 2))
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}, None


def _unthinking(generation: Generation, changes: list[Change]) -> tuple[dict[str, Any], Effort | None]:
    match generation.unthinking:
        case None:
            return {}, None
        case "impossible":
            changes.append(Change("changed", "reasoning_effort", "this model always thinks: low is its least"))
            return {}, "low"
        case how:
            return {"thinking": {"type": how}}, None


def _effort(wished: str, generation: Generation) -> Effort:
    """The wished one, or the next below it that the model has: nobody pays for more thoughts than were asked for."""
    levels = [level for level in EFFORTS.values() if level is not None]
    below = levels[: levels.index(EFFORTS[wished] or "low") + 1]
    return next(level for level in reversed(below) if level in generation.efforts)


def _sampling(asked: ChatRequest, generation: Generation, thinking: dict[str, Any], changes: list[Change]) -> dict[str, Any]:
    """Temperature, top_p and top_k, where the model takes them; at their defaults they ask for nothing."""
    wished: dict[str, float] = {}
    if asked.temperature not in (None, 1):
        wished["temperature"] = asked.temperature
    if asked.top_p not in (None, 1):
        wished["top_p"] = asked.top_p
    if asked.top_k is not None and asked.top_k > 0:
        wished["top_k"] = asked.top_k
    thinks = thinking.get("thinking", {}).get("type") in ("adaptive", "enabled")
    taken: dict[str, float] = {}
    for param, value in wished.items():
        if not generation.sampling:
            why = "this model takes no sampling parameters"
        elif generation.claude and thinks and not (param == "top_p" and value >= TOP_P_THINKING_MIN):
            why = "this model takes it only where it does not think"
        elif param == "top_p" and "temperature" in taken and not generation.sampling_together:
            why = "this model takes either temperature or top_p"
        else:
            taken[param] = value
            continue
        changes.append(Change("dropped", param, why))
    if taken.get("temperature", 0) > 1 and generation.claude:
        taken["temperature"] = 1.0
        changes.append(Change("changed", "temperature", "1 is the highest"))
    return taken


def _stops(asked: ChatRequest, generation: Generation) -> dict[str, Any]:
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    if generation.claude and any(not stop.strip() for stop in stops):
        raise NotTranslatable("Unsupported value for 'stop': Anthropic does not stop at white space.", param="stop")
    return {"stop_sequences": stops} if stops else {}


def _asides(asked: ChatRequest, generation: Generation, changes: list[Change]) -> dict[str, Any]:
    """Who asks, and at which tier."""
    aside: dict[str, Any] = {}
    if asked.safety_identifier:
        aside["metadata"] = {"user_id": asked.safety_identifier}
    if asked.service_tier == "default" and generation.claude:
        aside["service_tier"] = "standard_only"
    elif asked.service_tier not in (None, "auto", "default"):
        changes.append(Change("dropped", "service_tier", "Anthropic serves by what was agreed with it"))
    return aside
