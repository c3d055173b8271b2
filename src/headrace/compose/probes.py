"""Health probes in the background: a sign of life from each pool that costs no tokens."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError, UpstreamTimedOut, UpstreamUnreachable
from headrace.gateway import Gateway

log = logging.getLogger("headrace")
TICK_S = 0.1
PROBE_TIMEOUT_S = 5.0
CLOSED_INTERVAL_S = 1.0
"""A pool that is closed for its failures is looked at this often, so that it is back as soon as it lives."""


async def keep_ticking(gateway: Gateway) -> None:
    """Time passes for the pools: who rested opens, who recovers takes more, who waits is called in."""
    while True:
        await asyncio.sleep(TICK_S)
        gateway.tick()


async def keep_probing(gateway: Gateway, intervals_ms: Callable[[], Mapping[str, int]], clock: Clock) -> None:
    """Probe each pool every so many milliseconds by its name, one task a pool that is due; 0: never."""
    due: dict[str, float] = {}
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        running: dict[str, asyncio.Task[None]] = {}
        while True:
            await asyncio.sleep(CLOSED_INTERVAL_S / 2)
            now, intervals = loop.time(), intervals_ms()
            for name, interval_ms in intervals.items():
                room = gateway.world.rooms.get(name)
                if room is None or not interval_ms or (name in running and not running[name].done()):
                    continue
                interval_s = CLOSED_INTERVAL_S if room.health.state == "closed" else interval_ms / 1000
                if now - due.setdefault(name, now) >= interval_s:
                    due[name] = now
                    running[name] = tasks.create_task(_probe(gateway, name, clock), name=f"probe {name}")


async def _probe(gateway: Gateway, name: str, clock: Clock) -> None:
    world = gateway.world
    room, provider = world.rooms.get(name), world.providers.get(name)
    if room is None or provider is None:
        return
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            await provider.probe()
    except (TimeoutError, UpstreamUnreachable, UpstreamTimedOut) as failure:
        if room.health.state == "open":  # one that is closed gets its trial all the same
            room.health.failed(clock.instant(), str(failure) or "it did not answer a probe")
    except HeadraceError as failure:  # it lives, and does not say how it is: its answers will
        log.debug("the probe of %s failed: %s", name, failure)
    else:
        room.health.alive(clock.instant())
