"""Requests as orders."""

import json
from typing import Any, Literal

import pytest

from headrace.core.errors import InvalidRequest, UnsupportedParameter
from headrace.engine import EngineSettings
from headrace.engine.request import Order, order_of
from headrace.wire.openai_chat import read_request

TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "kind": {"$ref": "#/$defs/kind"}}, "$defs": {"kind": {"enum": ["a"]}}}


def order(backend: Literal["openvino", "llamacpp"] = "openvino", **fields: Any) -> Order:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}
    return order_of(read_request(json.dumps(body).encode()), EngineSettings(), backend, seed=5)


def function(name: str, parameters: object = None, strict: bool | None = None) -> dict[str, object]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, "strict": strict}}


def test_what_a_silent_request_gets() -> None:
    silent = order()
    assert (silent.sampling.temperature, silent.sampling.top_p, silent.sampling.seed) == (0.2, 0.9, 5)
    assert (silent.choices, silent.stops, silent.output_max, silent.tools, silent.sampling.schema) == (1, (), None, (), "")
    assert silent.sampling.logprobs is None


def test_what_is_said_is_kept() -> None:
    asked = order(max_tokens=9, max_completion_tokens=7, stop="x", seed=-1, logprobs=True, top_p=0, n=2, parallel_tool_calls=False)
    assert (asked.output_max, asked.stops, asked.choices, asked.calls_max) == (7, ("x",), 2, 1)
    assert asked.sampling.seed == 2**32 - 1
    assert asked.sampling.temperature == 0, "the smallest set of likeliest tokens is one token"
    assert asked.sampling.logprobs == 0


def test_harmless_fields_are_taken() -> None:
    order(user="u", metadata={"a": "b"}, store=True, service_tier="auto", prompt_cache_key="k", safety_identifier="s", verbosity="low",
          reasoning_effort="low", parallel_tool_calls=True, modalities=["text"], logit_bias={})  # fmt: skip


def test_a_minimum_as_large_as_the_maximum_needs_no_backend() -> None:
    assert order("llamacpp", min_tokens=5, max_tokens=5).sampling.ignore_end
    with pytest.raises(UnsupportedParameter, match="OpenVINO knows"):
        order("llamacpp", min_tokens=4, max_tokens=5)
    assert order("openvino", min_tokens=4, max_tokens=5).sampling.output_min == 4


def test_no_tools_when_none_may_be_called() -> None:
    assert order(tools=[function("f")], tool_choice="none").tools == ()
    assert [tool.name for tool in order(tools=[function("f")], tool_choice="auto").tools] == ["f"]
    assert not order(tools=[function("f")]).must_call


def test_one_call_of_any_tool() -> None:
    asked = order(tools=[function("tree", TREE), function("f")], tool_choice="required")
    assert asked.must_call
    schema = json.loads(asked.sampling.schema)
    assert [shape["properties"]["name"] for shape in schema["anyOf"]] == [{"const": "tree"}, {"const": "f"}]
    moved = schema["$defs"]["tool0"]
    assert moved["properties"]["left"] == {"$ref": "#/$defs/tool0"}
    assert moved["properties"]["kind"] == {"$ref": "#/$defs/tool0/$defs/kind"}
    assert moved["additionalProperties"] is False


def test_a_tool_that_cannot_be_compiled_takes_any_object_unless_strict() -> None:
    hard = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
    schema = json.loads(order(tools=[function("f", hard)], tool_choice="required").sampling.schema)
    assert schema["$defs"]["tool0"] == {"type": "object"}
    with pytest.raises(InvalidRequest, match="not"):
        order(tools=[function("f", hard, strict=True)], tool_choice="required")


def test_a_schema_that_the_backend_would_pass_over_is_refused() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "it", "schema": {"type": "integer", "multipleOf": 3}}}
    with pytest.raises(InvalidRequest, match="multipleOf") as refused:
        order(response_format=schema)
    assert refused.value.param == "response_format.json_schema.schema"
    assert order("llamacpp", response_format=schema).sampling.schema


def test_any_object() -> None:
    assert json.loads(order(response_format={"type": "json_object"}).sampling.schema) == {"type": "object"}
    assert order(response_format={"type": "text"}).sampling.schema == ""


REFUSED: list[tuple[dict[str, Any], type[InvalidRequest], str]] = [
    ({"temperature": -0.1}, InvalidRequest, "temperature"),
    ({"frequency_penalty": 2.5}, InvalidRequest, "frequency_penalty"),
    ({"presence_penalty": -3}, InvalidRequest, "presence_penalty"),
    ({"repetition_penalty": 0}, InvalidRequest, "repetition_penalty"),
    ({"min_p": 1.5}, InvalidRequest, "min_p"),
    ({"top_k": -2}, InvalidRequest, "top_k"),
    ({"n": 129}, InvalidRequest, "n"),
    ({"max_tokens": 0}, InvalidRequest, "max_tokens"),
    ({"min_tokens": 9, "max_tokens": 8}, InvalidRequest, "min_tokens"),
    ({"top_logprobs": 2}, InvalidRequest, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, InvalidRequest, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 2}, UnsupportedParameter, "top_logprobs"),
    ({"audio": {"voice": "x"}}, UnsupportedParameter, "audio"),
    ({"prediction": {"type": "content"}}, UnsupportedParameter, "prediction"),
    ({"web_search_options": {"user_location": None}}, UnsupportedParameter, "web_search_options"),
    ({"function_call": "auto"}, UnsupportedParameter, "function_call"),
    ({"tools": [function("")]}, InvalidRequest, "tools[0].function.name"),
    ({"tools": [function("f")], "tool_choice": {"type": "function", "function": {"name": "g"}}}, InvalidRequest, "tool_choice"),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, InvalidRequest, "response_format.json_schema.schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": ["y" * 70_000]}}}},
        InvalidRequest,
        "response_format.json_schema.schema",
    ),
]


@pytest.mark.parametrize(("fields", "kind", "param"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(fields: dict[str, Any], kind: type[InvalidRequest], param: str) -> None:
    with pytest.raises(kind) as refused:
        order(**fields)
    assert refused.value.param == param


def test_settings_name_their_limits() -> None:
    with pytest.raises(ValueError, match=r"engine\.sequences_max must be 1 to 256"):
        EngineSettings(sequences_max=0)
    with pytest.raises(ValueError, match=r"engine\.top_p"):
        EngineSettings(top_p=0)
