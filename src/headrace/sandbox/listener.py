"""A unix socket of ours, answered a connection at a time."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeAlias

Serve: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class UnixListener:
    """Each connection is given to `serve`, and closed when that returns."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, path: Path, *, for_all: bool = False) -> None:
        """Listen; `for_all`: to whoever on this machine can see the socket, which lies in a folder that only we may enter."""
        self._server = await asyncio.start_unix_server(self._one, sock=unix_listener(path))
        if for_all:
            os.chmod(path, 0o666)  # noqa: S103 the sandbox's user is not ours

    async def stop(self) -> None:
        """End it, and all connections."""
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.close()
            await self._server.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
            with contextlib.suppress(OSError):
                await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()


def unix_listener(path: Path) -> socket.socket:
    """A unix socket at this path, however long that is: a socket's address holds some hundred bytes, so it is named within its folder."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with nearby(path) as near:
            listener.bind(near)
    except BaseException:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def nearby(path: Path) -> Iterator[str]:
    """A short name of a path, for as long as the block lasts."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}" if os.path.isdir("/proc/self/fd") else str(path)
    finally:
        os.close(folder)
