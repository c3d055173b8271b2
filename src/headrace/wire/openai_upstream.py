"""What passes between a client and an upstream that both speak OpenAI's chat completions: nearly nothing is touched.

Towards the upstream: the model's name and the wish for usage are spliced into the client's own bytes. Towards the client: frames pass
as they are; only those that carry usage, an error or the end are read. Vendors place usage differently (in the last chunk, in an
own chunk without choices, in every chunk, under `x_groq`): the last statement holds.
"""

import re
from typing import Annotated, Any, TypeAlias

import msgspec

from headrace.core.errors import UpstreamCut, UpstreamFailed, UpstreamGarbled
from headrace.core.usage import Usage
from headrace.wire.openai_chat import ChatHead, StreamOptions, read
from headrace.wire.sse import FrameCutter, frames, payload

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**50)]
"""What a vendor may claim: more would not be a count of tokens but a fault, and no bill shall be made of it."""


class _InputDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None
    cached_tokens: Count | None = None
    num_cached_tokens: Count | None = None

    def segments(self) -> Usage:
        """OpenAI's inclusive counts, made disjoint; a part is never larger than its whole, whatever the upstream claims."""
        inside = self.prompt_tokens_details or _InputDetails()
        read = _first(inside.cached_tokens, self.cached_tokens, self.num_cached_tokens)
        read = min(read, self.prompt_tokens)
        written = min(inside.cache_write_tokens or 0, self.prompt_tokens - read)
        reasoning = min((self.completion_tokens_details or _OutputDetails()).reasoning_tokens or 0, self.completion_tokens)
        return Usage(self.prompt_tokens - read - written, read, written, self.completion_tokens - reasoning, reasoning)


class _Groq(msgspec.Struct):
    usage: _Usage | None = None


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] = []
    usage: _Usage | None = None
    x_groq: _Groq | None = None
    model: str | None = None
    error: Any = None


_chunks = msgspec.json.Decoder(_Chunk)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def body_for(body: bytes, head: ChatHead, model: str) -> bytes:
    """The client's request as this upstream shall see it: under its own name of the model, and always telling usage."""
    tells_usage = not head.stream or (head.stream_options is not None and head.stream_options.include_usage)
    if model == head.model and tells_usage:
        return body
    if model != head.model:
        body = _renamed(body, head.model, model)
    if not tells_usage:
        body = _with_usage(body, head)
    return body


def _renamed(body: bytes, ours: str, its: str) -> bytes:
    """Splice where the name stands in the open; where the key could mean something else too, write the members anew."""
    spots = list(re.finditer(rb'"model"\s*:\s*', body))
    shown = msgspec.json.encode(ours)
    if len(spots) == 1 and body.startswith(shown, spots[0].end()) and b"\\u00" not in body:
        start = spots[0].end()
        return body[:start] + msgspec.json.encode(its) + body[start + len(shown) :]
    return _replaced(body, "model", its)


def _with_usage(body: bytes, head: ChatHead) -> bytes:
    if head.stream_options is None and b'"stream_options"' not in body:
        return body.rstrip()[:-1] + b',"stream_options":{"include_usage":true}}'
    wished = msgspec.structs.asdict(head.stream_options or StreamOptions()) | {"include_usage": True}
    return _replaced(body, "stream_options", {name: wish for name, wish in wished.items() if wish is not None})


def _replaced(body: bytes, name: str, value: object) -> bytes:
    members = read(_members, body)
    members[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(members)


def read_answer(body: bytes) -> tuple[Usage | None, str | None]:
    """Usage and served model of a whole unstreamed answer. Raises UpstreamFailed for what is not one."""
    answer = _read(body)
    return _used(answer), answer.model


class StreamReader:
    """Reads a streamed answer as it passes. What `feed` returns may be sent on at once; the usage's own chunk and the end's mark are
    `held` until the usage is booked. `usage` is None when the upstream did not tell it."""

    def __init__(self, *, show_usage: bool) -> None:
        self._cutter, self._show_usage = FrameCutter(), show_usage
        self.usage: Usage | None = None
        self.model: str | None = None
        self.held = b""
        self.done = False
        self.failure: UpstreamFailed | None = None

    def feed(self, data: bytes) -> bytes:
        """What may pass. When the upstream reports an error inside of its stream, `failure` holds it, and what came before it passes."""
        ready = self._cutter.feed(data)
        if not _worth_reading(ready):
            return ready
        passed = []
        try:
            for one in frames(ready):
                if self._passes(one):
                    passed.append(one)
        except UpstreamFailed as failure:
            self.failure = failure
        return b"".join(passed)

    def close(self) -> None:
        """The upstream's bytes have ended. Raises UpstreamCut when they ended before the answer did."""
        for frame in frames(self._cutter.close()):
            if self._passes(frame):
                self.held += frame
        if not self.done and self.usage is None:
            raise UpstreamCut("The upstream ended its stream before the answer was complete.")

    def _passes(self, frame: bytes) -> bool:
        said = payload(frame)
        if said == b"[DONE]":
            self.done, self.held = True, self.held + frame
            return False
        if not said.startswith(b"{"):
            return True
        chunk = _read(said)
        usage = _used(chunk)
        self.model = chunk.model or self.model
        if usage is None:
            return True
        self.usage = usage
        if chunk.choices:
            return True
        self.held += frame if self._show_usage else b""
        return False


_TOLD = re.compile(rb'"usage"\s*:\s*\{')


def _worth_reading(ready: bytes) -> bool:
    """Whether usage, an error or the end may be among these frames. Most chunks say `"usage":null`, which is not worth it."""
    return b"[DONE]" in ready or b'"error"' in ready or (b'"usage"' in ready and _TOLD.search(ready) is not None)


def _used(chunk: _Chunk) -> Usage | None:
    told = chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)
    return None if told is None else told.segments()


def _read(data: bytes) -> _Chunk:
    try:
        chunk = _chunks.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise UpstreamGarbled(f"The upstream's answer is not a chat completion: {wrong}.") from None
    if chunk.error is not None:
        said = chunk.error.get("message") if isinstance(chunk.error, dict) else chunk.error
        raise UpstreamFailed(f"The upstream reported an error: {said}")
    return chunk


def _first(*told: int | None) -> int:
    return next((one for one in told if one is not None), 0)
