"""OpenAI's chat request in Gemini's words, as tables."""

import json

import pytest

from headrace.core.errors import HeadraceError, InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.wire.gemini import FIELDS, LEVELS, Translation, request_for
from headrace.wire.gemini_signature import SKIP, opened, sealed
from headrace.wire.openai_chat import ChatRequest, Function, JsonSchema, JsonSchemaFormat, Tool, read_request

PRO = "gemini-2.5-pro"
FLASH = "gemini-2.5-flash"
THREE = "gemini-3.1-pro-preview"
HELLO: list[dict[str, object]] = [{"role": "user", "content": "hello"}]


def translated(model: str = FLASH, /, **fields: object) -> Translation:
    body = json.dumps({"model": "m", "messages": HELLO} | fields).encode()
    return request_for(read_request(body), model=model, tokens_out_max=500)


def told(model: str = FLASH, /, **fields: object) -> dict[str, object]:
    """The vendor's request, which lost nothing on its way."""
    made = translated(model, **fields)
    assert made.changes == ()
    body = json.loads(made.body)
    assert isinstance(body, dict)
    return body


def said(messages: list[dict[str, object]], model: str = FLASH) -> list[object]:
    contents = told(model, messages=messages)["contents"]
    assert isinstance(contents, list)
    return contents


def refused(kind: type[HeadraceError], param: str, /, **fields: object) -> str:
    with pytest.raises(kind) as raised:
        translated(**fields)
    assert type(raised.value) is kind
    assert raised.value.param == param
    return str(raised.value)


def test_a_plain_request():
    assert told() == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 500}}


# ------------------------------------------------------------------------------------------------------------------------ fields


def test_each_field_of_the_request_has_its_row():
    assert set(FIELDS) == set(ChatRequest.__struct_fields__)
    assert all(fate.why for fate in FIELDS.values() if fate.what != "translated")


SOME: dict[str, object] = {
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
    "logit_bias": {"1": 2.0},
    "functions": [{"name": "f"}],
    "function_call": "auto",
    "verbosity": "low",
    "modalities": ["text", "audio"],
    "audio": {"voice": "v"},
    "prediction": {"type": "content"},
    "web_search_options": {},
    "moderation": {"model": "m"},
    "service_tier": "flex",
    "store": True,
    "metadata": {"a": "b"},
    "user": "u",
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "prompt_cache_options": {"ttl": "30m"},
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "min_tokens": 5,
    "ignore_eos": True,
}


def test_the_table_of_values_is_whole():
    assert set(SOME) == {name for name, fate in FIELDS.items() if fate.what != "translated"}


@pytest.mark.parametrize("name", SOME)
def test_what_is_not_translated_is_told(name: str):
    fate = FIELDS[name]
    if fate.what == "refused":
        assert fate.why in refused(NotTranslatable, name, **{name: SOME[name]})
        return
    made = translated(**{name: SOME[name]})
    assert made.changes == (Change("dropped", name, fate.why),)
    assert made.body == translated().body


HARMLESS: list[dict[str, object]] = [
    {"n": 1, "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "verbosity": "medium", "modalities": ["text"]},
    {"service_tier": "auto", "store": False, "metadata": {}, "min_p": 0, "repetition_penalty": 1.0, "min_tokens": 0, "ignore_eos": False},
    {"service_tier": "default", "functions": [], "prompt_cache_options": {}, "top_k": -1, "stop": [], "response_format": {"type": "text"}},
    {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": True}, "max_tokens": 9, "parallel_tool_calls": True},
    {"tools": [], "tool_choice": "none"},
    {"reasoning_effort": None, "user": None},
]


@pytest.mark.parametrize("fields", HARMLESS)
def test_what_asks_for_nothing_loses_nothing(fields: dict[str, object]):
    assert told(**fields) == told()


SAMPLING = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "frequency_penalty": -1,
    "presence_penalty": 1,
    "seed": -7,
    "stop": ["a", "b"],
}


def test_sampling():
    assert told(**SAMPLING)["generationConfig"] == {
        "maxOutputTokens": 500,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "frequencyPenalty": -1,
        "presencePenalty": 1,
        "seed": -7,
        "stopSequences": ["a", "b"],
    }
    assert told(stop="x")["generationConfig"] == {"maxOutputTokens": 500, "stopSequences": ["x"]}


@pytest.mark.parametrize("seed", [2**31, -(2**31) - 1, 2**60 + 5])
def test_a_seed_beyond_32_bits(seed: int):
    made = translated(seed=seed)
    assert [change.what for change in made.changes] == ["changed"]
    assert json.loads(made.body)["generationConfig"]["seed"] == seed % 2**31


# --------------------------------------------------------------------------------------------------------------------- reasoning

THOUGHT = [
    # model                      effort     what Gemini is told                                      what that changes
    (FLASH, "none", {"includeThoughts": False, "thinkingBudget": 0}, None),
    (FLASH, "minimal", {"includeThoughts": True, "thinkingBudget": 1_024}, None),
    (FLASH, "low", {"includeThoughts": True, "thinkingBudget": 1_024}, None),
    (FLASH, "medium", {"includeThoughts": True, "thinkingBudget": 8_192}, None),
    (FLASH, "high", {"includeThoughts": True, "thinkingBudget": 24_576}, None),
    (FLASH, "xhigh", {"includeThoughts": True, "thinkingBudget": 24_576}, "changed"),
    (PRO, "none", {"includeThoughts": False, "thinkingBudget": 128}, "changed"),
    (PRO, "high", {"includeThoughts": True, "thinkingBudget": 24_576}, None),
    (THREE, "none", {"includeThoughts": False, "thinkingLevel": "LOW"}, "changed"),
    (THREE, "minimal", {"includeThoughts": True, "thinkingLevel": "LOW"}, "changed"),
    (THREE, "low", {"includeThoughts": True, "thinkingLevel": "LOW"}, None),
    (THREE, "medium", {"includeThoughts": True, "thinkingLevel": "MEDIUM"}, None),
    (THREE, "high", {"includeThoughts": True, "thinkingLevel": "HIGH"}, None),
    (THREE, "xhigh", {"includeThoughts": True, "thinkingLevel": "HIGH"}, "changed"),
    ("gemini-3-flash-preview", "none", {"includeThoughts": False, "thinkingLevel": "MINIMAL"}, "changed"),
    ("gemini-3-flash-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "MINIMAL"}, None),
    ("gemini-3.1-flash-lite", "minimal", {"includeThoughts": True, "thinkingLevel": "MINIMAL"}, None),
    ("gemini-3.7-flash", "minimal", {"includeThoughts": True, "thinkingLevel": "LOW"}, "changed"),
    ("gemini-flash-latest", "minimal", {"includeThoughts": True, "thinkingLevel": "LOW"}, "changed"),
    ("gemini-2.0-flash", "high", None, "dropped"),
    ("gemini-1.5-pro", "low", None, "dropped"),
    ("gemini-2.0-flash", "none", None, None),
]


@pytest.mark.parametrize(("model", "effort", "config", "change"), THOUGHT)
def test_how_much_to_think(model: str, effort: str, config: object, change: str | None):
    made = translated(model, reasoning_effort=effort)
    assert json.loads(made.body)["generationConfig"].get("thinkingConfig") == config
    assert [(one.what, one.param) for one in made.changes] == ([(change, "reasoning_effort")] if change else [])


def test_an_effort_that_nobody_knows():
    assert all(effort in refused(InvalidRequest, "reasoning_effort", reasoning_effort="hard") for effort in LEVELS)


# ------------------------------------------------------------------------------------------------------------------------- tools

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
STRICT = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}}


def test_tools():
    assert told(tools=[WEATHER, CLOCK])["tools"] == [
        {"functionDeclarations": [{"name": "weather", "description": "d", "parametersJsonSchema": SCHEMA}, {"name": "clock"}]}
    ]


CHOICES = [
    # model   tools               choice       what Gemini is told
    (FLASH, [WEATHER], None, {"mode": "AUTO"}),
    (FLASH, [WEATHER], "auto", {"mode": "AUTO"}),
    (FLASH, [WEATHER], "none", {"mode": "NONE"}),
    (FLASH, [WEATHER], "required", {"mode": "ANY"}),
    (
        FLASH,
        [WEATHER, CLOCK],
        {"type": "function", "function": {"name": "clock"}},
        {"mode": "ANY", "allowedFunctionNames": ["clock"]},
    ),
    (THREE, [STRICT], None, {"mode": "VALIDATED"}),
    (THREE, [STRICT], "required", {"mode": "ANY"}),
    (FLASH, [STRICT], "required", {"mode": "ANY"}),
]


@pytest.mark.parametrize(("model", "tools", "choice", "config"), CHOICES)
def test_which_tool_is_called(model: str, tools: list[object], choice: object, config: object):
    assert told(model, tools=tools, tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}


@pytest.mark.parametrize(("model", "tools", "lost"), [(FLASH, [STRICT], [0]), (THREE, [CLOCK, STRICT], [1])])
def test_strict_tools_that_are_not_checked(model: str, tools: list[object], lost: list[int]):
    made = translated(model, tools=tools)
    assert [(one.what, one.param) for one in made.changes] == [("dropped", f"tools[{at}].function.strict") for at in lost]
    assert json.loads(made.body)["toolConfig"]["functionCallingConfig"] == {"mode": "AUTO"}


def test_what_a_strict_tool_demands_and_nobody_enforces():
    parameters = {"type": "object", "properties": {"a": {"type": "string", "pattern": "x"}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
    made = translated(THREE, tools=[tool])
    assert [(one.what, one.param) for one in made.changes] == [("changed", "tools[0].function.parameters.properties.a.pattern")]
    relaxed = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    assert told(THREE, tools=[relaxed])["tools"] == [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": parameters}]}]


def test_choices_that_cannot_be():
    refused(InvalidRequest, "tool_choice", tool_choice="required")
    assert "other" in refused(InvalidRequest, "tool_choice", tools=[CLOCK], tool_choice={"type": "function", "function": {"name": "other"}})


def test_calls_one_at_a_time():
    assert translated(tools=[CLOCK], parallel_tool_calls=False).calls_max == 1
    assert translated(tools=[CLOCK], parallel_tool_calls=True).calls_max is None


# ---------------------------------------------------------------------------------------------------------------- answers in JSON


def test_an_answer_in_json():
    assert told(response_format={"type": "json_object"})["generationConfig"] == {
        "maxOutputTokens": 500,
        "responseMimeType": "application/json",
    }
    named = {"name": "n", "strict": True}
    assert told(response_format={"type": "json_schema", "json_schema": named | {"schema": SCHEMA}})["generationConfig"] == {
        "maxOutputTokens": 500,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }
    assert "responseJsonSchema" not in str(told(response_format={"type": "json_schema", "json_schema": named}))


SCHEMAS: list[tuple[object, object, list[str]]] = [
    # asked                                              Gemini gets                                          and ignores
    ({"const": "a"}, {"enum": ["a"]}, []),
    ({"const": 1.5, "title": "t"}, {"enum": [1.5], "title": "t"}, []),
    ({"const": None}, {"const": None}, ["const"]),
    ({"const": True}, {"const": True}, ["const"]),
    ({"type": ["string", "null"], "default": 1, "$schema": "s"}, {"type": ["string", "null"], "default": 1, "$schema": "s"}, []),
    ({"anyOf": [{"const": "a"}, {"pattern": "x"}]}, {"anyOf": [{"enum": ["a"]}, {"pattern": "x"}]}, ["anyOf[1].pattern"]),
    ({"properties": {"pattern": {"const": "a"}}}, {"properties": {"pattern": {"enum": ["a"]}}}, []),
    ({"items": {"minLength": 2}, "minItems": 1}, {"items": {"minLength": 2}, "minItems": 1}, ["items.minLength"]),
    ({"$defs": {"a": {"not": {}}}, "$ref": "#/$defs/a"}, {"$defs": {"a": {"not": {}}}, "$ref": "#/$defs/a"}, ["$defs.a.not"]),
    ({"additionalProperties": False, "items": True, "anyOf": 1, "properties": 2}, None, []),
    ({"prefixItems": [True, {"const": 2}], "oneOf": []}, {"prefixItems": [True, {"enum": [2]}], "oneOf": []}, []),
]


@pytest.mark.parametrize(("asked", "gets", "ignored"), SCHEMAS)
def test_schemas(asked: object, gets: object, ignored: list[str]):
    path = "response_format.json_schema.schema."
    made = translated(response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": asked}})
    assert json.loads(made.body)["generationConfig"]["responseJsonSchema"] == (asked if gets is None else gets)
    assert [(one.what, one.param) for one in made.changes] == [("changed", path + where) for where in ignored]
    strict = {"type": "json_schema", "json_schema": {"name": "n", "schema": asked, "strict": True}}
    if ignored:
        refused(NotTranslatable, path + ignored[0], response_format=strict)
    else:
        told(response_format=strict)


def test_a_schema_too_deep():
    deep: dict[str, object] = {}
    for _ in range(2_000):
        deep = {"items": deep}
    asked = ChatRequest(model="m", messages=[], tools=[Tool(Function("f", parameters=deep))])
    with pytest.raises(InvalidRequest, match="too deeply") as raised:
        request_for(asked, model=FLASH, tokens_out_max=1)
    assert raised.value.param == "tools[0].function.parameters"


def test_values_too_deep():
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    asked = ChatRequest(model="m", messages=[], response_format=JsonSchemaFormat(JsonSchema("n", schema={"enum": deep})))
    with pytest.raises(InvalidRequest, match="too deeply"):
        request_for(asked, model=FLASH, tokens_out_max=1)


# ------------------------------------------------------------------------------------------------------------------ conversations

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
OTHER = {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": ""}}
CALLED: dict[str, object] = {"functionCall": {"id": "call_1", "name": "weather", "args": {"city": "Bern"}}}
OTHER_CALLED: dict[str, object] = {"functionCall": {"id": "call_2", "name": "clock", "args": {}}}


def result(id: str, name: str, output: str) -> dict[str, object]:
    return {"functionResponse": {"id": id, "name": name, "response": {"output": output}}}


TALKS: list[tuple[list[dict[str, object]], list[object]]] = [
    (
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
        [
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "b"}]},
            {"role": "user", "parts": [{"text": "c"}]},
        ],
    ),
    (
        [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]}],
        [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}],
    ),
    (
        [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "", "tool_calls": [CALL, OTHER]},
            {"role": "tool", "tool_call_id": "call_2", "content": "12:00"},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "sun"}, {"type": "text", "text": "wind"}]},
            {"role": "user", "content": "b"},
        ],
        [
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [CALLED, OTHER_CALLED]},
            {"role": "user", "parts": [result("call_2", "clock", "12:00"), result("call_1", "weather", "sun\nwind")]},
            {"role": "user", "parts": [{"text": "b"}]},
        ],
    ),
    (
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": None, "refusal": "no"}, {"role": "user", "content": "b"}],
        [
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "no"}]},
            {"role": "user", "parts": [{"text": "b"}]},
        ],
    ),
    (
        [{"role": "assistant", "content": "", "refusal": "no"}, {"role": "assistant", "content": [{"type": "refusal", "refusal": "!"}]}],
        [{"role": "model", "parts": [{"text": "no"}, {"text": "!"}]}],
    ),
    ([{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}], [{"role": "user", "parts": [{"text": "a"}]}]),
    ([{"role": "user", "content": [{"type": "refusal", "refusal": "a"}]}], [{"role": "user", "parts": [{"text": "a"}]}]),
    ([{"role": "tool", "tool_call_id": "x", "name": "f", "content": "r"}], [{"role": "user", "parts": [result("x", "f", "r")]}]),
]


@pytest.mark.parametrize(("messages", "contents"), TALKS)
def test_a_conversation(messages: list[dict[str, object]], contents: list[object]):
    assert said(messages) == contents


def test_instructions_stand_apart():
    body = told(messages=[{"role": "system", "content": "a"}, {"role": "developer", "content": [{"type": "text", "text": "b"}]}, *HELLO])
    assert body["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert body["contents"] == [{"role": "user", "parts": [{"text": "hello"}]}]


def test_instructions_in_between_are_moved():
    made = translated(messages=[*HELLO, {"role": "system", "content": "a"}])
    assert json.loads(made.body)["systemInstruction"] == {"parts": [{"text": "a"}]}
    assert [(one.what, one.param) for one in made.changes] == [("changed", "messages[1]")]


def test_instructions_alone():
    made = translated(messages=[{"role": "system", "content": "a"}])
    assert json.loads(made.body)["contents"] == [{"role": "user", "parts": [{"text": "a"}]}]
    assert [(one.what, one.param) for one in made.changes] == [("changed", "messages")]
    assert told(messages=[])["contents"] == []


def test_a_speakers_name():
    made = translated(messages=[{"role": "user", "content": "a", "name": "ann"}])
    assert [(one.what, one.param) for one in made.changes] == [("dropped", "messages[0].name")]


IMAGE = "data:image/PNG;base64,AAAA"
MEDIA = [
    ({"type": "image_url", "image_url": {"url": IMAGE}}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
    ({"type": "image_url", "image_url": {"url": IMAGE, "detail": "auto"}}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}),
    (
        {"type": "image_url", "image_url": {"url": "https://a.example/b.JPG?x=1.png#y"}},
        {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a.example/b.JPG?x=1.png#y"}},
    ),
    (
        {"type": "image_url", "image_url": {"url": "gs://bucket/a.webp"}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "gs://bucket/a.webp"}},
    ),
    (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,BB=="}},
        {"inlineData": {"mimeType": "application/pdf", "data": "BB=="}},
    ),
    ({"type": "input_audio", "input_audio": {"data": "CC", "format": "wav"}}, {"inlineData": {"mimeType": "audio/wav", "data": "CC"}}),
    ({"type": "input_audio", "input_audio": {"data": "CC", "format": "mp3"}}, {"inlineData": {"mimeType": "audio/mp3", "data": "CC"}}),
]


@pytest.mark.parametrize(("part", "gets"), MEDIA)
def test_media(part: object, gets: object):
    assert said([{"role": "user", "content": [{"type": "text", "text": "see"}, part]}]) == [
        {"role": "user", "parts": [{"text": "see"}, gets]}
    ]


def test_the_detail_of_an_image():
    made = translated(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": IMAGE, "detail": "high"}}]}])
    assert [(one.what, one.param) for one in made.changes] == [("dropped", "messages[0].content[0].image_url.detail")]


IMAGE_PART = {"type": "image_url", "image_url": {"url": IMAGE}}
USER = "messages[0].content[0]"
WRONG: list[tuple[dict[str, object], type[HeadraceError], str]] = [
    ({"role": "user"}, InvalidRequest, "messages[0].content"),
    ({"role": "system"}, InvalidRequest, "messages[0].content"),
    ({"role": "tool", "content": "a"}, InvalidRequest, "messages[0].tool_call_id"),
    ({"role": "tool", "content": "a", "tool_call_id": "x"}, InvalidRequest, "messages[0].tool_call_id"),
    ({"role": "tool", "content": "a", "name": "f"}, InvalidRequest, "messages[0].tool_call_id"),
    ({"role": "function", "content": "a", "name": "f"}, NotTranslatable, "messages[0].role"),
    ({"role": "system", "content": [IMAGE_PART]}, NotTranslatable, USER),
    ({"role": "assistant", "content": [IMAGE_PART]}, NotTranslatable, USER),
    ({"role": "tool", "tool_call_id": "x", "name": "f", "content": [IMAGE_PART]}, NotTranslatable, USER),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, InvalidRequest, f"{USER}.image_url.url"),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b"}}]}, NotTranslatable, f"{USER}.image_url.url"),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]},
        NotTranslatable,
        f"{USER}.image_url.url",
    ),
    ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,a.png"}}]}, NotTranslatable, f"{USER}.image_url.url"),
    ({"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}, NotTranslatable, f"{USER}.file"),
    ({"role": "user", "content": [{"type": "file", "file": {"file_data": 7}}]}, InvalidRequest, f"{USER}.file.file_data"),
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "a"}}]}, InvalidRequest, f"{USER}.input_audio"),
    ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"format": "wav"}}]}, InvalidRequest, f"{USER}.input_audio"),
]


@pytest.mark.parametrize(("message", "kind", "param"), WRONG)
def test_what_is_no_message(message: dict[str, object], kind: type[HeadraceError], param: str):
    refused(kind, param, messages=[message])


@pytest.mark.parametrize("arguments", ["{", "7", "[]", '{"a":}', "null", "{" * 9, '{"a":' * 2_000])
def test_arguments_that_are_no_object(arguments: str):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [{"role": "assistant", "content": "", "tool_calls": [CALL, call]}]
    refused(InvalidRequest, "messages[0].tool_calls[1].function.arguments", messages=messages)


# --------------------------------------------------------------------------------------------------------------------- signatures


def test_a_seal_is_opened_again():
    assert opened(sealed("A+/=")) == ("", "A+/=")
    assert opened(sealed("A+/=", "call:1")) == ("call:1", "A+/=")
    assert opened(sealed("AAAA") + sealed("BBBB")) == ("", "BBBB")
    assert [opened(other) for other in (None, "", "ErUB", "anthropic:x")] == [None] * 4


def assistant(**fields: object) -> list[dict[str, object]]:
    return [*HELLO, {"role": "assistant", "content": "hi"} | fields]


def parts_of(messages: list[dict[str, object]], model: str) -> object:
    content = said(messages, model)[1]
    assert isinstance(content, dict)
    return content["parts"]


def encrypted(signature: str, place: str = "") -> dict[str, str]:
    return {"type": "reasoning.encrypted", "data": sealed(signature, place)}


KEPT: list[tuple[dict[str, object], list[dict[str, object]]]] = [
    # what the client kept of the last turn, what Gemini gets back
    ({"reasoning_content": "hm"}, [{"thought": True, "text": "hm"}, {"text": "hi"}]),
    ({"reasoning_details": [encrypted("S")]}, [{"text": "hi", "thoughtSignature": "S"}]),
    (
        {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "reasoning_details": [encrypted("S")]},
        [{"text": "a"}, {"text": "b", "thoughtSignature": "S"}],
    ),
    (
        {"reasoning_content": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": sealed("T")}]},
        [{"thought": True, "text": "hm", "thoughtSignature": "T"}, {"text": "hi"}],
    ),
    (
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "h"},
                {"type": "reasoning.text", "text": "m", "signature": sealed("T")},
                {"type": "reasoning.text"},
            ]
        },
        [{"thought": True, "text": "hm", "thoughtSignature": "T"}, {"text": "hi"}],
    ),
    (
        {"content": None, "tool_calls": [CALL, OTHER], "reasoning_details": [encrypted("A", "call_1"), encrypted("B", "call_2")]},
        [CALLED | {"thoughtSignature": "A"}, OTHER_CALLED | {"thoughtSignature": "B"}],
    ),
    (
        {"tool_calls": [CALL, OTHER], "reasoning_details": [encrypted("A", "call_1"), encrypted("S")]},
        [{"text": "hi", "thoughtSignature": "S"}, CALLED | {"thoughtSignature": "A"}, OTHER_CALLED],
    ),
]


@pytest.mark.parametrize("model", [FLASH, THREE])
@pytest.mark.parametrize(("kept", "parts"), KEPT)
def test_thoughts_go_back_to_their_part(kept: dict[str, object], parts: object, model: str):
    assert parts_of(assistant(**kept), model) == parts


def test_calls_that_nobody_signed():
    """A model that signs its calls refuses unsigned ones: of the calls made together it signs the first."""
    unsigned = assistant(tool_calls=[CALL, OTHER])
    assert parts_of(unsigned, THREE) == [{"text": "hi"}, CALLED | {"thoughtSignature": SKIP}, OTHER_CALLED]
    assert parts_of(unsigned, FLASH) == [{"text": "hi"}, CALLED, OTHER_CALLED]


FOREIGN = [
    {"type": "reasoning.text", "text": "hm", "signature": "ErUB"},
    {"type": "reasoning.text", "text": "hm", "signature": "ErUB", "format": "google-gemini-v1"},
    {"type": "reasoning.text", "text": "hm", "format": "anthropic-claude-v1"},
    {"type": "reasoning.encrypted", "data": "x"},
    {"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"},
    {"type": "other"},
]


@pytest.mark.parametrize("detail", FOREIGN)
def test_the_thoughts_of_other_vendors(detail: dict[str, object]):
    made = translated(messages=assistant(reasoning_details=[detail]))
    assert json.loads(made.body)["contents"][1]["parts"] == [{"text": "hi"}]
    assert [(one.what, one.param) for one in made.changes] == [("dropped", "messages[1].reasoning_details[0]")]


def test_thoughts_without_an_answer_are_no_turn():
    assert len(said([*HELLO, {"role": "assistant", "content": "", "reasoning_content": "hm"}])) == 1


def test_marks_are_not_passed_on():
    mark = {"cache_control": {"type": "ephemeral"}}
    point = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    made = translated(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "a"} | mark]},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"} | point]} | mark,
        ],
        tools=[{"type": "function", "function": {"name": "f"}} | mark],
    )
    assert b"cache" not in made.body
    assert [(one.what, one.param) for one in made.changes] == [
        ("dropped", "messages[0].content[0].cache_control"),
        ("dropped", "messages[1].cache_control"),
        ("dropped", "messages[1].content[1].prompt_cache_breakpoint"),
        ("dropped", "tools[0].cache_control"),
    ]
