"""The least that a program in Python does to pass a request on: the floor under `bench.relay`'s headrace, as nginx is under both.

    python -m bench.bare PORT UPSTREAM_PORT UPSTREAM_STREAMS_PORT

uvloop, no parser, no key, no record. It takes what `bench.relay` sends and its vendors answer, and nothing else: a head with a length from
the client, an answer with a length or one that ends in the last chunk. What governing costs in Python is the difference to this.
"""

import asyncio
import sys
from typing import cast

import uvloop

LENGTH = b"content-length: "
LAST_CHUNK = b"0\r\n\r\n"
STREAMED = b'"stream": true'


class Upstream(asyncio.Protocol):
    """One kept connection to a vendor, lent to one client at a time."""

    def __init__(self, idle: "list[Upstream]") -> None:
        self._idle, self._client, self._left = idle, None, 0

    _client: "asyncio.Transport | None"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, request: bytes, client: asyncio.Transport) -> None:
        self._client, self._left = client, 0
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        client = self._client
        assert client is not None, "a vendor speaks when it is asked"
        if self._left:
            self._left -= len(data)
            over = self._left <= 0
        else:
            length, begins = length_of(data)
            self._left = 0 if length is None else length - len(data) + begins
            over = data.endswith(LAST_CHUNK) if length is None else self._left <= 0
        client.write(data)
        if over:
            self._client = None
            self._idle.append(self)


class Client(asyncio.Protocol):
    """One client; the next request comes when this one is answered."""

    def __init__(self, relay: "Relay") -> None:
        self._relay, self._pieces, self._left = relay, list[bytes](), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._left:
            length, begins = length_of(data)
            self._left = begins + (length or 0)
        self._left -= len(data)
        self._pieces.append(data)
        if not self._left:
            request, self._pieces = b"".join(self._pieces), []
            self._relay.ask(request, self._transport)


class Relay:
    def __init__(self, plain: int, streams: int) -> None:
        self._ports, self._idle = (plain, streams), (list[Upstream](), list[Upstream]())
        self._asking: set[asyncio.Task[None]] = set()

    def ask(self, request: bytes, client: asyncio.Transport) -> None:
        kind = int(request.find(STREAMED, len(request) - 200) >= 0)
        if self._idle[kind]:
            self._idle[kind].pop().ask(request, client)
            return
        task = asyncio.get_running_loop().create_task(self._dialed(kind, request, client))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _dialed(self, kind: int, request: bytes, client: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self._idle[kind]), "127.0.0.1", self._ports[kind])
        upstream.ask(request, client)


def length_of(data: bytes) -> tuple[int | None, int]:
    """What a head says of its body's length, and where that begins; an answer that is in the middle of its chunks has no head."""
    if not data.startswith((b"HTTP/", b"POST ")):
        return None, 0
    begins = data.index(b"\r\n\r\n") + 4
    at = data[:begins].lower().find(LENGTH)
    return (None if at < 0 else int(data[at + len(LENGTH) : data.index(b"\r", at)])), begins


async def main(port: int, plain: int, streams: int) -> None:
    relay = Relay(plain, streams)
    server = await asyncio.get_running_loop().create_server(lambda: Client(relay), "127.0.0.1", port, backlog=4_096)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(*map(int, sys.argv[1:])))
