"""Upstreams that speak OpenAI's chat completions: OpenAI, vLLM, SGLang, TGI, Ollama, llama.cpp and most others.

The client speaks the same dialect, so bytes are relayed and only what carries usage, an error or the end is read.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import msgspec

from headrace.core.ask import Ask
from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused
from headrace.core.stream import Used, Verbatim
from headrace.providers.provider import Hearer
from headrace.providers.transport import Endpoint, Exchange
from headrace.wire.openai_chat import read_head
from headrace.wire.openai_embeddings import body_for as embeddings_body_for
from headrace.wire.openai_embeddings import read_answer as read_embeddings
from headrace.wire.openai_upstream import StreamReader, body_for, read_answer

PATHS = {"chat": "/chat/completions", "embeddings": "/embeddings"}
CONFIGURED_WRONG = frozenset({401, 403, 404, 405})
"""Statuses that blame our key or address, not the client's request."""


class OpenAIProvider:
    """One pool of endpoints with one key; requests go round the endpoints."""

    def __init__(self, *, name: str, endpoints: Sequence[Endpoint], models: Mapping[str, str], api_key: str | None) -> None:
        self._name, self._models = name, models
        self._endpoints = tuple(endpoints)
        self._key = key = f"authorization: Bearer {api_key}\r\n" if api_key else ""
        self._turns = {
            operation: cycle([(endpoint, _request_head(endpoint, path, key)) for endpoint in endpoints])
            for operation, path in PATHS.items()
        }

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        body = self._body(ask)
        endpoint, head = next(self._turns[ask.operation])
        async with endpoint.exchange([b"%b%d\r\n\r\n" % (head, len(body)), body]) as exchange:
            if exchange.status != 200:
                raise _failure(self._name, exchange, await exchange.whole())
            if not ask.stream:
                answer = await exchange.whole()
                read = read_answer if ask.operation == "chat" else read_embeddings
                usage, model = read(answer)
                hearer.hear(Used(usage, model))
                hearer.hear(Verbatim(answer))
                return
            await self._relay(exchange, StreamReader(show_usage=ask.include_usage), hearer)

    async def _relay(self, exchange: Exchange, reader: StreamReader, hearer: Hearer) -> None:
        """Pour the stream through the reader; at its end say what was used, and then what was held back until that was said."""
        feed, hear = reader.feed, hearer.hear

        def take(piece: bytes) -> None:
            if ready := feed(piece):
                hear(Verbatim(ready))
            if reader.failure is not None:
                raise reader.failure

        await exchange.pour(take, hearer.gate)
        reader.close()
        hear(Used(reader.usage, reader.model))
        if reader.held:
            hear(Verbatim(reader.held))

    async def probe(self) -> None:
        """The list of models: every server of this dialect has one, and it costs nothing."""
        for endpoint in self._endpoints:
            status, _ = await endpoint.get("/models", self._key)
            if status >= 500 or status in (401, 403, 429):
                raise UpstreamFailed(f"{self._name} answered {status} when it was asked for its models.")

    def _body(self, ask: Ask) -> bytes:
        its = self._models[ask.model]
        if ask.operation == "embeddings":
            return embeddings_body_for(ask.body, ask.model, its)
        if its == ask.model and not ask.stream:
            return ask.body
        return body_for(ask.body, read_head(ask.body), its)


def _request_head(endpoint: Endpoint, path: str, key: str) -> bytes:
    return (
        f"POST {endpoint.path}{path} HTTP/1.1\r\nhost: {endpoint.host_header.decode()}\r\n{key}"
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: "
    ).encode()


class _Problem(msgspec.Struct):
    message: str | None = None


class _Problems(msgspec.Struct):
    error: _Problem | str | None = None
    message: str | None = None


def _failure(pool: str, exchange: Exchange, body: bytes) -> HeadraceError:
    """What an answer other than 200 means: what, whose, and whether to try again."""
    said = f"{pool} answered {exchange.status}{_words(body)}"
    if exchange.status == 429 or exchange.status == 503:
        return UpstreamOverloaded(said, retry_after_ms=_retry_after_ms(exchange.headers))
    if exchange.status >= 500 or exchange.status in CONFIGURED_WRONG or exchange.status < 400:
        return UpstreamFailed(said)
    return UpstreamRefused(said, status=exchange.status, body=body)


def _words(body: bytes) -> str:
    try:
        told = msgspec.json.decode(body, type=_Problems)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "."
    words = told.error.message if isinstance(told.error, _Problem) else told.error or told.message
    return f": {words}" if words else "."


def _retry_after_ms(headers: Mapping[bytes, bytes]) -> int | None:
    """`retry-after-ms`, else `retry-after` in seconds; None for a date or nonsense."""
    for name, unit_ms in ((b"retry-after-ms", 1), (b"retry-after", 1_000)):
        try:
            return max(0, int(float(headers[name]) * unit_ms))
        except (KeyError, ValueError, OverflowError):
            continue
    return None
