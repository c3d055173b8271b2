"""One thread that owns one connection to the database, for what clients ask to have kept: the event loop never waits for a disk."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from headrace.storage.database import connect

Given = ParamSpec("Given")
Got = TypeVar("Got")


class Archive:
    """Runs functions of a connection, one at a time, in its thread. The connection is opened when it is first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="archive")
        self._database: sqlite3.Connection | None = None

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, Given], Got], *given: Given.args, **named: Given.kwargs) -> Got:
        """What `work` returns for the connection and what is `given`."""

        def there() -> Got:
            if self._database is None:
                self._database = connect(self._path, durable=True)
            return work(self._database, *given, **named)

        return await asyncio.get_running_loop().run_in_executor(self._thread, there)

    def close(self) -> None:
        """Finish what is being done, and close."""

        def there() -> None:
            if self._database is not None:
                self._database.close()

        self._thread.submit(there).result()
        self._thread.shutdown()
