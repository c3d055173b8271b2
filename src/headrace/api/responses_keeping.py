"""What is kept of a response: itself and what it was asked, where the client wants that, and its place in a conversation."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

import msgspec

from headrace.api.responses_asking import Asked
from headrace.api.responses_voice import Response
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import HeadraceError, StoreUnreachable
from headrace.storage import Archive, Blobs, StoredResponse, add_items, keep_response
from headrace.wire.responses_head import numbered

DAY_S = 86_400
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]


class ResponsesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long responses are kept that their clients want kept; 0 days: none is."""

    retention_days: int = 30

    def __post_init__(self) -> None:
        if self.retention_days < 0:
            raise ValueError("responses.retention_days is 0 (nothing is kept) or more")


class Keeper:
    """`files` are the bytes of the files that requests may name."""

    def __init__(
        self, archive: Archive, files: Blobs, clock: Clock, settings: ResponsesSettings, spawn: Spawn, log: logging.Logger
    ) -> None:
        self.archive, self.files, self._clock, self._settings = archive, files, clock, settings
        self._spawn, self._log = spawn, log
        self._late: set[asyncio.Task[None]] = set()

    def check(self, asked: Asked) -> None:
        """Raises StoreUnreachable where the response shall be kept and could not be: before anybody works on it."""
        if self._keeps(asked) or asked.request.conversation_id is not None:
            self.archive.check()

    async def keep(self, asked: Asked, response: Response) -> None:
        """Keep it if that is wanted, also in its conversation; where the database can't be reached now, as soon as it can."""
        try:
            await self._keep(asked, response, self.archive.run)
        except StoreUnreachable:
            late = self._spawn(self._keep_later(asked, response))
            self._late.add(late)
            late.add_done_callback(self._late.discard)

    async def _keep_later(self, asked: Asked, response: Response) -> None:
        try:
            await self._keep(asked, response, self.archive.insist)
        except HeadraceError as wrong:
            self._log.error("response %s, which was answered, can't be kept: %s", response["id"], wrong)

    async def _keep(self, asked: Asked, response: Response, run: Any) -> None:
        if self._keeps(asked):
            await run(keep_response, asked.owner, self.stored(asked, response))
        await self._placed(asked, response, run)

    def _keeps(self, asked: Asked) -> bool:
        return asked.request.stored and self._settings.retention_days > 0

    async def place(self, asked: Asked, response: Response) -> None:
        """Put what was asked and answered at the end of its conversation."""
        await self._placed(asked, response, self.archive.insist)

    async def _placed(self, asked: Asked, response: Response, run: Any) -> None:
        conversation = asked.request.conversation_id
        if conversation is not None:
            items = [*numbered(asked.own, asked.ask.request[4:]), *response.get("output", ())]
            await run(add_items, asked.owner, conversation, items, asked.ask.rules)

    def stored(self, asked: Asked, response: Response) -> StoredResponse:
        """As it is kept: with what was said before, unless that is found by the response before it."""
        before = [] if asked.chained else asked.before
        own = numbered(asked.own, asked.ask.request[4:])
        now_s = self._clock.moment() // SECOND
        return StoredResponse(
            id=str(response["id"]),
            created_s=asked.created_s,
            expires_s=now_s + self._settings.retention_days * DAY_S,
            status=str(response.get("status") or "completed"),
            background=bool(asked.request.background),
            previous=asked.request.previous_response_id if asked.chained else None,
            body=response,
            input=[*before, *own],
            rules=asked.ask.rules,
        )
