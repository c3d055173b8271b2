"""The gateway around its story: what an admission says, what is measured, and what a key's limits hold and give back."""

import msgspec
import pytest

from headrace.core.clock import MS, SECOND
from headrace.core.errors import (
    ContextLengthExceeded,
    HeadraceError,
    ModelNotFound,
    NoCapacity,
    NotAllowed,
    NotTranslatable,
    RateLimited,
    StorageFull,
    UpstreamFailed,
    UpstreamOverloaded,
)
from headrace.core.rules import Rules
from headrace.core.stream import Finished, Text, Used
from headrace.core.translation import Change
from headrace.core.usage import Usage
from headrace.gateway import Terms
from headrace.metering import Admit, Declined, Evidence, Settle, rate
from headrace.routing import HealthSettings, read_evidence
from headrace.testing.builders import a_model, a_pool, a_price, a_principal, a_snapshot, an_ask
from headrace.testing.scripted import Pause, ScriptedListener, ScriptedProvider
from tests.unit.gateway.world import BOUND, World, limited_ask, told

HI, END = Text("hi"), Finished("stop")
USAGE = Usage(10, output=2)
U, BUSY = Used(USAGE), UpstreamOverloaded("busy")


async def test_what_an_admission_says():
    world = World(a_pool("a"), a_pool("b"), scripts={"a": ScriptedProvider(BUSY), "b": ScriptedProvider(Pause(), HI, END, U)})
    who = a_principal(organization="o", project="p", key="k", traffic_class="agentic")
    await told(world, ScriptedListener(), an_ask(request="req_7", principal=who, stream=False))
    first, second = [record for record in world.log.records if isinstance(record, Admit)]
    assert (first.id, second.id) == (("req_7", 1), ("req_7", 2))
    assert msgspec.structs.replace(second, attempt=1, pool="a", placed=first.placed) == first
    assert (first.organization, first.project, first.key, first.traffic_class, first.streamed) == ("o", "p", "k", "agentic", False)
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
    assert (world.admits, world.books) == ([], [])


async def test_full_pools():
    world = World(a_pool("a", concurrency_max=1), scripts={"a": ScriptedProvider(HI, END, U)})
    world.loads["a"].inflight = 1
    assert await told(world, ScriptedListener()) is NoCapacity
    assert (world.admits, world.books, world.inflight) == ([], [], {"a": 1})


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


LEFT = [
    (limited_ask(), {"requests": (10, 9, 6_000), "tokens": (10_000, 8_500, 9_000)}),
    (limited_ask(tokens_per_minute=None), {"requests": (10, 9, 6_000)}),
    (limited_ask(requests_per_minute=None), {"tokens": (10_000, 8_500, 9_000)}),
    (an_ask(), {}),
]


@pytest.mark.parametrize(("ask", "left"), LEFT)
def test_what_the_limits_leave(ask, left):
    assert World(a_pool("a"), scripts={}).gateway.admit(ask).left == left


def test_a_key_whose_limits_change_starts_anew():
    gateway = World(a_pool("a"), scripts={}).gateway
    first = gateway.admit(limited_ask(requests_per_minute=5))
    again = gateway.admit(limited_ask(requests_per_minute=5))
    other = gateway.admit(limited_ask(requests_per_minute=9))
    assert first.limiter is again.limiter
    assert other.granted is not None
    assert other.granted.remaining_requests == 8
    assert gateway.admit(an_ask()).limiter is None


def test_each_host_has_its_part_of_a_keys_limits():
    gateway = World(a_pool("a"), scripts={}).gateway
    early = gateway.admit(limited_ask(requests_per_minute=9)).limiter
    gateway.share_limits(4)
    late = gateway.admit(limited_ask(requests_per_minute=3, tokens_per_minute=None)).limiter
    assert early is not None
    assert late is not None
    assert (early.requests_per_minute, early.tokens_per_minute) == (2, 2_500)
    assert (late.requests_per_minute, late.tokens_per_minute) == (1, None)
    gateway.share_limits(1)
    assert late.requests_per_minute == 3


# ------------------------------------------------------------------------------------------------------------------- whom it asks

OK = (HI, END, U)
BROKEN = UpstreamFailed("broken")


def failing(*names: str, failure: HeadraceError = BROKEN) -> dict[str, ScriptedProvider]:
    return {name: ScriptedProvider(failure) for name in names}


def asked(world: World) -> dict[str, int]:
    return {name: len(provider.asked) for name, provider in world.providers.items()}


@pytest.mark.parametrize("attempts_max", [1, 2, 3, 4])
async def test_no_more_pools_are_asked_than_may_be(attempts_max):
    world = World(*(a_pool(name) for name in "abcdef"), scripts=failing(*"abcdef"), terms=Terms(attempts_max=attempts_max))
    assert await told(world, ScriptedListener()) is UpstreamFailed
    assert asked(world) == {name: int(number < attempts_max) for number, name in enumerate("abcdef")}
    assert world.inflight == world.idle


async def test_no_more_is_tried_again_than_the_budget_has():
    """A hundred to begin with, and one for each ten requests: an overload is not multiplied."""
    world = World(
        a_pool("a"),
        a_pool("b"),
        scripts=failing(*"ab"),
        terms=Terms(retry_share=0.1),
        health=HealthSettings(failures_max=10**6, samples_min=10**6),
    )
    for _ in range(500):
        await told(world, ScriptedListener())
    assert asked(world)["a"] == 500
    assert 100 + 35 <= asked(world)["b"] <= 100 + 50, "and none is spent where nobody is left to be asked"


async def test_with_no_share_of_retries_nothing_is_tried_again():
    world = World(a_pool("a"), a_pool("b"), scripts=failing(*"ab"), terms=Terms(retry_share=0.0))
    await told(world, ScriptedListener())
    assert asked(world) == {"a": 1, "b": 0}


async def test_a_pool_that_is_overloaded_rests_for_as_long_as_it_said():
    scripts = {"a": ScriptedProvider(UpstreamOverloaded("busy", retry_after_ms=3_000)), "b": ScriptedProvider(*OK)}
    world = World(a_pool("a"), a_pool("b"), scripts=scripts)
    for _ in range(3):
        assert await told(world, ScriptedListener()) is None
    assert asked(world) == {"a": 1, "b": 3}
    world.clock.turn(ms=2_999)
    world.gateway.tick()
    await told(world, ScriptedListener())
    assert asked(world) == {"a": 1, "b": 4}
    world.clock.turn(ms=1)
    world.gateway.tick()
    await told(world, ScriptedListener())
    assert asked(world) == {"a": 2, "b": 5}


async def test_a_pool_that_fails_is_tried_by_one_and_then_given_more():
    scripts = {"a": ScriptedProvider(BROKEN), "b": ScriptedProvider(*OK)}
    world = World(a_pool("a"), a_pool("b"), scripts=scripts, health=HealthSettings(failures_max=2, closed_ms=1_000))
    for _ in range(5):
        await told(world, ScriptedListener())
    assert asked(world) == {"a": 2, "b": 5}
    scripts["a"].steps = OK
    world.clock.turn(ms=1_000)
    await told(world, ScriptedListener())
    assert (asked(world)["a"], world.loads["a"].limit) == (3, 1)
    world.clock.turn(s=20)
    world.gateway.tick()
    assert (world.room("a").health.state, world.loads["a"].limit, world.loads["a"].hindered) == ("open", 1_024, False)


async def test_a_vendor_over_its_share_serves_only_if_nobody_else_can():
    scripts = {name: ScriptedProvider(HI, END, Used(Usage(200_000, output=1))) for name in "ab"}
    world = World(
        a_pool("a", vendor="azure"),
        a_pool("b", vendor="oci"),
        scripts=scripts,
        terms=Terms(vendor_share_max={"azure": 0.5}, share_window_s=60),
    )
    for _ in range(4):
        await told(world, ScriptedListener())
        world.gateway.tick()
    assert asked(world) == {"a": 2, "b": 2}
    world.loads["b"].inflight = 1_024
    world.loads["a"].over_share = True
    world.loads["a"].look_again()
    assert await told(world, ScriptedListener()) is None
    assert asked(world)["a"] == 3
    world.clock.turn(s=61)
    world.gateway.tick()
    assert not world.loads["a"].over_share


# --------------------------------------------------------------------------------------------------------------- why nobody takes it


async def refusal(world: World, ask) -> HeadraceError:
    with pytest.raises(HeadraceError) as refused:
        await world.gateway.answer(ask, world.gateway.admit(ask), ScriptedListener())
    assert (world.admits, world.inflight) == ([], world.idle)
    return refused.value


async def test_what_is_forbidden():
    world = World(a_pool("a"), a_pool("b", zero_retention=True, vendor="azure"), scripts=failing(*"ab"))
    refused = await refusal(world, an_ask(rules=Rules(zero_retention=True, vendors_denied=frozenset({"azure"}))))
    assert isinstance(refused, NotAllowed)
    assert str(refused) == "No pool that serves gpt-5.4-nano may have this data: the rules about vendor, zero_retention leave none."
    assert asked(world) == {"a": 0, "b": 0}


async def test_that_nobody_was_asked_is_on_record_with_why():
    world = World(a_pool("a"), a_pool("b"), scripts=failing(*"ab"))
    ask = an_ask(request="req_9", rules=Rules(zero_retention=True))
    assert isinstance(await refusal(world, ask), NotAllowed)
    evidence, declined = world.log.records
    assert isinstance(evidence, Evidence)
    assert isinstance(declined, Declined)
    assert (declined.request, declined.code, declined.evidence, declined.placed) == ("req_9", "not_allowed", evidence.id, ())
    assert [one for one, _ in read_evidence(evidence.content).excluded] == ["a", "b"]


async def test_what_nobody_can_do():
    world = World(a_pool("a", capabilities=frozenset()), scripts=failing("a"))
    refused = await refusal(world, an_ask(needs=["images"]))
    assert isinstance(refused, NotTranslatable)
    assert str(refused) == "No pool that serves gpt-5.4-nano and may have this data can do what is asked: capability:images."


async def test_what_is_too_long():
    world = World(a_pool("a", tokens_context_max=100), scripts=failing("a"))
    refused = await refusal(world, an_ask(tokens_in_max=10_000))
    assert isinstance(refused, ContextLengthExceeded)
    assert (refused.param, str(refused)) == ("messages", "The request is too long for every pool that serves gpt-5.4-nano.")


async def test_what_would_be_late():
    world = World(a_pool("a", ttft_ms=500.0), scripts=failing("a"))
    refused = await refusal(world, an_ask(deadline=world.clock.instant() + 499 * MS))
    assert isinstance(refused, NoCapacity)
    assert (refused.retry_after_ms, str(refused)) == (None, "No pool that serves gpt-5.4-nano is expected to answer before the deadline.")


@pytest.mark.parametrize(("rests", "told_ms"), [(3_000 * MS, 3_000), (1, 1), (MS + 1, 2), (SECOND - 1, 1_000)])
async def test_when_all_rest_the_time_to_come_back_is_true(rests, told_ms):
    world = World(a_pool("a"), a_pool("b"), scripts=failing(*"ab"))
    for name, more in (("a", 5), ("b", 0)):
        world.loads[name].closed_until = world.clock.instant() + rests + more
        world.loads[name].look_again()
    refused = await refusal(world, an_ask())
    assert isinstance(refused, NoCapacity)
    assert refused.retry_after_ms == told_ms
    assert str(refused) == "Every pool that may serve gpt-5.4-nano is failing or resting."


async def test_who_is_past_their_deadline_is_not_told_to_wait():
    world = World(a_pool("a", concurrency_max=1), scripts=failing("a"))
    world.room("a").take(world.clock.instant())
    ask = an_ask(deadline=world.clock.instant() - SECOND)
    with pytest.raises(NoCapacity):
        await world.gateway.answer(ask, world.gateway.admit(ask), ScriptedListener())
    assert world.loads["a"].waiting == 0


# ------------------------------------------------------------------------------------------------------------------------ evidence


async def test_evidence_is_said_once_and_before_whoever_names_it():
    world = World(a_pool("a", vendor="azure"), a_pool("b"), scripts={"a": ScriptedProvider(BROKEN), "b": ScriptedProvider(*OK)})
    kinds = [
        an_ask(),
        an_ask(rules=Rules(vendors_denied=frozenset({"azure"}))),
        an_ask(),
        an_ask(rules=Rules(vendors=frozenset({"azure"}))),
    ]
    for ask in (*kinds, *kinds):
        await told(world, ScriptedListener(), ask)
    said: set[str] = set()
    for record in world.log.records:
        if isinstance(record, Evidence):
            assert record.id not in said
            said.add(record.id)
        elif isinstance(record, Admit):
            assert record.evidence in said
    assert len(said) == 3
    assert {admit.evidence for admit in world.admits} == said


async def test_the_evidence_and_the_placing_tell_who_was_considered_and_why_not():
    world = World(
        a_pool("a", vendor="azure"),
        a_pool("b"),
        a_pool("c"),
        scripts={"a": ScriptedProvider(*OK), "b": ScriptedProvider(BROKEN), "c": ScriptedProvider(*OK)},
    )
    world.gateway.tick()
    await told(world, ScriptedListener(), an_ask(rules=Rules(vendors_denied=frozenset({"azure"}))))
    (evidence,) = [record for record in world.log.records if isinstance(record, Evidence)]
    content = read_evidence(evidence.content)
    assert (content.considered, content.excluded) == (("b", "c"), (("a", "vendor"),))
    first, second = world.admits
    assert [content.considered[spot] for spot, _, _ in first.placed] == ["b", "c"]
    assert [(content.considered[spot], code) for spot, code, _ in second.placed] == [("c", 0), ("b", 5)]


async def test_however_many_kinds_of_requests_come_what_is_remembered_is_bounded():
    """A client chooses what its headers name, so the kinds are as many as it likes."""
    world = World(a_pool("a", vendor="azure"), scripts={"a": ScriptedProvider(*OK)})
    for number in range(20_000):
        ask = an_ask(rules=Rules(vendors=frozenset({"azure", f"v{number}"})))
        await world.gateway.answer(ask, world.gateway.admit(ask), ScriptedListener())
        world.log.records.clear()
    assert max(len(held) for held in vars(world.gateway).values() if isinstance(held, set | dict)) < 20_000


async def test_what_was_translated_is_on_record():
    changes = (Change("dropped", "seed", "this dialect has none"),)

    class Translating(ScriptedProvider):
        async def answer(self, ask, hearer):
            hearer.translated(changes)
            await super().answer(ask, hearer)

    world = World(a_pool("a"), scripts={"a": Translating(*OK)})
    ask = an_ask()
    visit = world.gateway.admit(ask)
    await world.gateway.answer(ask, visit, ScriptedListener())
    settled = world.log.records[-1]
    assert isinstance(settled, Settle)
    assert settled.translation == visit.translation == changes


async def test_a_request_that_can_not_be_logged_is_no_failure_of_its_pool():
    world = World(a_pool("a"), scripts={"a": ScriptedProvider(*OK)}, health=HealthSettings(failures_max=1))
    world.log.full = True
    assert await told(world, ScriptedListener()) is StorageFull
    assert (world.room("a").health.state, world.inflight) == ("open", {"a": 0})


async def test_what_a_pool_takes_is_learned_from_what_it_answers():
    world = World(a_pool("a", ttft_ms=500.0, tpot_ms=20.0), scripts={"a": ScriptedProvider(HI, END, Used(Usage(10, output=11)))})

    def turn(count: int) -> None:
        world.clock.turn(ms=50)

    ask, listener = an_ask(), ScriptedListener(turn)
    visit = world.gateway.admit(ask)
    world.clock.turn(ms=1_000)
    await world.gateway.answer(ask, visit, listener)
    load = world.loads["a"]
    assert (load.ttft_ms, load.tpot_ms, load.service_ms) == (0.0, 10.0, 100.0), "from when it was asked, to when its usage was known"


async def test_of_an_answer_whose_length_nobody_said_no_pace_is_learned():
    """The bound is what is billed, not what was said: hundreds of tokens would be a pace that no pool has."""
    world = World(a_pool("a", tpot_ms=20.0), scripts={"a": ScriptedProvider(HI, END, Used(None))})
    await told(world, ScriptedListener(lambda count: world.clock.turn(ms=100)))
    assert world.loads["a"].tpot_ms == 20.0


async def test_a_model_of_another_length():
    seen = a_snapshot(a_pool("a"), models=[a_model(tokens_context_max=50)])
    world = World(a_pool("a"), scripts=failing("a"), snapshot=seen)
    assert isinstance(await refusal(world, an_ask(tokens_in_max=10_000)), ContextLengthExceeded)


async def test_a_pool_that_is_much_slower_than_its_peers_is_left_alone_for_a_while():
    pools = [a_pool(name) for name in "abc"]
    world = World(*pools, scripts={name: ScriptedProvider(*OK) for name in "abc"})
    for name, ttft_ms in (("a", 900.0), ("b", 100.0), ("c", 100.0)):
        for _ in range(20):
            world.room(name).answered(world.clock.instant(), ttft_ms=ttft_ms, duration_ms=1_000.0, tokens_out=5)
    world.clock.turn(s=2)
    world.gateway.tick()
    assert [world.room(name).health.state for name in "abc"] == ["closed", "open", "open"]
    assert "its first token takes 900 ms" in world.loads["a"].closed_for
    await told(world, ScriptedListener())
    assert asked(world) == {"a": 0, "b": 1, "c": 0}
    world.clock.turn(s=2)
    world.gateway.tick()
    await told(world, ScriptedListener())
    assert asked(world)["a"] == 1, "it is tried when it has rested"
