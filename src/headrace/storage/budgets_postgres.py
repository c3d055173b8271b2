"""The treasury's tables in PostgreSQL, for many hosts."""

from collections.abc import Iterator
from contextlib import contextmanager

from headrace.core.errors import NotReady, SetupError
from headrace.storage.treasury import SCHEMA, Connection, Row

CONNECT_S = 3
STATEMENT_MS = 5_000
SCHEMA_LOCK = 0x48454144


class PostgresBudgets:
    """Implements `treasury.Database`. The connection is made when it is needed, and again after it was lost."""

    lock_words = " FOR UPDATE"

    def __init__(self, url: str) -> None:
        """Raises SetupError where the driver is missing."""
        try:
            import psycopg  # a driver that only this needs
        except ImportError:
            raise SetupError("budgets in PostgreSQL need the driver psycopg: pip install 'headrace[postgres]'") from None
        self._psycopg, self._url = psycopg, url
        self._connection: psycopg.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of it or nothing. Raises NotReady where the database can't be reached."""
        try:
            connection = self._connected()
            with connection.transaction():
                yield self
        except self._psycopg.Error as error:
            if self._connection is not None and (self._connection.closed or self._connection.broken):
                self._connection.close()
                self._connection = None
            raise NotReady(f"the budgets in PostgreSQL can't be reached ({' '.join(str(error).split())}): try again") from error

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For reading alone. Raises NotReady where the database can't be reached."""
        with self.transaction() as at:
            at.run("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield at

    def rows(self, sql: str, *values: object) -> list[Row]:
        assert self._connection is not None
        return list(self._connection.execute(_ours(sql), values).fetchall())

    def run(self, sql: str, *values: object) -> None:
        assert self._connection is not None
        self._connection.execute(_ours(sql), values)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> "psycopg.Connection":  # type: ignore[name-defined]  # noqa: F821 -- imported where it is needed
        if self._connection is None:
            options = f"-c statement_timeout={STATEMENT_MS} -c synchronous_commit=on"
            self._connection = self._psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_S, options=options)
            with self._connection.transaction():
                self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))  # two hosts may start at once
                for statement in SCHEMA.split(";\n"):
                    filled = statement.replace("SERIAL_KEY", "SERIAL PRIMARY KEY").replace("AMOUNT", "NUMERIC")
                    self._connection.execute(filled)
        return self._connection


def _ours(sql: str) -> str:
    return sql.replace("?", "%s")
