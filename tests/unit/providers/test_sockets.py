"""Which of a host's addresses is connected to, and how the socket is set up."""

import asyncio
import socket
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from typing import Any, cast

import pytest

from headrace.providers.sockets import KEEPALIVE_S, Found, in_turns, reach


def at(host: str, port: int) -> Found:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    where = (host, port, 0, 0) if family == socket.AF_INET6 else (host, port)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where


class Resolver:
    """The running loop, but names have the addresses that the test gives them."""

    def __init__(self, *found: Found) -> None:
        self._found, self._loop = found, asyncio.get_running_loop()
        self.tried: list[Any] = []

    async def getaddrinfo(self, host: str, port: int, *, type: int) -> list[Found]:
        return list(self._found)

    async def sock_connect(self, made: socket.socket, where: Any) -> None:
        self.tried.append(where)
        await self._loop.sock_connect(made, where)

    async def reach(self) -> socket.socket:
        return await reach(cast(asyncio.AbstractEventLoop, self), "name", 1)


@asynccontextmanager
async def listening() -> AsyncGenerator[int, None]:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def never_accepting() -> AsyncGenerator[int, None]:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        await asyncio.sleep(0.05)
        yield full.getsockname()[1]


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


async def test_the_socket_is_for_requests():
    async with listening() as port:
        with closing(await reach(asyncio.get_running_loop(), "127.0.0.1", port)) as made:
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            if hasattr(socket, "TCP_KEEPIDLE"):
                assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_S


async def test_an_address_that_refuses_is_passed_over_at_once():
    async with listening() as port, asyncio.timeout(5):
        resolver = Resolver(at("127.0.0.1", closed_port()), at("127.0.0.1", closed_port()), at("127.0.0.1", port))
        begun = time.monotonic()
        with closing(await resolver.reach()) as made:
            assert made.getpeername() == ("127.0.0.1", port)
        assert time.monotonic() - begun < 0.2


async def test_an_address_that_does_not_answer_is_left_for_the_next():
    async with never_accepting() as silent, listening() as port, asyncio.timeout(5):
        resolver = Resolver(at("127.0.0.1", silent), at("127.0.0.1", port))
        begun = time.monotonic()
        with closing(await resolver.reach()) as made:
            assert made.getpeername() == ("127.0.0.1", port)
        assert 0.2 < time.monotonic() - begun < 1


async def test_the_first_that_answers_is_enough():
    async with listening() as port:
        resolver = Resolver(at("127.0.0.1", port), at("127.0.0.1", closed_port()))
        (await resolver.reach()).close()
        assert resolver.tried == [("127.0.0.1", port)]


@pytest.mark.parametrize("count", [1, 3])
async def test_nobody_answers(count: int):
    resolver = Resolver(*(at("127.0.0.1", closed_port()) for _ in range(count)))
    with pytest.raises(ConnectionRefusedError):
        await resolver.reach()
    assert len(resolver.tried) == count


async def test_who_gives_up_leaves_nothing_behind():
    async with never_accepting() as silent:
        before = asyncio.all_tasks()
        resolver = Resolver(at("127.0.0.1", silent), at("127.0.0.1", silent))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.4):
                await resolver.reach()
        assert len(resolver.tried) == 2
        assert asyncio.all_tasks() == before


def test_families_take_turns():
    six, four = [at(f"::{n}", 1) for n in range(3)], [at(f"10.0.0.{n}", 1) for n in range(2)]
    assert in_turns([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert in_turns([*four, *six[:1]]) == [four[0], six[0], four[1]]
    assert in_turns(four) == four
