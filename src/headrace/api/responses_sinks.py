"""Where the events of a response go: into an exchange, as they come or as one answer, or out of a WebSocket."""

import asyncio
from collections.abc import Callable

import msgspec

from headrace.api.socket import Exchange
from headrace.api.voices import JSON_HEADERS, STREAM_HEADERS, OfExchange
from headrace.providers import Gate
from headrace.wire.responses_answer import Event
from headrace.wire.sse import frames, payload

SOCKET_MESSAGES_MAX = 256
"""How many messages wait for a client of a WebSocket who reads slowly; then the upstream is read no more."""
_encode = msgspec.json.Encoder().encode


def frame(event: Event) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _encode(event))


class ExchangeSink(OfExchange):
    """An answer over HTTP. Its head goes out with the first event, so that a failure before it has a status."""

    def __init__(self, exchange: Exchange, headers: Callable[[], bytes]) -> None:
        self._exchange, self._headers = exchange, headers
        self.gate: Gate = exchange
        self._begun = False

    def tell(self, event: Event) -> None:
        self.relay(frame(event))

    def relay(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            self._exchange.begin(STREAM_HEADERS + self._headers())
        self._exchange.write(data)

    def whole(self, body: bytes) -> None:
        self._exchange.answer(200, JSON_HEADERS + self._headers(), body)

    def end(self, trailer: bytes) -> None:
        self._exchange.end(trailer)


class SocketSink:
    """Messages of a WebSocket, one an event. They wait in a queue, which whoever owns the socket empties; None is the response's end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()  # bounded by the gate, which closes at SOCKET_MESSAGES_MAX
        self.gate: Gate = self
        self.left = False
        self.patience_s = 0.0
        self._emptier = asyncio.Event()

    @property
    def must_wait(self) -> bool:
        return self.queue.qsize() > SOCKET_MESSAGES_MAX and not self.left

    async def drained(self) -> None:
        while self.must_wait:
            self._emptier.clear()
            await self._emptier.wait()

    def sent(self) -> None:
        """The owner has sent a message."""
        self._emptier.set()

    def leave(self) -> None:
        self.left = True
        self._emptier.set()

    def tell(self, event: Event) -> None:
        self.queue.put_nowait(_encode(event))

    def relay(self, data: bytes) -> None:
        for one in frames(data):
            told = payload(one)
            if told.startswith(b"{"):
                self.queue.put_nowait(told)

    def whole(self, body: bytes) -> None:
        raise AssertionError("a WebSocket is always told event by event")

    def end(self, trailer: bytes) -> None:
        self.queue.put_nowait(None)
