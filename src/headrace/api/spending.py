"""OpenAI's spend limits and spend alerts, for administrators: what an organisation or a project may spend in a month, and when to be told.

A limit is a budget and so is each alert: one code enforces, counts and tells them all. Amounts are cents.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.askers import Keys, administrator
from headrace.api.listing import page_of
from headrace.core.errors import InvalidRequest, NotFound
from headrace.core.identity import Principal

CENTS_MAX = 10**14
RECIPIENTS_MAX, ADDRESS_SIZE_MAX = 32, 254
Cents = Annotated[int, msgspec.Meta(ge=1, le=CENTS_MAX)]
Address = Annotated[str, msgspec.Meta(min_length=3, max_length=ADDRESS_SIZE_MAX, pattern="^[^@\\s]+@[^@\\s]+$")]


class Spender(msgspec.Struct, frozen=True):
    """Whose spending: an organisation's, or that of one project of it."""

    organization: str
    project: str | None


class SpendLimit(msgspec.Struct, frozen=True, kw_only=True):
    """`enforcing`: requests are refused; otherwise it only counts."""

    cents: int
    interval: str
    enforcing: bool


class SpendAlert(msgspec.Struct, frozen=True, kw_only=True):
    """When `cents` are spent in an interval, these people are to be told."""

    id: str
    cents: int
    interval: str
    recipients: tuple[str, ...]
    subject_prefix: str | None


class SpendRules(Protocol):
    """Where they are kept; in a thread. What is taken back or looked up and is not there is None or False."""

    def limit(self, whose: Spender) -> SpendLimit | None: ...

    def set_limit(self, whose: Spender, cents: int, enforcing: bool) -> None: ...

    def remove_limit(self, whose: Spender) -> bool: ...

    def alerts(self, whose: Spender) -> Sequence[SpendAlert]: ...

    def set_alert(self, whose: Spender, alert: SpendAlert) -> None: ...

    def remove_alert(self, whose: Spender, id: str) -> bool: ...


class _Enforcement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: Literal["enforcing", "inactive"]


class _Limit(msgspec.Struct, frozen=True, kw_only=True):
    currency: Literal["USD"]
    interval: Literal["month"]
    threshold_amount: Cents
    enforcement: _Enforcement = _Enforcement("enforcing")


class _Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["email"]
    recipients: Annotated[tuple[Address, ...], msgspec.Meta(min_length=1, max_length=RECIPIENTS_MAX)]
    subject_prefix: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class _Alert(msgspec.Struct, frozen=True, kw_only=True):
    currency: Literal["USD"]
    interval: Literal["month"]
    threshold_amount: Cents
    notification_channel: _Channel


_limits = msgspec.json.Decoder(_Limit)
_alerts = msgspec.json.Decoder(_Alert)


class Spending:
    """The handlers. `may` says who administers: their own organisation, or the one that `OpenAI-Organization` names."""

    def __init__(self, *, keys: Keys, may: Callable[[Principal], bool], new_id: Callable[[str], str], rules: SpendRules) -> None:
        self._keys, self._may, self._new_id, self._rules = keys, may, new_id, rules

    def routes(self) -> list[Route]:
        routes = []
        for root in ("/v1/organization", "/v1/organization/projects/{project}"):
            routes += [
                Route(f"{root}/spend_limit", self.limit, methods=["GET"]),
                Route(f"{root}/spend_limit", self.set_limit, methods=["POST"]),
                Route(f"{root}/spend_limit", self.remove_limit, methods=["DELETE"]),
                Route(f"{root}/spend_alerts", self.alerts, methods=["GET"]),
                Route(f"{root}/spend_alerts", self.create_alert, methods=["POST"]),
                Route(f"{root}/spend_alerts/{{alert}}", self.alert, methods=["GET"]),
                Route(f"{root}/spend_alerts/{{alert}}", self.change_alert, methods=["POST"]),
                Route(f"{root}/spend_alerts/{{alert}}", self.remove_alert, methods=["DELETE"]),
            ]
        return routes

    async def limit(self, request: Request) -> Response:
        """GET …/spend_limit"""
        whose = self._whose(request)
        found = await asyncio.to_thread(self._rules.limit, whose)
        if found is None:
            raise NotFound("Spend limit", _named(whose))
        return _json(_limit(whose, found))

    async def set_limit(self, request: Request) -> Response:
        """POST …/spend_limit"""
        whose = self._whose(request)
        try:
            asked = _limits.decode(await request.body())
        except msgspec.MsgspecError as wrong:
            raise _unreadable(wrong) from None
        enforcing = asked.enforcement.status == "enforcing"
        await asyncio.to_thread(self._rules.set_limit, whose, asked.threshold_amount, enforcing)
        return _json(_limit(whose, SpendLimit(cents=asked.threshold_amount, interval=asked.interval, enforcing=enforcing)))

    async def remove_limit(self, request: Request) -> Response:
        """DELETE …/spend_limit"""
        whose = self._whose(request)
        if not await asyncio.to_thread(self._rules.remove_limit, whose):
            raise NotFound("Spend limit", _named(whose))
        return _json({"object": f"{_kind(whose)}.spend_limit.deleted", "deleted": True})

    async def alerts(self, request: Request) -> Response:
        """GET …/spend_alerts"""
        whose = self._whose(request)
        found = await asyncio.to_thread(self._rules.alerts, whose)
        return _json(page_of([_alert(whose, one) for one in found], request.query_params, newest_first=False))

    async def create_alert(self, request: Request) -> Response:
        """POST …/spend_alerts"""
        return await self._kept(request, self._whose(request), self._new_id("alert_"))

    async def alert(self, request: Request) -> Response:
        """GET …/spend_alerts/{alert}"""
        whose = self._whose(request)
        return _json(_alert(whose, await self._found(whose, request.path_params["alert"])))

    async def change_alert(self, request: Request) -> Response:
        """POST …/spend_alerts/{alert}"""
        whose = self._whose(request)
        found = await self._found(whose, request.path_params["alert"])
        return await self._kept(request, whose, found.id)

    async def remove_alert(self, request: Request) -> Response:
        """DELETE …/spend_alerts/{alert}"""
        whose, id = self._whose(request), request.path_params["alert"]
        if not await asyncio.to_thread(self._rules.remove_alert, whose, id):
            raise NotFound("Spend alert", id)
        return _json({"id": id, "object": f"{_kind(whose)}.spend_alert.deleted", "deleted": True})

    async def _found(self, whose: Spender, id: str) -> SpendAlert:
        for one in await asyncio.to_thread(self._rules.alerts, whose):
            if one.id == id:
                return one
        raise NotFound("Spend alert", id)

    async def _kept(self, request: Request, whose: Spender, id: str) -> Response:
        try:
            asked = _alerts.decode(await request.body())
        except msgspec.MsgspecError as wrong:
            raise _unreadable(wrong) from None
        channel = asked.notification_channel
        made = SpendAlert(
            id=id,
            cents=asked.threshold_amount,
            interval=asked.interval,
            recipients=channel.recipients,
            subject_prefix=channel.subject_prefix,
        )
        await asyncio.to_thread(self._rules.set_alert, whose, made)
        return _json(_alert(whose, made))

    def _whose(self, request: Request) -> Spender:
        principal = administrator(request.headers.get("authorization"), self._keys, self._may)
        organization = request.headers.get("openai-organization") or principal.organization
        return Spender(organization, request.path_params.get("project"))


def _kind(whose: Spender) -> str:
    return "organization" if whose.project is None else "project"


def _named(whose: Spender) -> str:
    return whose.organization if whose.project is None else whose.project


def _limit(whose: Spender, limit: SpendLimit) -> dict[str, Any]:
    return {
        "object": f"{_kind(whose)}.spend_limit",
        "threshold_amount": limit.cents,
        "currency": "USD",
        "interval": limit.interval,
        "enforcement": {"status": "enforcing" if limit.enforcing else "inactive"},
    }


def _alert(whose: Spender, alert: SpendAlert) -> dict[str, Any]:
    channel: dict[str, Any] = {"type": "email", "recipients": alert.recipients}
    if alert.subject_prefix is not None:
        channel["subject_prefix"] = alert.subject_prefix
    return {
        "id": alert.id,
        "object": f"{_kind(whose)}.spend_alert",
        "threshold_amount": alert.cents,
        "currency": "USD",
        "interval": alert.interval,
        "notification_channel": channel,
    }


def _unreadable(wrong: msgspec.MsgspecError) -> InvalidRequest:
    """It names the member that is wrong, where the message says which."""
    message = str(wrong)
    _, found, path = message.partition(" - at `$.")
    name = path.rstrip("`") if found else message.split("`")[1] if "missing required field" in message else None
    return InvalidRequest(f"The request can't be read: {message}.", param=name)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
