"""API keys: kept in the database as digests, and known to the server without a query a request.

A server has all of them in its memory, and hears of every change by any process; how is told in `news.py`.
"""

import hmac
from collections.abc import Collection, Iterable
from typing import Final, Protocol

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import InvalidRequest, NotFound
from headrace.core.identity import Principal, TrafficClass
from headrace.core.roles import Role
from headrace.metering import KeyRow, digest, principal_of, secret_from, shown
from headrace.storage.auditlog import AUDITED, Act, note
from headrace.storage.database import Database, transaction
from headrace.storage.folder import Layout
from headrace.storage.generations import announce
from headrace.storage.permissions import ALL_PROJECTS, Permissions

_FIELDS: Final = (
    "id, name, organization, project, class, requests_per_minute, tokens_per_minute, digest, shown, created, revoked, parent, budget_pico, "
    "models, classes, expires, owner, role"
)
LINEAGE_MAX: Final = 8
"""A key that is minted from one that is minted … is looked up at each request by all of them."""
CHILDREN_MAX: Final = 10_000
"""What one key may mint has an end: each is kept in every server's memory."""


class KeyStore:
    """The keys of a data folder, for who makes and revokes them. The database should be a `durable` one."""

    def __init__(self, database: Database, layout: Layout, *, children_max: int = CHILDREN_MAX) -> None:
        self._database, self._generation, self._children_max = database, layout.keys_generation, children_max

    def create(
        self,
        *,
        id: str,
        name: str,
        organization: str,
        project: str,
        token: bytes,
        created: Moment,
        traffic_class: TrafficClass = "realtime",
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
        parent: str | None = None,
        budget_pico: int | None = None,
        models: tuple[str, ...] | None = None,
        classes: tuple[TrafficClass, ...] | None = None,
        expires: Moment | None = None,
        owner: str | None = None,
        role: Role | None = None,
        act: Act | None = None,
    ) -> tuple[KeyRow, str]:
        """Make a key of the random bytes `token`; return it with its secret, which nobody can read again. `act` is what the audit log says.

        Raises InvalidRequest when a key of this name is in use in the project, or among the keys that were minted from the same one, or
        when that one has minted too many, or when the project is archived; NotFound when its owner is gone.
        """
        secret = secret_from(token)
        row = KeyRow(
            id=id,
            name=name,
            organization=organization,
            project=project,
            traffic_class=traffic_class,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            digest=digest(secret),
            shown=shown(secret),
            created=created,
            parent=parent,
            budget_pico=budget_pico,
            models=models,
            classes=classes,
            expires=expires,
            owner=owner,
            role=role,
        )
        with transaction(self._database, AUDITED):
            if (organization, project) in archived_projects(self._database):
                raise InvalidRequest(f"the project {organization}/{project} is archived: no keys are made in it")
            if owner is not None and not self._there(organization, owner):
                raise NotFound("User", owner)
            namesakes = key_rows(self._database, "WHERE organization = ? AND project = ? AND name = ?", organization, project, name)
            ours = [one for one in namesakes if (one.parent, one.owner, one.role) == (parent, None, role) and _in_use(one, created)]
            if ours and owner is None:
                raise InvalidRequest(f"{organization}/{project} has a key named {name!r} already: revoke that one, or choose another name")
            if parent is not None and self._children(parent, created) >= self._children_max:
                raise InvalidRequest(f"this key has minted {self._children_max:,} keys that are still good: let some end, or revoke them")
            self._insert(row)
            if act is not None:
                note(self._database, act, "api_key.created", id, _told(row), project=project)
        announce(self._database, self._generation)
        return row, secret

    def ensure(self, row: KeyRow) -> KeyRow:
        """Have a key whose secret is known already, such as the development key; a revoked one stays revoked."""
        with transaction(self._database, AUDITED):
            found = self._database.execute(f"SELECT {_FIELDS} FROM api_key WHERE digest = ?", (row.digest,)).fetchone()  # noqa: S608 -- ours
            if found is not None:
                return _key_row(found)
            self._insert(row)
        announce(self._database, self._generation)
        return row

    def rows(self) -> list[KeyRow]:
        """All keys, the oldest first, revoked ones too."""
        return key_rows(self._database, "ORDER BY created, id")

    def revoke(self, key: str, moment: Moment, act: Act | None = None) -> KeyRow:
        """Revoke by id, or by name where one key in use has it; on return no server takes it any more.

        Raises InvalidRequest when no key is meant, or more than one.
        """
        with transaction(self._database, AUDITED):
            found = self._meant(key)
            revoked = msgspec.structs.replace(found, revoked=moment if found.revoked is None else found.revoked)
            if found.revoked is None:
                self._end(found.id, moment)
                if act is not None:
                    act = msgspec.structs.replace(act, organization=found.organization)
                    note(self._database, act, "api_key.deleted", found.id, {"name": found.name}, project=found.project)
        announce(self._database, self._generation)
        return revoked

    def revoke_owned(self, owner: str, moment: Moment, project: str | None = None, but: Collection[str] = ()) -> None:
        """Revoke all keys of a person or a service account, or those in one project; within the caller's transaction, who bumps."""
        for row in key_rows(self._database, "WHERE owner = ? AND revoked IS NULL", owner):
            if (project is None or row.project == project) and row.id not in but:
                self._end(row.id, moment)

    def holders(self, organization: str) -> set[str]:
        """Who has keys of his own in projects of the organisation."""
        sql = "SELECT DISTINCT owner FROM api_key WHERE organization = ? AND owner IS NOT NULL AND role IS NULL AND revoked IS NULL"
        return {row[0] for row in self._database.execute(sql, (organization,))}

    def revoke_one(self, id: str, moment: Moment) -> None:
        """Revoke a key by its id, with what was minted from it; within the caller's transaction, who bumps."""
        self._end(id, moment)

    def expire(self, id: str, expires: Moment, act: Act | None = None) -> KeyRow | None:
        """Have a key in use end at that moment; None: there is no such key."""
        with transaction(self._database, AUDITED):
            rows = key_rows(self._database, "WHERE id = ? AND revoked IS NULL", id)
            if not rows:
                return None
            self.expire_one(id, expires)
            if act is not None:
                note(self._database, act, "api_key.updated", id, {"expires": expires}, project=rows[0].project)
        announce(self._database, self._generation)
        return msgspec.structs.replace(rows[0], expires=expires)

    def expire_one(self, id: str, expires: Moment) -> None:
        """Have a key end at that moment; within the caller's transaction, who bumps."""
        self._database.execute("UPDATE api_key SET expires = ? WHERE id = ?", (expires, id))
        for each in (id, *self._descendants(id)):  # what they may is what all above them may: each is read again, the first first
            self._database.execute("UPDATE api_key SET changed = (SELECT max(changed) + 1 FROM api_key) WHERE id = ?", (each,))

    def _end(self, id: str, moment: Moment) -> None:
        """With all that were minted from it."""
        for each in (id, *self._descendants(id)):
            self._revoke(each, moment)

    def _revoke(self, id: str, moment: Moment | None) -> None:
        sql = "UPDATE api_key SET revoked = coalesce(revoked, ?), changed = (SELECT max(changed) + 1 FROM api_key) WHERE id = ?"
        self._database.execute(sql, (moment, id))

    def minted_from(self, parent: str, id: str) -> bool:
        """Whether it was minted from that one, or from one that was."""
        return id in self._descendants(parent)

    def _descendants(self, id: str) -> list[str]:
        sql = (
            "WITH RECURSIVE below (id) AS (SELECT id FROM api_key WHERE parent = ? UNION SELECT api_key.id FROM api_key "
            "JOIN below ON api_key.parent = below.id) SELECT id FROM below"
        )
        return [row[0] for row in self._database.execute(sql, (id,))]

    def lineage(self, key: str) -> list[KeyRow]:
        """The key that is meant by an id or a name, and those that it was minted from. Raises InvalidRequest when none is meant, or more
        than one, or one of them is revoked."""
        rows = [self._meant(key)]
        while (above := rows[-1].parent) is not None and len(rows) < LINEAGE_MAX:
            rows += key_rows(self._database, "WHERE id = ?", above) or [msgspec.structs.replace(rows[-1], id=above, parent=None)]
        if any(row.revoked is not None for row in rows):
            raise InvalidRequest(f"the key {key!r}, or one that it was minted from, is revoked")
        return rows

    def _meant(self, key: str) -> KeyRow:
        by_id = key_rows(self._database, "WHERE id = ?", key)
        found = by_id or key_rows(self._database, "WHERE name = ? AND revoked IS NULL", key)
        if not found:
            raise InvalidRequest(f"there is no key {key!r}: `headrace keys list` shows them")
        if len(found) > 1:
            raise InvalidRequest(f"{len(found)} keys are named {key!r}: give the id, one of {', '.join(row.id for row in found)}")
        return found[0]

    def _there(self, organization: str, owner: str) -> bool:
        """Whether a person or a service account is there, seen in the transaction that makes the key: who is removed takes all along."""
        sql = (
            "SELECT 1 FROM person WHERE organization = ? AND id = ? AND deactivated IS NULL "
            "UNION ALL SELECT 1 FROM service_account WHERE organization = ? AND id = ? AND deleted IS NULL"
        )
        return self._database.execute(sql, (organization, owner) * 2).fetchone() is not None

    def _children(self, parent: str, now: Moment) -> int:
        sql = "SELECT count(*) FROM api_key WHERE parent = ? AND revoked IS NULL AND (expires IS NULL OR expires > ?)"
        return int(self._database.execute(sql, (parent, now)).fetchone()[0])

    def _insert(self, row: KeyRow) -> None:
        self._database.execute(
            f"INSERT INTO api_key ({_FIELDS}, changed) "  # noqa: S608 -- our own column names
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT coalesce(max(changed), 0) + 1 FROM api_key))",
            _stored(row),
        )


class KeyNews(msgspec.Struct, frozen=True):
    """Keys as they are since they changed, the projects that are archived now, by organisation and id, and who may ask for which models."""

    changed: tuple[KeyRow, ...]
    archived: frozenset[tuple[str, str]]
    permissions: Permissions = msgspec.field(default_factory=dict)


class Source(Protocol):
    """Where a ring hears of changes."""

    def __call__(self) -> KeyNews | None:
        """What is new; None: nothing, which is said within a microsecond. Raises NotReady or StoreUnreachable where that can't be known:
        a key that may be revoked is not taken."""
        ...

    def close(self) -> None: ...


class KeyRing:
    """The keys in a server's memory, by digest. `news` tells what changed of them, and `fixed` ones come from settings."""

    def __init__(self, news: "Source", fixed: Iterable[KeyRow] = ()) -> None:
        self._news = news
        self._rows: dict[bytes, tuple[bytes, Principal]] = {}
        self._living: dict[str, KeyRow] = {}
        self._fixed: list[KeyRow] = []
        self._archived: frozenset[tuple[str, str]] = frozenset()
        self._permissions: Permissions = {}
        self._narrowed: dict[bytes, Principal] = {}
        self._add(fixed)
        self.changes = 0

    def version(self) -> int:
        """Another number whenever any key may have changed; what was found of one holds until then."""
        while (news := self._news()) is not None:
            self._learn(news)
        return self.changes

    def find(self, secret: str) -> Principal | None:
        """Whose secret this is; None: nobody's, or of a key that is revoked, or whose parent is, or of a project that is archived."""
        return self.held(digest(secret))

    def held(self, sought: bytes) -> Principal | None:
        """The same by the secret's digest, for who has found out before whose it is: a session stands for a key."""
        self.version()
        held = self._rows.get(sought)
        if held is None or not hmac.compare_digest(held[0], sought):
            return None
        principal = held[1]
        if self._archived and (principal.organization, principal.project) in self._archived:
            return None
        if principal.parents and not self._living.keys() >= {*principal.parents}:
            return None
        return principal if not self._permissions else self._permitted(sought, principal)

    def _permitted(self, sought: bytes, principal: Principal) -> Principal:
        """The same, with the models that its organisation and its project leave it."""
        narrowed = self._narrowed.get(sought)
        if narrowed is None:
            narrowed = principal
            for project in (ALL_PROJECTS, principal.project):
                permission = self._permissions.get((principal.organization, project))
                narrowed = narrowed if permission is None else permission.narrowed(narrowed)
            self._narrowed[sought] = narrowed
        return narrowed

    def row(self, id: str) -> KeyRow | None:
        """A key that lives, by its id."""
        return self._living.get(id)

    def fix(self, rows: Iterable[KeyRow]) -> None:
        """The keys of the settings are these now."""
        for gone in self._fixed:
            self._rows.pop(gone.digest, None)
            self._living.pop(gone.id, None)
        self._fixed = []
        self._add(rows)
        self._narrowed = {}
        self.changes += 1

    def _add(self, rows: Iterable[KeyRow]) -> None:
        for row in rows:
            self._take(row)
            self._fixed.append(row)

    def _take(self, row: KeyRow) -> None:
        self._living[row.id] = row
        lineage = [row]
        while lineage[-1].parent is not None:
            above = self._living.get(lineage[-1].parent)
            if above is None or len(lineage) >= LINEAGE_MAX:  # of a parent that is gone nothing is left
                self._living.pop(row.id)
                return
            lineage.append(above)
        self._rows[row.digest] = row.digest, principal_of(lineage)

    def close(self) -> None:
        self._news.close()

    def _learn(self, news: KeyNews) -> None:
        self._archived, self._permissions, self._narrowed = news.archived, news.permissions, {}
        for row in news.changed:
            if row.revoked is None:
                self._take(row)
            else:
                self._rows.pop(row.digest, None)
                self._living.pop(row.id, None)
        self.changes += 1


def changed_keys(database: Database, after: int) -> tuple[int, tuple[KeyRow, ...]]:
    """The keys that changed after so many changes, in the order of it, and how many changes there were."""
    sql = f"SELECT changed, {_FIELDS} FROM api_key WHERE changed > ? ORDER BY changed"  # noqa: S608 -- our own column names
    rows = database.execute(sql, (after,)).fetchall()
    return (rows[-1][0] if rows else after), tuple(_key_row(fields) for _, *fields in rows)


def archived_projects(database: Database) -> frozenset[tuple[str, str]]:
    """Organisation and id of each."""
    return frozenset(database.execute("SELECT organization, id FROM project WHERE archived IS NOT NULL"))


def key_rows(database: Database, rest: str, *values: str) -> list[KeyRow]:
    """The keys that SQL after the table's name says."""
    rows = database.execute(f"SELECT {_FIELDS} FROM api_key {rest}", values)  # noqa: S608 -- our own words
    return [_key_row(row) for row in rows]


def _key_row(fields: Iterable[object]) -> KeyRow:
    named = dict(zip(KeyRow.__struct_fields__, fields, strict=True))
    for listed in ("models", "classes"):
        if isinstance(text := named[listed], str):
            named[listed] = msgspec.json.decode(text)
    if isinstance(budget := named["budget_pico"], str):
        named["budget_pico"] = int(budget)
    return msgspec.convert(named, KeyRow, builtin_types=(bytes,))


def _stored(row: KeyRow) -> tuple[object, ...]:
    named = msgspec.structs.asdict(row)
    for listed in ("models", "classes"):
        named[listed] = None if named[listed] is None else msgspec.json.encode(named[listed]).decode()
    named["budget_pico"] = None if row.budget_pico is None else str(row.budget_pico)  # a budget may pass what SQLite's integers hold
    return tuple(named.values())


def _told(row: KeyRow) -> dict[str, object]:
    """What the audit log says of a new key."""
    said = {"name": row.name, "shown": row.shown, "owner": row.owner, "role": row.role, "parent": row.parent, "expires": row.expires}
    return {name: value for name, value in said.items() if value is not None}


def _in_use(row: KeyRow, now: Moment) -> bool:
    return row.revoked is None and (row.expires is None or row.expires > now)
