"""A TCP connection to the first of a host's addresses that answers (RFC 8305), set up for requests and not for files."""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TypeAlias

Found: TypeAlias = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]

NEXT_ADDRESS_S = 0.25
"""How long an address may take before the next is tried beside it."""
KEEPALIVE_S = 30
"""An upstream may think for minutes, and what lies between forgets silent connections: the system shows a sign of life so often."""


async def reach(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A connected socket. Raises OSError; of several addresses' failures, the first."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = in_turns(found)
    if len(addresses) == 1:
        return await _attempt(loop, addresses[0])
    return await _race(loop, addresses)


def in_turns(found: Sequence[Found]) -> list[Found]:
    """The families in turns, so that one which leads nowhere costs one attempt; the resolver's order is kept within each."""
    families: dict[int, list[Found]] = {}
    for address in found:
        families.setdefault(address[0], []).append(address)
    return [address for address in chain.from_iterable(zip_longest(*families.values())) if address is not None]


async def _race(loop: asyncio.AbstractEventLoop, addresses: Sequence[Found]) -> socket.socket:
    won: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(address: Found) -> None:
        try:
            won.append(await _attempt(loop, address))
        except OSError as wrong:
            failures.append(wrong)

    waiting, running = deque(addresses), set[asyncio.Task[None]]()
    try:
        async with asyncio.TaskGroup() as tasks:
            while not won and (waiting or running):
                if waiting:
                    running.add(tasks.create_task(attempt(waiting.popleft())))
                patience_s = NEXT_ADDRESS_S if waiting else None
                _, running = await asyncio.wait(running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            for late in running:
                late.cancel()
        if not won:
            raise failures[0]
        return won.pop()
    finally:
        for late_one in won:
            late_one.close()


async def _attempt(loop: asyncio.AbstractEventLoop, address: Found) -> socket.socket:
    family, kind, protocol, _, where = address
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        tune(made)
        await loop.sock_connect(made, where)
    except BaseException:
        made.close()
        raise
    return made


def tune(made: socket.socket) -> None:
    """Small writes leave at once, and a peer that is gone is noticed."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", KEEPALIVE_S), ("TCP_KEEPALIVE", KEEPALIVE_S), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        option = getattr(socket, name, None)  # Linux has TCP_KEEPIDLE, macOS calls it TCP_KEEPALIVE
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
