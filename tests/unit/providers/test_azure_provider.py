"""The adapter for Azure OpenAI: its addresses and credentials, beside the official client's; then as every adapter, by the shared suite."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TypedDict, Unpack

import pytest
from openai import AsyncAzureOpenAI, AsyncOpenAI

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused
from headrace.core.stream import Used, Verbatim
from headrace.core.usage import Usage
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.adapters.azure import AzureProvider
from headrace.providers.entra import EntraTokens
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.providers import check_failure, check_leaving, check_provider, check_waiting
from tests.unit.providers.upstream import Caller, Script, Upstream, says, upstream

DATED = "2024-10-21"
DEPLOYMENT = "its nano"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
FILTERED = (
    b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":'
    b'{"hate":{"filtered":false,"severity":"safe"},"jailbreak":{"error":{"code":"content_filter_error","message":"down"}}}}]}\n\n'
)
SAYS = b'data: {"model":"gpt-5.4-nano-2026","choices":[{"content_filter_results":{},"delta":{"content":"hi"},"index":0}],"usage":null}\n\n'
OFFSETS = (
    b'data: {"choices":[{"content_filter_offsets":{"check_offset":9},"content_filter_results":{},"finish_reason":null,"index":0}]}\n\n'
)
TELLS = b'data: {"model":"gpt-5.4-nano-2026","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
DONE = b"data: [DONE]\n\n"
ANSWER = (
    b'{"model":"gpt-5.4-nano-2026","choices":[{"message":{"role":"assistant","content":"hi"},"index":0,"finish_reason":"stop"}],'
    b'"prompt_filter_results":[{"prompt_index":0}],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}'
)
USED = Used(Usage(9, output=2), "gpt-5.4-nano-2026")


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answered(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in (b"content-type: application/json", *headers))
    return b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


WHOLE = says(STREAM, piece(FILTERED), piece(SAYS), piece(OFFSETS), piece(TELLS + DONE) + b"0\r\n\r\n")


class Options(TypedDict, total=False):
    """What a pool of Azure may say of its resource."""

    api_version: str
    api_key: str | None
    entra: EntraTokens | None
    headers: Mapping[str, str]
    rename: Mapping[str, str]
    drops: frozenset[str]


def resource(made: Upstream, path: str = "") -> Endpoint:
    return Endpoint(made.url.removesuffix("/v1") + path, TransportSettings(), asyncio.get_running_loop())


def provider_at(endpoint: Endpoint, **options: Unpack[Options]) -> AzureProvider:
    given: Options = {"api_version": DATED, **options}
    return AzureProvider(name="a", endpoints=[endpoint], models={MODEL: DEPLOYMENT}, **given)


@asynccontextmanager
async def adapter(script: Script, path: str = "", **options: Unpack[Options]) -> AsyncGenerator[tuple[Upstream, AzureProvider], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = resource(made, path)
        try:
            yield made, provider_at(endpoint, **options)
        finally:
            endpoint.close()


def parts(request: bytes) -> tuple[str, dict[str, str], dict[str, object]]:
    """First line, headers, body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, json.loads(body)


@pytest.mark.parametrize(("include_usage", "end"), [(True, TELLS + DONE), (False, DONE)])
async def test_a_stream(include_usage: bool, end: bytes):
    async with adapter(WHOLE) as (_, provider):
        said = await check_provider(provider, an_ask(include_usage=include_usage))
    assert said[-2:] == [USED, Verbatim(end)]
    assert b"".join(one.data for one in said[:-2] if isinstance(one, Verbatim)) == FILTERED + SAYS + OFFSETS


async def test_a_whole_answer():
    async with adapter(says(answered(200, ANSWER))) as (_, provider):
        assert await check_provider(provider, an_ask(stream=False)) == [USED, Verbatim(ANSWER)]


async def test_embeddings():
    body = b'{"model":"its","data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}'
    async with adapter(says(answered(200, body))) as (made, provider):
        said = await check_provider(provider, an_ask(operation="embeddings", stream=False, tokens_out_max=0))
    assert said == [Used(Usage(9), "its"), Verbatim(body)]
    assert made.requests[0].startswith(b"POST /openai/deployments/its%20nano/embeddings?api-version=2024-10-21 HTTP/1.1\r\n")


async def test_who_must_wait_is_told_nothing():
    async with adapter(WHOLE) as (_, provider):
        await check_waiting(provider, an_ask())


async def test_a_client_who_leaves():
    async def endless(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM, piece(SAYS))
        await caller.gone()

    async with adapter(endless) as (made, provider):
        await check_leaving(provider, an_ask(), after=1, stopped=made.idle)


TARGETS = [
    # api_version, what the endpoint names, where the request goes
    (DATED, "", "/openai/deployments/its%20nano/chat/completions?api-version=2024-10-21"),
    (DATED, "/openai", "/openai/deployments/its%20nano/chat/completions?api-version=2024-10-21"),
    ("2025-04-01-preview", "/apim/x/", "/apim/x/openai/deployments/its%20nano/chat/completions?api-version=2025-04-01-preview"),
    ("v1", "", "/openai/v1/chat/completions"),
    ("v1", "/openai/", "/openai/v1/chat/completions"),
    ("v1", "/openai/v1/", "/openai/v1/chat/completions"),
    ("v1", "/apim", "/apim/openai/v1/chat/completions"),
    ("preview", "/openai/v1", "/openai/v1/chat/completions?api-version=preview"),
]


@pytest.mark.parametrize(("api_version", "path", "target"), TARGETS)
async def test_where_a_request_goes(api_version: str, path: str, target: str):
    async with adapter(WHOLE, path, api_version=api_version, api_key="k-123") as (made, provider):
        await check_provider(provider, an_ask())
    first, headers, body = parts(made.requests[0])
    assert first == f"POST {target} HTTP/1.1"
    assert headers["api-key"] == "k-123"
    assert "authorization" not in headers
    assert body == json.loads(an_ask().body) | {"model": DEPLOYMENT, "stream_options": {"include_usage": True}}


async def test_it_asks_as_the_official_clients_do():
    asked = {"model": "nano", "messages": [{"role": "user", "content": "hello"}]}
    async with asyncio.timeout(20), upstream(says(answered(200, ANSWER))) as made:
        root, endpoint = made.url.removesuffix("/v1"), resource(made)
        async with AsyncAzureOpenAI(azure_endpoint=root, api_version=DATED, api_key="k") as official:
            await official.chat.completions.create(**asked)  # type: ignore[call-overload]  # a plain request
        async with AsyncOpenAI(base_url=f"{root}/openai/v1/", api_key="k") as official_v1:
            await official_v1.chat.completions.create(**asked)  # type: ignore[call-overload]  # a plain request
        for api_version in (DATED, "v1"):
            ours = AzureProvider(name="a", endpoints=[endpoint], models={"nano": "nano"}, api_version=api_version, api_key="k")
            await check_provider(ours, an_ask(model="nano", stream=False))
        endpoint.close()
    dated, undated, our_dated, our_undated = (parts(request) for request in made.requests)
    assert our_dated[0] == dated[0]
    assert our_dated[1]["api-key"] == dated[1]["api-key"]
    assert our_dated[2] == dated[2] == asked
    assert our_undated[0] == undated[0]
    assert our_undated[2] == undated[2] == asked


@pytest.mark.parametrize(
    ("api_version", "tells"), [("2024-08-01-preview", False), ("2024-09-01-preview", True), (DATED, True), ("v1", True)]
)
async def test_usage_is_asked_for_where_the_version_knows_it(api_version: str, tells: bool):
    async with adapter(WHOLE, api_version=api_version) as (made, provider):
        await check_provider(provider, an_ask())
    assert ("stream_options" in parts(made.requests[0])[2]) is tells


async def test_words_that_a_deployment_does_not_know():
    body = json.dumps({"model": MODEL, "messages": [], "stream": True, "max_tokens": 5, "user": "me"}).encode()
    async with adapter(WHOLE, rename={"max_tokens": "max_completion_tokens"}, drops=frozenset({"user"})) as (made, provider):
        await check_provider(provider, an_ask(body=body))
    usage = {"stream_options": {"include_usage": True}}
    assert parts(made.requests[0])[2] == {"model": DEPLOYMENT, "messages": [], "stream": True, "max_completion_tokens": 5} | usage


async def test_resources_take_turns():
    async with asyncio.timeout(5), upstream(WHOLE) as one, upstream(WHOLE) as two:
        endpoints = [resource(made) for made in (one, two)]
        provider = AzureProvider(name="a", endpoints=endpoints, models={MODEL: "its"}, api_version="v1")
        for _ in range(4):
            await check_provider(provider, an_ask())
        for endpoint in endpoints:
            endpoint.close()
        assert [len(made.requests) for made in (one, two)] == [2, 2]


FILTER = (
    b'{"error":{"message":"The response was filtered due to the prompt triggering the content management policy.","type":null,'
    b'"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":'
    b'{"violence":{"filtered":true,"severity":"high"}}}}}'
)
MEANINGS: list[tuple[bytes, type[HeadraceError], str, int | None]] = [
    (answered(400, FILTER), UpstreamRefused, "the content management policy", None),
    (
        answered(429, b'{"error":{"code":"429","message":"Please retry after 6 seconds."}}', b"retry-after: 6", b"retry-after-ms: 5500"),
        UpstreamOverloaded,
        "a answered 429: Please retry after 6 seconds.",
        5_500,
    ),
    (answered(429, b'{"error":{"code":"429","message":"Please retry after 6 seconds."}}'), UpstreamOverloaded, "a answered 429", 6_000),
    (answered(401, b'{"statusCode":401,"message":"Unauthorized."}'), UpstreamFailed, "Unauthorized (check the pool's key).", None),
    (answered(404, b'{"error":{"code":"DeploymentNotFound","message":"No such"}}'), UpstreamFailed, "its models' names", None),
    (answered(400, b'{"error":{"message":"long","code":"context_length_exceeded"}}'), UpstreamRefused, "long", None),
    (answered(503, b'{"error":{"message":"busy"}}'), UpstreamOverloaded, "busy", None),
]


@pytest.mark.parametrize(("raw", "kind", "words", "retry_after_ms"), MEANINGS)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_an_answer_means(raw: bytes, kind: type[HeadraceError], words: str, retry_after_ms: int | None, stream: bool):
    async with adapter(says(raw)) as (_, provider):
        failure = await check_failure(provider, an_ask(stream=stream), kind)
    assert type(failure) is kind
    assert words in str(failure)
    assert failure.retry_after_ms == retry_after_ms
    if isinstance(failure, UpstreamRefused):
        assert raw.endswith(failure.body), "the client reads the vendor's own words"


class Authority:
    """Gives `t1`, `t2` …"""

    def __init__(self) -> None:
        self.given = 0

    async def script(self, caller: Caller) -> None:
        while await caller.request():
            self.given += 1
            await caller.say(answered(200, b'{"token_type":"Bearer","expires_in":3599,"access_token":"t%d"}' % self.given))


@asynccontextmanager
async def opened_by_entra(script: Script) -> AsyncGenerator[tuple[Upstream, AzureProvider, TurnedClock], None]:
    clock = TurnedClock()
    async with upstream(Authority().script) as authority:
        endpoint = resource(authority)
        entra = EntraTokens(authority=endpoint, tenant="t", client_id="c", client_secret="s", clock=clock)
        try:
            async with adapter(script, api_version="v1", entra=entra) as (made, provider):
                yield made, provider, clock
        finally:
            endpoint.close()


async def test_entra_opens_a_resource_and_its_token_is_renewed():
    async with opened_by_entra(WHOLE) as (made, provider, clock):
        await check_provider(provider, an_ask())
        await check_provider(provider, an_ask())
        clock.turn(s=3_400)
        await check_provider(provider, an_ask())
    sent = [parts(request)[1] for request in made.requests]
    assert [headers["authorization"] for headers in sent] == ["Bearer t1", "Bearer t1", "Bearer t2"]
    assert not any("api-key" in headers for headers in sent)


async def test_a_token_that_the_resource_refuses_is_not_used_again():
    async def suspicious(caller: Caller) -> None:
        while request := await caller.request():
            body = STREAM + piece(SAYS + TELLS + DONE) + b"0\r\n\r\n"
            await caller.say(body if b"Bearer t2" in request else answered(401, b'{"error":{"message":"revoked"}}'))

    async with opened_by_entra(suspicious) as (made, provider, clock):
        await check_failure(provider, an_ask(), UpstreamFailed)
        await check_failure(provider, an_ask(), UpstreamFailed)
        clock.turn(s=60)
        await check_failure(provider, an_ask(), UpstreamFailed)
        await check_provider(provider, an_ask())
    assert len(made.requests) == 4


async def test_without_a_token_nothing_is_asked():
    async with upstream(says(answered(401, b'{"error":"invalid_client"}'))) as authority:
        endpoint = resource(authority)
        entra = EntraTokens(authority=endpoint, tenant="t", client_id="c", client_secret="s", clock=TurnedClock())
        async with adapter(WHOLE, entra=entra) as (made, provider):
            failure = await check_failure(provider, an_ask(), UpstreamFailed)
            with pytest.raises(UpstreamFailed, match="invalid_client"):
                await provider.probe()
        endpoint.close()
    assert not failure.may_bill
    assert made.requests == []


@pytest.mark.parametrize(("api_version", "target"), [(DATED, "/openai/models?api-version=2024-10-21"), ("v1", "/openai/v1/models")])
async def test_a_sign_of_life(api_version: str, target: str):
    async with adapter(says(answered(200, b"{}")), api_version=api_version, api_key="k") as (made, provider):
        await provider.probe()
    assert made.requests[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())
    assert b"\r\napi-key: k\r\n" in made.requests[0]
    async with opened_by_entra(says(answered(403, b"{}"))) as (made, provider, _):
        with pytest.raises(UpstreamFailed, match="a answered 403"):
            await provider.probe()
    assert b"\r\nauthorization: Bearer t1\r\n" in made.requests[0]


async def test_a_pool_that_can_not_be():
    endpoint = Endpoint("http://localhost", TransportSettings(), asyncio.get_running_loop())
    at_v1 = Endpoint("http://localhost/openai/v1", TransportSettings(), asyncio.get_running_loop())
    entra = EntraTokens(authority=endpoint, tenant="t", client_id="c", client_secret="s", clock=TurnedClock())
    wrong: list[tuple[Endpoint, Options, str]] = [
        (endpoint, {"api_key": "k", "entra": entra}, "with a key or with Entra ID"),
        (endpoint, {"api_version": "latest"}, "'latest' is none of Azure's"),
        (endpoint, {"api_version": "2024-10-21\r\nx: y"}, "is none of Azure's"),
        (at_v1, {}, 'is the address of api_version = "v1", not of 2024-10-21'),
        (endpoint, {"api_key": "k", "headers": {"API-Key": "x"}}, "'api-key' is made of the pool's credentials"),
        (endpoint, {"entra": entra, "headers": {"Authorization": "x"}}, "'authorization' is made of the pool's credentials"),
        (endpoint, {"api_key": "secret\n"}, "the value of the header 'api-key'"),
        (endpoint, {"rename": {"model": "m"}}, "model can be neither"),
    ]
    for at, options, words in wrong:
        with pytest.raises(ValueError, match=words) as refused:
            provider_at(at, **options)
        assert "secret" not in str(refused.value)


async def test_a_gateway_before_azure_with_a_key_of_its_own():
    async with adapter(WHOLE, headers={"Ocp-Apim-Subscription-Key": "k"}) as (made, provider):
        await check_provider(provider, an_ask())
    headers = parts(made.requests[0])[1]
    assert headers["ocp-apim-subscription-key"] == "k"
    assert "api-key" not in headers
