"""Waiting for room: who is called, who is turned away and told when to come back, and that nothing is left behind."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from headrace.core.ask import Ask
from headrace.core.clock import MS, SECOND
from headrace.core.errors import HeadraceError, InternalFailure, NoCapacity, StorageFull, UpstreamOverloaded
from headrace.core.rules import Rules
from headrace.core.stream import Finished, Text, Used
from headrace.core.usage import Usage
from headrace.metering import Admit, Aside, Evidence, Record
from headrace.routing import CLASSES
from headrace.testing.builders import a_pool, a_principal, an_ask
from headrace.testing.scripted import ScriptedListener, ScriptedProvider, Silence
from tests.unit.gateway.world import World, limited_ask, turns

HI, END, U = Text("hi"), Finished("stop"), Used(Usage(10, output=2))
ANSWER = (HI, END, U)
SOON_MS = 40
"""How long the classes of these tests wait at most, in real time."""
IMPATIENT = {name: msgspec.structs.replace(terms, wait_ms_max=SOON_MS) for name, terms in CLASSES.items()}


def a_full_world(*names: str, classes: Any = CLASSES, service_ms: float = 1.0, **pool: Any) -> World:
    """Pools of one place each, which is taken."""
    pools = [a_pool(name, **{"concurrency_max": 1, **pool}) for name in names]
    world = World(*pools, scripts={name: ScriptedProvider(*ANSWER) for name in names}, classes=classes)
    for name in names:
        world.loads[name].inflight = 0
        for _ in range(world.loads[name].limit):
            world.room(name).take(world.clock.instant())
        world.loads[name].service_ms = service_ms
    return world


class Told:
    """One request under way."""

    def __init__(self, world: World, ask: Ask) -> None:
        self.world, self.ask, self.listener = world, ask, ScriptedListener()
        self.visit = world.gateway.admit(ask)
        self.failure: HeadraceError | None = None
        self.task = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        try:
            await self.world.gateway.answer(self.ask, self.visit, self.listener)
        except HeadraceError as failure:
            self.failure = failure

    @property
    def state(self) -> str:
        if not self.task.done():
            return "waits"
        if self.task.cancelled():
            return "left"
        return "answered" if self.failure is None else self.failure.code


async def told(world: World, *asks: Ask) -> list[Told]:
    """Tell them all, one after another, until each is answered, refused or waits."""
    stories: list[Told] = []
    for ask in asks:
        stories.append(Told(world, ask))
        await turns(3)
    return stories


def states(stories: Iterable[Told]) -> list[str]:
    return [story.state for story in stories]


def free(world: World, name: str = "a") -> None:
    world.room(name).free(world.clock.instant())


def check_nothing_is_left(world: World) -> None:
    assert world.inflight == dict.fromkeys(world.inflight, 0)
    assert {name: load.waiting for name, load in world.loads.items()} == dict.fromkeys(world.inflight, 0)
    assert not any(load.hindered for load in world.loads.values())


async def test_who_waits_is_answered_when_there_is_room():
    world = a_full_world("a")
    (story,) = await told(world, an_ask())
    assert (story.state, world.loads["a"].waiting, world.admits) == ("waits", 1, [])
    world.clock.turn(ms=25)
    free(world)
    await turns(5)
    assert (story.state, story.listener.heard, story.visit.waited_ms) == ("answered", list(ANSWER), 25)
    check_nothing_is_left(world)


async def test_of_several_who_wait_the_higher_class_is_first_and_tenants_take_turns():
    world = a_full_world("a", service_ms=0.01)
    x, y = (a_principal(organization=name) for name in "xy")
    asks = [
        an_ask(request="batch", traffic_class="batch"),
        *(an_ask(request=f"x{number}", principal=x, traffic_class="agentic") for number in range(3)),
        an_ask(request="y", principal=y, traffic_class="agentic"),
        an_ask(request="realtime"),
    ]
    stories = await told(world, *asks)
    assert states(stories) == ["waits"] * 6
    free(world)
    await turns(60)
    assert states(stories) == ["answered"] * 6
    served = [admit.request for admit in world.admits]
    assert served == ["realtime", "x0", "y", "x1", "x2", "batch"]
    check_nothing_is_left(world)


async def test_who_would_wait_too_long_is_told_so_at_once():
    world = a_full_world("a", service_ms=1_500.0)
    (story,) = await told(world, an_ask(traffic_class="realtime"))
    assert isinstance(story.failure, NoCapacity)
    assert story.failure.retry_after_ms == 1_500
    assert "class realtime would be about 1.5 s" in str(story.failure)
    (patient,) = await told(world, an_ask(traffic_class="enterprise"))
    assert patient.state == "waits"
    patient.task.cancel()
    await turns(2)
    free(world)
    check_nothing_is_left(world)


async def test_the_wait_grows_with_those_who_are_before_one():
    world = a_full_world("a", service_ms=400.0)
    stories = await told(world, *(an_ask(request=f"req_{number}") for number in range(4)))
    assert states(stories) == ["waits", "waits", "no_capacity", "no_capacity"]
    assert [story.failure.retry_after_ms for story in stories if story.failure is not None] == [1_200, 1_200]
    for story in stories:
        story.task.cancel()
    await turns(2)
    free(world)
    check_nothing_is_left(world)


async def test_who_waited_in_vain_is_told_when_to_come_back():
    world = a_full_world("a", classes=IMPATIENT)
    (story,) = await told(world, limited_ask())
    await asyncio.wait_for(story.task, 5)
    assert isinstance(story.failure, NoCapacity)
    assert story.failure.retry_after_ms == 1, "one millisecond is what a request takes there, and nobody else waits"
    free(world)
    check_nothing_is_left(world)
    after = world.gateway.admit(limited_ask())
    assert after.granted is not None
    assert after.granted.remaining_tokens == 10_000 - 1_500, "nothing was used, so all was given back"


async def test_a_deadline_cuts_the_wait_short():
    world = a_full_world("a", ttft_ms=1.0)
    began = asyncio.get_running_loop().time()
    (story,) = await told(world, an_ask(deadline=world.clock.instant() + 30 * MS))
    await asyncio.wait_for(story.task, 5)
    assert asyncio.get_running_loop().time() - began < 0.8, "the class would wait for a second"
    assert story.state == "no_capacity"
    (late,) = await told(world, an_ask(deadline=world.clock.instant() - SECOND))
    assert late.state == "no_capacity"
    assert late.failure is not None
    assert late.failure.retry_after_ms is None, "to come back later would be later still"
    free(world)
    check_nothing_is_left(world)


@pytest.mark.parametrize("free_first", [True, False])
async def test_who_leaves_while_they_wait_leaves_nothing_behind(free_first):
    world = a_full_world("a", "b")
    story, after = await told(world, an_ask(request="req_1"), an_ask(request="req_2"))
    if free_first:
        free(world)  # the place was given to the first in the same turn in which they left
    story.task.cancel()
    if not free_first:
        free(world)
    await turns(8)
    assert states([story, after]) == ["left", "answered"]
    free(world, "b")
    check_nothing_is_left(world)
    assert [admit.request for admit in world.admits] == ["req_2"]


async def test_who_is_called_and_left_in_one_turn_frees_the_place_again():
    world = a_full_world("a")
    (story,) = await told(world, an_ask())
    free(world)
    assert world.inflight == {"a": 1}
    story.task.cancel()
    await turns(3)
    check_nothing_is_left(world)


async def test_a_full_line_turns_away_and_a_higher_class_takes_the_place():
    world = a_full_world("a", waiting_max=1)
    batch, training = await told(world, an_ask(traffic_class="batch"), an_ask(traffic_class="training"))
    assert states([batch, training]) == ["waits", "no_capacity"]
    assert training.failure is not None
    assert training.failure.retry_after_ms is not None
    (realtime,) = await told(world, an_ask(traffic_class="realtime"))
    assert states([batch, realtime]) == ["no_capacity", "waits"]
    assert batch.failure is not None
    assert batch.failure.retry_after_ms is not None
    assert batch.failure.retry_after_ms >= 1, "to come back after nothing is to come back into the same crowd"
    free(world)
    await turns(5)
    assert realtime.state == "answered"
    check_nothing_is_left(world)


async def test_who_waits_in_several_lines_goes_where_there_is_room_first():
    world = a_full_world("a", "b")
    (story,) = await told(world, an_ask())
    assert {name: load.waiting for name, load in world.loads.items()} == {"a": 1, "b": 1}
    free(world, "b")
    await turns(5)
    assert (story.visit.pool, world.providers["a"].asked) == ("b", [])
    free(world, "a")
    check_nothing_is_left(world)


async def test_nobody_overtakes_who_waits_of_their_own_class():
    world = a_full_world("a")
    first, second = await told(world, an_ask(request="req_1"), an_ask(request="req_2"))
    free(world)
    late = Told(world, an_ask(request="req_3"))  # there is room again for a moment, and it is another's
    await turns(20)
    assert states([first, second, late]) == ["answered"] * 3
    served = [admit.request for admit in world.admits]
    assert served == ["req_1", "req_2", "req_3"]
    check_nothing_is_left(world)


async def test_a_batch_that_waits_for_idle_room_holds_up_no_person():
    """Four of five places are taken: the fifth is not for batch, so batch waits. It is free for who can't wait, and at once."""
    world = a_full_world("a", concurrency_max=5)
    free(world)
    (batch,) = await told(world, an_ask(traffic_class="batch"))
    assert batch.state == "waits"
    (realtime,) = await told(world, an_ask(traffic_class="realtime"))
    assert realtime.state == "answered"
    assert batch.state == "waits"
    free(world)
    await turns(5)
    assert batch.state == "answered"


async def test_nobody_waits_for_a_second_attempt():
    """A pool has failed and the others are full: the client hears of the failure, not of a line."""
    world = World(
        a_pool("a"), a_pool("b", concurrency_max=1), scripts={"a": ScriptedProvider(UpstreamOverloaded("busy")), "b": ScriptedProvider()}
    )
    (story,) = await told(world, an_ask())
    assert story.state == "upstream_overloaded"
    assert world.inflight == world.idle


async def test_the_rules_hold_in_line_too():
    """The pool that is free may not have these data: whoever waits, waits for one that may."""
    world = World(
        a_pool("a", concurrency_max=1, zero_retention=True),
        a_pool("b"),
        scripts={"a": ScriptedProvider(*ANSWER), "b": ScriptedProvider(*ANSWER)},
    )
    world.room("a").take(world.clock.instant())
    world.loads["a"].service_ms = 1.0
    (story,) = await told(world, an_ask(rules=Rules(zero_retention=True)))
    assert (story.state, world.loads["b"].waiting) == ("waits", 0)
    world.room("b").free(world.clock.instant())
    await turns(5)
    assert story.state == "waits"
    free(world)
    await turns(5)
    assert (story.state, story.visit.pool, world.providers["b"].asked) == ("answered", "a", [])


async def test_who_waits_for_a_pool_that_is_removed_is_served_all_the_same():
    world = a_full_world("a")
    (story,) = await told(world, an_ask())
    world.change(a_pool("b"), scripts={"b": ScriptedProvider()})
    free(world)
    await turns(5)
    assert (story.state, story.visit.pool) == ("answered", "a")


# -------------------------------------------------------------------------------------------------- where the log has no room


class Refusing:
    """A log that takes no evidence, or no admission."""

    def __init__(self, kind: type[Record | Aside], failure: HeadraceError) -> None:
        self._kind, self._failure = kind, failure

    def append(self, record: Record | Aside) -> None:
        if isinstance(record, self._kind):
            raise self._failure


NO_LOGS = [(Admit, StorageFull("full")), (Evidence, StorageFull("full")), (Evidence, InternalFailure("the evidence is too long"))]


@pytest.mark.parametrize(("kind", "failure"), NO_LOGS)
async def test_what_can_not_be_kept_takes_no_place(kind, failure):
    """Else each such request would take one for ever: the room would be full of nobody."""
    world = World(a_pool("a"), scripts={"a": ScriptedProvider(*ANSWER)}, log=Refusing(kind, failure))
    (story,) = await told(world, an_ask())
    assert (story.failure, world.providers["a"].asked, world.inflight) == (failure, [], {"a": 0})


@pytest.mark.parametrize(("kind", "failure"), NO_LOGS)
async def test_nor_does_it_after_waiting(kind, failure):
    pool = a_pool("a", concurrency_max=1)
    world = World(pool, scripts={"a": ScriptedProvider(*ANSWER)}, log=Refusing(kind, failure))
    world.room("a").take(world.clock.instant())
    world.loads["a"].service_ms = 1.0
    (story,) = await told(world, an_ask())
    free(world)
    await turns(5)
    assert story.failure is failure
    check_nothing_is_left(world)


async def test_who_says_nothing_more_is_left_in_the_end():
    world = World(a_pool("a", concurrency_max=1), scripts={"a": ScriptedProvider(Silence())})
    world.loads["a"].service_ms = 1.0
    first, second = await told(world, an_ask(request="req_1"), an_ask(request="req_2"))
    first.listener.left = second.listener.left = True
    second.task.cancel()
    await turns(2)
    first.task.cancel()
    await turns(2)
    assert states([first, second]) == ["left", "left"]
    check_nothing_is_left(world)
