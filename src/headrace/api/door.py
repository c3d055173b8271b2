"""The hot routes: who asks for what is read once, the gateway answers, and what it says is written in OpenAI's form.

The unstreamed answer is the streamed one, gathered. Every request ends in exactly one report to telemetry, also when it is refused,
when the client leaves, or when we are at fault.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias

from headrace.api.askers import Askers, Keys
from headrace.api.asking import Reader
from headrace.api.errors import answer_for, status_of
from headrace.api.socket import Exchange
from headrace.api.telling import about, cost
from headrace.api.voices import Gathered, Streamed
from headrace.core.ask import Ask, Operation
from headrace.core.clock import MS, SECOND, Clock, Instant
from headrace.core.errors import (
    HeadraceError,
    InternalFailure,
    RateLimited,
    UnsupportedMediaType,
)
from headrace.core.identity import Principal
from headrace.gateway import Gateway, Listener, Visit

LEFT = 499
"""The status that logs and metrics show for a client who hung up; nobody is left to read it."""


class Report(Protocol):
    def __call__(
        self, *, request: str, operation: Operation, ask: Ask | None, visit: Visit | None, status: int, client: str, began: Instant
    ) -> None:
        """A request is over."""
        ...


class Speaker(Listener, Protocol):
    """Who says an answer into an exchange."""

    def finish(self, trailer: bytes) -> None: ...


class Cached(Protocol):
    """Answers that are kept."""

    def concerns(self, headers: Mapping[bytes, bytes], ask: Ask) -> bool: ...

    async def serve(
        self, exchange: Exchange, ask: Ask, visit: Visit, voice: Callable[[Exchange], Speaker], answer: Callable[[Exchange], Awaitable[int]]
    ) -> int: ...


Read: TypeAlias = Callable[[str, Principal, Mapping[bytes, bytes], bytes], Ask]


class Door:
    """The handlers of the hot routes."""

    def __init__(
        self,
        *,
        gateway: Gateway,
        keys: Keys,
        clock: Clock,
        new_id: Callable[[str], str],
        report: Report,
        log: logging.Logger,
        cache: "Cached | None" = None,
    ) -> None:
        self._cache = cache
        self._gateway, self._askers, self._clock, self._new_id = gateway, Askers(keys), clock, new_id
        self._report, self._log = report, log
        self._reader = Reader(gateway, clock)

    async def chat(self, exchange: Exchange) -> None:
        """POST /v1/chat/completions"""
        await self._serve(exchange, "chat", self._reader.chat)

    async def embeddings(self, exchange: Exchange) -> None:
        """POST /v1/embeddings"""
        await self._serve(exchange, "embeddings", self._reader.embeddings)

    async def _serve(self, exchange: Exchange, operation: Operation, read: Read) -> None:
        request, began = self._new_id("req_"), self._clock.instant()
        ask, visit, status = None, None, 200
        try:
            principal = self._askers.of(exchange.headers.get(b"authorization"))
            ask = read(request, principal, exchange.headers, _json_body(exchange))
            visit = self._gateway.admit(ask)
            if self._cache is not None and self._cache.concerns(exchange.headers, ask):
                status = await self._from_cache(self._cache, exchange, ask, visit)
            else:
                status = await self._answer(exchange, ask, visit)
        except HeadraceError as error:
            status = self._refuse(exchange, request, began, error)
        except asyncio.CancelledError:
            status = LEFT
            if not exchange.left:  # the server stops, and the deadline to finish is over
                exchange.cut()
        except Exception:  # noqa: BLE001 -- whatever our fault is, the client gets an answer and the log the cause
            self._log.exception("a fault of ours, the request is answered with 500", extra={"request": request})
            status = self._refuse(exchange, request, began, InternalFailure(f"headrace failed. Its log tells why, under the id {request}."))
        self._report(
            request=request,
            operation=operation,
            ask=ask,
            visit=visit,
            status=LEFT if exchange.left else status,
            client=exchange.client,
            began=began,
        )

    # What is answered.

    async def _from_cache(self, cache: "Cached", exchange: Exchange, ask: Ask, visit: Visit) -> int:
        return await cache.serve(
            exchange, ask, visit, lambda into: self._voice(into, ask, visit), lambda into: self._answer(into, ask, visit)
        )

    def _voice(self, exchange: Exchange, ask: Ask, visit: Visit) -> Streamed | Gathered:
        return (Streamed if ask.stream else Gathered)(exchange, ask, self._created, lambda: self._headers(ask, visit))

    async def _answer(self, exchange: Exchange, ask: Ask, visit: Visit) -> int:
        voice = self._voice(exchange, ask, visit)
        try:
            await self._gateway.answer(ask, visit, voice)
        except HeadraceError as error:
            if not voice.begun:
                raise
            voice.break_off(error)  # the status is long sent; clients raise on a frame with an error
            self._log.warning("a stream broke: %s", error, extra={"request": ask.request})
            return status_of(error)
        voice.finish(f"x-headrace-cost: {cost(visit)}\r\n".encode() if ask.stream else b"")
        return 200

    def _created(self) -> int:
        """When an answer of our own words is made, in seconds of Unix time."""
        return self._clock.moment() // SECOND

    def _refuse(self, exchange: Exchange, request: str, began: Instant, error: HeadraceError) -> int:
        if exchange.response_complete:
            return 500
        status, headers, body = answer_for(error)
        if isinstance(error, RateLimited):
            headers += limits_told(error.left).encode()
        exchange.answer(status, headers + self._common(request, began), body)
        if status >= 500:
            self._log.warning("%s", error, extra={"request": request, "code": error.code})
        return status

    def _headers(self, ask: Ask, visit: Visit) -> bytes:
        told = (
            f"x-request-id: {ask.request}\r\nopenai-version: 2020-10-01\r\n"
            f"openai-processing-ms: {(self._clock.instant() - visit.admitted_at) // MS}\r\n"
            f"openai-organization: {ask.principal.organization}\r\n{about(ask, visit)}{limits_told(visit.left)}"
        )
        return told.encode("latin-1", "replace")

    def _common(self, request: str, began: Instant) -> bytes:
        took_ms = (self._clock.instant() - began) // MS
        return f"x-request-id: {request}\r\nopenai-version: 2020-10-01\r\nopenai-processing-ms: {took_ms}\r\n".encode()


def _json_body(exchange: Exchange) -> bytes:
    kind = exchange.headers.get(b"content-type", b"application/json")
    if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType(f"The request's content type is {kind.decode('latin-1')!r}: send application/json.")
    return exchange.body


def limits_told(left: Mapping[str, tuple[int, int, int]]) -> str:
    """The header lines that say what limits leave."""
    lines = ""
    for name, (limit, remaining, reset_ms) in left.items():
        reset = f"{reset_ms}ms" if reset_ms < 1_000 else duration(reset_ms)
        lines += f"x-ratelimit-limit-{name}: {limit}\r\nx-ratelimit-remaining-{name}: {remaining}\r\nx-ratelimit-reset-{name}: {reset}\r\n"
    return lines


def duration(ms: int) -> str:
    """A span as Go writes it, which is how clients read the resets: `12ms`, `1.5s`, `6m0s`."""
    if ms < 1_000:
        return f"{ms}ms"
    minutes, rest_ms = divmod(ms, 60_000)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
