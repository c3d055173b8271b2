"""Plain HTTP through a proxy: requests name the whole address of what they are for, and the proxy asks in our place."""

import asyncio
from typing import Self

from headrace.core.errors import UpstreamUnreachable
from headrace.providers.address import Address
from headrace.providers.dialing import Dialer
from headrace.providers.http1 import Http1Connections, Http1Exchange
from headrace.providers.proxy import Proxy
from headrace.providers.settings import TransportSettings


class ForwardedExchange(Http1Exchange):
    def __init__(self, connections: Http1Connections, parts: list[bytes], refusal: str) -> None:
        super().__init__(connections, parts)
        self._refusal = refusal

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self.status == 407:  # only a proxy says so
            await self.__aexit__(None, None, None)
            raise UpstreamUnreachable(self._refusal)
        return self


class ForwardedConnections(Http1Connections):
    """The connections to a proxy, for one upstream behind it."""

    def __init__(
        self, dialer: Dialer, address: Address, proxy: Proxy, settings: TransportSettings, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(dialer, settings, loop)
        self._target = f"http://{address.authority}".encode()
        self._opens_with = f"proxy-authorization: {proxy.authorization}\r\n".encode() if proxy.authorization else b""
        self._refusal = (
            f"The proxy {proxy} does not lead to {address.origin}: it answers 407 and wants to know who asks. "
            "Check the name and password that its environment variable holds."
        )

    def exchange(self, parts: list[bytes]) -> ForwardedExchange:
        method, _, rest = parts[0].partition(b" ")
        line, _, headers = rest.partition(b"\r\n")
        head = b"%b %b%b\r\n%b%b" % (method, self._target, line, self._opens_with, headers)
        return ForwardedExchange(self, [head, *parts[1:]], self._refusal)
