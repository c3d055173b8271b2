"""Loading: everything once, whatever the order, the repetition or the moment at which it is cut; and what the books then say."""

import os
import subprocess
import sys
from random import Random

import msgspec
import pytest

from headrace.core.errors import NotReady
from headrace.core.usage import Usage
from headrace.metering import Ledger, Record
from headrace.storage import FileLock, UsageRow, balances, connect, key_names, load_once, recover, usage_by, verify
from headrace.storage.books import book
from headrace.storage.database import transaction
from headrace.storage.loader import main
from tests.unit.metering.builders import admit, lost, settle, void


@pytest.fixture
def database(layout):
    database = connect(layout.database)
    yield database
    database.close()


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
            book(database, said[:size])
        said = said[size:]
    ledger = Ledger(records)
    assert balances(database) == ledger.balances
    found = database.execute("SELECT request, attempt, state, uncached, output, cost_pico FROM usage")
    assert {row[:2]: row[2:] for row in found} == {
        attempt: (it.state, it.usage.uncached, it.usage.output, it.cost_pico) for attempt, it in ledger.standings.items()
    }
    assert sum(balances(database).values()) == 0


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
    assert verify(database, layout.usage) == []


def test_balances_pass_64_bits(database):
    records = [settle(admit(str(number)), cost_pico=2**63 - 1) for number in range(5)]
    with transaction(database):
        book(database, records)
    assert balances(database)["customer:acme/demo"] == 5 * (2**63 - 1)
    (row,) = usage_by(database, ())
    assert row.cost_pico == 5 * (2**63 - 1)


def test_usage_is_grouped_to_the_last_digit(database):
    with transaction(database):
        book(
            database,
            [
                settle(admit("a", key="k1"), usage=Usage(100, 20, 3, 7, 2), cost_pico=1_234_567),
                settle(admit("b", key="k1"), cost_pico=None),
                msgspec.structs.replace(settle(admit("c", key="k2", moment=50), usage=Usage(1), cost_pico=1), state="estimated"),
                lost(admit("d", key="k2", bound_pico=5)),
                void(admit("e", key="k2")),
                admit("f", key="k2"),
            ],
        )
    nothing = UsageRow(
        group=(), requests=0, tokens_in=0, tokens_cached=0, tokens_out=0, cost_pico=0, unpriced=0, lost=0, estimated=0, held=0
    )
    first = msgspec.structs.replace(
        nothing, group=("k1",), requests=2, tokens_in=223, tokens_cached=20, tokens_out=14, cost_pico=1_234_567, unpriced=1
    )
    second = msgspec.structs.replace(
        nothing, group=("k2",), requests=2, tokens_in=1_001, tokens_out=500, cost_pico=6, lost=1, estimated=1, held=1
    )
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
