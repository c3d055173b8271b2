"""The books of a data folder, for the commands: keys and usage, with or without a server running."""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from headrace.compose.acts import command_act, shared_state
from headrace.compose.clock import MachineClock, Names, process_id
from headrace.compose.finance import places_of
from headrace.compose.minting import NOBODYS, mint_key, minting
from headrace.compose.place import Place
from headrace.compose.settings import Settings
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import InvalidRequest
from headrace.core.identity import TrafficClass
from headrace.core.roles import Role
from headrace.metering import KeyRow, principal_of
from headrace.storage import (
    Came,
    Database,
    Difference,
    Dimension,
    HourRow,
    KeyStore,
    SharedState,
    UsageRow,
    balances,
    connect,
    key_names,
    load_once,
    traffic,
    usage_by,
    usage_by_hour,
    verify,
)


class Books:
    """An open database of a data folder. `usage`, `balances` and `verify` show all that the usage log holds as of now."""

    def __init__(self, settings: Settings, database: sqlite3.Connection, state: SharedState, shared: Database) -> None:
        """`database` has the usage of this host, `shared` what all hosts share."""
        self._settings, self._layout, self._database = settings, state.layout, database
        self._state, self._shared = state, shared
        self._clock = MachineClock()
        self._store = KeyStore(shared, state.layout)

    @classmethod
    @contextmanager
    def open(cls, place: Place) -> Iterator["Books"]:
        """Raises SetupError where the folder or the database can't be used."""
        state = shared_state(place)
        with contextlib.closing(connect(state.layout.database, durable=True)) as database, state.opened() as shared:
            yield cls(place.settings(), database, state, shared)

    def usage(self, group: Sequence[Dimension], since: Moment | None, until: Moment | None) -> list[UsageRow]:
        """Usage by group, keys under their names."""
        load_once(self._layout, process_id())
        rows = usage_by(self._database, group, since=since, until=until, places=places_of(self._settings))
        if "key" not in group:
            return rows
        names, at = key_names(self._shared), tuple(group).index("key")
        return [_named(row, at, names) for row in rows]

    def load(self) -> None:
        """Have the database show all that the log holds as of now."""
        load_once(self._layout, process_id())

    def hourly(self, since: Moment | None, until: Moment | None) -> list[HourRow]:
        """Usage by hour, class and model."""
        load_once(self._layout, process_id())
        return usage_by_hour(self._database, since=since, until=until)

    def traffic(self) -> list[Came]:
        """Every chat that was answered, in the order of its coming."""
        load_once(self._layout, process_id())
        return list(traffic(self._database))

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
        parent: str | None = None,
        budget_usd: str | None = None,
        models: tuple[str, ...] | None = None,
        classes: tuple[str, ...] | None = None,
        expires_in_s: int | None = None,
        role: Role | None = None,
    ) -> tuple[KeyRow, str]:
        """A new key and its secret, which nobody can read again. A key with a `parent`, given by its id or name, has the parent's owner.
        One with a `role` administers the organisation, and does nothing else.

        Raises InvalidRequest where it may not be.
        """
        asked = minting(
            name,
            budget_usd=budget_usd,
            models=models,
            classes=classes,
            expires=None if expires_in_s is None else self._clock.moment() + expires_in_s * SECOND,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
        )
        if role is not None:
            return self._admin_key(name, organization, role, asked.expires)
        if parent is None:
            owner = msgspec.structs.replace(NOBODYS, organization=organization, project=project, traffic_class=traffic_class)
        else:
            owner = principal_of(self._store.lineage(parent))
            if owner.role is not None:
                raise InvalidRequest(f"the key {parent!r} administers, and nothing is minted from it")
        return mint_key(self._state, self._clock, owner, asked, command_act(owner.organization))

    def _admin_key(self, name: str, organization: str, role: Role, expires: Moment | None) -> tuple[KeyRow, str]:
        act = command_act(organization)
        return self._store.create(
            id=Names(self._clock)("key_"),
            name=name,
            organization=organization,
            project="",
            token=secrets.token_bytes(30),
            created=act.moment,
            expires=expires,
            role=role,
            act=act,
        )

    def revoke_key(self, key: str) -> KeyRow:
        act = command_act()
        return self._store.revoke(key, act.moment, act)


def _named(row: UsageRow, at: int, names: dict[str, str]) -> UsageRow:
    key = row.group[at]
    name = names.get(key, key.removeprefix("settings:"))
    return msgspec.structs.replace(row, group=(*row.group[:at], name, *row.group[at + 1 :]))
