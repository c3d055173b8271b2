"""Upstreams that speak Anthropic's Messages: Anthropic itself, and servers that are compatible with it.

A client who speaks OpenAI's dialect is translated, and the answer is always streamed; who wants it whole gathers it. A client of this
dialect is asked for as it asks: bytes are relayed.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

from headrace.core.ask import Ask
from headrace.core.clock import Clock
from headrace.core.errors import NotTranslatable, UpstreamCut, UpstreamFailed
from headrace.core.native import Native
from headrace.core.stream import Verbatim
from headrace.core.translation import Change
from headrace.providers.provider import Hearer
from headrace.providers.transport import Endpoint, Exchange
from headrace.wire.anthropic_failure import failure_for
from headrace.wire.anthropic_generations import generation_of
from headrace.wire.anthropic_request import request_for
from headrace.wire.anthropic_stream import StreamReader, read_whole
from headrace.wire.messages_relay import MessageRelay, body_for
from headrace.wire.openai_chat import read_request

VERSION = "2023-06-01"
TOKENS_OUT_MAX = 16_384
"""How long an answer may be where neither the client nor the settings say so: this dialect must be told."""
NO_LIMITS: dict[str, int] = {}


class AnthropicProvider:
    """One pool of endpoints with one key; requests go round the endpoints.

    `tokens_out_max` is the longest answer of a model, by our name for it, where the client names no length. `bearer` sends the key as
    compatible servers of other makers want it. `betas` are names for the header `anthropic-beta`. `inference_geo` is where requests say
    that they must be computed: a pool's jurisdiction may rest on it. An endpoint is what stands before `/v1/messages`, with or without
    the `/v1`.
    """

    def __init__(
        self,
        *,
        name: str,
        endpoints: Sequence[Endpoint],
        models: Mapping[str, str],
        api_key: str | None,
        clock: Clock,
        bearer: bool = False,
        betas: Sequence[str] = (),
        inference_geo: str | None = None,
        tokens_out_max: Mapping[str, int] = NO_LIMITS,
    ) -> None:
        self._name, self._models, self._clock, self._tokens_out_max = name, models, clock, tokens_out_max
        self._inference_geo = inference_geo
        self._betas, self._endpoints = tuple(betas), tuple(endpoints)
        self._lines = _own_lines(api_key, bearer)
        self._turns = cycle([(endpoint, _request_head(endpoint, self._lines, self._betas)) for endpoint in endpoints])

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        if ask.operation != "chat":
            raise NotTranslatable(f"{self._name} speaks Anthropic's dialect, which serves chats only.")
        if ask.native is not None:
            await self._relay(ask, ask.native, hearer)
            return
        longest = self._tokens_out_max.get(ask.model, TOKENS_OUT_MAX) if ask.tokens_out_max is None else ask.tokens_out_max
        asked, its = read_request(ask.body), self._models[ask.model]
        translation = request_for(asked, model=its, tokens_out_max=longest, inference_geo=self._inference_geo)
        if translation.changes:
            if ask.strict:
                raise self._lossy(translation.changes)
            hearer.translated(translation.changes)
        body = translation.body
        endpoint, head = next(self._turns)
        if translation.betas:
            head = _request_head(endpoint, self._lines, tuple(dict.fromkeys(self._betas + translation.betas)))
        reader = StreamReader(generation_of(its).format)
        async with endpoint.exchange([b"%b%d\r\n\r\n" % (head, len(body)), body]) as exchange:
            if exchange.status != 200:
                told = await exchange.whole()
                raise failure_for(exchange.status, exchange.headers, told, self._name, now=self._clock.moment())
            await _pour(exchange, reader, hearer, longest, translation.changes)

    async def _relay(self, ask: Ask, native: Native, hearer: Hearer) -> None:
        """A request in this dialect, and its answer, as they are."""
        body = body_for(native.body, ask.model, self._models[ask.model], self._inference_geo)
        wished = tuple(name.strip() for header, value in native.headers if header == "anthropic-beta" for name in value.split(","))
        endpoint, head = next(self._turns)
        if wished:
            head = _request_head(endpoint, self._lines, tuple(dict.fromkeys(self._betas + wished)))
        async with endpoint.exchange([b"%b%d\r\n\r\n" % (head, len(body)), body]) as exchange:
            if exchange.status != 200:
                told = await exchange.whole()
                raise failure_for(exchange.status, exchange.headers, told, self._name, now=self._clock.moment())
            if ask.stream:
                await _pass(exchange, hearer, ask.tokens_out_max or TOKENS_OUT_MAX)
            else:
                answer = await exchange.whole()
                hearer.hear(read_whole(answer))
                hearer.hear(Verbatim(answer))

    async def probe(self) -> None:
        """The list of models, which costs nothing. A compatible server that has none is alive all the same."""
        for endpoint in self._endpoints:
            status, _ = await endpoint.get(_path(endpoint, "/models"), self._lines + _beta_line(self._betas))
            if status >= 500 or status in (401, 403, 429):
                raise UpstreamFailed(f"{self._name} answered {status} when it was asked for its models.")

    def _lossy(self, changes: Sequence[Change]) -> NotTranslatable:
        named = "; ".join(f"'{change.param}' would be {change.what}, since {change.why}" for change in changes)
        return NotTranslatable(f"{self._name} can't say the request as it is, which strict mode asks for: {named}.", param=changes[0].param)


async def _pour(exchange: Exchange, reader: StreamReader, hearer: Hearer, tokens_out_max: int, changes: tuple[Change, ...]) -> None:
    """Say the stream as it comes, before it what the upstream left out of the prompt. What is used is known from its first event on,
    roughly, and at its end."""
    told = False

    def take(piece: bytes) -> None:
        nonlocal told
        said = reader.feed(piece)
        if reader.changes and not told:
            told = True
            hearer.translated((*changes, *reader.changes))
        hearer.usage_likely = reader.spent(tokens_out_max)
        hearer.usage = reader.usage if reader.done else None
        for one in said:
            hearer.hear(one)
        if reader.failure is not None:
            raise reader.failure

    try:
        await exchange.pour(take, hearer.gate)
    except UpstreamCut:
        if not reader.done:  # else the answer was whole, and its connection is no matter
            raise
    for one in reader.close():
        hearer.hear(one)


async def _pass(exchange: Exchange, hearer: Hearer, tokens_out_max: int) -> None:
    """Hand the stream on as it comes, and its end when what it used is booked."""
    relay = MessageRelay()

    def take(piece: bytes) -> None:
        passed = relay.feed(piece)
        hearer.usage_likely = relay.spent(tokens_out_max)
        hearer.usage = relay.usage if relay.done else None
        if passed:
            hearer.hear(Verbatim(passed))
        if relay.failure is not None:
            raise relay.failure

    try:
        await exchange.pour(take, hearer.gate)
    except UpstreamCut:
        if not relay.done:
            raise
    relay.close()
    hearer.hear(relay.used)
    hearer.hear(Verbatim(relay.held))


def _own_lines(api_key: str | None, bearer: bool) -> str:
    lines = f"anthropic-version: {VERSION}\r\n"
    if api_key is not None:
        lines += f"authorization: Bearer {api_key}\r\n" if bearer else f"x-api-key: {api_key}\r\n"
    return lines


def _beta_line(betas: Sequence[str]) -> str:
    return f"anthropic-beta: {','.join(betas)}\r\n" if betas else ""


def _path(endpoint: Endpoint, what: str) -> str:
    """`what` as it stands behind the endpoint's own path."""
    return what if endpoint.path.endswith("/v1") else f"/v1{what}"


def _request_head(endpoint: Endpoint, lines: str, betas: Sequence[str]) -> bytes:
    return (
        f"POST {endpoint.path}{_path(endpoint, '/messages')} HTTP/1.1\r\nhost: {endpoint.host_header.decode()}\r\n{lines}"
        f"{_beta_line(betas)}content-type: application/json\r\naccept: text/event-stream\r\ncontent-length: "
    ).encode()
