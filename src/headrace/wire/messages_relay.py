"""What passes between a client and an upstream that both speak Anthropic's Messages: bytes as they came.

Towards the upstream the model's name is changed, and where it must be computed if the pool says so. Towards the client all frames pass;
those that end the message are held until what it used is booked.
"""

from typing import Any

import msgspec

from headrace.core.errors import HeadraceError
from headrace.core.stream import Used
from headrace.core.unreadable import UNREADABLE
from headrace.core.usage import Usage
from headrace.wire.anthropic_stream import StreamReader
from headrace.wire.openai_chat import read
from headrace.wire.sse import FrameCutter, frames, payload

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_kinds = msgspec.json.Decoder(dict[str, Any])


def body_for(body: bytes, ours: str, its: str, inference_geo: str | None) -> bytes:
    """The request as this upstream shall see it."""
    if ours == its and inference_geo is None:
        return body
    members = read(_members, body)
    members["model"] = msgspec.Raw(msgspec.json.encode(its))
    if inference_geo is not None:
        members["inference_geo"] = msgspec.Raw(msgspec.json.encode(inference_geo))
    return msgspec.json.encode(members)


class MessageRelay:
    """Reads a streamed message as it passes. What `feed` returns may be sent on at once; its end is `held` until the usage is booked.
    `failure` is what the upstream reported inside of its stream."""

    def __init__(self) -> None:
        self._cutter, self._reader = FrameCutter(), StreamReader()
        self._ends = False
        self.held = b""

    @property
    def usage(self) -> Usage | None:
        return self._reader.usage

    @property
    def used(self) -> Used:
        return self._reader.used

    @property
    def done(self) -> bool:
        return self._reader.done

    @property
    def failure(self) -> HeadraceError | None:
        return self._reader.failure

    def spent(self, tokens_out_max: int) -> Usage | None:
        """What an answer costs that is left here."""
        return self._reader.spent(tokens_out_max)

    def feed(self, data: bytes) -> bytes:
        ready = self._cutter.feed(data)
        if ready:
            self._reader.feed(ready)
        if not self._ends and b"message_delta" not in ready and self.failure is None:
            return ready
        passed = b""
        for one in frames(ready):
            self._ends = self._ends or _kind(one) == "message_delta"
            if self._ends:
                self.held += one
            elif _kind(one) != "error":  # it is told as every failure is
                passed += one
        return passed

    def close(self) -> None:
        """The upstream's bytes have ended. Raises UpstreamCut when they ended before the answer did."""
        rest = self._cutter.close()
        if rest:
            self._reader.feed(rest)
            self.held += rest
        self._reader.close()


def _kind(frame: bytes) -> object:
    try:
        return _kinds.decode(payload(frame)).get("type")
    except UNREADABLE:
        return None
