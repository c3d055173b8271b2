"""Loading: everything once, whatever the order, the repetition or the moment at which it is cut; and what the books then say."""

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import msgspec
import pytest

from headrace.core.errors import NotReady
from headrace.core.usage import Usage
from headrace.metering import Admit, AttemptId, Evidence, Ledger, Record, Settle, Transfer, Void
from headrace.storage import FileLock, UsageRow, balances, connect, key_names, load_once, recover, usage_by, verify
from headrace.storage.books import Bookkeeper
from headrace.storage.database import transaction
from headrace.storage.loader import main
from headrace.storage.loading import Loader
from headrace.storage.segment import file_name, framed, header
from tests.unit.metering.builders import admit, lost, settle, void
from tests.unit.storage.conftest import crash


@pytest.fixture
def database(layout):
    database = connect(layout.database)
    yield database
    database.close()


def held_against(records: list[Record], database) -> None:
    """The database agrees with the books in memory: where each attempt stands, every balance, and what its transfers add up to."""
    ledger = Ledger(records)
    assert balances(database) == ledger.balances
    found = database.execute("SELECT request, attempt, state, uncached, output, cost_pico FROM usage")
    assert {row[:2]: row[2:] for row in found} == {
        attempt: (it.state, it.usage.uncached, it.usage.output, it.cost_pico) for attempt, it in ledger.standings.items()
    }
    posted = Ledger()
    accounts = dict(database.execute("SELECT id, name FROM account"))
    for id, moment, kind, debit, credit, pico in database.execute("SELECT id, moment, kind, debit, credit, amount_pico FROM transfer"):
        assert posted.post(Transfer(id, moment, kind, accounts[debit], accounts[credit], pico)), "an id is there once"
    assert posted.balances == ledger.balances


def states(database) -> dict[str, str]:
    return dict(database.execute("SELECT request, state FROM usage"))


def stories() -> list[Record]:
    """Every way in which an attempt can go, some of them twice."""
    records: list[Record] = []
    for number in range(30):
        one = admit(f"r{number}", number % 2, organization=f"o{number % 3}", bound_pico=None if number % 5 == 0 else 1_000 + number)
        ends: list[Record] = [
            settle(one, cost_pico=number),
            lost(one),
            void(one),
            settle(one, cost_pico=None),
            settle(one, moment=9, cost_pico=2**62),
        ]
        records += [one, *ends[: number % 4], *ends[number % 5 :][: number % 3]]
    return records


@pytest.mark.parametrize("seed", range(8))
def test_the_database_agrees_with_the_books_in_memory_in_any_order_and_any_pieces(database, seed):
    rng = Random(seed)
    records = stories()
    said = records + rng.choices(records, k=40)
    rng.shuffle(said)
    while said:
        size = rng.randint(1, 30)
        with transaction(database):
            Bookkeeper(database).book(said[:size])
        said = said[size:]
    held_against(records, database)


def pieces_of(records: list[Record], rng: Random, usage: Path) -> None:
    """Segments that say these records, each end after the admit that it has in the same file, or without one."""
    while records:
        size, places = rng.randint(1, 40), dict[AttemptId, int]()
        data = bytearray(header(1, 1, "test"))
        for record in records[:size]:
            of = 0
            if isinstance(record, Admit):
                of = places[record.id] = len(data)
            elif isinstance(record, Settle | Void):
                of = places.pop(record.admitted.id, 0)
            data += framed(msgspec.msgpack.encode(record), of)
        (usage / file_name(len(records) * 10**6, 1, 0)).with_suffix(".sealed").write_bytes(data)
        records = records[size:]


@pytest.mark.parametrize("seed", range(12))
def test_the_same_from_segments_in_which_most_ends_follow_their_admits(layout, database, seed):
    rng, records = Random(seed), stories()
    again = rng.choices(records, k=10)
    said = records + again if seed % 2 else records
    if seed % 3 == 0:
        rng.shuffle(said)
    pieces_of(said, rng, layout.usage)
    loaded = 0
    while more := load_once(layout, 1).records:
        loaded += more
    assert loaded == len(said)
    held_against(said, database)
    assert verify(database, layout.usage) == []


def test_a_log_is_followed_while_it_is_written(log, layout, database):
    log.append(admit("a"))
    assert load_once(layout, 1).records == 1
    assert states(database) == {"a": "held"}
    log.append(settle(admit("a")))
    log.append(admit("b"))
    assert load_once(layout, 1).records == 2
    assert load_once(layout, 1).records == 0
    assert states(database) == {"a": "confirmed", "b": "held"}
    assert verify(database, layout.usage) == []


def test_segments_are_followed_when_they_are_sealed(log, layout, database):
    for number in range(900):
        log.append(admit(str(number)))
        log.append(settle(admit(str(number))))
        if number % 100 == 0:
            load_once(layout, 1)
        if number % 150 == 0:
            log.sync()
    log.close()
    load_once(layout, 1)
    assert database.execute("SELECT count(*), sum(cost_pico) FROM usage").fetchone() == (900, 900 * 12_345)
    assert database.execute("SELECT count(*) FROM segment WHERE NOT complete").fetchone() == (0,)
    assert verify(database, layout.usage) == []


def test_a_loss_is_corrected_by_what_is_found_later(new_log, layout, database):
    dead = new_log()
    dead.append(admit("a"))
    load_once(layout, 1)
    crash(dead)
    log = new_log()
    recover(layout.usage, log, 5)
    load_once(layout, 1)
    assert states(database) == {"a": "lost"}
    assert balances(database) == {"customer:acme/demo": 30_000_000, "suspense:unknown_held": -30_000_000}
    late = new_log()
    late.append(admit("a"))
    late.append(settle(admit("a")))
    load_once(layout, 1)
    assert states(database) == {"a": "confirmed"}
    assert balances(database) == {"customer:acme/demo": 12_345, "revenue:smollm2-135m-instruct": -12_345}
    assert [kind for (kind,) in database.execute("SELECT kind FROM transfer ORDER BY id")] == ["hold", "reversal", "charge"]
    assert database.execute("SELECT count(*) FROM posting").fetchone() == (3,)
    assert verify(database, layout.usage) == []


def test_an_ordinary_charge_is_no_row_of_its_own_until_it_is_corrected(log, layout, database):
    log.append(admit("a"))
    log.append(msgspec.structs.replace(settle(admit("a")), state="estimated"))
    load_once(layout, 1)
    charge = ("a.0.0", 2_000, "charge", 12_345)
    postings = "SELECT id, moment, kind, amount_pico FROM {} ORDER BY id"
    assert database.execute(postings.format("transfer")).fetchall() == [charge]
    assert database.execute(postings.format("posting")).fetchall() == []
    with transaction(database):
        Bookkeeper(database).book([settle(admit("a"), cost_pico=12_345, moment=5_000)])
    assert database.execute(postings.format("posting")).fetchall() == [charge], "what was posted stays as it was"
    with transaction(database):
        Bookkeeper(database).book([settle(admit("a"), cost_pico=7, moment=6_000)])
    rows = [charge, ("a.0.1", 6_000, "reversal", 12_345), ("a.0.2", 6_000, "charge", 7)]
    assert database.execute(postings.format("transfer")).fetchall() == rows
    assert balances(database)["customer:acme/demo"] == 7


def test_an_end_that_is_known_already_sends_its_piece_the_long_way(new_log, layout, database):
    """And all others of that piece are taken in as well, once."""
    first = new_log()
    for name in ("a", "b"):
        first.append(admit(name))
    first.append(settle(admit("a")))
    load_once(layout, 1)
    crash(first)
    second = new_log()
    recover(layout.usage, second, 3_000)
    for name in ("b", "c"):
        second.append(admit(name))
        second.append(settle(admit(name)))
    load_once(layout, 1)
    assert states(database) == dict.fromkeys(("a", "b", "c"), "confirmed")
    assert balances(database)["customer:acme/demo"] == 3 * 12_345
    assert verify(database, layout.usage) == []


def test_labels_of_a_pass_that_was_rolled_back_are_made_again(log, layout, database):
    loader = Loader(layout.usage, database)
    log.append(admit("a"))
    log.append(settle(admit("a")))
    database.execute("CREATE TRIGGER no BEFORE INSERT ON segment BEGIN SELECT raise(ABORT, 'not now'); END")
    with pytest.raises(sqlite3.IntegrityError, match="not now"):
        loader.load()
    assert states(database) == {}
    database.execute("DROP TRIGGER no")
    log.append(admit("b"))
    log.append(settle(admit("b")))
    assert loader.load().records == 4
    assert database.execute("SELECT count(*) FROM usage").fetchone() == (2,), "each row has its label"
    assert balances(database)["customer:acme/demo"] == 2 * 12_345


def test_a_foreign_record_in_the_log_is_left_out_and_counted_as_damage(log, layout, database):
    log.append(admit("a"))
    log._segment.write(msgspec.msgpack.encode([9, "of a newer headrace"]), 0)
    log.append(settle(admit("a")))
    loaded = load_once(layout, 1)
    assert (loaded.records, len(loaded.damages)) == (2, 1)
    assert states(database) == {"a": "confirmed"}
    assert verify(database, layout.usage) == []


def test_evidence_is_kept_once(new_log, layout, database):
    for number in range(2):
        log = new_log()
        log.append(Evidence("e1", number, b"first"))
        log.append(Evidence(f"f{number}", number, b"other"))
        load_once(layout, 1)
    assert database.execute("SELECT id, moment, content FROM evidence ORDER BY id").fetchall() == [
        ("e1", 0, b"first"), ("f0", 0, b"other"), ("f1", 1, b"other"),
    ]  # fmt: skip


def test_the_folder_is_read_when_it_has_changed(new_log, layout, database):
    loader = Loader(layout.usage, database)
    assert loader.is_called
    loader.load()
    assert not loader.is_called
    loader.load()
    time.sleep(0.03)
    one = new_log()
    assert loader.is_called
    one.append(admit("a"))
    assert loader.load().records == 1
    for name in ("b", "c"):
        one.append(admit(name))
        assert not loader.is_called, "what is appended calls nobody"
        assert loader.load().records == 1
    other = new_log()
    other.append(admit("d"))
    assert loader.load().records == 1
    for name in "abc":
        one.append(settle(admit(name)))
    one.close()
    assert loader.load().records == 3
    assert states(database) == {"a": "confirmed", "b": "confirmed", "c": "confirmed", "d": "held"}


def test_balances_pass_64_bits(database):
    records = [settle(admit(str(number)), cost_pico=2**63 - 1) for number in range(5)]
    with transaction(database):
        Bookkeeper(database).book(records)
    assert balances(database)["customer:acme/demo"] == 5 * (2**63 - 1)
    (row,) = usage_by(database, ())
    assert row.cost_pico == 5 * (2**63 - 1)


def test_usage_is_grouped_to_the_last_digit(database):
    with transaction(database):
        Bookkeeper(database).book(
            [
                settle(admit("a", key="k1"), usage=Usage(100, 20, 3, 7, 2, 10, 20, 30), cost_pico=1_234_567),
                settle(admit("b", key="k1"), cost_pico=None),
                msgspec.structs.replace(settle(admit("c", key="k2", moment=50), usage=Usage(1), cost_pico=1), state="estimated"),
                lost(admit("d", key="k2", bound_pico=5)),
                void(admit("e", key="k2")),
                admit("f", key="k2"),
            ],
        )
    nothing = UsageRow(group=())
    used = Usage(200, 20, 3, 12, 2, 10, 20, 30)
    first = UsageRow(group=("k1",), requests=2, usage=used, cost_pico=1_234_567, unpriced=1, unbought=2)
    second = UsageRow(group=("k2",), requests=2, usage=Usage(1_001, output=500), cost_pico=6, lost=1, estimated=1, held=1, unbought=2)
    assert (first.tokens_in, first.tokens_cached, first.tokens_out) == (283, 20, 14)
    assert usage_by(database, ("key",)) == [first, second]
    assert [row.requests for row in usage_by(database, (), until=51)] == [1]
    assert usage_by(database, (), since=10**6) == [nothing]
    assert usage_by(database, since=10**6) == []
    assert [row.group for row in usage_by(database)] == [("smollm2-135m-instruct", key, "enterprise") for key in ("k1", "k2")]
    assert key_names(database) == {}
    with pytest.raises(ValueError, match="can't be grouped by 'colour': choose from model, key, class"):
        usage_by(database, ("colour",))  # type: ignore[arg-type]


def test_verify_tells_what_differs(log, layout, database):
    log.append(admit("a"))
    log.append(settle(admit("a")))
    load_once(layout, 1)
    database.execute("UPDATE account SET balance = '5' WHERE name = 'customer:acme/demo'")
    differences = verify(database, layout.usage)
    assert [(one.account, one.source, one.expected_pico, one.found_pico) for one in differences] == [
        ("customer:acme/demo", "usage log", 12_345, 5),
        ("customer:acme/demo", "transfers", 12_345, 5),
    ]
    assert str(differences[0]) == "customer:acme/demo: the balance is 5 pico-USD, by the usage log it is 12345"


def test_verify_reads_the_log_only_as_far_as_it_is_loaded(log, layout, database):
    log.append(admit("a"))
    load_once(layout, 1)
    log.append(settle(admit("a")))
    assert verify(database, layout.usage) == []


def test_damage_is_counted(new_log, layout, database):
    dead = new_log()
    for name in ("a", "b"):
        dead.append(admit(name))
    data = bytearray(dead.path.read_bytes())
    data[80] ^= 1
    dead.path.write_bytes(data)
    loaded = load_once(layout, 1)
    assert (loaded.records, len(loaded.damages)) == (1, 1)
    assert database.execute("SELECT damaged FROM segment").fetchone() == (loaded.damages[0].length,)


def loader_process(layout) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "headrace.storage.loader", layout.root],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip


def test_the_loader_process_follows_and_ends_with_its_server_after_a_last_look(log, layout, database):
    log.append(admit("a"))
    loader = loader_process(layout)
    while not states(database):
        assert loader.poll() is None
    assert load_once(layout, 1).records == 0, "the process holds the lock and is waited for"
    log.append(settle(admit("a")))
    _, complaints = loader.communicate()
    assert (loader.returncode, complaints) == (0, b"")
    assert states(database) == {"a": "confirmed"}


def test_a_loader_that_does_not_keep_up_is_named(log, layout, database):
    log.append(admit("a"))
    lock = FileLock(layout.loader_lock)
    assert lock.take(77)
    with pytest.raises(NotReady, match=r"process 77\) does not keep up"):
        load_once(layout, 1, wait_s=0.05)
    lock.release()


def test_two_loaders_never_work_together(log, layout, database):
    lock = FileLock(layout.loader_lock)
    assert lock.take(77)
    loader = loader_process(layout)
    loader.communicate()
    assert loader.returncode == 0
    lock.release()


def test_the_loader_says_why_it_stops(layout, capsys):
    layout.database.write_bytes(b"?" * 5_000)
    loader = loader_process(layout)
    _, complaints = loader.communicate()
    assert loader.returncode == 1
    assert b"the usage loader stopped: the database" in complaints
    assert main([]) == 2
    assert "DATA_FOLDER" in capsys.readouterr().err
