"""OpenAI's usage and costs, for administrators: what an organisation used and what it costs, in buckets of time.

The buckets are those of the calendar, UTC. An amount is written with all its digits: who reads JSON numbers as decimals has it to the last
pico-dollar.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.gate import Actor, Gate, guarded
from headrace.api.usage_kinds import KINDS, UNKNOWN, Amount, Counted, told
from headrace.core.clock import SECOND, Clock, Moment
from headrace.core.errors import InvalidRequest
from headrace.core.money import usd
from headrace.core.usage import NOTHING, Usage

WIDTHS: Mapping[str, tuple[int, int, int]] = {"1m": (60, 60, 1_440), "1h": (3_600, 24, 168), "1d": (86_400, 7, 31)}
"""Seconds of a bucket, how many are told unasked, and at most."""
COSTS_MAX = 180
COST_GROUPS = ("project_id", "user_id", "line_item", "api_key_id")
FILTERS = {
    "project_ids": "project_id",
    "user_ids": "user_id",
    "api_key_ids": "api_key_id",
    "models": "model",
    "line_items": "line_item",
    "sizes": "size",
    "sources": "source",
}
TIME_MAX = 2**33


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What to count: from `start` on and before `end`, in buckets of `width` nanoseconds; `only` keeps these values of a field.
    What is not tokens is counted in one `unit`."""

    organization: str
    operation: str | None
    counted: Counted = "tokens"
    unit: str = ""
    start: Moment
    end: Moment
    width: int
    group: tuple[str, ...]
    only: Mapping[str, frozenset[str]]


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """What one group used in one bucket, which is numbered by its width."""

    bucket: int
    group: tuple[str, ...]
    requests: int
    usage: Usage = NOTHING
    count: int = 0


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one group is charged in one bucket. `quantity` is of `unit`, where lines are told apart."""

    bucket: int
    group: tuple[str, ...]
    pico: int
    quantity: int | None = None
    unit: str | None = None


class Finance(Protocol):
    """Who counts; in a thread. `charged` raises ValueError for what can't be grouped by."""

    def charged(self, group: Sequence[str], start: Moment, end: Moment) -> Sequence[Mapping[str, str | int]]: ...

    def used(self, asked: Asked) -> Sequence[Used]: ...

    def costs(self, asked: Asked) -> Sequence[Cost]: ...


class Organization:
    """The handlers."""

    def __init__(self, *, gate: Gate, clock: Clock, finance: Finance) -> None:
        self._gate, self._clock, self._finance = gate, clock, finance

    def routes(self) -> list[Route]:
        return guarded(
            self._gate,
            {
                ("GET", "/v1/organization/usage/{kind}"): self.usage,
                ("GET", "/v1/organization/costs"): self.costs,
                ("GET", "/admin/chargeback"): self.chargeback,
            },
        )

    async def usage(self, request: Request, actor: Actor) -> Response:
        """GET /v1/organization/usage/{kind}"""
        name = request.path_params["kind"]
        if name not in KINDS:
            raise InvalidRequest(f"There is no usage of {name!r}: ask for {', '.join(KINDS)}.", param="kind")
        kind = KINDS[name]
        asked, limit = self._asked(request, actor, kind.groups, {**WIDTHS})
        known = tuple(one for one in asked.group if one not in UNKNOWN)
        asked = replace(asked, operation=kind.operation, counted=kind.counted, unit=kind.unit, group=known)
        part, more = _page(asked, limit)
        found = await asyncio.to_thread(self._finance.used, part) if kind.operation or kind.unit else ()
        results: dict[int, list[dict[str, Any]]] = {}
        for each in found:
            amount = Amount(requests=each.requests, usage=each.usage, count=each.count)
            results.setdefault(each.bucket, []).append(told(name, known, each.group, amount))
        return _told(part, results, more)

    async def costs(self, request: Request, actor: Actor) -> Response:
        """GET /v1/organization/costs"""
        asked, limit = self._asked(request, actor, COST_GROUPS, {"1d": (86_400, 7, COSTS_MAX)})
        if "user_id" in asked.group and "line_item" in asked.group:
            raise InvalidRequest("Costs are grouped by user_id or by line_item, not by both.", param="group_by")
        part, more = _page(asked, limit)
        results: dict[int, list[dict[str, Any]]] = {}
        for each in await asyncio.to_thread(self._finance.costs, part):
            results.setdefault(each.bucket, []).append(_cost(asked.group, each))
        return _told(part, results, more)

    async def chargeback(self, request: Request, actor: Actor) -> Response:
        """GET /admin/chargeback"""
        said: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            said.setdefault(name.removesuffix("[]"), []).extend(value.split(","))
        start, end = _whole(said, "start_time", None), _whole(said, "end_time", self._clock.moment() // SECOND + 1)  # this second, too
        try:
            group = said.get("group_by") or ["model"]
            rows = await asyncio.to_thread(self._finance.charged, group, start * SECOND, max(start, end) * SECOND)
        except ValueError as wrong:
            raise InvalidRequest(f"{str(wrong)[0].upper()}{str(wrong)[1:]}.", param="group_by") from None
        return Response(msgspec.json.encode({"object": "list", "data": rows}), media_type="application/json")

    def _asked(
        self, request: Request, actor: Actor, groups: Sequence[str], widths: Mapping[str, tuple[int, int, int]]
    ) -> tuple[Asked, int]:
        said: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            said.setdefault(name.removesuffix("[]"), []).extend(value.split(",") if name.removesuffix("[]") == "group_by" else [value])
        width = _one(said, "bucket_width") or "1d"
        if width not in widths:
            raise InvalidRequest(f"Invalid value for 'bucket_width': it must be {' or '.join(widths)}.", param="bucket_width")
        seconds, limit, limit_max = widths[width]
        group = tuple(dict.fromkeys(said.get("group_by", ())))
        if unknown := [name for name in group if name not in groups]:
            raise InvalidRequest(f"Can't group by {unknown[0]!r}: known are {', '.join(groups)}.", param="group_by")
        only = {field: frozenset(said[name]) for name, field in FILTERS.items() if name in said and field in groups}
        if "batch" in said and "batch" in groups:
            only["batch"] = frozenset((_truth(said["batch"][0]),))
        start = _whole(said, "start_time", None)
        end = _whole(said, "end_time", self._clock.moment() // SECOND + 1)
        if page := _one(said, "page"):
            start = _start_of(page)
        limit = _whole(said, "limit", limit)
        if not 1 <= limit <= limit_max:
            raise InvalidRequest(f"Invalid value for 'limit': it must be 1 to {limit_max}.", param="limit")
        asked = Asked(
            organization=actor.organization,
            operation=None,
            start=start * SECOND,
            end=max(start, end) * SECOND,
            width=seconds * SECOND,
            group=group,
            only=only,
        )
        return asked, limit


def _page(asked: Asked, limit: int) -> tuple[Asked, int | None]:
    """The part of it that this page tells, and the second at which the next one starts."""
    first = asked.start // asked.width
    stop = (first + limit) * asked.width
    if stop >= asked.end:
        return asked, None
    return replace(asked, end=stop), stop // SECOND


def _told(asked: Asked, results: Mapping[int, list[dict[str, Any]]], more: int | None) -> Response:
    width = asked.width // SECOND
    last = -(-asked.end // asked.width)
    buckets = [
        {
            "object": "bucket",
            "start_time": bucket * width,
            "end_time": (bucket + 1) * width,
            "results": results.get(bucket, []),
        }
        for bucket in range(asked.start // asked.width, last)
    ]
    page = {"object": "page", "data": buckets, "has_more": more is not None, "next_page": None if more is None else f"page_{more}"}
    return Response(msgspec.json.encode(page), media_type="application/json")


def _cost(group: Sequence[str], each: Cost) -> dict[str, Any]:
    named = dict.fromkeys(COST_GROUPS) | dict(zip(group, each.group, strict=True))
    return {
        "object": "organization.costs.result",
        "amount": {"value": msgspec.Raw(usd(each.pico).encode()), "currency": "usd"},
        "line_item": named["line_item"],
        "project_id": named["project_id"],
        "api_key_id": named["api_key_id"],
        "user_id": named["user_id"],
        "quantity": each.quantity,
        "quantity_unit": each.unit,
    }


def _one(said: Mapping[str, list[str]], name: str) -> str | None:
    return said[name][-1] if said.get(name) else None


def _whole(said: Mapping[str, list[str]], name: str, default: int | None) -> int:
    text = _one(said, name)
    if text is None and default is not None:
        return default
    if text is None:
        raise InvalidRequest(f"Missing required parameter: '{name}'.", param=name)
    if not (text.isascii() and text.isdigit() and len(text) < 20) or int(text) > TIME_MAX:
        raise InvalidRequest(f"Invalid value for '{name}': it must be a whole number.", param=name)
    return int(text)


def _truth(text: str) -> str:
    if text not in ("true", "false"):
        raise InvalidRequest("Invalid value for 'batch': it must be true or false.", param="batch")
    return text


def _start_of(page: str) -> int:
    second = page.removeprefix("page_")
    if not (page.startswith("page_") and second.isascii() and second.isdigit() and len(second) < 20 and int(second) <= TIME_MAX):
        raise InvalidRequest("Invalid value for 'page': it must be the next_page of an earlier answer.", param="page")
    return int(second)
