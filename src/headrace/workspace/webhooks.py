"""Addresses that are told of what happens to one's runs, over HTTP: made, listed, tried, taken back, and what each was told."""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.core.clock import Clock
from headrace.core.errors import Conflict, InvalidRequest, NotFound
from headrace.storage import (
    LocalArchive,
    Subscriber,
    Telling,
    drop_subscriber,
    keep_subscriber,
    pause_subscriber,
    subscribers_of,
    tell_again,
    tell_one,
    tellings_of,
)
from headrace.wire.hooks import secret_from
from headrace.workspace.bodies import Resting, as_json, read_body
from headrace.workspace.telling import KINDS, TEST, Teller, check_address, check_kinds, message
from headrace.workspace.visitors import Visitor, Visitors

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
            Route(f"{at}/{{webhook}}", self.webhook, methods=["GET", "PATCH", "DELETE"]),
            Route(f"{at}/{{webhook}}/test", self.test, methods=["POST"]),
            Route(f"{at}/{{webhook}}/deliveries/{{delivery}}", self.again, methods=["POST"]),
        ]

    async def webhooks(self, request: Request) -> Response:
        """GET mine, and who administers sees those of the terminal, too. POST: a new one, whose secret is shown this once."""
        visitor = await self._visitors.of_either(request)
        if request.method == "GET":
            return as_json({"webhooks": [_told(one) for one in await self._seen(visitor)], "events": KINDS})
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
        """GET one, with what it was told. PATCH: let it rest, or go on. DELETE: it is told nothing any more."""
        held = await self._held(request)
        if request.method == "DELETE":
            await self._archive.run(drop_subscriber, held.owner, held.id)
            return Response(status_code=204)
        if request.method == "PATCH":
            since = self._clock.moment() if (await read_body(request, Resting)).paused else None
            await self._archive.run(pause_subscriber, held.owner, held.id, since)
            self._teller.ring()
            held = await self._held(request)
        return as_json({**_told(held), "deliveries": [told_of(one) for one in await self._archive.run(tellings_of, held.id)]})

    async def test(self, request: Request) -> Response:
        """POST: tell it something, so that one sees whether it hears."""
        held = self._awake(await self._held(request))
        telling = test_message(held.id, self._new_id("test_"), self._clock.moment())
        await self._archive.run(tell_one, telling)
        self._teller.ring()
        return as_json({"id": telling.id}, 202)

    async def again(self, request: Request) -> Response:
        """POST: tell it a message of its log once more, now."""
        held, id = self._awake(await self._held(request)), request.path_params["delivery"]
        if not await self._archive.run(tell_again, held.id, id, self._clock.moment()):
            raise NotFound("Delivery", id)
        self._teller.ring()
        return as_json({"id": id}, 202)

    def _awake(self, held: Subscriber) -> Subscriber:
        if held.paused is not None:
            raise Conflict("This webhook is paused: let it go on first.")
        return held

    async def _seen(self, visitor: Visitor) -> list[Subscriber]:
        everybodys = await self._archive.run(subscribers_of, "") if visitor.admin else []
        return [*await self._archive.run(subscribers_of, visitor.owner), *everybodys]

    async def _held(self, request: Request) -> Subscriber:
        """The one that is asked for. Raises NotFound where this visitor has none of this name."""
        visitor, id = await self._visitors.of_either(request), request.path_params["webhook"]
        found = next((one for one in await self._seen(visitor) if one.id == id), None)
        if found is None:
            raise NotFound("Webhook", id)
        return found


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
    return {
        "id": subscriber.id,
        "url": subscriber.url,
        "events": subscriber.kinds,
        "created": subscriber.created,
        "paused": subscriber.paused,
        "terminal": not subscriber.owner,
    }
