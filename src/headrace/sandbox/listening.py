"""A unix socket for the sandbox: anybody on this machine who can see it may use it, and it lies in a folder that only we may enter."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

LIMIT: Final = 64 << 10


async def listen(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], path: Path) -> asyncio.Server:
    """Serve who comes to `path`, which may be longer than the system takes for a socket: it is named by way of its open folder."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.chmod(path, 0o666)  # noqa: S103 the sandbox's user is not ours
    except BaseException:
        listener.close()
        raise
    finally:
        os.close(folder)
    return await asyncio.start_unix_server(serve, sock=listener, limit=LIMIT)
