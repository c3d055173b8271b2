"""What Bedrock's ConverseStream says, as the events of `core.stream`.

    messageStart · (contentBlockStart · contentBlockDelta … · contentBlockStop) … · messageStop(why) · metadata(usage)

Usage comes after the stop, once, and an exception may come instead of any of it, as a message of its own in a stream that began with 200.
Events and fields of kinds that we don't know are passed over: AWS pads its events and adds to them.

What AWS documents of usage: `inputTokens` is what was neither read from the cache nor written to it, so that the three are disjoint; a
table in `bedrock_models` names who counts otherwise. `outputTokens` includes thinking, which is not told apart. The cache's counts may come
under two names, of which one is read, and what was written is split by how long it is kept in `cacheDetails`.
"""

from base64 import b64decode
from binascii import Error as NotBase64
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled
from headrace.core.stream import Finished, FinishReason, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.bedrock_failure import failure_in_stream
from headrace.wire.bedrock_models import traits_of
from headrace.wire.eventstream import Message, MessageReader
from headrace.wire.openai_thoughts import BEDROCK, CLAUDE

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""What a vendor may claim: more would not be a count of tokens but a fault, and no bill shall be made of it."""

REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
    "refusal": "content_filter",
}
MALFORMED = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Stops at which what was said is no answer, though it was computed and is billed."""

Read = TypeVar("Read")


class _Body(msgspec.Struct, rename="camel"):
    pass


class _ToolBegun(_Body):
    tool_use_id: str
    name: str
    type: str | None = None


class _Start(_Body):
    tool_use: _ToolBegun | None = None


class _BlockStart(_Body):
    content_block_index: int
    start: _Start


class _ToolInput(_Body):
    input: str = ""


class _Thought(_Body):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class _Delta(_Body):
    text: str | None = None
    tool_use: _ToolInput | None = None
    reasoning_content: _Thought | None = None


class _BlockDelta(_Body):
    content_block_index: int
    delta: _Delta


class _BlockStop(_Body):
    content_block_index: int


class _MessageStop(_Body):
    stop_reason: str


class _CacheDetail(_Body):
    ttl: str
    input_tokens: Count


class _Usage(_Body):
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_input_tokens: Count | None = None
    cache_read_input_token_count: Count | None = None
    cache_write_input_tokens: Count | None = None
    cache_write_input_token_count: Count | None = None
    cache_details: list[_CacheDetail] | None = None

    def segments(self, *, counts_cache_inside: bool) -> Usage:
        """Disjoint, and no part larger than its whole, whatever the upstream claims."""
        kept: dict[str, int] = {}
        for detail in self.cache_details or []:
            kept[detail.ttl] = kept.get(detail.ttl, 0) + detail.input_tokens
        read = max(self.cache_read_input_tokens or 0, self.cache_read_input_token_count or 0)
        written = max(self.cache_write_input_tokens or 0, self.cache_write_input_token_count or 0) or sum(kept.values())
        for_12h = min(kept.get("12h", 0), written)
        for_1h = min(kept.get("1h", 0), written - for_12h)
        for_30m = min(kept.get("30m", 0), written - for_12h - for_1h)
        cached = read + written
        return Usage(
            self.input_tokens - cached if counts_cache_inside and cached <= self.input_tokens else self.input_tokens,
            read,
            written - for_30m - for_1h - for_12h,
            self.output_tokens,
            cache_write_30m=for_30m,
            cache_write_1h=for_1h,
            cache_write_12h=for_12h,
        )


class _Metadata(_Body):
    usage: _Usage | None = None


class _ToolCall:
    """A call while its arguments come: its index among the calls, and whether any came."""

    def __init__(self, index: int) -> None:
        self.index, self.argued = index, False


class StreamReader:
    """Reads one answer of `model`, which we call `ours`. `usage` is what was told until now, also after a failure.

    A failure is held in `failure` so that what came before it is still said; feeding more says nothing, and `close` raises it.
    """

    def __init__(self, *, model: str, ours: str) -> None:
        self._model, self._traits = model, traits_of(model, ours)
        self._messages = MessageReader()
        self._calls: dict[int, _ToolCall] = {}
        self._stop: str | None = None
        self.usage: Usage | None = None
        self.failure: HeadraceError | None = None

    def feed(self, data: bytes) -> list[Said]:
        """What `data` completes."""
        said: list[Said] = []
        if self.failure is not None:
            return said
        self._messages.feed(data)
        try:
            while (message := self._messages.next_message()) is not None:
                said += self._said(message)
        except HeadraceError as failure:
            self.failure = failure
        return said

    def close(self) -> list[Said]:
        """The upstream's bytes have ended: what was used. Raises the stream's failure, or UpstreamCut when it ended before its end."""
        if self.failure is not None:
            raise self.failure
        if self._stop is None or self._messages.unfinished:
            raise UpstreamCut("The upstream ended its stream before the answer was complete.")
        if self._stop in MALFORMED:
            raise UpstreamGarbled(f"The upstream's model said what can't be read as an answer: {self._stop}.")
        return [Used(self.usage, self._model)]

    @property
    def told_all(self) -> bool:
        """Whether the answer and its usage are whole, so that the connection's end is no matter."""
        return self.failure is None and self._stop is not None and self.usage is not None and not self._messages.unfinished

    def _said(self, message: Message) -> list[Said]:
        if message.text(":message-type") != "event":
            raise _reported(message)
        match message.text(":event-type"):
            case "contentBlockStart" if self._stop is None:
                return self._block_starts(_read(message, _BlockStart))
            case "contentBlockDelta" if self._stop is None:
                return self._more_of_block(_read(message, _BlockDelta))
            case "contentBlockStop" if self._stop is None:
                return self._block_stops(_read(message, _BlockStop))
            case "messageStop" if self._stop is None:
                return self._stops(_read(message, _MessageStop).stop_reason)
            case "metadata":
                told = _read(message, _Metadata).usage
                self.usage = self.usage if told is None else told.segments(counts_cache_inside=self._traits.counts_cache_inside)
            case _:
                pass  # of messageStart we need nothing, and others are passed over
        return []

    def _block_starts(self, event: _BlockStart) -> list[Said]:
        begun, at = event.start.tool_use, event.content_block_index
        if begun is None or begun.type == "server_tool_use":  # a tool that runs at AWS is not the client's to run
            return []
        if at in self._calls or not begun.tool_use_id or not begun.name:
            raise UpstreamGarbled("The upstream began a tool call twice, or one without an id or a name.")
        self._calls[at] = call = _ToolCall(len(self._calls))
        return [ToolCallBegun(call.index, begun.tool_use_id, begun.name)]

    def _more_of_block(self, event: _BlockDelta) -> list[Said]:
        delta = event.delta
        if delta.text:
            return [Text(delta.text)]
        thought = delta.reasoning_content
        if thought is not None and (thought.text or thought.signature or thought.redacted_content):
            return [self._thought(thought)]
        call = self._calls.get(event.content_block_index)
        if call is None or delta.tool_use is None or not delta.tool_use.input:
            return []
        call.argued = True
        return [ToolCallArguments(call.index, delta.tool_use.input)]

    def _thought(self, thought: _Thought) -> Reasoning:
        """What Claude thinks in secret is a blob here, and at Anthropic the text in it; a blob that holds none goes back to nobody."""
        format, redacted = self._traits.format, thought.redacted_content
        if redacted and format == CLAUDE:
            text = _text_in(redacted)
            format, redacted = (CLAUDE, text) if text is not None else (BEDROCK, redacted)
        return Reasoning(thought.text or "", signature=thought.signature, redacted=redacted, format=format)

    def _block_stops(self, event: _BlockStop) -> list[Said]:
        """A call without arguments comes without a delta; clients expect JSON all the same."""
        call = self._calls.get(event.content_block_index)
        if call is None or call.argued:
            return []
        call.argued = True
        return [ToolCallArguments(call.index, "{}")]

    def _stops(self, why: str) -> list[Said]:
        """Some models stop at a tool call with `end_turn`; a client runs the call only when it is told of it."""
        self._stop = why
        if why in MALFORMED:
            return []
        reason = REASONS.get(why, "stop")
        return [Finished("tool_calls" if reason == "stop" and self._calls else reason)]


def _text_in(base64: str) -> str | None:
    try:
        return b64decode(base64, validate=True).decode()
    except (NotBase64, ValueError):
        return None


def _reported(message: Message) -> HeadraceError:
    """An exception says its kind in a header and its words in the payload, an unmodelled error both in headers."""
    if message.text(":message-type") == "exception":
        return failure_in_stream(message.text(":exception-type"), message.payload)
    if message.text(":message-type") == "error":
        words = msgspec.json.encode({"message": message.text(":error-message")})
        return failure_in_stream(message.text(":error-code"), words)
    return UpstreamGarbled("The upstream's event stream has a message that is neither an event nor an exception.")


def _read(message: Message, kind: type[Read]) -> Read:
    try:
        return msgspec.json.decode(message.payload, type=kind)
    except UNREADABLE as wrong:
        raise UpstreamGarbled(f"The upstream's {message.text(':event-type')} can't be read: {wrong}.") from None
