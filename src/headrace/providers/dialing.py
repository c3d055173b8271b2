"""From an address to an open connection: names, sockets, the way through a proxy, TLS. Only here is any of them looked at."""

import asyncio
import os
import socket
import ssl

from headrace.core.errors import UpstreamUnreachable
from headrace.providers.address import Address, bracketed
from headrace.providers.proxy import Proxy
from headrace.providers.settings import TransportSettings
from headrace.providers.sockets import reach
from headrace.providers.tls import tls_context

PROXY_HEAD_BYTES_MAX = 16 * 1024


class Dialer:
    """Opens connections to one address. `alpn` is what is spoken where TLS lets one say so: `http/1.1` or `h2`."""

    def __init__(
        self, address: Address, proxy: Proxy | None, settings: TransportSettings, loop: asyncio.AbstractEventLoop, *, alpn: str
    ) -> None:
        """Raises ValueError when `settings.ca_file` cannot be used."""
        self._address, self._proxy, self._loop = address, proxy, loop
        self._timeout_ms = settings.connect_timeout_ms
        self._tls = tls_context(settings.ca_file, alpn) if address.scheme == "https" else None
        self._proxy_tls = tls_context(settings.ca_file, "http/1.1") if proxy is not None and proxy.scheme == "https" else None
        self._tunnels = proxy is not None and (address.scheme == "https" or alpn == "h2")
        self.origin = address.origin

    async def dial(self, protocol: asyncio.Protocol) -> None:
        """Connect `protocol`. Raises UpstreamUnreachable."""
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                await self._open(protocol)
        except TimeoutError:
            raise UpstreamUnreachable(f"{self.origin} did not accept a connection within {self._timeout_ms} ms{self._way}.") from None
        except ssl.SSLCertVerificationError as wrong:
            raise UpstreamUnreachable(
                f"{self.origin} is not trusted{self._way}: its certificate is refused ({wrong.verify_message.rstrip('.')}). "
                "If an authority of your own has signed it, name that in ca_file."
            ) from None
        except ssl.SSLError as wrong:
            raise UpstreamUnreachable(f"{self.origin} and we do not agree on TLS{self._way}: {wrong.reason or wrong}.") from None
        except OSError as wrong:
            raise UpstreamUnreachable(f"{self.origin} cannot be reached{self._way}: {_reason(wrong)}.") from None

    @property
    def _way(self) -> str:
        return f" through the proxy {self._proxy}" if self._proxy is not None else ""

    async def _open(self, protocol: asyncio.Protocol) -> None:
        loop, address, proxy = self._loop, self._address, self._proxy
        if address.scheme == "unix":
            await loop.create_unix_connection(lambda: protocol, address.host)
        elif proxy is None:
            made = await reach(loop, address.host, address.port)
            await loop.create_connection(lambda: protocol, sock=made, ssl=self._tls, server_hostname=address.host if self._tls else None)
        else:
            made = await reach(loop, proxy.host, proxy.port)
            first = _Tunnel(loop) if self._tunnels else protocol
            name = proxy.host if self._proxy_tls else None
            transport, _ = await loop.create_connection(lambda: first, sock=made, ssl=self._proxy_tls, server_hostname=name)
            if isinstance(first, _Tunnel):
                try:
                    await self._dig(transport, first, proxy, protocol)
                except BaseException:
                    transport.abort()
                    raise

    async def _dig(self, transport: asyncio.Transport, tunnel: "_Tunnel", proxy: Proxy, protocol: asyncio.Protocol) -> None:
        """Ask the proxy for a way to the upstream, and hand that to `protocol`."""
        target = f"{bracketed(self._address.host)}:{self._address.port}"
        opens_with = f"proxy-authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
        transport.write(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n{opens_with}\r\n".encode())
        head = await tunnel.answer
        words = head.partition(b"\r\n")[0].split(b" ", 1)
        said = words[-1].decode(errors="replace").strip()
        if not words[0].startswith(b"HTTP/1.") or not said.startswith("2") or tunnel.held:
            hint = " Check the name and password that its environment variable holds." if said.startswith("407") else ""
            raise UpstreamUnreachable(f"The proxy {proxy} does not lead to {self.origin}: it answers {said[:200]!r}.{hint}")
        way: asyncio.Transport | None = transport
        if self._tls is not None:
            way = await self._loop.start_tls(transport, tunnel, self._tls, server_hostname=self._address.host)
        if way is None or tunnel.lost:
            raise ConnectionResetError("the connection was closed at once")
        way.set_protocol(protocol)
        protocol.connection_made(way)
        if tunnel.held:
            protocol.data_received(tunnel.held)


def _reason(wrong: OSError) -> str:
    """In the system's own words: event loops put theirs in their place."""
    if not wrong.errno or isinstance(wrong, socket.gaierror):
        return wrong.strerror or str(wrong)
    return os.strerror(wrong.errno)


class _Tunnel(asyncio.Protocol):
    """Hears the proxy's answer, and then holds what the upstream says until the one who shall hear it is there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[bytes] = loop.create_future()
        self.held = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.held += data
        if self.answer.done():
            return
        head, end, rest = self.held.partition(b"\r\n\r\n")
        if end:
            self.held = rest
            self.answer.set_result(head)
        elif len(head) > PROXY_HEAD_BYTES_MAX:
            self.answer.set_exception(ConnectionAbortedError("its answer has no end"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if not self.answer.done():
            self.answer.set_exception(ConnectionResetError("the proxy closed the connection"))
