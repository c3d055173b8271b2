"""A request in the words of Anthropic's Messages, said as a chat in OpenAI's, which every adapter understands.

Each field is read, dropped and reported, or makes the request one that only a server of Anthropic's dialect can answer: then the chat
says what it can, and `untold` why that is not enough. A field that we don't know is dropped and reported: Anthropic adds many.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from headrace.core.errors import InvalidRequest
from headrace.core.translation import Change
from headrace.wire.messages_seal import MARK
from headrace.wire.messages_tools import choice_for, tools_for
from headrace.wire.messages_turns import Block, Turn, Untold, Written, messages_for, system_for
from headrace.wire.openai_chat import read

EFFORT_OF_BUDGET = ((1_024, "minimal"), (4_096, "low"), (12_288, "medium"))
"""Up to so many tokens of thoughts; more is `high`."""
STRAIGHT = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "max_tokens": "max_completion_tokens",
    "stop_sequences": "stop",
    "max_cost": "max_cost",
}
"""Fields that a chat has too, and what they are called there."""
READ = frozenset(
    {*STRAIGHT, "model", "messages", "system", "stream", "tools", "tool_choice", "thinking", "output_config", "metadata", "service_tier"}
)
NATIVE_ONLY = {
    "container": "only Anthropic has containers",
    "mcp_servers": "only Anthropic connects to MCP servers",
    "prefill": "only Anthropic continues a prefilled answer",
}
OPEN_ENDED = frozenset(("container", "mcp_servers"))
"""Of those, what costs beside the prompt and the answer."""
DROPPED = {
    "cache_control": "the vendor decides what of a prompt it keeps",
    "context_management": "the conversation is sent as it is",
    "diagnostics": "only Anthropic diagnoses its cache",
    "inference_geo": "where it is computed follows from the pool: use x-headrace-jurisdictions",
    "speed": "the pool has one speed",
    "betas": "only Anthropic has them",
    "user_profile_id": "only Anthropic knows its profiles",
    "workspace_id": "only Anthropic knows its workspaces",
}
UNKNOWN = "the pool's dialect has no such field"


class MessagesHead(msgspec.Struct, frozen=True):
    model: str
    stream: bool | None = None


class Thinking(msgspec.Struct, frozen=True):
    type: str
    budget_tokens: int | None = None


class OutputFormat(msgspec.Struct, frozen=True):
    type: str
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct, frozen=True):
    effort: str | None = None
    format: OutputFormat | None = None


class Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


class MessagesRequest(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    max_tokens: int | None = None
    messages: list[Turn]
    system: str | list[Block] | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    metadata: Metadata | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    service_tier: str | None = None
    max_cost: str | float | None = None


class AsChat(msgspec.Struct, frozen=True):
    """The request as a chat. `changes`, `untold` and `param` as in `core.native`; `relayable` is whether the request holds nothing that
    only we understand."""

    model: str
    stream: bool
    body: bytes
    changes: tuple[Change, ...]
    untold: str | None
    param: str | None
    relayable: bool
    hosted: tuple[str, ...]
    open_ended: str | None


_requests = msgspec.json.Decoder(MessagesRequest)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def chat_for(body: bytes, *, counting: bool = False) -> AsChat:
    """The chat that says the same. `counting`: the length of the prompt is asked for, not an answer. Raises InvalidJson or InvalidRequest,
    naming the field."""
    asked, named = read(_requests, body), read(_members, body)
    if asked.max_tokens is None and not counting:
        raise InvalidRequest("max_tokens: Field required", param="max_tokens")
    if asked.max_tokens is not None and asked.max_tokens < 1:
        raise InvalidRequest("max_tokens: Input should be greater than or equal to 1", param="max_tokens")
    if not asked.messages:
        raise InvalidRequest("messages: at least one message is required", param="messages")
    written = Written()
    chat: dict[str, Any] = {"model": asked.model, "messages": [*system_for(asked.system, written), *messages_for(asked.messages, written)]}
    chat |= {its: value for ours, its in STRAIGHT.items() if (value := getattr(asked, ours)) not in (None, [])}
    if asked.stream:
        chat["stream"] = True
    if asked.tools and (tools := tools_for(asked.tools, written)):
        chat["tools"] = tools
        chat |= choice_for(asked.tool_choice, tools, written)
    chat |= _effort(asked, written) | _format(asked) | _who(asked)
    written.changes += _left_out(name for name, value in named.items() if bytes(value) != b"null")
    untold = written.untold or _native_only(named)
    return AsChat(
        model=asked.model,
        stream=bool(asked.stream),
        body=msgspec.json.encode(chat),
        changes=tuple(written.changes),
        untold=untold.why if untold else None,
        param=untold.param if untold else None,
        relayable=MARK.encode() not in body,
        hosted=tuple(written.hosted),
        open_ended=written.open_ended or (untold.why if untold and untold.param in OPEN_ENDED else None),
    )


def _effort(asked: MessagesRequest, written: Written) -> dict[str, Any]:
    """How much to think. A budget becomes an effort; who does not ask for thoughts says nothing of them."""
    effort = asked.output_config.effort if asked.output_config else None
    thinking = asked.thinking
    if thinking is not None and thinking.type == "enabled":
        budget = thinking.budget_tokens or 0
        effort = effort or next((name for most, name in EFFORT_OF_BUDGET if budget <= most), "high")
        written.changes.append(Change("changed", "thinking.budget_tokens", f"it is asked for as the effort {effort}"))
    elif thinking is not None and thinking.type == "adaptive":
        effort = effort or "medium"
        written.changes.append(Change("changed", "thinking", f"it is asked for as the effort {effort}"))
    elif effort is not None and (thinking is None or thinking.type == "disabled"):
        written.changes.append(Change("dropped", "output_config.effort", "no thoughts are asked for"))
        effort = None
    return {"reasoning_effort": effort} if effort else {}


def _format(asked: MessagesRequest) -> dict[str, Any]:
    wanted = asked.output_config.format if asked.output_config else None
    if wanted is None or wanted.schema is None:
        return {}
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.schema, "strict": True}}}


def _who(asked: MessagesRequest) -> dict[str, Any]:
    told = {"safety_identifier": asked.metadata.user_id} if asked.metadata and asked.metadata.user_id else {}
    return told | ({"service_tier": "default"} if asked.service_tier == "standard_only" else {})


def _left_out(names: Iterable[str]) -> Iterator[Change]:
    for name in names:
        if name not in READ and name not in NATIVE_ONLY:
            yield Change("dropped", name, DROPPED.get(name, UNKNOWN))


def _native_only(named: dict[str, msgspec.Raw]) -> Untold | None:
    asked = [name for name in NATIVE_ONLY if bytes(named.get(name, msgspec.Raw(b"null"))) not in (b"null", b"[]")]
    return Untold(f"{NATIVE_ONLY[asked[0]]} ('{asked[0]}').", asked[0]) if asked else None
