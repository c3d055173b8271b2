"""Google's Gemini: OpenAI's chat request as a call of `streamGenerateContent`, or the reason why it can't be one.

Nothing is dropped in silence: `FIELDS` says of each field of the request what becomes of it. The other halves are `gemini_stream`, which
reads the answer, and `gemini_failure`. Vertex AI takes the same requests at another address.
"""

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.wire.gemini_contents import UNMARKED, Content, Conversation, Part
from headrace.wire.gemini_schema import schema_for
from headrace.wire.openai_chat import ChatRequest, JsonObjectFormat, JsonSchema, JsonSchemaFormat, NamedTool, Tool
from headrace.wire.openai_marks import mark_of

Object: TypeAlias = dict[str, object]
Version: TypeAlias = tuple[int, int]


class Fate(msgspec.Struct, frozen=True):
    """What becomes of a field. `why` completes a sentence for who asked; for a value among `harmless` nothing is lost at all."""

    what: Literal["translated", "dropped", "refused"]
    why: str = ""
    harmless: tuple[object, ...] = ()


TRANSLATED = Fate("translated")

FIELDS: dict[str, Fate] = {
    "model": TRANSLATED,
    "messages": TRANSLATED,
    "stream": TRANSLATED,
    "stream_options": TRANSLATED,
    "max_completion_tokens": TRANSLATED,
    "max_tokens": TRANSLATED,
    "n": Fate("refused", "Gemini streams a single answer", (1,)),
    "temperature": TRANSLATED,
    "top_p": TRANSLATED,
    "frequency_penalty": TRANSLATED,
    "presence_penalty": TRANSLATED,
    "seed": TRANSLATED,
    "stop": TRANSLATED,
    "logprobs": Fate("refused", "Gemini tells no probabilities in a stream", (False,)),
    "top_logprobs": Fate("refused", "Gemini tells no probabilities in a stream", (0,)),
    "logit_bias": Fate("dropped", "Gemini takes no bias of tokens", ({},)),
    "response_format": TRANSLATED,
    "tools": TRANSLATED,
    "tool_choice": TRANSLATED,
    "parallel_tool_calls": TRANSLATED,
    "functions": Fate("refused", "use 'tools' and 'tool_choice' instead", ([],)),
    "function_call": Fate("refused", "use 'tools' and 'tool_choice' instead"),
    "reasoning_effort": TRANSLATED,
    "verbosity": Fate("dropped", "Gemini has no such setting", ("medium",)),
    "modalities": Fate("refused", "this pool answers in text", (["text"],)),
    "audio": Fate("refused", "this pool answers in text"),
    "prediction": Fate("dropped", "Gemini takes no predicted answer"),
    "web_search_options": Fate("refused", "searching the web is not translated, and an answer without it would be another one"),
    "moderation": Fate("refused", "Gemini moderates by rules of its own"),
    "service_tier": Fate("dropped", "the tier is the pool's", ("auto", "default")),
    "store": Fate("dropped", "answers are not stored", (False,)),
    "metadata": Fate("dropped", "Gemini keeps no notes about an answer", ({},)),
    "user": Fate("dropped", "Gemini takes no names of users"),
    "safety_identifier": Fate("dropped", "Gemini takes no names of users"),
    "prompt_cache_key": Fate("dropped", UNMARKED),
    "prompt_cache_retention": Fate("dropped", UNMARKED),
    "prompt_cache_options": Fate("dropped", UNMARKED, ({},)),
    "top_k": TRANSLATED,
    "min_p": Fate("dropped", "Gemini has no such setting", (0,)),
    "repetition_penalty": Fate("dropped", "Gemini has no such setting", (1,)),
    "min_tokens": Fate("dropped", "Gemini can't be made to go on", (0,)),
    "ignore_eos": Fate("dropped", "Gemini can't be made to go on", (False,)),
}
"""Each field of `ChatRequest`, once."""

BUDGETS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576}
"""Tokens to think with, by Google's own table for clients of OpenAI: what Gemini 2.5 is told."""
BUDGET_LEAST = 128
"""Less than this the Pro model of 2.5 does not think."""
LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
"""How much to think: what Gemini 3 and later are told."""
MOST = "xhigh"
"""OpenAI's effort above those that Gemini knows."""

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_KNOWS_MINIMAL = re.compile(r"gemini-3(\.[0-6])?-flash|flash-lite")
"""The least level is not known to every model; the one above it is."""
THINKS: Version = (2, 5)
SIGNS: Version = (3, 0)
"""From here on models sign their calls and want the signatures back, are told levels, and check calls by their schemas."""
NEWEST: Version = (99, 0)
SEED_MAX = 2**31


class Translation(msgspec.Struct, frozen=True):
    """The vendor's request, and what it could not say as it was asked. Only the first `calls_max` calls of the answer may be passed on."""

    body: bytes
    changes: tuple[Change, ...] = ()
    calls_max: int | None = None


def request_for(asked: ChatRequest, *, model: str, tokens_out_max: int) -> Translation:
    """`asked` as Gemini's model `model` shall get it. Raises NotTranslatable or InvalidRequest, naming the field."""
    version = _version(model)
    changes = _unsaid(asked)
    talk = Conversation(signed=version >= SIGNS)
    for at, message in enumerate(asked.messages):
        talk.add(message, f"messages[{at}]")
    changes += talk.changes
    body: Object = _said(talk, changes)
    if asked.tools:
        body["tools"] = [{"functionDeclarations": _declarations(asked.tools, changes)}]
    if config := _tool_config(asked, version, changes):
        body["toolConfig"] = {"functionCallingConfig": config}
    body["generationConfig"] = _generation(asked, model, version, tokens_out_max, changes)
    calls_max = 1 if asked.parallel_tool_calls is False else None
    try:
        return Translation(msgspec.json.encode(body), tuple(changes), calls_max)
    except RecursionError:
        raise InvalidRequest("The request is nested too deeply.") from None


def _version(model: str) -> Version:
    """The generation of a model by its name; what does not tell it (`gemini-flash-latest`, a tuned model) is one of the newest."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else NEWEST


def _unsaid(asked: ChatRequest) -> list[Change]:
    """What is dropped. Raises NotTranslatable for what must not be."""
    changes: list[Change] = []
    for name, fate in FIELDS.items():
        value = getattr(asked, name)
        if fate.what == "translated" or value is None or value in fate.harmless:
            continue
        if fate.what == "refused":
            raise NotTranslatable(f"'{name}' can't be translated for Gemini: {fate.why}.", param=name)
        changes.append(Change("dropped", name, fate.why))
    return changes


def _said(talk: Conversation, changes: list[Change]) -> Object:
    if talk.contents or not talk.instructions:
        return {"contents": talk.contents} | ({"systemInstruction": {"parts": talk.instructions}} if talk.instructions else {})
    changes.append(Change("changed", "messages", "Gemini needs a user's words, so the instructions are said as such"))
    return {"contents": [Content("user", talk.instructions)]}


# ------------------------------------------------------------------------------------------------------------------------- tools


def _declarations(tools: Sequence[Tool], changes: list[Change]) -> list[Part]:
    declared: list[Part] = []
    for at, tool in enumerate(tools):
        function, path = tool.function, f"tools[{at}].function.parameters"
        if (mark := mark_of(tool, f"tools[{at}]")) is not None:
            changes.append(Change("dropped", mark.param, UNMARKED))
        declaration: Part = {"name": function.name}
        if function.description is not None:
            declaration["description"] = function.description
        if function.parameters is not None:
            declaration["parametersJsonSchema"], ignored = schema_for(function.parameters, path)
            if function.strict:
                changes += [Change("changed", where, "Gemini does not enforce this of a schema") for where in ignored]
        declared.append(declaration)
    return declared


def _tool_config(asked: ChatRequest, version: Version, changes: list[Change]) -> Object | None:
    tools, choice = asked.tools or [], asked.tool_choice
    if isinstance(choice, NamedTool):
        name = choice.function.name
        if all(tool.function.name != name for tool in tools):
            raise InvalidRequest(f"Invalid value for 'tool_choice': there is no tool '{name}'.", param="tool_choice")
        return {"mode": "ANY", "allowedFunctionNames": [name]}
    if not tools:
        if choice == "required":
            raise InvalidRequest("Invalid value for 'tool_choice': 'required' needs 'tools'.", param="tool_choice")
        return None
    if choice in ("required", "none"):
        return {"mode": "ANY" if choice == "required" else "NONE"}
    strict = [at for at, tool in enumerate(tools) if tool.function.strict]
    if strict and len(strict) == len(tools) and version >= SIGNS:
        return {"mode": "VALIDATED"}
    why = "this model checks calls of its own choice only when it is a Gemini 3 and every tool is strict"
    changes += [Change("dropped", f"tools[{at}].function.strict", why) for at in strict]
    return {"mode": "AUTO"}


# -------------------------------------------------------------------------------------------------------------------- generation


def _generation(asked: ChatRequest, model: str, version: Version, tokens_out_max: int, changes: list[Change]) -> Object:
    told: Object = {
        "maxOutputTokens": tokens_out_max,
        "temperature": asked.temperature,
        "topP": asked.top_p,
        "topK": asked.top_k if (asked.top_k or 0) > 0 else None,  # vLLM's 0 and -1 mean all tokens
        "frequencyPenalty": asked.frequency_penalty,
        "presencePenalty": asked.presence_penalty,
        "seed": _seed(asked.seed, changes),
        "stopSequences": [asked.stop] if isinstance(asked.stop, str) else asked.stop or None,
        "thinkingConfig": _thinking(asked.reasoning_effort, model, version, changes),
    }
    if isinstance(asked.response_format, JsonObjectFormat | JsonSchemaFormat):
        told["responseMimeType"] = "application/json"
    if isinstance(asked.response_format, JsonSchemaFormat):
        told["responseJsonSchema"] = _answer_schema(asked.response_format.json_schema, changes)
    return {name: value for name, value in told.items() if value is not None}


def _seed(seed: int | None, changes: list[Change]) -> int | None:
    if seed is None or -SEED_MAX <= seed < SEED_MAX:
        return seed
    changes.append(Change("changed", "seed", "Gemini's are of 32 bits, so it is folded into 31"))
    return seed % SEED_MAX


def _answer_schema(wanted: JsonSchema, changes: list[Change]) -> Object | None:
    if wanted.schema is None:
        return None
    schema, ignored = schema_for(wanted.schema, "response_format.json_schema.schema")
    if ignored and wanted.strict:
        raise NotTranslatable(f"Gemini does not enforce '{ignored[0]}', which a strict schema demands.", param=ignored[0])
    changes += [Change("changed", where, "Gemini does not enforce this of a schema") for where in ignored]
    return schema


def _thinking(effort: str | None, model: str, version: Version, changes: list[Change]) -> Object | None:
    if effort is None:
        return None
    if effort not in LEVELS and effort != MOST:
        known = ", ".join([*LEVELS, MOST])
        raise InvalidRequest(f"Invalid value for 'reasoning_effort': one of {known} is expected, not {effort!r}.", param="reasoning_effort")
    if version < THINKS:
        if effort != "none":
            changes.append(Change("dropped", "reasoning_effort", "this model does not think before it answers"))
        return None
    if effort == MOST:
        changes.append(Change("changed", "reasoning_effort", "Gemini's most is 'high'"))
        effort = "high"
    shown: Object = {"includeThoughts": effort != "none"}
    return shown | (_level(effort, model, changes) if version >= SIGNS else _budget(effort, model, changes))


def _level(effort: str, model: str, changes: list[Change]) -> Object:
    level = LEVELS[effort]
    if level == "MINIMAL" and not _KNOWS_MINIMAL.search(model):
        level = "LOW"
    if level.lower() != effort:
        changes.append(Change("changed", "reasoning_effort", f"this model's least is '{level.lower()}'"))
    return {"thinkingLevel": level}


def _budget(effort: str, model: str, changes: list[Change]) -> Object:
    if effort == "none" and "-pro" in model:
        changes.append(Change("changed", "reasoning_effort", f"this model's least is to think with {BUDGET_LEAST} tokens"))
        return {"thinkingBudget": BUDGET_LEAST}
    return {"thinkingBudget": BUDGETS[effort]}
