"""Anthropic's Messages: POST /v1/messages and /v1/messages/count_tokens, over every pool.

A pool of Anthropic's dialect is asked in the client's own bytes; any other in a chat that says the same, and the answer's head tells what
that chat does not say as it was asked. Errors and headers have the form that Anthropic's clients read.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec

from headrace.api.askers import Keys, authenticate
from headrace.api.asking import Reader, natively_in_max
from headrace.api.errors import headers_of, status_of
from headrace.api.foreign import Foreign, Voice, json_body
from headrace.api.socket import Exchange
from headrace.api.telling import about
from headrace.api.voices import JSON_HEADERS, STREAM_HEADERS, OfExchange
from headrace.core.ask import Ask
from headrace.core.clock import MS, SECOND, Clock
from headrace.core.errors import HeadraceError, InternalFailure, InvalidApiKey, RateLimited
from headrace.core.identity import Principal
from headrace.core.native import Native
from headrace.core.stream import Said, Verbatim
from headrace.gateway import Gateway, Visit
from headrace.providers import Tap
from headrace.wire.messages_answer import Event, MessageEvents, frame, gathered
from headrace.wire.messages_failure import failure_body
from headrace.wire.messages_request import chat_for
from headrace.wire.messages_tokens import tokens_likely
from headrace.wire.openai_caps import without_max_cost

HEADERS = (b"anthropic-beta", b"anthropic-version")
"""What a server of the dialect must see of the client's headers."""
OVERLOADED = {503: 529}
"""Anthropic's clients know another status for it."""


class Messages:
    """The handlers."""

    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign
        self._manner = MessagesManner(foreign.gateway, foreign.clock)

    async def create(self, exchange: Exchange) -> None:
        """POST /v1/messages"""
        await self._foreign.serve(exchange, self._manner)

    async def count_tokens(self, exchange: Exchange) -> None:
        """POST /v1/messages/count_tokens: an estimate, since only the vendor's own tokeniser knows."""
        request = self._foreign.new_id("req_")
        try:
            self._manner.authenticate(exchange.headers, self._foreign.keys)
            asked = chat_for(json_body(exchange), counting=True)
            self._manner.known(asked.model)
            counted = msgspec.json.encode({"input_tokens": tokens_likely(asked.body)})
            headers = f"request-id: {request}\r\nx-headrace-estimated: true\r\n".encode()
            exchange.answer(200, JSON_HEADERS + headers, counted)
        except HeadraceError as error:
            self._foreign.refuse(exchange, request, error, self._manner)
        except Exception:  # noqa: BLE001 -- whatever our fault is, the client gets an answer and the log the cause
            self._foreign.refuse(exchange, request, self._foreign.fault(request), self._manner)


class MessagesManner:
    """The dialect, at the door."""

    cacheable = True

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._clock, self._reader = gateway, clock, Reader(gateway, clock)

    def authenticate(self, headers: Mapping[bytes, bytes], keys: Keys) -> Principal:
        """By `x-api-key`, as Anthropic's clients send it, or as OpenAI's do."""
        key = headers.get(b"x-api-key")
        if key is None and b"authorization" not in headers:
            raise InvalidApiKey("x-api-key header is required")
        return authenticate(headers.get(b"authorization") if key is None else b"Bearer " + key, keys)

    def known(self, model: str) -> None:
        """Raises ModelNotFound, or InvalidRequest for one that does not chat."""
        self._reader.checked(model)

    async def read(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask:
        asked = chat_for(body)
        ask = self._reader.chat(request, principal, headers, asked.body)
        native = Native(
            dialect="messages",
            body=without_max_cost(body),
            headers=tuple((name.decode(), headers[name].decode("latin-1")) for name in HEADERS if name in headers),
            changes=asked.changes,
            untold=asked.untold,
            param=asked.param,
            relayable=asked.relayable,
            hosted=asked.hosted,
            open_ended=asked.open_ended,
        )
        return msgspec.structs.replace(ask, native=native, tokens_in_max=natively_in_max(ask, native.body))

    def voice(self, exchange: Exchange, ask: Ask, visit: Visit) -> Voice:
        def headers() -> bytes:
            told = f"request-id: {ask.request}\r\nanthropic-organization-id: {ask.principal.organization}\r\n"
            return (told + about(ask, visit) + self._limits(visit.left)).encode("latin-1", "replace")

        return (MessageStreamed if ask.stream else MessageGathered)(exchange, ask, headers)

    def refusal(self, error: HeadraceError, request: str) -> tuple[int, bytes, bytes]:
        status = OVERLOADED.get(status_of(error), status_of(error))
        headers = headers_of(error) + f"request-id: {request}\r\n".encode()
        if isinstance(error, RateLimited):
            headers += self._limits(error.left).encode()
        return status, headers, failure_body(error, status, request)

    def _limits(self, left: Mapping[str, tuple[int, int, int]]) -> str:
        lines = ""
        for name, (limit, remaining, reset_ms) in left.items():
            reset = datetime.fromtimestamp((self._clock.moment() + reset_ms * MS) / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            lines += f"anthropic-ratelimit-{name}-limit: {limit}\r\nanthropic-ratelimit-{name}-remaining: {remaining}\r\n"
            lines += f"anthropic-ratelimit-{name}-reset: {reset}\r\n"
        return lines


class _MessageVoice(OfExchange):
    """What both voices share."""

    verbatim: Tap | None = None
    lost = False

    def __init__(self, exchange: Exchange, ask: Ask, headers: Callable[[], bytes]) -> None:
        self._exchange, self._ask, self._headers = exchange, ask, headers
        self.begun = False
        self.gate = exchange

    async def before_end(self) -> None:
        """Nothing is kept of a message."""


class MessageStreamed(_MessageVoice):
    _relayed = False

    def __init__(self, exchange: Exchange, ask: Ask, headers: Callable[[], bytes]) -> None:
        super().__init__(exchange, ask, headers)
        self._events = MessageEvents(id=f"msg_{ask.request[4:]}", model=ask.model)

    def hear(self, said: Said) -> None:
        if isinstance(said, Verbatim):
            self._relayed, data = True, said.data
        else:
            data = b"" if self._relayed else b"".join(frame(event) for event in self._events.events(said))
        if data:
            self._begin()
            self._exchange.write(data)

    def finish(self, trailer: bytes) -> None:
        self._begin()
        self._exchange.end(trailer)

    def break_off(self, error: HeadraceError) -> None:
        body = failure_body(error, OVERLOADED.get(status_of(error), status_of(error)), self._ask.request)
        self._exchange.write(b"event: error\ndata: %b\n\n" % body)
        self._exchange.end()

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            self._exchange.begin(STREAM_HEADERS + self._headers())


class WholeMessage:
    """A message, gathered from what is said."""

    def __init__(self, ask: Ask) -> None:
        self._events = MessageEvents(id=f"msg_{ask.request[4:]}", model=ask.model)
        self._said: list[Event] = []
        self._whole: list[bytes] = []

    def hear(self, said: Said) -> None:
        if isinstance(said, Verbatim):
            self._whole.append(said.data)
        else:
            self._said += self._events.events(said)

    @property
    def body(self) -> bytes:
        return b"".join(self._whole) or gathered(self._said)


class MessageGathered(_MessageVoice):
    def __init__(self, exchange: Exchange, ask: Ask, headers: Callable[[], bytes]) -> None:
        super().__init__(exchange, ask, headers)
        self._message = WholeMessage(ask)
        self.hear = self._message.hear

    def finish(self, trailer: bytes) -> None:
        self.begun = True
        self._exchange.answer(200, JSON_HEADERS + self._headers(), self._message.body)

    def break_off(self, error: HeadraceError) -> None:
        raise InternalFailure("An answer that is told whole was broken off.") from error  # pragma: no cover -- it has not begun
