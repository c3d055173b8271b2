"""The one way out: a proxy that reaches only hosts that were given leave, and never this machine or its networks.

It speaks HTTP's proxy dialect (`CONNECT host:port`, and absolute addresses for plain http) on a unix socket, which the sandbox shows to a
command. A name is looked up here, once, and the address that was checked is the one that is connected to, so no second answer of the
name's server leads elsewhere. What it refuses it says in the answer.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from headrace.core.errors import SandboxRefused
from headrace.sandbox.listener import UnixListener

HEAD_BYTES_MAX: Final = 16_384
PORTS: Final = frozenset((80, 443))
CONNECT_S_MAX: Final = 10
_PIECE: Final = 65_536

Lookup: TypeAlias = Callable[[str, int], Awaitable[list[str]]]


class Reach(msgspec.Struct, frozen=True):
    """What may be reached: these hosts, or every one. `private` opens networks that are not the internet's: for tests, and for who runs
    services of their own."""

    hosts: frozenset[str]
    ports: frozenset[int] = PORTS
    private: bool = False
    everywhere: bool = False

    def holds(self, host: str) -> bool:
        return self.everywhere or host.casefold() in self.hosts


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def checked_address(host: str, port: int, reach: Reach, lookup: Lookup = look_up) -> str:
    """The address to connect to for this host, or a refusal that says why."""
    if not reach.holds(host):
        raise SandboxRefused(f"{host} is not among the hosts that this run may reach.")
    if port not in reach.ports:
        raise SandboxRefused(f"Port {port} is not open to the sandbox.")
    try:
        addresses = await lookup(host, port)
    except (OSError, UnicodeError):  # the latter for what no name can be, such as `a..b`
        raise SandboxRefused(f"{host} has no address.") from None
    for address in addresses:
        if not reach.private and not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise SandboxRefused(f"{host} is at {address}, which is no address of the internet.")
    if not addresses:
        raise SandboxRefused(f"{host} has no address.")
    return addresses[0]


class Egress:
    """The proxy. `reached` lists the hosts that were connected to, for the run's record. Whoever holds it may widen its `reach`."""

    def __init__(self, reach: Reach, lookup: Lookup = look_up) -> None:
        self.reached: list[str] = []
        self.refused: list[str] = []
        self.reach, self._lookup = reach, lookup
        self._listener = UnixListener(self._serve)
        self._hosts: dict[asyncio.StreamWriter, str] = {}

    async def start(self, path: Path) -> None:
        await self._listener.start(path, for_all=True)

    async def stop(self) -> None:
        await self._listener.stop()

    def close_others(self) -> None:
        """Connections to what may not be reached any more end now."""
        for writer, host in self._hosts.items():
            if not self.reach.holds(host):
                writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._carry(reader, writer)
        except SandboxRefused as refused:
            self.refused.append(str(refused))
            body = f"{refused}\n".encode()
            writer.write(
                b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (len(body), body)
            )
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if len(head) > HEAD_BYTES_MAX:
            raise SandboxRefused("The head of the request is too long.")
        method, target, version, rest = _first_line(head)
        host, port, onward = aim(method, target)
        address = await checked_address(host, port, self.reach, self._lookup)
        async with asyncio.timeout(CONNECT_S_MAX):
            far_reader, far_writer = await asyncio.open_connection(address, port)
        self.reached.append(host)
        self._hosts[writer] = host
        try:
            if onward is None:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(b"%b %b %b\r\nconnection: close\r\n" % (method, onward.encode(), version) + _without_hops(rest))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pour(reader, far_writer))
                tasks.create_task(_pour(far_reader, writer))
        finally:
            del self._hosts[writer]
            far_writer.close()


def _first_line(head: bytes) -> tuple[bytes, str, bytes, bytes]:
    line, _, rest = head.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3:
        raise SandboxRefused("That is no request of HTTP.")
    return words[0], words[1].decode("ascii", "replace"), words[2], rest


def aim(method: bytes, target: str) -> tuple[str, int, str | None]:
    """Host and port of a proxy request, and for plain http what is asked of the host."""
    if method == b"CONNECT":
        host, _, port = target.rpartition(":")
        return host.strip("[]"), _port(port), None
    scheme, _, rest = target.partition("://")
    if scheme.casefold() != "http":
        raise SandboxRefused("The proxy takes CONNECT, and http addresses.")
    authority, slash, path = rest.partition("/")
    host, colon, port = authority.rpartition("@")[2].rpartition(":")
    return (host, _port(port), slash + path or "/") if colon else (port, 80, slash + path or "/")


def _port(text: str) -> int:
    if not text.isdigit():
        raise SandboxRefused(f"{text!r} is no port.")
    return int(text)


def _without_hops(headers: bytes) -> bytes:
    hops = (b"connection:", b"proxy-connection:", b"proxy-authorization:")
    return b"\r\n".join(line for line in headers.split(b"\r\n") if not line.lower().startswith(hops))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()
