"""A vendor's bill against our books: what files say, and why they differ; the causes add up to the difference, always."""

from datetime import date

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.usage import NOTHING, Usage
from headrace.metering import Billed, Booked, added, explain, read_billed
from headrace.metering.reconcile import Explained

DAY = date(2026, 11, 3)
STANDARD = (1_000_000, 100_000, 1_000_000, 5_000_000, 5_000_000) + (1_000_000,) * 9
FLEX = tuple(pico // 2 for pico in STANDARD)
OURS = Usage(1_000, 500, output=100)
COST = 1_000 * 1_000_000 + 500 * 100_000 + 100 * 5_000_000


def booked(**more: object) -> Booked:
    held: dict[str, object] = {
        "usage": OURS, "pico": COST, "requests": 10, "uncertain": NOTHING, "failed": 0, "weights": {"standard": STANDARD, "flex": FLEX},
    }  # fmt: skip
    return msgspec.convert(held | more, Booked)


def billed(usage: Usage | None = OURS, pico: int | None = COST, requests: int | None = 10, unit: int = 1) -> Billed:
    return Billed(day=DAY, model="m", usage=usage, requests=requests, pico=pico, unit_pico=unit)


MORE = Usage(1_200, 500, output=100)
CASES = [
    # the vendor says                                   our books                             the causes
    (billed(),                                          booked(),                             {}),
    (billed(None),                                      booked(),                             {}),
    (billed(pico=None),                                 booked(),                             {}),
    (billed(Usage(900, 600, output=100), COST - 90_000_000), booked(),                        {"cache": -90_000_000}),
    (billed(pico=COST // 2),                            booked(),                             {"tier": -(COST // 2)}),
    (billed(pico=COST // 2 + 3, unit=10),               booked(),                             {"tier": -(COST // 2), "rounding": 3}),
    (billed(pico=COST + 4, unit=10),                    booked(),                             {"rounding": 4}),
    (billed(pico=COST + 6, unit=10),                    booked(),                             {"unknown": 6}),
    (billed(MORE, COST + 200_000_000),                  booked(uncertain=Usage(300)),         {"disconnect": 200_000_000}),
    (billed(MORE, COST + 200_000_000, 11),              booked(failed=1),                     {"retry": 200_000_000}),
    (billed(MORE, COST + 200_000_000, None),            booked(failed=1),                     {"retry": 200_000_000}),
    (billed(MORE, COST + 200_000_000, 12),              booked(failed=1),                     {"unknown": 200_000_000}),
    (billed(MORE, COST + 200_000_000),                  booked(),                             {"unknown": 200_000_000}),
    (billed(None, COST + 50),                           booked(pico=COST + 7),                {"unknown": 43}),
    (billed(),                                          booked(weights={}, pico=COST - 1),    {"unknown": 1}),
    (billed(pico=None),                                 booked(weights={}),                   {}),
]  # fmt: skip


@pytest.mark.parametrize(("theirs", "ours", "causes"), CASES)
def test_why_they_differ(theirs, ours, causes):
    found: dict[str, int] = {}
    for one in explain(theirs, ours):
        found[one.cause] = found.get(one.cause, 0) + one.pico
    assert {cause: pico for cause, pico in found.items() if pico} == causes


COUNTS = st.integers(0, 10**6)
USAGES = st.builds(Usage, COUNTS, COUNTS, output=COUNTS)


@given(st.none() | USAGES, st.integers(0, 10**15), st.integers(1, 10**9), USAGES, st.integers(0, 10**15), USAGES, st.integers(0, 3))
def test_the_causes_add_up_to_the_difference(usage, pico, unit, ours, cost, uncertain, failed):
    theirs = billed(usage, pico, unit=unit)
    found = explain(theirs, booked(usage=ours, pico=cost, uncertain=uncertain, failed=failed))
    assert sum(one.pico for one in found) == pico - cost


def test_an_equal_sum_of_other_tokens_is_told():
    same = explain(billed(Usage(1_001, 500, output=100), None), booked())
    assert same == [Explained(DAY, "m", "unknown", 1_000_000, 1)]


OPENAI = """{"object": "page", "data": [{"object": "bucket", "start_time": 1793664000, "end_time": 1793750400, "results": [
  {"object": "organization.usage.completions.result", "input_tokens": 1500, "input_cached_tokens": 500, "output_tokens": 100,
   "num_model_requests": 10, "model": "m", "service_tier": "default"}]}]}"""
OPENAI_COSTS = """{"data": [{"start_time": 1793664000, "results": [
  {"object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"}, "line_item": "m, input"}]}]}"""
ANTHROPIC = """{"data": [{"starting_at": "2026-11-03T00:00:00Z", "ending_at": "2026-11-04T00:00:00Z", "results": [
  {"uncached_input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 2,
   "ephemeral_5m_input_tokens": 3}, "output_tokens": 7, "model": "m", "service_tier": "batch"}]}]}"""
ANTHROPIC_COSTS = (
    """{"data": [{"starting_at": "2026-11-03T00:00:00Z", "results": [{"amount": "123.4", "currency": "USD", "model": "m"}]}]}"""
)
TABLE = """Day,Model,Requests,Input_tokens,Cached_tokens,Output_tokens,Cost_usd,Tier
2026-11-03,m,10,1500,500,100,1.55,flex
2026-11-04,m,,,,,,
"""
FILES = [
    (OPENAI, [Billed(day=DAY, model="m", usage=OURS, requests=10, tier="standard")]),
    (OPENAI_COSTS, [Billed(day=DAY, model="m", pico=60_000_000_000, unit_pico=10_000_000_000)]),
    (ANTHROPIC, [Billed(day=DAY, model="m", usage=Usage(10, 5, 3, 7, cache_write_1h=2), tier="batch")]),
    (ANTHROPIC_COSTS, [Billed(day=DAY, model="m", pico=1_234_000_000_000, unit_pico=1_000_000_000)]),
    (TABLE, [
        Billed(day=DAY, model="m", usage=OURS, requests=10, pico=1_550_000_000_000, unit_pico=10_000_000_000, tier="flex"),
        Billed(day=date(2026, 11, 4), model="m"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "rows"), FILES, ids=["OpenAI's usage", "OpenAI's costs", "Anthropic's usage", "Anthropic's costs", "a table"]
)
def test_what_files_say(text, rows):
    assert list(read_billed(text)) == rows


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no usage or cost report"),
        ('{"data": [{"results": [{"amount": "1"}]}]}', "has no start"),
        ('{"data": [{"start_time": 1, "results": [{"object": "organization.costs.result"}]}]}', "no usage or cost report"),
        ("a,b\n1,2\n", "needs the columns model, and day or time; this one has a, b"),
        ("", "this one has none"),
        ("day,model,requests\n2026-11-03,m,many\n", "line 2 can't be read"),
    ],
)
def test_what_is_no_report_is_refused(text, says):
    with pytest.raises(ValueError, match=says):
        read_billed(text)


def test_rows_of_a_day_and_model_are_one():
    (usage,), (costs,) = read_billed(OPENAI), read_billed(OPENAI_COSTS)
    assert added([usage, costs]) == {
        (DAY, "m"): Billed(day=DAY, model="m", usage=OURS, requests=10, pico=60_000_000_000, unit_pico=10_000_000_000, tier="standard")
    }
    twice = added([usage, usage])[DAY, "m"]
    assert (twice.usage, twice.requests, twice.pico) == (Usage(2_000, 1_000, output=200), 20, None)
    assert added([costs, costs])[DAY, "m"].usage is None
