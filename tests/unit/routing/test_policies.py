"""Policies: what each prefers, in figures that can be worked out by hand."""

from collections import Counter
from collections.abc import Mapping
from math import isclose
from random import Random

import pytest

from headrace.core.ask import Ask
from headrace.portfolio import Pool, TokenCost
from headrace.routing import CLASSES, POLICIES, Board, Choice, ClassTerms, Load, Scene, latency_ms, marginal_pico
from headrace.routing.policies import CROWDED, TOKENS_OUT_LIKELY
from headrace.testing.builders import MODEL, a_pool, a_snapshot, an_ask
from tests.unit.routing.order import order_of

NUMBER = 1 << 32 | 12_345
"""Some number of a prefix."""
HURRY = ClassTerms(priority=0, ttft_ms=1e9, tpot_ms=1e9, wait_ms_max=0, usd_per_hour=3_600)
"""An hour worth $3,600: a millisecond is worth 10⁹ pico-USD."""


def cost(usd_in: float, usd_out: float = 0.0, cached: float = 0.0) -> dict[str, TokenCost]:
    """In dollars a million tokens."""
    return {MODEL: TokenCost(usd_in * 1e6, cached * 1e6, usd_out * 1e6)}


def a_board(*pools: Pool, terms: ClassTerms = HURRY, busy: Mapping[str, int] | None = None, **inflight: int) -> Board:
    loads = {pool.name: Load(pool.concurrency_max, ttft_ms=pool.ttft_ms, tpot_ms=pool.tpot_ms) for pool in pools}
    for name, count in {**(busy or {}), **inflight}.items():
        loads[name].inflight = count
    return Board(a_snapshot(*pools), loads, {**CLASSES, "realtime": terms})


def scored(name: str, board: Board, ask: Ask) -> dict[str, float]:
    choices = board.shortlist(ask).choices
    scores = POLICIES[name](ask, choices, a_scene(board, ask))
    return {choice.pool.name: score for choice, score in zip(choices, scores, strict=True)}


def a_scene(board: Board, ask: Ask) -> Scene:
    return Scene(ask, board.shortlist(ask).choices, board.classes[ask.traffic_class], 0, Random(0))


def order(name: str, board: Board, ask: Ask | None = None, seed: int = 0) -> list[str]:
    found, _ = order_of(ask if ask is not None else an_ask(), board, 0, Random(seed), POLICIES[name])
    return [choice.pool.name for choice in found]


def only(board: Board) -> Choice:
    (choice,) = board.shortlist(an_ask()).choices
    return choice


ASK = an_ask(tokens_in_max=4_000, tokens_out_max=100)  # about 1,000 tokens and 100


def test_what_a_vendor_charges_and_how_long_it_takes():
    board = a_board(a_pool(costs=cost(2.0, 10.0), ttft_ms=300.0, tpot_ms=5.0), a=1_000)
    assert marginal_pico(ASK, only(board), a_scene(board, ASK)) == 1_000 * 2e6 + 100 * 10e6
    assert latency_ms(ASK, only(board), a_scene(board, ASK)) == 300 + 500


@pytest.mark.parametrize(("inflight", "share"), [(0, 0.0), (512, 0.25), (1_024, 1.0)])
def test_owned_capacity_costs_more_the_fuller_it_is(inflight, share):
    board = a_board(a_pool(costs=cost(2.0, 10.0), owned=True), a=inflight)
    assert marginal_pico(ASK, only(board), a_scene(board, ASK)) == share * 3e9


@pytest.mark.parametrize(("asked", "likely"), [(None, TOKENS_OUT_LIKELY), (10, 10), (300, 300), (100_000, TOKENS_OUT_LIKELY)])
def test_an_answer_is_taken_to_be_no_longer_than_is_likely(asked, likely):
    board = a_board(a_pool())
    assert a_scene(board, an_ask(tokens_out_max=asked)).tokens_out == likely


def test_cheapest():
    board = a_board(a_pool("a", costs=cost(2.0)), a_pool("b", costs=cost(1.0), ttft_ms=60_000.0), a_pool("c", costs=cost(3.0)))
    assert order("cheapest", board, ASK) == ["b", "a", "c"]


def test_fastest():
    pools = (a_pool("a", ttft_ms=100.0, tpot_ms=20.0), a_pool("b", ttft_ms=900.0, tpot_ms=1.0), a_pool("c", ttft_ms=5_000.0))
    assert scored("fastest", a_board(*pools), ASK) == {"a": 2_100.0, "b": 1_000.0, "c": 7_000.0}
    assert order("fastest", a_board(*pools), ASK) == ["b", "a", "c"]
    assert scored("fastest", a_board(*pools, b=1_024), ASK)["b"] == 2_000.0, "a full one takes twice as long"
    assert order("fastest", a_board(*pools), an_ask(tokens_out_max=1)) == ["a", "b", "c"]


def test_balanced_weighs_time_in_money():
    """A dollar a million dearer is 10⁹ pico-USD for 1,000 tokens: as much as a millisecond here."""
    pools = (a_pool("a", costs=cost(1.0), ttft_ms=102.0, tpot_ms=0.0), a_pool("b", costs=cost(2.0), ttft_ms=100.0, tpot_ms=0.0))
    found = scored("balanced", a_board(*pools), ASK)
    assert {name: round(score) for name, score in found.items()} == {"a": 103_000_000_000, "b": 102_000_000_000}
    assert order("balanced", a_board(*pools), ASK) == ["b", "a"]
    patient = ClassTerms(priority=0, ttft_ms=1e9, tpot_ms=1e9, wait_ms_max=0, usd_per_hour=0)
    assert order("balanced", a_board(*pools, terms=patient), ASK) == ["a", "b"]


def test_balanced_reckons_with_the_crowd_and_with_what_idles():
    pools = (a_pool("a", costs=cost(1.0), ttft_ms=100.0, tpot_ms=0.0, owned=True), a_pool("b", costs=cost(1.0), ttft_ms=100.0, tpot_ms=0.0))
    found = scored("balanced", a_board(*pools, a=512, b=512), ASK)
    assert {name: round(score) for name, score in found.items()} == {"a": 150_250_000_000, "b": 151_000_000_000}


def test_balanced_reckons_with_a_cached_prefix():
    """What a cached prompt spares: its prefill at 10 tokens a millisecond, and where tokens are charged, the difference in their price."""
    pools = (a_pool("a", costs=cost(1.0, cached=0.25)), a_pool("b", costs=cost(1.0, cached=0.25)))
    plain, held = (
        scored("balanced", a_board(*pools), ASK),
        scored("balanced", a_board(*pools), an_ask(tokens_in_max=4_000, tokens_out_max=100, affinity=NUMBER)),
    )
    (home,) = [name for name in plain if held[name] != plain[name]]
    assert round(plain[home] - held[home]) == 100 * 10**9 + 750_000_000
    owned = tuple(a_pool(pool.name, costs=pool.costs, owned=True) for pool in pools)
    asked = an_ask(tokens_in_max=4_000, tokens_out_max=100, affinity=NUMBER)
    assert round(scored("balanced", a_board(*owned), ASK)[home] - scored("balanced", a_board(*owned), asked)[home]) == 100 * 10**9


def test_affinity_goes_home_whatever_it_costs():
    pools = [a_pool(name, costs=cost(1.0)) for name in "abc"]
    asked = an_ask(affinity=NUMBER)
    home = order("affinity", a_board(*pools), asked)[0]
    dear = [a_pool(name, costs=cost(1_000.0 if name == home else 0.1), ttft_ms=9_000.0 if name == home else 1.0) for name in "abc"]
    assert order("affinity", a_board(*dear), asked)[0] == home
    assert order("affinity", a_board(*dear), an_ask())[-1] == home, "without a prefix it is as dear as it is"


def test_a_crowded_home_is_left():
    pools = [a_pool(name) for name in "abcd"]
    asked = an_ask(affinity=NUMBER)
    home = order("affinity", a_board(*pools), asked)[0]
    even = dict.fromkeys("abcd", 400)
    assert order("affinity", a_board(*pools, busy=even), asked)[0] == home
    just, over = (even | {home: count} for count in (545, 546))  # 1.25 shares of 1,746 are 545.6
    assert just[home] < CROWDED * (1 + sum(just.values())) / 4
    assert order("affinity", a_board(*pools, busy=just), asked)[0] == home
    assert order("affinity", a_board(*pools, busy=over), asked)[0] != home


def test_when_nearly_all_idles_one_request_is_no_crowd():
    """A session that asks twice at once, or another one's request, must not turn it out of a pool with room for a thousand."""
    pools = [a_pool(name) for name in "abcd"]
    asked = an_ask(affinity=NUMBER)
    home = order("affinity", a_board(*pools), asked)[0]
    assert order("affinity", a_board(*pools, busy={home: 2}), asked)[0] == home


def test_of_homes_that_are_crowded_the_next_is_taken():
    pools = [a_pool(name, concurrency_max=40) for name in "abc"]
    asked = an_ask(affinity=NUMBER)
    home = order("affinity", a_board(*pools), asked)[0]
    second = order("affinity", a_board(*pools, busy={home: 30}), asked)[0]
    (third,) = {"a", "b", "c"} - {home, second}
    assert order("affinity", a_board(*pools, busy={home: 30, second: 30, third: 3}), asked)[0] == third


def test_without_a_prefix_nobody_is_at_home():
    board = a_board(a_pool("a"), a_pool("b"))
    assert a_scene(board, an_ask()).home == -1
    scene = a_scene(board, an_ask(affinity=NUMBER))
    assert scene.home == scene.home != -1


def test_least_loaded():
    board = a_board(a_pool("a", concurrency_max=10), a_pool("b", concurrency_max=100), a=2, b=19)
    assert scored("least_loaded", board, ASK) == {"a": 0.2, "b": 0.19}
    assert order("least_loaded", board) == ["b", "a"]


def test_weighted_follows_the_weights():
    """Of 4,000 draws each pool's part is within four standard deviations of its weight; who weighs nothing is the last resort."""
    board = a_board(a_pool("a", weight=1.0), a_pool("b", weight=3.0), a_pool("c", weight=6.0), a_pool("d", weight=0.0))
    drawn = [order("weighted", board, seed=seed) for seed in range(4_000)]
    first = Counter(names[0] for names in drawn)
    for name, part in (("a", 0.1), ("b", 0.3), ("c", 0.6)):
        assert isclose(first[name] / 4_000, part, abs_tol=4 * (part * (1 - part) / 4_000) ** 0.5)
    assert {names[-1] for names in drawn} == {"d"}
    after_c = Counter(names[1] for names in drawn if names[0] == "c")
    assert isclose(after_c["b"] / after_c.total(), 0.75, abs_tol=0.04), "among those that are left it goes on by weight"


def test_where_nobody_weighs_anything_chance_decides():
    board = a_board(a_pool("a", weight=0.0), a_pool("b", weight=0.0))
    assert {order("weighted", board, seed=seed)[0] for seed in range(20)} == {"a", "b"}


def test_of_two_by_chance_the_less_loaded():
    """The fullest pool is never the first, the emptiest whenever it is drawn, three times in six; the next whenever it is without that."""
    board = a_board(*(a_pool(name, concurrency_max=100) for name in "abcd"), a=0, b=10, c=20, d=30)
    drawn = [order("power_of_two", board, seed=seed) for seed in range(3_000)]
    first = Counter(names[0] for names in drawn)
    assert first["d"] == 0
    for name, part in (("a", 3 / 6), ("b", 2 / 6), ("c", 1 / 6)):
        assert isclose(first[name] / 3_000, part, abs_tol=4 * (part * (1 - part) / 3_000) ** 0.5)
    assert {tuple(sorted(names)) for names in drawn} == {("a", "b", "c", "d")}


def test_of_two_pools_both_are_drawn_and_of_one_that_one():
    assert order("power_of_two", a_board(a_pool("a"), a_pool("b"), a=1)) == ["b", "a"]
    board = a_board(a_pool("a"), a_pool("b"), a=1_024)
    assert order("power_of_two", board) == ["b"]


def test_what_may_be_chosen():
    assert set(POLICIES) == {"balanced", "cheapest", "fastest", "affinity", "weighted", "least_loaded", "power_of_two"}
    board = a_board(a_pool("a"), a_pool("b"))
    for name, policy in POLICIES.items():
        assert policy.__doc__, name
        assert len(scored(name, board, ASK)) == 2
