"""The adapter for Gemini's dialect, by the suite that all adapters share, at the Gemini API and at Vertex AI."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

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
from headrace.providers.adapters.gemini import Access, GeminiApi, GeminiProvider, VertexAi
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.providers import check_failure, check_leaving, check_provider, check_waiting
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.upstream import Caller, Script, Upstream, says, says_once, upstream

ITS = "gemini-2.5-flash"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
SAYS = (
    b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":"hi"}]}}],'
    b'"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":1},"modelVersion":"gemini-2.5-flash-001"}\r\n\r\n'
)
THINKS = b'data: {"candidates":[{"content":{"parts":[{"text":"hm","thought":true}]}}]}\r\n\r\n'
CALLS = (
    b'data: {"candidates":[{"content":{"parts":['
    b'{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"S="},{"functionCall":{"name":"g","args":{}}}]}}]}\r\n\r\n'
)
ENDS = (
    b'data: {"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":2,'
    b'"thoughtsTokenCount":3,"cachedContentTokenCount":4},"modelVersion":"gemini-2.5-flash-001"}\r\n\r\n'
)
USED = Used(Usage(5, cache_read=4, output=2, reasoning=3), "gemini-2.5-flash-001")
BUSY = b'{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}'


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answered(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


class ListedTokens:
    """Hands out one token after the other; the next one once the last is forgotten."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    async def token(self) -> str:
        if not self._tokens:
            raise UpstreamUnreachable("There is no token for a@b: refused.")
        return self._tokens[0]

    def forget(self) -> None:
        self._tokens.pop(0)


def vertex(*tokens: str) -> VertexAi:
    return VertexAi(project="p-1", location="europe-west4", tokens=ListedTokens(*tokens))


@asynccontextmanager
async def adapter(
    script: Script, *, access: Access | None = None, model: str = ITS
) -> AsyncGenerator[tuple[Upstream, GeminiProvider], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = Endpoint(made.url.removesuffix("/v1"), TransportSettings(), asyncio.get_running_loop())
        try:
            yield made, provider_at(endpoint, access=access, model=model)
        finally:
            endpoint.close()


def provider_at(*endpoints: Endpoint, access: Access | None = None, model: str = ITS) -> GeminiProvider:
    ids = itertools.count()
    return GeminiProvider(
        name="a",
        endpoints=endpoints,
        models={MODEL: model},
        access=access or GeminiApi(api_key="k-123"),
        new_id=lambda: f"call_{next(ids)}",
        tokens_out_max={MODEL: 4_096},
    )


def asking(*, strict: bool = False, tokens_out_max: int | None = 500, stream: bool = True, **fields: object) -> Ask:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]} | fields
    ask = an_ask(body=json.dumps(body).encode(), tokens_out_max=tokens_out_max, stream=stream)
    return msgspec.structs.replace(ask, strict=strict)


WHOLE = says(STREAM, piece(SAYS), piece(SAYS), piece(ENDS) + b"0\r\n\r\n")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer(stream: bool):
    async with adapter(WHOLE) as (_, provider):
        assert await check_provider(provider, asking(stream=stream)) == [Text("hi"), Text("hi"), Finished("stop"), USED]


async def test_thoughts_and_two_calls():
    async with adapter(says(STREAM, piece(THINKS), piece(CALLS + ENDS) + b"0\r\n\r\n")) as (_, provider):
        assert await check_provider(provider, asking()) == [
            Reasoning("hm", format="google-gemini-v1"),
            Reasoning("", redacted="gemini:call_0:S=", format="google-gemini-v1"),
            ToolCallBegun(0, "call_0", "f"),
            ToolCallArguments(0, '{"a":1}'),
            ToolCallBegun(1, "call_1", "g"),
            ToolCallArguments(1, "{}"),
            Finished("tool_calls"),
            USED,
        ]


async def test_one_call_at_a_time():
    async with adapter(says(STREAM, piece(CALLS + ENDS) + b"0\r\n\r\n")) as (_, provider):
        said = await check_provider(provider, asking(parallel_tool_calls=False))
    assert sum(isinstance(one, ToolCallBegun) for one in said) == 1


async def test_a_stream_in_single_bytes():
    wire = STREAM + b"".join(piece(bytes([byte])) for byte in THINKS + SAYS + ENDS) + b"0\r\n\r\n"
    async with adapter(says(wire)) as (_, provider):
        assert await check_provider(provider, asking()) == [
            Reasoning("hm", format="google-gemini-v1"),
            Text("hi"),
            Finished("stop"),
            USED,
        ]


async def test_who_must_wait_is_told_nothing():
    async with adapter(WHOLE) as (_, provider):
        await check_waiting(provider, asking())


async def test_a_client_who_leaves():
    async def endless(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM, piece(SAYS))
        await caller.gone()

    async with adapter(endless) as (made, provider):
        await check_leaving(provider, asking(), after=1, stopped=made.idle)


LEAVING = [
    # what was said, what is known then, and what is likely
    (SAYS, None, Usage(9, output=1)),
    (SAYS.replace(b"hi", b"x" * 40), None, Usage(9, output=10)),
    (SAYS + ENDS, Usage(5, 4, output=2, reasoning=3), Usage(5, 4, output=2, reasoning=3)),
]


@pytest.mark.parametrize(("said", "known", "likely"), LEAVING)
async def test_a_client_who_leaves_pays_what_was_used(said: bytes, known: Usage | None, likely: Usage):
    """What is told on the way may grow and fall: only the end is certain."""

    async def lingering(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM, piece(said))
        await caller.gone()

    listener = ScriptedListener()
    async with adapter(lingering) as (_, provider), asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(provider.answer(asking(), listener))
        await listener.heard_at_least(1)
        answer.cancel()
    assert (listener.usage, listener.usage_likely) == (known, likely)


def request_of(made: Upstream, at: int = 0) -> tuple[str, dict[str, str], bytes]:
    head, _, body = made.requests[at].partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), body


async def test_what_the_gemini_api_is_asked():
    async with adapter(WHOLE) as (made, provider):
        await check_provider(provider, asking())
    first, headers, body = request_of(made)
    assert first == "POST /v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse HTTP/1.1"
    assert headers == {
        "host": made.url.removeprefix("http://").removesuffix("/v1"),
        "x-goog-api-key": "k-123",
        "content-type": "application/json",
        "accept": "text/event-stream",
        "content-length": str(len(body)),
    }
    assert json.loads(body) == {
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}],
        "generationConfig": {"maxOutputTokens": 500},
    }


async def test_what_vertex_ai_is_asked():
    async with adapter(WHOLE, access=vertex("t-1")) as (made, provider):
        await check_provider(provider, asking())
    first, headers, _ = request_of(made)
    model = "projects/p-1/locations/europe-west4/publishers/google/models/gemini-2.5-flash"
    assert first == f"POST /v1/{model}:streamGenerateContent?alt=sse HTTP/1.1"
    assert headers["authorization"] == "Bearer t-1"
    assert "x-goog-api-key" not in headers


PATHS = [
    (GeminiApi(api_key="k"), "tunedModels/mine", "/v1beta/tunedModels/mine:streamGenerateContent?alt=sse", "/v1beta/models?pageSize=1"),
    (
        vertex("t"),
        "endpoints/12",
        "/v1/projects/p-1/locations/europe-west4/endpoints/12:streamGenerateContent?alt=sse",
        "/v1/projects/p-1/locations/europe-west4/endpoints/12",
    ),
    (vertex("t"), ITS, None, "/v1/publishers/google/models/gemini-2.5-flash"),
]


@pytest.mark.parametrize(("access", "model", "path", "probe"), PATHS)
async def test_paths(access: Access, model: str, path: str | None, probe: str):
    async with adapter(WHOLE, access=access, model=model) as (made, provider):
        await check_provider(provider, asking())
    if path is not None:
        assert request_of(made)[0] == f"POST {path} HTTP/1.1"
    async with adapter(says(answered(200, b"{}")), access=access, model=model) as (made, provider):
        await provider.probe()
    assert request_of(made)[0] == f"GET {probe} HTTP/1.1"


@pytest.mark.parametrize("key", ["k\n", "k\r\nx: y", "clé"])
def test_a_key_that_cannot_be_sent(key: str):
    with pytest.raises(ValueError, match="character that no header may have") as raised:
        GeminiApi(api_key=key)
    assert key not in str(raised.value)


async def test_endpoints_take_turns():
    async with asyncio.timeout(5), upstream(WHOLE) as one, upstream(WHOLE) as two:
        endpoints = [Endpoint(made.url, TransportSettings(), asyncio.get_running_loop()) for made in (one, two)]
        provider = provider_at(*endpoints)
        for _ in range(4):
            await check_provider(provider, asking())
        for endpoint in endpoints:
            endpoint.close()
        assert [len(made.requests) for made in (one, two)] == [2, 2]


# ------------------------------------------------------------------------------------------------------------------- translation


@pytest.mark.parametrize(("given", "asked"), [(700, 700), (None, 4_096)])
async def test_the_most_that_is_asked_for(given: int | None, asked: int):
    async with adapter(WHOLE) as (made, provider):
        await provider.answer(asking(tokens_out_max=given), ScriptedListener())
    assert json.loads(request_of(made)[2])["generationConfig"] == {"maxOutputTokens": asked}


async def test_what_changes_is_told_before_the_upstream_is_asked():
    async with adapter(says_once()) as (_, provider):
        listener = ScriptedListener()
        with pytest.raises(UpstreamCut):
            await provider.answer(asking(user="u", logit_bias={"1": 2}), listener)
    assert [(change.what, change.param) for change in listener.changes] == [("dropped", "logit_bias"), ("dropped", "user")]
    assert all(isinstance(change, Change) for change in listener.changes)


NOT_ASKED: list[tuple[Ask, type[HeadraceError], str]] = [
    (asking(strict=True, user="u"), NotTranslatable, "user"),
    (asking(n=2), NotTranslatable, "n"),
    (asking(logprobs=True), NotTranslatable, "logprobs"),
    (asking(messages=[{"role": "tool", "content": "x"}]), InvalidRequest, "messages[0].tool_call_id"),
    (asking(nonsense=1), HeadraceError, "nonsense"),
    (an_ask(operation="embeddings", stream=False, tokens_out_max=0), NotTranslatable, "model"),
]


@pytest.mark.parametrize(("ask", "kind", "param"), NOT_ASKED)
async def test_what_the_upstream_is_never_asked(ask: Ask, kind: type[HeadraceError], param: str):
    async with adapter(WHOLE) as (made, provider):
        failure = await check_failure(provider, ask, kind)
    assert failure.param == param
    assert made.requests == []


async def test_strict_loses_nothing_where_nothing_changes():
    async with adapter(WHOLE) as (_, provider):
        await check_provider(provider, asking(strict=True, temperature=0.5))


# ---------------------------------------------------------------------------------------------------------------------- failures

MEANINGS: list[tuple[bytes, type[HeadraceError], str, int | None]] = [
    (
        answered(
            429,
            b'{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED",'
            b'"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}',
        ),
        UpstreamOverloaded,
        "a answered 429: slow",
        34_000,
    ),
    (answered(429, b"", b"retry-after: 2"), UpstreamOverloaded, "a answered 429.", 2_000),
    (answered(503, b"[" + BUSY + b"]"), UpstreamOverloaded, "a answered 503: The model is overloaded.", None),
    (answered(500, b'{"error":{"code":500,"message":"oh"}}'), UpstreamFailed, "a answered 500: oh", None),
    (answered(504, b""), UpstreamTimedOut, "a answered 504.", None),
    (answered(403, b'{"error":{"code":403,"message":"no"}}'), UpstreamFailed, "a answered 403: no", None),
    (answered(404, b""), UpstreamFailed, "models' names", None),
    (answered(201, b"{}"), UpstreamFailed, "a answered 201.", None),
    (
        answered(400, b'{"error":{"code":400,"message":"API key not valid.","status":"INVALID_ARGUMENT"}}'),
        UpstreamFailed,
        "check the pool's key",
        None,
    ),
    (answered(400, b'{"error":{"code":400,"message":"bad","status":"INVALID_ARGUMENT"}}'), UpstreamRefused, "a answered 400: bad", None),
    (answered(200, BUSY), UpstreamOverloaded, "a answered 503: The model is overloaded.", None),
    (answered(200, b"<html>"), UpstreamCut, "before the answer was complete", None),
    (answered(200, b"data: <html>\n\n"), UpstreamGarbled, "does not answer as Gemini does", None),
]


@pytest.mark.parametrize(("raw", "kind", "words", "retry_after_ms"), MEANINGS)
async def test_what_an_answer_means(raw: bytes, kind: type[HeadraceError], words: str, retry_after_ms: int | None):
    async with adapter(says(raw)) as (_, provider):
        failure = await check_failure(provider, asking(), kind)
    assert type(failure) is kind
    assert words in str(failure)
    assert failure.retry_after_ms == retry_after_ms


CUT: list[tuple[list[bytes], type[HeadraceError]]] = [
    ([STREAM, piece(SAYS)], UpstreamCut),
    ([STREAM, piece(SAYS) + b"0\r\n\r\n"], UpstreamCut),
    ([STREAM, b"0\r\n\r\n"], UpstreamCut),
    ([STREAM, piece(SAYS + b"data: " + BUSY + b"\r\n\r\n") + b"0\r\n\r\n"], UpstreamOverloaded),
    ([STREAM, piece(SAYS + BUSY) + b"0\r\n\r\n"], UpstreamOverloaded),
    ([STREAM, piece(SAYS + b'data: {"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}\n\n') + b"0\r\n\r\n"], UpstreamGarbled),
    ([], UpstreamCut),
]


@pytest.mark.parametrize(("parts", "kind"), CUT)
async def test_a_stream_that_breaks(parts: list[bytes], kind: type[HeadraceError]):
    async with adapter(says_once(*parts)) as (_, provider):
        assert type(await check_failure(provider, asking(), kind)) is kind


async def test_what_was_used_before_it_broke_is_told():
    async with adapter(says_once(STREAM, piece(SAYS + BUSY) + b"0\r\n\r\n")) as (_, provider):
        listener = ScriptedListener()
        with pytest.raises(UpstreamOverloaded):
            await provider.answer(asking(), listener)
    assert listener.heard == [Text("hi")]
    assert (listener.usage, listener.usage_likely) == (None, Usage(9, output=1))


async def test_an_upstream_that_is_not_there():
    nowhere = Endpoint("http://no-such-host.invalid", TransportSettings(), asyncio.get_running_loop())
    await check_failure(provider_at(nowhere), asking(), UpstreamUnreachable)


# ------------------------------------------------------------------------------------------------------------------------ tokens


def opens_to(token: bytes) -> Script:
    async def script(caller: Caller) -> None:
        while request := await caller.request():
            await caller.say(STREAM + piece(SAYS + ENDS) + b"0\r\n\r\n" if token in request else answered(401, b"{}"))

    return script


async def test_a_token_that_is_refused_is_not_used_again():
    async with adapter(opens_to(b"Bearer t-2\r\n"), access=vertex("t-1", "t-2")) as (_, provider):
        assert "check the pool's key" in str(await check_failure(provider, asking(), UpstreamFailed))
        await check_provider(provider, asking())


async def test_without_a_token_nothing_is_asked():
    async with adapter(WHOLE, access=vertex()) as (made, provider):
        await check_failure(provider, asking(), UpstreamUnreachable)
    assert made.requests == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
@pytest.mark.parametrize("access", [lambda: GeminiApi(api_key="k"), lambda: vertex("t-1", "t-2")], ids=["key", "account"])
async def test_a_probe_that_fails(status: int, access: Callable[[], Access]):
    async with adapter(says(answered(status, b"{}")), access=access()) as (_, provider):
        with pytest.raises(UpstreamFailed, match=f"a answered {status} when it was asked for its models"):
            await provider.probe()
