"""What an answer must look like: JSON schemas, checked before any of them comes near the model.

A schema passes two judges: the metaschema says whether it is one, llguidance whether it can be compiled. llama.cpp compiles with
llguidance as well. OpenVINO compiles with xgrammar, which passes over some keywords without a word: those are refused here, since a
promise that isn't kept is worse than none. What else it refuses, its backend lives through.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from headrace.core.errors import InvalidRequest
from headrace.engine.settings import BackendName
from headrace.wire.openai_chat import ChatRequest, Function, JsonObjectFormat, JsonSchemaFormat, NamedTool

SCHEMA_BYTES_MAX = 64 * 1024
ANYTHING = {"type": "object"}


def answer_schema(request: ChatRequest, backend: BackendName) -> str:
    """The schema that `response_format` asks for, or empty. Raises InvalidRequest when it is bad."""
    match request.response_format:
        case JsonObjectFormat():
            return json.dumps(ANYTHING)
        case JsonSchemaFormat(json_schema=asked):
            param = "response_format.json_schema.schema"
            if asked.schema is None:
                raise InvalidRequest(f"Missing required parameter: '{param}'.", param=param)
            return _checked(asked.schema, param, f"Invalid schema for response_format '{asked.name}'", backend)
        case _:
            return ""


def call_schema(request: ChatRequest, backend: BackendName) -> str:
    """The schema of one tool call, when `tool_choice` demands one, or empty. Raises InvalidRequest when that can't be."""
    choice = request.tool_choice
    if choice is None or choice in {"none", "auto"}:
        return ""
    tools = [tool.function for tool in request.tools or []]
    if isinstance(choice, NamedTool):
        tools = [tool for tool in tools if tool.name == choice.function.name]
        if not tools:
            raise InvalidRequest(f"Tool choice '{choice.function.name}' is not among 'tools'.", param="tool_choice")
    if not tools:
        raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    return _checked(_one_call(tools, backend), "tools", "Invalid schema for function", backend)


def check_tools(tools: Sequence[Function]) -> None:
    """Raises InvalidRequest for a function that has a bad name or whose parameters are no schema."""
    for at, tool in enumerate(tools):
        if not tool.name or len(tool.name) > 128:
            raise InvalidRequest("A function's name has 1 to 128 characters.", param=f"tools[{at}].function.name")
        if tool.parameters is not None:
            _is_schema(tool.parameters, f"tools[{at}].function.parameters", f"Invalid schema for function '{tool.name}'")


def _one_call(tools: Sequence[Function], backend: BackendName) -> dict[str, Any]:
    """`{"name": …, "arguments": …}` for any of the tools. Each tool's schema moves below `$defs`, and its references with it."""
    shapes, schemas = [], {}
    for at, tool in enumerate(tools):
        schemas[f"tool{at}"] = _moved(_compilable(tool, backend), f"#/$defs/tool{at}")
        properties = {"name": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/tool{at}"}}
        shapes.append({"type": "object", "properties": properties, "required": ["name", "arguments"], "additionalProperties": False})
    return {"anyOf": shapes, "$defs": schemas}


def _compilable(tool: Function, backend: BackendName) -> dict[str, Any]:
    """The tool's parameters, with no others than those named unless it says so. For a tool that isn't `strict`, any object when the
    compiler doesn't know what they use."""
    parameters = tool.parameters or {"type": "object"}
    if "additionalProperties" not in parameters and not parameters.keys() & {"anyOf", "oneOf", "allOf", "$ref", "patternProperties"}:
        parameters = {"properties": {}, **parameters, "additionalProperties": False}
    if not tool.strict and _obstacle(parameters, backend):
        return ANYTHING
    return parameters


def _moved(value: Any, place: str) -> Any:
    if isinstance(value, dict):
        return {
            key: place + inner[1:] if key == "$ref" and isinstance(inner, str) and inner.startswith("#") else _moved(inner, place)
            for key, inner in value.items()
        }
    return [_moved(inner, place) for inner in value] if isinstance(value, list) else value


def _is_schema(schema: dict[str, Any], param: str, wrong: str) -> None:
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(schema, jsonschema.FormatChecker(()))  # Python's regular expressions aren't JSON's
    except jsonschema.SchemaError as failure:
        raise InvalidRequest(f"{wrong}: {failure.message}", param=param) from None
    except RecursionError:
        raise InvalidRequest(f"{wrong}: it is nested too deeply", param=param) from None


def _checked(schema: dict[str, Any], param: str, wrong: str, backend: BackendName) -> str:
    _is_schema(schema, param, wrong)
    text = json.dumps(schema, ensure_ascii=False)
    if len(text) > SCHEMA_BYTES_MAX:
        raise InvalidRequest(f"{wrong}: it is larger than {SCHEMA_BYTES_MAX:,} bytes.", param=param)
    if failure := _obstacle(schema, backend):
        raise InvalidRequest(f"{wrong}: {failure}", param=param)
    return text


def _obstacle(schema: dict[str, Any], backend: BackendName) -> str:
    """Why the backend can't bind an answer to the schema, or empty."""
    if backend == "openvino" and (ignored := _ignored(schema)):
        return f"the OpenVINO backend does not know {ignored}"
    return _uncompilable(json.dumps(schema))


def _ignored(value: Any) -> str:
    """A keyword that xgrammar would pass over, or empty. (As measured; a property of such a name is told apart by its value.)"""
    if isinstance(value, list):
        return next((found for inner in value if (found := _ignored(inner))), "")
    if not isinstance(value, dict):
        return ""
    reference = value.get("$ref")
    if isinstance(reference, str) and not (reference == "#" or (reference.startswith("#/") and "~" not in reference)):
        return f"the reference {reference!r}"
    if isinstance(value.get("multipleOf"), int | float):
        return "'multipleOf'"
    if isinstance(value.get("allOf"), list) and len(value["allOf"]) > 1:
        return "'allOf' of several schemas"
    return next((found for inner in value.values() if (found := _ignored(inner))), "")


@lru_cache(maxsize=256)
def _uncompilable(schema: str) -> str:
    """Why llguidance can't compile it, or empty. Where it has no wheel, only llama.cpp runs, which is its own judge."""
    try:
        from llguidance import LLMatcher
    except ImportError:
        return ""
    try:
        return str(LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(schema)))
    except ValueError as failure:
        return str(failure)
