"""Upstreams with TLS: whom we trust, what we say when we do not, and that a handshake is made once a connection."""

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamUnreachable
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.tls import tls_context
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.authority import Authority
from tests.unit.providers.upstream import OK, Caller, Upstream, says, says_once, upstream

ASK = [b"POST /v1/x HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n", b"{}"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def reach(
    script, tls: ssl.SSLContext | None, ca: Path | None, *, as_: tuple[str, str] = ("", ""), **settings: Any
) -> AsyncGenerator[tuple[Upstream, Endpoint], None]:
    """`as_` replaces a part of the upstream's address."""
    async with asyncio.timeout(5), upstream(script, tls=tls) as made:
        chosen = TransportSettings(ca_file=str(ca) if ca else None, **settings)
        reached = Endpoint(made.url.replace(*as_), chosen, asyncio.get_running_loop())
        try:
            yield made, reached
        finally:
            reached.close()


async def whole(reached: Endpoint) -> tuple[int, bytes]:
    async with reached.exchange(ASK) as answer:
        return answer.status, await answer.whole()


async def test_one_handshake_for_many_requests(authority: Authority):
    shown = authority.server()
    async with reach(says(OK), shown, authority.ca) as (made, reached):
        for _ in range(20):
            assert await whole(reached) == (200, b"ok")
        assert shown.session_stats()["accept_good"] == 1
        assert made.requests == [b"".join(ASK)] * 20


async def test_a_name_instead_of_an_address(authority: Authority):
    async with reach(says(OK), authority.server(names="DNS:localhost"), authority.ca, as_=("127.0.0.1", "localhost")) as (_, reached):
        assert await whole(reached) == (200, b"ok")


async def test_http_1_is_what_we_offer(authority: Authority):
    agreed: list[str | None] = []

    async def script(caller: Caller) -> None:
        agreed.append(caller.alpn)
        await says(OK)(caller)

    async with reach(script, authority.server(alpn="http/1.1"), authority.ca) as (_, reached):
        assert await whole(reached) == (200, b"ok")
    assert agreed == ["http/1.1"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "poured"])
async def test_large_bodies(authority: Authority, streamed: bool):
    size = 3_000_000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + bytes(size)
    large = [b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size, bytes(size)]
    async with reach(says(answer), authority.server(), authority.ca) as (made, reached):
        for _ in range(2):
            pieces: list[bytes] = []
            async with reached.exchange(large) as exchange:
                if streamed:
                    await exchange.pour(pieces.append, ScriptedListener())
                else:
                    pieces.append(await exchange.whole())
            assert b"".join(pieces) == bytes(size)
        assert [len(request) for request in made.requests] == [size + len(large[0])] * 2
        assert made.connections == 1


async def test_a_body_that_ends_with_its_connection(authority: Authority):
    async with reach(says_once(b"HTTP/1.1 200 OK\r\n\r\n", b"o", b"k"), authority.server(), authority.ca) as (made, reached):
        for _ in range(2):
            assert await whole(reached) == (200, b"ok")
        assert made.connections == 2


async def test_an_upstream_waits_for_a_slow_client(authority: Authority):
    said = 0

    async def script(caller: Caller) -> None:
        nonlocal said
        await caller.request()
        await caller.say(b"HTTP/1.1 200 OK\r\ncontent-length: 64000000\r\n\r\n")
        for _ in range(64):
            await caller.say(bytes(1_000_000))
            said += 1_000_000

    slow = ScriptedListener()
    begun = asyncio.Event()

    def take(piece: bytes) -> None:
        begun.set()
        slow.stall()

    async with (
        reach(script, authority.server(), authority.ca) as (_, reached),
        reached.exchange(ASK) as answer,
        asyncio.TaskGroup() as tasks,
    ):
        pouring = tasks.create_task(answer.pour(take, slow))
        await begun.wait()
        await asyncio.sleep(0.5)
        stood_at = said
        assert said < 32_000_000
        await asyncio.sleep(0.1)
        assert said == stood_at
        pouring.cancel()


async def test_nobody_whom_we_know_has_signed_it(authority: Authority):
    async with reach(says(OK), authority.server(), None) as (_, reached):
        with pytest.raises(UpstreamUnreachable) as failure:
            await whole(reached)
    said = str(failure.value)
    assert said.startswith(f"{reached.origin} is not trusted: its certificate is refused (")
    assert "issuer certificate" in said or "self-signed" in said
    assert said.endswith(". If an authority of your own has signed it, name that in ca_file.")


async def test_a_certificate_of_the_past(authority: Authority):
    async with reach(says(OK), authority.server(expired=True), authority.ca) as (_, reached):
        with pytest.raises(UpstreamUnreachable, match=r"is not trusted: its certificate is refused \(certificate has expired\)"):
            await whole(reached)


async def test_a_certificate_of_somebody_else(authority: Authority):
    async with reach(says(OK), authority.server(names="DNS:other.example"), authority.ca) as (_, reached):
        with pytest.raises(UpstreamUnreachable, match=r"is not trusted: its certificate is refused \(.*127.0.0.1"):
            await whole(reached)


async def test_an_upstream_without_tls():
    async def script(caller: Caller) -> None:
        await caller.read(1_000)
        await caller.say(OK)

    async with reach(script, None, None, as_=("http", "https")) as (_, reached):
        with pytest.raises(UpstreamUnreachable, match="and we do not agree on TLS: "):
            await whole(reached)


async def test_an_upstream_with_tls_that_is_asked_without(authority: Authority):
    async with reach(says(OK), authority.server(), None, as_=("https", "http")) as (_, reached):
        with pytest.raises((UpstreamFailed, UpstreamCut)):
            await whole(reached)


async def test_an_upstream_that_never_shakes_hands():
    async def script(caller: Caller) -> None:
        await caller.gone()

    async with reach(script, None, None, as_=("http", "https"), connect_timeout_ms=200) as (made, reached):
        with pytest.raises(UpstreamUnreachable, match="did not accept a connection within 200 ms"):
            await whole(reached)
        await made.idle()


async def test_an_upstream_that_hangs_up_instead_of_shaking_hands():
    async def script(caller: Caller) -> None:
        await caller.read(1_000)

    async with reach(script, None, None, as_=("http", "https")) as (_, reached):
        with pytest.raises(UpstreamUnreachable) as failure:
            await whole(reached)
        assert isinstance(failure.value, HeadraceError)


@pytest.mark.parametrize(
    ("holds", "words"), [(None, "cannot be read: No such file"), (b"", "holds no certificate"), (b"x", "no certificate")]
)
async def test_a_file_of_authorities_that_is_none(tmp_path: Path, holds: bytes | None, words: str):
    path = tmp_path / "ca.pem"
    if holds is not None:
        path.write_bytes(holds)
    with pytest.raises(ValueError, match=f"ca_file '{path}' .*{words}"):
        Endpoint("https://x/v1", TransportSettings(ca_file=str(path)), asyncio.get_running_loop())


def test_contexts_are_shared_until_their_file_changes(tmp_path: Path, authority: Authority):
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.ca.read_bytes())
    one = tls_context(str(path), "http/1.1")
    assert tls_context(str(path), "http/1.1") is one
    assert tls_context(str(path), "h2") is not one
    os.utime(path, ns=(1, 1))
    assert tls_context(str(path), "http/1.1") is not one
    assert tls_context(None, "http/1.1") is tls_context(None, "http/1.1")
    assert one.verify_mode == ssl.CERT_REQUIRED
    assert one.check_hostname
