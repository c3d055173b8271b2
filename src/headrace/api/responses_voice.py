"""How a response is told: as server-sent events, whole, as messages of a WebSocket, or into the archive. All hear the same.

The event that ends it waits until it is kept: who reads it may go on from it at once.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec

from headrace.core.errors import HeadraceError
from headrace.core.stream import Said, Used, Verbatim
from headrace.providers import Gate, Tap
from headrace.wire.responses_answer import TERMINAL, Event, ResponseEvents
from headrace.wire.sse import frames, payload

Response = dict[str, Any]
_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Any])


class Sink(Protocol):
    """Where the events of one response go."""

    patience_s: float

    @property
    def left(self) -> bool: ...

    @property
    def gate(self) -> Gate: ...

    def tell(self, event: Event) -> None: ...

    def relay(self, data: bytes) -> None:
        """Whole frames of a stream that an upstream said in this dialect."""
        ...

    def whole(self, body: bytes) -> None: ...

    def end(self, trailer: bytes) -> None: ...


class ResponseVoice:
    """Speaks one response into `sink`. `keep` is told what it has come to before its end is."""

    verbatim: Tap | None = None
    lost = False

    def __init__(
        self, sink: Sink, events: ResponseEvents, now_s: Callable[[], int], keep: Callable[[Response], Awaitable[None]], *, stream: bool
    ) -> None:
        self._sink, self._events, self._now_s, self._keep, self._stream = sink, events, now_s, keep, stream
        self.begun = self._relayed = self._used = False
        self._last: Event | None = None
        self._held = b""

    @property
    def left(self) -> bool:
        return self._sink.left

    @property
    def patience_s(self) -> float:
        return self._sink.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self._sink.patience_s = seconds

    @property
    def gate(self) -> Gate:
        return self._sink.gate

    def hear(self, said: Said) -> None:
        if isinstance(said, Verbatim):
            self._relay(said.data)
            return
        self._used = self._used or isinstance(said, Used)
        if not self._relayed:
            self._tell(self._events.events(said, self._now_s()))

    @property
    def response(self) -> Response:
        """What it has come to, as the client reads it."""
        if not self._relayed:
            return self._events.response
        for told in [payload(one) for one in frames(self._held)] if self._stream else [self._held]:
            if told.startswith(b"{"):
                event = _object.decode(told)
                response: Response = event["response"] if self._stream and "response" in event else event
                return response
        return self._events.response

    async def before_end(self) -> None:
        await self._keep(self.response)

    def finish(self, trailer: bytes) -> None:
        self.begun = True
        if not self._stream:
            self._sink.whole(self._held if self._relayed else _encode(self._events.response))
            return
        if self._held:
            self._sink.relay(self._held)
        if self._last is not None:
            self._sink.tell(self._last)
        self._sink.end(trailer)

    def break_off(self, error: HeadraceError) -> None:
        for event in self._events.fail(error):
            self._sink.tell(event)
        self._sink.end(b"")

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if event["type"] in TERMINAL:
                self._last = event
            elif self._stream:
                self.begun = True
                self._sink.tell(event)

    def _relay(self, data: bytes) -> None:
        """What was said before its end passes; what follows the usage is its end."""
        if not self._stream or self._used:
            self._relayed, self._held = True, self._held + data
            self._last = None
        else:
            self._relayed = self.begun = True
            self._sink.relay(data)
