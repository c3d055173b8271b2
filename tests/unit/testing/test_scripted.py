"""What stands in for the world does what it says: otherwise every test that uses it says nothing."""

import asyncio

import pytest

from headrace.core.clock import SECOND
from headrace.core.errors import StorageFull, UpstreamCut
from headrace.core.stream import Finished, Text, Used
from headrace.core.usage import Usage
from headrace.metering import Void
from headrace.testing.builders import a_book, a_model, a_pool, a_snapshot, an_ask
from headrace.testing.clock import NOON, TurnedClock
from headrace.testing.scripted import ListedLog, Pause, ScriptedListener, ScriptedProvider, Silence, Spent
from tests.unit.metering.builders import admit

HI, USED = Text("hi"), Used(Usage(1, output=1))


def test_a_clock_is_turned_by_hand():
    clock = TurnedClock()
    assert (clock.moment(), clock.instant()) == (NOON, SECOND)
    clock.turn(s=1, ms=500)
    assert (clock.moment() - NOON, clock.instant()) == (1_500_000_000, 2_500_000_000)
    with pytest.raises(ValueError, match="does not go back"):
        clock.turn(ms=-1)


async def test_a_script_is_said_in_its_order():
    provider, listener, ask = ScriptedProvider(HI, Pause(3), Spent(Usage(5)), USED), ScriptedListener(), an_ask()
    await provider.answer(ask, listener)
    assert (listener.heard, listener.usage) == ([HI, USED], Usage(5))
    assert (provider.asked, provider.stopped, provider.running) == ([ask], 0, 0)


async def test_an_error_is_raised_where_it_stands():
    provider, listener = ScriptedProvider(HI, UpstreamCut("cut"), USED), ScriptedListener()
    with pytest.raises(UpstreamCut):
        await provider.answer(an_ask(), listener)
    assert (listener.heard, provider.stopped, provider.running) == ([HI], 0, 0)


async def test_silence_ends_when_somebody_leaves():
    provider, listener = ScriptedProvider(HI, Silence()), ScriptedListener()
    async with asyncio.TaskGroup() as tasks:
        answer = tasks.create_task(provider.answer(an_ask(), listener))
        await listener.heard_at_least(1)
        assert provider.running == 1
        answer.cancel()
    assert (provider.stopped, provider.running) == (1, 0)


async def test_a_listener_that_stalls_is_waited_for():
    listener = ScriptedListener(lambda count: listener.stall())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ScriptedProvider(HI, USED).answer(an_ask(), listener))
        await asyncio.sleep(0.01)
        assert listener.heard == [HI]
        listener.flow()
        await listener.heard_at_least(2)
        listener.flow()


def test_a_full_log_takes_ends_but_no_admissions():
    log = ListedLog()
    log.append(admit())
    log.full = True
    with pytest.raises(StorageFull):
        log.append(admit())
    log.append(Void(admit(), 1, "x"))
    assert len(log.records) == 2


def test_what_is_built_fits_together():
    ask, world = an_ask(), a_snapshot()
    assert ask.model in world.models
    assert ask.model in world.pools_of
    assert a_book().price_on(ask.model, NOON) is not None
    assert b'"stream":true' in ask.body
    assert b"include_usage" in an_ask(include_usage=True).body
    assert b'"input"' in an_ask(operation="embeddings").body
    assert an_ask(stream=False, body=b"{}").body == b"{}"
    assert a_snapshot(a_pool(models=["x"]), models=[a_model("y")]).models.keys() == {"y"}
    assert Finished("stop").choice == 0
