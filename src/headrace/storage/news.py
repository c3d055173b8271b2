"""What a server has in its memory of what is kept (keys, archived projects, limits of projects, prices), and how it hears of changes.

On one host, every change moves a counter in a file that servers have mapped into their memory: they compare it at each request, a hundred
nanoseconds, and read what changed when it has moved. So a revoked key is refused at once.

Of several hosts, each process listens to PostgreSQL in a thread of its own, and reads what changed when something is announced, and once a
second in any case: nothing that serves waits for it. Who makes a change reads it at once; the others hear of it within milliseconds, and
within a second where an announcement is lost. While PostgreSQL can't be reached, what is known goes on holding for `stale_max`.
"""

import logging
import mmap
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from headrace.core.clock import Instant
from headrace.core.errors import HeadraceError, NotReady, StoreUnreachable
from headrace.storage.folder import Layout
from headrace.storage.generations import SIZE, opened
from headrace.storage.keys import KeyNews, archived_projects, changed_keys
from headrace.storage.permissions import Permissions, model_permissions
from headrace.storage.postgres import COME_BACK_MS, PostgresDatabase, ready
from headrace.storage.pricesets import PriceSet, price_sets
from headrace.storage.register import ProjectLimit, project_limits

log = logging.getLogger("headrace")
LOOK_S: Final = 1.0
"""How long a change may stay unknown whose announcement was lost."""


class LocalNews:
    """Of one host: tells by the counter, and reads in the caller's thread."""

    def __init__(self, database: sqlite3.Connection, layout: Layout) -> None:
        self._database = database
        self._file = opened(layout.keys_generation)
        self._map = mmap.mmap(self._file, SIZE, access=mmap.ACCESS_READ)
        self._seen = b""
        self._changed = 0

    def __call__(self) -> KeyNews | None:
        return None if self._map[:SIZE] == self._seen else self._read()

    def _read(self) -> KeyNews:
        """The counter is read first: a change that comes in between moves it again."""
        seen = self._map[:SIZE]
        try:
            changed, rows = changed_keys(self._database, self._changed)
            news = KeyNews(rows, archived_projects(self._database), model_permissions(self._database))
        except sqlite3.Error as error:
            raise NotReady(f"the API keys can't be read ({error}): check the database with `headrace doctor`") from error
        self._seen, self._changed = seen, changed
        return news

    def close(self) -> None:
        """With its connection."""
        self._map.close()
        os.close(self._file)
        self._database.close()


class SharedNews:
    """Of several hosts. `limits` and `prices` are those that hold; keys are told to one ring."""

    def __init__(self, database: PostgresDatabase, instant: Callable[[], Instant], stale_max: int) -> None:
        """`database` is its own, and read before this returns; `stale_max` is in nanoseconds. Raises StoreUnreachable or SetupError."""
        self._database, self._instant, self._stale_max = database, instant, stale_max
        self._fresh: deque[KeyNews] = deque()
        self._reading = threading.Lock()
        self._changed, self._priced = 0, 0
        self._standing: tuple[frozenset[tuple[str, str]], Permissions] | None = None
        self.limits: tuple[ProjectLimit, ...] = ()
        self.prices: tuple[PriceSet, ...] = ()
        self._read_at: Instant = 0
        self._stale = False
        self._woken, self._wake = os.pipe()
        database.listen()
        self.read(database)
        self._thread = threading.Thread(target=self._listen, name="news", daemon=True)
        self._thread.start()

    def __call__(self) -> KeyNews | None:
        if self._stale:
            raise StoreUnreachable(
                "The API keys can't be read, and what is known of them is too old: try again.", retry_after_ms=COME_BACK_MS
            )
        return self._fresh.popleft() if self._fresh else None

    def read(self, database: PostgresDatabase) -> None:
        """Have all that is new; in any thread."""
        with self._reading:
            changed, rows = changed_keys(database, self._changed)
            standing = archived_projects(database), model_permissions(database)
            if rows or standing != self._standing:
                self._fresh.append(KeyNews(rows, *standing))
                self._standing, self._changed = standing, changed
            self.limits = tuple(project_limits(database))
            (priced,) = database.execute("SELECT count(*) FROM price_set").fetchone()
            if priced != self._priced:
                self.prices, self._priced = tuple(price_sets(database)), priced
            self._read_at, self._stale = self._instant(), False

    def close(self) -> None:
        os.write(self._wake, b".")
        self._thread.join()
        self._database.close()
        os.close(self._woken)
        os.close(self._wake)

    def _listen(self) -> None:
        while True:
            try:
                if self._database.waited(LOOK_S, self._woken):
                    return
                self.read(self._database)
            except HeadraceError:
                self._age()
            except Exception:
                log.exception("what changed in PostgreSQL can't be read")
                self._age()
                if ready((self._woken,), LOOK_S):
                    return

    def _age(self) -> None:
        """What is known is not renewed."""
        if not self._stale and self._instant() - self._read_at > self._stale_max:
            self._stale = True
            log.error("what changed in PostgreSQL could not be read for too long: API keys are refused, since they may be revoked by now")
