"""Several workers of one server: what must be one is one, whoever is asked.

Each has a gateway of its own; they share a clock, and cells in a file as processes do.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from headrace.core.errors import NoCapacity, RateLimited, UpstreamFailed, UpstreamOverloaded
from headrace.core.stream import Finished, Text, Used
from headrace.core.usage import Usage
from headrace.portfolio import Pool
from headrace.routing import HealthSettings
from headrace.storage import Commons
from headrace.testing.builders import a_pool, an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.scripted import ScriptedListener, ScriptedProvider, Silence
from tests.unit.gateway.test_waiting import Told
from tests.unit.gateway.world import World, limited_ask, told, turns

HI, END, U = Text("hi"), Finished("stop"), Used(Usage(10, output=2))
OK = (HI, END, U)
BROKEN, FRAGILE = UpstreamFailed("broken"), HealthSettings(failures_max=1, closed_ms=1_000)


class Workers:
    def __init__(self, path: Path, count: int, *pools: Pool, steps: dict[str, tuple[Any, ...]], **more: Any) -> None:
        self.clock = TurnedClock()
        self.commons = [Commons(path, number, count) for number in range(count)]
        self.all = [
            World(
                *pools,
                scripts={name: ScriptedProvider(*said) for name, said in steps.items()},
                clock=self.clock,
                neighbours=commons,
                **more,
            )
            for commons in self.commons
        ]

    def __getitem__(self, number: int) -> World:
        return self.all[number]

    def close(self) -> None:
        for commons in self.commons:
            commons.close()

    def turn(self, *, ms: int = 0, s: int = 0) -> None:
        """Time passes, in which nobody's tick comes round."""
        self.clock.turn(ms=ms, s=s)

    def asked(self, name: str) -> list[int]:
        return [len(world.providers[name].asked) for world in self.all]


class Serve(Protocol):
    def __call__(self, count: int, *pools: Pool, steps: dict[str, tuple[Any, ...]], **more: Any) -> Workers: ...


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as closing:

        def start(count: int, *pools: Pool, steps: dict[str, tuple[Any, ...]], **more: Any) -> Workers:
            workers = Workers(tmp_path / "commons", count, *pools, steps=steps, **more)
            closing.callback(workers.close)
            return workers

        yield start


async def running(world: World, count: int) -> list[Told]:
    stories = []
    for number in range(count):
        stories.append(Told(world, an_ask(request=f"req_{number}")))
        await turns(3)
    return stories


async def stop(*stories: Told) -> None:
    for story in stories:
        story.task.cancel()
    await turns(5)


async def test_a_pool_is_never_over_its_limit_whoever_sends_there(serve: Serve):
    workers = serve(3, a_pool("a", concurrency_max=4), steps={"a": (Silence(),)})
    stories = []
    for number in (0, 1, 2, 0, 1, 2):
        workers.turn(ms=1)
        stories += await running(workers[number], 1)
    assert sum(workers.asked("a")) == 4
    await stop(*stories)
    assert [world.rooms["a"].own for world in workers.all] == [0, 0, 0]


async def test_what_one_has_sent_at_once_the_next_knows(serve: Serve):
    """Four at once fill the pool, and no tick has come round since."""
    workers = serve(2, a_pool("a", concurrency_max=4), steps={"a": (Silence(),)})
    await stop(*await running(workers[1], 1))
    mine = await running(workers[0], 4)
    workers.turn(ms=1)
    its = await running(workers[1], 1)
    assert workers.asked("a") == [4, 1]
    assert its[0].state != "answered"
    await stop(*mine, *its)


async def test_what_is_done_elsewhere_makes_room_here(serve: Serve):
    workers = serve(2, a_pool("a", concurrency_max=1), steps={"a": (Silence(),)})
    (mine,) = await running(workers[0], 1)
    workers.turn(ms=1)
    workers[1].room("a").load.service_ms = 1.0
    (its,) = await running(workers[1], 1)
    assert its.state == "waits"
    assert workers.asked("a") == [1, 0]
    await stop(mine)
    workers.turn(ms=100)
    workers[1].gateway.tick()
    await turns(3)
    assert workers.asked("a") == [1, 1]
    await stop(its)


async def test_a_pool_that_says_when_to_come_back_says_it_to_all(serve: Serve):
    workers = serve(2, a_pool("a"), steps={"a": (UpstreamOverloaded("busy", retry_after_ms=3_000),)})
    assert await told(workers[0], ScriptedListener()) is UpstreamOverloaded
    workers.turn(ms=1)
    workers[0].gateway.tick()
    assert await told(workers[1], ScriptedListener()) is NoCapacity
    workers.turn(s=3)
    workers[1].gateway.tick()
    assert await told(workers[1], ScriptedListener()) is UpstreamOverloaded
    assert workers.asked("a") == [1, 1]


async def test_a_pool_that_one_has_found_well_again_is_open_to_all(serve: Serve):
    workers = serve(2, a_pool("a"), steps={"a": (BROKEN,)}, health=FRAGILE)
    await told(workers[0], ScriptedListener())
    workers.turn(s=1)
    workers[0].providers["a"].steps = workers[1].providers["a"].steps = OK
    (trial,) = await running(workers[0], 1)  # while it runs, the pool is closed for as long as a trial may take
    assert trial.state == "answered"
    workers.turn(ms=1)
    workers[0].gateway.tick()
    assert await told(workers[1], ScriptedListener()) is None


async def test_while_one_tries_a_pool_nobody_else_does(serve: Serve):
    workers = serve(2, a_pool("a"), steps={"a": (BROKEN,)}, health=FRAGILE)
    await told(workers[0], ScriptedListener())
    workers.turn(ms=999)
    workers[0].gateway.tick()
    assert await told(workers[1], ScriptedListener()) is NoCapacity
    workers.turn(ms=1)
    workers[0].providers["a"].steps = (Silence(),)
    (trial,) = await running(workers[0], 1)
    workers.turn(ms=1)
    assert await told(workers[1], ScriptedListener()) is NoCapacity
    assert workers.asked("a") == [2, 0]
    await stop(trial)


# ---------------------------------------------------------------------------------------------------------------- limits of keys


def admitted(world: World, ask) -> bool:
    try:
        world.gateway.admit(ask)
    except RateLimited:
        return False
    return True


def test_a_key_has_one_limit_whoever_is_asked(serve: Serve):
    workers = serve(3, a_pool("a"), steps={"a": OK})
    ask = limited_ask(requests_per_minute=10, tokens_per_minute=None)
    passed = [admitted(workers[turn % 3], ask) for turn in range(15)]
    assert passed == [True] * 10 + [False] * 5


def test_who_hears_of_a_key_for_the_first_time_hears_what_others_have_given_it(serve: Serve):
    """Else a key that opens a connection to each of eight workers has eight times its limit."""
    workers = serve(2, a_pool("a"), steps={"a": OK})
    ask = limited_ask(requests_per_minute=10, tokens_per_minute=15_000)
    assert all(admitted(workers[0], ask) for _ in range(10))
    assert not admitted(workers[0], ask)
    assert not admitted(workers[1], ask)
    workers.turn(s=30)
    assert [admitted(workers[1], ask) for _ in range(6)] == [True] * 5 + [False]


def test_what_others_took_long_ago_is_paid_by_now(serve: Serve):
    """A key that is used here a little all the time is not refused there for all of it at once."""
    workers = serve(2, a_pool("a"), steps={"a": OK})
    ask = limited_ask(requests_per_minute=60, tokens_per_minute=90_000)
    assert admitted(workers[1], ask)
    for _ in range(600):
        workers.turn(s=2)
        assert admitted(workers[0], ask)
    assert admitted(workers[1], ask)
    workers.turn(s=60)
    assert sum(admitted(workers[1], ask) for _ in range(70)) == 60


async def test_what_was_not_used_is_given_back_to_all(serve: Serve):
    workers = serve(2, a_pool("a"), steps={"a": OK})
    ask = limited_ask(requests_per_minute=None, tokens_per_minute=3_000)
    assert admitted(workers[1], ask)
    workers.turn(s=60)
    for _ in range(20):
        visit = workers[0].gateway.admit(ask)
        await workers[0].gateway.answer(ask, visit, ScriptedListener())
    seen = workers[1].gateway.admit(ask)
    assert seen.granted is not None
    assert seen.granted.remaining_tokens == 3_000 - 20 * 12 - 1_500


async def test_what_time_has_paid_is_given_back_to_nobody(serve: Serve):
    """A bound of long ago that was not used up: here it is paid, so there it must not free what was taken since."""
    workers = serve(2, a_pool("a"), steps={"a": OK})
    ask = limited_ask(requests_per_minute=None, tokens_per_minute=3_000)
    assert workers[1].gateway.admit(ask).limiter is not None
    workers.turn(s=60)
    slow = workers[0].gateway.admit(ask)
    workers.turn(s=60)
    assert [admitted(workers[0], ask), admitted(workers[0], ask)] == [True, True]
    await workers[0].gateway.answer(ask, slow, ScriptedListener())
    assert not admitted(workers[0], ask)
    assert not admitted(workers[1], ask)


def test_a_worker_that_was_started_again_knows_what_was_taken(serve: Serve, tmp_path: Path):
    workers = serve(2, a_pool("a"), steps={"a": OK})
    ask = limited_ask(requests_per_minute=10, tokens_per_minute=None)
    assert all(admitted(workers[turn % 2], ask) for turn in range(10))
    commons = Commons(tmp_path / "commons", 1, 2)
    again = World(a_pool("a"), scripts={"a": ScriptedProvider(*OK)}, clock=workers.clock, neighbours=commons)
    assert not admitted(again, ask)
    workers.turn(s=6)
    assert (admitted(again, ask), admitted(workers[0], ask)) == (True, False)
    commons.close()
