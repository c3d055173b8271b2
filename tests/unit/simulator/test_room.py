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


def seen(room):
    load = room.load
    return (
        load.inflight,
        load.limit,
        load.waiting,
        load.waiting_first,
        load.hindered,
        load.closed_until,
        len(room.line),
        room.expected_wait_ms(1),
    )


@given(st.integers(0, 1 << 30))
def test_the_same_is_done_in_both(seed):
    chance = Random(seed)

    async def story():
        one, other = live.Room(POOL, HealthSettings(failures_max=2)), simulated.Room(POOL, HealthSettings(failures_max=2))
        waiting: dict[int, tuple] = {}
        now = 0
        for number in range(60):
            now += chance.randrange(400) * MS
            what = chance.choice(["come", "come", "come", "done", "done", "fail", "tick", "leave"])
            called = []
            if what == "come" and one.load.inflight < one.load.limit and not one.load.waiting and one.load.closed_until <= now:
                one.take(now)
                other.take(now)
            elif what == "come":
                terms = {"tenant": chance.choice("xy"), "priority": chance.randrange(3), "leaves_at": now + chance.randrange(900) * MS}
                future = asyncio.get_running_loop().create_future()
                first, second = Place(live.Waiter(future), **terms), Place(simulated.Waiter(number), **terms)
                try:
                    live.stand(first, [one])
                    stands = True
                except NoCapacity:
                    stands = False
                ours, gone = simulated.stand(second, [other])
                assert ours == stands
                shed = [key for key, (place, _) in waiting.items() if place.who.granted.done() and place.who.granted.exception()]
                assert sorted(place.who.number for place in gone) == sorted(shed)
                for key in shed:
                    del waiting[key]
                if stands:
                    waiting[number] = first, second
            elif what == "done" and one.load.inflight:
                for room in (one, other):
                    room.health.answered(now, ttft_ms=chance.choice([50.0]), duration_ms=90.0, tokens_out=4)
                one.free(now)
                called = other.free(now)
            elif what == "fail" and one.load.inflight:
                one.health.failed(now, "x")
                other.health.failed(now, "x")
                one.free(now)
                called = other.free(now)
            elif what == "leave" and waiting:
                first, second = waiting.pop(chance.choice(sorted(waiting)))
                live.leave(first)
                simulated.leave(second)
            elif what == "tick":
                one.tick(now)
                called = other.tick(now)
            granted = [key for key, (place, _) in waiting.items() if place.who.granted.done()]
            assert sorted(place.who.number for place in called) == sorted(granted)
            for key in granted:
                del waiting[key]
            assert seen(one) == seen(other)

    asyncio.run(story())
