"""Google's Gemini, as the Gemini API with a key or as Vertex AI with a service account: one dialect at two addresses.

The upstream is always asked to stream; what it says is told in our own words, as it comes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Protocol

from headrace.core.ask import Ask
from headrace.core.errors import NotTranslatable, UpstreamFailed
from headrace.providers.google import Tokens
from headrace.providers.provider import Hearer
from headrace.providers.transport import Endpoint, Exchange
from headrace.wire.gemini import Translation, request_for
from headrace.wire.gemini_failure import failure_for
from headrace.wire.gemini_stream import StreamReader
from headrace.wire.openai_chat import read_request

TOKENS_OUT_MAX = 16_384
"""For a request that names no maximum, to a model of which none is known."""


class Access(Protocol):
    """Which paths lead to the models, and what opens them."""

    def path(self, model: str) -> str: ...

    def probe_path(self, models: Iterable[str]) -> str: ...

    async def lines(self) -> str: ...

    def forget(self) -> None: ...


class GeminiApi:
    """The Gemini API: generativelanguage.googleapis.com and a key. A model's name may be a whole one, as `tunedModels/mine`."""

    def __init__(self, *, api_key: str) -> None:
        """Raises ValueError, without the key, for one that can't be sent."""
        if not (api_key.isascii() and api_key.isprintable()):
            raise ValueError("the key of the Gemini API has a character that no header may have, such as an end of line")
        self._line = f"x-goog-api-key: {api_key}\r\n"

    def path(self, model: str) -> str:
        return f"/v1beta/{model if '/' in model else f'models/{model}'}:streamGenerateContent?alt=sse"

    def probe_path(self, models: Iterable[str]) -> str:
        return "/v1beta/models?pageSize=1"

    async def lines(self) -> str:
        return self._line

    def forget(self) -> None:
        """A key is not renewed."""


class VertexAi:
    """Vertex AI: a project at a location and a service account. A model's name may be one of the project's own, as `endpoints/123`."""

    def __init__(self, *, project: str, location: str, tokens: Tokens) -> None:
        self._home = f"/v1/projects/{project}/locations/{location}"
        self._tokens = tokens

    def path(self, model: str) -> str:
        return f"{self._home}/{model if '/' in model else f'publishers/google/models/{model}'}:streamGenerateContent?alt=sse"

    def probe_path(self, models: Iterable[str]) -> str:
        """The description of one model: there is no list of them for a project."""
        model = next(iter(models))
        return f"{self._home}/{model}" if "/" in model else f"/v1/publishers/google/models/{model}"

    async def lines(self) -> str:
        return f"authorization: Bearer {await self._tokens.token()}\r\n"

    def forget(self) -> None:
        self._tokens.forget()


class GeminiProvider:
    """One pool of endpoints with one access; requests go round the endpoints. `models` are its names by ours, `tokens_out_max` the most
    that is asked for where a request names none, by our names. `new_id` makes ids for the calls that come without."""

    def __init__(
        self,
        *,
        name: str,
        endpoints: Sequence[Endpoint],
        models: Mapping[str, str],
        access: Access,
        new_id: Callable[[], str],
        tokens_out_max: Mapping[str, int] | None = None,
    ) -> None:
        self._name, self._models, self._access, self._new_id = name, models, access, new_id
        self._endpoints, self._turns = tuple(endpoints), cycle(endpoints)
        self._tokens_out_max = tokens_out_max or {}

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        if ask.operation != "chat":
            raise NotTranslatable(
                f"{self._name} speaks Gemini's dialect, which serves chats only here, not {ask.operation}.", param="model"
            )
        model = self._models[ask.model]
        translation = request_for(read_request(ask.body), model=model, tokens_out_max=self._tokens_out(ask))
        if translation.changes:
            if ask.strict:
                raise _unchanged(self._name, translation)
            hearer.translated(translation.changes)
        endpoint = next(self._turns)
        head = await self._head(endpoint, self._access.path(model), len(translation.body))
        reader = StreamReader(whose=self._name, new_id=self._new_id, calls_max=translation.calls_max)
        async with endpoint.exchange([head, translation.body]) as exchange:
            await self._relay(exchange, reader, hearer, self._tokens_out(ask))

    async def probe(self) -> None:
        """Of the Gemini API the list of models, of Vertex AI the description of one: neither costs anything."""
        path = self._access.probe_path(self._models.values())
        for endpoint in self._endpoints:
            status, _ = await endpoint.get(path, await self._access.lines())
            if status != 200:
                self._refused(status)
                raise UpstreamFailed(f"{self._name} answered {status} when it was asked for its models.")

    def _tokens_out(self, ask: Ask) -> int:
        return self._tokens_out_max.get(ask.model, TOKENS_OUT_MAX) if ask.tokens_out_max is None else ask.tokens_out_max

    async def _head(self, endpoint: Endpoint, path: str, length: int) -> bytes:
        return (
            f"POST {endpoint.path}{path} HTTP/1.1\r\nhost: {endpoint.host_header.decode()}\r\n{await self._access.lines()}"
            f"content-type: application/json\r\naccept: text/event-stream\r\ncontent-length: {length}\r\n\r\n"
        ).encode()

    async def _relay(self, exchange: Exchange, reader: StreamReader, hearer: Hearer, tokens_out_max: int) -> None:
        """Pour the stream through the reader. Nearly every event tells usage, so who leaves pays about what was used until then; what the
        end tells is final."""
        if exchange.status != 200:
            self._refused(exchange.status)
            raise failure_for(exchange.status, exchange.headers, await exchange.whole(), self._name)
        hear = hearer.hear

        def take(piece: bytes) -> None:
            news = reader.feed(piece)
            hearer.usage_likely = reader.spent(tokens_out_max)
            hearer.usage = reader.usage if reader.finished else None
            for said in news:
                hear(said)
            if reader.failure is not None:
                raise reader.failure

        await exchange.pour(take, hearer.gate)
        for said in reader.close():
            hear(said)

    def _refused(self, status: int) -> None:
        if status == 401:
            self._access.forget()


def _unchanged(pool: str, translation: Translation) -> NotTranslatable:
    """What a strict request gets instead of an answer to another one."""
    named = "; ".join(f"'{change.param}' would be {change.what}, since {change.why}" for change in translation.changes)
    return NotTranslatable(f"{pool} can't answer this as it was asked: {named}.", param=translation.changes[0].param)
