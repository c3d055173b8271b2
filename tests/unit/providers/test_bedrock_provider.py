"""The adapter for Amazon Bedrock, over real sockets, by the suite that all adapters share."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from headrace.core.ask import Ask
from headrace.core.errors import (
    HeadraceError,
    InvalidRequest,
    NotTranslatable,
    UpstreamCut,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from headrace.core.stream import Finished, Reasoning, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.adapters.bedrock import TOKENS_OUT_MAX, BedrockProvider
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.providers import check_failure, check_leaving, check_provider, check_waiting
from headrace.testing.scripted import ScriptedListener
from headrace.wire.sigv4 import Credentials, Unsigned, authorization, sha256_hex
from tests.unit.providers.upstream import Caller, Script, Upstream, says, says_once, upstream
from tests.unit.wire.eventstreams import event, exception

ITS = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
PATH = "/v1/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"
BEGINS = event("messageStart", {"role": "assistant", "p": "abc"})
HI = event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hi"}, "p": "abcdef"})
STOPS = event("messageStop", {"stopReason": "end_turn"})
TELLS = event("metadata", {"usage": {"inputTokens": 9, "outputTokens": 2, "totalTokens": 11}, "metrics": {"latencyMs": 7}})
USED = Used(Usage(9, output=2), ITS)
SAID = [Text("hi"), Text("hi"), Finished("stop"), USED]


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answered(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


KEY: dict[str, Any] = {"api_key": "bedrock-api-key-123"}
SIGNING: dict[str, Any] = {"access_key_id": "AKID", "secret_access_key": "secret"}


def a_provider(endpoint: Endpoint, given: dict[str, Any]) -> BedrockProvider:
    return BedrockProvider(name="a", endpoints=[endpoint], models={MODEL: ITS}, region="eu-central-1", clock=TurnedClock(), **given)


@asynccontextmanager
async def adapter(
    script: Script, given: dict[str, Any] = KEY, settings: TransportSettings | None = None
) -> AsyncGenerator[tuple[Upstream, BedrockProvider], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = Endpoint(made.url, settings or TransportSettings(), asyncio.get_running_loop())
        try:
            yield made, a_provider(endpoint, given)
        finally:
            endpoint.close()


WHOLE = says(STREAM, piece(BEGINS + HI), piece(HI[:20]), piece(HI[20:]), piece(STOPS + TELLS) + b"0\r\n\r\n")


def asking(**fields: object) -> bytes:
    return msgspec.json.encode({"model": MODEL, "messages": [{"role": "user", "content": "hello"}], **fields})


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_a_stream_whether_the_client_wants_one_or_not(stream: bool):
    async with adapter(WHOLE) as (made, provider):
        for _ in range(2):
            assert await check_provider(provider, an_ask(stream=stream)) == SAID
    assert (len(made.requests), made.connections) == (2, 1), "the connection is kept"


async def test_thoughts_and_tools_in_one_answer():
    def delta(at: int, **said: object) -> bytes:
        return event("contentBlockDelta", {"contentBlockIndex": at, "delta": said})

    begins = event("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t", "name": "weather"}}})
    usage = {"inputTokens": 3, "outputTokens": 5, "cacheReadInputTokens": 40, "cacheWriteInputTokens": 0, "totalTokens": 48}
    wire = b"".join(
        [
            BEGINS,
            delta(0, reasoningContent={"text": "hm"}),
            delta(0, reasoningContent={"signature": "s"}),
            begins,
            delta(1, toolUse={"input": '{"a"'}),
            delta(1, toolUse={"input": ":1}"}),
            event("contentBlockStop", {"contentBlockIndex": 1}),
            event("messageStop", {"stopReason": "tool_use"}),
            event("metadata", {"usage": usage}),
        ]
    )
    async with adapter(says(STREAM, *(piece(wire[at : at + 97]) for at in range(0, len(wire), 97)), b"0\r\n\r\n")) as (_, provider):
        assert await check_provider(provider, an_ask()) == [
            Reasoning("hm", format="anthropic-claude-v1"),
            Reasoning("", signature="s", format="anthropic-claude-v1"),
            ToolCallBegun(0, "t", "weather"),
            ToolCallArguments(0, '{"a"'),
            ToolCallArguments(0, ":1}"),
            Finished("tool_calls"),
            Used(Usage(3, 40, output=5), ITS),
        ]


async def test_who_must_wait_is_told_nothing():
    async with adapter(says(STREAM, piece(BEGINS + HI), piece(HI), piece(STOPS + TELLS) + b"0\r\n\r\n")) as (_, provider):
        await check_waiting(provider, an_ask())


async def test_a_client_who_leaves():
    async def endless(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM, piece(BEGINS + HI))
        await caller.gone()

    async with adapter(endless) as (made, provider):
        await check_leaving(provider, an_ask(), after=1, stopped=made.idle)


async def test_a_client_who_leaves_once_the_usage_is_told():
    async def lingering(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM, piece(BEGINS + HI + STOPS + TELLS))
        await caller.gone()

    async with adapter(lingering) as (made, provider):
        await check_leaving(provider, an_ask(), after=2, stopped=made.idle, knows_usage=True)


def parted(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


async def test_what_is_asked_with_an_api_key():
    async with adapter(WHOLE) as (made, provider):
        await check_provider(provider, an_ask())
    first, headers, body = parted(made.requests[0])
    assert first == f"POST {PATH} HTTP/1.1"
    assert headers == {
        "host": made.url.removeprefix("http://").removesuffix("/v1"),
        "content-type": "application/json",
        "accept": "application/vnd.amazon.eventstream",
        "authorization": "Bearer bedrock-api-key-123",
        "content-length": str(len(body)),
    }
    assert json.loads(body) == {"messages": [{"role": "user", "content": [{"text": "hello"}]}], "inferenceConfig": {"maxTokens": 500}}


@pytest.mark.parametrize("token", ["", "lent"])
async def test_what_is_asked_with_a_signature(token: str):
    async with adapter(WHOLE, SIGNING | {"session_token": token}) as (made, provider):
        await check_provider(provider, an_ask())
    _, headers, body = parted(made.requests[0])
    said = headers.pop("authorization")
    assert headers.pop("content-length") == str(len(body))
    assert headers["x-amz-date"] == "20261118T120000Z"
    assert headers["x-amz-content-sha256"] == sha256_hex(body)
    assert headers.get("x-amz-security-token", "") == token
    request = Unsigned(method="POST", path=PATH, headers=tuple(headers.items()), body_sha256=sha256_hex(body))
    credentials = Credentials(access_key_id="AKID", secret_access_key="secret")
    assert said == authorization(request, credentials, region="eu-central-1", service="bedrock", stamp="20261118T120000Z")


BOUNDS = [
    # the ask's   the pool's for the model   asked
    (7, {MODEL: 99}, 7),
    (None, {MODEL: 99}, 99),
    (None, {}, TOKENS_OUT_MAX),
]


@pytest.mark.parametrize(("wanted", "held", "asked"), BOUNDS)
async def test_every_answer_is_bounded(wanted: int | None, held: dict[str, int], asked: int):
    async with adapter(WHOLE, KEY | {"tokens_out_max": held}) as (made, provider):
        await check_provider(provider, an_ask(tokens_out_max=wanted))
    assert json.loads(parted(made.requests[0])[2])["inferenceConfig"] == {"maxTokens": asked}


async def test_what_was_dropped_is_told_before_the_upstream_is_asked():
    async with adapter(WHOLE) as (made, provider):
        listener = ScriptedListener()
        await provider.answer(an_ask(body=asking(seed=7, user="u")), listener)
        assert listener.changes == (
            Change("dropped", "seed", "Bedrock has no seed"),
            Change("dropped", "user", "Bedrock takes no end user's name"),
        )
        assert listener.heard == SAID
        untouched = ScriptedListener()
        await provider.answer(an_ask(), untouched)
        assert untouched.changes == ()
    assert len(made.requests) == 2


def strictly(ask: Ask) -> Ask:
    return msgspec.structs.replace(ask, strict=True)


REFUSED: list[tuple[Ask, type[HeadraceError], str, str | None]] = [
    (strictly(an_ask(body=asking(seed=7, user="u"))), NotTranslatable, r"seed \(Bedrock has no seed\); user", "seed"),
    (an_ask(body=asking(n=2)), NotTranslatable, "one choice", "n"),
    (an_ask(body=asking(unheard_of=1)), InvalidRequest, "unheard_of", "unheard_of"),
    (an_ask(operation="embeddings", stream=False), NotTranslatable, "a serves chats only", None),
]


@pytest.mark.parametrize(("ask", "kind", "words", "param"), REFUSED)
async def test_what_is_refused_is_never_sent(ask: Ask, kind: type[HeadraceError], words: str, param: str | None):
    async with adapter(WHOLE) as (made, provider):
        failure = await check_failure(provider, ask, kind)
    assert failure.param == param
    with pytest.raises(kind, match=words):
        raise failure
    assert made.connections == 0


async def test_strict_and_nothing_to_drop():
    async with adapter(WHOLE) as (_, provider):
        assert await check_provider(provider, strictly(an_ask())) == SAID


MEANINGS: list[tuple[bytes, type[HeadraceError], str, int | None]] = [
    (
        answered(429, b'{"message":"slow"}', b"x-amzn-ErrorType: ThrottlingException:http://x", b"Retry-After: 2"),
        UpstreamOverloaded,
        "a answered 429: slow",
        2_000,
    ),
    (answered(503, b"", b"x-amzn-errortype: ServiceUnavailableException"), UpstreamOverloaded, "a answered 503.", None),
    (answered(403, b'{"message":"no"}', b"x-amzn-ErrorType: AccessDeniedException"), UpstreamFailed, "credentials", None),
    (answered(400, b'{"message":"blank"}', b"x-amzn-ErrorType: ValidationException"), UpstreamRefused, "a answered 400: blank", None),
    (answered(200, b'{"output":{}}'), UpstreamGarbled, "damaged", None),
]


@pytest.mark.parametrize(("raw", "kind", "words", "retry_after_ms"), MEANINGS)
async def test_what_an_answer_means(raw: bytes, kind: type[HeadraceError], words: str, retry_after_ms: int | None):
    async with adapter(says(raw)) as (_, provider):
        failure = await check_failure(provider, an_ask(), kind)
    assert type(failure) is kind
    assert words in str(failure)
    assert failure.retry_after_ms == retry_after_ms


THROTTLED = exception("throttlingException", {"message": "slow"})
MALFORMED = event("messageStop", {"stopReason": "malformed_tool_use"})
CUT = [
    ([STREAM, piece(BEGINS + HI)], UpstreamCut, None),
    ([STREAM, piece(BEGINS + HI) + b"0\r\n\r\n"], UpstreamCut, None),
    ([STREAM, b"0\r\n\r\n"], UpstreamCut, None),
    ([STREAM, piece(BEGINS + HI + TELLS)], UpstreamCut, Usage(9, output=2)),
    ([STREAM, piece(BEGINS + HI + STOPS)], UpstreamCut, None),
    ([STREAM, piece(HI + THROTTLED)], UpstreamOverloaded, None),
    ([STREAM, piece(TELLS + THROTTLED) + b"0\r\n\r\n"], UpstreamOverloaded, Usage(9, output=2)),
    ([STREAM, piece(HI[:-1] + b"?")], UpstreamGarbled, None),
    ([STREAM, piece(HI + MALFORMED + TELLS) + b"0\r\n\r\n"], UpstreamGarbled, Usage(9, output=2)),
    ([], UpstreamCut, None),
]


@pytest.mark.parametrize(("parts", "kind", "usage"), CUT)
async def test_a_stream_that_breaks(parts: list[bytes], kind: type[HeadraceError], usage: Usage | None):
    async with adapter(says_once(*parts)) as (_, provider):
        assert type(await check_failure(provider, an_ask(), kind)) is kind
    async with adapter(says_once(*parts)) as (_, provider):
        listener = ScriptedListener()
        with pytest.raises(kind):
            await provider.answer(an_ask(), listener)
        assert listener.usage == usage, "what was told until then is known"


async def test_a_connection_that_ends_once_all_is_told():
    async with adapter(says_once(STREAM, piece(BEGINS + HI + HI + STOPS + TELLS))) as (_, provider):
        assert await check_provider(provider, an_ask()) == SAID


async def test_what_was_said_before_a_failure_in_the_same_piece_is_heard():
    async with adapter(says_once(STREAM, piece(BEGINS + HI + THROTTLED))) as (_, provider):
        listener = ScriptedListener()
        with pytest.raises(UpstreamOverloaded):
            await provider.answer(an_ask(), listener)
        assert listener.heard == [Text("hi")]


async def test_an_upstream_that_is_silent_or_not_there():
    async def silent(caller: Caller) -> None:
        await caller.request()
        await caller.gone()

    async with adapter(silent, settings=TransportSettings(first_byte_timeout_ms=50)) as (_, provider):
        await check_failure(provider, an_ask(), UpstreamTimedOut)
    nowhere = Endpoint("http://no-such-host.invalid", TransportSettings(), asyncio.get_running_loop())
    await check_failure(a_provider(nowhere, KEY), an_ask(), UpstreamUnreachable)
    with pytest.raises(UpstreamUnreachable):
        await a_provider(nowhere, KEY).probe()


async def test_endpoints_take_turns():
    async with asyncio.timeout(5), upstream(WHOLE) as one, upstream(WHOLE) as two:
        loop = asyncio.get_running_loop()
        endpoints = [Endpoint(made.url, TransportSettings(), loop) for made in (one, two)]
        provider = BedrockProvider(
            name="a", endpoints=endpoints, models={MODEL: ITS}, region="eu-central-1", clock=TurnedClock(), api_key="k"
        )
        for _ in range(4):
            await check_provider(provider, an_ask())
        await provider.probe()
        for endpoint in endpoints:
            endpoint.close()
        assert [len(made.requests) for made in (one, two)] == [3, 3]


NEITHER: list[dict[str, Any]] = [
    {},
    {"access_key_id": "a"},
    {"secret_access_key": "s"},
    {"api_key": "k", "access_key_id": "a", "secret_access_key": "s"},
    {"api_key": "k", "access_key_id": "a"},
]


@pytest.mark.parametrize("given", NEITHER)
async def test_there_is_one_way_to_say_who_asks(given: dict[str, Any]):
    endpoint = Endpoint("http://127.0.0.1", TransportSettings(), asyncio.get_running_loop())
    with pytest.raises(ValueError, match="a needs either an API key of Bedrock or an AWS access key with its secret"):
        a_provider(endpoint, given)


UNPERMITTED = b'{"Message":"User: arn:aws:iam::1:user/u is not authorized to perform: bedrock:ListAsyncInvokes on resource: *"}'
PROBES: list[tuple[bytes, type[HeadraceError] | None]] = [
    (answered(200, b'{"asyncInvokeSummaries":[]}'), None),
    (answered(403, UNPERMITTED), None),
    (answered(404, b""), None),
    (answered(400, b'{"message":"not in this region"}'), None),
    (answered(403, b'{"message":"The security token included in the request is invalid."}'), UpstreamFailed),
    (answered(401, b""), UpstreamFailed),
    (answered(429, b""), UpstreamOverloaded),
    (answered(500, b""), UpstreamFailed),
    (answered(503, b""), UpstreamOverloaded),
]


@pytest.mark.parametrize(("raw", "kind"), PROBES)
async def test_a_probe(raw: bytes, kind: type[HeadraceError] | None):
    async with adapter(says(raw)) as (_, provider):
        if kind is None:
            await provider.probe()
        else:
            with pytest.raises(kind):
                await provider.probe()


async def test_what_a_probe_asks():
    async with adapter(says(answered(200, b"{}"))) as (made, provider):
        await provider.probe()
    assert parted(made.requests[0])[:2] == (
        "GET /v1/async-invoke?maxResults=1 HTTP/1.1",
        {
            "host": made.url.removeprefix("http://").removesuffix("/v1"),
            "accept": "application/json",
            "authorization": "Bearer bedrock-api-key-123",
        },
    )


async def test_a_probe_is_signed_with_its_query():
    async with adapter(says(answered(200, b"{}")), SIGNING) as (made, provider):
        await provider.probe()
    first, headers, _ = parted(made.requests[0])
    assert first == "GET /v1/async-invoke?maxResults=1 HTTP/1.1"
    said = headers.pop("authorization")
    request = Unsigned(
        method="GET",
        path="/v1/async-invoke",
        headers=tuple(headers.items()),
        body_sha256=sha256_hex(b""),
        query=(("maxResults", "1"),),
    )
    credentials = Credentials(access_key_id="AKID", secret_access_key="secret")
    assert said == authorization(request, credentials, region="eu-central-1", service="bedrock", stamp="20261118T120000Z")
