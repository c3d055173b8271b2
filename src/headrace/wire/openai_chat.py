"""OpenAI's chat completions as values: the request, read twice at most.

`ChatHead` holds just what admission and placement need and leaves the rest of the body unread, so that a request to a pool of the
same dialect costs one shallow pass. `ChatRequest` is the whole contract, for who must understand it: the embedded engine and, later,
the translations to other dialects. What is wrong is refused with the path of the field, as `messages[0].content`.
"""

import re
from typing import Any, Literal, TypeVar

import msgspec

from headrace.core.errors import InvalidJson, InvalidRequest, UnsupportedParameter
from headrace.core.unreadable import UNREADABLE
from headrace.wire.elision import SHORT, without_texts

Read = TypeVar("Read")


class StreamOptions(msgspec.Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatHead(msgspec.Struct, frozen=True):
    """The few fields that every chat request is admitted and placed by."""

    model: str
    messages: msgspec.Raw
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    service_tier: str | None = None
    prompt_cache_key: str | None = None
    tools: msgspec.Raw = msgspec.Raw()
    response_format: msgspec.Raw = msgspec.Raw()
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    max_cost: str | float | None = None


class FunctionCalled(msgspec.Struct, frozen=True):
    name: str
    arguments: str


class ToolCalled(msgspec.Struct, frozen=True):
    id: str
    function: FunctionCalled
    type: Literal["function"] = "function"


class TextPart(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """Of this and the other parts, `prompt_cache_breakpoint` marks where a cached prompt may end, and `cache_control` says the same as
    Anthropic's clients do; `openai_marks` reads both."""

    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class RefusalPart(msgspec.Struct, frozen=True, tag="refusal", tag_field="type"):
    refusal: str


class ImagePart(msgspec.Struct, frozen=True, tag="image_url", tag_field="type"):
    image_url: dict[str, Any]
    prompt_cache_breakpoint: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class AudioPart(msgspec.Struct, frozen=True, tag="input_audio", tag_field="type"):
    input_audio: dict[str, Any]
    prompt_cache_breakpoint: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class FilePart(msgspec.Struct, frozen=True, tag="file", tag_field="type"):
    file: dict[str, Any]
    prompt_cache_breakpoint: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


Part = TextPart | RefusalPart | ImagePart | AudioPart | FilePart


class ReasoningDetail(msgspec.Struct, frozen=True):
    """What a model thought in an earlier turn, as we said it: `reasoning.text` with its signature, or `reasoning.encrypted` data, numbered
    by `index`; `format` says whose it is. `openai_thoughts` reads it."""

    type: str
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None
    index: int | None = None


class Message(msgspec.Struct, frozen=True):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCalled] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    cache_control: dict[str, Any] | None = None


class Function(msgspec.Struct, frozen=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(msgspec.Struct, frozen=True):
    function: Function
    type: Literal["function"] = "function"
    cache_control: dict[str, Any] | None = None


class FunctionName(msgspec.Struct, frozen=True):
    name: str


class NamedTool(msgspec.Struct, frozen=True):
    function: FunctionName
    type: Literal["function"] = "function"


class JsonSchema(msgspec.Struct, frozen=True):
    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class TextFormat(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    pass


class JsonObjectFormat(msgspec.Struct, frozen=True, tag="json_object", tag_field="type"):
    pass


class JsonSchemaFormat(msgspec.Struct, frozen=True, tag="json_schema", tag_field="type"):
    json_schema: JsonSchema


class ChatRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field of OpenAI's request, and five of vLLM's that clients of open models send (`top_k` … `ignore_eos`)."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None
    n: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[str, float] | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Function] | None = None
    function_call: str | dict[str, Any] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None
    prediction: dict[str, Any] | None = None
    web_search_options: dict[str, Any] | None = None
    moderation: dict[str, Any] | None = None
    service_tier: str | None = None
    store: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    min_tokens: int | None = None
    ignore_eos: bool | None = None


_heads = msgspec.json.Decoder(ChatHead)
_requests = msgspec.json.Decoder(ChatRequest)


def read_head(body: bytes) -> ChatHead:
    """The facts to admit and place a request by; of a long one `messages` are without their long texts. Raises InvalidJson or
    InvalidRequest, naming the field."""
    if len(body) < SHORT:
        return read(_heads, body)
    try:
        return _heads.decode(without_texts(body))
    except UNREADABLE:
        return read(_heads, body)  # what is wrong is said of the request as it came


def read_request(body: bytes) -> ChatRequest:
    """The whole request. Raises InvalidJson, InvalidRequest or UnsupportedParameter, naming the field."""
    return read(_requests, body)


def read(decoder: "msgspec.json.Decoder[Read]", body: bytes) -> Read:
    """What `decoder` makes of `body`, or the error that a client can act on."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as wrong:
        raise _refusal(str(wrong)) from None
    except UNREADABLE as wrong:
        raise InvalidJson(f"The request's body is not valid JSON: {wrong}.") from None


_MISSING = re.compile(r"Object missing required field `(\w+)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.+?)`")


def _refusal(wrong: str) -> InvalidRequest:
    said, _, path = wrong.partition(" - at `")
    inside = path.rstrip("`").removeprefix("$").removeprefix(".").replace("[...]", "[]")
    if missing := _MISSING.match(said):
        param = f"{inside}.{missing[1]}" if inside else missing[1]
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param)
    if unknown := _UNKNOWN.match(said):
        param = f"{inside}.{unknown[1]}" if inside else unknown[1]
        return UnsupportedParameter(f"Unrecognized request argument supplied: {param}", param=param)
    if not inside:
        return InvalidRequest(f"The request's body must be a JSON object: {said.lower()}.")
    return InvalidRequest(f"Invalid value for '{inside}': {said[0].lower()}{said[1:]}.", param=inside)
