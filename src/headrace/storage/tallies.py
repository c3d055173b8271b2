"""Usage counted by whatever is asked: who, what, where, in which tier and by which price; in buckets of time or in one."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.usage import SEGMENTS, Usage
from headrace.storage import rollups
from headrace.storage.books import HOUR, STATES
from headrace.storage.database import snapshot
from headrace.storage.rollups import FOREVER, PART, Sums, by_user, grouped, sums

Dimension: TypeAlias = Literal[
    "model", "key", "class", "organization", "project", "operation", "pool", "user", "tier", "price", "buy", "vendor", "outcome", "served",
    "cloud", "region", "silicon",
]  # fmt: skip
DIMENSIONS: Final[tuple[Dimension, ...]] = (
    "model", "key", "class", "organization", "project", "operation", "pool", "user", "tier", "price", "buy", "vendor", "outcome", "served",
    "cloud", "region", "silicon",
)  # fmt: skip
_COLUMNS: Final[Mapping[Dimension, str]] = {
    "served": "model_served",
    "vendor": "iif(buy IS NULL, '', substr(buy, 1, instr(buy, '/') - 1))",
}
PLACES: Final[frozenset[Dimension]] = frozenset(("cloud", "region", "silicon"))
Places: TypeAlias = Mapping[str, Mapping[str, str]]
"""Of each pool its cloud, region and silicon."""
ALWAYS: Final = HOUR * 10**6
"""One bucket for all time."""


class Tally(msgspec.Struct, gc=False):
    """What a group used. `requests` counts the attempts that a customer pays for, and `tokens` are theirs; `ours` counts those we bear, and
    `tokens_ours` are those of these. `tokens_uncertain` of both rest on estimates; `void` attempts ended with nothing owed.
    `buy_pico` is what vendors charge for all of them, and `unbought` of how many that is not known. `held` run still."""

    requests: int = 0
    ours: int = 0
    held: int = 0
    lost: int = 0
    estimated: int = 0
    unpriced: int = 0
    unbought: int = 0
    void: int = 0
    tokens: list[int] = msgspec.field(default_factory=lambda: [0] * len(SEGMENTS))
    tokens_ours: list[int] = msgspec.field(default_factory=lambda: [0] * len(SEGMENTS))
    tokens_uncertain: list[int] = msgspec.field(default_factory=lambda: [0] * len(SEGMENTS))
    cost_pico: int = 0
    buy_pico: int = 0

    @property
    def usage(self) -> Usage:
        return Usage(*self.tokens)

    def add(self, row: Sums, ours: bool) -> None:
        """Take in what attempts of one label and state add up to."""
        state, attempts, priced, bought = STATES[row[2]], row[3], row[4], row[5]
        if state == "void":
            self.void += attempts
            return
        if state == "held":
            self.held += attempts
            return
        self.buy_pico += row[-2] * PART + row[-1]
        self.unbought += attempts - bought
        counts = row[6 : 6 + len(SEGMENTS)]
        if state != "confirmed":
            _add(self.tokens_uncertain, counts)
        if ours:
            self.ours += attempts
            _add(self.tokens_ours, counts)
            return
        self.requests += attempts
        self.unpriced += attempts - priced
        self.cost_pico += row[-4] * PART + row[-3]
        if state == "lost":
            self.lost += attempts
        elif state == "estimated":
            self.estimated += attempts
        _add(self.tokens, counts)


def _add(tokens: list[int], counts: Sequence[int]) -> None:
    for at, count in enumerate(counts):
        if count:
            tokens[at] += count


Group: TypeAlias = tuple[str, ...]


def tallies(
    database: sqlite3.Connection,
    group: Sequence[Dimension],
    *,
    since: Moment | None = None,
    until: Moment | None = None,
    width: int = ALWAYS,
    only: Mapping[Dimension, frozenset[str]] | None = None,
    places: Places | None = None,
) -> dict[tuple[int, Group], Tally]:
    """By bucket of `width` nanoseconds and by group what was admitted from `since` on and before `until`; `only` keeps the labels whose
    dimensions have one of these values. Keys are given by id: see `key_names`."""
    unknown = [one for one in (*group, *(only or {})) if one not in DIMENSIONS]
    if unknown:
        raise ValueError(f"usage can't be grouped by {unknown[0]!r}: choose from {', '.join(DIMENSIONS)}")
    start, stop = since or 0, FOREVER if until is None else until
    found: dict[tuple[int, Group], Tally] = {}
    with snapshot(database):
        wanted = _Labels(database, group, only or {}, places or {})
        by = grouped(database, wanted.groups)
        for user, row in _rows(database, start, stop, width, by, "user" in group or "user" in (only or {})):
            named = wanted.named(row[1], user)
            if named is not None:
                name, ours = named
                tally = found.get((row[0], name))
                if tally is None:
                    tally = found[row[0], name] = Tally()
                tally.add(row, ours)
    return found


def _rows(
    database: sqlite3.Connection, since: Moment, until: Moment, width: int, by: rollups.Group, users: bool
) -> Iterable[tuple[str | None, Sums]]:
    if users:
        return by_user(database, since, until, width, by)
    return ((None, row) for row in sums(database, since, until, width, by))


class _Labels:
    """The groups of the labels that are wanted, by number: `groups` has the number of each label's. What we bear is apart in each."""

    def __init__(
        self, database: sqlite3.Connection, group: Sequence[Dimension], only: Mapping[Dimension, frozenset[str]], places: Places
    ) -> None:
        self._user_at = group.index("user") if "user" in group else None
        self._users = only.get("user")
        asked = (*group, *(one for one in only if one not in group))
        columns = ", ".join("pool" if one in PLACES else "''" if one == "user" else _COLUMNS.get(one, one) for one in asked)
        numbers: dict[tuple[Group, bool], int] = {}
        self.groups: dict[int, int] = {}
        for label, ours, *values in database.execute(f"SELECT id, ours, {columns or '0'} FROM label"):  # noqa: S608 -- names of our own columns, checked above
            found = {one: _named(one, value, places) for one, value in zip(asked, values, strict=False)}
            if all(one == "user" or found[one] in allowed for one, allowed in only.items()):
                name = tuple(found[one] for one in group), bool(ours)
                self.groups[label] = numbers.setdefault(name, len(numbers))
        self._names = list(numbers)

    def named(self, number: int, user: str | None) -> tuple[Group, bool] | None:
        """The group of that number, with this user; None where this user is not wanted."""
        named = self._names[number]
        if self._users is not None and (user or "") not in self._users:
            return None
        if self._user_at is None:
            return named
        name, ours = named
        return (*name[: self._user_at], user or "", *name[self._user_at + 1 :]), ours


def _named(dimension: Dimension, value: object, places: Places) -> str:
    text = "" if value is None else str(value)
    return places.get(text, {}).get(dimension, "") if dimension in PLACES else text
