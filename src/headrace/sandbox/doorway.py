"""The one door of a foreign agent: from its sandbox to our API, and there to the routes of models alone.

It listens on a unix socket, like the egress proxy, and is no proxy: whatever comes goes to one server. It takes one request a connection,
looks at where that goes, and puts our key in the place of whichever the agent has sent, so that the key itself never enters the sandbox.
"""

import asyncio
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from headrace.core.errors import InvalidRequest
from headrace.sandbox.listener import UnixListener

CONNECT_S_MAX: Final = 10
ROUTES: Final = frozenset(
    (
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("POST", "/v1/responses/compact"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
    )
)
_OURS: Final = frozenset(("authorization", "x-api-key", "connection", "host", "cookie", "expect", "proxy-authorization", "upgrade"))
"""Headers that we say ourselves, or that nobody says."""
_PIECE: Final = 65_536


class _Refused(Exception):
    def __init__(self, status: str, says: str) -> None:
        super().__init__(says)
        self.status = status


class Doorway:
    """`url` is the API's address, as clients know it, with its `/v1`. `asked` counts what went through; `refused` says what did not."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest(f"{url!r} is not the address of an API, such as http://127.0.0.1:8080/v1")
        self._host, self._tls = parts.hostname, ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._authority, self._path = parts.netloc.rpartition("@")[2], parts.path.rstrip("/").removesuffix("/v1")
        self._key = key
        self.asked = 0
        self.refused: list[str] = []
        self._listener = UnixListener(self._serve)

    async def start(self, path: Path) -> None:
        await self._listener.start(path, for_all=True)

    async def stop(self) -> None:
        await self._listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._carry(reader, writer)
        except _Refused as refused:
            self.refused.append(str(refused))
            said = {"message": str(refused), "type": "invalid_request_error", "param": None, "code": "not_allowed"}
            body = msgspec.json.encode({"error": said})
            writer.write(b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % (refused.status.encode(), len(body)))
            writer.write(b"connection: close\r\n\r\n" + body)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, size = self._onward(head)
        self.asked += 1
        async with asyncio.timeout(CONNECT_S_MAX):
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            far_writer.write(line)
            async with asyncio.TaskGroup() as tasks:
                sending = tasks.create_task(_pour(reader, far_writer, size))
                while piece := await far_reader.read(_PIECE):
                    writer.write(piece)
                    await writer.drain()
                sending.cancel()
        finally:
            far_writer.close()

    def _onward(self, head: bytes) -> tuple[bytes, int]:
        """The head as it goes on, and how many bytes follow it."""
        first, *lines = head[:-4].decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or words[2] != "HTTP/1.1":
            raise _Refused("400 Bad Request", "HTTP/1.1 is spoken here.")
        method, target, _ = words
        path = target.partition("?")[0]
        if (method, path) not in ROUTES and not (method == "GET" and path.startswith("/v1/models/")):
            raise _Refused("403 Forbidden", f"From the sandbox only models can be asked, not {_plain(method)} {_plain(path)}.")
        kept, size = [], 0
        for line in lines:
            name, colon, value = line.partition(":")
            low = name.casefold()
            if not colon or name != name.strip() or low == "transfer-encoding":
                raise _Refused("411 Length Required", "A request says with content-length how long it is.")
            if low == "content-length":
                if not value.strip().isdigit() or size:
                    raise _Refused("400 Bad Request", "content-length is a number, said once.")
                size = int(value)
            if low not in _OURS:
                kept.append(line)
        ours = [f"host: {self._authority}", f"authorization: Bearer {self._key}", "connection: close"]
        return "\r\n".join([f"{method} {self._path}{target} HTTP/1.1", *ours, *kept, "", ""]).encode("latin-1"), size


def _plain(path: str) -> str:
    return "".join(letter for letter in path[:100] if letter.isascii() and (letter.isalnum() or letter in "/_-.:"))


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> None:
    """Exactly so much: what comes after it is no part of the request."""
    while size and (piece := await reader.read(min(_PIECE, size))):
        size -= len(piece)
        writer.write(piece)
        await writer.drain()
