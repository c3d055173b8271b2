"""One version of everything: whose rules hold for whom, what can't be set, and what a change leaves alone."""

import asyncio
from typing import Any

import msgspec
import pytest

from headrace.core.errors import UpstreamOverloaded
from headrace.core.rules import NO_RULES, Rules
from headrace.core.stream import Finished, Text, Used
from headrace.core.usage import Usage
from headrace.gateway import RuleFor, Terms, rooms_for
from headrace.metering import Admit, Settle
from headrace.routing import CLASSES, POLICIES, HealthSettings
from headrace.testing.builders import a_pool, a_principal, a_snapshot, a_world, an_ask
from headrace.testing.scripted import ScriptedListener, ScriptedProvider
from tests.unit.gateway.test_hedging import Gated
from tests.unit.gateway.world import World, told, turns

BUSY = UpstreamOverloaded("busy")
HI, HO, END, U = Text("hi"), Text("ho"), Finished("stop"), Used(Usage(10, output=2))
ASKED = {"organization": "acme", "project": "demo", "key": "key_1", "model": "m", "traffic_class": "batch"}
ASKING = msgspec.structs.replace(a_principal(organization="acme", project="demo", key="key_1"), key_name="dev"), "m", "batch"

MATCHES = [
    # whom a rule is for                                        whether it holds
    ({},                                                        True),
    ({"organization": "acme"},                                  True),
    ({"organization": "other"},                                 False),
    ({"project": "demo"},                                       True),
    ({"project": "other"},                                      False),
    ({"key": "key_1"},                                          True),
    ({"key": "dev"},                                            True),
    ({"key": "key_2"},                                          False),
    ({"model": "m"},                                            True),
    ({"model": "n"},                                            False),
    ({"traffic_class": "batch"},                                True),
    ({"traffic_class": "realtime"},                             True),  # the key's own class, whatever class a request asks for
    ({"traffic_class": "coding"},                               False),
    (ASKED,                                                     True),
    (ASKED | {"key": "key_2"},                                  False),
]  # fmt: skip


@pytest.mark.parametrize(("whom", "holds"), MATCHES)
def test_for_whom_a_rule_holds(whom, holds):
    rule = Rules(names=("r",), zero_retention=True)
    assert a_world(rules=[RuleFor(rules=rule, **whom)]).rules_for(*ASKING) == (rule if holds else NO_RULES)


def test_all_rules_that_hold_hold_together():
    world = a_world(
        rules=[
            RuleFor(rules=Rules(names=("a",), vendors=frozenset({"azure", "oci"}))),
            RuleFor(rules=Rules(names=("b",), vendors=frozenset({"oci", "aws"})), organization="acme"),
            RuleFor(rules=Rules(names=("c",), zero_retention=True), organization="other"),
        ]
    )
    assert world.rules_for(*ASKING) == Rules(names=("a", "b"), vendors=frozenset({"oci"}))
    assert a_world().rules_for(*ASKING) is NO_RULES


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"attempts_max": 0}, "attempts_max"),
    ({"attempts_max": 9}, "attempts_max"),
    ({"retry_share": -0.1}, "retry_share"),
    ({"retry_share": 1.1}, "retry_share"),
    ({"hedge_share_max": 0.6}, "hedge_share_max"),
    ({"hedge_share_max": -0.1}, "hedge_share_max"),
    ({"share_window_s": 0}, "share_window_s"),
    ({"vendor_share_max": {"azure": 1.2}}, "azure"),
]


@pytest.mark.parametrize(("fields", "says"), WRONG)
def test_what_can_not_be_set(fields, says):
    with pytest.raises(ValueError, match=says):
        Terms(**fields)


def test_the_most_and_the_least_that_can_be_set():
    Terms(attempts_max=8, retry_share=1.0, hedge_share_max=0.5, share_window_s=1, vendor_share_max={"azure": 1.0, "oci": 0.0})
    Terms(attempts_max=1, retry_share=0.0, hedge_share_max=0.0)
    assert not Terms().strict


def test_a_typo_is_an_error():
    with pytest.raises(msgspec.ValidationError, match="attempt_max"):
        msgspec.convert({"attempt_max": 2}, Terms)


# ------------------------------------------------------------------------------------------------------------------------- rooms


def test_rooms_of_the_same_name_go_on():
    first = rooms_for(a_snapshot(a_pool("a", concurrency_max=5), a_pool("b")), {}, HealthSettings())
    first["a"].take(0)
    second = rooms_for(a_snapshot(a_pool("a", concurrency_max=9), a_pool("c")), first, HealthSettings())
    assert set(second) == {"a", "c"}
    assert second["a"] is first["a"]
    assert (second["a"].load.limit, second["a"].load.inflight, second["a"].pool.concurrency_max) == (9, 1, 9)


def test_other_settings_of_health_hold_for_pools_that_stay_as_they_are():
    first = rooms_for(a_snapshot(a_pool("a")), {}, HealthSettings(failures_max=5))
    rooms_for(a_snapshot(a_pool("a")), first, HealthSettings(failures_max=1))
    first["a"].health.failed(1, "broke")
    assert first["a"].health.state == "closed"


# --------------------------------------------------------------------------------------------------------------------- a change


async def test_a_request_that_runs_keeps_its_world():
    """Prices, rules, providers and pools are those with which it began, for its second attempt too."""
    a, old, new = Gated(BUSY), ScriptedProvider(HI, END, U), ScriptedProvider(HO, END, U)
    world = World(a_pool("a"), a_pool("b"), scripts={"a": a, "b": old})
    listener = ScriptedListener()
    async with asyncio.TaskGroup() as tasks:
        story = tasks.create_task(told(world, listener))
        await turns(3)
        world.change(a_pool("b", vendor="elsewhere"), scripts={"b": new})
        a.gate.set()
    assert story.result() is None
    assert (listener.heard, len(old.asked), new.asked) == ([HI, END, U], 1, [])
    assert world.inflight == world.idle
    assert await told(world, after := ScriptedListener()) is None
    assert after.heard == [HO, END, U]


async def test_a_rule_that_comes_while_a_request_runs_is_not_its_own_and_one_that_goes_still_is():
    """The ask carries the rules that it was read with: a change widens nothing for those under way."""
    a = Gated(BUSY)
    world = World(a_pool("a", zero_retention=True), a_pool("b"), scripts={"a": a, "b": ScriptedProvider(HI, END, U)})
    async with asyncio.TaskGroup() as tasks:
        story = tasks.create_task(told(world, ScriptedListener(), an_ask(rules=Rules(zero_retention=True))))
        await turns(3)
        world.change(a_pool("a"), a_pool("b"), scripts={"a": ScriptedProvider(HI, END, U), "b": ScriptedProvider(HI, END, U)})
        a.gate.set()
    assert story.result() is not None, "nobody else may have these data"
    assert world.providers["b"].asked == []


async def test_each_version_has_its_own_evidence():
    script = {"a": ScriptedProvider(HI, END, U)}
    world = World(a_pool("a"), scripts=script)
    await told(world, ScriptedListener())
    world.change(a_pool("a"), a_pool("b"), scripts=script | {"b": ScriptedProvider(HI, END, U)}, policy=POLICIES["least_loaded"])
    await told(world, ScriptedListener())
    first, second = world.admits
    assert first.evidence != second.evidence


async def test_when_no_vendor_is_capped_any_more_nobody_is_over_their_share():
    scripts = {name: ScriptedProvider(HI, END, Used(Usage(200_000, output=1))) for name in "ab"}
    pools = a_pool("a", vendor="azure"), a_pool("b", vendor="oci")
    world = World(*pools, scripts=scripts, terms=Terms(vendor_share_max={"azure": 0.5}))
    await told(world, ScriptedListener())
    world.gateway.tick()
    assert (world.loads["a"].over_share, world.loads["a"].hindered) == (True, True)
    world.change(*pools, scripts=scripts)
    world.gateway.tick()
    assert (world.loads["a"].over_share, world.loads["a"].hindered) == (False, False)


async def test_other_terms_begin_with_budgets_of_their_own():
    failing = ScriptedProvider(UpstreamOverloaded("busy", retry_after_ms=0))
    pools = a_pool("a"), a_pool("b")
    scripts = {"a": failing, "b": ScriptedProvider(HI, END, U)}
    world = World(*pools, scripts=scripts, terms=Terms(retry_share=0.0))
    assert await told(world, ScriptedListener()) is not None
    world.change(*pools, scripts=scripts, terms=Terms(retry_share=0.5))
    assert await told(world, ScriptedListener()) is None


async def test_the_price_is_that_of_the_class_at_the_time():
    """A class of half the price costs half, in the books, to the last digit; another world's terms are another's."""
    scripts = {"a": ScriptedProvider(HI, END, U)}
    world = World(a_pool("a"), scripts=scripts)
    costs: list[int | None] = []
    for traffic_class in ("realtime", "batch", "realtime"):
        await told(world, ScriptedListener(), an_ask(traffic_class=traffic_class))
        settled = world.log.records[-1]
        assert isinstance(settled, Settle)
        costs.append(settled.cost_pico)
    assert costs == [10 * 200_000 + 2 * 1_250_000, 10 * 100_000 + 2 * 625_000, costs[0]]
    batch = next(record for record in world.log.records if isinstance(record, Admit) and record.traffic_class == "batch")
    assert batch.price is not None
    assert batch.price.endswith("*500")
    assert batch.bound_pico == 1_000 * 100_000 + 500 * 625_000
    free = {**CLASSES, "batch": msgspec.structs.replace(CLASSES["batch"], price_permille=0)}
    world.change(a_pool("a"), scripts=scripts, classes=free)
    await told(world, ScriptedListener(), an_ask(traffic_class="batch"))
    settled = world.log.records[-1]
    assert isinstance(settled, Settle)
    assert settled.cost_pico == 0
