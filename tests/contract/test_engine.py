"""Both backends of the embedded engine keep the same promises, on the model that is served by default; a stronger one also calls tools."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.compose.place import cache_folder
from headrace.core.errors import SetupError, WeightsUnavailable
from headrace.engine import Embedder, EngineSettings, obtain, obtain_embedding
from headrace.engine.choosing import missing_for
from headrace.testing.engine import CHECKS, TOOLS, Bench, started
from tests.needs import missing

pytestmark = pytest.mark.engine

CACHE = cache_folder(os.environ)
MODELS = os.environ.get("HEADRACE_TEST_MODELS", "")


@pytest.fixture(scope="session", params=["openvino", "llamacpp"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    if lacking := missing_for(request.param):
        missing(f"the {request.param} backend needs {', '.join(lacking)}")
    try:
        weights = obtain(CACHE)
    except WeightsUnavailable as unavailable:
        missing(str(unavailable))
    async with started(weights, CACHE, EngineSettings(backend=request.param, kv_cache_mb=256)) as ready:
        yield ready


@pytest.mark.parametrize("name", CHECKS)
async def test_backend(bench: Bench, name: str) -> None:
    await CHECKS[name](bench)


@pytest.mark.parametrize("path", sorted(Path(MODELS).glob("*.gguf")) if MODELS else [None], ids=lambda path: path.stem if path else "none")
@pytest.mark.parametrize("backend", ["auto", "llamacpp"])
@pytest.mark.timeout(600)
async def test_stronger_model_calls_tools_of_its_own_accord(path: Path | None, backend: str) -> None:
    if path is None:
        pytest.skip("HEADRACE_TEST_MODELS names no folder with stronger models")
    async with started(path, CACHE, EngineSettings(backend=backend, kv_cache_mb=512)) as bench:  # type: ignore[arg-type]  # of the two
        told = await bench.tell("What is the weather in Paris?", tools=TOOLS, max_completion_tokens=100)
        if not bench.engine.model.template_knows_tools:
            return
        ((name, arguments),) = told.calls()
        assert (name, json.loads(arguments)["city"]) == ("get_weather", "Paris")
        assert told.reasons() == {0: "tool_calls"}
        for name in ("calls_the_tool_that_is_named", "answers_by_schema", "reads_a_tools_result", "stops_before_its_stop"):
            await CHECKS[name](bench)


async def test_an_engine_stopped_at_once_leaves_no_worker(bench: Bench) -> None:
    weights = obtain(CACHE)
    async with started(weights, CACHE, EngineSettings(backend=bench.engine.model.backend, kv_cache_mb=64)) as brief:
        worker = brief.engine.status().worker_pid
    assert worker is not None
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


async def test_what_is_no_model_is_said_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF\x03\0\0\0" + b"\xff" * 64)
    with pytest.RaisesGroup(pytest.RaisesExc(SetupError, match=r"broken\.gguf is not a GGUF model")):
        async with started(path, tmp_path, EngineSettings()):
            pass


@pytest.fixture(scope="session")
async def embedder() -> AsyncIterator[Embedder]:
    if lacking := missing_for("embedding"):
        missing(f"embeddings need {', '.join(lacking)}")
    try:
        weights = obtain_embedding(CACHE)
    except WeightsUnavailable as unavailable:
        missing(str(unavailable))
    made = Embedder(weights)
    async with asyncio.TaskGroup() as tasks:
        await made.start(tasks)
        yield made
        await made.stop()


async def test_vectors_say_what_is_near(embedder: Embedder) -> None:
    texts = ["A man is eating food.", "A man eats a piece of bread.", "The stock market fell sharply."]
    found = await embedder.embed(texts)
    eating, bread, market = (found.floats(at) for at in range(3))
    assert found.tokens == (8, 10, 8)
    assert cosine(eating, eating) == pytest.approx(1, abs=1e-5)
    assert cosine(eating, bread) > 0.6
    assert abs(cosine(eating, market)) < 0.2
    again = await embedder.embed([texts[0], [101, 1037, 2158, 2003, 5983, 2833, 1012, 102]])
    assert cosine(again.floats(0), again.floats(1)) == pytest.approx(1, abs=1e-4)


async def test_shorter_vectors_have_length_one(embedder: Embedder) -> None:
    found = (await embedder.embed(["water"], dimensions=64)).floats(0)
    assert len(found) == 64
    assert cosine(found, found) == pytest.approx(1, abs=1e-5)


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
