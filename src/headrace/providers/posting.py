"""For adapters whose upstream offers OpenAI's paths beside chats, or paths of its own: what is posted passes as it is, and so does what
comes back; only usage and errors are read of it."""

from headrace.core.ask import Ask
from headrace.core.native import Native
from headrace.core.stream import Used, Verbatim
from headrace.providers.provider import Hearer
from headrace.providers.transport import Endpoint, Exchange
from headrace.wire.openai_failure import failure_for
from headrace.wire.posts import Said, StreamReader, body_for, read_answer


async def post(pool: str, endpoint: Endpoint, target: str, lines: str, ask: Ask, native: Native, its: str, hearer: Hearer) -> None:
    """Ask at `target`, below the endpoint's own path, under the model's name there, and tell `hearer` what comes back."""
    assert native.post is not None, "in this dialect there is one"
    kind, body = body_for(native.post.parts, native.body, its)
    head = (
        f"POST {endpoint.path}{target} HTTP/1.1\r\nhost: {endpoint.host_header.decode()}\r\n{lines}"
        f"content-type: {kind}\r\naccept: */*\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    async with endpoint.exchange([head.encode(), body]) as exchange:
        await _relay(pool, exchange, ask, native, hearer)


async def _relay(pool: str, exchange: Exchange, ask: Ask, native: Native, hearer: Hearer) -> None:
    if exchange.status != 200:
        raise failure_for(exchange.status, exchange.headers, await exchange.whole(), pool)
    said_kind = exchange.headers.get(b"content-type", b"application/octet-stream")
    kind = said_kind.decode("latin-1")
    if b"event-stream" in said_kind:
        await _events(exchange, ask, native, kind, hearer)
    elif b"json" in said_kind or not ask.stream:
        answer = await exchange.whole()
        _settle(read_answer(ask.operation, answer) if b"json" in said_kind else Said(), ask, native, hearer)
        hearer.hear(Verbatim(answer, kind))
    else:
        await exchange.pour(lambda piece: hearer.hear(Verbatim(piece, kind)), hearer.gate)
        _settle(Said(), ask, native, hearer)


async def _events(exchange: Exchange, ask: Ask, native: Native, kind: str, hearer: Hearer) -> None:
    reader = StreamReader(ask.operation)

    def take(piece: bytes) -> None:
        if ready := reader.feed(piece):
            hearer.hear(Verbatim(ready, kind))
        if reader.failure is not None:
            raise reader.failure

    try:
        await exchange.pour(take, hearer.gate)
    finally:
        hearer.usage = reader.said.usage
    _settle(reader.said, ask, native, hearer)
    hearer.hear(Verbatim(reader.close(), kind))


def _settle(said: Said, ask: Ask, native: Native, hearer: Hearer) -> None:
    """What is spoken is counted before it is: its characters are those of the request."""
    units = said.units
    if ask.operation == "speech" and native.post is not None:
        units = (*units, *native.post.units)
    hearer.hear(Used(said.usage, said.model, calls=units))
