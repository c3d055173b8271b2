"""OpenAI's spend limits and spend alerts, for administrators: what an organisation or a project may spend in a month, and when to be told.

A limit is a budget and so is each alert: one code enforces, counts and tells them all. Amounts are cents.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk
from headrace.api.gate import Actor, Gate, Guarded, guarded
from headrace.api.listing import page_of
from headrace.api.reading import read
from headrace.api.rights import PROJECT
from headrace.core.errors import NotFound

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
    """The handlers."""

    def __init__(self, *, gate: Gate, desk: Desk, rules: SpendRules) -> None:
        self._gate, self._desk, self._rules = gate, desk, rules

    def routes(self) -> list[Route]:
        handlers: dict[tuple[str, str], Guarded] = {}
        for root in ("/v1/organization", PROJECT):
            handlers |= {
                ("GET", f"{root}/spend_limit"): self.limit,
                ("POST", f"{root}/spend_limit"): self.set_limit,
                ("DELETE", f"{root}/spend_limit"): self.remove_limit,
                ("GET", f"{root}/spend_alerts"): self.alerts,
                ("POST", f"{root}/spend_alerts"): self.create_alert,
                ("GET", f"{root}/spend_alerts/{{alert}}"): self.alert,
                ("POST", f"{root}/spend_alerts/{{alert}}"): self.change_alert,
                ("DELETE", f"{root}/spend_alerts/{{alert}}"): self.remove_alert,
            }
        return guarded(self._gate, handlers)

    async def limit(self, request: Request, actor: Actor) -> Response:
        """GET …/spend_limit"""
        whose = _whose(request, actor)
        found = await asyncio.to_thread(self._rules.limit, whose)
        if found is None:
            raise NotFound("Spend limit", _named(whose))
        return _json(_limit(whose, found))

    async def set_limit(self, request: Request, actor: Actor) -> Response:
        """POST …/spend_limit"""
        whose = _whose(request, actor)
        asked = await read(_limits, request)
        enforcing = asked.enforcement.status == "enforcing"
        await asyncio.to_thread(self._rules.set_limit, whose, asked.threshold_amount, enforcing)
        told = {"threshold_amount": asked.threshold_amount, "enforcement": asked.enforcement.status}
        await self._desk.noted(actor, "spend_limit.updated", _named(whose), told, project=whose.project or "")
        return _json(_limit(whose, SpendLimit(cents=asked.threshold_amount, interval=asked.interval, enforcing=enforcing)))

    async def remove_limit(self, request: Request, actor: Actor) -> Response:
        """DELETE …/spend_limit"""
        whose = _whose(request, actor)
        if not await asyncio.to_thread(self._rules.remove_limit, whose):
            raise NotFound("Spend limit", _named(whose))
        await self._desk.noted(actor, "spend_limit.deleted", _named(whose), project=whose.project or "")
        return _json({"object": f"{_kind(whose)}.spend_limit.deleted", "deleted": True})

    async def alerts(self, request: Request, actor: Actor) -> Response:
        """GET …/spend_alerts"""
        whose = _whose(request, actor)
        found = await asyncio.to_thread(self._rules.alerts, whose)
        return _json(page_of([_alert(whose, one) for one in found], request.query_params, newest_first=False))

    async def create_alert(self, request: Request, actor: Actor) -> Response:
        """POST …/spend_alerts"""
        return await self._kept(request, actor, self._desk.new_id("alert_"), "spend_alert.created")

    async def alert(self, request: Request, actor: Actor) -> Response:
        """GET …/spend_alerts/{alert}"""
        whose = _whose(request, actor)
        return _json(_alert(whose, await self._found(whose, request.path_params["alert"])))

    async def change_alert(self, request: Request, actor: Actor) -> Response:
        """POST …/spend_alerts/{alert}"""
        found = await self._found(_whose(request, actor), request.path_params["alert"])
        return await self._kept(request, actor, found.id, "spend_alert.updated")

    async def remove_alert(self, request: Request, actor: Actor) -> Response:
        """DELETE …/spend_alerts/{alert}"""
        whose, id = _whose(request, actor), request.path_params["alert"]
        if not await asyncio.to_thread(self._rules.remove_alert, whose, id):
            raise NotFound("Spend alert", id)
        await self._desk.noted(actor, "spend_alert.deleted", id, project=whose.project or "")
        return _json({"id": id, "object": f"{_kind(whose)}.spend_alert.deleted", "deleted": True})

    async def _found(self, whose: Spender, id: str) -> SpendAlert:
        for one in await asyncio.to_thread(self._rules.alerts, whose):
            if one.id == id:
                return one
        raise NotFound("Spend alert", id)

    async def _kept(self, request: Request, actor: Actor, id: str, kind: str) -> Response:
        whose = _whose(request, actor)
        asked = await read(_alerts, request)
        channel = asked.notification_channel
        made = SpendAlert(
            id=id,
            cents=asked.threshold_amount,
            interval=asked.interval,
            recipients=channel.recipients,
            subject_prefix=channel.subject_prefix,
        )
        await asyncio.to_thread(self._rules.set_alert, whose, made)
        told = {"threshold_amount": made.cents, "recipients": made.recipients}
        await self._desk.noted(actor, kind, id, told, project=whose.project or "")
        return _json(_alert(whose, made))


def _whose(request: Request, actor: Actor) -> Spender:
    return Spender(actor.organization, request.path_params.get("project"))


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


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
