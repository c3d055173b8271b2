"""The story of a request on a hot route whose dialect is not OpenAI's chat: the same for each, in the manner of its dialect.

It is that of `api.door`: who asks for what is read once, the gateway answers, and every request ends in one report to telemetry.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from headrace.api.askers import Keys
from headrace.api.door import LEFT, Cached, Report
from headrace.api.errors import status_of
from headrace.api.socket import Exchange
from headrace.api.telling import cost
from headrace.core.ask import Ask, Operation
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, InternalFailure, UnsupportedMediaType
from headrace.core.identity import Principal
from headrace.gateway import Gateway, Listener, Visit


class Voice(Listener, Protocol):
    """How an answer is spoken into an exchange."""

    @property
    def begun(self) -> bool:
        """The client has heard something."""
        ...

    async def before_end(self) -> None:
        """Do what must be done before the client hears the end."""
        ...

    def finish(self, trailer: bytes) -> None: ...

    def break_off(self, error: HeadraceError) -> None:
        """Say what happened where the rest of the answer would have been; raise it where nothing was said."""
        ...


class Manner(Protocol):
    """One dialect, at the door. `cacheable`: the same request may be answered with the same words."""

    cacheable: bool

    def authenticate(self, headers: Mapping[bytes, bytes], keys: Keys) -> Principal: ...

    async def read(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask: ...

    def voice(self, exchange: Exchange, ask: Ask, visit: Visit) -> Voice: ...

    def refusal(self, error: HeadraceError, request: str) -> tuple[int, bytes, bytes]:
        """Status, header lines, body."""
        ...


class Foreign:
    """Serves exchanges in any manner."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        keys: Keys,
        clock: Clock,
        new_id: Callable[[str], str],
        report: Report,
        log: logging.Logger,
        cache: Cached | None = None,
    ) -> None:
        self.cache = cache
        self.gateway, self.keys, self.clock, self.new_id, self.log = gateway, keys, clock, new_id, log
        self.report = report

    async def serve(
        self, exchange: Exchange, manner: Manner, operation: Operation = "chat", body_of: "Callable[[Exchange], bytes] | None" = None
    ) -> None:
        """`body_of` is who takes the body out of the exchange, where that need not be JSON."""
        request, began = self.new_id("req_"), self.clock.instant()
        ask, visit, status = None, None, 200
        try:
            principal = manner.authenticate(exchange.headers, self.keys)
            ask = await manner.read(request, principal, exchange.headers, (body_of or json_body)(exchange))
            visit = self.gateway.admit(ask)
            status = await self._served(exchange, ask, visit, manner)
        except HeadraceError as error:
            status = self.refuse(exchange, request, error, manner)
        except asyncio.CancelledError:
            status = LEFT
            if not exchange.left:  # the server stops, and the deadline to finish is over
                exchange.cut()
        except Exception:  # noqa: BLE001 -- whatever our fault is, the client gets an answer and the log the cause
            status = self.refuse(exchange, request, self.fault(request), manner)
        self.report(
            request=request,
            operation=operation,
            ask=ask,
            visit=visit,
            status=LEFT if exchange.left else status,
            client=exchange.client,
            began=began,
        )

    async def _served(self, exchange: Exchange, ask: Ask, visit: Visit, manner: Manner) -> int:
        if self.cache is None or not manner.cacheable or not self.cache.concerns(exchange.headers, ask):
            return await self.answer(ask, visit, manner.voice(exchange, ask, visit))
        return await self.cache.serve(
            exchange,
            ask,
            visit,
            lambda into: manner.voice(into, ask, visit),
            lambda into: self.answer(ask, visit, manner.voice(into, ask, visit)),
        )

    async def answer(self, ask: Ask, visit: Visit, voice: Voice) -> int:
        """The status, of which the client hears only where its answer has not begun."""
        try:
            await self.gateway.answer(ask, visit, voice)
            await voice.before_end()
        except HeadraceError as error:
            if not voice.begun:
                raise
            voice.break_off(error)
            self.log.warning("a stream broke: %s", error, extra={"request": ask.request})
            return status_of(error)
        voice.finish(f"x-headrace-cost: {cost(visit)}\r\n".encode() if ask.stream else b"")
        return 200

    def refuse(self, exchange: Exchange, request: str, error: HeadraceError, manner: Manner) -> int:
        if exchange.response_complete:
            return 500
        status, headers, body = manner.refusal(error, request)
        exchange.answer(status, headers, body)
        if status >= 500:
            self.log.warning("%s", error, extra={"request": request, "code": error.code})
        return status

    def fault(self, request: str) -> InternalFailure:
        """What a client is told of a fault of ours; the log is told the cause. To be called where the exception is handled."""
        self.log.exception("a fault of ours, the request is answered with 500", extra={"request": request})
        return InternalFailure(f"headrace failed. Its log tells why, under the id {request}.")


def json_body(exchange: Exchange) -> bytes:
    kind = exchange.headers.get(b"content-type", b"application/json")
    if kind.partition(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType(f"The request's content type is {kind.decode('latin-1')!r}: send application/json.")
    return exchange.body
