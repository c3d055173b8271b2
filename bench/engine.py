"""How fast the embedded engine is, through `Engine.chat` as the gateway uses it.

    python bench/engine.py [--backend openvino|llamacpp] [--weights FILE.gguf] [--rounds 3]

Prints a table, and as its last line one JSON object. Every figure is the median of the rounds. The machine should be idle: what else
runs on it is part of the result.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from random import Random

import msgspec

from headrace.compose.place import cache_folder
from headrace.core.stream import Text, Used
from headrace.engine import Engine, EngineSettings, obtain
from headrace.wire.openai_chat import ChatRequest, Message

TOKENS = 128
STREAMS = (1, 4, 8, 16)
PREFIX_WORDS = 900
WORDS = [
    "river",
    "stone",
    "cloud",
    "paper",
    "house",
    "green",
    "light",
    "music",
    "water",
    "apple",
    "field",
    "winter",
    "letter",
    "garden",
    "silver",
    "morning",
]


class Timed(msgspec.Struct, frozen=True):
    """One answer: seconds to its first text, tokens in, of those cached, and out."""

    ttft_s: float
    tokens_in: int
    cached: int
    tokens_out: int


async def timed(engine: Engine, content: str, tokens: int) -> Timed:
    request = ChatRequest(
        model="m", messages=[Message(role="user", content=content)], max_completion_tokens=tokens, ignore_eos=True, temperature=0.0
    )
    begun, first, used = time.perf_counter(), 0.0, None
    async for said in engine.chat("bench", request):
        if isinstance(said, Text | Used) and not first:  # a model may begin with a token that says nothing
            first = time.perf_counter() - begun
        if isinstance(said, Used):
            used = said.usage
    assert used is not None
    return Timed(first, used.tokens_in, used.cache_read, used.tokens_out)


async def tokens_per_s(engine: Engine, streams: int, rng: Random) -> float:
    begun = time.perf_counter()
    answers = await asyncio.gather(*(timed(engine, f"Tell a story about {rng.random()}.", TOKENS) for _ in range(streams)))
    return sum(answer.tokens_out for answer in answers) / (time.perf_counter() - begun)


async def ttft_s(engine: Engine, rng: Random) -> tuple[Timed, Timed]:
    prefix = " ".join(rng.choice(WORDS) for _ in range(PREFIX_WORDS))
    return await timed(engine, f"{prefix} Tell a story with these words.", 2), await timed(
        engine, f"{prefix} Write a poem with these words.", 2
    )


async def measure(weights: Path, backend: str, cache: Path, rounds: int) -> dict[str, object]:
    settings = msgspec.convert({"backend": backend}, EngineSettings)
    rng = Random(os.getpid())
    async with asyncio.TaskGroup() as tasks:
        converted = Engine(weights, settings, cache, lambda: "call")  # the first load ever converts; the second is what a start costs
        await converted.start(tasks)
        await converted.stop()
        engine = Engine(weights, settings, cache, lambda: "call")
        model = await engine.start(tasks)
        rss_loaded = engine.status().rss_bytes
        await tokens_per_s(engine, 1, rng)
        speeds = {streams: statistics.median([await tokens_per_s(engine, streams, rng) for _ in range(rounds)]) for streams in STREAMS}
        firsts = [await ttft_s(engine, rng) for _ in range(rounds)]
        rss = engine.status().rss_bytes
        await engine.stop()
    cold, warm = firsts[-1]
    return {
        "backend": model.backend,
        "model": model.name,
        "threads": model.threads,
        **{f"tokens_per_s_{streams}{'_streams' if streams == 16 else ''}": round(speed, 1) for streams, speed in speeds.items()},
        "ttft_cold_s": round(statistics.median(cold.ttft_s for cold, _ in firsts), 4),
        "ttft_cached_s": round(statistics.median(warm.ttft_s for _, warm in firsts), 4),
        "prompt_tokens": cold.tokens_in,
        "cached_tokens": warm.cached,
        "load_s": model.load_s,
        "rss_loaded_mb": rss_loaded >> 20,
        "rss_mb": rss >> 20,
    }


def packages() -> str:
    found = []
    for name in ("openvino-genai", "xllamacpp"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="auto", choices=["auto", "openvino", "llamacpp"])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    cache = cache_folder(os.environ)
    figures = asyncio.run(measure(asked.weights or obtain(cache), asked.backend, cache, asked.rounds))
    print(f"{processor()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} · {platform.platform()}")
    print(f"Python {platform.python_version()}, {packages()} · {TOKENS} tokens an answer, median of {asked.rounds}\n")
    for name, value in figures.items():
        print(f"  {name:<26}{value:>24}")
    print()
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
