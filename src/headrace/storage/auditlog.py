"""The audit log: every administrative change with who made it, when, from where, and what it was.

An entry is written in the transaction of the change that it tells, so neither is there without the other. Entries are chained by their
hashes over all organisations together; what is at the end of the chain is to be kept elsewhere by whoever doesn't trust the disk.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.metering.chain import START, broken, linked
from headrace.storage.database import Database

AUDITED: Final = "administration"
"""What the audit log tells of has one writer at a time, since entries are chained: the name for `transaction`."""
Origin: TypeAlias = Literal["api_key", "session", "command", "server"]
_FIELDS = "id, moment, organization, kind, project, resource, author, details"


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who changes something, and from where. `id` is of a key, a person, or the user of the machine who typed a command."""

    origin: Origin
    id: str
    name: str = ""
    email: str | None = None
    owner: str | None = None
    """Whose key it is: a person, or a service account."""
    address: str | None = None


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One change by somebody: `id` is that of its entry in the audit log."""

    id: str
    moment: Moment
    organization: str
    author: Author


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it is stored."""

    number: int
    id: str
    moment: Moment
    organization: str
    kind: str
    project: str
    resource: str
    author: Author
    details: dict[str, object]
    hash: bytes


def note(database: Database, act: Act, kind: str, resource: str, details: Mapping[str, object] | None = None, *, project: str = "") -> None:
    """Append an entry; to be called in the transaction of the change itself, which is one of `AUDITED`."""
    last = database.execute("SELECT number, hash FROM audit_entry ORDER BY number DESC LIMIT 1").fetchone()
    number, before = (1, START) if last is None else (last[0] + 1, last[1])
    told = msgspec.json.encode(details or {}, order="sorted").decode()
    fields = (act.id, act.moment, act.organization, kind, project, resource, msgspec.json.encode(act.author).decode(), told)
    database.execute(
        f"INSERT INTO audit_entry (number, {_FIELDS}, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 -- our own column names
        (number, *fields, linked(before, *fields)),
    )


class AuditFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are meant; what is empty or None means all. Moments are nanoseconds, both part of it."""

    organization: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    kinds: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()


def audit_entries(
    database: Database,
    asked: AuditFilter,
    *,
    limit: int | None = None,
    newest_first: bool = False,
    after: str | None = None,
    before: str | None = None,
) -> list[AuditEntry]:
    """The entries that match, at most `limit`. `after` and `before` are the ids of entries, in the order that is asked for."""
    conditions, values = _conditions(asked)
    later, earlier = (before, after) if newest_first else (after, before)
    for id, sign in ((later, ">"), (earlier, "<")):
        if id is not None:
            conditions.append(f"number {sign} (SELECT number FROM audit_entry WHERE id = ?)")  # noqa: S608 -- our own words
            values.append(id)
    backwards = before is not None and after is None  # the page that ends there, not the first that there is
    descending = newest_first != backwards
    sql = f"SELECT number, {_FIELDS}, hash FROM audit_entry"  # noqa: S608 -- our own words
    sql += (" WHERE " + " AND ".join(conditions) if conditions else "") + f" ORDER BY number {'DESC' if descending else 'ASC'}"
    rows = [_entry(row) for row in database.execute(sql + ("" if limit is None else f" LIMIT {limit:d}"), values)]
    return rows[::-1] if backwards else rows


def audit_entry_there(database: Database, organization: str, id: str) -> bool:
    """Whether the organisation has such an entry."""
    return database.execute("SELECT 1 FROM audit_entry WHERE organization = ? AND id = ?", (organization, id)).fetchone() is not None


def audit_break(database: Database) -> str | None:
    """Where the chain breaks, in words; None: nowhere."""
    return broken(_links(database))


def audit_head(database: Database) -> tuple[int, bytes]:
    """How many entries there are, and the hash of the last."""
    last = database.execute("SELECT number, hash FROM audit_entry ORDER BY number DESC LIMIT 1").fetchone()
    return (0, START) if last is None else (last[0], last[1])


def _links(database: Database) -> Iterator[tuple[int, tuple[object, ...], bytes]]:
    for number, *fields, found in database.execute(f"SELECT number, {_FIELDS}, hash FROM audit_entry ORDER BY number"):  # noqa: S608 -- ours
        yield number, tuple(fields), found


def _conditions(asked: AuditFilter) -> tuple[list[str], list[object]]:
    conditions, values = list[str](), list[object]()
    for column, sign, bound in (("organization", "=", asked.organization), ("moment", ">=", asked.since), ("moment", "<=", asked.until)):
        if bound is not None:
            conditions.append(f"{column} {sign} ?")
            values.append(bound)
    email = "json_extract(author, '$.email')"
    actor = "json_extract(author, '$.id')"
    lists: Sequence[tuple[str, tuple[str, ...]]] = (
        ("kind", asked.kinds), ("project", asked.projects), ("resource", asked.resources), (email, asked.emails),
    )  # fmt: skip
    for column, wanted in lists:
        if wanted:
            conditions.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    if asked.actors:
        marks = ", ".join("?" * len(asked.actors))
        conditions.append(f"({actor} IN ({marks}) OR json_extract(author, '$.owner') IN ({marks}))")
        values += asked.actors * 2
    return conditions, values


def _entry(row: Sequence[object]) -> AuditEntry:
    named = dict(zip(("number", *_FIELDS.split(", "), "hash"), row, strict=True))
    for field in ("author", "details"):
        named[field] = msgspec.json.decode(str(named[field]))
    return msgspec.convert(named, AuditEntry, builtin_types=(bytes,))
