"""A request in the words of OpenAI's Responses, said as a chat, which every adapter understands.

Each field is read, kept for the answer that repeats it, dropped and reported, or makes the request one that only a server of this dialect
can answer: then `untold` says why.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from headrace.core.errors import InvalidRequest
from headrace.core.translation import Change
from headrace.wire.messages_turns import Written
from headrace.wire.openai_chat import read
from headrace.wire.responses_items import Item, messages_for
from headrace.wire.responses_tools import Kinds, choice_for, tools_for

TOKENS_OUT_MIN = 16
SAFETY_IDENTIFIER_MAX = 64
METADATA_MAX = 16
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED = "reasoning.encrypted_content"
STRAIGHT = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_completion_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
    "safety_identifier": "safety_identifier",
    "user": "user",
    "prompt_cache_key": "prompt_cache_key",
    "prompt_cache_retention": "prompt_cache_retention",
    "prompt_cache_options": "prompt_cache_options",
    "service_tier": "service_tier",
    "max_cost": "max_cost",
}
"""Fields that a chat has too, and what they are called there."""
NATIVE_ONLY = {
    "prompt": "prompt templates are kept by the vendor",
    "moderation": "the vendor's own moderation is asked for",
    "personality": "only the vendor's models have one",
}
OPEN_ENDED = frozenset(("prompt", "moderation"))
"""Of those, what costs beside the prompt and the answer."""
DROPPED = {
    "access_programs": "only the vendor has them",
    "background_options": "it is worked on at once",
    "comparison_response_id": "only the vendor diagnoses its cache",
    "context_management": "the conversation is sent as it is: POST /v1/responses/compact makes it shorter",
    "image": "images are sent as they are",
    "max_tool_calls": "it limits hosted tools, and the pool has none",
}


class Reasoning(msgspec.Struct, frozen=True):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class TextFormat(msgspec.Struct, frozen=True):
    type: str
    name: str | None = None
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, frozen=True):
    format: TextFormat | None = None
    verbosity: str | None = None


class ConversationId(msgspec.Struct, frozen=True):
    id: str


class ResponsesRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The fields that we read. The others are looked at by their names."""

    model: str
    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    conversation: str | ConversationId | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    include: list[str] | None = None
    reasoning: Reasoning | None = None
    text: TextConfig | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    max_cost: str | float | None = None

    @property
    def stored(self) -> bool:
        return self.store is not False

    @property
    def conversation_id(self) -> str | None:
        return self.conversation.id if isinstance(self.conversation, ConversationId) else self.conversation

    @property
    def items(self) -> list[dict[str, Any]]:
        """The input as items, whichever way it was given."""
        if isinstance(self.input, str):
            return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": self.input}]}]
        return self.input or []


class AsChat(msgspec.Struct, frozen=True):
    """The request as a chat; `kinds` say what the functions of it are to the client. The rest is as in `core.native`."""

    body: bytes
    kinds: Kinds
    changes: tuple[Change, ...]
    untold: str | None
    param: str | None
    hosted: tuple[str, ...]
    open_ended: str | None


_requests = msgspec.json.Decoder(ResponsesRequest)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
READ = frozenset(ResponsesRequest.__struct_fields__)


def read_request(body: bytes) -> ResponsesRequest:
    """Raises InvalidJson or InvalidRequest, naming the field."""
    asked = read(_requests, body)
    if asked.previous_response_id is not None and asked.conversation is not None:
        raise InvalidRequest("Mutually exclusive parameters: 'previous_response_id' and 'conversation'.", param="conversation")
    if asked.max_output_tokens is not None and asked.max_output_tokens < TOKENS_OUT_MIN:
        raise InvalidRequest(f"Invalid 'max_output_tokens': it must be at least {TOKENS_OUT_MIN}.", param="max_output_tokens")
    if len(asked.safety_identifier or "") > SAFETY_IDENTIFIER_MAX:
        raise InvalidRequest(f"Invalid 'safety_identifier': at most {SAFETY_IDENTIFIER_MAX} characters.", param="safety_identifier")
    if asked.background and not asked.stored:
        raise InvalidRequest("A background response must be stored: leave out 'store'.", param="store")
    check_metadata(asked.metadata)
    return asked


def check_metadata(metadata: dict[str, str] | None) -> None:
    """OpenAI's bounds: 16 pairs, keys of 64 characters, values of 512. Raises InvalidRequest."""
    told = metadata or {}
    if len(told) > METADATA_MAX or any(len(key) > 64 or len(value) > 512 for key, value in told.items()):
        words = f"at most {METADATA_MAX} pairs, keys of 64 and values of 512 characters"
        raise InvalidRequest(f"Invalid 'metadata': {words}.", param="metadata")


def chat_for(
    asked: ResponsesRequest, body: bytes, items: Sequence[dict[str, Any]], *, stream: bool, shortened: bool | None = None
) -> AsChat:
    """The chat that says the same. `items` is the whole input, with what is kept of earlier responses; `body` is the request as it came;
    `shortened` whether its beginning was left out, None where nobody looked.

    Raises InvalidRequest, naming the field."""
    written = Written()
    tools, kinds = tools_for(asked.tools or (), written)
    messages = messages_for(_items(items), kinds, written)
    if asked.instructions:
        messages.insert(0, {"role": "system", "content": asked.instructions})
    if not messages:
        raise InvalidRequest("Missing required parameter: 'input'.", param="input")
    chat: dict[str, Any] = {"model": asked.model, "messages": messages}
    chat |= {its: value for ours, its in STRAIGHT.items() if (value := getattr(asked, ours)) is not None}
    if stream:
        chat["stream"] = True
    chat |= choice_for(asked.tool_choice, tools, kinds, written)
    if "tools" not in chat:
        chat.pop("parallel_tool_calls", None)
    chat |= _thoughts(asked) | _text(asked) | _logprobs(asked)
    _left_out(read(_members, body), asked, shortened, written)
    untold = written.untold
    return AsChat(
        body=msgspec.json.encode(chat),
        kinds=kinds,
        changes=tuple(written.changes),
        untold=untold.why if untold else None,
        param=untold.param if untold else None,
        hosted=tuple(written.hosted),
        open_ended=written.open_ended,
    )


def _items(items: Sequence[dict[str, Any]]) -> list[Item]:
    try:
        return msgspec.convert(list(items), list[Item])
    except msgspec.ValidationError as wrong:
        raise InvalidRequest(f"Invalid value for 'input': {wrong}.", param="input") from None


def _thoughts(asked: ResponsesRequest) -> dict[str, Any]:
    effort = asked.reasoning.effort if asked.reasoning else None
    return {"reasoning_effort": effort} if effort else {}


def _text(asked: ResponsesRequest) -> dict[str, Any]:
    config, said = asked.text or TextConfig(), {}
    if config.verbosity:
        said["verbosity"] = config.verbosity
    wanted = config.format
    if wanted is not None and wanted.type == "json_schema":
        schema = {"name": wanted.name, "schema": wanted.schema, "description": wanted.description, "strict": wanted.strict}
        told = {name: value for name, value in schema.items() if value is not None}
        return said | {"response_format": {"type": "json_schema", "json_schema": told}}
    if wanted is not None and wanted.type == "json_object":
        return said | {"response_format": {"type": "json_object"}}
    return said


def _logprobs(asked: ResponsesRequest) -> dict[str, Any]:
    if LOGPROBS not in (asked.include or ()) and not asked.top_logprobs:
        return {}
    return {"logprobs": True, "top_logprobs": asked.top_logprobs or 0}


def _left_out(named: dict[str, msgspec.Raw], asked: ResponsesRequest, shortened: bool | None, written: Written) -> None:
    for name, value in named.items():
        if bytes(value) in (b"null", b"[]", b"{}"):
            continue
        if name in NATIVE_ONLY:
            written.cannot(f"{NATIVE_ONLY[name]} ('{name}').", name, open_ended=name in OPEN_ENDED)
        elif name in DROPPED or (name not in READ and name not in ("stream_options", "type", "generate")):
            written.changes.append(Change("dropped", name, DROPPED.get(name, "the pool's dialect has no such field")))
    if asked.truncation == "auto" and shortened is None:
        written.changes.append(Change("dropped", "truncation", "how long a prompt may be is not known here: a pool may refuse it"))
    elif shortened:
        written.changes.append(Change("changed", "input", "its beginning is left out, since the whole is too long for the model"))
