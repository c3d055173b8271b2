"""The whole request: every parameter of OpenAI's is translated, reported or refused."""

import json
from typing import Any

import pytest

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.wire.anthropic_request import DROPPED, REFUSED, SEEN_TO, TRANSLATED, request_for
from headrace.wire.openai_chat import ChatRequest, read_request

NEWEST, OPUS, SONNET, HAIKU = "claude-sonnet-5", "claude-opus-5-5", "claude-sonnet-4-6", "claude-haiku-4-5"
OLDEST, OTHER = "claude-3-5-haiku", "glm-5.2"
HI = {"role": "user", "content": "hi"}


def asked(**fields: object) -> ChatRequest:
    return read_request(json.dumps({"model": "ours", "messages": [HI]} | fields).encode())


def said(model: str = NEWEST, tokens_out_max: int = 4_096, /, **fields: object) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """The members beside those that every request has, and what was changed."""
    translation = request_for(asked(**fields), model=model, tokens_out_max=tokens_out_max)
    body = json.loads(translation.body)
    assert [body.pop(name) for name in ("model", "max_tokens", "stream")] == [model, tokens_out_max, True]
    assert body.pop("messages")
    return body, [(change.what, change.param) for change in translation.changes]


def test_a_plain_request():
    translation = request_for(asked(messages=[{"role": "system", "content": "be brief"}, HI]), model=NEWEST, tokens_out_max=9)
    assert json.loads(translation.body) == {
        "model": NEWEST,
        "max_tokens": 9,
        "stream": True,
        "system": [{"type": "text", "text": "be brief"}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }
    assert translation.changes == ()


def test_where_it_is_computed():
    body = json.loads(request_for(asked(), model=NEWEST, tokens_out_max=9, inference_geo="us").body)
    assert body["inference_geo"] == "us"


def test_every_parameter_is_in_exactly_one_table():
    listed = [*SEEN_TO, *TRANSLATED, *DROPPED, *REFUSED]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(ChatRequest.__struct_fields__)


DROPS: dict[str, object] = {
    "frequency_penalty": 0.5,
    "presence_penalty": -1,
    "repetition_penalty": 1.1,
    "seed": 0,
    "logit_bias": {"1": 5},
    "min_p": 0.1,
    "min_tokens": 5,
    "ignore_eos": True,
    "verbosity": "low",
    "prediction": {"type": "content", "content": "x"},
    "audio": {"voice": "alloy"},
    "store": True,
    "metadata": {"a": "b"},
    "user": "ann@example.com",
    "prompt_cache_key": "k",
}


@pytest.mark.parametrize("param", DROPPED)
def test_what_is_dropped_is_told(param: str):
    assert said(**{param: DROPS[param]}) == ({}, [("dropped", param)])
    for value in (None, *DROPPED[param].neutral):
        assert said(**{param: value}) == ({}, [])


REFUSES: dict[str, object] = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "modalities": ["text", "audio"],
    "web_search_options": {},
    "moderation": {"model": "omni"},
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
}


@pytest.mark.parametrize("param", REFUSED)
def test_what_is_refused_is_named(param: str):
    with pytest.raises(NotTranslatable) as refused:
        said(**{param: REFUSES[param]})
    assert refused.value.param == param
    assert f"'{param}'" in refused.value.message
    for value in (None, *REFUSED[param].neutral):
        assert said(**{param: value}) == ({}, [])


# ------------------------------------------------------------------------------------------------------------------------ sampling

SAMPLING = [
    # model, asked                                              said                                     changes
    (NEWEST, {"temperature": 1, "top_p": 1.0, "top_k": -1}, {}, []),
    (NEWEST, {"temperature": 0, "top_p": 0.5, "top_k": 5}, {}, [("dropped", "temperature"), ("dropped", "top_p"), ("dropped", "top_k")]),
    (HAIKU, {"temperature": 0, "top_k": 5}, {"temperature": 0, "top_k": 5}, []),
    (HAIKU, {"temperature": 1.5}, {"temperature": 1.0}, [("changed", "temperature")]),
    (HAIKU, {"top_p": 0.5}, {"top_p": 0.5}, []),
    (HAIKU, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5}, [("dropped", "top_p")]),
    (OLDEST, {"temperature": 0.5, "top_p": 0.5}, {"temperature": 0.5, "top_p": 0.5}, []),
    (OTHER, {"temperature": 1.5, "top_p": 0.5, "top_k": 0}, {"temperature": 1.5, "top_p": 0.5}, []),
]


@pytest.mark.parametrize(("model", "wished", "body", "changes"), SAMPLING)
def test_sampling(model, wished, body, changes):
    assert said(model, **wished) == (body, changes)


def test_a_model_that_thinks_is_sampled_nearly_as_it_is():
    body, changes = said(SONNET, reasoning_effort="low", temperature=0.5, top_p=0.95, top_k=5)
    assert body.pop("top_p") == 0.95
    assert "temperature" not in body
    assert changes == [("dropped", "temperature"), ("dropped", "top_k")]
    assert said(SONNET, reasoning_effort="low", top_p=0.9)[1] == [("dropped", "top_p")]
    assert said(OTHER, reasoning_effort="low", temperature=0.5)[1] == []
    assert said(SONNET, reasoning_effort="none", temperature=0.5) == ({"temperature": 0.5}, [])


# ------------------------------------------------------------------------------------------------------------------------ thinking


def adaptive(effort: str) -> dict[str, Any]:
    return {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": effort}}


def budget(tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}


CHANGED, GONE = [("changed", "reasoning_effort")], [("dropped", "reasoning_effort")]
EFFORTS = [
    # model   tokens  effort     said                                changes
    (NEWEST, 4_096, None, {}, []),
    (NEWEST, 4_096, "none", {"thinking": {"type": "disabled"}}, []),
    (NEWEST, 4_096, "minimal", adaptive("low"), CHANGED),
    (NEWEST, 4_096, "low", adaptive("low"), []),
    (NEWEST, 4_096, "medium", adaptive("medium"), []),
    (NEWEST, 4_096, "high", adaptive("high"), []),
    (NEWEST, 4_096, "xhigh", adaptive("xhigh"), []),
    (NEWEST, 4_096, "max", adaptive("max"), []),
    (OPUS, 4_096, "none", {"output_config": {"effort": "low"}}, CHANGED),
    ("claude-sonnet-5-5", 4_096, "none", {"thinking": {"type": "between_tools"}}, []),
    ("claude-opus-4-8", 4_096, "none", {}, []),
    (SONNET, 4_096, "xhigh", adaptive("high"), CHANGED),
    (SONNET, 4_096, "max", adaptive("max"), []),
    (HAIKU, 65_536, "minimal", budget(1_024), []),
    (HAIKU, 65_536, "medium", budget(8_192), []),
    (HAIKU, 65_536, "xhigh", budget(32_768), []),
    (HAIKU, 4_096, "high", budget(2_048), []),
    (HAIKU, 1_025, "high", budget(1_024), []),
    (HAIKU, 1_024, "high", {}, GONE),
    (HAIKU, 4_096, "none", {}, []),
    (OLDEST, 4_096, "high", {}, GONE),
    (OTHER, 65_536, "high", budget(16_384), []),
    (OTHER, 65_536, "none", {"thinking": {"type": "disabled"}}, []),
]


@pytest.mark.parametrize(("model", "tokens", "effort", "body", "changes"), EFFORTS)
def test_efforts(model, tokens, effort, body, changes):
    assert said(model, tokens, reasoning_effort=effort) == (body, changes)


def test_an_effort_that_nobody_knows():
    with pytest.raises(InvalidRequest) as wrong:
        said(reasoning_effort="heroic")
    assert wrong.value.param == "reasoning_effort"


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALLED = [
    HI,
    {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "c", "content": "7"},
]


@pytest.mark.parametrize(("model", "thinks"), [(HAIKU, False), (NEWEST, True), (OTHER, True)])
def test_a_budget_of_thoughts_goes_with_neither_a_must_nor_a_turn_without_them(model: str, thinks: bool):
    forced, changes = said(model, reasoning_effort="low", tools=[TOOL], tool_choice="required")
    assert ("thinking" in forced, changes) == (thinks, [] if thinks else GONE)
    going_on, changes = said(model, reasoning_effort="low", tools=[TOOL], messages=CALLED)
    assert ("thinking" in going_on, changes) == (thinks, [] if thinks else GONE)


# --------------------------------------------------------------------------------------------------------------------------- tools


def function(name: str = "f", **fields: object) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


F = {"name": "f", "input_schema": {"type": "object", "properties": {}}}
NAMED = {"type": "function", "function": {"name": "f"}}
CHOICES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"tool_choice": "auto", "parallel_tool_calls": True}, {}),
    ({"tool_choice": "none", "parallel_tool_calls": False}, {"tool_choice": {"type": "none"}}),
    ({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
    ({"tool_choice": NAMED}, {"tool_choice": {"type": "tool", "name": "f"}}),
    ({"parallel_tool_calls": False}, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
    (
        {"tool_choice": NAMED, "parallel_tool_calls": False},
        {"tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True}},
    ),
]


@pytest.mark.parametrize(("choice", "body"), CHOICES)
def test_which_tool_is_called(choice: dict[str, Any], body: dict[str, Any]):
    assert said(tools=[function()], **choice) == ({"tools": [F]} | body, [])


def test_what_a_tool_takes():
    body, changes = said(tools=[function("g", description="does", parameters={"properties": {"a": {"type": "string"}}, "x": 1})])
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "x": 1}
    assert (body, changes) == ({"tools": [{"name": "g", "description": "does", "input_schema": schema}]}, [])


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_must_that_there_cannot_be(choice: object):
    with pytest.raises(NotTranslatable) as refused:
        said(OPUS, tools=[TOOL], tool_choice=choice)
    assert refused.value.param == "tool_choice"
    with pytest.raises(InvalidRequest) as wrong:
        said(tool_choice=choice)
    assert (type(wrong.value), wrong.value.param) == (InvalidRequest, "tool_choice")
    assert said(tool_choice="none", tools=[]) == ({}, [])


def test_tools_of_earlier_turns_are_named_where_none_is_given():
    expected = {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "none"}}
    assert said(messages=CALLED) == (expected, [])


def strict(name: str, **properties: object) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": sorted(properties), "additionalProperties": False}
    return function(name, strict=True, parameters=parameters)


def enforced(*tools: dict[str, Any], model: str = NEWEST, **fields: object) -> tuple[list[bool], list[str]]:
    translation = request_for(asked(tools=list(tools), **fields), model=model, tokens_out_max=9)
    return ["strict" in one for one in json.loads(translation.body)["tools"]], [change.why for change in translation.changes]


def test_strict_tools():
    assert enforced(strict("f", a={"type": "string"}), function("g", strict=False)) == ([True, False], [])
    body, _ = said(tools=[strict("f", a={"type": "string"})])
    assert body["tools"][0]["input_schema"]["additionalProperties"] is False


BOUNDED, OPEN = {"type": "integer", "minimum": 1}, {"type": "object"}
EITHER = {"type": ["string", "null"]}
LOOSE: list[tuple[dict[str, Any], str, str]] = [
    (strict("f", a=BOUNDED), NEWEST, "Anthropic does not enforce minimum"),
    (strict("f", a=OPEN), NEWEST, "Anthropic cannot enforce the object at 'parameters.properties.a': it names no properties"),
    (strict("f"), OLDEST, "this model does not enforce schemas"),
]


@pytest.mark.parametrize(("tool", "model", "why"), LOOSE)
def test_a_tool_that_cannot_be_strict_keeps_its_schema(tool: dict[str, Any], model: str, why: str):
    assert enforced(tool, model=model) == ([False], [why])
    assert (
        json.loads(request_for(asked(tools=[tool]), model=model, tokens_out_max=9).body)["tools"][0]["input_schema"]
        == tool["function"]["parameters"]
    )


def test_only_so_much_is_enforced_in_one_request():
    some, why = enforced(*(strict(f"f{at}") for at in range(22)))
    assert some == [True] * 20 + [False] * 2
    assert why == ["Anthropic enforces no more schemas in one request"] * 2
    unions, _ = enforced(*(strict(f"f{at}", **{f"p{of}": EITHER for of in range(9)}) for at in range(2)), strict("g"))
    assert unions == [True, False, True]
    optional = function("f", strict=True, parameters={"type": "object", "properties": {f"p{at}": {"type": "string"} for at in range(13)}})
    assert enforced(optional, optional)[0] == [True, False]
    answer = {"type": "json_schema", "json_schema": {"name": "n", "schema": optional["function"]["parameters"]}}
    assert enforced(optional, response_format=answer)[0] == [False]


# -------------------------------------------------------------------------------------------------------------------------- answers


def schema(strict: bool | None = None, **fields: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "strict": strict, "schema": {"type": "object", "properties": fields}}}


def closed(**fields: object) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "schema": {"type": "object", "properties": fields, "additionalProperties": False}}}


def test_answers_in_a_form():
    assert said(response_format={"type": "text"}) == ({}, [])
    assert said(response_format=schema(True, a={"type": "string"})) == ({"output_config": closed(a={"type": "string"})}, [])
    body, changes = said(response_format=schema(a=BOUNDED), reasoning_effort="low")
    assert body["output_config"] == {"effort": "low"} | closed(a={"type": "integer", "description": '{"minimum":1}'})
    assert changes == [("changed", "response_format.json_schema.schema")]


PATH = "response_format.json_schema.schema"
FORMLESS: list[tuple[str, object, type[InvalidRequest], str]] = [
    (NEWEST, {"type": "json_object"}, NotTranslatable, "response_format"),
    (OLDEST, schema(a={"type": "string"}), NotTranslatable, "response_format"),
    (NEWEST, schema(True, a=BOUNDED), NotTranslatable, PATH),
    (NEWEST, schema(a=OPEN), NotTranslatable, f"{PATH}.properties.a"),
    (NEWEST, {"type": "json_schema", "json_schema": {"name": "n"}}, InvalidRequest, PATH),
]


@pytest.mark.parametrize(("model", "form", "kind", "param"), FORMLESS)
def test_forms_that_are_not_kept(model, form, kind, param):
    with pytest.raises(kind) as refused:
        said(model, response_format=form)
    assert (type(refused.value), refused.value.param) == (kind, param)


def test_a_schema_deeper_than_can_be_read():
    deep: object = {"type": "string"}
    for _ in range(600):
        deep = {"type": "array", "items": deep}
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        said(response_format=schema(a=deep))


STOPS = [(None, None), ([], None), ("a", ["a"]), (["a", "\nb"], ["a", "\nb"])]


@pytest.mark.parametrize(("stop", "sequences"), STOPS)
def test_stops(stop, sequences):
    assert said(stop=stop) == ({"stop_sequences": sequences} if sequences else {}, [])


def test_white_space_stops_nothing_but_other_makers():
    for stop in ("\n\n", ["a", ""]):
        with pytest.raises(NotTranslatable) as refused:
            said(stop=stop)
        assert refused.value.param == "stop"
    assert said(OTHER, stop="\n\n") == ({"stop_sequences": ["\n\n"]}, [])


THOUGHT = {"role": "assistant", "content": "so", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]}
DROP = {"block_binding": {"prefix_mismatch_behavior": "drop_block"}}
BETA = "thinking-binding-controls-2026-08-01"
BINDING = [
    # model, effort; then: how it shall think, the betas, what is reported
    (OPUS, None, {"type": "adaptive"} | DROP, (BETA,), []),
    (OPUS, "low", {"type": "adaptive", "display": "summarized"} | DROP, (BETA,), []),
    (OPUS, "none", {"type": "adaptive"} | DROP, (BETA,), ["reasoning_effort"]),
    ("claude-sonnet-5-5", "none", {"type": "between_tools"}, (), ["messages[1].reasoning_details[0]"]),
    ("claude-haiku-5-5", "none", {"type": "disabled"}, (), ["messages[1].reasoning_details[0]"]),
    ("claude-haiku-5-5", None, {"type": "adaptive"} | DROP, (BETA,), []),
    (NEWEST, "none", {"type": "disabled"}, (), []),
    (NEWEST, None, None, (), []),
    (HAIKU, None, None, (), []),
    (OTHER, None, None, (), []),
]


@pytest.mark.parametrize(("model", "effort", "thinking", "betas", "reported"), BINDING)
def test_thoughts_that_hold_in_one_conversation_only(model, effort, thinking, betas, reported):
    """What stands before a thought may have been edited, or was told in another dialect: then the thought goes, and not the request."""
    translation = request_for(asked(messages=[HI, THOUGHT, HI], reasoning_effort=effort), model=model, tokens_out_max=4_096)
    assert json.loads(translation.body).get("thinking") == thinking
    assert translation.betas == betas
    assert [change.param for change in translation.changes] == reported
    without = request_for(asked(reasoning_effort=effort), model=model, tokens_out_max=4_096)
    assert (b"block_binding" in without.body, without.betas) == (False, ())


def cached(ttl: str) -> dict[str, Any]:
    return {"cache_control": {"type": "ephemeral", "ttl": ttl}}


RETENTION, OPTIONS, TIER = "prompt_cache_retention", "prompt_cache_options", "service_tier"
ASIDES: list[tuple[str, dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = [
    (NEWEST, {"safety_identifier": "u-1"}, {"metadata": {"user_id": "u-1"}}, []),
    (NEWEST, {TIER: "auto"}, {}, []),
    (NEWEST, {TIER: "default"}, {TIER: "standard_only"}, []),
    (OTHER, {TIER: "default"}, {}, []),
    (NEWEST, {TIER: "flex"}, {}, [("dropped", TIER)]),
    (NEWEST, {RETENTION: "in_memory"}, cached("5m"), []),
    (NEWEST, {RETENTION: "24h"}, cached("1h"), [("changed", RETENTION)]),
    (NEWEST, {OPTIONS: {}}, cached("5m"), []),
    (NEWEST, {OPTIONS: {"mode": "implicit", "ttl": "30m"}}, cached("1h"), [("changed", OPTIONS)]),
    (NEWEST, {OPTIONS: {"ttl": "1h"}}, cached("1h"), []),
    (NEWEST, {OPTIONS: {"mode": "explicit"}}, {}, []),
    (NEWEST, {OPTIONS: {}, RETENTION: "24h"}, cached("5m"), [("dropped", RETENTION)]),
    (OTHER, {OPTIONS: {}}, {}, [("dropped", OPTIONS)]),
    (OTHER, {RETENTION: "24h"}, {}, [("dropped", RETENTION)]),
]


@pytest.mark.parametrize(("model", "wished", "body", "changes"), ASIDES)
def test_asides(model, wished, body, changes):
    assert said(model, **wished) == (body, changes)


def test_changes_say_why():
    translation = request_for(asked(seed=1, messages=[HI | {"name": "ann"}]), model=NEWEST, tokens_out_max=9)
    assert translation.changes == (
        Change("dropped", "seed", "Anthropic takes no seed"),
        Change("dropped", "messages[0].name", "messages carry no name here"),
    )
