"""Budgets beside the ledger: their accounts are even, and their spending is what the usage log says, as far as it can be known."""

import msgspec
import pytest

from headrace.compose.budgetbooks import faults, shown
from headrace.compose.budgetgauges import BUDGETS_MAX, OTHERS, usd_by_budget
from headrace.storage import AccountRow, Unknown


def row(spent: int, *, held: int = 0, leased: int = 0, holders: int = 0, mode: str = "hard", instance: str = "") -> AccountRow:
    return AccountRow(
        account=1,
        ends=99,
        holders=holders,
        budget="acme",
        instance=instance,
        period="2026-11",
        mode=mode,
        limit_pico=100,
        spent_pico=spent,
        held_pico=held,
        leased_free_pico=leased,
        available_pico=100 - spent - held - leased,
        unknown_pico=0,
    )


STANDING = [
    # rows                                                    now  what is shown of limit, spent, held, leased, free
    ([row(10)], 5, (-100, 10, 0, 0, 90)),
    ([row(10, held=20, leased=5, holders=1)], 5, (-100, 10, 20, 5, 65)),
    ([row(10, held=20, holders=1, mode="watch")], 5, (-100, 10, 0, 0, 90)),
    ([row(120, mode="soft")], 5, (-100, 120, 0, 0, -20)),
    ([row(10, instance="ann"), row(20, instance="bob")], 5, (-200, 30, 0, 0, 170)),
    ([row(10)], 99, (0, 0, 0, 0, 0)),
    ([row(10, held=20, holders=1)], 99, (-100, 10, 20, 0, 70)),
]


@pytest.mark.parametrize(("rows", "now", "expected"), STANDING)
def test_a_budgets_accounts_are_even(rows, now, expected):
    found = shown(rows, now)
    names = [f"budget:acme:2026-11:{name}" for name in ("limit", "spent", "held", "leased", "free")]
    assert tuple(found.get(name, 0) for name in names) == expected
    assert sum(found.values()) == 0


OPEN = Unknown("req", 1, (1,), 7)
FAULTS = [
    # before              after                                        charged  unended  whole   faults
    (row(10), row(10), 10, [], True, 0),
    (row(10), row(10), 9, [], True, 1),
    (row(10), row(10), 11, [], True, 1),
    (row(10), row(10), 9, [], False, 0),
    (row(10), row(10), 11, [], False, 1),
    (row(17), row(17), 10, [OPEN], True, 0),
    (row(18), row(18), 10, [OPEN], True, 1),
    (row(10, holders=1), row(12, held=4, leased=2, holders=1), 18, [], True, 0),
    (row(10, holders=1), row(12, held=4, leased=2, holders=1), 19, [], True, 1),
    (row(10, holders=1), row(12, held=4, holders=1, mode="watch"), 50, [], True, 0),
    (row(10, holders=1), row(12, held=4, holders=1, mode="watch"), 9, [], True, 1),
]


@pytest.mark.parametrize(("before", "after", "charged", "unended", "whole", "count"), FAULTS)
def test_what_was_spent_is_what_was_charged(before, after, charged, unended, whole, count):
    assert len(faults([before], [after], {1: charged}, unended, whole=whole)) == count


def test_what_was_spent_before_an_account_was_there_is_in_no_log() -> None:
    carried = msgspec.structs.replace(row(60), carried_pico=50)
    assert faults([carried], [carried], {1: 10}, [], whole=True) == []
    assert faults([carried], [carried], {1: 11}, [], whole=True)


def test_metrics_name_the_largest_budgets_and_add_up_the_others() -> None:
    usd = 10**12
    many = [msgspec.structs.replace(row(usd), budget=f"b{at}", limit_pico=(at + 2) * usd) for at in range(BUDGETS_MAX + 3)]
    alert = msgspec.structs.replace(row(usd), budget="spend_alert:alert_1")
    told = usd_by_budget([*many, many[9], alert])
    assert {len(part) for part in told.values()} == {BUDGETS_MAX + 1}
    assert (told["limit"]["b9"], told["spent"]["b9"]) == (22.0, 2.0), "its instances together"
    assert (told["limit"][OTHERS], told["spent"][OTHERS], told["held"][OTHERS]) == (2 + 3 + 4.0, 3.0, 0.0)
