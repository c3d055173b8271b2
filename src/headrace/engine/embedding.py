"""Embeddings: texts become vectors whose cosine says how near their meanings are.

The model is all-MiniLM-L6-v2 in 8 bits, in a worker process of its own, so that the gateway holds neither the library nor its memory.
"""

import array
import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

import msgspec

from headrace.core.errors import ContextLengthExceeded, EngineFailed, HeadraceError, InvalidRequest, QueueFull, SetupError
from headrace.engine.choosing import missing_for
from headrace.engine.frames import Cancel, Embed, EmbeddingSetup, FromEmbedding, Refused, Vectors
from headrace.engine.supervisor import Supervisor

DIMENSIONS = 384
CONTEXT = 512  # positions that the model has; the first 256 word pieces are what it was tuned on
VOCABULARY = 30_522
INPUTS_MAX = 2048
QUEUE_MAX = 64
TOKENS_PACE_S = 20_000  # tokens a second that it reads at least, on two cores


class EmbeddingInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The model that embeds."""

    name: str
    dimensions: int
    context: int


class Embedded(msgspec.Struct, frozen=True):
    """One vector an input, each as little-endian 32-bit floats of length one, and how many tokens each input had."""

    vectors: tuple[bytes, ...]
    tokens: tuple[int, ...]

    def floats(self, at: int) -> list[float]:
        return array.array("f", self.vectors[at]).tolist()


class Waiting:
    """A request that is not over."""

    def __init__(self, embed: Embed, vectors: asyncio.Future[Vectors]) -> None:
        self.embed, self.vectors = embed, vectors


class Embedder:
    """The embedding model. `weights` is what `obtain_embedding` gives."""

    def __init__(self, weights: Path, threads: int = 1, log: logging.Logger | None = None, load_timeout_s: float = 120) -> None:
        self._weights, self._threads = weights, threads
        self._worker = Supervisor[Vectors | Refused](
            self, "headrace.engine.embedding_worker", "embedding model", load_timeout_s, 120, log or logging.getLogger(__name__)
        )
        self._waiting: dict[int, Waiting] = {}  # bounded by QUEUE_MAX
        self._serial = 0
        self._decoder = msgspec.msgpack.Decoder(FromEmbedding)
        self._encode = msgspec.msgpack.Encoder().encode
        self.model = EmbeddingInfo(name="all-minilm-l6-v2", dimensions=DIMENSIONS, context=CONTEXT)

    async def start(self, tasks: asyncio.TaskGroup) -> EmbeddingInfo:
        """Load the model; from then on a task of `tasks` keeps a worker alive until `stop`. Raises SetupError when it can't be loaded."""
        if missing := missing_for("embedding"):
            raise SetupError(f"Embeddings need the Python packages {', '.join(missing)}: pip install 'headrace[engine]'.")
        await self._worker.start(tasks)
        return self.model

    @property
    def ready(self) -> bool:
        return self._worker.ready

    async def embed(self, inputs: Sequence[str | Sequence[int]], dimensions: int | None = None) -> Embedded:
        """Vectors of `inputs`, texts or WordPiece tokens, in their order, cut to `dimensions` and of length one again.

        Raises InvalidRequest, ContextLengthExceeded, QueueFull or EngineFailed; when cancelled the work is given up.
        """
        asked = _checked(inputs, dimensions)
        if len(self._waiting) >= QUEUE_MAX:
            raise QueueFull("The embedding engine's waiting line is full.", retry_after_ms=self._place_expected_ms())
        self._serial += 1
        embed = Embed(self._serial, asked)
        waiting = Waiting(embed, asyncio.get_running_loop().create_future())
        if not self._waiting:
            self._worker.work_begins()
        self._waiting[embed.id] = waiting
        self._worker.send(self._encode(embed))
        try:
            found = await waiting.vectors
        finally:
            if self._waiting.pop(embed.id, None) is not None:
                self._worker.send(self._encode(Cancel(embed.id)))
        return Embedded(tuple(_cut(vector, dimensions or DIMENSIONS) for vector in found.vectors), found.tokens)

    async def stop(self) -> None:
        """End the worker; requests not over fail."""
        await self._worker.stop()

    def setup(self) -> bytes:
        return self._encode(EmbeddingSetup(str(self._weights), self._threads))

    def decode(self, body: bytes) -> object:
        return self._decoder.decode(body)

    def heard(self, message: Vectors | Refused) -> None:
        waiting = self._waiting.pop(message.id, None)
        if waiting is None or waiting.vectors.done():
            return
        if isinstance(message, Vectors):
            waiting.vectors.set_result(message)
        else:
            waiting.vectors.set_exception(_failure(message))

    def up(self) -> None:
        for waiting in self._waiting.values():
            self._worker.send(self._encode(waiting.embed))

    def down(self, why: str, last: bool) -> None:
        """Nothing of an embedding was said before it is whole, so the next worker is given all of them, unless there is none."""
        if last:
            waiting, self._waiting = [*self._waiting.values()], {}
            for each in waiting:
                if not each.vectors.done():
                    each.vectors.set_exception(EngineFailed(why, retry_after_ms=1000))

    def busy(self) -> bool:
        return bool(self._waiting)

    def _place_expected_ms(self) -> int:
        """Texts of four characters a token and upward, at the pace the model reads."""
        tokens = sum(len(each) for waiting in self._waiting.values() for each in waiting.embed.inputs) // 4
        return max(50, 1000 * tokens // TOKENS_PACE_S // QUEUE_MAX)


def _checked(inputs: Sequence[str | Sequence[int]], dimensions: int | None) -> tuple[str | tuple[int, ...], ...]:
    if not 1 <= len(inputs) <= INPUTS_MAX:
        raise InvalidRequest(f"Invalid 'input': 1 to {INPUTS_MAX} inputs are expected, got {len(inputs)}.", param="input")
    if dimensions is not None and not 1 <= dimensions <= DIMENSIONS:
        raise InvalidRequest(f"Invalid 'dimensions': expected a value between 1 and {DIMENSIONS}, got {dimensions}.", param="dimensions")
    for at, text in enumerate(inputs):
        if not text:
            raise InvalidRequest("Invalid 'input': it cannot be empty.", param=f"input[{at}]" if len(inputs) > 1 else "input")
        if not isinstance(text, str) and not all(0 <= token < VOCABULARY for token in text):
            raise InvalidRequest(f"Invalid 'input[{at}]': tokens are word pieces of BERT, 0 to {VOCABULARY - 1}.", param=f"input[{at}]")
    return tuple(text if isinstance(text, str) else tuple(text) for text in inputs)


def _cut(vector: bytes, dimensions: int) -> bytes:
    """The first of its numbers, of length one again: all-MiniLM was not trained for it, yet order is kept well."""
    if dimensions == DIMENSIONS:
        return vector
    numbers = array.array("f", vector)[:dimensions]
    length = sum(number * number for number in numbers) ** 0.5 or 1.0
    return array.array("f", [number / length for number in numbers]).tobytes()


def _failure(refused: Refused) -> HeadraceError:
    kinds = {"context_length_exceeded": ContextLengthExceeded, "invalid_value": InvalidRequest, "engine_failed": EngineFailed}
    return kinds[refused.code](refused.message, param=refused.param)
