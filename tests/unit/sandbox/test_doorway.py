"""The door of a foreign agent: what goes through, as whom, and what does not; one request a connection, of exactly its length."""

import asyncio
from pathlib import Path

import pytest

from headrace.sandbox import Doorway

KEY = "sk-hr-true"


async def asked(raw: bytes, folder: Path) -> tuple[bytes, bytes]:
    """What the server behind the door got, and what the agent was answered."""
    got = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.extend(await reader.readuntil(b"\r\n\r\n"))
        size = next((int(line[15:]) for line in got.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
        got.extend(await reader.readexactly(size))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    door = Doorway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", KEY)
    await door.start(folder / "door.sock")
    try:
        reader, writer = await asyncio.open_unix_connection(folder / "door.sock")
        writer.write(raw)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    finally:
        await door.stop()
        server.close()
    return bytes(got), answer


def request(line: str, *headers: str, body: str = "") -> bytes:
    return "\r\n".join([line, *headers, "", body]).encode()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("GET /v1/models HTTP/1.1"), b"200"),
        (request("GET /v1/models/a/b HTTP/1.1"), b"200"),
        (request("POST /v1/messages?beta=true HTTP/1.1", "content-length: 2", body="{}"), b"200"),
        (request("GET /v1/files HTTP/1.1"), b"403"),
        (request("POST /v1/models HTTP/1.1"), b"403"),
        (request("GET /v1/responses/resp_1 HTTP/1.1"), b"403"),
        (request("POST /v1/messages/../keys HTTP/1.1", "content-length: 0"), b"403"),
        (request("POST //v1/messages HTTP/1.1", "content-length: 0"), b"403"),
        (request("GET http://127.0.0.1/v1/models HTTP/1.1"), b"403"),
        (request("CONNECT example.org:443 HTTP/1.1"), b"403"),
        (request("GET /v1/models HTTP/1.0"), b"400"),
        (request("POST /v1/messages HTTP/1.1", "transfer-encoding: chunked"), b"411"),
        (request("POST /v1/messages HTTP/1.1", "content-length: 1", "content-length: 9", body="x"), b"400"),
        (request("POST /v1/messages HTTP/1.1", "content-length: +1", body="x"), b"400"),
        (request("POST /v1/messages HTTP/1.1", "content-length: 2", " more: folded", body="{}"), b"411"),
    ],
)
async def test_only_what_asks_a_model_goes_through(raw: bytes, status: bytes, tmp_path: Path):
    got, answer = await asked(raw, tmp_path)
    assert answer.split(b" ")[1] == status
    assert bool(got) is (status == b"200")


async def test_our_key_takes_the_place_of_theirs_and_nothing_rides_along(tmp_path: Path):
    headers = [
        "authorization: Bearer sk-mine",
        "x-api-key: sk-mine",
        "cookie: headrace_page=x",
        "connection: keep-alive",
        "host: evil",
        "a: b",
    ]
    raw = request("POST /v1/messages HTTP/1.1", *headers, "content-length: 2", body="{}GET /admin/pools HTTP/1.1\r\n\r\n")
    got, _ = await asked(raw, tmp_path)
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert body == b"{}"
    assert f"authorization: Bearer {KEY}" in lines
    assert "connection: close" in lines
    assert "a: b" in lines
    assert "sk-mine" not in head.decode()
    assert "evil" not in head.decode()
    assert "cookie" not in head.decode()
