"""What passes between a client and an upstream that both speak OpenAI's Responses: bytes as they came.

Towards the upstream the model's name is changed. Towards the client all frames pass; the one that ends the response is held until what it
used is booked.
"""

from typing import Any

import msgspec

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled
from headrace.core.usage import Usage
from headrace.wire.openai_chat import read
from headrace.wire.openai_failure import reported
from headrace.wire.openai_usage import Count
from headrace.wire.sse import FrameCutter, frames, payload

ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error")


class _InputDetails(msgspec.Struct):
    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None

    def segments(self) -> Usage | None:
        """The counts, made disjoint; a part is never larger than its whole, whatever the upstream claims."""
        prompt, said = self.input_tokens or 0, self.output_tokens or 0
        if not prompt and not said:
            return None
        before = self.input_tokens_details or _InputDetails()
        cached = min(before.cached_tokens or 0, prompt)
        written = min(before.cache_write_tokens or 0, prompt - cached)
        thought = min((self.output_tokens_details or _OutputDetails()).reasoning_tokens or 0, said)
        return Usage(prompt - cached - written, cached, written, said - thought, thought)


class _Response(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None
    status: str | None = None


class _Event(msgspec.Struct):
    type: str | None = None
    response: _Response | None = None


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_events = msgspec.json.Decoder(_Event)
_responses = msgspec.json.Decoder(_Response)


def body_for(body: bytes, ours: str, its: str) -> bytes:
    """The request under the upstream's own name of the model."""
    if ours == its:
        return body
    return msgspec.json.encode(read(_members, body) | {"model": its})


def read_whole(body: bytes) -> tuple[Usage | None, str | None]:
    """Usage and served model of a whole unstreamed response. Raises what went wrong upstream where it is not one, or failed."""
    try:
        response = _responses.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as wrong:
        raise UpstreamGarbled(f"The upstream's answer is not a response: {wrong}.") from None
    if response.error is not None and response.status in (None, "failed"):
        raise reported(msgspec.json.encode({"error": response.error}))
    return (response.usage.segments() if response.usage else None), response.model


class ResponseRelay:
    """Reads a streamed response as it passes. What `feed` returns may be sent on at once; its end is `held` until the usage is booked.
    `failure` is what the upstream reported inside of its stream."""

    def __init__(self) -> None:
        self._cutter = FrameCutter()
        self.usage: Usage | None = None
        self.model: str | None = None
        self.held = b""
        self.done = False
        self.failure: HeadraceError | None = None

    def feed(self, data: bytes) -> bytes:
        return self._read(self._cutter.feed(data))

    def close(self) -> None:
        """The upstream's bytes have ended. Raises UpstreamCut when they ended before the response did."""
        self.held += self._read(self._cutter.close())
        if self.failure is not None:
            raise self.failure
        if not self.done:
            raise UpstreamCut("The upstream ended its stream before the response was complete.")

    def _read(self, ready: bytes) -> bytes:
        if not self.done and not any(end.encode() in ready for end in ENDS):
            return ready
        passed = b""
        for frame in frames(ready):
            if self.done or self._ends(frame):
                self.held += frame if self.failure is None else b""
            else:
                passed += frame
        return passed

    def _ends(self, frame: bytes) -> bool:
        said = payload(frame)
        try:
            event = _events.decode(said)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False  # of no event that ends it can't be read what it used; the rest may have any form
        if event.type not in ENDS:
            return False
        response = event.response or _Response()
        self.done, self.model = True, response.model
        self.usage = response.usage.segments() if response.usage else None
        if event.type == "response.failed":
            self.failure = reported(msgspec.json.encode({"error": response.error or {"message": "The response failed."}}))
        elif event.type == "error":
            self.failure = reported(said if b'"error":' in said.replace(b" ", b"") else msgspec.json.encode({"error": msgspec.Raw(said)}))
        return True
