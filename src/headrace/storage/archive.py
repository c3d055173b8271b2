"""Threads that own connections to a database, for what clients ask to have kept: the event loop never waits for a disk or for a host."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, Generic, ParamSpec, TypeAlias, TypeVar

from headrace.core.errors import NotReady, StoreUnreachable
from headrace.storage.database import Database

Given = ParamSpec("Given")
Got = TypeVar("Got")
Kind = TypeVar("Kind", bound=Database)
PAUSE_S: Final = 1.0


class Connections(Generic[Kind]):
    """Runs functions of a connection in its threads, each with a connection that nobody else uses meanwhile. Connections are opened by
    `connect` when they are first needed. `check` raises StoreUnreachable where it is known that the database doesn't answer at present."""

    def __init__(self, connect: Callable[[], Kind], threads: int = 1, check: Callable[[], None] = lambda: None) -> None:
        self._connect, self.check = connect, check
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="archive")
        self._free: list[Kind] = []
        self._patient = True

    async def run(self, work: Callable[Concatenate[Kind, Given], Got], *given: Given.args, **named: Given.kwargs) -> Got:
        """What `work` returns for a connection and what is `given`. Raises NotReady where SQLite's stays busy."""

        def there() -> Got:
            database = self._free.pop() if self._free else self._connect()
            try:
                return work(database, *given, **named)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:  # its extended codes say by what
                    raise NotReady(f"the database is busy ({error}): try again") from error
                raise
            finally:
                self._free.append(database)

        return await asyncio.get_running_loop().run_in_executor(self._threads, there)

    async def insist(self, work: Callable[Concatenate[Kind, Given], Got], *given: Given.args, **named: Given.kwargs) -> Got:
        """The same for what has happened and must be kept: while the database can't be reached, it is tried again, until `give_up`."""
        while True:
            try:
                return await self.run(work, *given, **named)
            except StoreUnreachable:
                if not self._patient:
                    raise
            await asyncio.sleep(PAUSE_S)

    def give_up(self) -> None:
        """From now on nobody insists: the server stops."""
        self._patient = False

    def close(self) -> None:
        """Finish what is being done, and close."""
        self._threads.submit(self._drop).result()  # SQLite's is closed where it was opened
        self._threads.shutdown()
        self._drop()

    def _drop(self) -> None:
        while self._free:
            self._free.pop().close()


Archive: TypeAlias = Connections[Database]
"""Of what hosts share."""
LocalArchive: TypeAlias = Connections[sqlite3.Connection]
"""Of what is this host's."""
