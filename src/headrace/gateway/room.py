"""A pool's room: how many requests it works on, who waits for a place in it, and how it feels."""

import asyncio
from collections import deque
from collections.abc import Iterable

from headrace.core.clock import Instant
from headrace.core.errors import (
    EngineFailed,
    HeadraceError,
    NoCapacity,
    NotReady,
    QueueFull,
    Side,
    UpstreamOverloaded,
    UpstreamRefused,
)
from headrace.gateway.neighbours import OfPool
from headrace.portfolio import Pool
from headrace.routing import Health, HealthSettings, Line, Load, Place

TTFTS_KEPT = 128
TTFTS_MIN = 20
ELSEWHERE = "another worker found it failing"


class Waiter:
    """One request in the lines of one or several rooms; `granted` becomes the room that has a place for it, which is taken already."""

    __slots__ = ("granted", "rooms")

    def __init__(self, granted: "asyncio.Future[Room]") -> None:
        self.granted = granted
        self.rooms: list[Room] = []


class Room:
    """One pool as it is worked with. It outlives a change of the settings as long as a pool of its name is there."""

    def __init__(self, pool: Pool, settings: HealthSettings) -> None:
        self.pool = pool
        self.load = Load(pool.concurrency_max, ttft_ms=pool.ttft_ms, tpot_ms=pool.tpot_ms)
        self.health = Health(self.load, pool.concurrency_max, settings)
        self.line: Line[Waiter] = Line(pool.waiting_max)
        self._ttfts_ms: deque[float] = deque(maxlen=TTFTS_KEPT)
        self.own = 0
        """How many of `load.inflight` are this process's."""
        self._cells: OfPool | None = None
        self._closed: tuple[Instant, str] = 0, ""  # as we know it ourselves, while another worker holds it for closed longer

    def change(self, pool: Pool, settings: HealthSettings) -> None:
        """The settings say something else about this pool now."""
        self.pool = pool
        self.health.change(pool.concurrency_max, settings)
        self.line.waiting_max = pool.waiting_max

    @property
    def slow_ms(self) -> float | None:
        """What 95 of 100 of its answers begin sooner than; None: too few were seen."""
        if len(self._ttfts_ms) < TTFTS_MIN:
            return None
        return sorted(self._ttfts_ms)[len(self._ttfts_ms) * 95 // 100]

    def answered(self, now: Instant, *, ttft_ms: float | None, duration_ms: float, tokens_out: int) -> None:
        """An attempt went to its end."""
        if ttft_ms is not None:
            self._ttfts_ms.append(ttft_ms)
        self.health.answered(now, ttft_ms=ttft_ms, duration_ms=duration_ms, tokens_out=tokens_out)

    def take(self, now: Instant) -> None:
        """A request goes there."""
        self.own += 1
        self.load.move(1)
        if self.health.state != "open":
            self.health.asked(now)
        self._tell()

    def free(self, now: Instant) -> None:
        """It is done, and whoever waits is next."""
        self.own -= 1
        self.load.move(-1)
        self._tell()
        if self.load.waiting:
            self.call_in(now)

    def call_in(self, now: Instant) -> None:
        """Give the places that are free to those who wait."""
        load = self.load
        while load.waiting and load.inflight < load.limit and load.closed_until <= now:
            place = self.line.next(now, load.inflight / load.limit)
            if place is None:
                break
            leave(place)
            if not place.who.granted.done():
                self.take(now)
                place.who.granted.set_result(self)

    def look_again(self) -> None:
        """To be called when somebody has come to the line or left it."""
        self.load.waiting_first = self.line.first() or 0

    def expected_wait_ms(self, priority: int) -> float:
        """How long a newcomer would wait: those before it, at the pace of the whole pool."""
        return (self.line.ahead(priority) + 1) * self.load.service_ms / self.load.limit

    def hear(self, cells: OfPool, now: Instant) -> None:
        """What the other workers do at this pool, and what they think of it."""
        load, self._cells = self.load, cells
        self._tell()
        others, closed_until = cells.others()
        if load.inflight != self.own + others:
            load.inflight = self.own + others
        if load.closed_for == ELSEWHERE and closed_until != load.closed_until:  # it has recovered there, or is given longer
            load.closed_until, load.closed_for = self._closed
        if closed_until > now and closed_until > load.closed_until:
            self._closed = load.closed_until, load.closed_for
            load.closed_until, load.closed_for = closed_until, ELSEWHERE
        if load.waiting:
            self.call_in(now)

    def _tell(self) -> None:
        """What others may know of us is never older than what we did last."""
        if self._cells is not None:
            load = self.load
            self._cells.tell(self.own, load.closed_until if load.closed_for != ELSEWHERE else self._closed[0])

    def tick(self, now: Instant) -> None:
        """Called several times a second."""
        self.health.tick(now)
        self.call_in(now)

    def failed(self, failure: HeadraceError, now: Instant) -> None:
        """An attempt ended so; only what the pool is to blame for counts against it."""
        if isinstance(failure, UpstreamOverloaded | QueueFull):
            self.health.overloaded(now, failure.retry_after_ms, str(failure))
        elif isinstance(failure, UpstreamRefused) or not (failure.side is Side.UPSTREAM or isinstance(failure, EngineFailed | NotReady)):
            self.health.abandoned(now)
        else:
            self.health.failed(now, str(failure))


def stand(place: Place[Waiter], rooms: Iterable[Room]) -> None:
    """Enter the lines of `rooms`; whoever has to go for it is told. Raises NoCapacity when all lines are full."""
    for room in rooms:
        shed = room.line.enter(place)
        if shed is place:
            continue
        room.load.waiting += 1
        room.look_again()
        place.who.rooms.append(room)
        if shed is not None:
            leave(shed)
            if not shed.who.granted.done():
                wait_ms = round(room.expected_wait_ms(shed.priority))
                shed.who.granted.set_exception(NoCapacity("Traffic of a higher class took the place in line.", retry_after_ms=wait_ms))
    if not place.who.rooms:
        raise NoCapacity("Every line is full.")


def leave(place: Place[Waiter]) -> None:
    """Out of all lines: taken, shed, or gone."""
    place.over = True
    rooms, place.who.rooms = place.who.rooms, []
    for room in rooms:
        room.load.waiting -= 1
        room.look_again()
