"""PostgreSQL behind the few calls of Python's sqlite3 that stores use. Their SQL is written once, in what both understand; the few phrases
that differ are translated here, and so are the migrations.

A connection is made when it is needed, and again after it was lost. While the database can't be reached nobody waits for it more than once
a second: who asks in between is refused at once.
"""

import logging
import re
import select
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace.core.clock import SECOND, Instant
from headrace.core.errors import InternalFailure, InvalidRequest, SetupError, StoreUnreachable

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger("headrace")
CHANNEL: Final = "headrace"
"""Where hosts tell each other that something changed; see `storage/news.py`."""
CONNECT_S: Final = 3
STATEMENT_MS: Final = 5_000
SCHEMA_LOCK: Final = 0x48454144
COME_BACK_MS: Final = 1_000
DEAD_AFTER: Final[dict[str, Any]] = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000}
"""How soon a peer that says nothing more is taken to be gone: seconds, but the last in milliseconds."""


class Rows(Protocol):
    """What a statement gave, as both drivers have it."""

    @property
    def rowcount(self) -> int: ...

    @property
    def description(self) -> Any: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Cluster:
    """A PostgreSQL as one process knows it: where it is, which schema it must have, and whether it was reached lately."""

    def __init__(self, url: str, instant: Callable[[], Instant], schema: Callable[[], Sequence[tuple[str, str]]]) -> None:
        """`schema` gives the name and the SQL of each migration, first to last. Raises SetupError where the driver is missing."""
        try:
            import psycopg  # a driver that only this needs
        except ImportError:
            raise SetupError("[storage] url needs the driver psycopg: pip install 'headrace[postgres]'") from None
        self.driver = psycopg
        self._url, self._instant, self._schema = url, instant, schema
        self._connecting = threading.Lock()
        self._migrated = False
        self._refused_until: Instant | None = None

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """A new connection, to the newest schema. Raises StoreUnreachable, or SetupError where a newer headrace has made the schema."""
        with self._connecting:
            if self._refused_until is not None and self._instant() < self._refused_until:
                raise unreachable()
            try:
                connection = self._connected()
            except self.driver.Error as error:
                if self._refused_until is None:
                    log.error("PostgreSQL can't be reached, requests that need it are refused: %s", told(error))  # noqa: TRY400 -- it says all
                self._refused_until = self._instant() + SECOND
                raise unreachable() from error
            if self._refused_until is not None:
                log.info("PostgreSQL can be reached again")
                self._refused_until = None
            return connection

    def check(self) -> None:
        """Raises StoreUnreachable where nobody could connect when it was tried last."""
        if self._refused_until is not None:
            raise unreachable()

    def _connected(self) -> "psycopg.Connection[tuple[Any, ...]]":
        options = f"-c statement_timeout={STATEMENT_MS} -c synchronous_commit=on"
        connection = self.driver.connect(self._url, autocommit=True, connect_timeout=CONNECT_S, options=options, **DEAD_AFTER)
        try:
            _adapt(connection)
            if not self._migrated:
                self._migrate(connection)
                self._migrated = True
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        known = dict(self._schema())
        connection.execute("SET statement_timeout = 0")
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))  # two hosts may start at once
            connection.execute('CREATE TABLE IF NOT EXISTS migration (name TEXT COLLATE "C" PRIMARY KEY)')
            done = {row[0] for row in connection.execute("SELECT name FROM migration")}
            if newer := done - known.keys():
                raise SetupError(
                    f"the tables in PostgreSQL were made by a newer headrace ({max(newer)}): upgrade this one, or use another database"
                )
            for name, sql in known.items():
                if name not in done:
                    connection.execute(sql.encode())
                    connection.execute("INSERT INTO migration VALUES (%s)", (name,))
        connection.execute(f"SET statement_timeout = {STATEMENT_MS}")


class PostgresDatabase:
    """One connection, for one thread at a time. `heard` is called after a change was announced, in the thread that announced it."""

    def __init__(self, cluster: Cluster, heard: "Callable[[PostgresDatabase], None] | None" = None) -> None:
        self._cluster, self._heard = cluster, heard
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._listens = False

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Rows:
        with self._telling():
            return self._connected().execute(translated(sql), parameters)

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Rows:
        with self._telling():
            cursor = self._connected().cursor()
            cursor.executemany(translated(sql), parameters)
            return cursor

    @contextmanager
    def transaction(self, of: str) -> Iterator[None]:
        """All of it or nothing, as the only one anywhere who writes what `of` names."""
        with self._telling(), self._connected().transaction():
            self.execute("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (of,))
            yield

    def announce(self) -> None:
        """Tell all hosts that something changed of what they have in memory."""
        self.execute(f"NOTIFY {CHANNEL}")
        if self._heard is not None:
            self._heard(self)

    def listen(self) -> None:
        """From now on hear what is announced, on each connection that is made."""
        self._listens = True
        with self._telling():
            self._connected()

    def waited(self, seconds: float, woken: int) -> bool:
        """Wait until something is announced, at most so long; True as soon as the file descriptor `woken` can be read. Raises
        StoreUnreachable, after as long a wait."""
        try:
            with self._telling():
                connection = self._connected()
                if list(connection.notifies(timeout=0)):
                    return False
                spoken = ready((woken, connection.fileno()), seconds)
                list(connection.notifies(timeout=0))
                return woken in spoken
        except StoreUnreachable:
            if ready((woken,), seconds):
                return True
            raise

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """The connection; another one where the other side has ended it while nothing was asked."""
        held = self._connection
        if held is not None and not held.closed:
            if held.info.transaction_status or not ready((held.fileno(),), 0):
                return held  # the other side has said nothing that nobody asked for, such as farewell
            with suppress(self._cluster.driver.Error):
                held.execute("SELECT 1")
                return held
        self.close()
        self._connection = self._cluster.connect()
        if self._listens:
            self._connection.execute(f"LISTEN {CHANNEL}")
        return self._connection

    @contextmanager
    def _telling(self) -> Iterator[None]:
        driver = self._cluster.driver
        try:
            yield
        except (driver.DataError, driver.errors.ProgramLimitExceeded) as error:  # a NUL in a text, an id of kilobytes
            raise InvalidRequest(f"What was sent can't be kept: {told(error)}.") from error
        except (driver.OperationalError, driver.InterfaceError, driver.InternalError) as error:
            log.warning("PostgreSQL fails: %s", told(error))
            self.close()  # whatever it is (gone, too slow, become read-only), the next one asks anew
            raise unreachable() from error
        except driver.Error as error:
            log.error("PostgreSQL refuses what was asked: %s", told(error))  # noqa: TRY400 -- whoever answers tells the rest
            raise InternalFailure("The database refused what was asked of it. The log tells why.") from error


def unreachable() -> StoreUnreachable:
    return StoreUnreachable(
        "The database of what is kept (responses, files, batches, keys) can't be reached: try again.", retry_after_ms=COME_BACK_MS
    )


def told(error: Exception) -> str:
    """In one line."""
    return " ".join(str(error).split())


@lru_cache(maxsize=1_024)
def translated(sql: str) -> bytes:
    """SQL of a store for PostgreSQL."""
    ours = sql.replace("lower(?)", 'lower(? COLLATE "C")')  # as the columns have it: those of ASCII alone
    ours = re.sub(r"json_extract\((\w+), '\$\.(\w+)'\)", r"(\1::json ->> '\2')", ours)
    return ours.replace("%", "%%").replace("?", "%s").encode()


SHARED: Final = frozenset(
    (
        "api_key", "project", "person", "project_person", "invite", "service_account", "project_limit", "sign_in", "session", "audit_entry",
        "price_set", "response", "response_event", "conversation", "conversation_item", "file", "upload", "upload_part", "once", "batch",
        "batch_line", "runner", "model_permission", "people_group", "group_person", "project_group", "provisioned_person", "departed",
    )
)  # fmt: skip
"""The tables that all hosts share."""
_SUBJECT: Final = re.compile(
    r"^(?:CREATE TABLE|ALTER TABLE|CREATE (?:UNIQUE )?INDEX \w+ ON|UPDATE|INSERT INTO|DELETE FROM) (\w+)", re.MULTILINE
)
_WORDS: Final = (
    (r"\bINTEGER PRIMARY KEY\b", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bBLOB\b", "BYTEA"),
    (r"\bTEXT\b", 'TEXT COLLATE "C"'),  # in the order of its bytes, as SQLite has it
    (r" COLLATE NOCASE\b", ""),
    (r"\bx''", "''::bytea"),
    (r"\) (STRICT, )?WITHOUT ROWID;", ");"),
)


def ported(statement: str) -> str:
    """A statement of a migration of SQLite's, for PostgreSQL; empty where it is about nothing that hosts share."""
    subject = _SUBJECT.search(statement)
    if subject is None or subject[1] not in SHARED:
        return ""
    for word, ours in _WORDS:
        statement = re.sub(word, ours, statement)
    return statement


def ready(files: Iterable[int], seconds: float) -> list[int]:
    """Those that can be read, as soon as one can; none: not within so long."""
    poll = select.poll()
    for file in files:
        poll.register(file, select.POLLIN)
    return [file for file, _ in poll.poll(seconds * 1_000)]


def _adapt(connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
    """Values as SQLite has them: truth is 0 or 1, and a sum of integers is an integer."""
    from psycopg.adapt import Dumper, Loader

    class Truth(Dumper):
        oid = connection.adapters.types["int2"].oid

        def dump(self, obj: Any) -> bytes:
            return b"1" if obj else b"0"

    class Whole(Loader):
        def load(self, data: Any) -> int:
            return int(bytes(data))

    connection.adapters.register_dumper(bool, Truth)
    connection.adapters.register_loader("numeric", Whole)
