"""The embedded engine and the embedding model beside it, as one pool on this machine."""

from collections.abc import AsyncGenerator

from headrace.core.ask import Ask
from headrace.core.errors import InvalidRequest, NotReady
from headrace.core.stream import Said, Used, Verbatim
from headrace.core.usage import Usage
from headrace.engine import Embedder, Engine
from headrace.providers.provider import Tally
from headrace.wire import openai_embeddings
from headrace.wire.openai_chat import read_request

INPUTS_MAX = 2_048


class LocalProvider:
    """Answers chats by `engine` and embeddings by `embedder`. What an attempt used is known at every moment."""

    def __init__(self, *, engine: Engine, embedder: Embedder | None) -> None:
        self._engine, self._embedder = engine, embedder

    async def stream(self, ask: Ask, tally: Tally) -> AsyncGenerator[Said, None]:
        if ask.operation == "embeddings":
            async for said in self._embed(ask):
                yield said
            return
        answer = self._engine.chat(ask.request, read_request(ask.body))
        try:
            async for said in answer:
                yield said
        finally:
            await answer.aclose()
            tally.usage = answer.used

    async def _embed(self, ask: Ask) -> AsyncGenerator[Said, None]:
        if self._embedder is None:
            raise NotReady("This pool runs without its embedding model.")
        asked = openai_embeddings.read_request(ask.body)
        embedded = await self._embedder.embed(_inputs(asked.input), asked.dimensions)
        tokens = sum(embedded.tokens)
        yield Used(Usage(tokens))
        yield Verbatim(
            openai_embeddings.write_answer(
                model=ask.model, vectors=embedded.vectors, tokens=tokens, encoding_format=asked.encoding_format or "float"
            )
        )


def _inputs(given: str | list[str | int | list[int]]) -> list[str | list[int]]:
    """OpenAI's four forms as one: a text, texts, one row of token numbers, rows of token numbers."""
    if isinstance(given, str):
        return [given]
    numbers = [one for one in given if isinstance(one, int)]
    if numbers and len(numbers) == len(given):
        return [numbers]
    inputs = [one for one in given if not isinstance(one, int)]
    if not inputs or len(inputs) != len(given):
        raise InvalidRequest("Invalid value for 'input': give a text, an array of texts, or arrays of token numbers, none of it empty.", param="input")
    if len(inputs) > INPUTS_MAX:
        raise InvalidRequest(f"Invalid value for 'input': at most {INPUTS_MAX} inputs in one request.", param="input")
    return inputs
