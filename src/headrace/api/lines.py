"""One line of a batch, answered as its route would, in the class of batches: placed on idle capacity, and priced so."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from headrace.api.asking import CLASS, Reader
from headrace.api.errors import body_of, status_of
from headrace.api.foreign import Foreign
from headrace.api.messages import MessagesManner, WholeMessage
from headrace.api.responses_asking import Asking
from headrace.api.responses_keeping import Keeper
from headrace.api.responses_voice import ResponseVoice
from headrace.core.ask import Ask, Operation
from headrace.core.clock import SECOND
from headrace.core.errors import (
    HeadraceError,
    InvalidRequest,
    NoCapacity,
    NotReady,
    QueueFull,
    RateLimited,
    StorageFull,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamUnreachable,
)
from headrace.core.identity import Principal
from headrace.core.stream import Said
from headrace.core.unreadable import UNREADABLE
from headrace.gateway import Visit
from headrace.providers import Gate, Tap
from headrace.wire.messages_failure import failure_body
from headrace.wire.openai_answer import AnswerGatherer
from headrace.wire.posts import PATHS
from headrace.wire.responses_answer import Event

MESSAGES = "/v1/messages"
POSTED = ("/v1/moderations", "/v1/images/generations", "/v1/images/edits")
ENDPOINTS = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", *POSTED)
OPERATIONS: Mapping[str, Operation] = {"/v1/embeddings": "embeddings", **{path: PATHS[path.removeprefix("/v1")] for path in POSTED}}
NO_HEADERS: Mapping[bytes, bytes] = {}
IN_BATCH = {CLASS: b"batch"}
AS_JSON = {**IN_BATCH, b"content-type": b"application/json"}
Begun: TypeAlias = list[tuple[Ask, Visit]]
NO_ROOM = (NoCapacity, NotReady, QueueFull, RateLimited, StorageFull, UpstreamOverloaded, UpstreamUnreachable)
"""Nobody has worked on it: it waits for as long as it takes. Who broke while he did is asked TRIES_MAX times."""
TRIES_MAX = 3
WAIT_S, WAIT_S_MAX = 0.5, 60.0
"""How long a line that nobody has room for waits at first, and at most, before it asks again."""


class Line:
    """What came of it: the status that its route would have answered with, and the body."""

    def __init__(self, status: int, request: str, body: bytes) -> None:
        self.status, self.request, self.body = status, request, body


class _Whole:
    """A listener that is always there, and a sink of one whole response."""

    verbatim: Tap | None = None
    lost = left = must_wait = False
    patience_s = 0.0

    def __init__(self, hear: Callable[[Said], None] | None = None) -> None:
        self.gate: Gate = self
        self.body = b""
        self._hear = hear

    async def drained(self) -> None:
        """It always keeps up."""

    def hear(self, said: Said) -> None:
        if self._hear is not None:
            self._hear(said)

    def whole(self, body: bytes) -> None:
        self.body = body

    def tell(self, event: Event) -> None:
        """Only the whole is told."""

    def relay(self, data: bytes) -> None:
        """Only the whole is told."""

    def end(self, trailer: bytes) -> None:
        """Only the whole is told."""


class Lines:
    def __init__(self, foreign: Foreign, keeper: Keeper) -> None:
        self._foreign, self._keeper = foreign, keeper
        self._reader = Reader(foreign.gateway, foreign.clock)
        self._messages = MessagesManner(foreign.gateway, foreign.clock)
        self._asking = Asking(foreign.gateway, foreign.clock, keeper.archive, keeper.files)

    async def answered(
        self, endpoint: str, principal: Principal, body: bytes, until_s: int, headers: Mapping[bytes, bytes] = NO_HEADERS
    ) -> Line:
        """Ask, and again where waiting helps, until `until_s`. `headers` are those of the batch that hold for its lines."""
        wait_s, tries = WAIT_S, 0
        while True:
            line, error = await self._once(endpoint, principal, body, headers)
            if error is None or not error.retryable or self._now_s() + wait_s >= until_s:
                return line
            tries += not isinstance(error, NO_ROOM)
            if tries >= TRIES_MAX:
                return line
            told_s = (error.retry_after_ms or 0) / 1_000
            await asyncio.sleep(min(max(wait_s, told_s), WAIT_S_MAX))
            wait_s = min(2 * wait_s, WAIT_S_MAX)

    async def _once(
        self, endpoint: str, principal: Principal, body: bytes, headers: Mapping[bytes, bytes]
    ) -> tuple[Line, HeadraceError | None]:
        request, began = self._foreign.new_id("req_"), self._foreign.clock.instant()
        asked: Begun = []
        failure: HeadraceError | None = None
        try:
            line = Line(200, request, await self._answer(endpoint, request, principal, {**headers, **IN_BATCH}, body, asked))
        except HeadraceError as error:
            line, failure = _refused(endpoint, request, error), error
        except Exception:  # noqa: BLE001 -- whatever our fault is, the line has an answer and the log the cause
            failure = self._foreign.fault(request)
            line = _refused(endpoint, request, failure)
        ask, visit = asked[0] if asked else (None, None)
        self._foreign.report(
            request=request,
            operation=OPERATIONS.get(endpoint, "chat"),
            ask=ask,
            visit=visit,
            status=line.status,
            client="batch",
            began=began,
        )
        return line, failure

    async def _answer(
        self, endpoint: str, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes, asked: Begun
    ) -> bytes:
        if endpoint == MESSAGES:
            return await self._message(request, principal, headers, body, asked)
        if endpoint == "/v1/responses":
            return await self._response(request, principal, body, asked)
        if endpoint in POSTED:
            ask = self._reader.post(request, principal, AS_JSON, endpoint.removeprefix("/v1"), body)
        else:
            ask = (self._reader.embeddings if endpoint == "/v1/embeddings" else self._reader.chat)(request, principal, IN_BATCH, body)
        visit = self._admitted(ask, asked)
        gatherer = AnswerGatherer(id=f"chatcmpl-{request[4:]}", model=ask.model, created=self._now_s())
        await self._foreign.gateway.answer(ask, visit, _Whole(gatherer.hear))
        return gatherer.answer() if endpoint not in POSTED else _whole_json(gatherer.answer())

    async def _message(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes, asked: Begun) -> bytes:
        ask = await self._messages.read(request, principal, headers, body)
        visit, message = self._admitted(ask, asked), WholeMessage(ask)
        await self._foreign.gateway.answer(ask, visit, _Whole(message.hear))
        return message.body

    async def _response(self, request: str, principal: Principal, body: bytes, asked: Begun) -> bytes:
        response = await self._asking.read(request, principal, IN_BATCH, body)
        if response.request.background:
            raise InvalidRequest("A line of a batch is answered whole: leave out 'background'.", param="background")
        visit, sink = self._admitted(response.ask, asked), _Whole()
        voice = ResponseVoice(sink, response.events(), self._now_s, lambda told: self._keeper.keep(response, told), stream=False)
        await self._foreign.gateway.answer(response.ask, visit, voice)
        await voice.before_end()
        voice.finish(b"")
        return sink.body

    def _admitted(self, ask: Ask, asked: Begun) -> Visit:
        if ask.stream:
            raise InvalidRequest("A line of a batch is answered whole: leave out 'stream'.", param="stream")
        visit = self._foreign.gateway.admit(ask)
        asked.append((ask, visit))
        return visit

    def _now_s(self) -> int:
        return self._foreign.clock.moment() // SECOND


def _refused(endpoint: str, request: str, error: HeadraceError) -> Line:
    status = status_of(error)
    return Line(status, request, failure_body(error, status, request) if endpoint == MESSAGES else body_of(error))


def _whole_json(body: bytes) -> bytes:
    """The same, which is to stand in a line of JSON."""
    try:
        msgspec.json.decode(body)
    except UNREADABLE:
        raise UpstreamGarbled("The upstream answered a line of a batch with something that is not JSON.") from None
    return body


def line_answer(line: Line) -> bytes:
    """A line's `response` and `error`, as a batch's output has them: on one line, however the upstream writes its JSON."""
    body = line.body.replace(b"\r", b" ").replace(b"\n", b" ")  # JSON has neither but between its values
    response = {"status_code": line.status, "request_id": line.request, "body": msgspec.Raw(body)}
    return msgspec.json.encode({"response": response, "error": None})
