"""The database: made, migrated, and refused with a clear word where it can't be used."""

import contextlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files

import pytest

from headrace.core.errors import NotReady, SetupError
from headrace.storage import MemoryStore, connect
from headrace.storage.books import Bookkeeper
from headrace.storage.database import FOR_POSTGRES, migrations, snapshot, transaction
from tests.unit.metering.builders import admit, settle


def test_a_new_database_has_the_newest_schema(layout):
    first, second = connect(layout.database), connect(layout.database, durable=True)
    assert first.execute("PRAGMA user_version").fetchone()[0] == len(migrations())
    assert first.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert second.execute("PRAGMA synchronous").fetchone()[0] == 2
    tables = {name for (name,) in second.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"segment", "attempt", "label", "account", "posting", "evidence", "api_key"} <= tables
    first.close()
    second.close()


FIRST_ROWS = [
    # in the order of the first schema's columns; the last is how many transfers were posted
    ("a", 1, "confirmed", 10, 20, "o/1", "p", "k", "batch", "chat", "m", "x", 1, 99, "m@1", 1, 2, 3, 4, 5, 30, "completed", 6, 7, "m-1", 1),
    ("b", 1, "held", 11, None, "o/1", "p", "k", "batch", "chat", "m", "x", 1, 99, None, 1, 2, 3, 4, 5, None, None, None, None, None, 0),
    ("c", 1, "confirmed", 12, 22, "o", "p", "k", "batch", "chat", "m", "x", 0, 99, "m@1", 1, 2, 3, 4, 5, 7, "completed", 6, 7, None, 3),
    ("d", 1, "lost", 13, 23, "o", "p", "k", "batch", "chat", "m", "x", 0, 50, "m@1", 1, 2, 3, 4, 5, 50, None, None, None, None, 1),
    ("e", 2, "void", 14, 24, "o", "p", "k", "batch", "chat", "m", "y", 0, 50, "m@1", 0, 0, 0, 0, 0, None, "refused", None, None, None, 0),
]  # fmt: skip
FIRST_TRANSFERS = [
    ("a.1.0", 20, "charge", 1, 2, 30),
    ("c.1.0", 21, "hold", 3, 4, 99), ("c.1.1", 22, "reversal", 4, 3, 99), ("c.1.2", 22, "charge", 3, 2, 7),
    ("d.1.0", 23, "hold", 3, 4, 50),
]  # fmt: skip
ACCOUNTS = [(1, "customer:o%2F1/p", "30"), (2, "revenue:m", "-37"), (3, "customer:o/p", "57"), (4, "suspense:unknown_held", "-50")]


def test_what_the_first_schema_held_is_there_in_the_newest(layout):
    database = sqlite3.connect(layout.database)
    database.executescript(migrations()[0])
    database.executemany(f"INSERT INTO usage VALUES ({', '.join('?' * 26)})", FIRST_ROWS)
    database.executemany("INSERT INTO account VALUES (?, ?, ?)", ACCOUNTS)
    database.executemany("INSERT INTO transfer VALUES (?, ?, ?, ?, ?, ?)", FIRST_TRANSFERS)
    database.execute("PRAGMA user_version = 1")
    before = database.execute("SELECT * FROM usage").fetchall()
    names = [name for name, *_ in database.execute("SELECT * FROM usage").description]
    database.commit()
    database.close()
    database = connect(layout.database)
    assert database.execute(f"SELECT {', '.join(names[:-1])} FROM usage ORDER BY request").fetchall() == [row[:-1] for row in before]
    assert database.execute("SELECT request, posted FROM usage ORDER BY request").fetchall() == [
        ("a", 0), ("b", 0), ("c", 3), ("d", 1), ("e", 0),
    ]  # fmt: skip
    assert database.execute("SELECT * FROM transfer ORDER BY id").fetchall() == FIRST_TRANSFERS
    assert database.execute("SELECT * FROM account ORDER BY id").fetchall()[:4] == ACCOUNTS
    with transaction(database):
        assert Bookkeeper(database).book([settle(admit("b", 1), cost_pico=5)]) == 1
    assert database.execute("SELECT state FROM usage WHERE request = 'b'").fetchone() == ("confirmed",)
    database.close()


def test_a_newer_schema_is_refused(layout):
    database = connect(layout.database)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SetupError, match="has schema 99, made by a newer headrace"):
        connect(layout.database)


@pytest.mark.parametrize("damage", [b"not a database, but long enough to be looked at as one" * 100, None])
def test_a_damaged_file_says_how_to_go_on(layout, damage):
    if damage is None:
        connect(layout.database).close()
        damage = bytearray(layout.database.read_bytes())
        damage[:100] = b"?" * 100
    layout.database.write_bytes(damage)
    with pytest.raises(SetupError, match=r"is damaged .*Usage and balances are rebuilt from the usage log"):
        connect(layout.database)


def test_a_database_that_cannot_be_opened_says_so(layout):
    layout.database.mkdir()
    with pytest.raises(SetupError, match="can't be opened"):
        connect(layout.database)


def test_a_transaction_is_all_or_nothing(layout):
    database = connect(layout.database)

    def broken(statement: str) -> None:
        with transaction(database):
            database.execute(statement)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken("INSERT INTO account (name, balance) VALUES ('a', '0')")
    with pytest.raises(ZeroDivisionError):
        broken("ROLLBACK")  # as a full disk does
    assert not database.execute("SELECT * FROM account").fetchall()
    with snapshot(database):
        assert database.in_transaction
    assert not database.in_transaction
    database.close()


def test_a_busy_database_says_try_again(layout):
    one, other = connect(layout.database), connect(layout.database)
    other.execute("PRAGMA busy_timeout = 1")
    with transaction(one), pytest.raises(NotReady, match="busy"), transaction(other):
        pass
    one.close()
    other.close()


def test_a_second_connection_of_a_process_does_not_let_another_process_take_the_journal_away(layout):
    first = connect(layout.database, durable=True)
    connect(layout.database).close()
    first.execute("INSERT INTO account (name, balance) VALUES ('kept', '1')")
    other = f"from pathlib import Path; from headrace.storage import connect; connect(Path({str(layout.database)!r})).close()"
    subprocess.run((sys.executable, "-c", other), check=True, timeout=60)
    first.execute("INSERT INTO account (name, balance) VALUES ('kept too', '1')")
    with contextlib.closing(sqlite3.connect(layout.database)) as reader:
        assert reader.execute("SELECT count(*) FROM account WHERE name LIKE 'kept%'").fetchone()[0] == 2
    first.close()


def test_memories_that_were_kept_apart_become_their_owners(layout):
    """Before, whose a memory is stood in front of what it is about."""
    with closing(sqlite3.connect(layout.database)) as database, database:
        before = [sql for name, sql in zip(names(), migrations(), strict=True) if name < "0112"]
        for sql in before:
            database.executescript(sql)
        database.execute(f"PRAGMA user_version = {len(before)}")
        for id, project in (("m1", "/p"), ("m2", "7:default/1:p/key_1\nRivers"), ("m3", "7:default/1:p/key_1\n")):
            database.execute("INSERT INTO memory VALUES (?, ?, 'x', 'said', '', '', 2, 0, 1, 1, '', x'')", (id, project))
    with closing(connect(layout.database)) as database:
        store = MemoryStore(database)
        assert [(one.id, one.project) for one in store.of()] == [("m1", "/p")]
        assert [(one.id, one.project) for one in MemoryStore(database, "7:default/1:p/key_1").of()] == [("m2", "Rivers"), ("m3", "")]
        store.adopt("7:default/1:p/key_1")
        assert len(store.of()) == 3


def names() -> list[str]:
    folder = files("headrace.storage") / "migrations"
    return sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql") and not file.name.endswith(FOR_POSTGRES))
