"""Placement: whatever the portfolio and the load, no limit is broken and no chance is drawn but from the seed."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from headrace.portfolio import Pool, Snapshot
from headrace.routing import Load, Refuse, Send, decide, least_loaded
from headrace.testing.builders import a_pool, a_snapshot, an_ask

MODELS = ["m", "n", "o"]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Snapshot, dict[str, Load]]:
    """Up to eight pools, some of them full or over-full; of some no load is known yet."""
    pools: list[Pool] = []
    loads: dict[str, Load] = {}
    for number in range(draw(st.integers(1, 8))):
        limit = draw(st.integers(1, 5))
        pool = a_pool(f"p{number}", models=draw(st.sets(st.sampled_from(MODELS))), concurrency_max=limit)
        pools.append(pool)
        if draw(st.booleans()):
            loads[pool.name] = Load(draw(st.integers(0, limit + 1)))
    return a_snapshot(*pools), loads


@given(world=worlds(), model=st.sampled_from([*MODELS, "gpt-9"]), seed=st.integers(0, 2**64))
def test_every_pool_that_may_and_can_and_no_other_least_loaded_first(world, model, seed):
    snapshot, loads = world
    decided = decide(an_ask(model=model), snapshot, loads, Random(seed))
    assert decided == decide(an_ask(model=model), snapshot, loads, Random(seed)), "the same seed decides the same"
    may = [pool for pool in snapshot.pools.values() if model in pool.models]
    can = [pool for pool in may if loads.get(pool.name, Load()).inflight < pool.concurrency_max]
    match decided:
        case Send(order=order):
            assert sorted(pool.name for pool in order) == sorted(pool.name for pool in can)
            shares = [least_loaded(an_ask(), pool, loads.get(pool.name, Load())) for pool in order]
            assert shares == sorted(shares)
        case Refuse(reason="model_not_found"):
            assert not may
        case Refuse():
            assert may
            assert not can


@given(world=worlds(), count=st.integers(1, 40), seed=st.integers(0, 2**64))
def test_whoever_follows_it_never_fills_a_pool_over_its_limit(world, count, seed):
    snapshot, loads = world
    before = {name: loads.setdefault(name, Load()).inflight for name in snapshot.pools}
    rng = Random(seed)
    for _ in range(count):
        decided = decide(an_ask(model="m"), snapshot, loads, rng)
        if isinstance(decided, Send):
            loads[decided.order[0].name].inflight += 1
    for name, pool in snapshot.pools.items():
        assert loads[name].inflight <= max(pool.concurrency_max, before[name])
