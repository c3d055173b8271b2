"""What was counted in anything but tokens, by whatever is asked, in buckets of time: pictures, characters, seconds, and tools that a vendor
ran. Few attempts have any of it, and an index of its own finds them."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment

Counted: TypeAlias = Literal["units", "calls"]
"""Where it stands: what was made or heard, or the tools that were called."""
UnitDimension: TypeAlias = Literal["project", "key", "model", "user", "source", "size"]
_COLUMNS: Final[Mapping[UnitDimension, str]] = {
    "project": "project",
    "key": "key",
    "model": "model",
    "user": "coalesce(user, '')",
    "source": "iif(instr(detail, '/'), substr(detail, 1, instr(detail, '/') - 1), coalesce(detail, ''))",
    "size": "iif(instr(detail, '/'), substr(detail, instr(detail, '/') + 1), '')",
}
_pairs = msgspec.msgpack.Decoder(tuple[tuple[str, int], ...]).decode


class UnitSum(msgspec.Struct, gc=False):
    """The attempts that a customer pays for, and what they come to by the unit's name."""

    requests: int = 0
    units: dict[str, int] = msgspec.field(default_factory=dict)


def unit_sums(
    database: sqlite3.Connection,
    counted: Counted,
    group: Sequence[UnitDimension],
    *,
    organization: str,
    since: Moment,
    until: Moment,
    width: int,
    operation: str | None,
    unit: str | None,
    only: Mapping[UnitDimension, frozenset[str]],
) -> dict[tuple[int, tuple[str, ...]], UnitSum]:
    """What was admitted from `since` on and before `until`, by bucket of `width` nanoseconds and by group; `only` keeps those whose
    dimensions have one of these values, and `unit` those that have any of it."""
    names = [*dict.fromkeys((*group, *only))]
    columns = "".join(f", {_COLUMNS[name]}" for name in names)
    numbers = ", ".join(str(at) for at in range(1, len(names) + 3))
    sql = f"""
        SELECT admitted / ?, {counted}{columns}, count(*) FROM attempt JOIN label ON label.id = attempt.label
        WHERE {counted} IS NOT NULL AND admitted >= ? AND admitted < ? AND organization = ? AND (? IS NULL OR operation = ?)
            AND NOT ours AND state NOT IN (0, 2)
        GROUP BY {numbers}
    """  # noqa: S608 -- names of our own columns
    found: dict[tuple[int, tuple[str, ...]], UnitSum] = {}
    for bucket, packed, *values, attempts in database.execute(sql, (width, since, until, organization, operation, operation)):
        named = dict(zip(names, values, strict=True))
        counts = _pairs(packed)
        if unit is not None and unit not in dict(counts):
            continue
        if all(named[name] in wanted for name, wanted in only.items()):
            one = found.setdefault((bucket, tuple(named[name] for name in group)), UnitSum())
            one.requests += attempts
            for name, count in counts:
                one.units[name] = one.units.get(name, 0) + count * attempts
    return found
