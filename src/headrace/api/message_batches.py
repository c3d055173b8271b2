"""Anthropic's Message Batches: many messages in one request, worked on while there is room, at the price of batches.

They are batches like OpenAI's, worked on by the same hands; only what is sent and told has another form, and results are read where the
lines are kept instead of from a file.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from headrace.api.asgi import Asgi
from headrace.api.batches import WINDOW_S, Batches, BatchesSettings, check_headers
from headrace.api.errors import headers_of, status_of
from headrace.api.lines import MESSAGES
from headrace.api.messages import HEADERS, OVERLOADED
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import HeadraceError, InvalidRequest, NotFound
from headrace.core.identity import Principal
from headrace.storage import (
    AnsweredLine,
    Archive,
    BatchLine,
    StoredBatch,
    batch_of,
    batches_of,
    cancel_batch,
    drop_batch,
    keep_batch_with_lines,
    results_of,
    states_of,
)
from headrace.wire.messages_failure import failure_body, type_of
from headrace.wire.openai_chat import read

PREFIX = "msgbatch_"
KEPT_S = 29 * 86_400
"""How long results can be read after a batch was made."""
PAGE, PAGE_MAX = 20, 1_000
READ_AT_ONCE = 500
ENDED = frozenset(("completed", "expired", "cancelled"))
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class _Params(msgspec.Struct, frozen=True):
    model: str


class _Request(msgspec.Struct, frozen=True):
    custom_id: str
    params: msgspec.Raw


class _New(msgspec.Struct, frozen=True):
    requests: list[_Request]


class _Error(msgspec.Struct, frozen=True):
    code: str
    message: str


class _Answered(msgspec.Struct, frozen=True):
    status_code: int
    body: msgspec.Raw


class _Line(msgspec.Struct, frozen=True):
    response: _Answered | None = None
    error: _Error | None = None


_news, _params, _lines = msgspec.json.Decoder(_New), msgspec.json.Decoder(_Params), msgspec.json.Decoder(_Line)


class MessageBatches:
    """The handlers. `batches` does the work."""

    def __init__(
        self,
        *,
        asgi: Asgi,
        archive: Archive,
        clock: Clock,
        batches: Batches,
        settings: BatchesSettings,
        authenticate: Callable[[Mapping[bytes, bytes]], Principal],
    ) -> None:
        self._asgi, self._archive, self._clock, self._batches, self._settings = asgi, archive, clock, batches, settings
        self._authenticate = authenticate

    def routes(self) -> list[Route]:
        return [
            Route("/v1/messages/batches", self._told(self.create), methods=["POST"]),
            Route("/v1/messages/batches", self._told(self.list), methods=["GET"]),
            Route("/v1/messages/batches/{id}", self._told(self.retrieve), methods=["GET"]),
            Route("/v1/messages/batches/{id}", self._told(self.delete), methods=["DELETE"]),
            Route("/v1/messages/batches/{id}/cancel", self._told(self.cancel), methods=["POST"]),
            Route("/v1/messages/batches/{id}/results", self._told(self.results), methods=["GET"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /v1/messages/batches"""
        principal = self._principal(request)
        check_headers(request.headers.keys())
        lines = read_requests(await self._asgi.body(request), self._settings.lines_max)
        now_s, id = self._now_s(), self._asgi.new_id(PREFIX)
        headers = {name.decode(): request.headers[name.decode()] for name in HEADERS if name.decode() in request.headers}
        body = {"id": id, "endpoint": MESSAGES, "created_at": now_s, "expires_at": now_s + WINDOW_S, "headers": headers}
        made = StoredBatch(owner=self._asgi.owner_of(principal), id=id, status="in_progress", principal=principal, body=body)
        await self._archive.run(keep_batch_with_lines, made, lines, now_s)
        self._batches.look()
        return self._json(self._object(request, made, {"pending": len(lines)}))

    async def list(self, request: Request) -> Response:
        """GET /v1/messages/batches"""
        owner = self._asgi.owner_of(self._principal(request))
        found = [one for one, _ in await self._archive.run(batches_of, owner) if one.body["endpoint"] == MESSAGES]
        page, more = _page(found[::-1], request.query_params)
        told = [self._object(request, one, await self._archive.run(states_of, owner, one.id)) for one in page]
        ends = {"first_id": told[0]["id"] if told else None, "last_id": told[-1]["id"] if told else None}
        return self._json({"data": told, "has_more": more, **ends})

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/messages/batches/{id}"""
        return await self._shown(request, await self._held(request))

    async def cancel(self, request: Request) -> Response:
        """POST /v1/messages/batches/{id}/cancel"""
        held = await self._held(request)
        if not await self._archive.run(cancel_batch, held.owner, held.id, self._now_s()) and held.status != "cancelling":
            raise InvalidRequest(f"Batch {held.id} has ended: there is nothing to cancel.")
        return await self._shown(request, await self._held(request))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/messages/batches/{id}"""
        held = await self._held(request)
        if held.status not in ENDED:
            raise InvalidRequest(f"Batch {held.id} is worked on: cancel it first.")
        await self._archive.run(drop_batch, held.owner, held.id)
        return self._json({"id": held.id, "type": "message_batch_deleted"})

    async def results(self, request: Request) -> Response:
        """GET /v1/messages/batches/{id}/results"""
        held = await self._held(request)
        if held.status not in ENDED:
            raise InvalidRequest(f"Batch {held.id} is worked on: its results can be read when it has ended.")
        if self._archived_s(held) <= self._now_s():
            raise NotFound("Results of batch", held.id)

        async def pieces() -> AsyncIterator[bytes]:
            after = -1
            while lines := await self._archive.run(results_of, held.owner, held.id, after=after, count=READ_AT_ONCE):
                after = lines[-1].number
                yield b"".join(map(_result, lines))

        return StreamingResponse(pieces(), media_type="application/x-jsonl", headers=self._common())

    # What they share.

    def _told(self, handler: Handler) -> Handler:
        """The same, whose refusals have the form that Anthropic's clients read."""

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except HeadraceError as error:
                id, status = self._asgi.new_id("req_"), OVERLOADED.get(status_of(error), status_of(error))
                lines = dict(line.split(": ", 1) for line in headers_of(error).decode().splitlines())
                return Response(failure_body(error, status, id), status, {**lines, "request-id": id})

        return handle

    def _principal(self, request: Request) -> Principal:
        return self._authenticate(dict(request.headers.raw))

    async def _held(self, request: Request) -> StoredBatch:
        owner, id = self._asgi.owner_of(self._principal(request)), request.path_params["id"]
        held = await self._archive.run(batch_of, owner, id)
        if held is None or held[0].body["endpoint"] != MESSAGES:
            raise NotFound("Batch", id)
        return held[0]

    async def _shown(self, request: Request, held: StoredBatch) -> Response:
        return self._json(self._object(request, held, await self._archive.run(states_of, held.owner, held.id)))

    def _object(self, request: Request, batch: StoredBatch, states: Mapping[str, int]) -> dict[str, Any]:
        """Counts are told when the batch has ended; until then all of it is being processed."""
        body, ended, archived_s = batch.body, batch.status in ENDED, self._archived_s(batch)
        count, total = (states if ended else {}), sum(states.values())
        over = {"succeeded": "done", "errored": "failed", "canceled": "canceled", "expired": "expired"}
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "canceling" if batch.status == "cancelling" else "in_progress",
            "request_counts": {"processing": 0 if ended else total, **{name: count.get(state, 0) for name, state in over.items()}},
            "created_at": _time(body["created_at"]),
            "expires_at": _time(body["expires_at"]),
            "ended_at": _time(body.get("ended_at")),
            "cancel_initiated_at": _time(body.get("cancelling_at")),
            "archived_at": _time(archived_s) if ended and archived_s <= self._now_s() else None,
            "results_url": f"{request.base_url}v1/messages/batches/{batch.id}/results" if ended else None,
        }

    def _archived_s(self, batch: StoredBatch) -> int:
        return int(batch.body["created_at"]) + KEPT_S

    def _json(self, value: object) -> Response:
        return Response(msgspec.json.encode(value), headers=self._common(), media_type="application/json")

    def _common(self) -> dict[str, str]:
        return {"request-id": self._asgi.new_id("req_")}

    def _now_s(self) -> int:
        return self._clock.moment() // SECOND


def read_requests(body: bytes, lines_max: int) -> list[BatchLine]:
    """The lines of a batch as it is asked for. Raises InvalidJson or InvalidRequest."""
    requests = read(_news, body).requests
    if not 1 <= len(requests) <= lines_max:
        raise InvalidRequest(f"requests: a batch has 1 to {lines_max} of them (batches.lines_max).", param="requests")
    seen: set[str] = set()
    for at, one in enumerate(requests):
        if not _CUSTOM_ID.fullmatch(one.custom_id) or one.custom_id in seen:
            why = "1 to 64 letters, digits, '_' and '-', and no two of a batch are the same"
            raise InvalidRequest(f"requests.{at}.custom_id: it has {why}.", param=f"requests[{at}].custom_id")
        seen.add(one.custom_id)
        try:
            read(_params, bytes(one.params))
        except InvalidRequest as wrong:
            raise InvalidRequest(f"requests.{at}.params: {wrong.message}", param=f"requests[{at}].params") from None
    return [BatchLine(number=at, custom_id=one.custom_id, request=bytes(one.params)) for at, one in enumerate(requests)]


def _page(newest_first: Sequence[StoredBatch], query: Mapping[str, str]) -> tuple[Sequence[StoredBatch], bool]:
    """The part that is asked for, and whether there is more in that direction."""
    said = query.get("limit", str(PAGE))
    if not (said.isascii() and said.isdigit() and len(said) < 6 and 1 <= int(said) <= PAGE_MAX):
        raise InvalidRequest(f"limit: it is 1 to {PAGE_MAX}.", param="limit")
    limit, ids = int(said), [one.id for one in newest_first]
    for name in ("after_id", "before_id"):
        if query.get(name) and query[name] not in ids:
            raise NotFound("Batch", query[name])
    if query.get("before_id"):
        end = ids.index(query["before_id"])
        return newest_first[max(0, end - limit) : end], end > limit
    start = ids.index(query["after_id"]) + 1 if query.get("after_id") else 0
    return newest_first[start : start + limit], len(ids) > start + limit


def _result(line: AnsweredLine) -> bytes:
    told = _lines.decode(line.answer)
    result: dict[str, Any]
    if told.response is not None and told.response.status_code == 200:
        result = {"type": "succeeded", "message": told.response.body}
    elif told.response is not None:
        result = {"type": "errored", "error": told.response.body}
    elif told.error is not None and told.error.code in ("batch_expired", "batch_cancelled"):
        result = {"type": "expired" if told.error.code == "batch_expired" else "canceled"}
    else:
        words = told.error.message if told.error is not None else "What came of it is not known."
        result = {"type": "errored", "error": {"type": "error", "error": {"type": type_of(500), "message": words}, "request_id": None}}
    return msgspec.json.encode({"custom_id": line.custom_id, "result": result}) + b"\n"


def _time(moment_s: int | None) -> str | None:
    """As RFC 3339 writes it."""
    return None if moment_s is None else datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
