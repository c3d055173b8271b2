"""The adapter for OpenAI's dialect, by the suite that all adapters share, and what each answer of an upstream means."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TypedDict, Unpack

import msgspec
import pytest

from headrace.core.errors import (
    HeadraceError,
    NotTranslatable,
    UpstreamCut,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from headrace.core.stream import Used, Verbatim
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.adapters.openai import OpenAIProvider
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.providers import check_failure, check_leaving, check_provider, check_waiting
from headrace.testing.scripted import ScriptedListener
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


class Options(TypedDict, total=False):
    """What a pool of this dialect may say of its servers."""

    api_key: str | None
    headers: Mapping[str, str]
    rename: Mapping[str, str]
    drops: frozenset[str]


@asynccontextmanager
async def adapter(
    script: Script, settings: TransportSettings | None = None, **options: Unpack[Options]
) -> AsyncGenerator[tuple[Upstream, OpenAIProvider], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = Endpoint(made.url, settings or TransportSettings(), asyncio.get_running_loop())
        try:
            yield made, OpenAIProvider(name="a", endpoints=[endpoint], models={MODEL: "its"}, **options)
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


async def test_the_headers_of_a_pool():
    headers = {"OpenAI-Organization": "org-1", "HTTP-Referer": "https://acme.example", "X-Title": "Acme, Inc."}
    async with adapter(WHOLE, api_key="k-123", headers=headers) as (made, provider):
        await check_provider(provider, an_ask())
    sent = made.requests[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")
    for line in ("authorization: Bearer k-123", *(f"{name}: {value}" for name, value in headers.items())):
        assert sent.count(line) == 1


WRONG: list[tuple[Options, str]] = [
    ({"headers": {"Host": "x"}}, "'Host' can't be set"),
    ({"headers": {"content-length": "0"}}, "'content-length' can't be set"),
    ({"headers": {"accept-encoding": "gzip"}}, "'accept-encoding' can't be set"),
    ({"headers": {"": "x"}}, "'' can't be set"),
    ({"headers": {"a b": "x"}}, "'a b' can't be set"),
    ({"headers": {"ü": "x"}}, "'ü' can't be set"),
    ({"headers": {"x": "secret\r\ny: z"}}, "the value of the header 'x'"),
    ({"headers": {"x": "ü"}}, "the value of the header 'x'"),
    ({"api_key": "secret\n"}, "the value of the header 'authorization'"),
    ({"api_key": "secret", "headers": {"Authorization": "Basic x"}}, "'authorization' is made of the pool's key"),
    ({"drops": frozenset({"messages"})}, "messages can be neither renamed nor dropped"),
]


@pytest.mark.parametrize(("options", "words"), WRONG)
async def test_a_pool_that_can_not_be(options: Options, words: str):
    with pytest.raises(ValueError, match=words) as refused:
        OpenAIProvider(name="a", endpoints=[], models={}, **options)
    assert "secret" not in str(refused.value)


OLD: Options = {"rename": {"max_completion_tokens": "max_tokens"}, "drops": frozenset({"logit_bias", "user"})}
CALLED = Change("changed", "max_completion_tokens", "the pool calls it max_tokens")
BIAS = Change("dropped", "logit_bias", "the pool does not take it")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_server_that_knows_fewer_words(stream: bool):
    body = {"model": MODEL, "messages": [], "stream": stream, "max_completion_tokens": 5, "logit_bias": {"1": 2}, "stop": "x"}
    ask = an_ask(stream=stream, body=json.dumps(body).encode())
    listener = ScriptedListener()
    async with adapter(WHOLE if stream else says(answered(200, ANSWER)), **OLD) as (made, provider):
        await provider.answer(ask, listener)
        await check_provider(provider, an_ask(stream=stream))
    assert listener.changes == (CALLED, BIAS)
    assert USED in listener.heard
    usage: dict[str, object] = {"stream_options": {"include_usage": True}} if stream else {}
    got = json.loads(made.requests[0].partition(b"\r\n\r\n")[2])
    assert got == {"model": "its", "messages": [], "stream": stream, "max_tokens": 5, "stop": "x", **usage}
    assert json.loads(made.requests[1].partition(b"\r\n\r\n")[2]) == json.loads(an_ask(stream=stream).body) | {"model": "its", **usage}


async def test_embeddings_at_a_server_that_knows_fewer_words():
    body = b'{"model":"its","data":[],"usage":{"prompt_tokens":9,"total_tokens":9}}'
    asked = b'{"model":"%b","input":"x","user":"me"}' % MODEL.encode()
    listener = ScriptedListener()
    async with adapter(says(answered(200, body)), **OLD) as (made, provider):
        await provider.answer(an_ask(operation="embeddings", stream=False, tokens_out_max=0, body=asked), listener)
    assert json.loads(made.requests[0].partition(b"\r\n\r\n")[2]) == {"model": "its", "input": "x"}
    assert listener.changes == (Change("dropped", "user", "the pool does not take it"),)


async def test_who_is_strict_is_told_before_the_upstream_is_asked():
    body = json.dumps({"model": MODEL, "messages": [], "max_completion_tokens": 5, "logit_bias": {"1": 2}}).encode()
    async with adapter(WHOLE, **OLD) as (made, provider):
        refused = await check_failure(provider, msgspec.structs.replace(an_ask(body=body), strict=True), NotTranslatable)
        await check_provider(provider, msgspec.structs.replace(an_ask(), strict=True))
    assert refused.param == "max_completion_tokens"
    assert "logit_bias: the pool does not take it" in refused.message
    assert len(made.requests) == 1


async def test_a_server_that_does_not_take_the_wish_for_usage():
    silent = says(STREAM, piece(SAYS + DONE) + b"0\r\n\r\n")
    async with adapter(silent, drops=frozenset({"stream_options"})) as (made, provider):
        said = await check_provider(provider, an_ask(include_usage=True), tells_usage=False)
    assert said[-2:] == [Used(None, "its"), Verbatim(DONE)]
    assert "stream_options" not in json.loads(made.requests[0].partition(b"\r\n\r\n")[2])


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
    # (what each status and form of a body means is a table of tests/unit/wire/test_openai_failure.py)
    (answered(429, b'{"error":{"message":"slow"}}', b"retry-after: 2"), UpstreamOverloaded, "a answered 429: slow", 2_000),
    (answered(429, b"", b"Retry-After-Ms: 1500", b"retry-after: 9"), UpstreamOverloaded, "a answered 429.", 1_500),
    (
        answered(503, b"<html>", b"Retry-After: Fri, 31 Dec 1999 23:59:59 GMT", b"Date: Fri, 31 Dec 1999 23:59:49 GMT"),
        UpstreamOverloaded,
        "a answered 503.",
        10_000,
    ),
    (answered(503, b"", b"retry-after: -7"), UpstreamOverloaded, "a answered 503.", 0),
    (answered(500, b'{"message":"oh"}'), UpstreamFailed, "a answered 500: oh", None),
    (answered(500, b'{"message":"\xff"}'), UpstreamFailed, "a answered 500.", None),
    (answered(504, b"<title>504 Gateway Time-out</title>"), UpstreamTimedOut, "a answered 504: 504 Gateway Time-out", None),
    (answered(401, b'{"error":{"message":"key"}}'), UpstreamFailed, "a answered 401: key", None),
    (answered(404, b'{"error":{"message":"no model"}}'), UpstreamFailed, "a answered 404: no model", None),
    (answered(302, b"", b"location: /x"), UpstreamFailed, "a answered 302: it redirects to /x", None),
    (answered(201, b"{}"), UpstreamFailed, "a answered 201.", None),
    (answered(400, b'{"error":{"message":"too hot"}}'), UpstreamRefused, "a answered 400: too hot", None),
    (answered(422, b"{}"), UpstreamRefused, "a answered 422.", None),
    (answered(200, b"<html>"), UpstreamGarbled, "not a chat completion", None),
    (answered(200, b'{"error":{"message":"inside"}}'), UpstreamFailed, "inside", None),
    (answered(200, b'{"error":{"message":"inside","code":429}}'), UpstreamOverloaded, "inside", None),
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


NO_STREAMS: list[tuple[bytes, type[HeadraceError], str]] = [
    (
        answered(200, b"<html>\n\nsign in\n\n", b"content-type: text/html"),
        UpstreamGarbled,
        "a was asked for a stream and answers with text/html",
    ),
    (answered(200, ANSWER, b"content-type: application/json"), UpstreamGarbled, "answers with application/json"),
    (answered(200, b'{"error":{"message":"inside"}}', b"content-type: application/json"), UpstreamFailed, "inside"),
    (answered(200, b'{"error":{"message":"inside","code":400}}', b"content-type: application/json"), UpstreamRefused, "inside"),
]


@pytest.mark.parametrize(("raw", "kind", "words"), NO_STREAMS)
async def test_what_is_no_stream_is_not_poured_into_one(raw: bytes, kind: type[HeadraceError], words: str):
    listener = ScriptedListener()
    async with adapter(says(raw)) as (_, provider):
        with pytest.raises(kind, match=words) as failure:
            await provider.answer(an_ask(), listener)
    assert type(failure.value) is kind
    assert listener.heard == []


EVERY = b'data: {"model":"its","choices":[{"delta":{"content":"hi"}}],"usage":{"prompt_tokens":9,"completion_tokens":1}}\n\n'


async def test_what_a_broken_stream_had_used_is_known():
    """Some servers tell usage in every chunk."""
    listener = ScriptedListener()
    async with adapter(says_once(STREAM, piece(EVERY))) as (_, provider):
        with pytest.raises(UpstreamCut):
            await provider.answer(an_ask(), listener)
    assert listener.usage == Usage(9, output=1)


async def test_what_was_used_until_the_client_left_is_known():
    async def endless(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM, piece(EVERY))
        await caller.gone()

    async with adapter(endless) as (made, provider):
        await check_leaving(provider, an_ask(), after=1, stopped=made.idle, knows_usage=True)


async def test_a_clients_mistake_that_is_found_inside_of_the_stream():
    """SGLang says so when a prompt is too long."""
    error = b'{"error":{"message":"The input is longer than the model\'s context length","type":"BadRequestError","code":400}}'
    async with adapter(says(STREAM, piece(b"data: " + error + b"\n\n" + DONE) + b"0\r\n\r\n")) as (_, provider):
        refused = await check_failure(provider, an_ask(), UpstreamRefused)
    assert refused.status == 400
    assert json.loads(refused.body)["error"]["code"] == "context_length_exceeded"


PROBES: list[tuple[int, type[HeadraceError] | None]] = [
    (200, None),
    (404, None),
    (401, UpstreamFailed),
    (429, UpstreamFailed),
    (500, UpstreamFailed),
]


@pytest.mark.parametrize(("status", "kind"), PROBES)
async def test_a_sign_of_life(status: int, kind: type[HeadraceError] | None):
    async with adapter(says(answered(status, b"{}")), api_key="k") as (made, provider):
        if kind is None:
            await provider.probe()
        else:
            with pytest.raises(kind, match=f"a answered {status} when it was asked for its models"):
                await provider.probe()
    assert made.requests[0].startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"\r\nauthorization: Bearer k\r\n" in made.requests[0]


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

    async with adapter(silent, TransportSettings(first_byte_timeout_ms=50)) as (_, provider):
        await check_failure(provider, an_ask(), UpstreamTimedOut)
    nowhere = Endpoint("http://no-such-host.invalid", TransportSettings(), asyncio.get_running_loop())
    await check_failure(OpenAIProvider(name="a", endpoints=[nowhere], models={MODEL: "its"}, api_key=None), an_ask(), UpstreamUnreachable)
