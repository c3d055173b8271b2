"""From one host to several: what the SQLite of a data folder holds of what hosts share is copied to PostgreSQL, once and whole."""

import sqlite3
from typing import Final

from headrace.core.errors import SetupError
from headrace.storage.database import Database, transaction
from headrace.storage.postgres import SHARED

ROWS_AT_ONCE: Final = 100
TABLES: Final = tuple(sorted(SHARED - {"runner"}))
NUMBERED: Final = "price_set"
"""Its rows get new numbers, in the old order."""
TELLING: Final = (
    "response", "conversation", "file", "batch", "project", "person", "invite", "service_account", "project_limit", "audit_entry",
    "price_set", "model_permission", "people_group",
)  # fmt: skip


def holds_state(database: sqlite3.Connection) -> bool:
    """Whether somebody would miss what is in it: more than the development key, and what is over within a day."""
    made = "SELECT 1 FROM api_key WHERE (name, organization, project) <> ('development', 'default', 'default')"
    return any(
        database.execute(sql + " LIMIT 1").fetchone() is not None
        for sql in (made, *(f"SELECT 1 FROM {table}" for table in TELLING))  # noqa: S608 -- our own names
    )


def move(local: sqlite3.Connection, remote: Database) -> dict[str, int]:
    """Copy all of it, or nothing. How many rows of each table. Raises SetupError where the other one holds something already."""
    with transaction(remote, "moving"):
        for table in TABLES:
            if remote.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() is not None:  # noqa: S608 -- our own names
                raise SetupError(
                    f"PostgreSQL holds something already (in the table {table}), and two installations can't be made one: move into a new "
                    "database before any server has started on it"
                )
        return {table: _copied(local, remote, table) for table in TABLES}


def _copied(local: sqlite3.Connection, remote: Database, table: str) -> int:
    rows = local.execute(f"SELECT * FROM {table} ORDER BY 1")  # noqa: S608 -- our own names
    names = [name for name, *_ in rows.description]
    skipped = 1 if table == NUMBERED else 0
    kept = names[skipped:]
    sql = f"INSERT INTO {table} ({', '.join(kept)}) VALUES ({', '.join('?' * len(kept))})"  # noqa: S608 -- our own names
    count = 0
    while some := rows.fetchmany(ROWS_AT_ONCE):
        remote.executemany(sql, [row[skipped:] for row in some])
        count += len(some)
    return count
