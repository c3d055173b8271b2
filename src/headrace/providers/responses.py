"""For adapters whose upstream speaks OpenAI's Responses, as the client does: bytes are relayed, and only the response's end is read."""

from headrace.core.ask import Ask
from headrace.core.errors import UpstreamCut, UpstreamGarbled
from headrace.core.stream import Verbatim
from headrace.providers.provider import Hearer
from headrace.providers.transport import Exchange
from headrace.wire.openai_failure import failure_for
from headrace.wire.responses_relay import ResponseRelay, read_whole


async def relay_response(pool: str, exchange: Exchange, ask: Ask, hearer: Hearer) -> None:
    """Tell `hearer` the upstream's response as it comes, under the law of `core.stream`. Raises what went wrong upstream."""
    if exchange.status != 200:
        raise failure_for(exchange.status, exchange.headers, await exchange.whole(), pool)
    if not ask.stream:
        answer = await exchange.whole()
        hearer.hear(read_whole(answer))
        hearer.hear(Verbatim(answer))
        return
    kind = exchange.headers.get(b"content-type", b"text/event-stream")
    if b"event-stream" not in kind:
        read_whole(await exchange.whole())
        raise UpstreamGarbled(f"{pool} was asked for a stream and answers with {kind.decode(errors='replace')}.")
    relay = ResponseRelay()

    def take(piece: bytes) -> None:
        passed = relay.feed(piece)
        if passed:
            hearer.hear(Verbatim(passed))
        if relay.failure is not None:
            raise relay.failure

    try:
        await exchange.pour(take, hearer.gate)
    except UpstreamCut:
        if not relay.done:  # else the response was whole, and its connection is no matter
            raise
    relay.close()
    hearer.hear(relay.used)
    hearer.hear(Verbatim(relay.held))
