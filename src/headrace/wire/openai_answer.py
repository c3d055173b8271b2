"""What is said, written as OpenAI's chat completions: chunk by chunk for a stream, or gathered into one answer.

Both are the same events heard by two listeners; neither knows where the events come from.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, assert_never

import msgspec

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
from headrace.core.usage import NOTHING, Usage
from headrace.wire import sse

_encode = msgspec.json.Encoder().encode


def usage_object(usage: Usage) -> dict[str, Any]:
    """Usage in OpenAI's inclusive meaning: cached tokens are part of the prompt's, reasoning part of the completion's."""
    return {
        "prompt_tokens": usage.tokens_in,
        "completion_tokens": usage.tokens_out,
        "total_tokens": usage.total,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": usage.audio_in + usage.audio_read} | _written(usage),
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _written(usage: Usage) -> dict[str, int]:
    """What went into a prompt cache, where something did."""
    return {"cache_write_tokens": usage.cache_written} if usage.cache_written else {}


class ChunkWriter:
    """Turns events into `chat.completion.chunk` frames. The constant head of every chunk is encoded once."""

    def __init__(self, *, id: str, model: str, created: int, include_usage: bool) -> None:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": model, "service_tier": "default"}
        self._head = _encode(head)[:-1] + b',"system_fingerprint":null,"choices":['
        self._tail = b'],"usage":null}' if include_usage else b"]}"
        self._include_usage = include_usage
        self._begun: set[int] = set()
        self._unsigned: defaultdict[int, list[str]] = defaultdict(list)
        self._details: defaultdict[int, int] = defaultdict(int)

    def write(self, said: Said) -> bytes:
        """The frames that `said` becomes; those of `Used` end the stream."""
        match said:
            case Verbatim(data=data):
                return data
            case Text(text=text, choice=choice, logprobs=logprobs):
                return self._chunk(choice, {"content": text}, None, logprobs)
            case Reasoning(choice=choice):
                return self._chunk(choice, self._thought(said), None)
            case ToolCallBegun(index=index, id=id, name=name, choice=choice):
                call = {"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}
                return self._chunk(choice, {"tool_calls": [call]}, None)
            case ToolCallArguments(index=index, text=text, choice=choice):
                return self._chunk(choice, {"tool_calls": [{"index": index, "function": {"arguments": text}}]}, None)
            case Finished(reason=reason, choice=choice):
                return self._chunk(choice, {}, reason)
            case Used(usage=usage):
                return self._end(usage) if self._begun else b""  # an upstream that is relayed ends its stream itself
            case never:
                assert_never(never)

    def _thought(self, said: Reasoning) -> dict[str, Any]:
        unsigned = self._unsigned[said.choice]
        told = reasoning_object([said], "".join(unsigned) if said.signature else "", self._details[said.choice])
        if said.signature:
            unsigned.clear()
        elif said.text:
            unsigned.append(said.text)
        self._details[said.choice] += len(told.get("reasoning_details", ()))
        return told

    def _chunk(self, choice: int, delta: dict[str, Any], reason: FinishReason | None, logprobs: tuple[TokenLogprob, ...] = ()) -> bytes:
        opening = b""
        for one in range(len(self._begun), choice + 1):  # in their order: the official client cannot take a choice before those below it
            self._begun.add(one)
            opening += self._frame(one, {"role": "assistant", "content": "", "refusal": None}, None, ())
        return opening + self._frame(choice, delta, reason, logprobs)

    def _frame(self, choice: int, delta: dict[str, Any], reason: FinishReason | None, logprobs: tuple[TokenLogprob, ...]) -> bytes:
        said = {"index": choice, "delta": delta, "logprobs": logprobs_object(logprobs), "finish_reason": reason}
        return sse.frame(self._head + _encode(said) + self._tail)

    def _end(self, usage: Usage | None) -> bytes:
        if not self._include_usage:
            return sse.DONE
        return sse.frame(self._head + b'],"usage":' + _encode(usage_object(usage or NOTHING)) + b"}") + sse.DONE


class _Choice:
    """One choice of the answer while it is gathered."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.thoughts: list[Reasoning] = []
        self.calls: dict[int, ToolCallBegun] = {}
        self.arguments: dict[int, list[str]] = {}
        self.logprobs: list[TokenLogprob] = []
        self.reason: FinishReason = "stop"

    def as_object(self, index: int) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text), "refusal": None, "annotations": []}
        message |= reasoning_object(self.thoughts)
        if self.calls:
            message["content"] = message["content"] or None
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": "".join(self.arguments[at])}}
                for at, call in sorted(self.calls.items())
            ]
        return {"index": index, "message": message, "logprobs": logprobs_object(tuple(self.logprobs)), "finish_reason": self.reason}


class AnswerGatherer:
    """Hears the same events and answers once, when all is said."""

    def __init__(self, *, id: str, model: str, created: int) -> None:
        self._id, self._model, self._created = id, model, created
        self._choices: dict[int, _Choice] = {}
        self._usage: Usage | None = None
        self._verbatim: list[bytes] = []

    def hear(self, said: Said) -> None:
        match said:
            case Verbatim(data=data):
                self._verbatim.append(data)
            case Text(text=text, choice=choice, logprobs=logprobs):
                self._choice(choice).text.append(text)
                self._choice(choice).logprobs.extend(logprobs)
            case Reasoning(choice=choice):
                self._choice(choice).thoughts.append(said)
            case ToolCallBegun(index=index, choice=choice):
                self._choice(choice).calls[index] = said
                self._choice(choice).arguments[index] = []
            case ToolCallArguments(index=index, text=text, choice=choice):
                self._choice(choice).arguments[index].append(text)
            case Finished(reason=reason, choice=choice):
                self._choice(choice).reason = reason
            case Used(usage=usage):
                self._usage = usage
            case never:
                assert_never(never)

    def answer(self) -> bytes:
        """The whole `chat.completion`: the upstream's own where it speaks the dialect."""
        if self._verbatim:
            return b"".join(self._verbatim)
        return _encode(
            {
                "id": self._id,
                "object": "chat.completion",
                "created": self._created,
                "model": self._model,
                "choices": [choice.as_object(index) for index, choice in sorted(self._choices.items())],
                "usage": usage_object(self._usage or NOTHING),
                "service_tier": "default",
                "system_fingerprint": None,
            }
        )

    def _choice(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice())


def reasoning_object(thoughts: Sequence[Reasoning], earlier: str = "", details_before: int = 0) -> dict[str, Any]:
    """Thoughts in the two forms that clients know: `reasoning_content`, a text, as DeepSeek and vLLM say it, and where a vendor wants its
    thoughts back, `reasoning_details`, as OpenRouter does: each piece whole, with its signature, and numbered, so that clients who put
    chunks together keep the pieces apart. `earlier` is what was thought, and said, since the last signature; `details_before` how many
    pieces were said. `openai_thoughts` reads what comes back."""
    said: dict[str, Any] = {}
    if text := "".join(thought.text for thought in thoughts):
        said["reasoning_content"] = text
    details: list[dict[str, Any]] = []
    piece = [earlier]
    for thought in thoughts:
        piece.append(thought.text)
        by = {"format": thought.format} if thought.format else {}
        if thought.signature:
            details.append({"type": "reasoning.text", "text": "".join(piece), "signature": thought.signature, **by})
            piece = []
        if thought.redacted:
            details.append({"type": "reasoning.encrypted", "data": thought.redacted, **by})
    numbered = [detail | {"index": index} for index, detail in enumerate(details, details_before)]
    return said | ({"reasoning_details": numbered} if numbered else {})


def logprobs_object(logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
    if not logprobs:
        return None
    return {"content": [_logprob(one) for one in logprobs], "refusal": None}


def _logprob(one: TokenLogprob) -> dict[str, Any]:
    top = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in one.top]
    return {"token": one.token, "logprob": one.logprob, "bytes": list(one.token.encode()), "top_logprobs": top}
