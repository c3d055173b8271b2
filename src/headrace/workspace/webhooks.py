"""Addresses that are told of what happens to one's runs, over HTTP: made, listed, tried, taken back, and what each was told."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.core.clock import Clock
from headrace.core.errors import InvalidRequest, NotFound
from headrace.storage import LocalArchive, Subscriber, Telling, drop_subscriber, keep_subscriber, subscribers_of, tell_one, tellings_of
from headrace.wire.hooks import secret_from
from headrace.workspace.bodies import as_json, read_body
from headrace.workspace.telling import TEST, Teller, check_address, check_kinds, message
from headrace.workspace.visitors import Visitors

ASKED_BYTES_MAX: Final = 16_384


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """`events` of none are all."""

    url: str
    events: tuple[str, ...] = ()


class Webhooks:
    """The handlers. `private` says whether an address may be on this machine's networks; `new_token` gives the bytes of a secret."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        archive: LocalArchive,
        teller: Teller,
        clock: Clock,
        new_id: Callable[[str], str],
        new_token: Callable[[], bytes],
        private: Callable[[], bool],
    ) -> None:
        self._visitors, self._archive, self._teller, self._clock = visitors, archive, teller, clock
        self._new_id, self._new_token, self._private = new_id, new_token, private

    def routes(self) -> list[Route]:
        at = "/workspace/api/webhooks"
        return [
            Route(at, self.webhooks, methods=["GET", "POST"]),
            Route(f"{at}/{{webhook}}", self.webhook, methods=["GET", "DELETE"]),
            Route(f"{at}/{{webhook}}/test", self.test, methods=["POST"]),
        ]

    async def webhooks(self, request: Request) -> Response:
        """GET mine. POST: a new one, whose secret is shown this once."""
        visitor = await self._visitors.of_either(request)
        if request.method == "GET":
            return as_json({"webhooks": [_told(one) for one in await self._archive.run(subscribers_of, visitor.owner)]})
        asked = await read_body(request, NewWebhook, ASKED_BYTES_MAX)
        fresh = Subscriber(
            id=self._new_id("whk_"),
            owner=visitor.owner,
            url=check_address(asked.url, private=self._private()),
            secret=secret_from(self._new_token()),
            kinds=check_kinds(asked.events),
            created=self._clock.moment(),
        )
        if not await self._archive.run(keep_subscriber, fresh):
            raise InvalidRequest("You have too many webhooks: take one back first.")
        return as_json({**_told(fresh), "secret": fresh.secret}, 201)

    async def webhook(self, request: Request) -> Response:
        """GET one, with what it was told. DELETE: it is told nothing any more."""
        visitor, id = await self._visitors.of_either(request), request.path_params["webhook"]
        if request.method == "DELETE":
            if not await self._archive.run(drop_subscriber, visitor.owner, id):
                raise NotFound("Webhook", id)
            return Response(status_code=204)
        held = await self._held(visitor.owner, id)
        return as_json({**_told(held), "deliveries": [told_of(one) for one in await self._archive.run(tellings_of, id)]})

    async def test(self, request: Request) -> Response:
        """POST: tell it something, so that one sees whether it hears."""
        visitor, id = await self._visitors.of_either(request), request.path_params["webhook"]
        await self._held(visitor.owner, id)
        telling = test_message(id, self._new_id("test_"), self._clock.moment())
        await self._archive.run(tell_one, telling)
        self._teller.ring()
        return as_json({"id": telling.id}, 202)

    async def _held(self, owner: str, id: str) -> Subscriber:
        found = [one for one in await self._archive.run(subscribers_of, owner) if one.id == id]
        if not found:
            raise NotFound("Webhook", id)
        return found[0]


def test_message(subscriber: str, happening: str, now: int) -> Telling:
    """A message that says nothing but that it came."""
    body = message(TEST, now, {"says": "headrace can reach you."})
    return Telling(id=f"msg_{happening}_{subscriber}", subscriber=subscriber, kind=TEST, body=body, created=now)


def told_of(telling: Telling) -> dict[str, Any]:
    """One message as its log shows it."""
    state = "heard" if telling.delivered is not None else "given up" if telling.next_try is None else "waits"
    return {
        "id": telling.id,
        "event": telling.kind,
        "created": telling.created,
        "state": state,
        "tries": telling.tries,
        "next_try": telling.next_try,
        "delivered": telling.delivered,
        "failure": telling.failure,
    }


def _told(subscriber: Subscriber) -> dict[str, Any]:
    return {"id": subscriber.id, "url": subscriber.url, "events": subscriber.kinds, "created": subscriber.created}
