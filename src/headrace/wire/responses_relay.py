"""What passes between a client and an upstream that both speak OpenAI's Responses: bytes as they came.

Towards the upstream the model's name is changed. Towards the client all frames pass; the one that ends the response is held until what it
used is booked.
"""

from collections import Counter
from typing import Any

import msgspec

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled
from headrace.core.stream import Used
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.openai_chat import read
from headrace.wire.openai_failure import reported
from headrace.wire.openai_usage import Count, InputDetails, OutputDetails, ToldUsage
from headrace.wire.sse import FrameCutter, frames, payload

ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error")


class _Usage(msgspec.Struct):
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None

    def segments(self) -> Usage | None:
        """The counts, made disjoint; a part is never larger than its whole, whatever the upstream claims."""
        return ToldUsage(
            prompt_tokens=self.input_tokens,
            completion_tokens=self.output_tokens,
            prompt_tokens_details=self.input_tokens_details,
            completion_tokens_details=self.output_tokens_details,
        ).segments()


class _Item(msgspec.Struct):
    type: str | None = None
    container_id: str | None = None


class _Searches(msgspec.Struct):
    num_requests: Count | None = None


class _ToolUsage(msgspec.Struct):
    web_search: _Searches | None = None


class _Response(msgspec.Struct):
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None
    status: str | None = None
    service_tier: Any = None
    output: list[_Item] | None = None
    tool_usage: _ToolUsage | None = None

    @property
    def used(self) -> Used:
        usage, tier = None if self.usage is None else self.usage.segments(), self.service_tier
        return Used(usage, self.model, tier if isinstance(tier, str) else None, self._calls)

    @property
    def _calls(self) -> tuple[tuple[str, int], ...]:
        """The tools that the vendor ran and bills beside the tokens; of the searches those that it says it bills."""
        items = self.output or ()
        kinds = Counter(item.type for item in items)
        told = self.tool_usage.web_search.num_requests if self.tool_usage and self.tool_usage.web_search else None
        calls = {
            "web_search": kinds["web_search_call"] if told is None else told,
            "file_search": kinds["file_search_call"],
            "code_interpreter": len({item.container_id for item in items if item.type == "code_interpreter_call"}),
            "image_generation": kinds["image_generation_call"],
        }
        return tuple((name, count) for name, count in calls.items() if count)


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


def read_whole(body: bytes) -> Used:
    """What a whole unstreamed response says that it used. Raises what went wrong upstream where it is not one, or failed."""
    try:
        response = _responses.decode(body)
    except UNREADABLE as wrong:
        raise UpstreamGarbled(f"The upstream's answer is not a response: {wrong}.") from None
    if response.error is not None and response.status in (None, "failed"):
        raise reported(msgspec.json.encode({"error": response.error}))
    return response.used


class ResponseRelay:
    """Reads a streamed response as it passes. What `feed` returns may be sent on at once; its end is `held` until the usage is booked.
    `failure` is what the upstream reported inside of its stream."""

    def __init__(self) -> None:
        self._cutter = FrameCutter()
        self.used = Used(None)
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
        except UNREADABLE:
            return False  # of no event that ends it can't be read what it used; the rest may have any form
        if event.type not in ENDS:
            return False
        response = event.response or _Response()
        self.done, self.used = True, response.used
        if event.type == "response.failed":
            self.failure = reported(msgspec.json.encode({"error": response.error or {"message": "The response failed."}}))
        elif event.type == "error":
            self.failure = reported(said if b'"error":' in said.replace(b" ", b"") else msgspec.json.encode({"error": msgspec.Raw(said)}))
        return True
