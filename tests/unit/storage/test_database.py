"""The database: made, migrated, and refused with a clear word where it can't be used."""

import pytest

from headrace.core.errors import NotReady, SetupError
from headrace.storage import connect
from headrace.storage.database import migrations, snapshot, transaction


def test_a_new_database_has_the_newest_schema(layout):
    first, second = connect(layout.database), connect(layout.database, durable=True)
    assert first.execute("PRAGMA user_version").fetchone()[0] == len(migrations())
    assert first.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert second.execute("PRAGMA synchronous").fetchone()[0] == 2
    tables = {name for (name,) in second.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert {"segment", "usage", "account", "transfer", "api_key"} <= tables
    first.close()
    second.close()


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
