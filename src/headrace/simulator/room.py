"""A pool's room on the virtual clock: how many it works on, who waits, how it feels. It keeps to the rules of the gateway's room.

The gateway's own is bound to asyncio and to its neighbours; this is the same order of things without either, and a test holds the two to
the same decisions. Who is called in from the line is returned instead of woken.
"""

from collections.abc import Iterable

from headrace.core.clock import Instant
from headrace.portfolio import Pool
from headrace.routing import Health, HealthSettings, Line, Load, Place


class Waiter:
    """One request in the lines of several rooms."""

    __slots__ = ("number", "rooms")

    def __init__(self, number: int) -> None:
        self.number = number
        self.rooms: list[Room] = []


class Room:
    """One pool as it is worked with, which is that of the run's `site`. `inflight` and `in_line` are the load's, counted here as well: they
    are looked at often."""

    __slots__ = ("health", "in_line", "inflight", "line", "load", "pool", "site")

    def __init__(self, pool: Pool, settings: HealthSettings, site: int = 0) -> None:
        self.pool, self.site = pool, site
        self.load = Load(pool.concurrency_max, ttft_ms=pool.ttft_ms, tpot_ms=pool.tpot_ms)
        self.health = Health(self.load, pool.concurrency_max, settings)
        self.line: Line[Waiter] = Line(pool.waiting_max)
        self.inflight = self.in_line = 0

    def take(self, now: Instant) -> None:
        """A request goes there."""
        self.inflight += 1
        self.load.move(1)
        if self.health.state != "open":
            self.health.asked(now)

    def free(self, now: Instant) -> list[Place[Waiter]]:
        """It is done. Returns who is called in, each with a place taken."""
        self.inflight -= 1
        self.load.move(-1)
        return self.call_in(now) if self.in_line else []

    def call_in(self, now: Instant) -> list[Place[Waiter]]:
        if not self.in_line:
            return []
        load, called = self.load, []
        while load.waiting and load.inflight < load.limit and load.closed_until <= now:
            place = self.line.next(now, load.inflight / load.limit)
            if place is None:
                break
            leave(place)
            self.take(now)
            called.append(place)
        return called

    def look_again(self) -> None:
        """To be called when somebody has come to the line or left it."""
        self.load.waiting_first = self.line.first() or 0

    def expected_wait_ms(self, priority: int) -> float:
        """How long a newcomer would wait: those before it, at the pace of the whole pool."""
        return (self.line.ahead(priority) + 1) * self.load.service_ms / self.load.limit

    def tick(self, now: Instant) -> list[Place[Waiter]]:
        self.health.tick(now)
        return self.call_in(now)


def stand(place: Place[Waiter], rooms: Iterable[Room]) -> tuple[bool, list[Place[Waiter]]]:
    """Enter the lines of `rooms`. Returns whether any had room, and who had to go for it."""
    gone: list[Place[Waiter]] = []
    for room in rooms:
        shed = room.line.enter(place)
        if shed is place:
            continue
        room.in_line += 1
        room.load.waiting = room.in_line
        room.look_again()
        place.who.rooms.append(room)
        if shed is not None:
            leave(shed)
            gone.append(shed)
    return bool(place.who.rooms), gone


def leave(place: Place[Waiter]) -> None:
    """Out of all lines: taken, shed, or gone."""
    place.over = True
    rooms, place.who.rooms = place.who.rooms, []
    for room in rooms:
        room.in_line -= 1
        room.load.waiting = room.in_line
        room.look_again()
