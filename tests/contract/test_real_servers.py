"""The relaying adapter against servers that nobody here wrote: llama.cpp's own, and the routers of vLLM and SGLang in front of it.

A router is found on the PATH or named by HEADRACE_TEST_ROUTER (paths, joined as PATH is); without one its tests are skipped.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.compose.place import cache_folder
from headrace.core.ask import Ask
from headrace.core.errors import UpstreamFailed, UpstreamRefused, WeightsUnavailable
from headrace.core.stream import Said, Used, Verbatim
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.engine import obtain
from headrace.engine.choosing import missing_for
from headrace.providers import Endpoint, TransportSettings
from headrace.providers.adapters.openai import OpenAIProvider
from headrace.testing.builders import MODEL, an_ask
from headrace.testing.providers import check_failure, check_leaving, check_provider, check_waiting
from headrace.testing.scripted import ScriptedListener
from headrace.wire.sse import frames, payload
from tests.needs import missing

pytestmark = pytest.mark.engine

ITS, KEY = "smollm2", "k-llama"
START_S = 60.0
LLAMA_SERVER = Path(__file__).with_name("llama_server.py")
ROUTERS = {"vllm-router": [], "sglang-router": ["launch", "--api-key", KEY], "smg": ["launch", "--api-key", KEY]}
"""With what each is told beside its addresses."""
QUESTION = [{"role": "user", "content": "Why does water run downhill?"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Paris", "Rome"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


# ------------------------------------------------------------------------------------------------------------ the servers, as processes


@contextmanager
def running(command: list[str], said: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A program of our own, which ends with the test."""
    with said.open("wb") as out, subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def until_ready(url: str, process: "subprocess.Popen[bytes]", said: Path) -> None:
    """Until the server lists a model, under whatever name: SGLang's router knows none for a server that is not SGLang."""
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and process.poll() is None:
        try:
            if got(f"{url}/v1/models")["data"]:
                return
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.1)
    pytest.fail(f"{process.args!r} is not ready, exit {process.poll()}:\n{said.read_text(errors='replace')[-4_000:]}", pytrace=False)


def got(url: str) -> Any:
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of llama.cpp's server with the small model."""
    if lacking := missing_for("llamacpp"):
        missing(f"llama.cpp's server needs {', '.join(lacking)}")
    try:
        weights = obtain(cache_folder(os.environ))
    except WeightsUnavailable as unavailable:
        missing(str(unavailable))
    said = tmp_path_factory.mktemp("llama") / "said"
    with running([sys.executable, str(LLAMA_SERVER), str(weights), ITS, KEY], said) as process:
        ends = time.monotonic() + START_S
        while not (lines := [line for line in said.read_text(errors="replace").splitlines() if line.startswith("http://127.0.0.1:")]):
            assert time.monotonic() < ends, f"llama.cpp's server does not start:\n{said.read_text(errors='replace')[-4_000:]}"
            time.sleep(0.1)
        until_ready(lines[0], process, said)
        yield lines[0]


def router(name: str) -> str | None:
    named = [path for path in os.environ.get("HEADRACE_TEST_ROUTER", "").split(os.pathsep) if Path(path).name == name]
    return named[0] if named else shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


@pytest.fixture(scope="module", params=["llama.cpp", *ROUTERS])
def address(request: pytest.FixtureRequest, llama: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the model is asked: at llama.cpp itself, or at a router before it."""
    if request.param == "llama.cpp":
        yield llama
        return
    program = router(request.param)
    if program is None:
        pytest.skip(f"{request.param} is neither on the PATH nor in HEADRACE_TEST_ROUTER: pip install it into an environment of its own")
    port, metrics = free_port(), free_port()
    command = [program, *ROUTERS[request.param], "--host=127.0.0.1", f"--port={port}", f"--prometheus-port={metrics}"]
    command += ["--policy=round_robin", "--worker-urls", llama]
    said = tmp_path_factory.mktemp("router") / "said"
    with running(command, said) as process:
        until_ready(f"http://127.0.0.1:{port}", process, said)
        yield f"http://127.0.0.1:{port}"


# --------------------------------------------------------------------------------------------------------------------------- the tests


@asynccontextmanager
async def adapter(
    address: str, *, key: str = KEY, path: str = "/v1", rename: Mapping[str, str] | None = None, drops: frozenset[str] = frozenset()
) -> AsyncGenerator[OpenAIProvider, None]:
    endpoint = Endpoint(address + path, TransportSettings(), asyncio.get_running_loop())
    try:
        yield OpenAIProvider(name="real", endpoints=[endpoint], models={MODEL: ITS}, api_key=key, rename=rename or {}, drops=drops)
    finally:
        endpoint.close()


def asks(*, stream: bool = True, include_usage: bool = True, tokens_out_max: int = 12, **more: object) -> Ask:
    body: dict[str, object] = {"model": MODEL, "messages": QUESTION, "max_completion_tokens": tokens_out_max, **more}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": include_usage}}
    return an_ask(stream=stream, include_usage=include_usage, tokens_out_max=tokens_out_max, body=msgspec.json.encode(body))


def used(said: list[Said]) -> Usage:
    usage = next(one for one in said if isinstance(one, Used))
    assert usage.model_served == ITS
    assert usage.usage is not None
    return usage.usage


def chunks(said: list[Said]) -> list[dict[str, Any]]:
    """What the client reads: the stream's events, without the mark of its end."""
    data = b"".join(one.data for one in said if isinstance(one, Verbatim))
    *events, end = [payload(frame) for frame in frames(data)]
    assert end == b"[DONE]"
    return [json.loads(event) for event in events]


def text(said: list[Said]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks(said) for choice in chunk["choices"])


def whole(said: list[Said]) -> dict[str, Any]:
    (answer,) = [json.loads(one.data) for one in said if isinstance(one, Verbatim)]
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("include_usage", [True, False])
async def test_a_stream(address: str, include_usage: bool):
    async with adapter(address) as provider:
        said = await check_provider(provider, asks(include_usage=include_usage, ignore_eos=True))
    assert used(said).tokens_out == 12
    assert text(said)
    told = [chunk["usage"] for chunk in chunks(said) if chunk.get("usage")]
    assert [usage["completion_tokens"] for usage in told] == ([12] if include_usage else [])


async def test_a_whole_answer_uses_what_its_stream_uses(address: str):
    async with adapter(address) as provider:
        streamed = await check_provider(provider, asks(ignore_eos=True))
        gathered = await check_provider(provider, asks(ignore_eos=True, stream=False))
    assert whole(gathered)["choices"][0]["message"]["content"]
    assert used(gathered).tokens_in == used(streamed).tokens_in > 0
    assert used(gathered).tokens_out == used(streamed).tokens_out == 12
    assert used(gathered).cache_read > 0, "llama.cpp tells what it had in its cache"


async def test_who_must_wait_is_told_nothing(address: str):
    async with adapter(address) as provider:
        await check_waiting(provider, asks(tokens_out_max=24, ignore_eos=True))


async def test_a_client_who_leaves_a_stream_stops_the_work(address: str, llama: str):
    """So many tokens would take far longer than the suite waits."""
    async with adapter(address) as provider:
        await check_leaving(provider, asks(tokens_out_max=1_900, ignore_eos=True), after=1, stopped=lambda: idle(llama))


async def idle(llama: str) -> None:
    await asyncio.to_thread(until, lambda: not busy(llama))


def busy(llama: str) -> bool:
    return any(slot["is_processing"] for slot in got(f"{llama}/slots"))


def until(so: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not so():
        assert time.monotonic() < ends, "it does not come to that"
        time.sleep(0.05)


TOOLED = {"tools": [WEATHER], "tool_choice": "required", "parallel_tool_calls": False, "tokens_out_max": 200, "temperature": 0}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_is_called(address: str, stream: bool):
    async with adapter(address) as provider:
        said = await check_provider(provider, asks(stream=stream, **TOOLED))  # type: ignore[arg-type]  # of the right kinds
    name, arguments = streamed_call(said) if stream else whole_call(said)
    assert name == "get_weather"
    assert json.loads(arguments)["city"] in ("Paris", "Rome")


def streamed_call(said: list[Said]) -> tuple[str, str]:
    functions = [
        call["function"] for chunk in chunks(said) for choice in chunk["choices"] for call in choice["delta"].get("tool_calls", ())
    ]
    return functions[0]["name"], "".join(function.get("arguments", "") for function in functions)


def whole_call(said: list[Said]) -> tuple[str, str]:
    (call,) = whole(said)["choices"][0]["message"]["tool_calls"]
    return call["function"]["name"], call["function"]["arguments"]


async def test_a_tools_result_reaches_the_model(address: str):
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}}
    history = [
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rain, twelve degrees, and wind from the west."},
    ]
    async with adapter(address) as provider:
        before = used(await check_provider(provider, asks()))
        after = used(await check_provider(provider, asks(messages=history)))
    assert before.tokens_in + 20 < after.tokens_in


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_by_schema(address: str, stream: bool):
    wanted = {"type": "json_schema", "json_schema": {"name": "colour", "strict": True, "schema": SCHEMA}}
    async with adapter(address) as provider:
        said = await check_provider(provider, asks(stream=stream, tokens_out_max=100, response_format=wanted))
    answer = text(said) if stream else whole(said)["choices"][0]["message"]["content"]
    assert json.loads(answer)["colour"] in ("red", "blue")


async def test_embeddings(address: str):
    body = msgspec.json.encode({"model": MODEL, "input": ["water", "runs downhill"]})
    async with adapter(address) as provider:
        said = await check_provider(provider, an_ask(operation="embeddings", stream=False, tokens_out_max=0, body=body))
    one, two = whole(said)["data"]
    assert len(one["embedding"]) == len(two["embedding"]) > 100
    assert used(said).tokens_in > 1


async def test_another_name_for_the_bound_of_the_answer(address: str):
    """llama.cpp knows both names, so what it used shows that the other one came."""
    listener = ScriptedListener()
    ask = asks(tokens_out_max=7, ignore_eos=True, seed=1)
    async with adapter(address, rename={"max_completion_tokens": "max_tokens"}, drops=frozenset({"seed"})) as provider:
        await provider.answer(ask, listener)
    assert [(change.what, change.param) for change in listener.changes] == [("changed", "max_completion_tokens"), ("dropped", "seed")]
    assert listener.changes[0] == Change("changed", "max_completion_tokens", "the pool calls it max_tokens")
    assert used(listener.heard).tokens_out == 7


async def test_signs_of_life(address: str):
    async with adapter(address) as provider:
        await provider.probe()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_prompt_that_is_too_long(address: str, stream: bool):
    long = [{"role": "user", "content": "water " * 6_000}]
    async with adapter(address) as provider:
        refused = await check_failure(provider, asks(stream=stream, messages=long), UpstreamRefused)
    assert refused.status == 400
    error = json.loads(refused.body)["error"]
    assert error["code"] == "context_length_exceeded"
    assert "exceeds the available context size" in error["message"]


async def test_a_request_that_makes_no_sense(address: str):
    async with adapter(address) as provider:
        refused = await check_failure(provider, asks(messages="hello"), UpstreamRefused)
    assert refused.status in (400, 422)
    assert json.loads(refused.body)["error"]["message"]


async def test_a_wrong_key_and_a_wrong_address_are_ours_to_mend(llama: str):
    async with adapter(llama, key="k-other") as provider:
        failure = await check_failure(provider, asks(), UpstreamFailed)
        assert failure.message == "real answered 401: Invalid API Key (check the pool's key)."
        with pytest.raises(UpstreamFailed, match="401"):
            await provider.probe()
    async with adapter(llama, path="/v2") as provider:
        failure = await check_failure(provider, asks(), UpstreamFailed)
    assert failure.message == "real answered 404: File Not Found (check the pool's endpoints and its models' names)."
