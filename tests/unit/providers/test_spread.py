"""Several endpoints of one pool: they take turns, and one that can't be reached is left alone for a while."""

import pytest

from headrace.core.clock import MS
from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamOverloaded, UpstreamTimedOut, UpstreamUnreachable
from headrace.core.stream import Finished, Text, Used
from headrace.core.usage import Usage
from headrace.providers import Spread
from headrace.providers.spread import REST
from headrace.testing.builders import an_ask
from headrace.testing.clock import TurnedClock
from headrace.testing.providers import check_failure, check_provider
from headrace.testing.scripted import ScriptedListener, ScriptedProvider

OK = (Text("hi"), Finished("stop"), Used(Usage(10, output=2)))
GONE = UpstreamUnreachable("no road")


def spread(*providers: ScriptedProvider, clock: TurnedClock | None = None) -> Spread:
    return Spread(providers, clock or TurnedClock())


def asked(*providers: ScriptedProvider) -> list[int]:
    return [len(provider.asked) for provider in providers]


async def ask(pool: Spread, times: int = 1) -> None:
    for _ in range(times):
        await pool.answer(an_ask(), ScriptedListener())


async def test_it_is_a_provider():
    await check_provider(spread(ScriptedProvider(*OK), ScriptedProvider(*OK)), an_ask())
    await check_failure(spread(ScriptedProvider(GONE), ScriptedProvider(GONE)), an_ask(), UpstreamUnreachable)


async def test_they_take_turns():
    providers = [ScriptedProvider(*OK) for _ in range(3)]
    await ask(spread(*providers), 9)
    assert asked(*providers) == [3, 3, 3]


async def test_where_one_is_gone_the_next_answers():
    dead, well = ScriptedProvider(GONE), ScriptedProvider(*OK)
    pool, listener = spread(dead, well), ScriptedListener()
    for _ in range(2):
        await pool.answer(an_ask(), listener)
    assert listener.heard == [*OK, *OK]


async def test_who_is_gone_is_left_alone_for_a_while_and_then_asked_in_turn():
    clock = TurnedClock()
    dead, well = ScriptedProvider(GONE), ScriptedProvider(*OK)
    pool = spread(dead, well, clock=clock)
    await ask(pool, 10)
    assert asked(dead, well) == [1, 10]
    clock.turn(ms=REST // MS)
    dead.steps = OK
    await ask(pool, 10)
    assert asked(dead, well) == [6, 15]


async def test_who_rests_is_asked_when_nobody_else_is_there():
    clock = TurnedClock()
    first, second = ScriptedProvider(GONE), ScriptedProvider(GONE)
    pool = spread(first, second, clock=clock)
    for _ in range(2):
        with pytest.raises(UpstreamUnreachable):
            await ask(pool)
    assert asked(first, second) == [2, 2]
    second.steps = OK
    await ask(pool)


@pytest.mark.parametrize("failure", [UpstreamOverloaded("busy"), UpstreamTimedOut("late"), UpstreamCut("cut")])
async def test_every_other_failure_is_the_gateways_to_judge(failure: HeadraceError):
    """Something was sent: a second try may do it twice, and be billed twice."""
    providers = [ScriptedProvider(failure), ScriptedProvider(failure)]
    with pytest.raises(type(failure)):
        await ask(spread(*providers))
    assert sum(asked(*providers)) == 1
    pool = spread(*providers)
    for _ in range(2):
        with pytest.raises(type(failure)):
            await ask(pool)
    assert sorted(asked(*providers)) == [1, 2], "nor is it a reason to leave that endpoint alone"


async def test_the_last_failure_is_told():
    with pytest.raises(UpstreamUnreachable, match="second"):
        await ask(spread(ScriptedProvider(UpstreamUnreachable("second")), ScriptedProvider(UpstreamUnreachable("first"))))


async def test_alive_as_long_as_one_is():
    await spread(ScriptedProvider(GONE), ScriptedProvider(*OK)).probe()
    await spread(ScriptedProvider(*OK), ScriptedProvider(GONE)).probe()
    with pytest.raises(UpstreamUnreachable):
        await spread(ScriptedProvider(GONE), ScriptedProvider(GONE)).probe()


async def test_a_probe_finds_who_is_back_and_who_is_gone():
    first, second = ScriptedProvider(GONE), ScriptedProvider(*OK)
    pool = spread(first, second)
    await pool.probe()
    await ask(pool, 4)
    assert asked(first, second) == [0, 4]
    first.steps, second.steps = OK, (GONE,)
    await pool.probe()
    await ask(pool, 4)
    assert asked(first, second) == [4, 4]


def test_a_pool_has_an_endpoint():
    with pytest.raises(ValueError, match="at least one endpoint"):
        spread()
