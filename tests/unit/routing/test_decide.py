"""Who is sent where, as a table: what stands in the way of whom, and what is said when nobody can."""

from collections.abc import Collection
from random import Random
from typing import Any

import pytest

from headrace.core.ask import Ask
from headrace.core.clock import MS, SECOND
from headrace.core.rules import Rules
from headrace.portfolio import Pool
from headrace.routing import CLASSES, POLICIES, VERDICTS, Board, Load, Refuse, Send, Wait, decide
from headrace.routing.decide import CLOSED, CONTEXT, DEADLINE, FULL, LATE, NEXT, PLACED_MAX, RANKED, SHARE, TRIED
from headrace.routing.policies import Policy, balanced
from headrace.testing.builders import a_model, a_pool, a_snapshot, an_ask
from tests.unit.routing.order import order_of

NOW = 1_000 * SECOND
LEAST_LOADED = POLICIES["least_loaded"]


def a_board(*pools: Pool, **facts: dict[str, Any]) -> Board:
    """Over `pools`; `facts` are by their names what is true of their loads."""
    loads: dict[str, Load] = {}
    for number, pool in enumerate(pools):
        load = loads[pool.name] = Load(pool.concurrency_max, inflight=number)  # the earlier named are the less loaded
        for fact, value in facts.get(pool.name, {}).items():
            setattr(load, fact, value)
        load.look_again()
    return Board(a_snapshot(*pools, models=[a_model()]), loads)


def names(ask: Ask, board: Board, policy: Policy = balanced, tried: Collection[str] = ()) -> list[str] | str:
    order, decided = order_of(ask, board, NOW, Random(0), policy, tried)
    match decided:
        case Send():
            return [choice.pool.name for choice in order]
        case Wait(choices=choices):
            return f"wait for {' '.join(choice.pool.name for choice in choices)}"
        case Refuse(reason=reason):
            return reason


def codes(decided: Send | Wait | Refuse) -> dict[str, int]:
    assert decided.shortlist is not None
    return {decided.shortlist.choices[spot].pool.name: code for spot, code, _ in decided.placed}


def found_of(ask: Ask, board: Board, tried: Collection[str] = ()) -> dict[str, int]:
    """What is found of each that was looked at: all, where the first look is not enough."""
    return codes(decide(ask, board, NOW, Random(0), LEAST_LOADED, tried))


A, B, C = a_pool("a", concurrency_max=10), a_pool("b", concurrency_max=10), a_pool("c", concurrency_max=10)
BATCH, REALTIME = an_ask(traffic_class="batch"), an_ask(traffic_class="realtime")
CLOSED_NOW, CLOSED_ONCE = {"closed_until": NOW + 1}, {"closed_until": NOW}
CROWDED, IN_USE = {"inflight": 10}, {"inflight": 8}
SHUT = {"a": CLOSED_NOW, "b": CLOSED_NOW, "c": CLOSED_NOW}
SLOW = {"ttft_ms": CLASSES["realtime"].ttft_ms + 1}
JUST_IN_TIME = {"ttft_ms": CLASSES["realtime"].ttft_ms, "tpot_ms": CLASSES["realtime"].tpot_ms}
STUTTERS = {"tpot_ms": CLASSES["realtime"].tpot_ms + 1}
GOOD, NEVER = RANKED, [DEADLINE, DEADLINE]

TABLE = [
    # a request                            what is true                                         decided             what was found
    (an_ask(),                             {},                                                  ["a", "b", "c"],    [GOOD, GOOD, GOOD]),
    (an_ask(),                             {"a": {"inflight": 9}},                              ["b", "c", "a"],    [GOOD, GOOD, GOOD]),
    (an_ask(),                             {"a": {"inflight": 10}},                             ["b", "c"],         [FULL, GOOD, GOOD]),
    (an_ask(),                             {"a": {"inflight": 11}},                             ["b", "c"],         [FULL, GOOD, GOOD]),
    (an_ask(),                             {"a": {"limit": 1, "inflight": 1}},                  ["b", "c"],         [FULL, GOOD, GOOD]),
    (an_ask(),                             {"a": {"waiting": 1}},                               ["b", "c"],         [FULL, GOOD, GOOD]),
    (an_ask(),                             {"a": CLOSED_NOW},                                   ["b", "c"],         [CLOSED, GOOD, GOOD]),
    (an_ask(),                             {"a": CLOSED_ONCE},                                  ["a", "b", "c"],    [GOOD, GOOD, GOOD]),
    (an_ask(),                             {"a": {**CLOSED_NOW, "inflight": 10}},               ["b", "c"],         [CLOSED, GOOD, GOOD]),
    (an_ask(),                             {"a": SLOW},                                         ["b", "c", "a"],    [LATE, GOOD, GOOD]),
    (an_ask(),                             {"a": STUTTERS},                                     ["b", "c", "a"],    [LATE, GOOD, GOOD]),
    (an_ask(),                             {"a": JUST_IN_TIME},                                 ["a", "b", "c"],    [GOOD, GOOD, GOOD]),
    (an_ask(),                             {"a": JUST_IN_TIME, "b": SLOW},                      ["a", "c", "b"],    [GOOD, LATE, GOOD]),
    (an_ask(),                             {"a": {"over_share": True}},                         ["b", "c", "a"],    [SHARE, GOOD, GOOD]),
    (an_ask(),                             {"a": SLOW, "b": {"over_share": True}},              ["c", "a", "b"],    [LATE, SHARE, GOOD]),
    (an_ask(),                             {"a": SLOW, "b": SLOW, "c": STUTTERS},               ["a", "b", "c"],    [LATE, LATE, LATE]),
    (BATCH,                                {"a": SLOW, "b": STUTTERS},                          ["a", "b", "c"],    [GOOD, GOOD, GOOD]),
    (BATCH,                                {"a": {"inflight": 7}, "b": {"inflight": 8}},        ["c", "a"],         [GOOD, FULL, GOOD]),
    (REALTIME,                             {"a": {"inflight": 7}, "b": {"inflight": 8}},        ["c", "a", "b"],    [GOOD, GOOD, GOOD]),
    (an_ask(deadline=NOW + 500 * MS),      {"a": {"ttft_ms": 500.1}},                           ["b", "c"],         [DEADLINE, GOOD, GOOD]),
    (an_ask(deadline=NOW + 500 * MS),      {},                                                  ["a", "b", "c"],    [GOOD, GOOD, GOOD]),
    (an_ask(deadline=NOW + 3 * SECOND),    {"a": SLOW},                                         ["b", "c", "a"],    [LATE, GOOD, GOOD]),
    (an_ask(),                             {"a": CROWDED, "b": CROWDED, "c": CLOSED_NOW},       "wait for a b",     [FULL, FULL, CLOSED]),
    (BATCH,                                {"a": IN_USE, "b": IN_USE, "c": IN_USE},             "wait for a b c",   [FULL] * 3),
    (an_ask(),                             SHUT,                                                "closed",           [CLOSED] * 3),
    (an_ask(deadline=NOW),                 {"a": CLOSED_NOW},                                   "closed",           [CLOSED, *NEVER]),
    (an_ask(deadline=NOW),                 {},                                                  "late",             [DEADLINE] * 3),
    (an_ask(deadline=NOW - SECOND),        {"a": {"inflight": 10}},                             "late",             [DEADLINE, *NEVER]),
    (an_ask(deadline=NOW + SECOND),        {"a": CROWDED, "b": CROWDED, "c": {**SLOW, **CROWDED}}, "wait for a b",  [FULL, FULL, DEADLINE]),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "facts", "decided", "found"), TABLE)
def test_the_table(ask, facts, decided, found):
    board = a_board(A, B, C, **facts)
    assert names(ask, board, LEAST_LOADED) == decided
    kept = found_of(ask, board)
    assert {name: code for name, code in kept.items() if code != NEXT} == {
        name: code for name, code in zip("abc", found, strict=True) if kept[name] != NEXT
    }
    assert NEXT not in kept.values() or kept[decided[0]] == RANKED, "nobody looks at others only where the best of all can"


def test_who_waits_of_a_lower_class_holds_up_nobody_above():
    """What is left of a pool after the idle share is kept for who can't wait: a batch request in its line must not shut them out."""
    waits = {"waiting": 1, "waiting_first": CLASSES["batch"].priority, "inflight": 8}
    board = a_board(A, a=waits)
    assert names(REALTIME, board) == ["a"]
    assert names(BATCH, board) == "wait for a"
    board = a_board(A, a={"waiting": 1, "waiting_first": CLASSES["realtime"].priority})
    assert names(REALTIME, board) == "wait for a", "nobody overtakes their own class"
    assert names(BATCH, board) == "wait for a"


LONG = a_pool("a", tokens_context_max=1_000), a_pool("b", tokens_context_max=4_000), a_pool("c")
LENGTHS = [
    # bytes of the prompt, tokens of the answer, decided
    (8_000, None, ["a", "b", "c"]),
    (8_007, None, ["a", "b", "c"]),
    (8_008, None, ["b", "c"]),
    (4_000, 500, ["a", "b", "c"]),
    (4_000, 501, ["b", "c"]),
    (32_000, 1, ["c"]),
]


@pytest.mark.parametrize(("tokens_in_max", "tokens_out_max", "decided"), LENGTHS)
def test_who_has_room_for_so_long_a_request(tokens_in_max, tokens_out_max, decided):
    ask, board = an_ask(tokens_in_max=tokens_in_max, tokens_out_max=tokens_out_max), a_board(*LONG)
    assert names(ask, board, LEAST_LOADED) == decided
    assert [name for name, code in found_of(ask, board).items() if code == CONTEXT] == [name for name in "abc" if name not in decided]


def test_who_has_just_enough_room_has_enough_at_the_second_look_too():
    assert names(an_ask(tokens_in_max=8_000, tokens_out_max=None), a_board(*LONG, c=SLOW), LEAST_LOADED) == ["a", "b", "c"]


def test_too_long_for_everybody():
    board = a_board(*LONG[:2])
    assert names(an_ask(tokens_in_max=100_000), board) == "context"
    assert names(an_ask(tokens_in_max=100_000), board, tried=["b"]) == "context"


TRIED_BEFORE = [
    (["a"], {}, ["b", "c"], [TRIED, GOOD, GOOD]),
    (["a", "c"], {}, ["b"], [TRIED, GOOD, TRIED]),
    (["a"], {"a": CLOSED_NOW, "b": {"inflight": 10}}, ["c"], [TRIED, FULL, GOOD]),
    (["a", "b"], {"c": {"inflight": 10}}, "wait for c", [TRIED, TRIED, FULL]),
    (["a", "b"], {"c": CLOSED_NOW}, "closed", [TRIED, TRIED, CLOSED]),
    (["a", "b", "c"], {}, "tried", [TRIED] * 3),
    (["x"], {}, ["a", "b", "c"], [GOOD] * 3),
]


@pytest.mark.parametrize(("tried", "facts", "decided", "found"), TRIED_BEFORE)
def test_who_was_tried_is_left_out(tried, facts, decided, found):
    board = a_board(A, B, C, **facts)
    assert names(an_ask(), board, LEAST_LOADED, tried) == decided
    if tried != ["x"]:
        assert found_of(an_ask(), board, tried) == dict(zip("abc", found, strict=True))


def test_when_the_first_is_open_again():
    board = a_board(A, B, C, a={"closed_until": NOW + 9}, b={"closed_until": NOW + 5}, c={"closed_until": NOW + 7})
    decided = decide(an_ask(), board, NOW, Random(0))
    assert isinstance(decided, Refuse)
    assert decided.open_at == NOW + 5
    decided = decide(an_ask(), board, NOW, Random(0), tried=["b"])
    assert isinstance(decided, Refuse)
    assert decided.open_at == NOW + 7


NOBODY = [
    (an_ask(model="gpt-9"), "model_not_found"),
    (an_ask(rules=Rules(zero_retention=True)), "forbidden"),
    (an_ask(needs=["audio"]), "incapable"),
    (an_ask(needs=["audio"], rules=Rules(vendors=frozenset({"azure"}))), "incapable"),
]


@pytest.mark.parametrize(("ask", "reason"), NOBODY)
def test_why_nobody_may(ask, reason):
    board = a_board(a_pool("a", capabilities=frozenset()), a_pool("b", capabilities=frozenset(), vendor="azure"))
    decided = decide(ask, board, NOW, Random(0))
    assert isinstance(decided, Refuse)
    assert (decided.reason, decided.placed, decided.open_at) == (reason, (), None)
    assert decided.shortlist is board.shortlist(ask)


def test_what_is_forbidden_is_said_to_be():
    """Not that nobody can do it: who reads `incapable` would look for another model."""
    board = a_board(a_pool("a"), a_pool("b", vendor="azure"))
    assert names(an_ask(rules=Rules(vendors=frozenset({"oci"}))), board) == "forbidden"


def test_rules_hold_for_whoever_comes_after_one_that_was_tried():
    board = a_board(a_pool("a", zero_retention=True), a_pool("b"), a_pool("c", zero_retention=True))
    assert names(an_ask(rules=Rules(zero_retention=True)), board, tried=["a"]) == ["c"]


def test_one_pool_needs_no_ranking():
    def never(ask, choices, scene):
        raise AssertionError("there is nothing to rank")

    decided = decide(an_ask(), a_board(A), NOW, Random(0), never)
    assert isinstance(decided, Send)
    assert decided.choice.pool.name == "a"
    assert decided.placed == ((0, RANKED, 0.0),)


def test_a_tie_falls_by_chance_and_to_nobody_more_than_to_another():
    board = a_board(*(a_pool(name) for name in "abcd"), **{name: {"inflight": 0} for name in "abcd"})
    made = [decide(an_ask(), board, NOW, Random(seed), LEAST_LOADED) for seed in range(2_000)]
    first = [one.choice.pool.name for one in made if isinstance(one, Send)]
    assert all(abs(first.count(name) - 500) < 4 * (2_000 * 0.25 * 0.75) ** 0.5 for name in "abcd")


def test_the_scores_are_kept_of_the_best():
    def busiest_first(ask, choices, scene):
        return [-float(choice.load.inflight) for choice in choices]

    pools = [a_pool(f"p{number:02}") for number in range(PLACED_MAX + 4)]
    board = a_board(*pools)
    last = len(pools) - 1
    best = [(last - place, float(place - last)) for place in range(PLACED_MAX)]
    decided = decide(an_ask(), board, NOW, Random(0), busiest_first)
    assert [(spot, score) for spot, _, score in decided.placed] == best
    assert [code for _, code, _ in decided.placed] == [RANKED, NEXT, NEXT, NEXT]
    decided = decide(an_ask(), board, NOW, Random(0), busiest_first, tried=["x"])
    assert decided.placed == tuple((spot, RANKED, score) for spot, score in best)
    assert names(an_ask(), board, busiest_first) == [pool.name for pool in reversed(pools)]


def test_a_policy_is_asked_of_those_only_who_may_and_can():
    seen: list[list[str]] = []

    def watching(ask, choices, scene):
        seen.append([choice.pool.name for choice in choices])
        assert list(scene.choices) == list(choices)
        return [0.0] * len(choices)

    board = a_board(A, B, C, a_pool("d", zero_retention=False), a=SLOW, b=CLOSED_NOW)
    decide(an_ask(), board, NOW, Random(0), watching, tried=["x"])
    assert seen == [["c", "d"], ["a"]]


def test_the_best_of_all_is_taken_without_a_look_at_the_others_where_it_can():
    seen: list[list[str]] = []

    def watching(ask, choices, scene):
        seen.append([choice.pool.name for choice in choices])
        return [float("abc".index(choice.pool.name)) for choice in choices]

    decide(an_ask(), a_board(A, B, C, c=CLOSED_NOW), NOW, Random(0), watching)
    assert seen == [["a", "b", "c"]]
    decide(an_ask(), a_board(A, B, C, a=CLOSED_NOW), NOW, Random(0), watching)
    assert seen[1:] == [["a", "b", "c"], ["b", "c"]]


def test_every_code_has_its_words():
    assert [VERDICTS[code] for code in (RANKED, LATE, CLOSED, FULL, CONTEXT, TRIED, DEADLINE, SHARE, NEXT)] == [
        "ranked", "late for its class", "closed", "full", "context", "tried", "deadline", "over its vendor's share",
        "not needed",
    ]  # fmt: skip
