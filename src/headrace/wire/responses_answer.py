"""What is said, written as OpenAI's Responses: event by event, each with its number. The whole response is what its last event holds.

    created, in_progress ─► for each item: added ─► its parts and deltas ─► done ─► … ─► completed, incomplete or failed

An item is open until another begins. Tools that are no functions are called in one piece, since what they are called with is not JSON.
"""

from typing import Any, assert_never

import msgspec

from headrace.core.errors import HeadraceError, RateLimited
from headrace.core.stream import (
    Finished,
    FinishReason,
    Reasoning,
    Said,
    Text,
    TokenLogprob,
    ToolCallArguments,
    ToolCallBegun,
    Used,
    Verbatim,
)
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.responses_seal import sealed
from headrace.wire.responses_tools import Kind, Kinds

Event = dict[str, Any]
INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled", "error"})
"""After these no event comes."""


class Manner(msgspec.Struct, frozen=True):
    """How the client wants it: what the chat's functions are to it, whether thoughts come as a `summary`, whether they are given out
    sealed, too, and whether log probabilities are."""

    kinds: Kinds
    summary: bool = False
    encrypted: bool = False
    logprobs: bool = False


class _Open:
    """An item that is being said."""

    def __init__(self, item: Event, at: int) -> None:
        self.item, self.at = item, at
        self.pieces: list[str] = []
        self.logprobs: list[Event] = []
        self.details: list[Event] = []
        self.call: tuple[int, Kind] | None = None


class ResponseEvents:
    """Turns what is said into the events of one response; `response` is what it has come to. `head` is the response before anything was
    said, and `now_s` tells the time at its end."""

    def __init__(self, head: Event, manner: Manner, *, first: int = 0) -> None:
        self.response = head
        self._manner, self._number = manner, first
        self._open: _Open | None = None
        self._calls: dict[int, _Open] = {}
        self._begun = False
        self._reason: FinishReason = "stop"

    def events(self, said: Said, now_s: int) -> list[Event]:
        """Those that `said` becomes, at this time."""
        match said:
            case Text(text=text, logprobs=logprobs):
                return [*self.begin(), *self._text(text, logprobs)]
            case Reasoning():
                return [*self.begin(), *self._thought(said)]
            case ToolCallBegun(index=index, id=id, name=name):
                return [*self.begin(), *self._call(index, id, name)]
            case ToolCallArguments(index=index, text=text):
                return self._arguments(index, text)
            case Finished(reason=reason):
                self._reason = reason
                return self.begin()
            case Used(usage=usage):
                return [*self.begin(), *self._end(usage, now_s)]
            case Verbatim():
                return []
            case never:
                assert_never(never)

    def begin(self) -> list[Event]:
        """That it has begun, once."""
        if self._begun:
            return []
        self._begun = True
        self.response["status"] = "in_progress"
        return [
            self._event("response.created", response=dict(self.response)),
            self._event("response.in_progress", response=dict(self.response)),
        ]

    def queue(self) -> list[Event]:
        """That it waits to begin, for one that is worked on in the background."""
        self.response["status"] = "queued"
        return [self._event("response.queued", response=dict(self.response))]

    def fail(self, error: HeadraceError) -> list[Event]:
        """That it ends here, without what was to come."""
        begun = self.begin()
        code = "rate_limit_exceeded" if isinstance(error, RateLimited) else "server_error"
        self.response |= {"status": "failed", "error": {"code": code, "message": error.message}}
        return [*begun, self._event("response.failed", response=self.response)]

    def cancel(self) -> list[Event]:
        """That the client has ended it."""
        begun = self.begin()
        self.response["status"] = "cancelled"
        return [*begun, self._event("response.cancelled", response=self.response)]

    # One item after another.

    def _text(self, text: str, logprobs: tuple[TokenLogprob, ...]) -> list[Event]:
        told: list[Event] = []
        one = self._open
        if one is None or one.item["type"] != "message":
            told = self._add({"type": "message", "id": self._id("msg"), "status": "in_progress", "role": "assistant", "content": []})
            one = self._opened
            told.append(self._of(one, "response.content_part.added", content_index=0, part=_text_part("", [])))
        one.pieces.append(text)
        chosen = [_logprob(each) for each in logprobs] if self._manner.logprobs else []
        one.logprobs += chosen
        told.append(self._of(one, "response.output_text.delta", content_index=0, delta=text, logprobs=chosen))
        return told

    def _thought(self, said: Reasoning) -> list[Event]:
        told: list[Event] = []
        one = self._open
        if one is None or one.item["type"] != "reasoning":
            told = self._add({"type": "reasoning", "id": self._id("rs"), "summary": []} | ({} if self._manner.summary else {"content": []}))
            one = self._opened
            if self._manner.summary:
                part = {"type": "summary_text", "text": ""}
                told.append(self._of(one, "response.reasoning_summary_part.added", summary_index=0, part=part))
        if said.text:
            one.pieces.append(said.text)
            if self._manner.summary:
                told.append(self._of(one, "response.reasoning_summary_text.delta", summary_index=0, delta=said.text))
            else:
                told.append(self._of(one, "response.reasoning_text.delta", content_index=0, delta=said.text))
        if said.signature:
            text = "".join(one.pieces)[sum(len(each.get("text", "")) for each in one.details) :]
            one.details.append({"type": "reasoning.text", "text": text, "signature": said.signature, "format": said.format})
        if said.redacted:
            one.details.append({"type": "reasoning.encrypted", "data": said.redacted, "format": said.format})
        return told

    def _call(self, index: int, id: str, name: str) -> list[Event]:
        kind = self._manner.kinds.get(name, Kind("function", name))
        place = {"namespace": kind.namespace} if kind.namespace else {}
        item: Event
        match kind.kind:
            case "function":
                item = {"type": "function_call", "id": self._id("fc"), "call_id": id, "name": kind.name, "arguments": ""} | place
            case "custom":
                item = {"type": "custom_tool_call", "id": self._id("ctc"), "call_id": id, "name": kind.name, "input": ""} | place
            case "local_shell":
                action = {"type": "exec", "command": [], "env": {}}
                item = {"type": "local_shell_call", "id": self._id("lsc"), "call_id": id, "action": action}
            case "shell":
                item = {"type": "shell_call", "id": self._id("sc"), "call_id": id, "action": {"commands": []}}
            case "apply_patch":
                operation = {"type": "update_file", "path": "", "diff": ""}
                item = {"type": "apply_patch_call", "id": self._id("apc"), "call_id": id, "operation": operation}
            case never:
                assert_never(never)
        told = self._add(item | {"status": "in_progress"})
        self._opened.call = (index, kind)
        self._calls[index] = self._opened
        return told

    def _arguments(self, index: int, text: str) -> list[Event]:
        one = self._calls[index]
        one.pieces.append(text)
        if one.item["type"] != "function_call":
            return []
        return [self._of(one, "response.function_call_arguments.delta", delta=text)]

    def _add(self, item: Event) -> list[Event]:
        closing = self._close()
        self.response["output"] = [*self.response["output"], item]
        self._open = one = _Open(item, len(self.response["output"]) - 1)
        return [*closing, self._event("response.output_item.added", output_index=one.at, item=dict(item))]

    @property
    def _opened(self) -> _Open:
        assert self._open is not None
        return self._open

    def _close(self, status: str = "completed") -> list[Event]:
        one, self._open = self._open, None
        if one is None:
            return []
        told, text = [], "".join(one.pieces)
        match one.item["type"]:
            case "message":
                part = _text_part(text, one.logprobs)
                told.append(self._of(one, "response.output_text.done", content_index=0, text=text, logprobs=one.logprobs))
                told.append(self._of(one, "response.content_part.done", content_index=0, part=part))
                one.item["content"] = [part]
                one.item["status"] = status
            case "reasoning":
                told += self._thought_whole(one, text)
            case _:
                told += self._called(one, text)
                one.item["status"] = status
        told.append(self._event("response.output_item.done", output_index=one.at, item=dict(one.item)))
        return told

    def _thought_whole(self, one: _Open, text: str) -> list[Event]:
        told: list[Event] = []
        if self._manner.summary:
            part = {"type": "summary_text", "text": text}
            told.append(self._of(one, "response.reasoning_summary_text.done", summary_index=0, text=text))
            told.append(self._of(one, "response.reasoning_summary_part.done", summary_index=0, part=part))
            one.item["summary"] = [part]
        else:
            told.append(self._of(one, "response.reasoning_text.done", content_index=0, text=text))
            one.item["content"] = [{"type": "reasoning_text", "text": text}]
        if self._manner.encrypted or one.details:
            one.item["encrypted_content"] = sealed(one.details or [{"type": "reasoning.text", "text": text}])
        return told

    def _called(self, one: _Open, text: str) -> list[Event]:
        """The end of a call: with what it was called."""
        assert one.call is not None
        match one.call[1].kind:
            case "function":
                one.item["arguments"] = text
                return [self._of(one, "response.function_call_arguments.done", name=one.item["name"], arguments=text)]
            case "custom":
                input = _read(text).get("input", text)
                one.item["input"] = input = input if isinstance(input, str) else msgspec.json.encode(input).decode()
                return [
                    self._of(one, "response.custom_tool_call_input.delta", delta=input),
                    self._of(one, "response.custom_tool_call_input.done", input=input),
                ]
            case "local_shell":
                one.item["action"] = {"type": "exec", "command": [], "env": {}} | _read(text)
            case "shell":
                one.item["action"] = {"commands": [], "timeout_ms": None, "max_output_length": None} | _read(text)
            case "apply_patch":
                one.item["operation"] = _read(text)
            case never:
                assert_never(never)
        return []

    def _end(self, usage: Usage | None, now_s: int) -> list[Event]:
        why = INCOMPLETE.get(self._reason)
        closing = self._close("incomplete" if why else "completed")
        status = "incomplete" if why else "completed"
        self.response |= {
            "status": status,
            "incomplete_details": {"reason": why} if why else None,
            "completed_at": None if why else now_s,
            "usage": usage_object(usage) if usage else None,
        }
        return [*closing, self._event(f"response.{status}", response=self.response)]

    def _of(self, one: _Open, type: str, **more: object) -> Event:
        return self._event(type, item_id=one.item["id"], output_index=one.at, **more)

    def _event(self, type: str, **more: object) -> Event:
        number, self._number = self._number, self._number + 1
        return {"type": type, "sequence_number": number, **more}

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{self.response['id'].partition('_')[2]}{len(self.response['output']):02x}"


def usage_object(usage: Usage) -> Event:
    """Usage in OpenAI's inclusive meaning."""
    return {
        "input_tokens": usage.tokens_in,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_written},
        "output_tokens": usage.tokens_out,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _text_part(text: str, logprobs: list[Event]) -> Event:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _logprob(one: TokenLogprob) -> Event:
    top = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in one.top]
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.token.encode()), "top_logprobs": top}


def _read(text: str) -> Event:
    """What a tool is called with; a model may write what is no JSON."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except UNREADABLE:
        return {}
