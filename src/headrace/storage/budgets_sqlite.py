"""The treasury's tables in SQLite: a file of their own, which one process a host writes."""

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from headrace.core.errors import NotReady, SetupError
from headrace.storage.database import BUSY_TIMEOUT_MS
from headrace.storage.treasury import SCHEMA, Connection, Row


class SqliteBudgets:
    """Implements `treasury.Database`."""

    lock_words = ""

    def __init__(self, path: Path) -> None:
        """Raises SetupError where the file can't be opened."""
        try:
            self._database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1_000, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            for statement in SCHEMA.split(";\n"):
                filled = statement.replace("SERIAL_KEY", "INTEGER PRIMARY KEY AUTOINCREMENT").replace("AMOUNT", "TEXT")
                self._database.execute(filled)
        except sqlite3.Error as error:
            raise SetupError(f"the budgets in {path} can't be opened ({error}): check the file's owner and its disk") from error
        path.chmod(0o600)

    def transaction(self) -> AbstractContextManager[Connection]:
        """All of it or nothing. Raises NotReady where the file can't be written to."""
        return self._begun("BEGIN IMMEDIATE")

    def snapshot(self) -> AbstractContextManager[Connection]:
        """For reading alone. Raises NotReady where the file can't be read."""
        return self._begun("BEGIN")

    @contextmanager
    def _begun(self, how: str) -> Iterator[Connection]:
        try:
            self._database.execute(how)
            yield self
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo()
            raise NotReady(f"the budgets can't be read or written ({error}): try again") from error
        except BaseException:
            self._undo()
            raise

    def rows(self, sql: str, *values: object) -> list[Row]:
        return self._database.execute(sql, values).fetchall()

    def run(self, sql: str, *values: object) -> None:
        self._database.execute(sql, values)

    def close(self) -> None:
        self._database.close()

    def _undo(self) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")
