"""The adapter for OpenAI's dialect, by the suite that all adapters share, and what each answer of an upstream means."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from headrace.core.errors import (
    HeadraceError,
    UpstreamCut,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from headrace.core.stream import Used, Verbatim
from headrace.core.usage import Usage
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.adapters.openai import OpenAIProvider
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.providers import check_failure, check_leaving, check_provider, check_waiting
from tests.unit.providers.upstream import Caller, Script, Upstream, says, says_once, upstream

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SAYS = b'data: {"model":"its","choices":[{"delta":{"content":"hi"}}]}\n\n'
TELLS = b'data: {"model":"its","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
ANSWER = b'{"model":"its","choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":2}}'
USED = Used(Usage(9, output=2), "its")


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answered(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


@asynccontextmanager
async def adapter(script: Script, *, api_key: str | None = None, **settings: int) -> AsyncGenerator[tuple[Upstream, OpenAIProvider], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = Endpoint(made.url, TransportSettings(**settings), asyncio.get_running_loop())
        try:
            yield made, OpenAIProvider(name="a", endpoints=[endpoint], models={MODEL: "its"}, api_key=api_key)
        finally:
            endpoint.close()


WHOLE = says(STREAM, piece(SAYS), piece(SAYS), piece(TELLS + DONE) + b"0\r\n\r\n")


@pytest.mark.parametrize(("include_usage", "end"), [(True, TELLS + DONE), (False, DONE)])
async def test_a_stream(include_usage: bool, end: bytes):
    async with adapter(WHOLE) as (_, provider):
        said = await check_provider(provider, an_ask(include_usage=include_usage))
    assert said[-2:] == [USED, Verbatim(end)]
    assert b"".join(one.data for one in said[:-2] if isinstance(one, Verbatim)) == SAYS * 2


async def test_a_whole_answer():
    async with adapter(says(answered(200, ANSWER))) as (_, provider):
        assert await check_provider(provider, an_ask(stream=False)) == [USED, Verbatim(ANSWER)]


async def test_embeddings():
    body = b'{"model":"its","data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}'
    async with adapter(says(answered(200, body))) as (made, provider):
        said = await check_provider(provider, an_ask(operation="embeddings", stream=False, tokens_out_max=0))
    assert said == [Used(Usage(9), "its"), Verbatim(body)]
    assert made.requests[0].startswith(b"POST /v1/embeddings HTTP/1.1\r\n")


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


async def test_what_the_upstream_is_asked():
    async with adapter(WHOLE, api_key="k-123") as (made, provider):
        await check_provider(provider, an_ask())
    head, _, body = made.requests[0].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "POST /v1/chat/completions HTTP/1.1"
    assert headers == {
        "host": made.url.removeprefix("http://").removesuffix("/v1"),
        "authorization": "Bearer k-123",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "content-length": str(len(body)),
    }
    assert json.loads(body) == json.loads(an_ask().body) | {"model": "its", "stream_options": {"include_usage": True}}


async def test_endpoints_take_turns():
    async with asyncio.timeout(5), upstream(WHOLE) as one, upstream(WHOLE) as two:
        loop = asyncio.get_running_loop()
        endpoints = [Endpoint(made.url, TransportSettings(), loop) for made in (one, two)]
        provider = OpenAIProvider(name="a", endpoints=endpoints, models={MODEL: "its"}, api_key=None)
        for _ in range(4):
            await check_provider(provider, an_ask())
        for endpoint in endpoints:
            endpoint.close()
        assert [len(made.requests) for made in (one, two)] == [2, 2]


MEANINGS: list[tuple[bytes, type[HeadraceError], str, int | None]] = [
    (answered(429, b'{"error":{"message":"slow"}}', b"retry-after: 2"), UpstreamOverloaded, "a answered 429: slow", 2_000),
    (answered(429, b"", b"Retry-After-Ms: 1500", b"retry-after: 9"), UpstreamOverloaded, "a answered 429.", 1_500),
    (answered(503, b"<html>", b"retry-after: Fri, 31 Dec 1999 23:59:59 GMT"), UpstreamOverloaded, "a answered 503.", None),
    (answered(503, b"", b"retry-after: -7"), UpstreamOverloaded, "a answered 503.", 0),
    (answered(503, b"", b"retry-after: inf"), UpstreamOverloaded, "a answered 503.", None),
    (answered(503, b"", b"retry-after: nan"), UpstreamOverloaded, "a answered 503.", None),
    (answered(500, b'{"message":"oh"}'), UpstreamFailed, "a answered 500: oh", None),
    (answered(502, b'{"error":"bad"}'), UpstreamFailed, "a answered 502: bad", None),
    (answered(500, b'{"message":"\xff"}'), UpstreamFailed, "a answered 500.", None),
    (answered(401, b'{"error":{"message":"key"}}'), UpstreamFailed, "a answered 401: key", None),
    (answered(404, b'{"error":{"message":"no model"}}'), UpstreamFailed, "a answered 404: no model", None),
    (answered(302, b"", b"location: /x"), UpstreamFailed, "a answered 302.", None),
    (answered(201, b"{}"), UpstreamFailed, "a answered 201.", None),
    (answered(400, b'{"error":{"message":"too long"}}'), UpstreamRefused, "a answered 400: too long", None),
    (answered(422, b"{}"), UpstreamRefused, "a answered 422.", None),
    (answered(200, b"<html>"), UpstreamGarbled, "not a chat completion", None),
    (answered(200, b'{"error":{"message":"inside"}}'), UpstreamFailed, "inside", None),
]


@pytest.mark.parametrize(("raw", "kind", "words", "retry_after_ms"), MEANINGS)
async def test_what_an_answer_means(raw, kind, words, retry_after_ms):
    async with adapter(says(raw)) as (_, provider):
        failure = await check_failure(provider, an_ask(stream=False), kind)
    assert type(failure) is kind
    assert words in str(failure)
    assert failure.retry_after_ms == retry_after_ms


async def test_what_was_refused_is_kept_as_it_came():
    async with adapter(says(answered(400, b'{"error": {"message":"x"}}'))) as (_, provider):
        refused = await check_failure(provider, an_ask(), UpstreamRefused)
    assert (refused.status, refused.body) == (400, b'{"error": {"message":"x"}}')


CUT = [
    ([STREAM, piece(SAYS)], UpstreamCut),
    ([STREAM, piece(SAYS) + b"0\r\n\r\n"], UpstreamCut),
    ([STREAM, b"0\r\n\r\n"], UpstreamCut),
    ([STREAM, piece(SAYS + b'data: {"error":{"message":"the GPU fell off"}}\n\n') + b"0\r\n\r\n"], UpstreamFailed),
    ([b"HTTP/1.1 200 OK\r\n\r\n" + SAYS], UpstreamCut),
    ([], UpstreamCut),
]


@pytest.mark.parametrize(("parts", "kind"), CUT)
async def test_a_stream_that_breaks(parts: list[bytes], kind: type[HeadraceError]):
    async with adapter(says_once(*parts)) as (_, provider):
        assert type(await check_failure(provider, an_ask(), kind)) is kind


async def test_an_upstream_that_is_silent_or_not_there():
    async def silent(caller: Caller) -> None:
        await caller.request()
        await caller.gone()

    async with adapter(silent, first_byte_timeout_ms=50) as (_, provider):
        await check_failure(provider, an_ask(), UpstreamTimedOut)
    nowhere = Endpoint("http://no-such-host.invalid", TransportSettings(), asyncio.get_running_loop())
    await check_failure(OpenAIProvider(name="a", endpoints=[nowhere], models={MODEL: "its"}, api_key=None), an_ask(), UpstreamUnreachable)
