"""Capacity that is paid by the hour, shared out to the last pico-dollar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.usage import Usage
from headrace.metering import Shared, shared, work_of

SHARED = [
    # paid, capacity, work done            shares                idle
    (100, 10, {"a": 5},                    {"a": 50},            50),
    (100, 10, {"a": 3, "b": 2},            {"a": 30, "b": 20},   50),
    (100, 3, {"a": 1, "b": 1},             {"a": 33, "b": 33},   34),
    (10, 6, {"a": 1, "b": 1, "c": 1},      {"a": 2, "b": 2, "c": 1}, 5),
    (100, 10, {"a": 20},                   {"a": 100},           0),
    (100, 0, {"a": 7},                     {"a": 100},           0),
    (100, 10, {},                          {},                   100),
    (100, 10, {"a": 0},                    {},                   100),
    (0, 10, {"a": 5},                      {"a": 0},             0),
]  # fmt: skip


@pytest.mark.parametrize(("paid", "capacity", "work", "shares", "idle"), SHARED)
def test_who_pays(paid, capacity, work, shares, idle):
    assert shared(paid, capacity, work) == Shared(paid, shares, idle)


@given(st.integers(0, 10**18), st.integers(0, 10**12), st.dictionaries(st.text(max_size=3), st.integers(0, 10**9), max_size=9))
def test_the_shares_and_what_stood_idle_are_what_was_paid(paid, capacity, work):
    found = shared(paid, capacity, work)
    assert sum(found.by.values()) + found.idle_pico == paid
    assert found.idle_pico >= 0
    assert 0 <= found.utilisation <= 1


def test_work():
    assert work_of(Usage(10, 10, 10, 10, 10)) == 10 * 10 + 10 * 1 + 10 * 10 + 20 * 50
