"""The way that the environment prescribes: which proxy, if any; and through a proxy of a few lines, over real sockets."""

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.core.errors import UpstreamUnreachable
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.proxy import Proxy, proxy_for
from tests.unit.providers.authority import Authority
from tests.unit.providers.upstream import OK, Caller, Script, Upstream, says, upstream

ASK = [b"POST /v1/x HTTP/1.1\r\nhost: api.example\r\ncontent-length: 2\r\n\r\n", b"{}"]

# ------------------------------------------------------------------------------------------------------------------- which proxy

HERE, THERE, ELSE = "http://proxy.here:3128", "http://there:8080", "http://else:80"
WAYS = [
    # the upstream, the environment, the proxy
    ("https://api.example/v1", {}, None),
    ("https://api.example/v1", {"HTTPS_PROXY": HERE}, HERE),
    ("https://api.example/v1", {"https_proxy": HERE}, HERE),
    ("https://api.example/v1", {"https_proxy": HERE, "HTTPS_PROXY": THERE}, HERE),
    ("https://api.example/v1", {"https_proxy": "", "HTTPS_PROXY": THERE}, THERE),
    ("https://api.example/v1", {"HTTP_PROXY": HERE}, None),
    ("http://api.example/v1", {"HTTP_PROXY": HERE, "HTTPS_PROXY": THERE}, HERE),
    ("http://api.example/v1", {"http_proxy": HERE}, HERE),
    ("http://api.example/v1", {"ALL_PROXY": HERE}, HERE),
    ("https://api.example/v1", {"all_proxy": HERE, "HTTPS_PROXY": THERE}, THERE),
    ("https://api.example/v1", {"HTTPS_PROXY": " ", "ALL_PROXY": ELSE}, ELSE),
    ("https://api.example/v1", {"HTTPS_PROXY": "proxy.here:3128"}, HERE),
    ("https://api.example/v1", {"HTTPS_PROXY": "proxy.here"}, "http://proxy.here:80"),
    ("https://api.example/v1", {"HTTPS_PROXY": "https://proxy.here/"}, "https://proxy.here:443"),
    ("https://api.example/v1", {"HTTPS_PROXY": "http://[fd00::1]:3128"}, "http://[fd00::1]:3128"),
    ("unix:/run/x.sock:/v1", {"ALL_PROXY": HERE}, None),
    # this machine is never reached through a proxy
    ("http://localhost:8000/v1", {"ALL_PROXY": HERE}, None),
    ("http://vllm.localhost:8000/v1", {"ALL_PROXY": HERE}, None),
    ("http://127.0.0.1:8000/v1", {"ALL_PROXY": HERE}, None),
    ("http://127.8.8.8:8000/v1", {"ALL_PROXY": HERE}, None),
    ("http://[::1]:8000/v1", {"ALL_PROXY": HERE}, None),
    ("http://10.0.0.1:8000/v1", {"ALL_PROXY": HERE}, HERE),
]


@pytest.mark.parametrize(("url", "environ", "proxy"), WAYS)
def test_which_proxy(url: str, environ: Mapping[str, str], proxy: str | None):
    found = proxy_for(url, environ)
    assert (str(found) if found else None) == proxy


PASSED_BY = [
    # NO_PROXY, the upstream, is the proxy passed by
    ("*", "https://api.example", True),
    ("api.example", "https://api.example", True),
    ("API.Example", "https://api.example", True),
    ("api.example", "https://API.example", True),
    ("example", "https://api.example", True),
    (".example", "https://api.example", True),
    ("*.example", "https://api.example", True),
    (".api.example", "https://api.example", True),
    ("i.example", "https://api.example", False),
    ("api.example.org", "https://api.example", False),
    ("api", "https://api.example", False),
    ("other,  api.example ,more", "https://api.example", True),
    ("other api.example", "https://api.example", True),
    (",,", "https://api.example", False),
    (".", "https://api.example", False),
    ("api.example:443", "https://api.example", True),
    ("api.example:443", "https://api.example:8443", False),
    ("example:8443", "https://api.example:8443", True),
    ("api.example:port", "https://api.example", False),
    ("10.1.2.3", "http://10.1.2.3", True),
    ("10.1.2.3:8000", "http://10.1.2.3:8000", True),
    ("10.1.2.3:8000", "http://10.1.2.3", False),
    ("10.0.0.0/8", "http://10.1.2.3:8000", True),
    ("10.1.2.3/8", "http://10.200.0.1", True),
    ("10.0.0.0/8", "http://11.1.2.3", False),
    ("10.0.0.0/8", "http://name", False),
    ("10.0.0.0/99", "http://10.1.2.3", False),
    ("fd00::/8", "http://[fd00::1]:8000", True),
    ("fd00::1", "http://[fd00::1]:8000", True),
    ("[fd00::1]", "http://[fd00::1]:8000", True),
    ("[fd00::1]:8000", "http://[fd00::1]:8000", True),
    ("[fd00::1]:8001", "http://[fd00::1]:8000", False),
    ("0.0.0.0/0", "http://[fd00::1]:8000", False),
]


@pytest.mark.parametrize(("entries", "url", "passed_by"), PASSED_BY)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_who_is_reached_directly(name: str, entries: str, url: str, passed_by: bool):
    assert (proxy_for(url, {"ALL_PROXY": HERE, name: entries}) is None) == passed_by


NO_PROXIES = [
    ("socks5://me:hunter2@x:1080", "https_proxy names a proxy of kind socks5://, and only http:// and https:// are known"),
    ("http://me:hunter2@x:notaport", "https_proxy names no proxy: Port could not be cast"),
    ("http://me:hunter2@", "https_proxy names no host"),
    ("http://me:hunter2@[x", "https_proxy names no proxy"),
]


@pytest.mark.parametrize(("value", "words"), NO_PROXIES)
def test_what_is_no_proxy(value: str, words: str):
    with pytest.raises(ValueError, match="environment variable") as failure:
        proxy_for("https://api.example", {"https_proxy": value})
    assert words in str(failure.value)
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    ("value", "credentials"),
    [("me:pass@", "me:pass"), ("me@", "me:"), ("m%40e:p%3Aa%2Fss@", "m@e:p:a/ss"), ("me:pä@", "me:pä")],
)
def test_credentials(value: str, credentials: str):
    proxy = proxy_for("https://api.example", {"https_proxy": f"http://{value}proxy:3128"})
    assert proxy is not None
    assert proxy.authorization == f"Basic {b64encode(credentials.encode()).decode()}"
    assert (str(proxy), repr(proxy)) == ("http://proxy:3128", "Proxy(http://proxy:3128)")


# ----------------------------------------------------------------------------------------------------------------- through a proxy


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def forwards_to(port: int, *, says_first: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Script:
    """A proxy that opens a tunnel to `port`, wherever it is asked to lead to."""

    async def script(caller: Caller) -> None:
        await caller.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await caller.say(says_first)

        async def back() -> None:
            while piece := await reader.read(65_536):
                await caller.say(piece)

        async with asyncio.TaskGroup() as tasks:
            backwards = tasks.create_task(back())
            while piece := await caller.read(65_536):
                writer.write(piece)
                await writer.drain()
            backwards.cancel()
        writer.close()

    return script


def proxy_at(made: Upstream, authorization: str | None = None) -> Proxy:
    scheme, host, port = made.url.removesuffix("/v1").replace("//", "").split(":")
    return Proxy("https" if scheme == "https" else "http", host, int(port), authorization)


@asynccontextmanager
async def through(url: str, proxy: Proxy, ca: Path | None = None, **settings: Any) -> AsyncGenerator[Endpoint, None]:
    chosen = TransportSettings(ca_file=str(ca) if ca else None, **settings)
    reached = Endpoint(url, chosen, asyncio.get_running_loop(), proxy=proxy)
    try:
        async with asyncio.timeout(5):
            yield reached
    finally:
        reached.close()


async def whole(reached: Endpoint) -> tuple[int, bytes]:
    async with reached.exchange(ASK) as answer:
        return answer.status, await answer.whole()


def port_of(made: Upstream) -> int:
    return int(made.url.removesuffix("/v1").rpartition(":")[2])


@pytest.mark.parametrize("proxy_with_tls", [False, True], ids=["http proxy", "https proxy"])
async def test_https_goes_through_a_tunnel(authority: Authority, proxy_with_tls: bool):
    tls: ssl.SSLContext | None = authority.server() if proxy_with_tls else None
    async with (
        upstream(says(OK), tls=authority.server(names="DNS:api.example")) as made,
        upstream(forwards_to(port_of(made)), tls=tls) as between,
        through("https://api.example:8443/v1", proxy_at(between, "Basic bWU6cGFzcw=="), authority.ca) as reached,
    ):
        for _ in range(5):
            assert await whole(reached) == (200, b"ok")
        assert between.requests == [
            b"CONNECT api.example:8443 HTTP/1.1\r\nhost: api.example:8443\r\nproxy-authorization: Basic bWU6cGFzcw==\r\n\r\n"
        ]
        assert made.requests == [b"".join(ASK)] * 5, "the upstream sees nothing of the proxy"
        assert (made.connections, between.connections) == (1, 1)


async def test_a_tunnel_to_an_address_of_the_sixth_version(authority: Authority):
    async with (
        upstream(says(OK), tls=authority.server(names="IP:fd00::1")) as made,
        upstream(forwards_to(port_of(made))) as between,
        through("https://[fd00::1]/v1", proxy_at(between), authority.ca) as reached,
    ):
        assert await whole(reached) == (200, b"ok")
        assert between.requests == [b"CONNECT [fd00::1]:443 HTTP/1.1\r\nhost: [fd00::1]:443\r\n\r\n"]


@pytest.mark.parametrize("authorization", [None, "Basic bWU6cGFzcw=="])
@pytest.mark.parametrize("proxy_with_tls", [False, True], ids=["http proxy", "https proxy"])
async def test_http_is_asked_for_by_the_proxy(authority: Authority, authorization: str | None, proxy_with_tls: bool):
    tls: ssl.SSLContext | None = authority.server() if proxy_with_tls else None
    async with (
        upstream(says(OK), tls=tls) as between,
        through("http://api.example:8000/v1", proxy_at(between, authorization), authority.ca) as reached,
    ):
        for _ in range(3):
            assert await whole(reached) == (200, b"ok")
        assert await reached.get("/models", "x: y\r\n") == (200, b"ok")
        extra = b"proxy-authorization: Basic bWU6cGFzcw==\r\n" if authorization else b""
        assert (
            between.requests[:3]
            == [b"POST http://api.example:8000/v1/x HTTP/1.1\r\n" + extra + b"host: api.example\r\ncontent-length: 2\r\n\r\n{}"] * 3
        )
        assert between.requests[3].startswith(b"GET http://api.example:8000/v1/models HTTP/1.1\r\n" + extra)
        assert between.connections == 1


REFUSALS = [
    # what the proxy says; in words
    (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answers '407 Proxy Authentication Required'. Check the name and password"),
    (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\nno", "answers '502 Bad Gateway'."),
    (b"HTTP/1.0 403 Forbidden\r\n\r\n", "answers '403 Forbidden'."),
    (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "answers"),
    (b"HTTP/1.1 200 OK\r\n\r\nand more that nobody can have said yet", "answers"),
    (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 5_000, "its answer has no end"),
    (b"HTTP/1.1 200 O", "the proxy closed the connection"),
    (b"", "the proxy closed the connection"),
]


@pytest.mark.parametrize(("said", "words"), REFUSALS, ids=range(len(REFUSALS)))
async def test_a_proxy_that_leads_nowhere(said: bytes, words: str):
    async def script(caller: Caller) -> None:
        await caller.request()
        await caller.say(said)

    async with upstream(script) as between, through("https://api.example/v1", proxy_at(between, "Basic c2VjcmV0")) as reached:
        with pytest.raises(UpstreamUnreachable) as failure:
            await whole(reached)
    told = str(failure.value)
    assert words in told
    assert f"proxy {proxy_at(between)}" in told
    assert "https://api.example" in told
    assert "c2VjcmV0" not in told


async def test_a_proxy_that_wants_to_know_who_asks():
    said = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\n\r\nno"
    async with upstream(says(said)) as between, through("http://api.example/v1", proxy_at(between)) as reached:
        for _ in range(2):
            with pytest.raises(UpstreamUnreachable, match=rf"The proxy {proxy_at(between)} does not lead to http://api.example: .*407"):
                await whole(reached)


async def test_a_proxy_that_is_not_there():
    for url in ("https://api.example/v1", "http://api.example/v1"):
        async with through(url, Proxy("http", "127.0.0.1", 9)) as reached:
            with pytest.raises(
                UpstreamUnreachable, match=r"api.example cannot be reached through the proxy http://127.0.0.1:9: Connection refused"
            ):
                await whole(reached)


async def test_a_proxy_that_does_not_answer():
    async def script(caller: Caller) -> None:
        await caller.gone()

    async with upstream(script) as between, through("https://api.example/v1", proxy_at(between), connect_timeout_ms=200) as reached:
        with pytest.raises(UpstreamUnreachable, match=f"within 200 ms through the proxy {proxy_at(between)}"):
            await whole(reached)
        await between.idle()


async def test_a_proxy_that_leads_to_somebody_else(authority: Authority):
    async with (
        upstream(says(OK), tls=authority.server(names="DNS:other.example")) as made,
        upstream(forwards_to(port_of(made))) as between,
        through("https://api.example/v1", proxy_at(between), authority.ca) as reached,
    ):
        with pytest.raises(UpstreamUnreachable, match=r"https://api.example is not trusted through the proxy"):
            await whole(reached)
