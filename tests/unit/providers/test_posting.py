"""What is posted beside chats, to both kinds of upstream that have it: where it goes, what passes, and what goes wrong."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest

from headrace.core.ask import Ask, Operation
from headrace.core.errors import HeadraceError, NotTranslatable, UpstreamFailed, UpstreamRefused
from headrace.core.native import Native, Part, Post, Units
from headrace.core.stream import Used, Verbatim
from headrace.core.usage import Usage
from headrace.providers import Endpoint, Interpreter, Provider, TransportSettings
from headrace.providers.adapters.azure import AzureProvider
from headrace.providers.adapters.openai import OpenAIProvider
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.scripted import ScriptedListener, ScriptedProvider
from tests.unit.providers.upstream import Script, Upstream, says, upstream


def a_post(
    path: str, operation: Operation, body: object = None, *, stream: bool = False, parts: tuple[Part, ...] = (), units: Units = ()
) -> Ask:
    ask = an_ask(operation=operation, stream=stream, body=b"")
    said = b"" if parts else json.dumps({"model": MODEL, **(body if isinstance(body, dict) else {})}).encode()
    post = Post(path=path, parts=parts, bound=Usage(10), units=units)
    native = Native(dialect="posts", body=said, untold=f"it does not offer {path}", post=post)
    return msgspec.structs.replace(ask, native=native)


@asynccontextmanager
async def adapters(script: Script, kind: str = "openai") -> AsyncGenerator[tuple[Upstream, Provider], None]:
    async with asyncio.timeout(10), upstream(script) as made:
        url = made.url if kind == "openai" else made.url.removesuffix("/v1")
        endpoint = Endpoint(url, TransportSettings(), asyncio.get_running_loop())
        try:
            if kind == "openai":
                yield made, OpenAIProvider(name="a", endpoints=[endpoint], models={MODEL: "its"}, api_key="k")
            else:
                yield made, AzureProvider(name="a", endpoints=[endpoint], models={MODEL: "its"}, api_version=kind, api_key="k")
        finally:
            endpoint.close()


def answered(body: bytes, kind: str = "application/json", status: int = 200) -> bytes:
    return b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (status, kind.encode(), len(body), body)


TARGETS = [
    ("openai", "/v1/moderations"),
    ("v1", "/openai/v1/moderations"),
    ("2024-10-21", "/openai/deployments/its/moderations?api-version=2024-10-21"),
]


@pytest.mark.parametrize(("kind", "target"), TARGETS)
async def test_where_it_goes(kind: str, target: str):
    listener = ScriptedListener()
    async with adapters(says(answered(b'{"usage":{"total_tokens":3},"model":"m"}')), kind) as (made, provider):
        await provider.answer(a_post("/moderations", "moderations", {"input": "x"}), listener)
    head, _, body = made.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(f"POST {target} HTTP/1.1\r\n".encode())
    assert json.loads(body) == {"model": "its", "input": "x"}
    assert listener.heard == [Used(Usage(3), "m"), Verbatim(b'{"usage":{"total_tokens":3},"model":"m"}', "application/json")]


async def test_a_form_passes_and_text_comes_back():
    listener = ScriptedListener()
    parts = (Part(name="model", data=MODEL.encode()), Part(name="file", data=b"sound", filename="a.mp3"))
    async with adapters(says(answered(b"words", "text/plain"))) as (made, provider):
        await provider.answer(a_post("/audio/transcriptions", "transcriptions", parts=parts, units=(("second", 9),)), listener)
    assert b"content-type: multipart/form-data; boundary=" in made.requests[0]
    assert b'name="model"\r\n\r\nits\r\n' in made.requests[0]
    assert listener.heard == [Used(None), Verbatim(b"words", "text/plain")]


async def test_sound_passes_as_it_comes():
    listener = ScriptedListener()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
    async with adapters(says(head, b"2\r\nab\r\n", b"2\r\ncd\r\n0\r\n\r\n")) as (_, provider):
        await provider.answer(a_post("/audio/speech", "speech", stream=True, units=(("character", 5),)), listener)
    *sound, used = listener.heard
    assert b"".join(one.data for one in sound if isinstance(one, Verbatim)) == b"abcd"
    assert used == Used(None, calls=(("character", 5),)), "what is spoken is counted in what was asked"


EVENTS = b'data: {"type":"a"}\n\n'
TELLS = b'data: {"type":"b","usage":{"input_tokens":1,"output_tokens":2}}\n\n'


async def test_events_pass_and_the_last_waits_for_the_books():
    listener = ScriptedListener()
    async with adapters(says(answered(EVENTS + TELLS, "text/event-stream"))) as (_, provider):
        await provider.answer(a_post("/audio/speech", "speech", stream=True), listener)
    kind = "text/event-stream"
    assert listener.heard == [Verbatim(EVENTS, kind), Used(Usage(1, audio_out=2)), Verbatim(TELLS, kind)]


FAILURES: list[tuple[bytes, type[HeadraceError]]] = [
    (answered(b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}', status=400), UpstreamRefused),
    (answered(b'{"error":{"message":"broke"}}'), UpstreamFailed),
    (answered(b"oops", status=500), UpstreamFailed),
    (answered(EVENTS + b'data: {"error":{"message":"broke"}}\n\n', "text/event-stream"), UpstreamFailed),
]


@pytest.mark.parametrize(("said", "kind"), FAILURES)
async def test_what_goes_wrong(said: bytes, kind: type[HeadraceError]):
    async with adapters(says(said)) as (_, provider):
        with pytest.raises(kind):
            await provider.answer(a_post("/images/generations", "images", stream=True), ScriptedListener())


async def test_who_has_no_such_path_is_not_asked():
    inner = ScriptedProvider()
    with pytest.raises(NotTranslatable, match="/images/edits"):
        await Interpreter(inner, name="a").answer(a_post("/images/edits", "images"), ScriptedListener())
    assert inner.asked == []
