"""The console's HTTP door: what operators look at, as plain values. Only who administers is answered, but for one's own requests."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.core.clock import SECOND, Clock, Moment
from headrace.core.errors import InvalidRequest, NotAllowed
from headrace.workspace.bodies import as_json, read_body
from headrace.workspace.visitors import Visitor, Visitors

HOUR: Final = 3_600 * SECOND
WIDTHS: Final[Mapping[str, int]] = {"hour": HOUR, "day": 24 * HOUR}
BUCKETS_MAX: Final = 1_500
REQUESTS_MAX: Final = 500
INTEGER_MAX: Final = 2**63 - 1
"""The largest that a database holds; a moment in nanoseconds has nineteen digits."""


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """A key to be made. What is left out is not limited."""

    name: str
    organization: str
    project: str
    traffic_class: str = "realtime"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Facts(Protocol):
    """What is known; each is asked in a thread. Amounts are US dollars as text, moments Unix nanoseconds."""

    def now(self, now: Moment) -> dict[str, Any]:
        """The last hour by the minute, today's money, what is unhealthy."""
        ...

    def requests(self, owner: tuple[str, str] | None, limit: int, before: Moment, only: Mapping[str, str]) -> list[dict[str, Any]]:
        """The latest requests, of one organisation and project or of all."""
        ...

    def usage(self, group: str, since: Moment, until: Moment, width: int) -> list[dict[str, Any]]:
        """Usage and cost in buckets of `width`, by one dimension. Raises ValueError for one that is not known."""
        ...

    def budgets(self, now: Moment) -> list[dict[str, Any]]: ...

    def keys(self) -> list[dict[str, Any]]: ...

    def create_key(self, asked: NewKey) -> dict[str, Any]:
        """A new key, with its secret this once. Raises InvalidRequest."""
        ...

    def revoke_key(self, key: str) -> None: ...

    def prices(self, now: Moment) -> list[dict[str, Any]]: ...

    def audit(self) -> dict[str, Any]:
        """Whether the ledger is whole, and the hash over all of it."""
        ...


class Console:
    """The handlers."""

    def __init__(self, visitors: Visitors, facts: Facts, clock: Clock) -> None:
        self._visitors, self._facts, self._clock = visitors, facts, clock

    def routes(self) -> list[Route]:
        at = "/workspace/api/console"
        return [
            Route(f"{at}/now", self.now),
            Route(f"{at}/requests", self.requests),
            Route(f"{at}/usage", self.usage),
            Route(f"{at}/budgets", self.budgets),
            Route(f"{at}/keys", self.keys, methods=["GET", "POST"]),
            Route(f"{at}/keys/{{key}}", self.key, methods=["DELETE"]),
            Route(f"{at}/prices", self.prices),
            Route(f"{at}/audit", self.audit),
        ]

    async def now(self, request: Request) -> Response:
        """GET the last hour, and what wants attention."""
        await administrator(self._visitors, request)
        return as_json(await asyncio.to_thread(self._facts.now, self._clock.moment()))

    async def requests(self, request: Request) -> Response:
        """GET the latest requests: all of them, or for who does not administer those of the own project."""
        visitor = await self._visitors.of(request)
        principal = visitor.principal
        owner = None if visitor.admin else (principal.organization, principal.project)
        before = _whole(request, "before", self._clock.moment() + SECOND)
        limit = min(_whole(request, "limit", 100), REQUESTS_MAX)
        only = {name: value for name in ("model", "pool", "class") if (value := request.query_params.get(name))}
        return as_json({"requests": await asyncio.to_thread(self._facts.requests, owner, limit, before, only)})

    async def usage(self, request: Request) -> Response:
        """GET usage and cost by the hour or day, by one dimension."""
        await administrator(self._visitors, request)
        now = self._clock.moment()
        width = WIDTHS.get(request.query_params.get("width", "hour"))
        if width is None:
            raise InvalidRequest(f"Invalid value for 'width': it is {' or '.join(WIDTHS)}.", param="width")
        since, until = _whole(request, "since", now - 24 * HOUR), _whole(request, "until", now)
        if (until - since) // width > BUCKETS_MAX:
            raise InvalidRequest(f"At most {BUCKETS_MAX} buckets are told at once: ask for less time, or for days.", param="since")
        try:
            rows = await asyncio.to_thread(self._facts.usage, request.query_params.get("by", "model"), since, until, width)
        except ValueError as wrong:
            raise InvalidRequest(f"{wrong}".capitalize() + ".", param="by") from None
        return as_json({"width": width, "since": since, "until": until, "rows": rows})

    async def budgets(self, request: Request) -> Response:
        """GET every budget that runs, and how it stands."""
        await administrator(self._visitors, request)
        return as_json({"budgets": await asyncio.to_thread(self._facts.budgets, self._clock.moment())})

    async def keys(self, request: Request) -> Response:
        """GET all keys. POST: a new one."""
        await administrator(self._visitors, request)
        if request.method == "GET":
            return as_json({"keys": await asyncio.to_thread(self._facts.keys)})
        asked = await read_body(request, NewKey)
        return as_json(await asyncio.to_thread(self._facts.create_key, asked), 201)

    async def key(self, request: Request) -> Response:
        """DELETE: revoke a key, and those that were minted from it."""
        await administrator(self._visitors, request)
        await asyncio.to_thread(self._facts.revoke_key, request.path_params["key"])
        return Response(status_code=204)

    async def prices(self, request: Request) -> Response:
        """GET what is charged now for each model that can be asked."""
        await administrator(self._visitors, request)
        return as_json({"prices": await asyncio.to_thread(self._facts.prices, self._clock.moment())})

    async def audit(self, request: Request) -> Response:
        """GET whether the ledger is whole."""
        await administrator(self._visitors, request)
        return as_json(await asyncio.to_thread(self._facts.audit))


async def administrator(visitors: Visitors, request: Request) -> Visitor:
    """Who makes this request, and administers. Raises InvalidApiKey, NotAllowed."""
    visitor = await visitors.of(request)
    if not visitor.admin:
        raise NotAllowed("The console is for those who administer: sign in with the development key, or a [[key]] with admin = true.")
    return visitor


def _whole(request: Request, name: str, default: int) -> int:
    said = request.query_params.get(name)
    if said is None:
        return default
    if not (said.isascii() and said.isdigit() and len(said) < 20 and int(said) <= INTEGER_MAX):
        raise InvalidRequest(f"Invalid value for '{name}': it is a whole number, and no larger than {INTEGER_MAX}.", param=name)
    return int(said)
