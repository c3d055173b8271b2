"""Lines: what was charged, split by segment where the price is known, and never a pico-dollar more or less."""

import pytest

from headrace.core.usage import Usage
from headrace.metering import Card, Line, Owner, Sum, cache_savings, lines_of, merged
from headrace.metering.records import State

OWNER = Owner("acme", "demo", "key_1", "enterprise", "chat", "m", "", "p", "a")
UNPRICED = Owner("acme", "demo", "key_1", "enterprise", "chat", "m", "", "", "a")
CARD = Card("p", 1, "m", "standard", (10, 1, 10, 50, 50, 10, None, 10, 10, 10, 1, 1, 50, 50), {"web_search": 1_000}, "a test")
CARDS = {"p": CARD}


def a_sum(cost: int, tokens: tuple[int, ...] = (3, 2, 0, 1), owner: Owner = OWNER, state: State = "confirmed", requests: int = 1) -> Sum:
    return Sum(0, owner, state, requests, (*tokens, *(0,) * (14 - len(tokens))), cost)


SPLIT = [("uncached", 3, 10, 30), ("cache_read", 2, 1, 2), ("output", 1, 50, 50)]
CASES = [
    # what there is,                          its lines: segment, quantity, price, cost
    (a_sum(82),                               SPLIT),
    (a_sum(1_082),                            [*SPLIT, ("fees", 1, None, 1_000)]),
    (a_sum(99, state="lost"),                 [("held", 1, None, 99)]),
    (a_sum(99, owner=UNPRICED),               [("unpriced", 6, None, 99)]),
    (a_sum(0, state="held"),                  []),
    (a_sum(0, state="void"),                  []),
    (a_sum(0, requests=0),                    []),
]  # fmt: skip


@pytest.mark.parametrize(("each", "lines"), CASES)
def test_what_lines_there_are(each, lines):
    found = list(lines_of([each], CARDS))
    assert [(line.segment, line.quantity, line.unit_pico, line.cost_pico) for line in found] == lines
    assert sum(line.cost_pico for line in found) == each.cost_pico


def test_without_its_card_a_cost_is_not_split():
    (line,) = lines_of([a_sum(82)], {})
    assert (line.segment, line.quantity, line.cost_pico) == ("unsplit", 6, 82)


def test_what_it_costs_at_the_list_price():
    agreed = Card("p", 1, "m", "standard", (5,) * 14, {}, "a test", "list")
    lines = list(lines_of([a_sum(30)], {"p": agreed, "list": CARD}))
    assert [(line.segment, line.cost_pico, line.list_pico) for line in lines] == [
        ("uncached", 15, 30),
        ("cache_read", 10, 2),
        ("output", 5, 50),
    ]
    assert [line.list_pico for line in lines_of([a_sum(30)], {"p": agreed})] == [15, 10, 5], "what is not known costs what was paid"


def test_lines_are_added_up_in_the_order_in_which_they_are_read():
    lines = [Line(0, OWNER, "output", 1, 50, 50), Line(0, OWNER, "uncached", 3, 10, 30), Line(0, OWNER, "output", 2, 50, 100)]
    assert merged(lines, {"key": ""}) == [
        Line(0, Owner("acme", "demo", "", "enterprise", "chat", "m", "", "p", "a"), "uncached", 3, 10, 30),
        Line(0, Owner("acme", "demo", "", "enterprise", "chat", "m", "", "p", "a"), "output", 3, 50, 150),
    ]


def test_what_the_cache_saved():
    assert cache_savings(Usage(5, 100, audio_read=10, image_read=1), CARD) == 100 * 9 + 10 * 9 + 9
    unknown = Card("p", 1, "m", "standard", (None,) * 14, {}, "a test")
    assert cache_savings(Usage(5, 100), unknown) == 0
