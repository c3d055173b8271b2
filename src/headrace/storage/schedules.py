"""Schedules of agents, and what became of each moment at which one was due: ran, waits, failed, or was skipped, and why.

A moment is claimed by one row before anything is done about it, with the name of its run; whoever is killed after that leaves the row from
which the same run is gone on with. So a schedule fires once for each moment, whoever looks and however often.
"""

import sqlite3
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest
from headrace.storage.database import transaction

FiringState: TypeAlias = Literal["begun", "done", "waiting", "failed", "skipped"]
_SCHEDULE: Final = "id, spoken, cron, zone, leave, model, created, ended, since, owner, key, paused"
TOLD_MAX: Final = 20
_FIRING: Final = "schedule, due, run, state, says, changed"


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`leave` is what it may do, signed. Moments until `since` were looked at. `model` of "" is the first that the server lists, `owner` of
    "" who runs the server, and `key` the digest of the key that its requests are made with, empty for that one's."""

    id: str
    spoken: str
    cron: str
    zone: str
    leave: bytes
    model: str
    created: Moment
    ended: Moment | None = None
    since: Moment
    owner: str = ""
    key: bytes = b""
    paused: Moment | None = None

    @property
    def rests(self) -> bool:
        """Whether nothing is due of it, for now or for ever."""
        return self.ended is not None or self.paused is not None


class Firing(msgspec.Struct, frozen=True, kw_only=True):
    """One moment at which a schedule was due. `run` of "" is none."""

    schedule: str
    due: Moment
    run: str
    state: FiringState
    says: str
    changed: Moment


class ScheduleStore:
    """The schedules of a data folder."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def add(self, schedule: Schedule) -> None:
        with transaction(self._database):
            self._insert("schedule", _SCHEDULE, msgspec.structs.astuple(schedule))

    def all(self) -> list[Schedule]:
        """The oldest first, those that were ended too."""
        return [_schedule(row) for row in self._database.execute(f"SELECT {_SCHEDULE} FROM schedule ORDER BY created, id")]  # noqa: S608 -- ours

    def get(self, id: str) -> Schedule:
        """Raises InvalidRequest where there is none."""
        row = self._database.execute(f"SELECT {_SCHEDULE} FROM schedule WHERE id = ?", (id,)).fetchone()  # noqa: S608 -- ours
        if row is None:
            raise InvalidRequest(f"There is no schedule {id!r}: `headrace agent schedules` shows them.")
        return _schedule(row)

    def end(self, id: str, moment: Moment) -> None:
        """Take it back: from now on it allows nothing, also to a run that is under way. Raises InvalidRequest."""
        self.get(id)
        with transaction(self._database):
            self._database.execute("UPDATE schedule SET ended = coalesce(ended, ?) WHERE id = ?", (moment, id))

    def pause(self, id: str, moment: Moment) -> None:
        """Let it rest: nothing more is due of it until it is gone on with."""
        with transaction(self._database):
            self._database.execute("UPDATE schedule SET paused = coalesce(paused, ?) WHERE id = ?", (moment, id))

    def go_on(self, id: str, moment: Moment) -> None:
        """From now on it is due again; of the moments at which it rested, none is."""
        with transaction(self._database):
            self._database.execute(
                "UPDATE schedule SET since = max(since, ?), paused = NULL WHERE id = ? AND paused IS NOT NULL", (moment, id)
            )

    def told(self, id: str) -> list[Firing]:
        """What became of its latest moments, the last first."""
        rows = self._database.execute(
            f"SELECT {_FIRING} FROM firing WHERE schedule = ? ORDER BY due DESC LIMIT ?",  # noqa: S608 -- ours
            (id, TOLD_MAX),
        )
        return [_firing(row) for row in rows]

    def claim(self, schedule: Schedule, missed: list[Moment], due: Moment, run: str, says: str, now: Moment) -> bool:
        """The moment `due` is ours to run, those in `missed` are skipped; False where another was first."""
        with transaction(self._database):
            changed = self._database.execute(
                "UPDATE schedule SET since = ? WHERE id = ? AND since = ? AND ended IS NULL AND paused IS NULL",
                (due, schedule.id, schedule.since),
            )
            if changed.rowcount != 1:
                return False
            for moment in missed:
                self._insert("firing", _FIRING, (schedule.id, moment, "", "skipped", "Nobody watched, and a later one was due.", now))
            self._insert("firing", _FIRING, (schedule.id, due, run, "begun", says, now))
        return True

    def mark(self, firing: Firing, state: FiringState, says: str, now: Moment) -> None:
        """How it stands now."""
        with transaction(self._database):
            self._database.execute(
                "UPDATE firing SET state = ?, says = ?, changed = ? WHERE schedule = ? AND due = ?",
                (state, says, now, firing.schedule, firing.due),
            )

    def firings(self, *states: FiringState) -> list[Firing]:
        """Those in one of these states, of none named all; the oldest first."""
        where = f"WHERE state IN ({', '.join('?' * len(states))})" if states else ""
        rows = self._database.execute(f"SELECT {_FIRING} FROM firing {where} ORDER BY due, schedule", states)  # noqa: S608 -- ours
        return [_firing(row) for row in rows]

    def _insert(self, table: str, fields: str, values: tuple[object, ...]) -> None:
        self._database.execute(f"INSERT INTO {table} ({fields}) VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608 -- ours


def _firing(row: tuple[object, ...]) -> Firing:
    return msgspec.convert(dict(zip(_FIRING.split(", "), row, strict=True)), Firing)


def _schedule(row: tuple[object, ...]) -> Schedule:
    return msgspec.convert(dict(zip(_SCHEDULE.split(", "), row, strict=True)), Schedule, builtin_types=(bytes,))
