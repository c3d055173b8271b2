"""The story of a request: as a table that can be read, and then for any upstreams and a client who leaves at any point.

The laws: every admission has exactly one end; who hears an end of an answer, hears it settled; a pool that is done is free again; what
a request did not use of the key's limit is given back; and the client hears at most one pool.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import NamedTuple, TypeAlias

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import (
    EngineFailed,
    HeadraceError,
    InvalidRequest,
    QueueFull,
    StorageFull,
    UpstreamCut,
    UpstreamFailed,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from headrace.core.identity import TrafficClass
from headrace.core.stream import Finished, Said, Text, Used, Verbatim
from headrace.core.usage import Usage
from headrace.gateway import Terms, Visit
from headrace.metering import Admit, Evidence, Settle, Void, rate
from headrace.routing import CLASSES, HealthSettings
from headrace.testing.builders import a_pool, a_price, a_principal, an_ask
from headrace.testing.scripted import Pause, ScriptedListener, ScriptedProvider, Silence, Spent, Step
from tests.unit.gateway.world import BOUND, World, limited_ask, told, turns

# ----------------------------------------------------------------------------------------------------------------------- the table

HI, HO, END = Text("hi"), Text("ho"), Finished("stop")
USAGE, LATER = Usage(10, output=2), Usage(20, output=4)
U, L, UNTOLD = Used(USAGE), Used(LATER), Used(None)
BUSY, CUT, LATE, GONE = UpstreamOverloaded("busy"), UpstreamCut("cut"), UpstreamTimedOut("late"), UpstreamUnreachable("no road")
BROKEN, WRONG, QUEUE = UpstreamFailed("broken"), UpstreamRefused("wrong", status=400, body=b"{}"), QueueFull("full", retry_after_ms=5)
LAST = Verbatim(b"held")
DIED = EngineFailed("the worker ended")
AT_BOUND = ("~", BOUND)
Row: TypeAlias = tuple[list[Step], list[Step], list[Said], type[HeadraceError] | None, list[tuple[str, object]]]

TABLE: list[Row] = [
    # pool a                    pool b               the client hears      and is told          the log shows
    ([HI, END, U],              [],                  [HI, END, U],         None,                [("a", USAGE)]),
    ([HI, U, LAST],             [],                  [HI, U, LAST],       None,                [("a", USAGE)]),
    ([HI, END, UNTOLD],         [],                  [HI, END, UNTOLD],    None,                [("a", AT_BOUND)]),
    ([BUSY],                    [HO, END, L],        [HO, END, L],         None,                [("a", BUSY.code), ("b", LATER)]),
    ([GONE],                    [HO, END, L],        [HO, END, L],         None,                [("a", GONE.code), ("b", LATER)]),
    ([QUEUE],                   [HO, END, L],        [HO, END, L],         None,                [("a", QUEUE.code), ("b", LATER)]),
    ([BROKEN],                  [HO, END, L],        [HO, END, L],         None,                [("a", BROKEN.code), ("b", LATER)]),
    ([LATE],                    [HO, END, L],        [HO, END, L],         None,                [("a", AT_BOUND), ("b", LATER)]),
    ([CUT],                     [HO, END, L],        [HO, END, L],         None,                [("a", AT_BOUND), ("b", LATER)]),
    ([WRONG],                   [HO, END, L],        [],                   UpstreamRefused,     [("a", WRONG.code)]),
    ([InvalidRequest("no")],    [HO, END, L],        [],                   InvalidRequest,      [("a", "invalid_value")]),
    ([HI, BUSY],                [HO, END, L],        [HI],                 UpstreamOverloaded,  [("a", AT_BOUND)]),
    ([HI, CUT],                 [HO, END, L],        [HI],                 UpstreamCut,         [("a", AT_BOUND)]),
    ([Spent(USAGE), HI, DIED],  [HO, END, L],        [HI],                 EngineFailed,        [("a", USAGE)]),
    ([HI, DIED],                [HO, END, L],        [HI],                 EngineFailed,        [("a", DIED.code)]),
    ([BUSY],                    [GONE],              [],                   UpstreamUnreachable, [("a", BUSY.code), ("b", GONE.code)]),
    ([BUSY],                    [HO, CUT],           [HO],                 UpstreamCut,         [("a", BUSY.code), ("b", AT_BOUND)]),
    ([U, CUT],                  [HO, END, L],        [U],                  UpstreamCut,         [("a", USAGE)]),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b", "hears", "is_told", "shows"), TABLE)
async def test_the_table(a, b, hears, is_told, shows):
    world = World(a_pool("a"), a_pool("b"), scripts={"a": ScriptedProvider(*a), "b": ScriptedProvider(*b)})
    listener = ScriptedListener()
    assert await told(world, listener) is is_told
    assert listener.heard == hears
    assert world.books == shows
    assert world.inflight == world.idle


async def test_every_attempt_is_admitted_before_its_upstream_hears_of_it():
    asked_at: list[int] = []

    class Watching(ScriptedProvider):
        async def answer(self, ask, hearer):
            asked_at.append(sum(isinstance(record, Admit) for record in world.log.records))
            await super().answer(ask, hearer)

    world = World(a_pool("a"), a_pool("b"), scripts={"a": Watching(BUSY), "b": Watching(END, U)})
    await told(world, ScriptedListener())
    assert asked_at == [1, 2]


async def test_a_pool_that_filled_up_meanwhile_is_not_asked_as_the_second():
    """What was free when the order was made may be full when its turn comes."""
    world = World(
        a_pool("a"), a_pool("b", concurrency_max=2), scripts={"a": ScriptedProvider(Pause(2), BUSY), "b": ScriptedProvider(END, U)}
    )
    async with asyncio.TaskGroup() as tasks:
        story = tasks.create_task(told(world, ScriptedListener()))
        await asyncio.sleep(0)
        world.loads["b"].inflight = 2
    assert world.providers["b"].asked == []
    assert await story is UpstreamOverloaded


async def test_without_room_for_the_log_nobody_is_asked():
    world = World(a_pool("a"), scripts={"a": ScriptedProvider(HI, END, U)})
    world.log.full = True
    assert await told(world, ScriptedListener()) is StorageFull
    assert (world.providers["a"].asked, world.inflight) == ([], world.idle)


async def test_a_fault_of_the_adapter_is_paid_at_the_bound_and_raised():
    world = World(a_pool("a"), a_pool("b"), scripts={"a": ScriptedProvider(KeyError("a bug")), "b": ScriptedProvider(END, U)})
    with pytest.raises(KeyError):
        await told(world, ScriptedListener())
    assert world.books == [("a", AT_BOUND)]


async def test_a_client_who_left_gets_no_second_attempt():
    """While a pool is drained for one who left, it fails before it said anything: nobody would hear another."""
    listener = ScriptedListener()
    scripts = {"a": ScriptedProvider(Pause(2), BUSY), "b": ScriptedProvider(HO, END, L)}
    world = World(a_pool("a", drain_ms_max=20_000), a_pool("b"), scripts=scripts)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(told(world, listener))
        await asyncio.sleep(0)
        listener.left = True
    assert world.providers["b"].asked == []
    assert world.books == [("a", "upstream_overloaded")]


LEAVERS = [
    # pool a                                left  the log shows            outcome
    ([HI, Silence()],                       True, ("a", AT_BOUND),         "client_left"),
    ([Spent(USAGE), HI, Silence()],         True, ("a", USAGE),            "client_left"),
    ([Spent(Usage(10)), Silence()],         True, ("a", Usage(10)),        "client_left"),
    ([Silence()],                           True, ("a", AT_BOUND),         "client_left"),
    ([HI, U, Silence()],                    True, ("a", USAGE),            "completed"),
    ([HI, Silence()],                       False, ("a", AT_BOUND),        "stopped"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "left", "shows", "outcome"), LEAVERS)
async def test_who_leaves_pays_what_was_used(a, left, shows, outcome):
    world, listener = World(a_pool("a"), scripts={"a": ScriptedProvider(*a)}), ScriptedListener()
    async with asyncio.TaskGroup() as tasks:
        story = tasks.create_task(told(world, listener))
        for _ in range(3):
            await asyncio.sleep(0)
        listener.left = left
        story.cancel()
    assert world.books == [shows]
    settled = world.log.records[-1]
    assert isinstance(settled, Settle)
    assert settled.outcome == outcome
    assert (world.providers["a"].stopped, world.inflight) == (1, world.idle)


# ------------------------------------------------------------------------------------------------------------------- any story

FAILURES = [BUSY, CUT, LATE, GONE, BROKEN, WRONG, QUEUE, DIED, InvalidRequest("no"), KeyError("a bug")]
SPENT = st.builds(Spent, st.builds(Usage, st.integers(0, 1_000), output=st.integers(0, 500)))
BEFORE = st.sampled_from([HI, HO, Verbatim(b"x"), Pause(1), Pause(2), END]) | SPENT
ENDINGS: list[list[Step]] = [[U], [U, Verbatim(b"end")], [U, Pause(1), Verbatim(b"end")], [UNTOLD], [Silence()], []]
SCRIPTS = st.builds(
    lambda before, ending: [*before, *ending],
    st.lists(BEFORE, max_size=4),
    st.sampled_from(ENDINGS)
    | st.sampled_from(FAILURES).map(lambda failure: [failure])
    | st.sampled_from(FAILURES).map(lambda failure: [U, failure]),
)


async def any_story(scripts: list[list[Step]], *, leaves_at: int | None, on_hearing: bool, patient: bool, seed: int) -> None:
    names = [f"p{number}" for number in range(len(scripts))]
    world = World(
        *(a_pool(name, drain_ms_max=50 if patient else 0) for name in names),
        scripts={name: ScriptedProvider(*script) for name, script in zip(names, scripts, strict=True)},
        seed=seed,
    )
    ask = limited_ask(tokens_per_minute=100_000)
    visit = world.gateway.admit(ask)
    heard_from: list[str | None] = []

    def leave() -> None:
        listener.left = True
        if not patient:
            story.cancel()

    def on_hear(count: int) -> None:
        heard_from.append(visit.pool)
        if any(isinstance(one, Used) for one in listener.heard):
            assert any(isinstance(record, Settle) for record in world.log.records), "the end of an answer was heard before it was settled"
        if on_hearing and count == leaves_at:
            leave()

    listener = ScriptedListener(on_hear)
    async with asyncio.TaskGroup() as tasks:
        story = tasks.create_task(outcome(world, ask, visit, listener))
        for turn in range(60):
            await asyncio.sleep(0)
            if not on_hearing and turn == leaves_at:
                leave()
        story.cancel()  # whoever is still listened to is stopped
    check(world, visit, heard_from)


async def outcome(world: World, ask, visit: Visit, listener: ScriptedListener) -> None:
    with suppress(HeadraceError, KeyError):
        await world.gateway.answer(ask, visit, listener)


def check(world: World, visit: Visit, heard_from: list[str | None]) -> None:
    admits = [record.id for record in world.log.records if isinstance(record, Admit)]
    ends = Counter(record.admitted.id for record in world.log.records if isinstance(record, Settle | Void))
    assert len(set(admits)) == len(admits)
    assert ends == dict.fromkeys(admits, 1), "every admission has exactly one end"
    assert len(set(heard_from)) <= 1, "the client hears at most one pool"
    assert world.inflight == world.idle, "a pool that is done is free"
    assert all(provider.running == 0 for provider in world.providers.values())
    settled = [record for record in world.log.records if isinstance(record, Settle)]
    paid = [record for record in settled if record.cost_pico]
    assert all(record.cost_pico == rate(record.usage, a_price()) for record in paid)
    assert all(record.outcome in ("failed", "stopped") for record in settled if record.cost_pico == 0 and record.usage.total)
    used = sum(record.usage.total for record in paid)
    after = world.gateway.admit(limited_ask(tokens_per_minute=100_000))
    if admits:  # a story that was cancelled before its first step has nothing to give back yet
        assert after.granted is not None
        assert after.granted.remaining_tokens == 100_000 - used - visit.tokens_bound


@given(
    scripts=st.lists(SCRIPTS, min_size=1, max_size=3),
    leaves_at=st.none() | st.integers(0, 8),
    on_hearing=st.booleans(),
    patient=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whatever_happens_the_laws_hold(scripts, leaves_at, on_hearing, patient, seed):
    with asyncio.Runner() as runner:
        runner.run(any_story(scripts, leaves_at=leaves_at, on_hearing=on_hearing, patient=patient, seed=seed))


# -------------------------------------------------------------------------------------------------- many stories, in lines and in races

SOON_MS = 6
IMPATIENT = {name: msgspec.structs.replace(terms, wait_ms_max=SOON_MS) for name, terms in CLASSES.items()}
NAMES = ("a", "b", "c")


class Slow(ScriptedProvider):
    """Says its own name after a while, and then goes on by its script. It minds that nobody sends it more than it may be sent."""

    def __init__(self, name: str, delay_ms: int, limit: int, *steps: Step) -> None:
        super().__init__(*steps)
        self.said, self._delay_ms, self._limit = Text(name), delay_ms, limit

    async def answer(self, ask, hearer):
        assert self.running < self._limit, "a pool is sent no more than it may take"
        self.running += 1
        try:
            await asyncio.sleep(self._delay_ms / 1_000)
            if not isinstance(self.steps[0], Exception):
                hearer.hear(self.said)
            self.running -= 1
            try:
                await super().answer(ask, hearer)
            finally:
                self.running += 1
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        finally:
            self.running -= 1


class Upstream(NamedTuple):
    """A pool of `limit` places, whose first word takes `delay_ms`, and what it says then. `drain_ms` is for losers and leavers."""

    limit: int
    delay_ms: int
    drain_ms: int
    steps: tuple[Step, ...]


class Client(NamedTuple):
    """One request: how long after the one before it, of which class and tenant, and after how many milliseconds its client leaves."""

    after_turns: int
    traffic_class: TrafficClass
    tenant: str
    leaves_after_ms: int | None


UPSTREAMS = st.builds(
    Upstream,
    st.integers(1, 2),
    st.sampled_from([0, 0, 2, 4]),
    st.sampled_from([0, 3]),
    st.sampled_from([(END, U), (END, U), (Pause(3), END, L), (BUSY,), (CUT,), (Pause(1), CUT), (Silence(),), (UNTOLD,), (WRONG,), (DIED,)]),
)
CLIENTS = st.builds(
    Client,
    st.integers(0, 3),
    st.sampled_from(["realtime", "agentic", "batch"]),
    st.sampled_from(["x", "y"]),
    st.sampled_from([None, None, None, 0, 1, 3, 5]),
)


async def many_stories(upstreams: list[Upstream], clients: list[Client], *, hedged: bool, waiting_max: int, seed: int) -> None:
    there = dict(zip(NAMES, upstreams, strict=False))
    world = World(
        *(a_pool(name, concurrency_max=of.limit, drain_ms_max=of.drain_ms, waiting_max=waiting_max) for name, of in there.items()),
        scripts={name: Slow(name, of.delay_ms, of.limit, *of.steps) for name, of in there.items()},
        terms=Terms(hedge_share_max=0.5 if hedged else 0.0),
        classes=IMPATIENT,
        health=HealthSettings(failures_max=1_000, samples_min=1_000, overloaded_ms=1),
        seed=seed,
    )
    for name, room in world.rooms.items():
        world.loads[name].inflight = 0
        for _ in range(20):
            room.answered(world.clock.instant(), ttft_ms=1.0, duration_ms=0.1, tokens_out=2)
    loop = asyncio.get_running_loop()
    listeners: list[ScriptedListener] = []
    stories: list[asyncio.Task[None]] = []
    for number, client in enumerate(clients):
        await turns(client.after_turns)
        ask = an_ask(request=f"req_{number}", traffic_class=client.traffic_class, principal=a_principal(organization=client.tenant))
        listeners.append(ScriptedListener())
        stories.append(loop.create_task(one_story(world, ask, listeners[-1])))
        if client.leaves_after_ms is not None:
            loop.call_later(client.leaves_after_ms / 1_000, leave, listeners[-1], stories[-1])
    await asyncio.sleep(2 * SOON_MS / 1_000)
    for story in stories:
        story.cancel()  # who is still listened to is stopped
    results = await asyncio.gather(*stories, *world.tasks, return_exceptions=True)
    assert not [result for result in results if isinstance(result, AssertionError)]
    check_all(world, listeners)


def leave(listener: ScriptedListener, story: "asyncio.Task[None]") -> None:
    listener.left = True
    story.cancel()


async def one_story(world: World, ask, listener: ScriptedListener) -> None:
    with suppress(HeadraceError):
        await world.gateway.answer(ask, world.gateway.admit(ask), listener)


def check_all(world: World, listeners: list[ScriptedListener]) -> None:
    assert world.inflight == dict.fromkeys(world.inflight, 0), "nobody is in a room"
    assert {name: load.waiting for name, load in world.loads.items()} == dict.fromkeys(world.inflight, 0), "nor in a line"
    assert all(provider.running == 0 for provider in world.providers.values())
    ends = Counter(record.admitted.id for record in world.log.records if isinstance(record, Settle | Void))
    assert ends == dict.fromkeys([admit.id for admit in world.admits], 1), "every admission has exactly one end"
    paid = Counter(record.admitted.request for record in world.log.records if isinstance(record, Settle) and record.cost_pico)
    assert set(paid.values()) <= {1}, "nobody pays for two"
    for listener in listeners:
        names = [said.text for said in listener.heard if isinstance(said, Text)]
        assert len(names) <= 1, "one voice"
        assert sum(isinstance(said, Used) for said in listener.heard) <= 1
    evidence: set[str | None] = set()
    for record in world.log.records:
        if isinstance(record, Evidence):
            assert record.id not in evidence
            evidence.add(record.id)
        elif isinstance(record, Admit):
            assert record.evidence in evidence
            assert record.attempt <= Terms().attempts_max + 1, "and one more beside a slow first one"


@given(
    upstreams=st.lists(UPSTREAMS, min_size=1, max_size=3),
    clients=st.lists(CLIENTS, min_size=1, max_size=6),
    hedged=st.booleans(),
    waiting_max=st.sampled_from([0, 1, 5]),
    seed=st.integers(0, 99),
)
def test_however_many_come_and_wait_and_race_nothing_is_left(upstreams, clients, hedged, waiting_max, seed):
    with asyncio.Runner() as runner:
        runner.run(many_stories(upstreams, clients, hedged=hedged, waiting_max=waiting_max, seed=seed))
