"""The adapter for Anthropic's dialect, by the suite that all adapters share, over real sockets."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

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
)
from headrace.core.stream import Finished, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.adapters.anthropic import AnthropicProvider
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.clock import NOON, TurnedClock
from headrace.testing.providers import check_failure, check_leaving, check_provider, check_waiting
from headrace.testing.scripted import ScriptedListener
from tests.unit.providers.upstream import Caller, Script, Upstream, says, says_once, upstream

ITS = "claude-sonnet-5"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def piece(*events: dict[str, Any]) -> bytes:
    data = b"".join(b"event: %b\ndata: %b\n\n" % (one["type"].encode(), json.dumps(one).encode()) for one in events)
    return b"%x\r\n%b\r\n" % (len(data), data)


def answered(status: int, body: bytes, *headers: bytes) -> bytes:
    lines = b"".join(line + b"\r\n" for line in headers)
    return b"HTTP/1.1 %d X\r\n%bcontent-length: %d\r\n\r\n%b" % (status, lines, len(body), body)


def error(type: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type, "message": message}}


START = {"type": "message_start", "message": {"model": ITS, "usage": {"input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 1}}}
BEGIN = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
MORE = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
BLOCK_END = {"type": "content_block_stop", "index": 0}
FINISH = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}
STOP = {"type": "message_stop"}
WHOLE = says(STREAM, piece(START), piece(BEGIN), piece(MORE), piece({"type": "ping"}), piece(MORE), piece(BLOCK_END, FINISH, STOP) + END)
USED = Used(Usage(9, 4, output=2), ITS)


@asynccontextmanager
async def adapter(
    script: Script,
    *,
    path: str = "/v1",
    api_key: str | None = None,
    bearer: bool = False,
    betas: Sequence[str] = (),
    **settings: Any,
) -> AsyncGenerator[tuple[Upstream, AnthropicProvider], None]:
    async with asyncio.timeout(5), upstream(script) as made:
        endpoint = Endpoint(made.url.removesuffix("/v1") + path, TransportSettings(**settings), asyncio.get_running_loop())
        provider = AnthropicProvider(
            name="a",
            endpoints=[endpoint],
            models={MODEL: ITS},
            api_key=api_key,
            clock=TurnedClock(),
            bearer=bearer,
            betas=betas,
            tokens_out_max={"another": 5},
        )
        try:
            yield made, provider
        finally:
            endpoint.close()


def asking(**fields: object) -> bytes:
    return json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]} | fields).encode()


def request_of(raw: bytes) -> tuple[str, dict[str, str], dict[str, Any]]:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return first, dict(line.split(": ", 1) for line in lines), json.loads(body)


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer(stream: bool):
    async with adapter(WHOLE) as (_, provider):
        said = await check_provider(provider, an_ask(stream=stream))
    assert said == [Text("hi"), Text("hi"), Finished("stop"), USED]


async def test_thoughts_and_tools():
    thinking: dict[str, Any] = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "thinking", "thinking": "", "signature": ""},
    }
    signed = {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s1"}}
    use = {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "f", "input": {}}}
    arguments = {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"x":1}'}}
    thought = {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}
    events: list[dict[str, Any]] = [START, thinking, thought, signed, BLOCK_END, use, arguments, BLOCK_END | {"index": 1}]
    async with adapter(
        says(STREAM, *(piece(one) for one in events), piece(FINISH | {"delta": {"stop_reason": "tool_use"}}, STOP) + END)
    ) as (
        _,
        provider,
    ):
        said = await check_provider(provider, an_ask())
    called: list[Said] = [ToolCallBegun(0, "t1", "f"), ToolCallArguments(0, '{"x":1}'), Finished("tool_calls"), USED]
    ours = "anthropic-claude-v1"
    assert said == [Reasoning("hm", format=ours), Reasoning("", signature="s1", format=ours), *called]


async def test_who_must_wait_is_told_nothing():
    async with adapter(WHOLE) as (_, provider):
        await check_waiting(provider, an_ask())


async def test_a_client_who_leaves_pays_what_was_likely_used():
    async def endless(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM, piece(START, BEGIN, MORE | {"delta": {"type": "text_delta", "text": "x" * 40}}))
        await caller.gone()

    async with adapter(endless) as (made, provider):
        await check_leaving(provider, an_ask(), after=1, stopped=made.idle)
        listener = ScriptedListener()
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(provider.answer(an_ask(), listener))
            await listener.heard_at_least(1)
            answer.cancel()
    assert (listener.usage, listener.usage_likely) == (None, Usage(9, 4, output=10))


ADDRESSES = [
    ("", "/v1/messages"),
    ("/", "/v1/messages"),
    ("/v1", "/v1/messages"),
    ("/v1/", "/v1/messages"),
    ("/anthropic", "/anthropic/v1/messages"),
]


@pytest.mark.parametrize(("path", "expected"), ADDRESSES)
async def test_where_it_asks(path: str, expected: str):
    async with adapter(WHOLE, path=path) as (made, provider):
        await check_provider(provider, an_ask())
    assert made.requests[0].startswith(f"POST {expected} HTTP/1.1\r\n".encode())


async def test_what_the_upstream_is_asked():
    async with adapter(WHOLE, api_key="k-123") as (made, provider):
        await check_provider(provider, an_ask(stream=False))
    first, headers, body = request_of(made.requests[0])
    assert first == "POST /v1/messages HTTP/1.1"
    assert headers == {
        "host": made.url.removeprefix("http://").removesuffix("/v1"),
        "anthropic-version": "2023-06-01",
        "x-api-key": "k-123",
        "content-type": "application/json",
        "accept": "text/event-stream",
        "content-length": headers["content-length"],
    }
    said = {"role": "user", "content": [{"type": "text", "text": "hello"}]}
    assert body == {"model": ITS, "max_tokens": 500, "stream": True, "messages": [said]}


async def test_compatible_servers_and_betas():
    async with adapter(WHOLE, api_key="k-123", bearer=True, betas=["one-2026-01-01", "two-2026-01-02"]) as (made, provider):
        await check_provider(provider, an_ask())
    _, headers, _ = request_of(made.requests[0])
    assert "x-api-key" not in headers
    assert headers["authorization"] == "Bearer k-123"
    assert headers["anthropic-beta"] == "one-2026-01-01,two-2026-01-02"


async def test_thoughts_that_were_left_out_are_told_before_anything_is_said():
    left_out = [{"type": "thinking_dropped", "path": "messages.1.content.0", "reason": "prefix_binding_mismatch"}]
    start = START | {"message": START["message"] | {"input_transformations": left_out}}  # type: ignore[operator]
    said = says(STREAM, piece(start), piece(BEGIN, MORE), piece(FINISH, STOP) + END)
    thought = {"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]}
    body = asking(messages=[{"role": "user", "content": "a"}, thought, {"role": "user", "content": "b"}], seed=1)
    told: list[int] = []
    listener = ScriptedListener(lambda count: told.append(len(listener.changes)))
    async with asyncio.timeout(5), upstream(said) as made:
        endpoint = Endpoint(made.url, TransportSettings(), asyncio.get_running_loop())
        provider = AnthropicProvider(
            name="a", endpoints=[endpoint], models={MODEL: "claude-opus-5-5"}, api_key=None, clock=TurnedClock(), betas=["one"]
        )
        await provider.answer(an_ask(body=body), listener)
        endpoint.close()
    _, headers, _ = request_of(made.requests[0])
    assert headers["anthropic-beta"] == "one,thinking-binding-controls-2026-08-01"
    assert [change.param for change in listener.changes] == ["seed", "seed", "messages"], "told when asked, and all of it again"
    assert set(told) == {3}


async def test_how_long_an_answer_may_be_and_where_it_is_computed():
    async with adapter(WHOLE) as (made, provider):
        await check_provider(provider, an_ask(tokens_out_max=None))
    body = request_of(made.requests[0])[2]
    assert (body["max_tokens"], "inference_geo" in body) == (16_384, False)
    async with asyncio.timeout(5), upstream(WHOLE) as made:
        endpoint = Endpoint(made.url, TransportSettings(), asyncio.get_running_loop())
        provider = AnthropicProvider(
            name="a",
            endpoints=[endpoint],
            models={MODEL: ITS},
            api_key=None,
            clock=TurnedClock(),
            inference_geo="us",
            tokens_out_max={MODEL: 64_000},
        )
        await check_provider(provider, an_ask(tokens_out_max=None))
        endpoint.close()
    body = request_of(made.requests[0])[2]
    assert (body["max_tokens"], body["inference_geo"]) == (64_000, "us")


async def test_endpoints_take_turns():
    async with asyncio.timeout(5), upstream(WHOLE) as one, upstream(WHOLE) as two:
        endpoints = [Endpoint(made.url, TransportSettings(), asyncio.get_running_loop()) for made in (one, two)]
        provider = AnthropicProvider(name="a", endpoints=endpoints, models={MODEL: ITS}, api_key=None, clock=TurnedClock())
        for _ in range(4):
            await check_provider(provider, an_ask())
        for endpoint in endpoints:
            endpoint.close()
        assert [len(made.requests) for made in (one, two)] == [2, 2]


# ---------------------------------------------------------------------------------------------------------------------- translation


async def test_what_is_changed_is_told_before_anything_is_said():
    async with adapter(WHOLE) as (made, provider):
        listener = ScriptedListener()
        await provider.answer(an_ask(body=asking(seed=1, user="ann")), listener)
    assert listener.changes == (
        Change("dropped", "seed", "Anthropic takes no seed"),
        Change("dropped", "user", "it may name a person: 'safety_identifier' is passed on"),
    )
    assert len(made.requests) == 1


async def test_nothing_is_changed_in_strict_mode():
    async with adapter(WHOLE) as (made, provider):
        ask = msgspec.structs.replace(an_ask(body=asking(seed=1, user="ann")), strict=True)
        refused = await check_failure(provider, ask, NotTranslatable)
        assert refused.param == "seed"
        assert "'seed' would be dropped, since Anthropic takes no seed; 'user' would be dropped" in refused.message
        assert made.requests == []
        await check_provider(provider, msgspec.structs.replace(an_ask(), strict=True))


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        (asking(n=2), NotTranslatable, "n"),
        (asking(messages=[]), InvalidRequest, "messages"),
        (asking(temperature="x"), InvalidRequest, "temperature"),
    ],
)
async def test_what_cannot_be_asked_is_not_sent(body: bytes, kind: type[InvalidRequest], param: str):
    async with adapter(WHOLE) as (made, provider):
        assert (await check_failure(provider, an_ask(body=body), kind)).param == param
    assert made.requests == []


async def test_embeddings_are_not_served():
    async with adapter(WHOLE) as (made, provider):
        refused = await check_failure(provider, an_ask(operation="embeddings", stream=False), NotTranslatable)
    assert "chats only" in refused.message
    assert made.requests == []


# ------------------------------------------------------------------------------------------------------------------------- failures

MEANINGS: list[tuple[bytes, type[HeadraceError], str, int | None]] = [
    (answered(529, json.dumps(error("overloaded_error", "Overloaded")).encode()), UpstreamOverloaded, "a answered 529: Overloaded", None),
    (answered(429, b"", b"Retry-After: 2"), UpstreamOverloaded, "a answered 429.", 2_000),
    (
        answered(429, b"", b"Anthropic-Ratelimit-Tokens-Remaining: 0", b"anthropic-ratelimit-tokens-reset: 2026-11-18T12:00:09Z"),
        UpstreamOverloaded,
        "a answered 429.",
        9_000,
    ),
    (answered(401, json.dumps(error("authentication_error", "invalid x-api-key")).encode()), UpstreamFailed, "check the pool's key", None),
    (answered(404, b""), UpstreamFailed, "its models' names", None),
    (answered(504, b""), UpstreamTimedOut, "a answered 504.", None),
    (answered(201, b"{}"), UpstreamFailed, "a answered 201.", None),
    (answered(413, json.dumps(error("request_too_large", "32 MB")).encode()), UpstreamRefused, "a answered 413: 32 MB", None),
    (answered(200, b"data: <html>\n\n"), UpstreamGarbled, "not one of Anthropic's Messages", None),
    (answered(200, b'{"type": "message"}'), UpstreamCut, "before the answer was complete", None),
]


@pytest.mark.parametrize(("raw", "kind", "words", "retry_after_ms"), MEANINGS)
async def test_what_an_answer_means(raw, kind, words, retry_after_ms):
    assert NOON == 1_795_003_200 * 10**9
    async with adapter(says(raw)) as (_, provider):
        failure = await check_failure(provider, an_ask(), kind)
    assert type(failure) is kind
    assert words in failure.message
    assert failure.retry_after_ms == retry_after_ms


async def test_what_was_refused_is_told_in_openais_form():
    told = json.dumps(error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum")).encode()
    async with adapter(says(answered(400, told))) as (_, provider):
        refused = await check_failure(provider, an_ask(), UpstreamRefused)
    assert (refused.status, json.loads(refused.body)["error"]["code"]) == (400, "context_length_exceeded")


BROKEN = [
    ([STREAM, piece(START, BEGIN, MORE)], UpstreamCut),
    ([STREAM, piece(START, BEGIN, MORE) + END], UpstreamCut),
    ([STREAM, END], UpstreamCut),
    ([STREAM, piece(START, BEGIN, MORE, error("overloaded_error", "Overloaded")) + END], UpstreamOverloaded),
    ([STREAM, piece(START, BEGIN, MORE, error("api_error", "oh")) + END], UpstreamFailed),
    ([], UpstreamCut),
]


@pytest.mark.parametrize(("parts", "kind"), BROKEN)
async def test_a_stream_that_breaks(parts: list[bytes], kind: type[HeadraceError]):
    async with adapter(says_once(*parts)) as (_, provider):
        assert type(await check_failure(provider, an_ask(), kind)) is kind


async def test_an_error_in_the_middle_comes_after_what_was_said_and_with_what_was_used():
    async def stays(caller: Caller) -> None:
        await caller.request()
        await caller.say(STREAM + piece(START, BEGIN, MORE, error("overloaded_error", "Overloaded")))
        await caller.gone()

    listener = ScriptedListener()
    async with adapter(stays) as (_, provider):
        with pytest.raises(UpstreamOverloaded):
            await provider.answer(an_ask(), listener)
    assert listener.heard == [Text("hi")]
    assert (listener.usage, listener.usage_likely) == (None, Usage(9, 4, output=1))


async def test_a_connection_that_breaks_after_the_end_is_no_matter():
    async with adapter(says_once(STREAM, piece(START, BEGIN, MORE, FINISH, STOP))) as (_, provider):
        assert (await check_provider(provider, an_ask()))[-1] == USED


# ---------------------------------------------------------------------------------------------------------------------------- probe


@pytest.mark.parametrize(("path", "expected"), [("", "/v1/models"), ("/v1", "/v1/models"), ("/anthropic", "/anthropic/v1/models")])
async def test_a_sign_of_life(path: str, expected: str):
    async with adapter(says(answered(200, b'{"data": []}')), path=path, api_key="k-123") as (made, provider):
        await provider.probe()
    assert made.requests[0].startswith(f"GET {expected} HTTP/1.1\r\n".encode())
    assert b"x-api-key: k-123\r\n" in made.requests[0]
    assert b"anthropic-version: 2023-06-01\r\n" in made.requests[0]


@pytest.mark.parametrize(
    ("status", "alive"), [(200, True), (404, True), (401, False), (403, False), (429, False), (500, False), (529, False)]
)
async def test_what_a_sign_of_life_is(status: int, alive: bool):
    async with adapter(says(answered(status, b""))) as (_, provider):
        if alive:
            await provider.probe()
        else:
            with pytest.raises(UpstreamFailed, match=str(status)):
                await provider.probe()
