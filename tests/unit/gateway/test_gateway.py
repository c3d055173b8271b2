"""The gateway around its story: what an admission says, what is measured, and what a key's limits hold and give back."""

import msgspec
import pytest

from headrace.core.errors import ModelNotFound, NoCapacity, RateLimited, UpstreamOverloaded
from headrace.core.stream import Finished, Text, Used
from headrace.core.usage import Usage
from headrace.metering import Admit, Settle, rate
from headrace.testing.builders import a_pool, a_price, a_principal, an_ask
from headrace.testing.scripted import Pause, ScriptedListener, ScriptedProvider
from tests.unit.gateway.world import BOUND, World, limited_ask, told

HI, END = Text("hi"), Finished("stop")
USAGE = Usage(10, output=2)
U, BUSY = Used(USAGE), UpstreamOverloaded("busy")


async def test_what_an_admission_says():
    world = World(a_pool("a"), a_pool("b"), scripts={"a": ScriptedProvider(BUSY), "b": ScriptedProvider(Pause(), HI, END, U)})
    who = a_principal(organization="o", project="p", key="k", traffic_class="batch")
    await told(world, ScriptedListener(), an_ask(request="req_7", principal=who, stream=False))
    first, second = [record for record in world.log.records if isinstance(record, Admit)]
    assert (first.id, second.id) == (("req_7", 1), ("req_7", 2))
    assert msgspec.structs.replace(second, attempt=1, pool="a") == first
    assert (first.organization, first.project, first.key, first.traffic_class, first.streamed) == ("o", "p", "k", "batch", False)
    assert (first.bound, first.bound_pico, first.price) == (BOUND, rate(BOUND, a_price()), a_price().id)
    settled = world.log.records[-1]
    assert isinstance(settled, Settle)
    assert (settled.outcome, settled.cost_pico, settled.ttft_ms) == ("completed", rate(USAGE, a_price()), 0)


async def test_times_are_measured_from_admission():
    def turn(count: int) -> None:
        world.clock.turn(ms=100)

    world = World(a_pool("a"), scripts={"a": ScriptedProvider(HI, END, U)})
    ask, listener = an_ask(), ScriptedListener(turn)
    visit = world.gateway.admit(ask)
    world.clock.turn(ms=40)
    await world.gateway.answer(ask, visit, listener)
    settled = world.log.records[-1]
    assert isinstance(settled, Settle)
    assert (settled.ttft_ms, settled.duration_ms) == (40, 240)
    assert (visit.pool, visit.attempts, visit.usage, visit.cost_pico) == ("a", 1, USAGE, rate(USAGE, a_price()))


async def test_a_model_that_nobody_serves():
    world = World(a_pool("a"), scripts={"a": ScriptedProvider()})
    assert await told(world, ScriptedListener(), an_ask(model="gpt-9")) is ModelNotFound
    assert world.log.records == []


async def test_full_pools():
    world = World(a_pool("a", concurrency_max=1), scripts={"a": ScriptedProvider(HI, END, U)})
    world.gateway.loads["a"].inflight = 1
    assert await told(world, ScriptedListener()) is NoCapacity
    assert (world.log.records, world.inflight) == ([], {"a": 1})


async def test_patience_with_one_who_left_is_the_pools():
    listener = ScriptedListener()
    world = World(a_pool("a", drain_ms_max=1_500), scripts={"a": ScriptedProvider(END, U)})
    await told(world, listener)
    assert listener.patience_s == 1.5


async def test_what_was_not_used_is_given_back():
    world = World(a_pool("a"), scripts={"a": ScriptedProvider(END, U)})
    ask = limited_ask()
    visit = world.gateway.admit(ask)
    assert visit.granted is not None
    assert visit.granted.remaining_tokens == 8_500
    await world.gateway.answer(ask, visit, ScriptedListener())
    after = world.gateway.admit(ask)
    assert after.granted is not None
    assert after.granted.remaining_tokens == 10_000 - USAGE.total - 1_500
    assert after.granted.remaining_requests == 8


WORDS = [
    (limited_ask(tokens_per_minute=1_499), "tokens", None, "tokens per min (TPM): Limit 1499, Requested 1500. Ask for fewer tokens."),
    (
        limited_ask(tokens_per_minute=2_000),
        "tokens",
        30_000,
        "tokens per min (TPM): Limit 2000, Requested 1500. Please try again in 30000 ms.",
    ),
    (limited_ask(requests_per_minute=1), "requests", 60_000, "requests per min (RPM): Limit 1. Please try again in 60000 ms."),
]


@pytest.mark.parametrize(("ask", "kind", "retry_after_ms", "words"), WORDS)
def test_over_the_limit(ask, kind, retry_after_ms, words):
    world = World(a_pool("a"), scripts={})
    with pytest.raises(RateLimited) as refused:
        _ = world.gateway.admit(ask), world.gateway.admit(ask)
    assert (refused.value.kind, refused.value.retry_after_ms) == (kind, retry_after_ms)
    assert str(refused.value) == f"Rate limit reached for gpt-5.4-nano in project demo on {words}"


BOUNDS = [
    (an_ask(tokens_out_max=7), 1_007),
    (an_ask(tokens_out_max=None), 17_384),
    (an_ask(tokens_out_max=None, model="gpt-9"), 17_384),
    (an_ask(operation="embeddings", tokens_out_max=None), 1_000),
]


@pytest.mark.parametrize(("ask", "bound"), BOUNDS)
def test_what_a_request_is_bound_by(ask, bound):
    assert World(a_pool("a"), scripts={}).gateway.admit(ask).tokens_bound == bound


def test_a_key_whose_limits_change_starts_anew():
    gateway = World(a_pool("a"), scripts={}).gateway
    first = gateway.admit(limited_ask(requests_per_minute=5))
    again = gateway.admit(limited_ask(requests_per_minute=5))
    other = gateway.admit(limited_ask(requests_per_minute=9))
    assert first.limiter is again.limiter
    assert other.granted is not None
    assert other.granted.remaining_requests == 8
    assert gateway.admit(an_ask()).limiter is None
