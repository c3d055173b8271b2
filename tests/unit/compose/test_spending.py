"""Spend limits over the store of budgets: what they count of the month that runs, and nothing of it twice."""

from pathlib import Path

from headrace.api import Spender
from headrace.compose.banking import budgets_at
from headrace.compose.spending import StoredSpending
from headrace.core.clock import Instant, Moment
from headrace.metering import Said
from headrace.storage import Layout, Treasury, make_folder
from headrace.storage.usagemark import START

NOW = 1_795_000_000_000_000_000
USD = 10**12
ACME = Spender("acme", None)


class Clock:
    def instant(self) -> Instant:
        return NOW

    def moment(self) -> Moment:
        return NOW


class Books:
    """What the usage log says that was spent, at each look."""

    def __init__(self) -> None:
        self.pico = 0

    def spent(self, whose: Spender, since: Moment, until: Moment) -> int:
        assert since <= NOW < until
        return self.pico


def spending(layout: Layout, books: Books) -> StoredSpending:
    return StoredSpending(lambda: budgets_at(layout, None), Clock(), books.spent)


def spent(treasury: Treasury) -> int:
    return sum(row.spent_pico for row in treasury.accounts())


def test_a_limit_counts_what_was_spent_before_it_was_set(tmp_path: Path):
    layout, books = make_folder(tmp_path / "data"), Books()
    books.pico = 3 * USD
    spending(layout, books).set_limit(ACME, 1_000, True)
    with budgets_at(layout, None) as treasury:
        (row,) = treasury.accounts()
    assert (row.spent_pico, row.carried_pico, row.limit_pico) == (3 * USD, 3 * USD, 10 * USD)


def test_a_limit_that_is_set_anew_counts_nothing_twice(tmp_path: Path):
    layout, books = make_folder(tmp_path / "data"), Books()
    rules = spending(layout, books)
    rules.set_limit(ACME, 1_000, True)
    with budgets_at(layout, None) as treasury:
        (row,) = treasury.accounts()
        worker = treasury.open_holder("a worker", "host", 1, "s", NOW)
        treasury.beat(worker, START, [Said(row.account, 0, 0, 0, need=5 * USD)], NOW)
        books.pico = 2 * USD  # the books know of it, and the worker has not told it to the store yet
        rules.set_limit(ACME, 2_000, True)
        treasury.beat(worker, START, [Said(row.account, 0, 2 * USD, 0)], NOW)
        assert spent(treasury) == 2 * USD


def test_a_limit_that_was_taken_back_counts_what_came_meanwhile(tmp_path: Path):
    layout, books = make_folder(tmp_path / "data"), Books()
    rules = spending(layout, books)
    books.pico = USD
    rules.set_limit(ACME, 1_000, True)
    assert rules.remove_limit(ACME)
    books.pico = 4 * USD
    rules.set_limit(ACME, 1_000, True)
    with budgets_at(layout, None) as treasury:
        assert spent(treasury) == 4 * USD
