"""One address of an upstream: what adapters ask."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from headrace.providers.address import Address, read_address
from headrace.providers.answering import Exchange
from headrace.providers.dialing import Dialer
from headrace.providers.forwarding import ForwardedConnections
from headrace.providers.http1 import Http1Connections
from headrace.providers.proxy import Proxy
from headrace.providers.settings import TransportSettings


class Endpoint:
    """An address and the connections to it.

    `exchange(parts)` asks: `parts` is a request in HTTP/1.1, its head and its body, whatever is spoken below. What is in `parts` is not
    copied, so it is not changed afterwards. A body is held, not streamed, for as long as the upstream takes to read it.
    """

    exchange: Callable[[list[bytes]], Exchange]

    def __init__(self, url: str, settings: TransportSettings, loop: asyncio.AbstractEventLoop, *, proxy: Proxy | None = None) -> None:
        """Raises ValueError when `url` is no address, `settings.ca_file` cannot be used, or HTTP/2 is not installed."""
        address = read_address(url)
        self.path, self.origin, self.host_header = address.path, address.origin, address.authority.encode()
        self._connections = _connections(address, settings, loop, proxy)
        self.exchange = self._connections.exchange

    async def get(self, path: str, lines: str = "") -> tuple[int, bytes]:
        """A small question beside the requests, such as a probe: status and body. `lines` are header lines that end in CRLF."""
        head = f"GET {self.path}{path} HTTP/1.1\r\nhost: {self.host_header.decode()}\r\naccept: application/json\r\n{lines}\r\n"
        async with self.exchange([head.encode()]) as exchange:
            return exchange.status, await exchange.whole()

    def retire(self) -> None:
        """Nobody will ask here any more: end what is idle now, and what is asked when it is answered."""
        self._connections.retire()

    def close(self) -> None:
        """End all connections at once, also those that are asked."""
        self._connections.close()


class Connections(Protocol):
    def exchange(self, parts: list[bytes]) -> Exchange: ...

    def retire(self) -> None: ...

    def close(self) -> None: ...


def _connections(address: Address, settings: TransportSettings, loop: asyncio.AbstractEventLoop, proxy: Proxy | None) -> Connections:
    if settings.http2:
        return _http2(address, settings, loop, proxy)
    dialer = Dialer(address, proxy, settings, loop, alpn="http/1.1")
    if proxy is not None and address.scheme == "http":
        return ForwardedConnections(dialer, address, proxy, settings, loop)
    return Http1Connections(dialer, settings, loop)


def _http2(address: Address, settings: TransportSettings, loop: asyncio.AbstractEventLoop, proxy: Proxy | None) -> Connections:
    try:
        from headrace.providers.http2 import Http2Connections  # an extra: most upstreams need none of it
    except ModuleNotFoundError as missing:
        name = (missing.name or "h2").partition(".")[0]
        raise ValueError(f"http2 needs a package that is not installed ({name}): pip install 'headrace[http2]'") from None
    scheme = "https" if address.scheme == "https" else "http"
    return Http2Connections(Dialer(address, proxy, settings, loop, alpn="h2"), scheme, settings, loop)
