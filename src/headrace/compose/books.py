"""The books of a data folder, for the commands: keys and usage, with or without a server running."""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headrace.compose.clock import MachineClock, Names, process_id
from headrace.compose.place import Place
from headrace.compose.settings import Settings
from headrace.core.clock import Moment
from headrace.core.identity import TrafficClass
from headrace.metering import KeyRow
from headrace.storage import (
    Difference,
    Dimension,
    HourRow,
    KeyStore,
    Layout,
    UsageRow,
    balances,
    connect,
    key_names,
    load_once,
    make_folder,
    usage_by,
    usage_by_hour,
    verify,
)


class Books:
    """An open database of a data folder. `usage`, `balances` and `verify` show all that the usage log holds as of now."""

    def __init__(self, settings: Settings, layout: Layout, database: sqlite3.Connection) -> None:
        self._settings, self._layout, self._database = settings, layout, database
        self._clock = MachineClock()
        self._store = KeyStore(database, layout)

    @classmethod
    @contextmanager
    def open(cls, place: Place) -> Iterator["Books"]:
        """Raises SetupError where the folder or the database can't be used."""
        settings = place.settings()
        layout = make_folder(Path(settings.storage.path))
        with contextlib.closing(connect(layout.database, durable=True)) as database:
            yield cls(settings, layout, database)

    def usage(self, group: Sequence[Dimension], since: Moment | None, until: Moment | None) -> list[UsageRow]:
        """Usage by group, keys under their names."""
        load_once(self._layout, process_id())
        rows = usage_by(self._database, group, since=since, until=until)
        if "key" not in group:
            return rows
        names, at = key_names(self._database), tuple(group).index("key")
        return [_named(row, at, names) for row in rows]

    def hourly(self, since: Moment | None, until: Moment | None) -> list[HourRow]:
        """Usage by hour, class and model."""
        load_once(self._layout, process_id())
        return usage_by_hour(self._database, since=since, until=until)

    def balances(self) -> dict[str, int]:
        return balances(self._database)

    def verify(self) -> list[Difference]:
        load_once(self._layout, process_id())
        return verify(self._database, self._layout.usage)

    def key_rows(self) -> list[KeyRow]:
        return self._store.rows()

    def create_key(
        self,
        *,
        name: str,
        organization: str,
        project: str,
        traffic_class: TrafficClass,
        requests_per_minute: int | None,
        tokens_per_minute: int | None,
    ) -> tuple[KeyRow, str]:
        """A new key and its secret, which nobody can read again."""
        return self._store.create(
            id=Names(self._clock)("key_"),
            name=name,
            organization=organization,
            project=project,
            token=secrets.token_bytes(30),
            created=self._clock.moment(),
            traffic_class=traffic_class,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )

    def revoke_key(self, key: str) -> KeyRow:
        return self._store.revoke(key, self._clock.moment())


def _named(row: UsageRow, at: int, names: dict[str, str]) -> UsageRow:
    key = row.group[at]
    name = names.get(key, key.removeprefix("settings:"))
    return msgspec.structs.replace(row, group=(*row.group[:at], name, *row.group[at + 1 :]))
