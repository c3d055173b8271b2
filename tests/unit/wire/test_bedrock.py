"""OpenAI's chat requests as requests to Bedrock's Converse: what is said how, what is reported, and what is refused."""

import json
import re
from collections.abc import Sequence

import pytest

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.wire.bedrock import DROPPED, REFUSED, TRANSLATED, path_for, request_for, url_for
from headrace.wire.bedrock_models import UNKNOWN, traits_of
from headrace.wire.openai_chat import ChatRequest
from tests.unit.wire.bedrock_requests import (
    GPT,
    HI,
    LLAMA,
    NOVA,
    NOVA_2,
    OLD,
    OPUS_46,
    OPUS_47,
    OPUS_55,
    QWEN,
    SAID_HI,
    SONNET_4,
    SONNET_5,
    SONNET_45,
    TOLD_WEATHER,
    WEATHER,
    asked,
    called,
    told,
    user,
)

# ------------------------------------------------------------------------------------------------------------------ every field


def test_every_field_is_in_one_table():
    tables = [*TRANSLATED, *DROPPED, *REFUSED]
    assert sorted(tables) == sorted(ChatRequest.__struct_fields__)


def test_the_least_request():
    assert told(asked()) == ({"messages": [SAID_HI], "inferenceConfig": {"maxTokens": 4_096}}, [])


NEUTRAL = {
    "n": 1, "frequency_penalty": 0, "presence_penalty": 0.0, "repetition_penalty": 1, "logit_bias": {}, "min_p": 0, "min_tokens": 0,
    "ignore_eos": False, "parallel_tool_calls": True, "store": False, "metadata": {}, "logprobs": False, "top_logprobs": 0,
    "modalities": ["text"], "functions": [], "function_call": "auto", "stream": True, "stream_options": {"include_usage": True},
    "max_tokens": 7, "max_completion_tokens": 7, "stop": [], "tools": [], "tool_choice": "auto", "response_format": {"type": "text"},
    "reasoning_effort": "none", "service_tier": "auto", "top_k": -1,
}  # fmt: skip


def test_what_says_nothing_changes_nothing():
    assert told(asked(**NEUTRAL)) == told(asked())


SPOKEN = {
    "frequency_penalty": 0.5, "presence_penalty": -1, "repetition_penalty": 1.1, "seed": 0, "logit_bias": {"1": 5}, "min_p": 0.1,
    "min_tokens": 5, "ignore_eos": True, "parallel_tool_calls": False, "verbosity": "low", "prediction": {"type": "content"},
    "store": True, "metadata": {"a": "b"}, "user": "u", "safety_identifier": "u", "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
}  # fmt: skip


def test_each_dropped_field_is_reported_with_its_reason():
    assert SPOKEN.keys() == DROPPED.keys()
    for name, value in SPOKEN.items():
        assert told(asked(**{name: value})) == (told(asked())[0], [(f"dropped {name}", DROPPED[name][1])])


WRONG_WITHOUT = {
    "n": 2, "logprobs": True, "top_logprobs": 3, "modalities": ["text", "audio"], "audio": {"voice": "a"}, "functions": [{"name": "f"}],
    "function_call": {"name": "f"}, "web_search_options": {}, "moderation": {"model": "m"},
}  # fmt: skip


def test_each_field_that_an_answer_would_be_wrong_without_is_refused():
    assert WRONG_WITHOUT.keys() == REFUSED.keys()
    for name, value in WRONG_WITHOUT.items():
        with pytest.raises(NotTranslatable, match=re.escape(REFUSED[name][1])) as refused:
            told(asked(**{name: value}))
        assert refused.value.param == name


# ----------------------------------------------------------------------------------------------------------------------- tools

STRICT = {"type": "function", "function": {"name": "f", "strict": True}}
EMPTY = {"json": {"type": "object", "properties": {}}}
CALLED: list[dict[str, object]] = [
    HI,
    {"role": "assistant", "tool_calls": [called()]},
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]
FORCED = {"type": "function", "function": {"name": "weather"}}

TOOLS = [
    # fields                                               model   toolConfig
    ({"tools": [WEATHER]}, NOVA, {"tools": [TOLD_WEATHER]}),
    ({"tools": [WEATHER], "tool_choice": "auto"}, NOVA, {"tools": [TOLD_WEATHER]}),
    ({"tools": [WEATHER], "tool_choice": "required"}, NOVA, {"tools": [TOLD_WEATHER], "toolChoice": {"any": {}}}),
    ({"tools": [WEATHER], "tool_choice": FORCED}, NOVA, {"tools": [TOLD_WEATHER], "toolChoice": {"tool": {"name": "weather"}}}),
    ({"tools": [WEATHER], "tool_choice": "none"}, NOVA, None),
    ({"tools": [STRICT]}, SONNET_45, {"tools": [{"toolSpec": {"name": "f", "inputSchema": EMPTY, "strict": True}}]}),
]


@pytest.mark.parametrize(("fields", "model", "config"), TOOLS)
def test_tools(fields: dict[str, object], model: str, config: object):
    body, changes = told(asked(**fields), model)
    assert (body.get("toolConfig"), changes) == (config, [])


def test_a_model_that_can_not_be_held_to_a_schema_is_given_the_tool_without():
    body, changes = told(asked(tools=[WEATHER, STRICT]), NOVA)
    assert body["toolConfig"] == {"tools": [TOLD_WEATHER, {"toolSpec": {"name": "f", "inputSchema": EMPTY}}]}
    assert changes == [("dropped tools[1].function.strict", "this model can't be held to a schema")]


@pytest.mark.parametrize(("fields", "param"), [({"tools": [WEATHER], "tool_choice": "none"}, "tool_choice"), ({}, "tools")])
def test_after_a_call_tools_can_not_be_left_out(fields: dict[str, object], param: str):
    with pytest.raises(NotTranslatable, match="must offer tools") as refused:
        told(asked(*CALLED, **fields))
    assert refused.value.param == param


@pytest.mark.parametrize("choice", ["required", FORCED])
def test_a_model_that_can_not_be_made_to_call_a_tool(choice: object):
    with pytest.raises(NotTranslatable, match="can't be made to call") as refused:
        told(asked(tools=[WEATHER], tool_choice=choice), OPUS_55)
    assert refused.value.param == "tool_choice"


@pytest.mark.parametrize("choice", ["required", FORCED])
def test_a_forced_call_needs_a_tool(choice: object):
    with pytest.raises(InvalidRequest) as refused:
        told(asked(tool_choice=choice))
    assert refused.value.param == "tool_choice"


# ------------------------------------------------------------------------------------------------------------------- thinking


def adaptive(effort: str) -> dict[str, object]:
    return {"outputConfig": {"effort": effort}, "additionalModelRequestFields": {"thinking": {"type": "adaptive"}}}


def budget(tokens: int) -> dict[str, object]:
    return {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": tokens}}}


def nova(effort: str) -> dict[str, object]:
    return {"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}}


NEAREST = "the nearest that this model knows is {}"
NEAREST_NOVA = "the nearest that this model knows within a bound of tokens is {}"
THINKING: list[tuple[str, str, dict[str, object], str | None]] = [
    # model    effort     said                            reported
    (SONNET_4, "none", {}, None),
    (SONNET_4, "minimal", budget(2_000), None),
    (SONNET_4, "low", budget(2_000), None),
    (SONNET_45, "medium", budget(5_000), None),
    (SONNET_45, "high", budget(8_000), None),
    (SONNET_45, "xhigh", budget(8_000), None),
    (OPUS_46, "none", {}, None),
    (OPUS_46, "minimal", adaptive("low"), NEAREST.format("low")),
    (OPUS_46, "medium", adaptive("medium"), None),
    (OPUS_46, "xhigh", adaptive("high"), NEAREST.format("high")),
    (OPUS_46, "max", adaptive("max"), None),
    (OPUS_47, "none", {}, None),
    (OPUS_47, "max", adaptive("max"), None),
    (SONNET_5, "none", {"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}, None),
    (OPUS_55, "none", {"outputConfig": {"effort": "low"}}, NEAREST.format("low")),
    (SONNET_5, "high", adaptive("high"), None),
    (SONNET_5, "xhigh", adaptive("xhigh"), None),
    (NOVA_2, "none", {}, None),
    (NOVA_2, "minimal", nova("low"), NEAREST_NOVA.format("low")),
    (NOVA_2, "low", nova("low"), None),
    (NOVA_2, "medium", nova("medium"), None),
    (NOVA_2, "high", nova("medium"), NEAREST_NOVA.format("medium")),
    (GPT, "none", {"additionalModelRequestFields": {"reasoning_effort": "none"}}, None),
    (GPT, "low", {"additionalModelRequestFields": {"reasoning_effort": "low"}}, None),
    (GPT, "max", {"additionalModelRequestFields": {"reasoning_effort": "high"}}, NEAREST.format("high")),
    (LLAMA, "none", {}, None),
    (LLAMA, "high", {}, "this model can't be told how much to think"),
    (OLD, "low", {}, "this model can't be told how much to think"),
]


@pytest.mark.parametrize(("model", "effort", "said", "why"), THINKING)
def test_how_much_to_think(model: str, effort: str, said: dict[str, object], why: str | None):
    body, changes = told(asked(reasoning_effort=effort), model, 10_000)
    assert body == {"messages": [SAID_HI], "inferenceConfig": {"maxTokens": 10_000}} | said
    assert [reason for _, reason in changes] == ([why] if why else [])
    assert all(what.endswith(" reasoning_effort") for what, _ in changes)


@pytest.mark.parametrize(("tokens_out_max", "tokens"), [(1_025, 1_024), (1_024, None), (500, None)])
def test_a_budget_fits_into_the_answer(tokens_out_max: int, tokens: int | None):
    body, changes = told(asked(reasoning_effort="low"), SONNET_45, tokens_out_max)
    assert body.get("additionalModelRequestFields") == (budget(tokens)["additionalModelRequestFields"] if tokens else None)
    assert bool(changes) == (tokens is None)


THOUGHT = [{"type": "reasoning.text", "text": "hm", "signature": "s"}]
AGAIN: list[tuple[str, Sequence[object], bool]] = [
    # model     conversation                                             it thinks
    (SONNET_45, CALLED, False),
    (OPUS_46, CALLED, True),
    (SONNET_45, [HI, CALLED[1] | {"reasoning_details": THOUGHT}, CALLED[2]], True),
    (SONNET_45, [*CALLED, {"role": "assistant", "content": "rain"}, HI], True),
]


@pytest.mark.parametrize(("model", "messages", "thinks"), AGAIN)
def test_thinking_between_a_call_and_its_answer(model: str, messages: Sequence[object], thinks: bool):
    body, changes = told(asked(*messages, tools=[WEATHER], reasoning_effort="high"), model)
    assert ("additionalModelRequestFields" in body) == thinks
    dropped = ("dropped reasoning_effort", "the thoughts before the last tool call were not given back")
    assert changes == ([] if thinks else [dropped])


def test_an_effort_that_is_none():
    with pytest.raises(InvalidRequest, match="one of none, minimal, low") as refused:
        told(asked(reasoning_effort="much"))
    assert refused.value.param == "reasoning_effort"


@pytest.mark.parametrize("model", [SONNET_45, SONNET_5])
def test_a_forced_call_comes_without_thinking(model: str):
    body, changes = told(asked(reasoning_effort="high", tools=[WEATHER], tool_choice="required"), model)
    assert "additionalModelRequestFields" not in body
    assert changes == [("dropped reasoning_effort", "this model does not think before a call that is forced")]


# ------------------------------------------------------------------------------------------------------------------- sampling

UNTAKEN = "this model does not take it"
THINKS = "this model does not take it while it thinks"
SAMPLING: list[tuple[str, dict[str, object], dict[str, object], list[tuple[str, str]]]] = [
    # model     asked                                    said                                   reported
    (NOVA, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "topP": 0.9}, []),
    (NOVA, {"temperature": 1.5}, {"temperature": 1.0}, [("changed temperature", "1 is the most here")]),
    (NOVA, {"stop": "\n\n"}, {"stopSequences": ["\n\n"]}, []),
    (NOVA, {"stop": ["a", "", "b"]}, {"stopSequences": ["a", "b"]}, []),
    (NOVA, {"top_k": 5}, {"beside": {"inferenceConfig": {"topK": 5}}}, []),
    (SONNET_4, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "topP": 0.9}, []),
    (SONNET_45, {"temperature": 0}, {"temperature": 0.0}, []),
    (SONNET_45, {"top_p": 0.9}, {"topP": 0.9}, []),
    (SONNET_45, {"top_k": 5}, {"beside": {"top_k": 5}}, []),
    (SONNET_45, {"temperature": 0.5, "top_p": 1}, {"temperature": 0.5}, []),
    (
        SONNET_45,
        {"temperature": 0.5, "top_p": 0.9},
        {"temperature": 0.5},
        [("dropped top_p", "this model takes either a temperature or top_p")],
    ),
    (SONNET_5, {"temperature": 1, "top_p": 1}, {}, []),
    (
        SONNET_5,
        {"temperature": 0.5, "top_p": 0.9, "top_k": 1},
        {},
        [("dropped temperature", UNTAKEN), ("dropped top_p", UNTAKEN), ("dropped top_k", UNTAKEN)],
    ),
    (LLAMA, {"temperature": 0.5, "top_p": 0.9, "top_k": 5}, {"temperature": 0.5, "topP": 0.9}, [("dropped top_k", UNTAKEN)]),
    (LLAMA, {"top_k": 0}, {}, []),
    (
        OPUS_46,
        {"reasoning_effort": "low", "temperature": 0.5, "top_p": 0.9, "top_k": 5},
        {"beside": {"thinking": {"type": "adaptive"}}},
        [("dropped temperature", THINKS), ("dropped top_p", THINKS), ("dropped top_k", THINKS)],
    ),
    (
        OPUS_46,
        {"reasoning_effort": "low", "temperature": 1, "top_p": 0.95},
        {"topP": 0.95, "beside": {"thinking": {"type": "adaptive"}}},
        [],
    ),
]


@pytest.mark.parametrize(("model", "fields", "said", "changes"), SAMPLING)
def test_how_words_are_chosen(model, fields, said, changes):
    body, reported = told(asked(**fields), model)
    beside = said.pop("beside", None) if "beside" in (said := dict(said)) else None
    assert body["inferenceConfig"] == {"maxTokens": 4_096} | said
    assert body.get("additionalModelRequestFields") == beside
    assert reported == changes


# -------------------------------------------------------------------------------------------------------------- form and tier

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def formed(**schema: object) -> dict[str, object]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", **schema}}}


def test_an_answer_by_a_schema():
    body, changes = told(asked(**formed(schema=SCHEMA, strict=True, description="what")))
    structure = {"jsonSchema": {"name": "answer", "schema": json.dumps(SCHEMA, separators=(",", ":")), "description": "what"}}
    assert body["outputConfig"] == {"textFormat": {"type": "json_schema", "structure": structure}}
    assert changes == []


def test_a_schema_and_an_effort_stand_side_by_side():
    body, _ = told(asked(**formed(schema=SCHEMA), reasoning_effort="low"), OPUS_46)
    output = body["outputConfig"]
    assert isinstance(output, dict)
    assert output.keys() == {"effort", "textFormat"}


@pytest.mark.parametrize(
    ("fields", "model", "param"),
    [
        ({"response_format": {"type": "json_object"}}, SONNET_45, "response_format"),
        (formed(), SONNET_45, "response_format.json_schema.schema"),
        (formed(schema=SCHEMA), NOVA, "response_format"),
        (formed(schema=SCHEMA), SONNET_4, "response_format"),
    ],
)
def test_json_that_can_not_be_promised(fields: dict[str, object], model: str, param: str):
    with pytest.raises(NotTranslatable) as refused:
        told(asked(**fields), model)
    assert refused.value.param == param


@pytest.mark.parametrize(("tier", "said"), [("default", "default"), ("flex", "flex"), ("priority", "priority")])
def test_a_service_tier(tier: str, said: str):
    body, changes = told(asked(service_tier=tier))
    assert (body["serviceTier"], changes) == ({"type": said}, [])


def test_a_tier_that_is_not_bedrocks():
    body, changes = told(asked(service_tier="scale"))
    assert "serviceTier" not in body
    assert changes == [("dropped service_tier", "Bedrock's tiers are default, flex and priority")]


CACHE = [
    # model      options                               what is marked                    reported
    (SONNET_45, {"mode": "implicit"}, {"type": "default"}, []),
    (SONNET_45, {"ttl": "1h"}, {"type": "default", "ttl": "1h"}, []),
    (SONNET_45, {"ttl": "5m"}, {"type": "default"}, []),
    (SONNET_45, {"ttl": "30m"}, {"type": "default", "ttl": "1h"}, ["changed prompt_cache_options"]),
    (NOVA, {"ttl": "1h"}, {"type": "default"}, ["changed prompt_cache_options"]),
    (SONNET_4, {"ttl": "1h"}, {"type": "default"}, ["changed prompt_cache_options"]),
    (SONNET_45, {"mode": "explicit"}, None, []),
    (LLAMA, {"mode": "implicit"}, None, ["dropped prompt_cache_options"]),
]


@pytest.mark.parametrize(("model", "options", "point", "changes"), CACHE)
def test_the_end_of_the_prompt_is_marked_for_the_cache(model, options, point, changes):
    body, reported = told(asked(prompt_cache_options=options), model)
    assert body["messages"] == [user({"text": "hi"}, *([{"cachePoint": point}] if point else []))]
    assert [what for what, _ in reported] == changes


# ------------------------------------------------------------------------------------------------------------ models and paths

KNOWN = [
    # model                                                    ours             thinking    samples  schemas  cache inside
    ("anthropic.claude-instant-v1", "x", "unsaid", True, False, False),
    ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "x", "unsaid", True, False, False),
    ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "x", "budget", True, False, False),
    ("us.anthropic.claude-opus-4-1-20250805-v1:0", "x", "budget", True, False, False),
    ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "x", "budget", True, True, False),
    ("anthropic.claude-opus-4-7", "x", "adaptive", False, True, False),
    ("anthropic.claude-haiku-5-5", "x", "adaptive", False, True, False),
    ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", "claude-sonnet-4-6", "adaptive", True, True, False),
    ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", "ours", "unsaid", True, True, False),
    ("amazon.titan-text-express-v1", "x", "unsaid", True, False, False),
    ("global.openai.gpt-5.6-sol", "x", "effort", True, True, False),
    ("xai.grok-4.6", "x", "unsaid", True, True, True),
    ("qwen.qwen3-32b-v1:0", "gpt-like", "unsaid", True, True, False),
]


@pytest.mark.parametrize(("model", "ours", "thinking", "samples", "schemas", "inside"), KNOWN)
def test_what_is_known_of_a_model(model, ours, thinking, samples, schemas, inside):
    traits = traits_of(model, ours)
    assert (traits.thinking, traits.samples, traits.holds_schemas, traits.counts_cache_inside) == (thinking, samples, schemas, inside)


def test_a_model_of_no_row():
    assert traits_of(QWEN, "ours") is UNKNOWN


def test_addresses():
    assert path_for("anthropic.claude-3-haiku-20240307-v1:0") == "/model/anthropic.claude-3-haiku-20240307-v1%3A0/converse-stream"
    assert path_for("arn:aws:bedrock:us-east-1:1:p/x") == "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ap%2Fx/converse-stream"
    assert url_for("eu-central-1") == "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert url_for("cn-north-1") == "https://bedrock-runtime.cn-north-1.amazonaws.com.cn"
    assert url_for("eusc-de-east-1") == "https://bedrock-runtime.eusc-de-east-1.amazonaws.eu"


def test_changes_are_of_the_common_vocabulary():
    changes = request_for(asked(seed=1), model=NOVA, tokens_out_max=1).changes
    assert changes == (Change("dropped", "seed", "Bedrock has no seed"),)
