"""Placement: whatever the portfolio, the moment, the request and the policy, no rule and no limit is broken, and a seed decides the same.

What is asked of each pool is said here a second time, as a list of demands, and compared with what was decided.
"""

from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.ask import Ask
from headrace.core.clock import MS, SECOND
from headrace.core.rules import CAPABILITIES, DATA_CLASSES, Rules
from headrace.portfolio import ModelProfile, Pool, Snapshot, TokenCost
from headrace.routing import CLASSES, POLICIES, Board, Choice, Load, Policy, Refuse, Send, Wait, broken_rule, decide, read_evidence
from headrace.routing.decide import CLOSED, CONTEXT, DEADLINE, FULL, LATE, NEXT, PLACED_MAX, RANKED, SHARE, TRIED
from headrace.testing.builders import MODEL, a_model, a_pool, a_snapshot, an_ask
from tests.unit.routing.order import order_of

NOW = 1_000 * SECOND
NAMES = tuple(f"p{number}" for number in range(12))
PLACES, VENDORS = ("eu", "de", "us"), ("azure", "oci")
CAPABLE = st.none() | st.frozensets(st.sampled_from(CAPABILITIES[:2]))
LENGTHS = st.sampled_from([None, 100, 1_000])


class Scenery(NamedTuple):
    """What `decide` is handed."""

    ask: Ask
    board: Board
    policy: Policy
    tried: tuple[str, ...]


@st.composite
def pools(draw: st.DrawFn, name: str) -> Pool:
    return a_pool(
        name,
        models=draw(st.sampled_from([(MODEL,), (MODEL, "n"), ("n",)])),
        concurrency_max=draw(st.integers(1, 5)),
        vendor=draw(st.sampled_from(VENDORS)),
        jurisdictions=draw(st.frozensets(st.sampled_from(PLACES))),
        data_class=draw(st.sampled_from(DATA_CLASSES)),
        zero_retention=draw(st.booleans()),
        capabilities=draw(CAPABLE),
        tokens_context_max=draw(LENGTHS),
        owned=draw(st.booleans()),
        weight=draw(st.sampled_from([0.0, 1.0, 5.0])),
        costs={MODEL: TokenCost(*draw(st.tuples(*[st.integers(0, 9).map(float)] * 3)))},
    )


@st.composite
def loads(draw: st.DrawFn, pool: Pool) -> Load:
    load = Load(draw(st.integers(1, pool.concurrency_max)))
    load.inflight = draw(st.integers(0, pool.concurrency_max + 1))
    load.closed_until = draw(st.sampled_from([0, 0, 0, NOW - 1, NOW, NOW + 1, NOW + 5]))
    load.over_share = draw(st.sampled_from([False, False, True]))
    load.waiting = draw(st.sampled_from([0, 0, 0, 2]))
    load.ttft_ms = draw(st.sampled_from([100.0, 500.0, 1_500.0]))
    load.tpot_ms = draw(st.sampled_from([10.0, 10.0, 50.0]))
    return load


ASKS = st.builds(
    an_ask,
    model=st.sampled_from([MODEL, MODEL, MODEL, "n", "gpt-9"]),
    traffic_class=st.sampled_from(sorted(CLASSES)),
    rules=st.builds(
        Rules,
        jurisdictions=st.none() | st.frozensets(st.sampled_from(PLACES)),
        vendors=st.none() | st.frozensets(st.sampled_from(VENDORS)),
        vendors_denied=st.frozensets(st.sampled_from(VENDORS), max_size=1),
        data_class=st.none() | st.sampled_from(DATA_CLASSES),
        zero_retention=st.booleans(),
    )
    | st.just(Rules()),
    needs=st.frozensets(st.sampled_from(CAPABILITIES[:2])),
    affinity=st.sampled_from([0, 1 << 32 | 1, 1 << 32 | 2**31]),
    tokens_in_max=st.sampled_from([8, 800, 8_000]),
    tokens_out_max=st.sampled_from([None, 1, 500]),
    deadline=st.none() | st.sampled_from([NOW - 1, NOW, NOW + 300 * MS, NOW + 2_000 * MS]),
)


@st.composite
def sceneries(draw: st.DrawFn) -> Scenery:
    there = [draw(pools(name)) for name in NAMES[: draw(st.integers(1, PLACED_MAX + 3))]]
    stand = {pool.name: draw(loads(pool)) for pool in there}
    profiles = [msgspec.structs.replace(a_model(), capabilities=draw(CAPABLE), tokens_context_max=draw(LENGTHS)), a_model("n")]
    board = Board(a_snapshot(*there, models=profiles), stand)
    tried = draw(st.just(()) | st.lists(st.sampled_from(NAMES), max_size=3).map(tuple))
    return Scenery(draw(ASKS), board, draw(st.sampled_from(sorted(POLICIES.items())))[1], tried)


def decided(scenery: Scenery, seed: int = 0) -> Send | Wait | Refuse:
    return decide(scenery.ask, scenery.board, NOW, Random(seed), scenery.policy, scenery.tried)


# ------------------------------------------------------------------------------------------------------- what is demanded of a pool


def may(ask: Ask, snapshot: Snapshot, pool: Pool) -> bool:
    """Whether these data may go there, and it can do what is asked. The rules themselves are tested on their own."""
    profile: ModelProfile | None = snapshot.models.get(ask.model)
    can = pool.capabilities if pool.capabilities is not None else (profile.capabilities if profile is not None else None)
    return ask.model in pool.models and broken_rule(pool, ask.rules) is None and (can is None or ask.needs <= can)


def hindrances(scenery: Scenery, pool: Pool) -> set[int]:
    """All that stands in the way of a pool that may, whichever of it is named."""
    ask, board = scenery.ask, scenery.board
    load, terms, profile = board.loads[pool.name], CLASSES[ask.traffic_class], board.snapshot.models[ask.model]
    context_max = pool.tokens_context_max or profile.tokens_context_max
    found: set[int] = set()
    if pool.name in scenery.tried:
        found.add(TRIED)
    if load.closed_until > NOW:
        found.add(CLOSED)
    if context_max is not None and ask.tokens_in_max // 8 + (ask.tokens_out_max or 0) > context_max:
        found.add(CONTEXT)
    if load.inflight >= load.limit or load.inflight / load.limit >= terms.idle_share or load.waiting:
        found.add(FULL)
    if ask.deadline is not None and NOW + load.ttft_ms * MS > ask.deadline:
        found.add(DEADLINE)
    return found


def reluctances(scenery: Scenery, pool: Pool) -> set[int]:
    """What makes a pool that can serve one that serves only if nobody else does."""
    load, terms = scenery.board.loads[pool.name], CLASSES[scenery.ask.traffic_class]
    late = load.ttft_ms > terms.ttft_ms or load.tpot_ms > terms.tpot_ms
    return {code for code, so in ((SHARE, load.over_share), (LATE, late)) if so}


def names(choices: Iterable[Choice]) -> set[str]:
    return {choice.pool.name for choice in choices}


@given(scenery=sceneries(), seed=st.integers(0, 2**32))
def test_sent_to_every_pool_that_may_and_can_and_to_no_other(scenery: Scenery, seed: int):
    order, made = order_of(scenery.ask, scenery.board, NOW, Random(seed), scenery.policy, scenery.tried)
    snapshot = scenery.board.snapshot
    those = {pool.name for pool in snapshot.pools.values() if may(scenery.ask, snapshot, pool)}
    free = {name for name in those if not hindrances(scenery, snapshot.pools[name])}
    match made:
        case Send():
            assert names(order) == free
            assert len(order) == len(free)
            last = [bool(reluctances(scenery, choice.pool)) for choice in order]
            assert last == sorted(last), "the late, and those over their share, come last"
        case Wait(choices=choices):
            assert not free
            assert names(choices) <= those
            assert all(FULL in hindrances(scenery, choice.pool) for choice in choices)
            vain = {TRIED, CLOSED, CONTEXT, DEADLINE}
            assert not any(hindrances(scenery, choice.pool) & vain for choice in choices), "to wait there would be in vain"
        case Refuse(reason="model_not_found"):
            assert not any(scenery.ask.model in pool.models for pool in snapshot.pools.values())
        case Refuse(reason="forbidden" | "incapable"):
            assert not those
        case Refuse(open_at=open_at):
            assert those
            assert not free
            assert not any(hindrances(scenery, snapshot.pools[name]) == {FULL} for name in those), "who is only full will have room again"
            if open_at is not None:
                assert open_at > NOW


@given(scenery=sceneries(), seed=st.integers(0, 2**32))
def test_what_is_kept_of_it_is_true(scenery: Scenery, seed: int):
    """Each code names something that is so; whoever was left out is named; of those that are sent to, the best are."""
    made = decided(scenery, seed)
    assert made.shortlist is not None
    choices = made.shortlist.choices
    spots = [spot for spot, _, _ in made.placed]
    assert len(set(spots)) == len(spots)
    for spot, code, score in made.placed:
        pool = choices[spot].pool
        if code in (RANKED, LATE, SHARE):
            assert isinstance(made, Send)
            assert not hindrances(scenery, pool)
            assert (code in reluctances(scenery, pool)) if code != RANKED else not reluctances(scenery, pool)
        elif code == NEXT:
            assert score >= made.placed[0][2], "nobody needs to be looked at who is no better than one that can"
        else:
            assert code in hindrances(scenery, pool)
            assert score == 0.0
    if isinstance(made, Send):
        assert choices[spots[0]] is made.choice
        assert made.placed[0][1] == RANKED or not any(code == RANKED for _, code, _ in made.placed)
        kept = [score for _, code, score in made.placed if code == made.placed[0][1]]
        assert kept == sorted(kept), "the best of them, in their order"
        if not any(code == NEXT for _, code, _ in made.placed) and len(choices) <= PLACED_MAX:
            assert set(spots) == set(range(len(choices)))
    else:
        assert len(spots) == len(choices)


@given(scenery=sceneries())
def test_the_evidence_names_whoever_serves_the_model_as_considered_or_as_excluded(scenery: Scenery):
    made, snapshot = decided(scenery), scenery.board.snapshot
    assert made.shortlist is not None
    said = read_evidence(made.shortlist.content)
    assert (said.snapshot, said.model, said.needs) == (snapshot.version, scenery.ask.model, tuple(sorted(scenery.ask.needs)))
    assert said.considered == tuple(choice.pool.name for choice in made.shortlist.choices)
    assert said.excluded == made.shortlist.excluded
    assert {*said.considered, *dict(said.excluded)} == {pool.name for pool in snapshot.pools.values() if scenery.ask.model in pool.models}
    for name, rule in said.excluded:
        broken = broken_rule(snapshot.pools[name], scenery.ask.rules)
        assert rule == broken or (broken is None and rule.removeprefix("capability:") in scenery.ask.needs)


@given(scenery=sceneries(), seed=st.integers(0, 2**32))
def test_the_same_seed_decides_the_same_and_nothing_is_changed(scenery: Scenery, seed: int):
    before = {name: [getattr(load, slot) for slot in Load.__slots__] for name, load in scenery.board.loads.items()}
    made = decided(scenery, seed)
    assert decided(scenery, seed) == made
    fresh = scenery._replace(board=Board(scenery.board.snapshot, scenery.board.loads))
    again = decided(fresh, seed)
    assert type(again) is type(made)
    assert again.placed == made.placed, "the memo changes nothing"
    assert before == {name: [getattr(load, slot) for slot in Load.__slots__] for name, load in scenery.board.loads.items()}


@given(scenery=sceneries(), count=st.integers(1, 60), seed=st.integers(0, 2**32))
def test_whoever_follows_it_never_fills_a_pool_over_its_limit(scenery: Scenery, count: int, seed: int):
    rng, loads_ = Random(seed), scenery.board.loads
    before = {name: load.inflight for name, load in loads_.items()}
    share = CLASSES[scenery.ask.traffic_class].idle_share
    for _ in range(count):
        made = decide(scenery.ask, scenery.board, NOW, rng, scenery.policy)
        if isinstance(made, Send):
            made.choice.load.move(1)
    for name, load in loads_.items():
        assert load.inflight <= max(load.limit, before[name])
        assert load.inflight < max(load.limit * share + 1, before[name] + 1), "who can wait leaves room to who can't"


# ---------------------------------------------------------------------------------------------------------------------- the scores

WEIGHED = ("cheapest", "balanced", "affinity")
HOURLY = {name: msgspec.structs.replace(terms, ttft_ms=1e9, tpot_ms=1e9, usd_per_hour=3_600) for name, terms in CLASSES.items()}
"""Figures that binary fractions hold, so that a rounding decides nothing: an hour worth $3,600 is 10⁹ pico-USD a millisecond."""
PICO = st.integers(0, 50).map(lambda pico: pico * 1e6)


@st.composite
def markets(draw: st.DrawFn) -> list[tuple[Pool, int]]:
    """Two to six pools that can all serve, and how much each has to do."""
    market: list[tuple[Pool, int]] = []
    for name in NAMES[: draw(st.integers(2, 6))]:
        pool = a_pool(
            name,
            owned=draw(st.booleans()),
            concurrency_max=64,
            costs={MODEL: TokenCost(*draw(st.tuples(PICO, PICO, PICO)))},
            ttft_ms=float(draw(st.integers(0, 3)) * 100),
            tpot_ms=float(draw(st.integers(0, 2))),
        )
        market.append((pool, draw(st.sampled_from([0, 0, 8, 32, 63]))))
    return market


def place_of(name: str, market: list[tuple[Pool, int]], ask: Ask, policy: str, seed: int) -> int:
    stand = {pool.name: Load(64, ttft_ms=pool.ttft_ms, tpot_ms=pool.tpot_ms, inflight=inflight) for pool, inflight in market}
    board = Board(a_snapshot(*(pool for pool, _ in market)), stand, HOURLY)
    order, _ = order_of(ask, board, NOW, Random(seed), POLICIES[policy])
    return [choice.pool.name for choice in order].index(name)


@given(
    market=markets(),
    policy=st.sampled_from(WEIGHED),
    which=st.integers(0, 5),
    part=st.sampled_from(["input_pico", "cached_input_pico", "output_pico"]),
    more=st.integers(1, 200).map(lambda pico: pico * 1e6),
    affinity=st.sampled_from([0, *(1 << 32 | number * 7919 for number in range(20))]),
    seed=st.integers(0, 2**16),
)
def test_who_becomes_dearer_never_moves_forward(market, policy, which, part, more, affinity, seed):
    ask = an_ask(tokens_in_max=4_000, tokens_out_max=64, affinity=affinity)
    which %= len(market)
    pool, inflight = market[which]
    cost = pool.costs[MODEL]
    dearer = msgspec.structs.replace(pool, costs={MODEL: msgspec.structs.replace(cost, **{part: getattr(cost, part) + more})})
    after = [*market[:which], (dearer, inflight), *market[which + 1 :]]
    assert place_of(pool.name, after, ask, policy, seed) >= place_of(pool.name, market, ask, policy, seed)


@given(
    policy=st.sampled_from(["cheapest", "balanced"]),
    cost=st.builds(TokenCost, PICO.map(lambda pico: pico + 1e6), PICO, PICO),
    inflight=st.integers(0, 63),
    seed=st.integers(0, 2**16),
)
def test_what_is_paid_anyhow_is_used_before_what_is_charged_by_the_token(policy, cost, inflight, seed):
    """As long as it has room: both stand at the same list cost, and have as much to do."""
    market = [(a_pool(name, owned=name == "p1", concurrency_max=64, costs={MODEL: cost}), inflight) for name in ("p0", "p1")]
    assert place_of("p1", market, an_ask(tokens_in_max=4_000), policy, seed) == 0


# ---------------------------------------------------------------------------------------------------------------------- affinity

NUMBERS = [1 << 32 | number for number in Random(8).sample(range(2**32), 2_000)]


def homes(*there: str, inflight: dict[str, int] | None = None, count: int = len(NUMBERS)) -> list[str]:
    """Where each of the first `count` numbers is sent first."""
    stand = {name: Load(1_024, inflight=(inflight or {}).get(name, 0)) for name in there}
    board, rng = Board(a_snapshot(*(a_pool(name) for name in there)), stand), Random(0)
    made = [decide(an_ask(affinity=number), board, NOW, rng, POLICIES["affinity"]) for number in NUMBERS[:count]]
    return [one.choice.pool.name for one in made if isinstance(one, Send)]


def test_a_number_has_one_home_and_homes_are_spread_evenly():
    found = homes(*NAMES[:8])
    assert found == homes(*NAMES[:8]) == homes(*reversed(NAMES[:8]))
    assert all(abs(found.count(name) - 250) < 5 * (2_000 / 8 * 7 / 8) ** 0.5 for name in NAMES[:8])


def test_who_comes_takes_a_fair_part_and_nobody_else_moves():
    before, after = homes(*NAMES[:8]), homes(*NAMES[:9])
    moved = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(moved) == {NAMES[8]}
    assert abs(len(moved) - 2_000 / 9) < 5 * (2_000 / 9 * 8 / 9) ** 0.5


def test_who_goes_leaves_only_their_own_and_all_others_share_them():
    before, after = homes(*NAMES[:8]), homes(*NAMES[1:8])
    moved = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert {old for old, _ in moved} == {NAMES[0]}
    assert {new for _, new in moved} == set(NAMES[1:8])


def test_a_crowded_home_is_left_for_the_next_and_the_others_stay():
    even = dict.fromkeys(NAMES[:8], 500)
    before, after = homes(*NAMES[:8], inflight=even), homes(*NAMES[:8], inflight=even | {NAMES[0]: 900})
    assert before == homes(*NAMES[:8])
    assert {old for old, new in zip(before, after, strict=True) if old != new} == {NAMES[0]}
    assert NAMES[0] not in after
    assert {new for old, new in zip(before, after, strict=True) if old != new} == set(NAMES[1:8]), "they are spread, not heaped on one"


@given(inflight=st.lists(st.integers(0, 900), min_size=3, max_size=3))
def test_no_home_is_crowded(inflight: list[int]):
    """With more than its share of what all have to do, and with more than a little to do, nobody is anybody's home."""
    stand = dict(zip(NAMES, inflight, strict=False))
    crowd = {name for name, count in stand.items() if count >= 1.25 * (1 + sum(inflight)) / 3 and count >= 512}
    assert not crowd & set(homes(*stand, inflight=stand, count=50))
