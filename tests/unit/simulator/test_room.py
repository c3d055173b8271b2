"""The simulator's room decides as the gateway's does, whatever comes and goes."""

import asyncio
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import MS
from headrace.core.errors import NoCapacity
from headrace.gateway import room as live
from headrace.portfolio import Pool
from headrace.routing import HealthSettings, Place
from headrace.simulator import room as simulated

POOL = Pool(name="a", dialect="openai", models={"m": "m"}, concurrency_max=3, waiting_max=4)


def seen(room: live.Room | simulated.Room) -> tuple[object, ...]:
    load = room.load
    state = load.inflight, load.limit, load.waiting, load.waiting_first, load.hindered, load.closed_until
    return *state, len(room.line), room.expected_wait_ms(1)


class Both:
    """The two rooms, and who waits in both."""

    def __init__(self, chance: Random) -> None:
        self.chance, self.now = chance, 0
        self.live, self.simulated = live.Room(POOL, HealthSettings(failures_max=2)), simulated.Room(POOL, HealthSettings(failures_max=2))
        self.waiting: dict[int, tuple[Place[live.Waiter], Place[simulated.Waiter]]] = {}

    def come(self, number: int) -> list[Place[simulated.Waiter]]:
        load = self.live.load
        if load.inflight < load.limit and not load.waiting and load.closed_until <= self.now:
            self.live.take(self.now)
            self.simulated.take(self.now)
            return []
        tenant, priority, leaves_at = self.chance.choice("xy"), self.chance.randrange(3), self.now + self.chance.randrange(900) * MS
        future: asyncio.Future[live.Room] = asyncio.get_running_loop().create_future()
        first = Place(live.Waiter(future), tenant=tenant, priority=priority, leaves_at=leaves_at)
        second = Place(simulated.Waiter(number), tenant=tenant, priority=priority, leaves_at=leaves_at)
        stands, gone = simulated.stand(second, [self.simulated])
        try:
            live.stand(first, [self.live])
            assert stands
            self.waiting[number] = first, second
        except NoCapacity:
            assert not stands
        shed = [key for key, (place, _) in self.waiting.items() if place.who.granted.done() and place.who.granted.exception()]
        assert sorted(place.who.number for place in gone) == shed
        for key in shed:
            del self.waiting[key]
        return []

    def done(self, number: int) -> list[Place[simulated.Waiter]]:
        for room in (self.live, self.simulated):
            room.health.answered(self.now, ttft_ms=50.0, duration_ms=90.0, tokens_out=4)
        return self._free()

    def fail(self, number: int) -> list[Place[simulated.Waiter]]:
        self.live.health.failed(self.now, "x")
        self.simulated.health.failed(self.now, "x")
        return self._free()

    def tick(self, number: int) -> list[Place[simulated.Waiter]]:
        self.live.tick(self.now)
        return self.simulated.tick(self.now)

    def leave(self, number: int) -> list[Place[simulated.Waiter]]:
        if self.waiting:
            first, second = self.waiting.pop(self.chance.choice(sorted(self.waiting)))
            live.leave(first)
            simulated.leave(second)
        return []

    def _free(self) -> list[Place[simulated.Waiter]]:
        if not self.live.load.inflight:
            return []
        self.live.free(self.now)
        return self.simulated.free(self.now)


@given(st.integers(0, 1 << 30))
def test_the_same_is_done_in_both(seed):
    async def story() -> None:
        chance = Random(seed)
        both = Both(chance)
        for number in range(60):
            both.now += chance.randrange(400) * MS
            what = chance.choice([both.come, both.come, both.come, both.done, both.done, both.fail, both.tick, both.leave])
            called = what(number)
            granted = [key for key, (place, _) in both.waiting.items() if place.who.granted.done()]
            assert sorted(place.who.number for place in called) == granted
            for key in granted:
                del both.waiting[key]
            assert seen(both.live) == seen(both.simulated)

    asyncio.run(story())
