"""The embedded engine and the embedding model beside it, as one pool on this machine."""

from headrace.core.ask import Ask
from headrace.core.errors import InvalidRequest, NotReady
from headrace.core.stream import Used, Verbatim
from headrace.core.usage import Usage
from headrace.engine import Embedder, Engine
from headrace.providers.provider import Hearer
from headrace.wire import openai_embeddings
from headrace.wire.openai_chat import read_request

INPUTS_MAX = 2_048


class LocalProvider:
    """Answers chats by `engine` and embeddings by `embedder`."""

    def __init__(self, *, engine: Engine, embedder: Embedder | None) -> None:
        self._engine, self._embedder = engine, embedder

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        if ask.operation == "embeddings":
            await self._embed(ask, hearer)
            return
        answer = self._engine.chat(ask.request, read_request(ask.body))
        try:
            async for said in answer:
                hearer.usage = answer.used
                hearer.hear(said)
                if hearer.gate.must_wait:
                    await hearer.gate.drained()
        finally:
            hearer.usage = answer.used
            await answer.aclose()

    async def probe(self) -> None:
        if not self._engine.status().ready:
            raise NotReady("The engine is being started.")

    async def _embed(self, ask: Ask, hearer: Hearer) -> None:
        if self._embedder is None:
            raise NotReady("This pool runs without its embedding model.")
        asked = openai_embeddings.read_request(ask.body)
        embedded = await self._embedder.embed(_inputs(asked.input), asked.dimensions)
        tokens = sum(embedded.tokens)
        encoding = asked.encoding_format or "float"
        answer = openai_embeddings.write_answer(model=ask.model, vectors=embedded.vectors, tokens=tokens, encoding_format=encoding)
        hearer.hear(Used(Usage(tokens)))
        hearer.hear(Verbatim(answer))


def _inputs(given: str | list[str | int | list[int]]) -> list[str | list[int]]:
    """OpenAI's four forms as one: a text, texts, one row of token numbers, rows of token numbers."""
    if isinstance(given, str):
        return [given]
    numbers = [one for one in given if isinstance(one, int)]
    if numbers and len(numbers) == len(given):
        return [numbers]
    inputs = [one for one in given if not isinstance(one, int)]
    if not inputs or len(inputs) != len(given):
        raise InvalidRequest(
            "Invalid value for 'input': give a text, an array of texts, or arrays of token numbers, none of it empty.", param="input"
        )
    if len(inputs) > INPUTS_MAX:
        raise InvalidRequest(f"Invalid value for 'input': at most {INPUTS_MAX} inputs in one request.", param="input")
    return inputs
