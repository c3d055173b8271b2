"""Leave ahead of time: written by a person, signed, and nothing once it was changed, is over, or was taken back."""

import msgspec
import pytest

from headrace.agents import Budget, Grant, StandingLeave
from headrace.agents.mandate import Mandate, allowed, grant_with, sealed, standing_leave, unsealed
from headrace.core.errors import InvalidRequest, LeaveInvalid

KEY, OTHER = b"k" * 32, b"o" * 32
GRANT = grant_with(Budget(steps_max=7), frozenset(("a.example",)), ("fetch url=https://b.example x2",), 100, "ann")
MANDATE = Mandate(schedule="sch_1", task="Read the news", folder="/p", grant=GRANT, expires_at=100, by="ann")


def test_what_was_signed_is_what_is_read():
    assert unsealed(sealed(MANDATE, KEY), KEY) == MANDATE


@pytest.mark.parametrize(
    "content",
    [
        sealed(MANDATE, OTHER),
        sealed(MANDATE, KEY).replace(b"a.example", b"e.example"),
        sealed(MANDATE, KEY).replace(b"expires_at", b"expires_by"),
        sealed(MANDATE, KEY)[:-3],
        b"{}",
        b"",
    ],
    ids=["another key", "another host", "another field", "cut", "empty", "nothing"],
)
def test_what_was_not_signed_is_none(content):
    with pytest.raises(LeaveInvalid):
        unsealed(content, KEY)


def test_every_bit_of_it_counts():
    content = sealed(MANDATE, KEY)
    for at in range(0, len(content), 7):
        changed = bytearray(content)
        changed[at] ^= 1
        try:
            assert unsealed(bytes(changed), KEY) == MANDATE, at
        except LeaveInvalid:
            continue


@pytest.mark.parametrize(("now", "ended", "whole"), [(99, False, True), (100, False, False), (99, True, False)])
def test_when_it_is_over_only_the_budget_is_left(now, ended, whole):
    assert allowed(MANDATE, now, ended=ended) == (GRANT if whole else Grant(budget=Budget(steps_max=7)))


def test_a_leave_as_a_person_writes_it():
    leave = standing_leave("pay account='Energy AG' amount<=20.50 note=* day=2026-12-01 x3", "1", 100, "ann")
    assert leave == StandingLeave(
        id="1",
        tool="pay",
        fixed={"account": "Energy AG", "day": "2026-12-01"},
        amount_max={"amount": 20.5},
        free=frozenset(("note",)),
        times_max=3,
        expires_at=100,
        by="ann",
    )
    assert leave.covers("pay", {"account": "Energy AG", "amount": 20, "note": "x", "day": "2026-12-01"}, 2, 99)
    assert not leave.covers("pay", {"account": "Energy AG", "amount": 21, "day": "2026-12-01"}, 0, 99)
    assert standing_leave("x a==b", "1", 1, "ann").fixed == {"a": "=b"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "names no tool"),
        ("pay 'x", "names no tool"),
        ("pay amount<20", "says nothing"),
        ("pay x0", "1 to 1,000"),
        ("pay x2000", "1 to 1,000"),
    ],
)
def test_a_leave_that_says_nothing_is_refused(text, says):
    with pytest.raises(InvalidRequest, match=says):
        standing_leave(text, "1", 1, "ann")


def test_a_short_key_signs_nothing():
    with pytest.raises(AssertionError):
        sealed(msgspec.structs.replace(MANDATE, take=True), b"short")
