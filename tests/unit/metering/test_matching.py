"""A vendor's list of requests against our attempts, one by one: who is found, what is left, and that the causes add up."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.clock import SECOND
from headrace.core.usage import Usage
from headrace.metering import Billed, Bought, explained, match, moment_of, read_billed
from headrace.metering.matching import SLACK
from headrace.metering.prices import day_of
from tests.unit.metering.test_reconcile import DAY, FLEX, STANDARD

WEIGHTS = {"standard": STANDARD, "flex": FLEX}
NOON = moment_of(DAY) + 12 * 3_600 * SECOND


def cost(usage: Usage, weights: tuple[int, ...] = STANDARD) -> int:
    return sum(count * pico for count, pico in zip(msgspec.structs.astuple(usage), weights, strict=True))


def attempt(name: str, usage: Usage, at_s: int = 0, **more: object) -> Bought:
    held: dict[str, object] = {
        "request": name, "attempt": 1, "state": "confirmed", "admitted": NOON + at_s * SECOND, "ended": NOON + (at_s + 5) * SECOND,
        "model": "m", "tier": "", "usage": usage, "pico": cost(usage),
    }  # fmt: skip
    return msgspec.convert(held | more, Bought)


def line(name: str, usage: Usage | None, at_s: int = 2, **more: object) -> Billed:
    held: dict[str, object] = {"day": DAY, "model": "m", "usage": usage, "moment": NOON + at_s * SECOND, "id": name}
    return msgspec.convert(held | {"pico": None if usage is None else cost(usage)} | more, Billed)


SMALL, LARGE = Usage(100, output=10), Usage(9_000, 1_000, output=500)
BOTH = [("", "a", "unknown"), ("r.1", "", "unknown")]
CHEAP: dict[str, Any] = {"tier": "flex", "pico": cost(SMALL, FLEX)}
CASES = [
    # the vendor's list                              our attempts                                      which differ, and why
    ([line("a", SMALL)],                             [attempt("r", SMALL)],                            []),
    ([line("a", SMALL), line("b", LARGE)],           [attempt("r", LARGE), attempt("s", SMALL)],       []),
    ([line("a", None, pico=cost(SMALL))],            [attempt("s", LARGE), attempt("r", SMALL)],       [("s.1", "", "unknown")]),
    ([line("a", SMALL, pico=cost(SMALL, FLEX))],     [attempt("r", SMALL)],                            [("r.1", "a", "tier")]),
    ([line("a", SMALL, **CHEAP), line("b", SMALL)],  [attempt("r", SMALL), attempt("s", SMALL, **CHEAP)], []),
    ([line("a", Usage(60, 40, output=10))],          [attempt("r", SMALL)],                            [("r.1", "a", "cache")]),
    ([line("a", SMALL)],                             [attempt("r", LARGE, state="lost")],              [("r.1", "a", "disconnect")]),
    ([line("a", SMALL)],                             [attempt("r", Usage(0), state="void")],           [("r.1", "a", "retry")]),
    ([],                                             [attempt("r", LARGE, state="estimated")],         [("r.1", "", "disconnect")]),
    ([],                                             [attempt("r", Usage(0), state="void")],           []),
    ([line("a", SMALL)],                             [],                                               [("", "a", "unknown")]),
    ([line("a", SMALL, 3_600)],                      [attempt("r", SMALL)],                            BOTH),
    ([line("a", SMALL, model="other")],              [attempt("r", SMALL)],                            BOTH),
    ([line("a", SMALL)],                             [attempt("r", Usage(90, output=10))],             [("r.1", "a", "unknown")]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "attempts", "differs"), CASES)
def test_each_line_finds_its_attempt(lines, attempts, differs):
    found = [one for pair in match(lines, attempts) for one in explained(pair, WEIGHTS)]
    assert sorted((one.request, one.line, one.cause) for one in found) == differs


def test_of_equal_requests_as_many_find_their_own_as_can():
    """The short one of two that began together fits the early line only."""
    long = attempt("long", SMALL, 0, ended=NOON + 900 * SECOND)
    short = attempt("short", SMALL, 0, ended=NOON + 1 * SECOND)
    pairs = match([line("late", SMALL, 800), line("early", SMALL, 1)], [long, short])
    assert {(one.id, its.request) for one, its in pairs if one and its} == {("late", "long"), ("early", "short")}


USAGES = st.builds(Usage, st.integers(1, 3), st.integers(0, 2), output=st.integers(1, 2))
ATTEMPTS = st.lists(
    st.tuples(USAGES, st.integers(0, 2_000), st.sampled_from(["confirmed", "lost", "estimated", "void"]), st.sampled_from(["", "flex"])),
    max_size=12,
)


@given(ATTEMPTS, st.lists(st.tuples(st.none() | USAGES, st.integers(0, 2_000), st.integers(0, 10**7)), max_size=12))
def test_the_causes_of_all_pairs_add_up_to_the_difference(made, told):
    attempts = [
        attempt(f"r{at}", Usage(0), at_s, state=state, tier=tier)
        if state == "void"
        else attempt(f"r{at}", usage, at_s, state=state, tier=tier, pico=cost(usage, WEIGHTS[tier or "standard"]))
        for at, (usage, at_s, state, tier) in enumerate(made)
    ]
    lines = [line(f"l{at}", usage, at_s, pico=pico) for at, (usage, at_s, pico) in enumerate(told)]
    pairs = match(lines, attempts)
    assert sorted(one.id for one, _ in pairs if one) == sorted(one.id for one in lines), "each line once"
    assert sorted(its.request for _, its in pairs if its) == sorted(its.request for its in attempts), "and each attempt"
    for one, its in pairs:
        if one and its:
            assert one.moment is not None
            assert its.ended is not None
            assert its.admitted - SLACK <= one.moment <= its.ended + SLACK
    found = sum(part.pico for pair in pairs for part in explained(pair, WEIGHTS))
    assert found == sum(one.pico or 0 for one in lines) - sum(its.pico for its in attempts)


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_a_list_of_just_what_we_asked_differs_in_nothing(seed, count):
    rng = Random(seed)
    attempts = [attempt(f"r{at}", Usage(rng.randrange(1, 4), output=rng.randrange(1, 3)), rng.randrange(500)) for at in range(count)]
    lines = [line(f"l{at}", its.usage, (its.admitted - NOON) // SECOND + rng.randrange(5)) for at, its in enumerate(attempts)]
    rng.shuffle(lines)
    pairs = match(lines, attempts)
    assert all(one and its for one, its in pairs)
    assert not [part for pair in pairs for part in explained(pair, WEIGHTS)]


BEDROCK = """{"schemaType": "ModelInvocationLog", "schemaVersion": "1.0", "timestamp": "2026-11-03T12:00:02Z", "accountId": "1",
 "region": "us-east-1", "requestId": "q-1", "operation": "Converse", "modelId": "arn:aws:bedrock:us-east-1:1:inference-profile/us.m",
 "input": {"inputTokenCount": 100, "cacheReadInputTokenCount": 7}, "output": {"outputTokenCount": 10}}""".replace("\n", "")
LIST = """id,time,model,input_tokens,cached_tokens,output_tokens,cost_usd
a,2026-11-03T13:00:02.5+01:00,m,107,7,10,0.01
b,2026-11-03 12:00:03,m,1,0,1,0.02
"""


def test_what_lists_say():
    (one,) = read_billed(BEDROCK)
    assert (one.id, one.model, one.usage, one.moment) == ("q-1", "us.m", Usage(100, 7, output=10), NOON + 2 * SECOND)
    first, second = read_billed(LIST)
    assert (first.id, first.usage, first.moment) == ("a", Usage(100, 7, output=10), NOON + 2 * SECOND + SECOND // 2)
    assert (second.day, second.moment) == (DAY, NOON + 3 * SECOND), "a time without a zone is UTC"
    assert day_of(NOON) == DAY


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (BEDROCK + '\n{"requestId": "x"}', "line 2 is no record of Bedrock's log"),
        ("id,time,model\na,yesterday,m\n", "line 2 can't be read"),
        ("id,model\na,m\n", "day or time"),
    ],
)
def test_a_list_that_cannot_be_read_says_where(text, wrong):
    with pytest.raises(ValueError, match=wrong):
        read_billed(text)
