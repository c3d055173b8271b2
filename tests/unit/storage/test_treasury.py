"""The treasury, by one suite for SQLite and PostgreSQL."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from headrace.core.clock import SECOND
from headrace.core.errors import InvalidRequest, NotReady, SetupError
from headrace.metering import AccountOpening, Said, Told
from headrace.storage import Fenced, PostgresBudgets, Recipients, SqliteBudgets, Treasury, Unknown
from headrace.storage.treasury import RETRY_S
from headrace.storage.usagemark import START, Mark
from tests.postgres import Postgres, postgres

USD = 10**12


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres() as one:
        yield one


class Stores:
    """Treasuries over one store: several, as several hosts have."""

    def __init__(self, kind: str, folder: Path, url: str) -> None:
        self._kind, self._folder, self._url = kind, folder, url
        self._opened: list[Treasury] = []

    def open(self) -> Treasury:
        one = Treasury(PostgresBudgets(self._url) if self._kind == "postgres" else SqliteBudgets(self._folder / "budgets.sqlite"))
        self._opened.append(one)
        return one

    def close(self) -> None:
        for one in self._opened:
            one.close()


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    url = ""
    if request.param == "postgres":
        url = request.getfixturevalue("cluster").url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
    stores = Stores(request.param, tmp_path, url)
    yield stores
    stores.close()


@pytest.fixture
def store(stores: Stores) -> Treasury:
    return stores.open()


def opening(name: str = "acme", *, usd: int = 100, mode: str = "hard", alerts: tuple[int, ...] = (50, 100)) -> AccountOpening:
    return AccountOpening(name, name, "", "2026-11", 1, usd * USD, mode, alerts)  # type: ignore[arg-type]


def beat(store: Treasury, epoch: int, *saids: Said, mark: Mark = START) -> list[Told]:
    return store.beat(epoch, mark, saids, 5)


def test_an_account_is_lent_from_until_nothing_is_left(store):
    account = store.open_account(opening(usd=100))
    first, second = store.open_holder("one", "host", 1, "s", 1), store.open_holder("two", "host", 2, "s", 1)
    assert second > first
    (told,) = beat(store, first, Said(account, 0, 0, 0, 60 * USD, 60 * USD))
    assert told.granted == 62 * USD, "what is needed, and a cushion of a twentieth of the rest"
    assert (told.account, told.limit_pico, told.available) == (account, 100 * USD, 38 * USD)
    (told,) = beat(store, second, Said(account, 0, 0, 0, 50 * USD, 50 * USD))
    assert (told.granted, told.short) == (0, True), "the first has not said yet what it does with its 62, and is asked"
    (told,) = beat(store, first, Said(account, 0, 1 * USD, 59 * USD))
    assert told.cushion == 0, "what it has free is called in"
    (told,) = beat(store, second, Said(account, 0, 0, 0, 50 * USD, 50 * USD))
    assert (told.granted, told.short) == (0, False), "not even with what the first has free"
    (told,) = beat(store, second, Said(account, 0, 0, 0, 39 * USD, 39 * USD))
    assert (told.granted, told.short) == (0, True)
    beat(store, first, Said(account, 2 * USD, 1 * USD, 59 * USD))
    (told,) = beat(store, second, Said(account, 0, 0, 0, 39 * USD, 39 * USD))
    cushion = USD * 50 // 1_000 // 2
    assert (told.granted, told.available, told.spent_by_others) == (39 * USD + cushion, 1 * USD - cushion, 1 * USD)


def test_amounts_may_pass_what_64_bits_hold(store):
    account = store.open_account(opening(usd=10**12))
    epoch = store.open_holder("one", "host", 1, "s", 1)
    (told,) = beat(store, epoch, Said(account, 0, 0, 0, 9 * 10**11 * USD, 1))
    assert told.granted >= 9 * 10**11 * USD
    assert store.accounts()[0].available_pico == 10**12 * USD - told.granted


def test_a_holder_that_is_asked_for_again_is_the_same_and_one_that_has_ended_is_fenced(store):
    epoch = store.open_holder("one", "host", 7, "s", 1)
    assert store.open_holder("one", "host", 7, "s", 2) == epoch
    assert [(holder.epoch, holder.pid) for holder in store.holders("host")] == [(epoch, 7)]
    assert store.holders("another") == []
    store.end_holder(epoch, 3)
    assert store.holders("host") == []
    with pytest.raises(Fenced):
        store.open_holder("one", "host", 7, "s", 4)
    with pytest.raises(Fenced):
        beat(store, epoch)
    with pytest.raises(Fenced):
        beat(store, 999)


def test_the_end_of_a_holder_is_booked_once(store):
    account = store.open_account(opening(usd=100))
    epoch = store.open_holder("one", "host", 1, "s", 1)
    beat(store, epoch, Said(account, 0, 0, 0, 60 * USD, 1), mark=Mark("s1", 500))
    beat(store, epoch, Said(account, 0, 5 * USD, 20 * USD), mark=Mark("s2", 100))
    beat(store, epoch, Said(account, 0, 4 * USD, 0), mark=Mark("s1", 900))  # late
    assert store.holders("host")[0].mark == Mark("s2", 100)
    unknown = (Unknown("req_1", 1, (account,), 7 * USD),)
    for _ in range(2):
        store.end_holder(epoch, 9, {account: 2 * USD}, unknown)
    (row,) = store.accounts("acme")
    assert (row.spent_pico, row.unknown_pico, row.held_pico, row.available_pico) == (14 * USD, 7 * USD, 0, 86 * USD)
    assert store.unknown() == list(unknown)


def test_the_truth_about_an_unknown_comes_once(store):
    account, other = store.open_account(opening(usd=100)), store.open_account(opening("project", usd=50))
    epoch = store.open_holder("one", "host", 1, "s", 1)
    store.end_holder(epoch, 9, {}, (Unknown("req_1", 2, (account, other), 7 * USD),))
    assert store.correct("req_1", 1, 0, 10) is None
    assert store.correct("req_1", 2, 3 * USD, 10) == 7 * USD
    assert store.correct("req_1", 2, 3 * USD, 11) is None
    assert [row.spent_pico for row in store.accounts()] == [3 * USD, 3 * USD]
    assert store.unknown() == []


def test_who_only_looks_waits_for_nobody_who_writes(stores, store):
    account = store.open_account(opening(usd=100))
    with store._database.transaction() as at:
        at.rows(f"SELECT id FROM budget_account WHERE id = ?{store._database.lock_words}", account)
        began = time.monotonic()
        (row,) = stores.open().accounts()
        assert time.monotonic() - began < 2
    assert (row.account, row.limit_pico, row.spent_pico) == (account, 100 * USD, 0)


def test_accounts_whose_time_is_over_need_not_be_read(store):
    store.open_account(opening("gone", usd=1))
    kept = msgspec.structs.replace(opening("runs", usd=2), ends=2_000)
    store.open_account(kept)
    assert [row.budget for row in store.accounts(ends_after=1_000)] == ["runs"]
    assert {row.budget for row in store.accounts()} == {"gone", "runs"}


def test_a_budget_that_is_changed_holds_from_the_next_word_on(store):
    account = store.open_account(opening(usd=100))
    epoch = store.open_holder("one", "host", 1, "s", 1)
    beat(store, epoch, Said(account, 0, 0, 0, 60 * USD, 1))
    assert store.open_account(opening(usd=40)) == account
    (told,) = beat(store, epoch, Said(account, 0, 0, 60 * USD, USD, USD))
    assert (told.limit_pico, told.available, told.granted) == (40 * USD, 0, 62 * USD), "lowered under what is out: nothing more is lent"


def test_what_is_not_hard_is_counted_and_not_lent(store):
    account = store.open_account(opening(usd=10, mode="soft"))
    one, two = store.open_holder("one", "host", 1, "s", 1), store.open_holder("two", "host", 2, "s", 1)
    beat(store, one, Said(account, 0, 8 * USD, 0))
    (told,) = beat(store, two, Said(account, 0, 3 * USD, 0))
    assert (told.spent_by_others, told.granted) == (8 * USD, 3 * USD)
    store.end_holder(one, 3)
    assert store.accounts()[0].spent_pico == 11 * USD


def test_an_account_that_nobody_knows_is_left_out(store):
    epoch = store.open_holder("one", "host", 1, "s", 1)
    assert beat(store, epoch, Said(4_711, 0, 0, 0)) == []
    store.end_holder(epoch, 3, {4_711: 5})


def test_alerts_are_written_down_once_and_told_until_they_are_heard(store):
    account = store.open_account(opening(usd=10, alerts=(50, 80, 100)))
    epoch = store.open_holder("one", "host", 1, "s", 1)
    beat(store, epoch, Said(account, 0, 4 * USD, 0, 9 * USD, 1))
    assert store.due_alerts(10) == []
    for _ in range(2):
        beat(store, epoch, Said(account, 0, 8 * USD, 0))
    first, second = store.due_alerts(10)
    assert {(one.percent, one.spent_pico, one.budget) for one in (first, second)} == {(50, 8 * USD, "acme"), (80, 8 * USD, "acme")}
    assert store.claim_alert(first, 10)
    assert not store.claim_alert(first, 10), "another host has it"
    store.alert_told(first, 11, None)
    assert store.claim_alert(second, 10)
    store.alert_told(second, 11, "nobody there")
    assert store.due_alerts(10) == []
    now = 10
    for wait_s in RETRY_S:
        now += wait_s * SECOND
        (again,) = store.due_alerts(now)
        assert again.percent == second.percent
        assert store.claim_alert(again, now)
    assert store.due_alerts(now * 10) == [], "after a day it is given up"


def test_an_amount_that_is_raised_is_told_of_again_when_it_is_reached(store):
    account = store.open_account(opening(usd=10, alerts=(50, 100)))
    epoch = store.open_holder("one", "host", 1, "s", 1)
    beat(store, epoch, Said(account, 0, 10 * USD, 0, 0, 0))
    for alert in store.due_alerts(10):
        assert store.claim_alert(alert, 10)
        store.alert_told(alert, 11, None)
    store.open_account(opening(usd=10, alerts=(50, 100)))
    beat(store, epoch, Said(account, 0, 10 * USD, 0))
    assert store.due_alerts(20) == [], "nothing has changed"
    store.open_account(opening(usd=16, alerts=(50, 100)))
    beat(store, epoch, Said(account, 0, 10 * USD, 0))
    assert store.due_alerts(20) == [], "half of it was reached and stays so, all of it is not"
    beat(store, epoch, Said(account, 0, 16 * USD, 0))
    assert [(one.percent, one.limit_pico) for one in store.due_alerts(20)] == [(100, 16 * USD)]


def test_alerts_know_whom_they_are_meant_for_until_their_budget_is_dropped(store):
    store.set_rule("acme", "{}", Recipients(("a@example.org",), "[acme]"))
    store.set_rule("acme", "{ }")
    assert store.recipients() == {"acme": Recipients(("a@example.org",), "[acme]")}
    account = store.open_account(opening(usd=10, alerts=(100,)))
    beat(store, store.open_holder("one", "host", 1, "s", 1), Said(account, 0, 10 * USD, 0, 0, 0))
    assert [one.recipients for one in store.due_alerts(10)] == [Recipients(("a@example.org",), "[acme]")]
    assert store.drop_rule("acme")
    assert not store.drop_rule("acme")
    assert [one.recipients for one in store.due_alerts(10)] == [None]


def test_rules_and_hosts(store):
    assert store.rules() == {}
    store.set_rule("b", "1")
    store.set_rule("a", "2")
    store.set_rule("b", "3")
    assert store.rules() == {"a": "2", "b": "3"}
    store.remove_rule("a")
    with pytest.raises(InvalidRequest):
        store.remove_rule("a")
    assert store.seen("one", 1, 15) == 1
    assert store.seen("two", 10 * SECOND, 15) == 2
    assert store.seen("two", 20 * SECOND, 15) == 1, "of the first nothing was heard"


def test_many_at_once_never_lend_more_than_there_is(stores):
    """Eight threads, each a host of its own, ask for a tenth each, again and again."""
    store = stores.open()
    account = store.open_account(opening(usd=100))
    granted: list[int] = []

    def host(number: int) -> None:
        own = stores.open()
        epoch = own.open_holder(f"p{number}", f"h{number}", number, "s", 1)
        last = 0
        for _ in range(5):
            (told,) = own.beat(epoch, START, [Said(account, 0, 0, last, 10 * USD, 10 * USD)], 1)
            last = told.granted
        granted.append(last)

    threads = [threading.Thread(target=host, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(granted) == 8
    assert sum(granted) <= 100 * USD
    assert sum(granted) >= 90 * USD
    assert store.accounts()[0].available_pico == 100 * USD - sum(granted)


def test_a_postgresql_that_is_gone_is_said_to_be_gone_and_is_found_again():
    with postgres() as cluster, contextlib.closing(Treasury(PostgresBudgets(cluster.url))) as store:
        account = store.open_account(opening(usd=100))
        epoch = store.open_holder("one", "host", 1, "s", 1)
        beat(store, epoch, Said(account, 0, 0, 0, 60 * USD, 1))
        cluster.kill()
        with pytest.raises(NotReady):
            beat(store, epoch, Said(account, 0, 1 * USD, 0))
        cluster.start()
        (told,) = beat(store, epoch, Said(account, 0, 2 * USD, 0))
        assert told.granted == 62 * USD, "what was lent before the kill is lent"


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "budgets.sqlite").write_text("not a database, however long it is made so that it looks like one" * 100)
    with pytest.raises(SetupError):
        SqliteBudgets(tmp_path / "budgets.sqlite")


def test_a_full_disk_is_said_and_what_was_lent_stays_lent(tmp_path):
    """The file may grow no more: a word that needs room is refused whole, and the next one finds all as it was."""
    database = SqliteBudgets(tmp_path / "budgets.sqlite")
    store = Treasury(database)
    account = store.open_account(opening(usd=100))
    epoch = store.open_holder("one", "host", 1, "s", 1)
    beat(store, epoch, Said(account, 0, 0, 0, 60 * USD, 1))
    pages = database._database.execute("PRAGMA page_count").fetchone()[0]
    database._database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(NotReady, match="full"):
        store.set_rule("long", "x" * 1_000_000)
    assert store.rules() == {}
    (told,) = beat(store, epoch, Said(account, 0, 1 * USD, 0))
    assert told.granted == 62 * USD
    store.close()
