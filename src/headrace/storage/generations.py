"""How processes of one host tell each other that something changed: a counter in a small file, which whoever reads it may have mapped into
its memory. Hosts that share a PostgreSQL are told there.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from headrace.storage.database import Database
from headrace.storage.postgres import PostgresDatabase

SIZE: Final = 8


def announce(database: Database, path: Path) -> None:
    """Tell all who know what lies in `database` that it changed, after it did: on this host by the counter at `path`."""
    if isinstance(database, PostgresDatabase):
        database.announce()
    else:
        bump(path)


def bump(path: Path) -> None:
    """Move the counter."""
    file = opened(path)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        count = int.from_bytes(os.pread(file, SIZE, 0), "little")
        os.pwrite(file, (count + 1).to_bytes(SIZE, "little"), 0)
    finally:
        os.close(file)


def counted(path: Path) -> bytes:
    """The counter; empty: nobody has moved it yet. It and not the file's time, since two changes may have the same."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def opened(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if os.fstat(file).st_size < SIZE:
        os.pwrite(file, bytes(SIZE), 0)
    return file
