"""What the adapters share whose upstream speaks OpenAI's dialect, as the client does: bytes are relayed, and only what carries usage, an
error or the end is read."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from headrace.core.ask import Ask, Operation
from headrace.core.errors import HeadraceError, NotTranslatable, UpstreamFailed, UpstreamGarbled
from headrace.core.stream import Used, Verbatim
from headrace.core.translation import Change
from headrace.providers.provider import Hearer
from headrace.providers.transport import Endpoint, Exchange
from headrace.wire import openai_embeddings, openai_upstream
from headrace.wire.openai_failure import failure_for
from headrace.wire.openai_fitting import Fitting
from headrace.wire.openai_upstream import StreamReader, may_pass

PATHS: dict[Operation, str] = {"chat": "/chat/completions", "embeddings": "/embeddings"}
NO_NAMES: Mapping[str, str] = {}
NO_DROPS: frozenset[str] = frozenset()
OURS = frozenset({"host", "connection", "content-length", "content-type", "transfer-encoding", "accept", "accept-encoding", "expect"})
"""Headers that the transport says itself, or whose answer it could not read."""

BodyFor: TypeAlias = Callable[[Ask, Hearer], bytes]
"""The request's body as the upstream shall get it. What had to be changed for that is told to the hearer."""


def header_lines(headers: Mapping[str, str]) -> str:
    """Each header on a line of its own, ended as HTTP ends lines. Raises ValueError, without the value, for one that can't be sent."""
    for name, value in headers.items():
        if name.lower() in OURS or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
            raise ValueError(f"the header {name!r} can't be set for a pool")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the value of the header {name!r} has a character that no header may have, such as an end of line")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


def request_head(endpoint: Endpoint, target: str, lines: str) -> bytes:
    """All of a request before its body's length. `target` is the path below the endpoint's own."""
    return (
        f"POST {endpoint.path}{target} HTTP/1.1\r\nhost: {endpoint.host_header.decode()}\r\n{lines}"
        "content-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: "
    ).encode()


def bodies(pool: str, models: Mapping[str, str], rename: Mapping[str, str], drops: frozenset[str]) -> BodyFor:
    """How this pool's bodies are made. With nothing to rename or drop a body costs nothing more than its name of the model."""

    def as_asked(ask: Ask, hearer: Hearer) -> bytes:
        its = models[ask.model]
        if ask.operation == "embeddings":
            return openai_embeddings.body_for(ask.body, ask.model, its)
        if its == ask.model and not ask.stream:
            return ask.body
        return openai_upstream.body_for(ask.body, ask.model, its, tells_usage=not ask.stream or ask.include_usage)

    if not rename and not drops:
        return as_asked
    fitting = Fitting(rename, drops)

    def fitted(ask: Ask, hearer: Hearer) -> bytes:
        body, changes = fitting.fit(ask.body)
        if changes:
            if ask.strict:
                raise _not_as_asked(pool, changes)
            hearer.translated(changes)
        its = models[ask.model]
        if ask.operation == "embeddings":
            return openai_embeddings.body_for(body, ask.model, its)
        tells_usage = not ask.stream or ask.include_usage or not fitting.asks_usage
        return openai_upstream.body_for(body, ask.model, its, tells_usage=tells_usage)

    return fitted


def _not_as_asked(pool: str, changes: Sequence[Change]) -> NotTranslatable:
    what = "; ".join(f"{change.param}: {change.why}" for change in changes)
    return NotTranslatable(f"{pool} can't be asked so, and strict was asked for ({what}).", param=changes[0].param)


async def relay(pool: str, exchange: Exchange, ask: Ask, hearer: Hearer) -> None:
    """Tell `hearer` the upstream's answer as it comes, under the law of `core.stream`. Raises what went wrong upstream."""
    if exchange.status != 200:
        raise failure_for(exchange.status, exchange.headers, await exchange.whole(), pool)
    hear = hearer.hear
    if not ask.stream:
        answer = await exchange.whole()
        said = Used(*openai_upstream.read_answer(answer)) if ask.operation == "chat" else Used(*openai_embeddings.read_answer(answer))
        hear(said)
        hear(Verbatim(answer))
        return
    kind = exchange.headers.get(b"content-type", b"text/event-stream")
    if b"event-stream" not in kind:
        raise _no_stream(pool, kind, await exchange.whole())
    reader = StreamReader(show_usage=ask.include_usage)
    streamed = _Streamed(reader, hearer)
    try:
        await exchange.pour(streamed.take, hearer.gate, streamed.take_chunk)
        reader.close()
    finally:
        hearer.usage = reader.usage  # some tell it in every chunk: a stream that breaks has used so much
    hear(Used(reader.usage, reader.model, reader.tier))
    if reader.held:
        hear(Verbatim(reader.held))


class _Streamed:
    """An answer on its way from the upstream's bytes to the client's. Behind whole frames, a chunk that need not be looked into goes by
    express, which touches little memory: of thousands of streams each has its own, and none of it is in the processor's caches."""

    __slots__ = ("_express", "_hearer", "_reader")

    def __init__(self, reader: StreamReader, hearer: Hearer) -> None:
        self._reader, self._hearer = reader, hearer
        self._express: Callable[[bytes], None] | None = None

    def take(self, piece: bytes) -> None:
        reader, hearer = self._reader, self._hearer
        if ready := reader.feed(piece):
            if (tap := hearer.verbatim) is None:
                hearer.hear(Verbatim(ready))
            else:
                tap.write(ready)
        if reader.failure is not None:
            raise reader.failure
        if reader.partial:
            self._express = None
        elif self._express is None and (tap := hearer.verbatim) is not None:
            self._express = tap.express(self._closed)

    def take_chunk(self, chunk: bytes) -> bool:
        express = self._express
        if express is None or not may_pass(chunk):
            return False
        express(chunk)
        return True

    def _closed(self) -> None:
        self._express = None


def _no_stream(pool: str, kind: bytes, answer: bytes) -> HeadraceError:
    """It was asked to stream and does not: a page of somebody before it, an error under a good status, or a server that can't."""
    try:
        openai_upstream.read_answer(answer)
    except UpstreamGarbled:
        pass
    except HeadraceError as reported:
        return reported
    return UpstreamGarbled(f"{pool} was asked for a stream and answers with {kind.decode(errors='replace')}.")


async def probe(pool: str, endpoint: Endpoint, target: str, lines: str) -> None:
    """Ask for the list of models: every server of this dialect has one, and it costs nothing. Raises UpstreamFailed where it refuses."""
    status, _ = await endpoint.get(target, lines)
    if status >= 500 or status in (401, 403, 429):
        raise UpstreamFailed(f"{pool} answered {status} when it was asked for its models.")
