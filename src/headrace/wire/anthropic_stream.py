"""A streamed answer of Anthropic's Messages, read as it arrives.

message_start, then block by block content_block_start, deltas and content_block_stop, then message_delta with the reason and the
usage, then message_stop; ping anywhere. What is not known is passed over: Anthropic adds events and blocks. Each field of the usage
holds as it was last stated; the split of the cache's writes by time is stated once, at the start.
"""

from typing import Annotated, Any, TypeAlias

import msgspec

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled
from headrace.core.stream import Finished, FinishReason, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.translation import Change
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.anthropic_failure import failure_in_stream
from headrace.wire.openai_thoughts import CLAUDE
from headrace.wire.sse import FrameCutter, frames, payload

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""What a vendor may claim: more would not be a count of tokens but a fault, and no bill shall be made of it."""
BYTES_A_TOKEN = 4
"""How many bytes of an answer make a token, more or less: for answers whose end, and with it the usage, is never heard."""

REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "pause_turn": "length",  # the answer is not whole
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
LEFT_OUT = {
    "prefix_binding_mismatch": "earlier thoughts were left out, since what stands before them has changed",
    "model_binding_mismatch": "earlier thoughts were left out, since this model does not read those of that one",
    "organization_binding_mismatch": "earlier thoughts were left out, since they were thought for another account",
}
"""What Anthropic says of thoughts that it left out of the prompt, told as a change."""
LEFT_OUT_SOMEHOW = "earlier thoughts were left out by Anthropic"
BILLED_BESIDE = frozenset({"compaction", "advisor_message"})
"""Iterations whose tokens are outside of the usage's own fields."""


class _Split(msgspec.Struct):
    ephemeral_5m_input_tokens: Count | None = None
    ephemeral_1h_input_tokens: Count | None = None


class _Details(msgspec.Struct):
    thinking_tokens: Count | None = None


class _Counts(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    cache_read_input_tokens: Count | None = None
    cache_creation_input_tokens: Count | None = None
    cache_creation: _Split | None = None
    output_tokens_details: _Details | None = None

    def segments(self) -> Usage:
        """The counts, made disjoint; a part is never larger than its whole, whatever the upstream claims."""
        split = self.cache_creation or _Split()
        lasting, brief = split.ephemeral_1h_input_tokens or 0, split.ephemeral_5m_input_tokens or 0
        written = self.cache_creation_input_tokens
        if written is None:
            written = lasting + brief
        lasting = min(lasting, written)
        output = self.output_tokens or 0
        thinking = min((self.output_tokens_details or _Details()).thinking_tokens or 0, output)
        return Usage(
            uncached=self.input_tokens or 0,
            cache_read=self.cache_read_input_tokens or 0,
            cache_write=written - lasting,
            output=output - thinking,
            reasoning=thinking,
            cache_write_1h=lasting,
        )


class _Iteration(_Counts):
    type: str = ""


class _ServerTools(msgspec.Struct):
    web_search_requests: Count | None = None


class _Usage(_Counts):
    iterations: list[_Iteration] | None = None
    service_tier: Any = None
    server_tool_use: _ServerTools | None = None

    @property
    def tier(self) -> str | None:
        return self.service_tier if isinstance(self.service_tier, str) else None

    @property
    def calls(self) -> tuple[tuple[str, int], ...]:
        """What tools of the vendor's own were called."""
        searched = self.server_tool_use.web_search_requests if self.server_tool_use is not None else None
        return (("web_search", searched),) if searched else ()

    def then(self, later: "_Usage") -> "_Usage":
        """Each field as it was last stated."""
        stated = {name: value for name, value in msgspec.structs.asdict(later).items() if value is not None}
        return msgspec.structs.replace(self, **stated)

    def whole(self) -> Usage | None:
        """All that is billed; None while neither side was counted."""
        if self.input_tokens is None and self.output_tokens is None:
            return None
        usage = self.segments()
        for one in self.iterations or ():
            if one.type in BILLED_BESIDE:
                usage = _sum(usage, one.segments())
        return usage


class _Message(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    input_transformations: Any = None
    type: str = "message"


_messages = msgspec.json.Decoder(_Message)


def read_whole(body: bytes) -> Used:
    """What a whole unstreamed message says that it used. Raises what went wrong upstream where it is not one."""
    try:
        message = _messages.decode(body)
    except UNREADABLE as wrong:
        raise UpstreamGarbled(f"The upstream's answer is not one of Anthropic's Messages: {wrong}.") from None
    if message.type == "error":
        raise failure_in_stream(body)
    usage = message.usage or _Usage()
    return Used(usage.whole(), message.model, usage.tier, usage.calls)


class _Block(msgspec.Struct):
    type: str
    id: str | None = None
    name: str | None = None
    input: Any = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None


class _Kind(msgspec.Struct):
    type: str


KNOWN = frozenset({"message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop"})
"""Events that can't be passed over when they can't be read."""
_events = msgspec.json.Decoder(_Event)
_kinds = msgspec.json.Decoder(_Kind)


class _Open:
    """A block that is being said; `call` is its number among the tool calls, if it is one."""

    def __init__(self, call: int | None, input: object) -> None:
        self.call, self.input = call, input
        self.argued = False


class StreamReader:
    """Holds the unfinished frame and which blocks are open. Any chunking of the same bytes gives the same events.

    `format` is whose thoughts are said. `usage` is what the upstream has told until now, `model` what answers, `done` whether it said its
    end; `changes` is what it left out of the prompt, known before anything is said. `failure` is what went wrong, set as soon as it is
    read: what came before it is still returned, and who asks for more is told by raising it.
    """

    def __init__(self, format: str = CLAUDE) -> None:
        self._format, self._cutter = format, FrameCutter()
        self._open: dict[int, _Open] = {}
        self._calls = self._bytes_said = 0
        self._told = _Usage()
        self._stop: str | None = None
        self.usage: Usage | None = None
        self.model: str | None = None
        self.done = False
        self.changes: tuple[Change, ...] = ()
        self.failure: HeadraceError | None = None

    def feed(self, data: bytes) -> list[Said]:
        """What `data` completes. Raises the failure that an earlier piece ended in."""
        return self._read(self._cutter.feed(data))

    def close(self) -> list[Said]:
        """The upstream's bytes have ended. Raises UpstreamCut when they ended before the answer did."""
        said = self._read(self._cutter.close())
        if self.failure is not None:
            raise self.failure
        if not self.done:
            if self._stop is None:
                raise UpstreamCut("The upstream ended its stream before the answer was complete.")
            said += self._ended()
        return said

    def spent(self, tokens_out_max: int) -> Usage | None:
        """What an answer costs that is left here: as told, and its output, of which only the first tokens are told before the end, at
        least what was said of it, of at most `tokens_out_max`."""
        if self.usage is None or self.done:
            return self.usage
        said = min(-(-self._bytes_said // BYTES_A_TOKEN), tokens_out_max)
        return msgspec.structs.replace(self.usage, output=max(self.usage.output, said - self.usage.reasoning))

    def _read(self, ready: bytes) -> list[Said]:
        if self.failure is not None:
            raise self.failure
        said: list[Said] = []
        try:
            for one in frames(ready):
                data = payload(one)
                if data and data != b"[DONE]" and not self.done:
                    said += self._heard(data)
        except HeadraceError as failure:
            self.failure = failure
        return said

    def _heard(self, data: bytes) -> list[Said]:
        event = _event(data)
        match event.type:
            case "content_block_delta":
                return self._more(event)
            case "content_block_start":
                return self._begun(event)
            case "content_block_stop":
                return self._block_ended(event.index)
            case "message_start":
                message = event.message or _Message()
                self.model = message.model
                self.changes = _left_out(message.input_transformations)
                self._count(message.usage)
            case "message_delta":
                self._stop = (event.delta or _Delta()).stop_reason or self._stop
                self._count(event.usage)
            case "message_stop":
                return self._ended()
            case "error":
                raise failure_in_stream(data)
            case _:
                pass
        return []

    def _count(self, told: _Usage | None) -> None:
        if told is not None:
            self._told = self._told.then(told)
            self.usage = self._told.whole()

    def _begun(self, event: _Event) -> list[Said]:
        block = event.content_block
        if block is None:
            raise UpstreamGarbled("The upstream began a block and did not say what it is.")
        self._open[event.index] = opened = _Open(self._calls if block.type == "tool_use" else None, block.input)
        match block.type:
            case "tool_use":
                if not block.id or not block.name:
                    raise UpstreamGarbled("The upstream called a tool without an id or a name.")
                self._calls += 1
                return [ToolCallBegun(opened.call or 0, block.id, block.name)]
            case "text":
                return self._texts(block.text)
            case "thinking":
                return self._thoughts(block.thinking, block.signature)
            case "redacted_thinking":
                return [Reasoning("", redacted=block.data, format=self._format)] if block.data else []
            case _:
                return []

    def _more(self, event: _Event) -> list[Said]:
        delta = event.delta or _Delta()
        match delta.type:
            case "text_delta":
                return self._texts(delta.text)
            case "input_json_delta":
                return self._arguments(event.index, delta.partial_json)
            case "thinking_delta" | "signature_delta":
                return self._thoughts(delta.thinking, delta.signature)
            case _:
                return []

    def _texts(self, text: str | None) -> list[Said]:
        self._heard_of(text)
        return [Text(text)] if text else []

    def _thoughts(self, text: str | None, signature: str | None) -> list[Said]:
        self._heard_of(text)
        return [Reasoning(text or "", signature=signature or None, format=self._format)] if text or signature else []

    def _arguments(self, index: int, text: str | None) -> list[Said]:
        block = self._open.get(index)
        if block is None:
            raise UpstreamGarbled(f"The upstream said arguments in block {index}, which it had not begun.")
        if block.call is None or not text:
            return []
        self._heard_of(text)
        block.argued = True
        return [ToolCallArguments(block.call, text)]

    def _block_ended(self, index: int) -> list[Said]:
        """A call whose arguments came at once, or that takes none, says them now: clients read them as JSON."""
        block = self._open.pop(index, None)
        if block is None or block.call is None or block.argued:
            return []
        text = msgspec.json.encode(block.input or {}).decode()
        self._heard_of(text)
        return [ToolCallArguments(block.call, text)]

    @property
    def used(self) -> Used:
        return Used(self.usage, self.model, self._told.tier, self._told.calls)

    def _heard_of(self, text: str | None) -> None:
        self._bytes_said += len((text or "").encode())

    def _ended(self) -> list[Said]:
        self.done = True
        said = [one for index in sorted(self._open) for one in self._block_ended(index)]
        reason = REASONS.get(self._stop or "", "stop")
        return [
            *said,
            Finished("tool_calls" if reason == "stop" and self._calls else reason),
            self.used,
        ]


def _event(data: bytes) -> _Event:
    """The event, if it is one that matters; what else it holds may have any form."""
    try:
        return _events.decode(data)
    except UNREADABLE as wrong:
        if (kind := _kind(data)) is not None and kind not in KNOWN:
            return _Event(kind)
        raise UpstreamGarbled(f"The upstream's stream is not one of Anthropic's Messages: {wrong}.") from None


def _kind(data: bytes) -> str | None:
    try:
        return _kinds.decode(data).type
    except UNREADABLE:
        return None


def _left_out(transformations: object) -> tuple[Change, ...]:
    """One change for each reason; the vendor's paths are those of its own request, so the client is told of the conversation."""
    told = transformations if isinstance(transformations, list) else []
    reasons = dict.fromkeys(str(one.get("reason")) for one in told if isinstance(one, dict) and one.get("type") == "thinking_dropped")
    return tuple(Change("dropped", "messages", LEFT_OUT.get(reason, LEFT_OUT_SOMEHOW)) for reason in reasons)


def _sum(one: Usage, other: Usage) -> Usage:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return Usage(*(mine + its for mine, its in pairs))
