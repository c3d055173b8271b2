"""Conversations: items that stay together, which responses go on from and add to."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.asgi import Asgi
from headrace.api.asking import narrowed
from headrace.api.listing import page_of
from headrace.core.clock import SECOND, Clock
from headrace.core.errors import InvalidRequest, NotFound
from headrace.storage import (
    Archive,
    Conversation,
    add_items,
    conversation_of,
    drop_conversation,
    drop_item,
    items_of,
    keep_conversation,
)
from headrace.wire.openai_chat import read
from headrace.wire.responses_head import numbered
from headrace.wire.responses_request import check_metadata

ITEMS_MAX = 20
"""How many items one request may add: OpenAI's own bound."""


class _New(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]] | None = None
    metadata: dict[str, str] | None = None


_news = msgspec.json.Decoder(_New)


class Conversations:
    """The handlers."""

    def __init__(self, asgi: Asgi, archive: Archive, clock: Clock) -> None:
        self._asgi, self._archive, self._clock = asgi, archive, clock

    def routes(self) -> list[Route]:
        one = "/v1/conversations/{id}"
        return [
            Route("/v1/conversations", self.create, methods=["POST"]),
            Route(one, self.retrieve, methods=["GET"]),
            Route(one, self.update, methods=["POST"]),
            Route(one, self.delete, methods=["DELETE"]),
            Route(f"{one}/items", self.list_items, methods=["GET"]),
            Route(f"{one}/items", self.create_items, methods=["POST"]),
            Route(f"{one}/items/{{item}}", self.retrieve_item, methods=["GET"]),
            Route(f"{one}/items/{{item}}", self.delete_item, methods=["DELETE"]),
        ]

    async def create(self, request: Request) -> Response:
        """POST /v1/conversations"""
        owner = self._asgi.owner(request)
        new = read(_news, await self._asgi.body(request) or b"{}")
        check_metadata(new.metadata)
        id = self._asgi.new_id("conv_")
        made = Conversation(id, self._clock.moment() // SECOND, dict(new.metadata or {}), narrowed(dict(request.headers.raw)))
        await self._archive.run(keep_conversation, owner, made, self._items(new))
        return self._asgi.json(_told(made))

    async def retrieve(self, request: Request) -> Response:
        """GET /v1/conversations/{id}"""
        _, held = await self._held(request)
        return self._asgi.json(_told(held))

    async def update(self, request: Request) -> Response:
        """POST /v1/conversations/{id}"""
        owner, held = await self._held(request)
        new = read(_news, await self._asgi.body(request))
        check_metadata(new.metadata)
        changed = msgspec.structs.replace(held, metadata=dict(new.metadata or {}))
        await self._archive.run(keep_conversation, owner, changed, [])
        return self._asgi.json(_told(changed))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/conversations/{id}"""
        owner, held = await self._held(request)
        await self._archive.run(drop_conversation, owner, held.id)
        return self._asgi.json({"id": held.id, "object": "conversation.deleted", "deleted": True})

    async def list_items(self, request: Request) -> Response:
        """GET /v1/conversations/{id}/items"""
        owner, held = await self._held(request)
        items = await self._archive.run(items_of, owner, held.id)
        return self._asgi.json(page_of(items, request.query_params, newest_first=True))

    async def create_items(self, request: Request) -> Response:
        """POST /v1/conversations/{id}/items"""
        owner, held = await self._held(request)
        items = self._items(read(_news, await self._asgi.body(request)))
        if not items:
            raise InvalidRequest("Missing required parameter: 'items'.", param="items")
        await self._archive.run(add_items, owner, held.id, items, narrowed(dict(request.headers.raw)))
        return self._asgi.json(page_of(items, {"limit": str(ITEMS_MAX)}, newest_first=False))

    async def retrieve_item(self, request: Request) -> Response:
        """GET /v1/conversations/{id}/items/{item}"""
        owner, held = await self._held(request)
        item = request.path_params["item"]
        found = [one for one in await self._archive.run(items_of, owner, held.id) if one["id"] == item]
        if not found:
            raise NotFound("Item", item)
        return self._asgi.json(found[0])

    async def delete_item(self, request: Request) -> Response:
        """DELETE /v1/conversations/{id}/items/{item}"""
        owner, held = await self._held(request)
        item = request.path_params["item"]
        if not await self._archive.run(drop_item, owner, held.id, item):
            raise NotFound("Item", item)
        return self._asgi.json(_told(held))

    def _items(self, new: _New) -> list[dict[str, Any]]:
        items = new.items or []
        if len(items) > ITEMS_MAX:
            raise InvalidRequest(f"Invalid 'items': at most {ITEMS_MAX} in one request.", param="items")
        return numbered(items, self._asgi.new_id(""))

    async def _held(self, request: Request) -> tuple[str, Conversation]:
        owner, id = self._asgi.owner(request), request.path_params["id"]
        held = await self._archive.run(conversation_of, owner, id)
        if held is None:
            raise NotFound("Conversation", id)
        return owner, held


def _told(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": conversation.created_s,
        "metadata": conversation.metadata,
    }
