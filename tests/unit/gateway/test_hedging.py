"""A second try beside a slow first one: one voice, one bill, and nothing left of the other.

Each pool here is known to begin its answers within a millisecond; a first try that is silent for longer is hedged.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from headrace.core.ask import Ask
from headrace.core.clock import MS
from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamOverloaded, UpstreamRefused
from headrace.core.rules import Rules
from headrace.core.stream import Finished, Text, Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.gateway import Terms, Visit
from headrace.gateway.race import Race
from headrace.metering import Settle, rate
from headrace.portfolio import Pool
from headrace.providers import Hearer
from headrace.routing import Choice, Scene
from headrace.testing.builders import a_pool, a_price, an_ask
from headrace.testing.scripted import ScriptedListener, ScriptedProvider, Silence, Spent
from tests.unit.gateway.world import BOUND, World, limited_ask, turns

HI, HO, END = Text("hi"), Text("ho"), Finished("stop")
MINE, ITS = Usage(10, output=2), Usage(20, output=4)
U, V = Used(MINE), Used(ITS)
BUSY, CUT, WRONG = UpstreamOverloaded("busy"), UpstreamCut("cut"), UpstreamRefused("wrong", status=400, body=b"{}")
SOON_S = 5.0
HEDGING = Terms(hedge_share_max=0.5)


class Gated(ScriptedProvider):
    """Says its steps once its gate is open, or those before it at once."""

    def __init__(self, *steps: Any, before: tuple[Any, ...] = ()) -> None:
        super().__init__(*steps)
        self.gate = asyncio.Event()
        self._before = ScriptedProvider(*before)

    async def answer(self, ask: Ask, hearer: Hearer) -> None:
        await self._before.answer(ask, hearer)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.asked.append(ask)
            self.stopped += 1
            raise
        await super().answer(ask, hearer)


def a_world(*pools: Pool, scripts: dict[str, ScriptedProvider], terms: Terms = HEDGING, **more: Any) -> World:
    """Of pools whose answers have begun within a millisecond so far."""
    world = World(*pools, scripts=scripts, terms=terms, **more)
    for room in world.rooms.values():
        for _ in range(20):
            room.answered(world.clock.instant(), ttft_ms=1.0, duration_ms=2.0, tokens_out=2)
    return world


def two(a: ScriptedProvider, b: ScriptedProvider, **more: Any) -> World:
    return a_world(a_pool("a"), a_pool("b"), scripts={"a": a, "b": b}, **more)


class Story:
    """One request under way, whose client hears what `listener` keeps."""

    def __init__(self, world: World, ask: Ask | None = None) -> None:
        self.world, self.ask, self.listener = world, ask if ask is not None else an_ask(), ScriptedListener()
        self.visit: Visit = world.gateway.admit(self.ask)
        self.task = asyncio.get_running_loop().create_task(world.gateway.answer(self.ask, self.visit, self.listener))

    async def until_asked(self, name: str) -> None:
        """Until pool `name` was asked."""
        for _ in range(round(SOON_S * 1_000)):
            if self.world.room(name).own:
                break
            await asyncio.sleep(0.001)
        await turns(3)
        assert self.world.room(name).own, f"{name} was never asked"

    async def ended(self) -> HeadraceError | None:
        """What it raised, when all that it began is over."""
        failure: HeadraceError | None = None
        async with asyncio.timeout(SOON_S):
            try:
                await self.task
            except HeadraceError as error:
                failure = error
            await asyncio.gather(*self.world.tasks, return_exceptions=True)
        return failure


def outcomes(world: World) -> dict[str, tuple[str, int | None]]:
    """By pool, how its attempt was settled, and what it cost the client."""
    settled = [record for record in world.log.records if isinstance(record, Settle)]
    assert len({record.admitted.id for record in settled}) == len(settled), "an attempt is settled once"
    return {record.admitted.pool: (record.outcome, record.cost_pico) for record in settled}


def cost(usage: Usage) -> int | None:
    return rate(usage, a_price())


async def test_a_fast_answer_is_not_hedged():
    world = two(ScriptedProvider(HI, END, U), ScriptedProvider(HO, END, V))
    story = Story(world)
    assert await story.ended() is None
    assert (story.listener.heard, world.providers["b"].asked) == ([HI, END, U], [])
    assert (outcomes(world), world.inflight) == ({"a": ("completed", cost(MINE))}, world.idle)


async def test_an_answer_that_has_begun_is_not_hedged_however_slowly_it_goes_on():
    a = Gated(END, U, before=(HI,))
    world = two(a, ScriptedProvider(HO, END, V))
    story = Story(world)
    await asyncio.sleep(0.03)
    a.gate.set()
    assert await story.ended() is None
    assert (story.listener.heard, world.providers["b"].asked) == ([HI, END, U], [])


async def test_of_a_pool_of_which_little_is_known_nobody_is_slow():
    a = Gated(HI, END, U)
    world = World(a_pool("a"), a_pool("b"), scripts={"a": a, "b": ScriptedProvider(HO, END, V)}, terms=HEDGING)
    story = Story(world)
    await asyncio.sleep(0.03)
    a.gate.set()
    assert await story.ended() is None
    assert (world.providers["b"].asked, outcomes(world)) == ([], {"a": ("completed", cost(MINE))})


async def test_the_second_speaks_first_and_is_heard_alone():
    world = two(ScriptedProvider(Silence()), ScriptedProvider(HO, END, V))
    story = Story(world)
    assert await story.ended() is None
    assert story.listener.heard == [HO, END, V]
    assert (world.providers["a"].stopped, world.inflight) == (1, world.idle)
    assert outcomes(world) == {"a": ("stopped", 0), "b": ("completed", cost(ITS))}
    assert (story.visit.pool, story.visit.usage, story.visit.cost_pico, story.visit.attempts) == ("b", ITS, cost(ITS), 2)


async def test_the_first_speaks_first_after_all():
    a, b = Gated(HI, END, U), Gated(HO, END, V)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    a.gate.set()
    assert await story.ended() is None
    assert story.listener.heard == [HI, END, U]
    assert (b.stopped, world.inflight) == (1, world.idle)
    assert outcomes(world) == {"a": ("completed", cost(MINE)), "b": ("stopped", 0)}
    assert (story.visit.pool, story.visit.usage, story.visit.cost_pico) == ("a", MINE, cost(MINE)), "the headers speak of who was heard"


async def test_what_is_said_of_the_answer_is_said_of_the_one_that_is_heard():
    """The other adapter had to change the request; that is no business of a client who did not hear it."""

    class Translating(Gated):
        async def answer(self, ask: Ask, hearer: Hearer) -> None:
            hearer.translated((Change("dropped", f"seed for {self.steps[0]}", "it has none"),))
            await super().answer(ask, hearer)

    a, b = Translating(HI, END, U), Translating(HO, END, V)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    a.gate.set()
    assert await story.ended() is None
    assert [change.param for change in story.visit.translation] == [f"seed for {HI}"]


async def test_only_the_first_to_speak_is_heard_though_both_speak_at_once():
    a, b = Gated(HI, END, U), Gated(HO, END, V)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    a.gate.set()
    assert await story.ended() is None
    assert story.listener.heard in ([HI, END, U], [HO, END, V])
    winner = "a" if story.listener.heard[0] is HI else "b"
    assert {name: paid for name, (_, paid) in outcomes(world).items() if paid} == {winner: cost(MINE if winner == "a" else ITS)}
    assert story.visit.pool == winner
    assert world.inflight == world.idle


# -------------------------------------------------------------------------------------------------------------------- failures


async def test_when_the_first_fails_the_second_is_waited_for():
    a, b = Gated(BUSY), Gated(HO, END, V)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    a.gate.set()
    await turns(5)
    assert not story.task.done()
    b.gate.set()
    assert await story.ended() is None
    assert story.listener.heard == [HO, END, V]
    assert world.books == [("a", BUSY.code), ("b", ITS)]
    assert world.inflight == world.idle


async def test_when_the_second_fails_the_first_is_waited_for():
    a, b = Gated(HI, END, U), Gated(CUT)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    await turns(5)
    a.gate.set()
    assert await story.ended() is None
    assert story.listener.heard == [HI, END, U]
    assert world.books == [("b", ("~", BOUND)), ("a", MINE)]
    assert (story.visit.pool, story.visit.usage, story.visit.cost_pico) == ("a", MINE, cost(MINE))


async def test_one_fails_and_the_other_answers_in_one_turn_of_the_loop():
    """Whoever has heard a whole answer is not told of a failure that nobody heard."""
    for _ in range(20):  # which of two that are done comes first in a set is chance
        a, b = Gated(BUSY), Gated(HO, END, V)
        world = two(a, b)
        story = Story(world)
        await story.until_asked("b")
        a.gate.set()
        b.gate.set()
        assert await story.ended() is None
        assert story.listener.heard == [HO, END, V]


async def test_when_both_fail_another_is_asked_who_was_not_in_the_race():
    a, b = Gated(BUSY), Gated(BUSY)
    world = a_world(a_pool("a"), a_pool("b"), a_pool("c"), scripts={"a": a, "b": b, "c": ScriptedProvider(HI, END, U)})
    story = Story(world)
    await story.until_asked("b")
    a.gate.set()
    b.gate.set()
    assert await story.ended() is None
    assert (story.visit.pool, len(a.asked), len(b.asked)) == ("c", 1, 1)
    assert world.inflight == world.idle


async def test_when_all_fail_the_client_is_told():
    """Nobody is asked a third time: both have failed, whichever was the first."""
    a, b = Gated(BUSY), Gated(UpstreamFailed("broken"))
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    await turns(5)
    a.gate.set()
    assert isinstance(await story.ended(), UpstreamOverloaded | UpstreamFailed)
    assert (len(a.asked), len(b.asked), story.listener.heard) == (1, 1, [])
    assert {name for name, _ in world.books} == {"a", "b"}
    assert world.inflight == world.idle


async def test_who_was_heard_and_fails_ends_the_story():
    a, b = Gated(Silence()), Gated(HO, CUT)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    assert isinstance(await story.ended(), UpstreamCut)
    assert (story.listener.heard, a.stopped, world.inflight) == ([HO], 1, world.idle)
    assert outcomes(world) == {"a": ("stopped", 0), "b": ("failed", cost(BOUND))}


async def test_a_request_that_is_wrong_is_wrong_for_both():
    a, b = Gated(WRONG), Gated(WRONG)
    world = a_world(a_pool("a"), a_pool("b"), a_pool("c"), scripts={"a": a, "b": b, "c": ScriptedProvider(HI, END, U)})
    story = Story(world)
    await story.until_asked("b")
    a.gate.set()
    b.gate.set()
    assert isinstance(await story.ended(), UpstreamRefused)
    assert world.providers["c"].asked == []


@asynccontextmanager
async def a_server() -> AsyncIterator[asyncio.TaskGroup]:
    """The tasks of a server, as `compose` owns them: one that raises would end them all."""
    async with asyncio.TaskGroup() as tasks:
        yield tasks


FAILING = [
    # the first                 the second
    ((BUSY,),                   (HO, END, V)),
    ((HI, END, U),              (CUT,)),
    ((BUSY,),                   (BUSY,)),
    ((HI, CUT),                 (Silence(),)),
    ((WRONG,),                  (WRONG,)),
    ((KeyError("a bug"),),      (HO, END, V)),
    ((KeyError("a bug"),),      (KeyError("a bug"),)),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), FAILING)
async def test_a_race_that_is_lost_or_fails_ends_no_server(first, second):
    others: list[str] = []

    async def serve() -> None:
        await asyncio.sleep(0.05)
        others.append("served")

    a, b = Gated(*first), Gated(*second)
    async with a_server() as tasks:
        tasks.create_task(serve())
        world = two(a, b, spawn=lambda work: tasks.create_task(work))
        story = Story(world)
        await story.until_asked("b")
        a.gate.set()
        await turns(5)
        b.gate.set()
        await asyncio.wait([story.task], timeout=SOON_S)
        failure = story.task.exception()
        assert failure is None or failure in (*first, *second)
    assert others == ["served"]
    assert world.inflight == world.idle


async def test_a_fault_of_ours_in_both_is_raised():
    a, b = Gated(KeyError("a bug")), Gated(KeyError("a bug"))
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    a.gate.set()
    b.gate.set()
    with pytest.raises(KeyError):
        await story.task
    assert world.inflight == world.idle


async def test_what_the_loser_fails_with_is_noise_to_nobody(caplog):
    """Where a vendor bills an abandoned answer whole, it is read to its end behind the client's back, and that may break."""
    a, b = Gated(CUT), Gated(HO, END, V)
    world = a_world(a_pool("a", drain_ms_max=2_000), a_pool("b"), scripts={"a": a, "b": b})
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    await asyncio.wait_for(story.task, SOON_S)
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        a.gate.set()
        await turns(5)
        world.tasks.clear()
        story = None  # type: ignore[assignment]
        await turns(5)
    assert caplog.records == []
    assert world.inflight == world.idle


# ----------------------------------------------------------------------------------------------------- what becomes of who has lost


async def test_where_an_abandoned_answer_is_billed_whole_it_is_read_to_its_end():
    a, b = Gated(HI, END, U), Gated(HO, END, V)
    world = a_world(a_pool("a", drain_ms_max=2_000), a_pool("b"), scripts={"a": a, "b": b})
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    await asyncio.wait_for(story.task, SOON_S)
    assert world.inflight == {"a": 1, "b": 1}
    a.gate.set()
    assert await story.ended() is None
    assert (story.listener.heard, a.stopped) == ([HO, END, V], 0)
    assert outcomes(world) == {"b": ("completed", cost(ITS)), "a": ("completed", 0)}, "known to the books, and free to the client"
    assert world.books == [("b", ITS), ("a", MINE)]
    assert (story.visit.usage, story.visit.cost_pico, story.visit.tokens_used) == (ITS, cost(ITS), ITS.total)
    assert world.inflight == world.idle


async def test_and_for_no_longer_than_that_vendor_may_take():
    a, b = Gated(HI), Gated(HO, END, V)
    world = a_world(a_pool("a", drain_ms_max=20), a_pool("b"), scripts={"a": a, "b": b})
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    assert await story.ended() is None
    assert (a.stopped, world.inflight) == (1, world.idle)
    assert outcomes(world)["a"] == ("stopped", 0)


async def test_a_fault_of_ours_in_the_loser_is_not_lost():
    """Nobody waits for it any more, so it is said where the loop says what nobody has caught."""
    said: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: said.append(context))
    bug = KeyError("a bug")
    a, b = Gated(bug), Gated(HO, END, V)
    world = a_world(a_pool("a", drain_ms_max=2_000), a_pool("b"), scripts={"a": a, "b": b})
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    await asyncio.wait_for(story.task, SOON_S)
    a.gate.set()
    assert await story.ended() is None
    assert [context["exception"] for context in said] == [bug]
    assert world.inflight == world.idle


async def test_what_is_learned_of_the_loser_is_its_own():
    """Its pool is no faster because the other one's answer was longer."""
    a, b = Gated(HI, END, Used(Usage(10, output=1))), Gated(HO, END, Used(Usage(10, output=1_000)))
    world = a_world(a_pool("a", drain_ms_max=2_000), a_pool("b"), scripts={"a": a, "b": b})
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    await asyncio.wait_for(story.task, SOON_S)
    before = world.loads["a"].tpot_ms
    world.clock.turn(ms=500)
    a.gate.set()
    await story.ended()
    assert world.loads["a"].tpot_ms == before, "a single token has no pace"


async def test_the_loser_gives_back_nothing_and_takes_nothing():
    a, b = Gated(HI, END, U), Gated(HO, END, V)
    world = a_world(a_pool("a", drain_ms_max=2_000), a_pool("b"), scripts={"a": a, "b": b})
    story = Story(world, limited_ask(tokens_per_minute=100_000))
    await story.until_asked("b")
    b.gate.set()
    await asyncio.wait_for(story.task, SOON_S)
    a.gate.set()
    await story.ended()
    after = world.gateway.admit(limited_ask(tokens_per_minute=100_000))
    assert after.granted is not None
    assert after.granted.remaining_tokens == 100_000 - ITS.total - 1_500


# ---------------------------------------------------------------------------------------------------------------------- who leaves


async def test_who_leaves_a_race_that_nobody_has_won_is_treated_as_anybody_who_leaves():
    """Hedging is no free lunch: a request that was abandoned before a word was said is paid, once, as it is without a second try."""
    a, b = Gated(Silence()), Gated(Silence())
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    story.listener.left = True
    story.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await story.task
    await asyncio.gather(*world.tasks, return_exceptions=True)
    assert outcomes(world) == {"a": ("client_left", cost(BOUND)), "b": ("stopped", 0)}
    assert (a.stopped, b.stopped, world.inflight) == (1, 1, world.idle)


async def test_patience_with_one_who_left_before_a_word_was_said_is_the_first_pools():
    world = a_world(a_pool("a", drain_ms_max=1_500), a_pool("b"), scripts={"a": Gated(HI, END, U), "b": ScriptedProvider(Silence())})
    story = Story(world)
    await turns(3)
    assert story.listener.patience_s == 1.5
    story.task.cancel()
    await asyncio.wait([story.task])


async def test_for_one_who_left_nobody_else_is_asked():
    a = Gated(HI, END, U)
    world = a_world(a_pool("a", drain_ms_max=2_000), a_pool("b"), scripts={"a": a, "b": ScriptedProvider(HO, END, V)})
    story = Story(world)
    await turns(2)
    story.listener.left = True
    await asyncio.sleep(0.03)
    assert world.providers["b"].asked == []
    a.gate.set()
    assert await story.ended() is None
    assert outcomes(world) == {"a": ("client_left", cost(MINE))}


async def test_who_leaves_the_winner_pays_it():
    a, b = Gated(Silence()), Gated(Silence(), before=())
    b.steps = (HO, Spent(ITS), Silence())
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    b.gate.set()
    await turns(3)
    assert story.listener.heard == [HO]
    story.listener.left = True
    story.task.cancel()
    await asyncio.wait([story.task])
    await asyncio.gather(*world.tasks, return_exceptions=True)
    assert outcomes(world) == {"a": ("stopped", 0), "b": ("client_left", cost(ITS))}
    assert world.inflight == world.idle


async def test_a_client_that_reads_slowly_holds_up_the_winner_only():
    a, b = Gated(HI, END, U), Gated(HO, HO, END, V)
    world = a_world(a_pool("a", drain_ms_max=2_000), a_pool("b"), scripts={"a": a, "b": b})
    story = Story(world)
    await story.until_asked("b")
    story.listener.stall()
    b.gate.set()
    a.gate.set()
    await turns(10)
    heard = len(story.listener.heard)
    assert heard == 1, "who must wait is told nothing more"
    loser = "a" if story.listener.heard[0] is HO else "b"
    assert outcomes(world)[loser] == ("completed", 0), "who speaks to nobody need not wait"
    story.listener.flow()
    assert await story.ended() is None
    assert world.inflight == world.idle


# ------------------------------------------------------------------------------------------------------------- where, and how often


async def test_the_rules_hold_for_the_second_too():
    a = Gated(HI, END, U)
    pools = a_pool("a", zero_retention=True), a_pool("b"), a_pool("c", zero_retention=True)
    world = a_world(*pools, scripts={"a": a, "b": ScriptedProvider(HO, END, V), "c": ScriptedProvider(HO, END, V)})
    story = Story(world, an_ask(rules=Rules(zero_retention=True)))
    assert await story.ended() is None
    assert (story.visit.pool, world.providers["b"].asked) == ("c", [])


async def test_where_nobody_else_may_or_can_there_is_no_second():
    a = Gated(HI, END, U)
    world = a_world(a_pool("a", zero_retention=True), a_pool("b"), scripts={"a": a, "b": ScriptedProvider(HO, END, V)})
    story = Story(world, an_ask(rules=Rules(zero_retention=True)))
    await asyncio.sleep(0.03)
    assert world.providers["b"].asked == []
    a.gate.set()
    assert await story.ended() is None


async def test_no_more_than_the_share_is_hedged():
    def a_first(ask: Ask, choices: Sequence[Choice], scene: Scene) -> list[float]:
        return [float(choice.pool.name != "a") for choice in choices]

    world = two(ScriptedProvider(Silence()), ScriptedProvider(HO, END, V), terms=Terms(hedge_share_max=0.125), policy=a_first)
    stories = [Story(world, an_ask(request=f"req_{number}")) for number in range(40)]
    await asyncio.sleep(0.1)
    hedged = sum(len(provider.asked) for provider in world.providers.values()) - len(stories)
    for story in stories:
        story.task.cancel()
    await asyncio.gather(*(story.task for story in stories), *world.tasks, return_exceptions=True)
    assert hedged == 5 + 1, "an eighth of forty, and one to begin with"
    assert world.inflight == world.idle


async def test_without_a_share_nobody_is_hedged():
    world = two(ScriptedProvider(Silence()), ScriptedProvider(HO, END, V), terms=Terms())
    story = Story(world)
    await asyncio.sleep(0.02)
    assert world.providers["b"].asked == []
    story.task.cancel()
    await asyncio.wait([story.task])
    assert world.inflight == world.idle


async def test_both_are_admitted_before_they_are_asked_and_name_one_evidence():
    a, b = Gated(HI, END, U), Gated(HO, END, V)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    first, second = world.admits
    assert (first.attempt, second.attempt, first.pool, second.pool) == (1, 2, "a", "b")
    assert first.evidence == second.evidence is not None
    assert first.placed != second.placed
    a.gate.set()
    await story.ended()


@pytest.mark.parametrize("leaves_after", range(12))
async def test_whenever_the_story_is_stopped_nothing_is_left(leaves_after):
    a, b = Gated(HI, END, U), Gated(HO, END, V)
    world = two(a, b)
    for provider in (a, b):
        asyncio.get_running_loop().call_later(0.004, provider.gate.set)
    story = Story(world)
    if leaves_after < 6:
        await turns(leaves_after)
    else:
        await asyncio.sleep((leaves_after - 5) / 1_000)
    story.task.cancel()
    await asyncio.wait([story.task])
    await asyncio.gather(*world.tasks, return_exceptions=True)
    assert world.inflight == world.idle
    admits = {admit.id for admit in world.admits}
    assert len(world.books) == len(admits)


def test_a_runner_is_a_listener_of_its_own():
    listener = ScriptedListener()
    race = Race(listener)
    first, second = race.first, race.runner()
    first.patience_s, second.patience_s = 1.5, 2.5
    assert (first.patience_s, second.patience_s, listener.patience_s) == (1.5, 2.5, 1.5)
    listener.left = True
    assert (first.left, second.left, first.lost, second.lost) == (True, False, False, False)
    second.hear(HI)
    assert (listener.patience_s, listener.heard) == (2.5, [HI])
    assert (first.left, second.left, first.lost, second.lost) == (False, True, True, False)
    first.hear(HO)
    assert listener.heard == [HI]
    listener.stall()
    assert (first.gate.must_wait, second.gate.must_wait) == (False, True), "who is not heard need not wait"


async def test_a_race_is_timed_from_its_own_start():
    """What the second needed is its own time, not that since the request came."""
    a, b = Gated(Silence()), Gated(HO, END, V)
    world = two(a, b)
    story = Story(world)
    await story.until_asked("b")
    before = world.loads["b"].ttft_ms
    world.clock.turn(ms=1)
    b.gate.set()
    await story.ended()
    assert world.loads["b"].ttft_ms == before == 1.0
    settled = [record for record in world.log.records if isinstance(record, Settle) and record.outcome == "completed"]
    assert [record.ttft_ms for record in settled] == [1]
    assert MS == 1_000_000
