"""What an upstream said in OpenAI's chat completions, as events: for clients who speak another dialect.

The relay hands on whole frames, or one whole answer. Usage is not read here: who relays has read it already.
"""

from typing import Any

import msgspec

from headrace.core.errors import UpstreamGarbled
from headrace.core.stream import Finished, FinishReason, Reasoning, Said, Text, TokenLogprob, ToolCallArguments, ToolCallBegun
from headrace.core.unreadable import UNREADABLE
from headrace.wire.sse import frames, payload

REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Detail(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None


class _Message(msgspec.Struct):
    """A delta of a stream, or a whole message. Servers call thoughts `reasoning_content`, or `reasoning`."""

    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: Any = None
    reasoning_details: list[_Detail] | None = None
    tool_calls: list[_Call] | None = None


class _TopLogprob(msgspec.Struct):
    token: str
    logprob: float


class _Logprob(_TopLogprob):
    top_logprobs: list[_TopLogprob] | None = None


class _Logprobs(msgspec.Struct):
    content: list[_Logprob] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice] | None = None


_completions = msgspec.json.Decoder(_Completion)


class ChatReader:
    """Reads one answer; holds which tool calls have begun, and which choices have ended.

    Calls are told one after another, though some servers mix their fragments: what is said of a later call waits until the one before it is
    whole, or its choice ends.
    """

    def __init__(self) -> None:
        self._calls: dict[int, dict[int, _Calling]] = {}
        self._ended: set[int] = set()

    def frames(self, data: bytes) -> list[Said]:
        """What whole frames of a stream say."""
        said: list[Said] = []
        for frame in frames(data):
            told = payload(frame)
            if told.startswith(b"{"):
                said += self._completion(told)
        return said

    def whole(self, data: bytes) -> list[Said]:
        """What an unstreamed answer says."""
        return self._completion(data)

    def _completion(self, data: bytes) -> list[Said]:
        try:
            choices = _completions.decode(data).choices or ()
        except UNREADABLE as wrong:
            raise UpstreamGarbled(f"The upstream's answer is not a chat completion: {wrong}.") from None
        return [one for choice in choices for one in self._choice(choice)]

    def _choice(self, choice: _Choice) -> list[Said]:
        message, at = choice.delta or choice.message or _Message(), choice.index
        said: list[Said] = [*_thoughts(message, at)]
        if text := (message.content or "") + (message.refusal or ""):
            said.append(Text(text, at, _logprobs(choice.logprobs)))
        for place, call in enumerate(message.tool_calls or ()):
            self._call(at, place, call)
        ends = bool(choice.finish_reason) and at not in self._ended
        said += self._ready(at, all_of_them=ends)
        if ends:
            self._ended.add(at)
            said.append(Finished(REASONS.get(choice.finish_reason or "", "stop"), at))
        return said

    def _call(self, choice: int, place: int, call: _Call) -> None:
        function = call.function or _Function()
        index = place if call.index is None else call.index
        calls = self._calls.setdefault(choice, {})
        if index not in calls:
            if not function.name:
                raise UpstreamGarbled("The upstream called a tool without naming it.")
            calls[index] = _Calling()
            calls[index].waiting.append(ToolCallBegun(index, call.id or f"call_{choice}_{index}", function.name, choice))
        if function.arguments:
            calls[index].arguments.append(function.arguments)
            calls[index].waiting.append(ToolCallArguments(index, function.arguments, choice))

    def _ready(self, choice: int, *, all_of_them: bool) -> list[Said]:
        """What of the calls may be told now."""
        said: list[Said] = []
        for calling in self._calls.get(choice, {}).values():
            said += calling.waiting
            calling.waiting.clear()
            if not all_of_them and not calling.whole:
                break
        return said


class _Calling:
    """One call while it is read."""

    def __init__(self) -> None:
        self.waiting: list[Said] = []
        self.arguments: list[str] = []
        self._whole = False

    @property
    def whole(self) -> bool:
        """Its arguments are all there."""
        if not self._whole and self.arguments and self.arguments[-1].rstrip().endswith("}"):
            try:
                msgspec.json.decode("".join(self.arguments))
                self._whole = True
            except UNREADABLE:
                pass
        return self._whole


def _thoughts(message: _Message, choice: int) -> list[Reasoning]:
    """The text of thoughts comes once, however often it is told; what proves them comes behind it."""
    text = message.reasoning_content or (message.reasoning if isinstance(message.reasoning, str) else "")
    details = message.reasoning_details or []
    if not text:
        text = "".join(detail.text or "" for detail in details)
    said = [Reasoning(text, choice)] if text else []
    for detail in details:
        if detail.signature or detail.data:
            said.append(Reasoning("", choice, signature=detail.signature, redacted=detail.data, format=detail.format))
    return said


def _logprobs(told: _Logprobs | None) -> tuple[TokenLogprob, ...]:
    if told is None or not told.content:
        return ()
    return tuple(
        TokenLogprob(one.token, one.logprob, tuple((top.token, top.logprob) for top in one.top_logprobs or ())) for one in told.content
    )
