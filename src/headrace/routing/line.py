"""Who waits for room at a pool: one line a pool, bounded, by priority, fair between tenants, and who waits too long leaves it.

Within a priority tenants take turns (start-time fair queueing, Goyal and others, 1996, where all requests weigh the same): whoever has the
lowest turn is served next, and has the one after it then; who comes anew has the turn after the one that is on. So a tenant who comes
seldom waits for one request of each other at most, however many they have in the line, and who left without being served has used up no
turn. A waiter may stand in the lines of several pools at once; the first that has room takes it, and in the others it is skipped.
"""

from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

from headrace.core.clock import Instant

Who = TypeVar("Who")


class Place(Generic[Who]):
    """One waiter. `over` when it was taken, has left, or was shed."""

    __slots__ = ("idle_share", "leaves_at", "over", "priority", "tenant", "who")

    def __init__(self, who: Who, *, tenant: str, priority: int, leaves_at: Instant, idle_share: float = 1.0) -> None:
        self.who, self.tenant, self.priority, self.leaves_at, self.idle_share = who, tenant, priority, leaves_at, idle_share
        self.over = False


class Line(Generic[Who]):
    """The line of one pool, of at most `waiting_max`."""

    def __init__(self, waiting_max: int) -> None:
        self.waiting_max = waiting_max
        self._waiting: dict[tuple[int, str], deque[Place[Who]]] = {}
        self._turns: list[tuple[int, int, int, str]] = []  # of each that is in `_waiting`: priority, turn, how manieth, tenant
        self._on: dict[int, int] = {}  # by priority, the turn that is on
        self._length = self._entered = 0

    def __len__(self) -> int:
        return self._length

    def enter(self, place: Place[Who]) -> Place[Who] | None:
        """Stand in line. Returns who must go because the line is full: the last of the tenant with most in the lowest class, if that is a
        lower class or has more there than `place`'s own would have; else `place` itself. None: nobody."""
        shed = None
        if self._length >= self.waiting_max:
            self._forget_gone()
            if self._length >= self.waiting_max:
                shed = self._shed(place)
                if shed is None:
                    return place
        self._add(place)
        return shed

    def next(self, now: Instant, in_use: float) -> Place[Who] | None:
        """Who is next, taken out of the line; None: nobody, or only such as may not use more than the pool's share `in_use`."""
        while self._turns:
            priority, turn, _, tenant = self._turns[0]
            own = self._waiting[priority, tenant]
            while own and (own[0].over or own[0].leaves_at <= now):
                own.popleft()
                self._length -= 1
            if not own:
                self._leave_out()
                continue
            if in_use >= own[0].idle_share:
                return None
            place = own.popleft()
            self._length -= 1
            self._on[priority] = turn
            if own:
                self._entered += 1
                heapreplace(self._turns, (priority, turn + 1, self._entered, tenant))
            else:
                self._leave_out()
            place.over = True
            return place
        return None

    def ahead(self, priority: int) -> int:
        """How many go before a newcomer of this priority, at most."""
        return sum(1 for (of, _), own in self._waiting.items() if of <= priority for place in own if not place.over)

    def first(self) -> int | None:
        """The priority of the highest class of which anybody waits; None: nobody does."""
        while self._turns:
            priority, _, _, tenant = self._turns[0]
            own = self._waiting[priority, tenant]
            while own and own[0].over:
                own.popleft()
                self._length -= 1
            if own:
                return priority
            self._leave_out()
        return None

    def _add(self, place: Place[Who]) -> None:
        own = self._waiting.get((place.priority, place.tenant))
        if own is None:
            own = self._waiting[place.priority, place.tenant] = deque()
            self._entered += 1
            heappush(self._turns, (place.priority, self._on.get(place.priority, 0) + 1, self._entered, place.tenant))
        own.append(place)
        self._length += 1

    def _leave_out(self) -> None:
        """The tenant whose turn it is has nobody here any more."""
        priority, _, _, tenant = heappop(self._turns)
        del self._waiting[priority, tenant]
        if not self._turns:
            self._on.clear()

    def _shed(self, place: Place[Who]) -> Place[Who] | None:
        """Whoever gives way to `place`, taken out of the line."""
        if not self._waiting:
            return None
        most = max(self._waiting, key=lambda whose: (whose[0], len(self._waiting[whose])))
        fair = len(self._waiting.get((place.priority, place.tenant), ())) + 1
        if most[0] < place.priority or (most[0] == place.priority and len(self._waiting[most]) <= fair):
            return None
        shed = self._waiting[most].pop()
        self._length -= 1
        shed.over = True
        return shed

    def _forget_gone(self) -> None:
        """Those who left from the middle of the line are forgotten before anybody is turned away for them."""
        kept = {whose: deque(place for place in own if not place.over) for whose, own in self._waiting.items()}
        self._waiting = {whose: own for whose, own in kept.items() if own}
        self._turns = [entry for entry in self._turns if (entry[0], entry[3]) in self._waiting]
        heapify(self._turns)
        self._length = sum(map(len, self._waiting.values()))
