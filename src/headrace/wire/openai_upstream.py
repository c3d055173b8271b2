"""What passes between a client and an upstream that both speak OpenAI's chat completions: nearly nothing is touched.

Towards the upstream: the model's name and the wish for usage are spliced into the client's own bytes. Towards the client: frames pass
as they are; only those that carry usage, an error or the end are read. Vendors place usage differently (in the last chunk, in an
own chunk without choices, in every chunk, under `x_groq`): the last statement holds.
"""

import re
from typing import Any

import msgspec

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.elision import without_texts
from headrace.wire.openai_chat import StreamOptions, read, read_head
from headrace.wire.openai_failure import reported
from headrace.wire.openai_usage import ToldUsage
from headrace.wire.sse import FrameCutter, frames, payload


class _Groq(msgspec.Struct):
    usage: ToldUsage | None = None


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    usage: ToldUsage | None = None
    x_groq: _Groq | None = None
    model: str | None = None
    error: Any = None
    object: str | None = None
    service_tier: Any = None

    @property
    def tier(self) -> str | None:
        return self.service_tier if isinstance(self.service_tier, str) else None


_chunks = msgspec.json.Decoder(_Chunk)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
NEAR = 1_024
"""Where clients put the name of the model: so near to the beginning, or behind all that was said."""
_MODEL = re.compile(rb'"model"\s*:\s*')


def body_for(body: bytes, ours: str, model: str, *, tells_usage: bool) -> bytes:
    """The client's request as this upstream shall see it: under its own name of the model, which is `ours` to the client, and asked to tell
    usage where it would not (`tells_usage`: it is not streamed, or its client asks itself, or that can't be asked)."""
    if model != ours:
        body = _renamed(body, ours, model)
    return body if tells_usage else _with_usage(body)


def _renamed(body: bytes, ours: str, its: str) -> bytes:
    """Splice where the name stands in the open; where the key could mean something else too, write the members anew."""
    short, shown = without_texts(body), msgspec.json.encode(ours)
    if len(_MODEL.findall(short)) == 1 and b"\\u00" not in short:
        at = body.find(b'"model"', 0, NEAR)  # a text holds no bare quote, so it is the same one
        spot = _MODEL.match(body, at if at >= 0 else body.rfind(b'"model"'))
        if spot is not None and body.startswith(shown, start := spot.end()):
            return body[:start] + msgspec.json.encode(its) + body[start + len(shown) :]
    return _replaced(body, "model", its)


def _with_usage(body: bytes) -> bytes:
    short = without_texts(body)
    named = b'"stream_options"' in short
    given = read_head(body).stream_options if named or b"\\u00" in short else None
    if given is None and not named:
        return body.rstrip()[:-1] + b',"stream_options":{"include_usage":true}}'
    wished = msgspec.structs.asdict(given or StreamOptions()) | {"include_usage": True}
    return _replaced(body, "stream_options", {name: wish for name, wish in wished.items() if wish is not None})


def _replaced(body: bytes, name: str, value: object) -> bytes:
    members = read(_members, body)
    members[name] = msgspec.Raw(msgspec.json.encode(value))
    return msgspec.json.encode(members)


def read_answer(body: bytes) -> tuple[Usage | None, str | None, str | None]:
    """Usage, served model and service tier of a whole unstreamed answer. Raises what went wrong upstream where it is not one."""
    answer = _read(body)
    told = _told(answer)
    return (told.segments() if told else None), answer.model, answer.tier


class StreamReader:
    """Reads a streamed answer as it passes. What `feed` returns may be sent on at once; the usage's own chunk and the end's mark are
    `held` until the usage is booked. `usage` is None when the upstream did not tell it."""

    def __init__(self, *, show_usage: bool) -> None:
        self._cutter, self._show_usage = FrameCutter(), show_usage
        self.usage: Usage | None = None
        self.model: str | None = None
        self.tier: str | None = None
        self.held = b""
        self.done = False
        self.failure: HeadraceError | None = None

    @property
    def partial(self) -> bool:
        """It holds a part of a frame."""
        return bool(self._cutter.rest)

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
        except HeadraceError as failure:
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
        told = _told(chunk)
        self.model, self.tier = chunk.model or self.model, chunk.tier or self.tier
        if told is None:
            return True
        self.usage = told.segments() or self.usage
        if chunk.choices:
            return True
        self.held += frame if self._show_usage else b""
        return False


_USAGE, _NOT_TOLD = b'"usage"', (b'"usage":null', b'"usage": null')
FRAMES_END = b"\n\n\r\n"
_TOLD = re.compile(rb'"usage"\s*:\s*\{')


def may_pass(chunk: bytes) -> bool:
    """Whether a chunk, as HTTP frames it, may pass unread behind whole frames: whole frames, too, of which none is worth reading."""
    if not chunk.endswith(FRAMES_END) or b"[DONE]" in chunk or b'"error"' in chunk:
        return False
    at = chunk.find(_USAGE)
    if at < 0 or (chunk.startswith(_NOT_TOLD, at) and chunk.find(_USAGE, at + 1) < 0):  # most are settled here
        return True
    return not _tells(chunk, at)


def _worth_reading(ready: bytes) -> bool:
    """Whether usage, an error or the end may be among these frames."""
    return b"[DONE]" in ready or b'"error"' in ready or ((at := ready.find(_USAGE)) >= 0 and _tells(ready, at))


def _tells(ready: bytes, at: int) -> bool:
    """Whether usage may be told where it is named first, or behind that. Most chunks say `"usage":null`, which is not worth reading."""
    if ready.startswith(_NOT_TOLD, at) and ready.find(_USAGE, at + 1) < 0:
        return False
    return _TOLD.search(ready, at) is not None


def _told(chunk: _Chunk) -> ToldUsage | None:
    return chunk.usage or (chunk.x_groq.usage if chunk.x_groq else None)


def _read(data: bytes) -> _Chunk:
    try:
        chunk = _chunks.decode(data)
    except UNREADABLE as wrong:
        raise UpstreamGarbled(f"The upstream's answer is not a chat completion: {wrong}.") from None
    if chunk.error is not None or chunk.object == "error":
        raise reported(data)
    return chunk
