"""The databases: SQLite's, in a data folder, opened, checked, and brought to the schema that this code knows; and what stores know of
either kind. A store is written once, against what `sqlite3.Connection` and `PostgresDatabase` have in common."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeAlias

from headrace.core.errors import NotReady, SetupError
from headrace.storage.postgres import PostgresDatabase, ported

Database: TypeAlias = sqlite3.Connection | PostgresDatabase

FOR_POSTGRES: Final = ".postgresql.sql"
BUSY_TIMEOUT_MS: Final = 30_000
"""Who writes waits for whoever writes, and that one for the disk: a disk that others keep busy has taken 1.7 s for a single sync."""
CACHE_KIB: Final = 32_768


def connect(path: Path, *, durable: bool = False) -> sqlite3.Connection:
    """Open the database, and make or migrate it first where needed.

    What is loaded from the usage log can be loaded again, so its transactions needn't wait for the disk; `durable` ones do.
    Raises SetupError for a file that is damaged, newer than this code, or can't be opened.
    """
    try:
        if not path.exists():  # to close a file that is there would drop the locks of this process's other connections to it
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite would let others read it; its -wal and -shm follow its mode
    except OSError as error:
        raise SetupError(f"the database {path} can't be opened ({error.strerror}): check its owner and its disk") from error
    try:
        database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1_000)
        try:
            _prepare(database, path, durable)
        except BaseException:
            database.close()
            raise
    except sqlite3.OperationalError as error:
        raise SetupError(f"the database {path} can't be opened ({error}): check its owner, its disk, and who else uses it") from error
    except sqlite3.DatabaseError as error:
        raise SetupError(
            f"the database {path} is damaged ({error}): move it away and start again. Usage and balances are rebuilt from the usage log "
            f"in {path.parent / 'usage'}; API keys, prices that were set, credits and invoices come back from a backup of the database"
        ) from error
    return database


@contextmanager
def transaction(database: Database, of: str = "") -> Iterator[None]:
    """All of it or nothing, as the only writer of what `of` names: SQLite has one writer for all, PostgreSQL one for each name."""
    if isinstance(database, PostgresDatabase):
        with database.transaction(of):
            yield
        return
    try:
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        raise NotReady(f"the database is busy ({error}): try again") from error
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:  # some failures have ended it already
            database.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(database: sqlite3.Connection) -> Iterator[None]:
    """Several reads that see one state."""
    database.execute("BEGIN")
    try:
        yield
    finally:
        database.execute("ROLLBACK")


def migrations() -> tuple[str, ...]:
    """The SQL of each version, first to last: `migrations/0001_initial.sql` leads to version 1."""
    return tuple(sql for name, sql in _written() if not name.endswith(FOR_POSTGRES))


def shared_migrations() -> list[tuple[str, str]]:
    """Name and SQL of each for PostgreSQL, first to last: what SQLite's say about the tables that hosts share, and `*.postgresql.sql`."""
    found = []
    for name, sql in _written():
        ours = sql if name.endswith(FOR_POSTGRES) else "".join(ported(statement) for statement in _statements(sql))
        if ours:
            found.append((name.removesuffix(".sql"), ours))
    return found


def _written() -> Iterator[tuple[str, str]]:
    folder = files("headrace.storage") / "migrations"
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            yield file.name, file.read_text()


def _prepare(database: sqlite3.Connection, path: Path, durable: bool) -> None:
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA temp_store = MEMORY")
    database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    known = migrations()
    found = _version(database)
    if found > len(known):
        raise SetupError(
            f"the database {path} has schema {found}, made by a newer headrace; this one knows up to {len(known)}: "
            f"upgrade headrace, or use another data folder"
        )
    if found < len(known):
        with transaction(database):
            for version in range(_version(database), len(known)):  # read again: another process may just have done it
                for statement in _statements(known[version]):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {version + 1}")


def _version(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(sql: str) -> Iterator[str]:
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
