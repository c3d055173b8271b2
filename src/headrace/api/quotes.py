"""POST /v1/quotes: a request as it would be sent to any route, answered with what it could cost at most. Nothing is held, nobody is asked.

A batch is the sum of its lines, each bounded as its route bounds it, at the price of batches.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.asgi import Asgi
from headrace.api.asking import Reader
from headrace.api.batches import BatchesSettings, check_headers, read_lines, read_new
from headrace.api.foreign import Foreign
from headrace.api.heads import Headers
from headrace.api.lines import AS_JSON, ENDPOINTS, IN_BATCH, MESSAGES
from headrace.api.message_batches import read_requests
from headrace.api.messages import HEADERS as ANTHROPIC_HEADERS
from headrace.api.messages import MessagesManner
from headrace.api.posts import ROOT
from headrace.api.responses_asking import Asking, owner_of
from headrace.api.responses_keeping import Keeper
from headrace.core.ask import Ask
from headrace.core.clock import SECOND
from headrace.core.errors import HeadraceError, InvalidRequest, ModelNotFound, NotFound
from headrace.core.identity import Principal
from headrace.core.money import usd
from headrace.gateway import BudgetLeft, Quote
from headrace.storage import BatchLine, file_of
from headrace.wire.forms import is_form
from headrace.wire.openai_chat import read
from headrace.wire.posts import PATHS

CHAT, EMBEDDINGS, RESPONSES = "/v1/chat/completions", "/v1/embeddings", "/v1/responses"
BATCHES, MESSAGE_BATCHES = "/v1/batches", "/v1/messages/batches"
LINES_AT_ONCE = 64
"""Lines of a batch that are looked at before others have their turn."""
Headed: TypeAlias = Mapping[bytes, bytes]


class _Named(msgspec.Struct, frozen=True):
    """What tells where a request belongs whose sender does not say it."""

    model: str | None = None
    messages: msgspec.Raw = msgspec.Raw()


_named = msgspec.json.Decoder(_Named)


class Quotes:
    """The handler."""

    def __init__(self, *, asgi: Asgi, foreign: Foreign, keeper: Keeper, settings: BatchesSettings) -> None:
        self._asgi, self._gateway, self._clock, self._settings = asgi, foreign.gateway, foreign.clock, settings
        self._archive, self._files = keeper.archive, keeper.files
        self._reader = Reader(foreign.gateway, foreign.clock)
        self._messages = MessagesManner(foreign.gateway, foreign.clock)
        self._asking = Asking(foreign.gateway, foreign.clock, keeper.archive, keeper.files)

    def routes(self) -> list[Route]:
        return [Route("/v1/quotes", self.quote, methods=["POST"])]

    async def quote(self, request: Request) -> Response:
        """POST /v1/quotes"""
        principal, body = self._asgi.principal(request), await self._asgi.body(request)
        headers = _headers(request)
        endpoint = request.query_params.get("endpoint") or self._meant(headers, body)
        if endpoint in (BATCHES, MESSAGE_BATCHES):
            check_headers(request.headers.keys())
            return self._asgi.json(await self._batch(endpoint, principal, headers, body))
        ask = await self._read(endpoint, principal, headers, body)
        return self._asgi.json(_told(endpoint, ask.model, await self._gateway.quote(ask)))

    def _meant(self, headers: Headed, body: bytes) -> str:
        """Where a request belongs, by what it holds and by what its model does."""
        named = _Named() if is_form(headers.get(b"content-type", b"")) else read(_named, body)
        if bytes(named.messages):
            return CHAT
        if named.model is None:
            raise InvalidRequest("Say for which route this is: POST /v1/quotes?endpoint=/v1/responses", param="endpoint")
        profile = self._gateway.world.snapshot.models.get(named.model)
        if profile is None:
            raise ModelNotFound(named.model)
        by_operation = {"embeddings": EMBEDDINGS, "chat": RESPONSES} | {kind: ROOT + path for path, kind in reversed([*PATHS.items()])}
        return next((path for kind, path in by_operation.items() if kind in profile.operations), CHAT)

    async def _read(self, endpoint: str, principal: Principal, headers: Headed, body: bytes) -> Ask:
        id = self._asgi.new_id("req_")
        match endpoint:
            case "/v1/chat/completions":
                return self._reader.chat(id, principal, headers, body)
            case "/v1/embeddings":
                return self._reader.embeddings(id, principal, headers, body)
            case "/v1/messages":
                return await self._messages.read(id, principal, headers, body)
            case "/v1/responses":
                return (await self._asking.read(id, principal, headers, body)).ask
            case _ if endpoint.startswith(ROOT + "/"):
                return self._reader.post(id, principal, headers, endpoint.removeprefix(ROOT), body)
            case _:
                raise InvalidRequest(f"There is no route {endpoint!r} to be quoted for.", param="endpoint")

    async def _batch(self, endpoint: str, principal: Principal, headers: Headed, body: bytes) -> dict[str, Any]:
        total = _Total(endpoint)
        async for line, url in self._lines(endpoint, principal, body):
            if total.lines % LINES_AT_ONCE == 0:
                await asyncio.sleep(0)
            how = {**headers, **(IN_BATCH if url in (CHAT, EMBEDDINGS, RESPONSES, MESSAGES) else AS_JSON)}
            try:
                ask = await self._read(url, principal, how, line.request)
                total.add(line, await self._gateway.quote(ask, fresh=total.lines == 0))
            except InvalidRequest as wrong:
                total.refuse(line, wrong)
        return total.told()

    async def _lines(self, endpoint: str, principal: Principal, body: bytes) -> AsyncIterator[tuple[BatchLine, str]]:
        """Each with the route that answers it. Raises InvalidRequest for what would be no batch."""
        if endpoint == MESSAGE_BATCHES:
            for line in read_requests(body, self._settings.lines_max):
                yield line, MESSAGES
            return
        asked = read_new(body)
        if asked.endpoint not in ENDPOINTS:
            raise InvalidRequest(f"Invalid value for 'endpoint': it is one of {', '.join(ENDPOINTS)}.", param="endpoint")
        file = await self._archive.run(file_of, owner_of(principal), asked.input_file_id, self._clock.moment() // SECOND)
        if file is None:
            raise NotFound("File", asked.input_file_id)
        lines, errors = await asyncio.to_thread(read_lines, self._files, file.id, asked.endpoint, self._settings.lines_max)
        if errors:
            raise InvalidRequest(f"Line {errors[0]['line']}: {errors[0]['message']}", param=errors[0]["param"])
        for line in lines:
            yield line, asked.endpoint


class _Total:
    """What the lines of a batch come to together."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint, self.lines = endpoint, 0
        self._tokens_in = self._tokens_out = 0
        self._pico: int | None = 0
        self._unbounded: str | None = None
        self._why: dict[str, str] | None = None
        self._budgets: dict[tuple[str, str, str], tuple[BudgetLeft, int]] = {}

    def add(self, line: BatchLine, quote: Quote) -> None:
        self.lines += 1
        self._tokens_in += quote.tokens_in_max
        self._tokens_out += quote.tokens_out_max
        pico = quote.cost_max_pico
        self._pico = None if pico is None or self._pico is None else self._pico + pico
        self._unbounded = self._unbounded or quote.unbounded
        for left in quote.budgets:
            name = left.budget, left.instance, left.period
            self._budgets[name] = left, self._budgets.get(name, (left, 0))[1] + (pico or 0)
        if quote.why is not None and self._why is None:
            self._why = {**_refused(quote.why), "custom_id": line.custom_id}

    def refuse(self, line: BatchLine, error: HeadraceError) -> None:
        self.lines += 1
        self._why = self._why or {**_refused(error), "custom_id": line.custom_id}

    def told(self) -> dict[str, Any]:
        short = [(left, pico) for left, pico in self._budgets.values() if left.mode == "hard" and left.free_pico < pico]
        if self._why is None and short:
            left, pico = short[0]
            words = f"All lines together could cost {usd(pico)} USD, and the budget {left.budget} has {usd(left.free_pico)} USD free."
            self._why = {"code": "insufficient_quota", "message": words}
        return {
            "object": "quote",
            "endpoint": self._endpoint,
            "lines": self.lines,
            "tokens_in_max": self._tokens_in,
            "tokens_out_max": self._tokens_out,
            "cost_max_usd": None if self._pico is None else usd(self._pico),
            "unbounded": self._unbounded,
            "fits": self._why is None,
            "refusal": self._why,
            "budgets": [_budget(left) for left, _ in self._budgets.values()],
        }


def _told(endpoint: str, model: str, quote: Quote) -> dict[str, Any]:
    return {
        "object": "quote",
        "endpoint": endpoint,
        "model": model,
        "tokens_in_max": quote.tokens_in_max,
        "tokens_out_max": quote.tokens_out_max,
        "units_max": dict(quote.units_max),
        "cost_max_usd": None if quote.cost_max_pico is None else usd(quote.cost_max_pico),
        "unbounded": quote.unbounded,
        "price": quote.price,
        "capped_by": quote.capped or None,
        "fits": quote.why is None,
        "refusal": None if quote.why is None else _refused(quote.why),
        "budgets": [_budget(one) for one in quote.budgets],
    }


def _budget(one: BudgetLeft) -> dict[str, Any]:
    return {
        "budget": one.budget,
        "instance": one.instance or None,
        "period": one.period or None,
        "mode": one.mode,
        "limit_usd": usd(one.limit_pico),
        "free_usd": usd(one.free_pico),
    }


def _refused(error: HeadraceError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}


def _headers(request: Request) -> Headers:
    """Those that a route would read."""
    read = (b"content-type", *ANTHROPIC_HEADERS)
    return Headers({name: value for name, value in request.headers.raw if name.startswith(b"x-headrace-") or name in read})
