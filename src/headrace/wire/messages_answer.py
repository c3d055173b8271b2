"""What is said, written as Anthropic's Messages: event by event for a stream, or gathered into one message. The message is its events,
folded."""

from collections.abc import Iterable
from typing import Any, assert_never

import msgspec

from headrace.core.stream import Finished, FinishReason, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import NOTHING, Usage
from headrace.wire.messages_seal import sealed

Event = dict[str, Any]
REASONS: dict[FinishReason, str] = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_encode = msgspec.json.Encoder().encode


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage in Anthropic's exclusive meaning: what was read from the cache or written to it stands beside the input."""
    hour = usage.cache_write_1h + usage.cache_write_12h
    return {
        "input_tokens": usage.uncached,
        "cache_creation_input_tokens": usage.cache_written,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_written - hour, "ephemeral_1h_input_tokens": hour},
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
        "service_tier": "standard",
    }


def frame(event: Event) -> bytes:
    """One event of a stream: its type stands before it, too."""
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _encode(event))


class MessageEvents:
    """Turns what is said into the events of one message. A block ends where another begins, at the latest with the message."""

    def __init__(self, *, id: str, model: str) -> None:
        self._id, self._model = id, model
        self._kind = ""  # of the open block
        self._at = -1
        self._calls: dict[int, int] = {}
        self._reason: FinishReason = "stop"
        self._begun = False

    def events(self, said: Said) -> list[Event]:
        told: list[Event] = [] if self._begun or isinstance(said, Verbatim) else [self._start()]
        match said:
            case Text(text=text):
                return told + self._more("text", {"type": "text", "text": ""}, {"type": "text_delta", "text": text})
            case Reasoning():
                return told + self._thought(said)
            case ToolCallBegun(index=index, id=id, name=name):
                told += self._open("tool_use", {"type": "tool_use", "id": id, "name": name, "input": {}})
                self._calls[index] = self._at
                return told
            case ToolCallArguments(index=index, text=text):
                return [*told, _delta(self._calls[index], {"type": "input_json_delta", "partial_json": text})]
            case Finished(reason=reason):
                self._reason = reason
                return told
            case Used(usage=usage):
                return told + self._end(usage or NOTHING)
            case Verbatim():
                return []
            case never:
                assert_never(never)

    def _start(self) -> Event:
        self._begun = True
        return {"type": "message_start", "message": message_object(self._id, self._model)}

    def _thought(self, said: Reasoning) -> list[Event]:
        told: list[Event] = []
        if said.text:
            told += self._more("thinking", THINKING, {"type": "thinking_delta", "thinking": said.text})
        if said.signature:
            signed = {"type": "signature_delta", "signature": sealed(said.signature, said.format)}
            told += [*self._more("thinking", THINKING, signed), *self._close()]
        if said.redacted:
            told += self._open("redacted_thinking", {"type": "redacted_thinking", "data": sealed(said.redacted, said.format)})
            told += self._close()
        return told

    def _more(self, kind: str, block: Event, delta: Event) -> list[Event]:
        opening = [] if self._kind == kind else self._open(kind, block)
        return [*opening, _delta(self._at, delta)]

    def _open(self, kind: str, block: Event) -> list[Event]:
        closing = self._close()
        self._kind, self._at = kind, self._at + 1
        return [*closing, {"type": "content_block_start", "index": self._at, "content_block": block}]

    def _close(self) -> list[Event]:
        if not self._kind:
            return []
        self._kind = ""
        return [{"type": "content_block_stop", "index": self._at}]

    def _end(self, usage: Usage) -> list[Event]:
        delta = {"stop_reason": REASONS[self._reason], "stop_sequence": None}
        return [*self._close(), {"type": "message_delta", "delta": delta, "usage": usage_object(usage)}, {"type": "message_stop"}]


THINKING: Event = {"type": "thinking", "thinking": "", "signature": ""}


def _delta(index: int, delta: Event) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def message_object(id: str, model: str) -> dict[str, Any]:
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage_object(NOTHING),
    }


def gathered(events: Iterable[Event]) -> bytes:
    """The whole message of these events."""
    message: dict[str, Any] = {}
    pieces: dict[int, list[str]] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                message["content"].append(dict(event["content_block"]))
                pieces[event["index"]] = []
            case "content_block_delta":
                _gather(message["content"][event["index"]], pieces[event["index"]], event["delta"])
            case "message_delta":
                message |= event["delta"] | {"usage": event["usage"]}
            case _:
                pass
    for index, block in enumerate(message["content"]):
        if block["type"] == "tool_use":
            block["input"] = _input("".join(pieces[index]))
        elif block["type"] in ("text", "thinking"):
            block[block["type"]] = "".join(pieces[index])
    return _encode(message)


def _gather(block: dict[str, Any], pieces: list[str], delta: Event) -> None:
    if delta["type"] == "signature_delta":
        block["signature"] = delta["signature"]
    else:
        pieces.append(delta[delta["type"].removesuffix("_delta").replace("input_json", "partial_json")])


def _input(text: str) -> Any:
    """A tool's input is JSON, whatever the model wrote."""
    try:
        return msgspec.json.decode(text or "{}")
    except UNREADABLE:
        return {"arguments": text}
