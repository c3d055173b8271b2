"""What operators ask of a running server: the pools as they stand, why a request went where it went, and to read the settings again.

Only who runs the server is answered; of a request's decision, also who made the request may know, and who may see his organisation's usage.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk
from headrace.api.gate import Actor, Gate, guarded
from headrace.core.clock import MS, Clock
from headrace.core.errors import RequestNotFound
from headrace.core.money import usd_per_mtok
from headrace.core.roles import may
from headrace.gateway import Gateway, Room
from headrace.portfolio import Pool

Decision = dict[str, Any]


class Admin:
    """The handlers. `decisions` looks one up, in a thread; `reload` raises SettingsInvalid."""

    def __init__(
        self,
        *,
        gate: Gate,
        desk: Desk,
        gateway: Gateway,
        clock: Clock,
        decisions: Callable[[str], Decision | None],
        reload: Callable[[], dict[str, Any]],
    ) -> None:
        self._gate, self._desk, self._gateway, self._clock = gate, desk, gateway, clock
        self._decisions, self._reload = decisions, reload

    def routes(self) -> list[Route]:
        return [
            Route("/admin/requests/{request}", self.why),
            *guarded(self._gate, {("GET", "/admin/pools"): self.pools, ("POST", "/admin/reload"): self.reload}),
        ]

    async def pools(self, request: Request, actor: Actor) -> Response:
        """GET /admin/pools"""
        world, now = self._gateway.world, self._clock.instant()
        told = [_told(room, now) for room in world.rooms.values()]
        return _json({"snapshot": f"{world.snapshot.version:08x}", "pools": told})

    async def why(self, request: Request) -> Response:
        """GET /admin/requests/{request}"""
        actor = await self._gate.who(request)
        decision = await asyncio.to_thread(self._decisions, request.path_params["request"])
        if decision is None or not _may_know(actor, decision):
            raise RequestNotFound(request.path_params["request"])
        return _json(decision)

    async def reload(self, request: Request, actor: Actor) -> Response:
        """POST /admin/reload"""
        done = self._reload()
        await self._desk.noted(actor, "settings.reloaded", str(done["version"]), done)
        return _json(done)


def _may_know(actor: Actor, decision: Decision) -> bool:
    theirs = decision["organization"] == actor.organization
    if theirs and actor.project and decision["project"] == actor.project:
        return True
    return actor.runs_server or (theirs and actor.role is not None and may(actor.role, "usage"))


def _told(room: Room, now: int) -> dict[str, Any]:
    pool, load, health = room.pool, room.load, room.health
    return {
        "name": pool.name,
        "dialect": pool.dialect,
        "vendor": pool.vendor,
        "cloud": pool.cloud,
        "region": pool.region,
        "jurisdictions": sorted(pool.jurisdictions),
        "silicon": pool.silicon,
        "models": dict(pool.models),
        "state": health.state,
        "closed_for": load.closed_for if load.closed_until > now else "",
        "opens_in_ms": max(0, (load.closed_until - now) // MS),
        "last_failure": health.last_failure,
        "inflight": load.inflight,
        "waiting": load.waiting,
        "limit": load.limit,
        "concurrency_max": pool.concurrency_max,
        "ttft_ms": round(load.ttft_ms, 1),
        "tpot_ms": round(load.tpot_ms, 2),
        "seen": health.samples,
        "usd_per_mtok": _costs(pool, load.inflight / load.limit),
    }


def _costs(pool: Pool, in_use: float) -> dict[str, dict[str, str]]:
    """What a million tokens cost at full use, and `now`: what one more request's would, which on idle capacity of one's own is little."""
    now = in_use * in_use if pool.owned else 1.0
    return {
        model: {
            "input": usd_per_mtok(round(cost.input_pico)),
            "cached_input": usd_per_mtok(round(cost.cached_input_pico)),
            "output": usd_per_mtok(round(cost.output_pico)),
            "input_now": usd_per_mtok(round(cost.input_pico * now)),
            "output_now": usd_per_mtok(round(cost.output_pico * now)),
        }
        for model, cost in pool.costs.items()
    }


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
