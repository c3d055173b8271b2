"""Where it is kept what all hosts of an installation share: in the SQLite of its data folder where it has one host, else in PostgreSQL."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeAlias

from headrace.core.clock import Instant
from headrace.storage.archive import Archive
from headrace.storage.database import Database, connect, shared_migrations
from headrace.storage.folder import Layout
from headrace.storage.generations import counted
from headrace.storage.news import LocalNews, SharedNews
from headrace.storage.postgres import Cluster, PostgresDatabase
from headrace.storage.pricesets import PriceSet, price_sets
from headrace.storage.register import ProjectLimit, project_limits

CONNECTIONS: Final = 4
"""How many of PostgreSQL's each archive of a process has: one that is slow must not keep all others waiting."""
Mark: TypeAlias = object


class SharedState:
    """As one process uses it. Nothing is opened before it is needed."""

    def __init__(self, layout: Layout, url: str | None, instant: Callable[[], Instant]) -> None:
        """Raises SetupError where PostgreSQL's driver is missing."""
        self.layout, self.url, self._instant = layout, url, instant
        self._cluster = None if url is None else Cluster(url, instant, shared_migrations)
        self._news: SharedNews | None = None

    def connect(self) -> Database:
        """For one thread at a time; durable. Raises SetupError where SQLite's can't be opened; PostgreSQL is reached when it is asked."""
        if self._cluster is None:
            return connect(self.layout.database, durable=True)
        return PostgresDatabase(self._cluster, None if self._news is None else self._news.read)

    @contextmanager
    def opened(self) -> Iterator[Database]:
        with contextlib.closing(self.connect()) as database:
            yield database

    def archive(self) -> Archive:
        if self._cluster is None:
            return Archive(self.connect)
        return Archive(self.connect, CONNECTIONS, self._cluster.check)

    def follow(self, stale_max: int) -> LocalNews | SharedNews:
        """Hear of changes from now on, until what this returns is closed; `stale_max` nanoseconds is how long what is known holds while
        PostgreSQL can't be reached. Raises SetupError or StoreUnreachable."""
        if self._cluster is None:
            return LocalNews(connect(self.layout.database, durable=True), self.layout)
        self._news = SharedNews(PostgresDatabase(self._cluster), self._instant, stale_max)
        return self._news

    # What a process that follows has in its memory.

    def limits(self) -> list[ProjectLimit]:
        """Those that are set by the administration API."""
        if self._news is not None:
            return list(self._news.limits)
        with self.opened() as database:
            return project_limits(database)

    def limits_mark(self) -> Mark:
        """Another value whenever they have changed."""
        return counted(self.layout.limits_generation) if self._news is None else self._news.limits

    def prices(self) -> list[PriceSet]:
        """Those that were set at run time."""
        if self._news is not None:
            return list(self._news.prices)
        with self.opened() as database:
            return price_sets(database)

    def prices_mark(self) -> Mark:
        """Another value whenever one was set."""
        return counted(self.layout.prices_generation) if self._news is None else len(self._news.prices)

    # How the installation is told from others.

    def installation(self) -> str | None:
        """Its name in PostgreSQL, the same on all hosts; None where it has one host."""
        if self._cluster is None:
            return None
        with self.opened() as database:
            return str(database.execute("SELECT id FROM installation").fetchone()[0])
