"""OpenAI's Responses over every pool: made, kept, found again, gone on from.

A pool that speaks the dialect is asked in the client's own bytes; any other in a chat that says the same, and the answer's head tells what
that chat does not say as it was asked. What was said is kept here, so that one response may be another pool's than the one before it.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response as HttpResponse
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute

from headrace.api.askers import Keys, authenticate
from headrace.api.errors import answer_for
from headrace.api.foreign import Foreign, Voice, json_body
from headrace.api.listing import page_of
from headrace.api.responses_asking import Asked, Asking, owner_of
from headrace.api.responses_background import Background
from headrace.api.responses_compacting import compacted
from headrace.api.responses_keeping import Keeper
from headrace.api.responses_sinks import ExchangeSink
from headrace.api.responses_socket import Conversing
from headrace.api.responses_voice import ResponseVoice
from headrace.api.socket import Exchange
from headrace.api.telling import about
from headrace.api.voices import JSON_HEADERS, STREAM_HEADERS
from headrace.core.ask import Ask
from headrace.core.clock import SECOND
from headrace.core.errors import HeadraceError, InvalidRequest, NotFound
from headrace.core.identity import Principal
from headrace.gateway import Visit
from headrace.storage import StoredEvent, StoredResponse, cancel_response, context_of, drop_response, response_of
from headrace.wire.messages_tokens import tokens_likely
from headrace.wire.responses_head import numbered
from headrace.wire.responses_request import chat_for, read_request

_encode = msgspec.json.Encoder().encode


class Responses:
    """The handlers."""

    def __init__(self, foreign: Foreign, keeper: Keeper, background: Background) -> None:
        self._foreign, self.keeper, self._background = foreign, keeper, background
        self._clock, self._archive = foreign.clock, keeper.archive
        self._asking = Asking(foreign.gateway, foreign.clock, keeper.archive, keeper.files)
        self._plain = _Manner(self)
        self._conversing = Conversing(foreign, self._asking, keeper)

    def routes(self) -> list[BaseRoute]:
        return [
            WebSocketRoute("/v1/responses", self._conversing.converse),
            Route("/v1/responses/{id}", self.retrieve, methods=["GET"]),
            Route("/v1/responses/{id}", self.delete, methods=["DELETE"]),
            Route("/v1/responses/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/v1/responses/{id}/input_items", self.input_items, methods=["GET"]),
        ]

    # On the hot lane.

    async def create(self, exchange: Exchange) -> None:
        """POST /v1/responses"""
        manner = _Manner(self)
        if b'"background"' in exchange.body and _in_background(exchange.body):
            await self._guarded(exchange, self._begin)
        else:
            await self._foreign.serve(exchange, manner)

    async def input_tokens(self, exchange: Exchange) -> None:
        """POST /v1/responses/input_tokens: an estimate, since only the vendor's own tokeniser knows."""
        await self._guarded(exchange, self._count)

    async def compact(self, exchange: Exchange) -> None:
        """POST /v1/responses/compact"""
        await self._guarded(exchange, self._compact)

    async def _guarded(self, exchange: Exchange, work: Any) -> None:
        """Answer what fails, whoever's fault it is."""
        request = self._foreign.new_id("req_")
        try:
            principal = self._plain.authenticate(exchange.headers, self._foreign.keys)
            await work(exchange, request, principal)
        except HeadraceError as error:
            self._foreign.refuse(exchange, request, error, self._plain)
        except Exception:  # noqa: BLE001 -- whatever our fault is, the client gets an answer and the log the cause
            self._foreign.refuse(exchange, request, self._foreign.fault(request), self._plain)

    async def _begin(self, exchange: Exchange, request: str, principal: Principal) -> None:
        asked = await self.read(request, principal, exchange.headers, json_body(exchange), stream=True)
        response = await self._background.start(asked, self._foreign.gateway.admit(asked.ask))
        headers = f"x-request-id: {request}\r\n".encode()
        if not asked.request.stream:
            exchange.answer(200, JSON_HEADERS + headers, _encode(response))
            return
        exchange.begin(STREAM_HEADERS + headers)
        async for events in self._background.follow(asked.owner, asked.id, -1):
            exchange.write(b"".join(_frame(one) for one in events))
            if exchange.must_wait:
                await exchange.drained()
        exchange.end()

    async def _count(self, exchange: Exchange, request: str, principal: Principal) -> None:
        body = json_body(exchange)
        asked = read_request(body)
        before = await self._asking.before(asked, owner_of(principal), {})
        chat = chat_for(asked, body, [*before.items, *asked.items], stream=False)
        counted = {"object": "response.input_tokens", "input_tokens": tokens_likely(chat.body)}
        headers = f"x-request-id: {request}\r\nx-headrace-estimated: true\r\n".encode()
        exchange.answer(200, JSON_HEADERS + headers, _encode(counted))

    async def _compact(self, exchange: Exchange, request: str, principal: Principal) -> None:
        asked = await self.read(request, principal, exchange.headers, json_body(exchange), stream=False)
        answer, visit = await compacted(asked, self._foreign.gateway)
        headers = f"x-request-id: {request}\r\n{about(asked.ask, visit)}".encode("latin-1", "replace")
        exchange.answer(200, JSON_HEADERS + headers, _encode(answer))

    async def read(
        self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes, *, stream: bool | None = None
    ) -> Asked:
        return await self._asking.read(request, principal, headers, body, stream=stream)

    def voice(self, exchange: Exchange, asked: Asked, visit: Visit) -> Voice:
        def headers() -> bytes:
            told = f"x-request-id: {asked.ask.request}\r\nopenai-version: 2020-10-01\r\n"
            told += f"openai-organization: {asked.ask.principal.organization}\r\n"
            return (told + about(asked.ask, visit)).encode("latin-1", "replace")

        return ResponseVoice(
            ExchangeSink(exchange, headers),
            asked.events(),
            lambda: self._clock.moment() // SECOND,
            lambda response: self.keeper.keep(asked, response),
            stream=asked.ask.stream,
        )

    # On Starlette.

    async def retrieve(self, request: Request) -> HttpResponse:
        """GET /v1/responses/{id}, also as a stream, from any event on"""
        owner, held = await self._held(request)
        if request.query_params.get("stream") != "true":
            return self._json(held.body)
        if not held.background:
            raise InvalidRequest("Only a response that was made in the background, as a stream, can be streamed again.", param="stream")
        after = request.query_params.get("starting_after", "-1")
        digits = after.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 19):
            raise InvalidRequest("Invalid value for 'starting_after': it is an event's sequence_number.", param="starting_after")

        async def told() -> AsyncIterator[bytes]:
            async for events in self._background.follow(owner, held.id, int(after)):
                yield b"".join(_frame(one) for one in events)

        return StreamingResponse(told(), media_type="text/event-stream", headers=self._common() | {"cache-control": "no-cache"})

    async def delete(self, request: Request) -> HttpResponse:
        """DELETE /v1/responses/{id}"""
        owner, held = await self._held(request)
        await self._archive.run(cancel_response, owner, held.id)
        await self._archive.run(drop_response, owner, held.id)
        return self._json({"id": held.id, "object": "response", "deleted": True})

    async def cancel(self, request: Request) -> HttpResponse:
        """POST /v1/responses/{id}/cancel"""
        owner, held = await self._held(request)
        if not held.background:
            raise InvalidRequest("Only a response that is made in the background can be cancelled.", param="id")
        if held.status in ("queued", "in_progress"):
            await self._archive.run(cancel_response, owner, held.id)
            async for _ in self._background.follow(owner, held.id, -1):
                pass
            _, held = await self._held(request)
        return self._json(held.body)

    async def input_items(self, request: Request) -> HttpResponse:
        """GET /v1/responses/{id}/input_items"""
        owner, held = await self._held(request)
        context = None
        if held.previous is not None:
            context = await self._archive.run(context_of, owner, held.previous, self._clock.moment() // SECOND)
        before = context.items if context is not None else []
        return self._json(page_of(numbered([*before, *held.input], held.id.partition("_")[2]), request.query_params, newest_first=True))

    async def _held(self, request: Request) -> tuple[str, StoredResponse]:
        authorization = request.headers.get("authorization")
        principal = authenticate(authorization.encode("latin-1") if authorization is not None else None, self._foreign.keys)
        owner, id = owner_of(principal), request.path_params["id"]
        held = await self._archive.run(response_of, owner, id, self._clock.moment() // SECOND)
        if held is None:
            raise NotFound("Response", id)
        return owner, held

    def _json(self, value: object) -> HttpResponse:
        return HttpResponse(_encode(value), headers=self._common(), media_type="application/json")

    def _common(self) -> dict[str, str]:
        return {"x-request-id": self._foreign.new_id("req_"), "openai-version": "2020-10-01"}


class _Manner:
    """The dialect, at the door; one for each request, since it holds what that asks."""

    cacheable = False  # each response has an id of its own, by which it is gone on from

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self._asked: Asked | None = None

    def authenticate(self, headers: Mapping[bytes, bytes], keys: Keys) -> Principal:
        return authenticate(headers.get(b"authorization"), keys)

    async def read(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask:
        self._asked = await self._responses.read(request, principal, headers, body)
        self._responses.keeper.check(self._asked)
        return self._asked.ask

    def voice(self, exchange: Exchange, ask: Ask, visit: Visit) -> Voice:
        assert self._asked is not None, "it was read before"
        return self._responses.voice(exchange, self._asked, visit)

    def refusal(self, error: HeadraceError, request: str) -> tuple[int, bytes, bytes]:
        status, headers, body = answer_for(error)
        return status, headers + f"x-request-id: {request}\r\nopenai-version: 2020-10-01\r\n".encode(), body


def _in_background(body: bytes) -> bool:
    try:
        return bool(read_request(body).background)
    except HeadraceError:
        return False  # refused where it is read


def _frame(one: StoredEvent) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (one.type.encode(), one.event)
