"""Tokens of Entra ID: fetched once, renewed in good time by one, kept while they are valid; a story on a clock that is turned by hand."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import pytest

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamUnreachable
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.entra import EntraTokens
from headrace.testing.clock import TurnedClock
from tests.unit.providers.upstream import Caller, Script, Upstream, says, upstream

REFUSED = (
    b'{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.\\r\\nTrace ID: 1\\r\\nTimestamp: 2",'
    b'"error_codes":[7000215]}'
)


def answered(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


class Authority:
    """Gives `t1`, `t2` … that last an hour, unless `instead` holds another answer; while `held` is clear, it lets wait."""

    def __init__(self, lasts_s: int | str = 3_599) -> None:
        self.given = 0
        self.lasts_s = lasts_s
        self.instead: bytes | None = None
        self.free = asyncio.Event()
        self.free.set()

    async def script(self, caller: Caller) -> None:
        while await caller.request():
            await self.free.wait()
            if self.instead is not None:
                await caller.say(self.instead)
                continue
            self.given += 1
            granted = {"token_type": "Bearer", "expires_in": self.lasts_s, "ext_expires_in": 3_599, "access_token": f"t{self.given}"}
            await caller.say(answered(200, json.dumps(granted).encode()))


@asynccontextmanager
async def tokens_of(script: Script, clock: TurnedClock, timeout_s: float = 10) -> AsyncGenerator[tuple[EntraTokens, Upstream], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = Endpoint(made.url.removesuffix("/v1"), TransportSettings(), asyncio.get_running_loop())
        secret = {"tenant": "acme.example", "client_id": "app", "client_secret": "s&c=r t"}
        try:
            yield EntraTokens(authority=endpoint, clock=clock, timeout_s=timeout_s, **secret), made
        finally:
            endpoint.close()


async def test_what_the_authority_is_asked():
    async with tokens_of(Authority().script, TurnedClock()) as (tokens, made):
        assert await tokens.token() == "t1"
    head, _, body = made.requests[0].decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    assert first == "POST /acme.example/oauth2/v2.0/token HTTP/1.1"
    assert "content-type: application/x-www-form-urlencoded" in lines
    assert parse_qs(body, strict_parsing=True) == {
        "grant_type": ["client_credentials"],
        "client_id": ["app"],
        "client_secret": ["s&c=r t"],
        "scope": ["https://cognitiveservices.azure.com/.default"],
    }


async def test_a_sovereign_authority_behind_a_path_and_its_scope():
    async with asyncio.timeout(5), upstream(Authority().script) as made:
        endpoint = Endpoint(f"{made.url}/login/", TransportSettings(), asyncio.get_running_loop())
        scope = "https://cognitiveservices.azure.us/.default"
        tokens = EntraTokens(authority=endpoint, tenant="a/b", client_id="app", client_secret="s", clock=TurnedClock(), scope=scope)
        assert await tokens.token() == "t1"
        endpoint.close()
    assert made.requests[0].startswith(b"POST /v1/login/a%2Fb/oauth2/v2.0/token HTTP/1.1\r\n")
    assert b"scope=https%3A%2F%2Fcognitiveservices.azure.us%2F.default" in made.requests[0]


@pytest.mark.parametrize("lasts_s", [3_599, "3599"], ids=["number", "text"])
async def test_a_day_of_one_token(lasts_s: int | str):
    clock, authority = TurnedClock(), Authority(lasts_s)
    async with tokens_of(authority.script, clock) as (tokens, _):
        assert tokens.current is None
        assert await tokens.token() == "t1"
        clock.turn(s=3_298)
        assert tokens.current == "t1"
        assert await tokens.token() == "t1"
        clock.turn(s=1)  # 300 s before its end
        assert tokens.current is None
        assert await tokens.token() == "t2"
        assert tokens.current == "t2"
        clock.turn(s=100_000)
        assert tokens.current is None
        assert await tokens.token() == "t3"
    assert authority.given == 3


async def test_a_token_that_lasts_shortly_is_renewed_at_half_of_its_time():
    clock, authority = TurnedClock(), Authority(60)
    async with tokens_of(authority.script, clock) as (tokens, _):
        assert await tokens.token() == "t1"
        clock.turn(s=29)
        assert tokens.current == "t1"
        clock.turn(s=1)
        assert await tokens.token() == "t2"


async def test_all_who_have_no_token_wait_for_one_fetch():
    authority = Authority()
    authority.free.clear()
    async with tokens_of(authority.script, TurnedClock()) as (tokens, made):
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(tokens.token()) for _ in range(20)]
            await made.asked.wait()
            authority.free.set()
        assert {one.result() for one in asked} == {"t1"}
    assert len(made.requests) == 1


async def test_while_one_renews_the_others_go_on_with_the_token_in_hand():
    clock, authority = TurnedClock(), Authority()
    async with tokens_of(authority.script, clock) as (tokens, made):
        await tokens.token()
        clock.turn(s=3_400)
        authority.free.clear()
        made.asked.clear()
        async with asyncio.TaskGroup() as tasks:
            renewing = tasks.create_task(tokens.token())
            await made.asked.wait()
            assert [await tokens.token() for _ in range(3)] == ["t1", "t1", "t1"]
            authority.free.set()
        assert renewing.result() == "t2"
    assert len(made.requests) == 2


async def test_who_leaves_while_it_fetches_leaves_the_fetch_to_the_next():
    authority = Authority()
    authority.free.clear()
    async with tokens_of(authority.script, TurnedClock()) as (tokens, made):
        async with asyncio.TaskGroup() as tasks:
            first, second = tasks.create_task(tokens.token()), tasks.create_task(tokens.token())
            await made.asked.wait()
            first.cancel()
            authority.free.set()
        assert first.cancelled()
        assert second.result() in ("t1", "t2")


async def test_a_failed_renewal_keeps_the_token_in_hand_until_its_end():
    clock, authority = TurnedClock(), Authority()
    async with tokens_of(authority.script, clock) as (tokens, made):
        await tokens.token()
        clock.turn(s=3_400)
        authority.instead = answered(503, b"")
        assert await tokens.token() == "t1"
        assert len(made.requests) == 2
        assert await tokens.token() == "t1"
        assert len(made.requests) == 2, "a failed fetch is not repeated at once"
        clock.turn(s=5)
        assert await tokens.token() == "t1"
        assert len(made.requests) == 3
        clock.turn(s=184)  # 10 s before its end
        with pytest.raises(UpstreamFailed, match="answered 503 and gave no token to the application app"):
            await tokens.token()
        authority.instead = None
        with pytest.raises(UpstreamFailed, match="answered 503"):
            await tokens.token()
        clock.turn(s=5)
        assert await tokens.token() == "t2"


FAILURES: list[tuple[bytes, type[HeadraceError], str]] = [
    (
        answered(401, REFUSED),
        UpstreamFailed,
        r"answered 401 and gave no token to the application app: AADSTS7000215: Invalid client secret",
    ),
    (answered(401, REFUSED), UpstreamFailed, r"provided\. \(check the pool's tenant, client_id and client_secret\)\.$"),
    (answered(400, b'{"error":"unauthorized_client"}'), UpstreamFailed, "application app: unauthorized_client "),
    (answered(400, b"<html>"), UpstreamFailed, r"to the application app \(check"),
    (answered(400, b'{"error":7}'), UpstreamFailed, r"to the application app \(check"),
    (answered(302, b""), UpstreamFailed, "answered 302"),
    (answered(200, b"<html>"), UpstreamFailed, "something that is not a token"),
    (answered(200, b'{"access_token":"t","expires_in":"soon"}'), UpstreamFailed, "something that is not a token"),
    (answered(200, b'{"access_token":"t\\r\\nx: y","expires_in":3599}'), UpstreamFailed, "a token that no header can hold"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", UpstreamUnreachable, "gave no token"),
    (b"nonsense\r\n\r\n", UpstreamUnreachable, "gave no token"),
]


@pytest.mark.parametrize(("raw", "kind", "words"), FAILURES)
async def test_why_there_is_no_token(raw: bytes, kind: type[HeadraceError], words: str):
    async def once(caller: Caller) -> None:
        await caller.request()
        await caller.say(raw)

    async with tokens_of(once, TurnedClock()) as (tokens, _):
        with pytest.raises(kind, match=words) as failure:
            await tokens.token()
    assert type(failure.value) is kind
    assert not failure.value.may_bill, "only the authority was asked, which bills nothing"
    assert "s&c=r t" not in str(failure.value)


async def test_an_authority_that_is_silent_or_not_there():
    async def silent(caller: Caller) -> None:
        await caller.request()
        await caller.gone()

    async with tokens_of(silent, TurnedClock(), timeout_s=0.05) as (tokens, _):
        with pytest.raises(UpstreamUnreachable, match=r"gave no token within 0\.05 s\.") as failure:
            await tokens.token()
        assert not failure.value.may_bill
    nowhere = Endpoint("http://no-such-host.invalid", TransportSettings(), asyncio.get_running_loop())
    tokens = EntraTokens(authority=nowhere, tenant="t", client_id="c", client_secret="s", clock=TurnedClock())
    with pytest.raises(UpstreamUnreachable, match="cannot be reached"):
        await tokens.token()


async def test_a_token_that_is_refused_is_fetched_anew_but_not_again_and_again():
    clock, authority = TurnedClock(), Authority()
    async with tokens_of(authority.script, clock) as (tokens, _):
        assert await tokens.token() == "t1"
        tokens.refuse("t1")
        assert tokens.current == "t1", "it has just come, so that the fault is not the token's"
        clock.turn(s=60)
        tokens.refuse("t0")
        assert tokens.current == "t1", "another was refused"
        tokens.refuse("t1")
        assert tokens.current is None
        assert await tokens.token() == "t2"


@pytest.mark.parametrize("empty", ["tenant", "client_id", "client_secret", "scope"])
async def test_all_of_the_credentials_are_needed(empty: str):
    endpoint = Endpoint("http://localhost", TransportSettings(), asyncio.get_running_loop())
    given = {"tenant": "t", "client_id": "c", "client_secret": "s", "scope": "x", empty: ""}
    with pytest.raises(ValueError, match="needs a tenant"):
        EntraTokens(authority=endpoint, clock=TurnedClock(), timeout_s=1, **given)


async def test_an_unasked_upstream_is_not_asked():
    async with tokens_of(says(answered(500, b"")), TurnedClock()) as (tokens, made):
        tokens.refuse("t1")
        assert tokens.current is None
    assert made.requests == []
