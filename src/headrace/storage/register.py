"""The register of an organisation: its projects, people, invites, service accounts and limits. Every change is in the audit log.

A project is there as soon as a key carries its name; it needs no row before somebody renames, archives or peoples it. Whoever is taken out
loses his keys in the same transaction.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import Conflict, NotFound
from headrace.core.roles import MAY, ProjectRole, Role, may
from headrace.metering import KeyRow, Limit, Whom
from headrace.storage.auditlog import AUDITED, Act, note
from headrace.storage.database import Database, transaction
from headrace.storage.folder import Layout
from headrace.storage.generations import announce
from headrace.storage.keys import KeyStore, archived_projects, key_rows
from headrace.storage.parts import parts_of
from headrace.storage.permissions import ALL_PROJECTS, ModelPermission, model_permissions

Row = TypeVar("Row", bound=msgspec.Struct)


class Project(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    created: Moment
    archived: Moment | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody of an organisation; signed in by `issuer` as `subject`, once he has been."""

    id: str
    organization: str
    email: str
    name: str
    role: Role
    added: Moment
    issuer: str | None = None
    subject: str | None = None
    deactivated: Moment | None = None
    """Since when he may nothing, and nobody comes in as him: his directory says so."""


class ProjectPerson(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with a part in a project."""

    id: str
    email: str
    name: str
    role: ProjectRole
    added: Moment


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """A place for whoever signs in with that address before it expires."""

    id: str
    email: str
    role: Role
    projects: tuple[tuple[str, ProjectRole], ...]
    created: Moment
    expires: Moment
    accepted: Moment | None = None


class ServiceAccount(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    project: str
    name: str
    role: ProjectRole
    created: Moment


class ProjectLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What all keys of a project together may ask of a model. None: not limited in this respect."""

    organization: str
    project: str
    model: str
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None

    @property
    def limit(self) -> Limit:
        """As metering knows it."""
        return Limit(
            name=f"project:{self.organization}/{self.project}/{self.model}",
            whom=Whom(organization=self.organization, project=self.project, model=self.model),
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
            requests_per_day=self.requests_per_day,
        )


class Register:
    """What one organisation has, read and changed. The database should be a `durable` one. `settled` are the projects of its keys in the
    settings, since when they are there."""

    def __init__(self, database: Database, layout: Layout, organization: str, settled: Mapping[str, Moment] = MappingProxyType({})) -> None:
        self._settled = settled
        self.database, self._layout, self.organization = database, layout, organization
        self.keys = KeyStore(database, layout)

    # Projects.

    def projects(self, *, archived: bool = False) -> list[Project]:
        """The oldest first."""
        sql = "SELECT id, name, created, archived FROM project WHERE organization = ?"
        rows = {row.id: row for row in self.rows(Project, sql)}
        sql = (
            "SELECT project AS id, project AS name, min(created) AS created FROM api_key WHERE organization = ? AND role IS NULL "
            "GROUP BY project"
        )
        for implied in (*self.rows(Project, sql), *(Project(id=name, name=name, created=since) for name, since in self._settled.items())):
            rows.setdefault(implied.id, implied)
        return sorted((row for row in rows.values() if archived or row.archived is None), key=lambda row: (row.created, row.id))

    def project(self, id: str) -> Project:
        """Raises NotFound."""
        for one in self.projects(archived=True):
            if one.id == id:
                return one
        raise NotFound("Project", id)

    def create_project(self, id: str, name: str, act: Act) -> Project:
        made = Project(id=id, name=name, created=act.moment)
        with transaction(self.database, AUDITED):
            self._keep_project(made)
            note(self.database, act, "project.created", id, {"name": name}, project=id)
        return made

    def rename_project(self, id: str, name: str, act: Act) -> Project:
        with transaction(self.database, AUDITED):
            renamed = msgspec.structs.replace(self.live_project(id), name=name)
            self._keep_project(renamed)
            note(self.database, act, "project.updated", id, {"name": name}, project=id)
        return renamed

    def archive_project(self, id: str, act: Act) -> Project:
        """From its return on no server takes a key of the project. There is no way back. Raises Conflict for a project of the settings'
        keys, which no word at run time may end for good."""
        if id in self._settled:
            raise Conflict(f"The project '{id}' has keys in headrace.toml: take its [[key]] sections out first, and reload.")
        with transaction(self.database, AUDITED):
            archived = msgspec.structs.replace(self.live_project(id), archived=act.moment)
            self._keep_project(archived)
            note(self.database, act, "project.archived", id, project=id)
        self.keys_changed()
        return archived

    def live_project(self, id: str) -> Project:
        """Raises NotFound, or Conflict where it is archived."""
        found = self.project(id)
        if found.archived is not None:
            raise Conflict(f"The project '{id}' is archived: nothing of it changes any more.")
        return found

    def _keep_project(self, one: Project) -> None:
        sql = (
            "INSERT INTO project (organization, id, name, created, archived) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (organization, id) DO UPDATE SET name = excluded.name, archived = excluded.archived"
        )
        self.database.execute(sql, (self.organization, one.id, one.name, one.created, one.archived))

    # People.

    def people(self) -> list[Person]:
        return self._people("ORDER BY added, id")

    def person(self, id: str) -> Person:
        """Raises NotFound."""
        found = self._people("AND id = ?", id)
        if not found:
            raise NotFound("User", id)
        return found[0]

    def person_of(self, email: str) -> Person | None:
        found = self._people("AND lower(email) = lower(?)", email)
        return found[0] if found else None

    def add_person(self, one: Person, act: Act) -> None:
        with transaction(self.database, AUDITED):
            self.add(one)
            note(self.database, act, "user.added", one.id, {"email": one.email, "role": one.role})

    def change_role(self, id: str, role: Role, act: Act) -> Person:
        """Keys of his that administer with more than that are revoked."""
        with transaction(self.database, AUDITED):
            changed = msgspec.structs.replace(self.person(id), role=role)
            self.database.execute("UPDATE person SET role = ? WHERE id = ?", (role, id))
            self._revoke_above(id, role, act.moment)
            note(self.database, act, "user.updated", id, {"role": role})
        self.keys_changed()
        return changed

    def _revoke_above(self, id: str, role: Role, moment: Moment) -> None:
        """His keys whose role may what his own may not."""
        for key in self.admin_keys():
            if key.owner == id and key.role is not None and not MAY[key.role] <= MAY[role]:
                self.keys.revoke_one(key.id, moment)

    def remove_person(self, id: str, act: Act, *, for_good: bool = False) -> None:
        """With his keys, his parts in projects, his groups and his sign-ins. `for_good`: no sign-in brings him back, only who adds or
        invites him; so it is as well with whoever was deactivated."""
        with transaction(self.database, AUDITED):
            gone = self.person(id)
            if for_good or gone.deactivated is not None:
                self._see_off(gone, act.moment)
            for table in ("project_person", "group_person", "provisioned_person", "sign_in"):
                self.database.execute(f"DELETE FROM {table} WHERE person = ?", (id,))  # noqa: S608 -- our own names
            self.database.execute("DELETE FROM person WHERE id = ?", (id,))
            self.keys.revoke_owned(id, act.moment)
            note(self.database, act, "user.deleted", id, {"email": gone.email})
        self.keys_changed()

    def shut_out(self, id: str, moment: Moment) -> None:
        """End his sessions and revoke his keys; but the one that stands for him on the page, whose his threads are, ends only until he is
        let in again. Within the caller's transaction, who tells of it."""
        pages = self._page_keys(id)
        for page in pages:
            self.database.execute("DELETE FROM session WHERE key = ?", (page.digest,))
            self.keys.expire_one(page.id, moment)
        self.database.execute("DELETE FROM sign_in WHERE person = ?", (id,))
        self.keys.revoke_owned(id, moment, but={page.id for page in pages})

    def _see_off(self, one: Person, moment: Moment) -> None:
        external = self.database.execute("SELECT external FROM provisioned_person WHERE person = ?", (one.id,)).fetchone()
        self.database.execute(
            "INSERT INTO departed (organization, email, issuer, subject, external, moment) VALUES (?, lower(?), ?, ?, ?, ?) "
            "ON CONFLICT (organization, email) DO UPDATE SET issuer = excluded.issuer, subject = excluded.subject, "
            "external = excluded.external, moment = excluded.moment",
            (self.organization, one.email, one.issuer, one.subject, external and external[0], moment),
        )

    def _has_departed(self, issuer: str, subject: str, email: str) -> bool:
        """Whether that is somebody who was removed for good: by how he signed in, by his directory's name of him, or by his address."""
        sql = "SELECT 1 FROM departed WHERE organization = ? AND ((issuer = ? AND subject = ?) OR external = ? OR email = lower(?)) LIMIT 1"
        return self.database.execute(sql, (self.organization, issuer, subject, subject, email)).fetchone() is not None

    def add(self, one: Person) -> None:
        """Within the caller's transaction. Raises Conflict where the address is somebody's."""
        if self.person_of(one.email) is not None:
            raise Conflict(f"There is a user with the address {one.email} already.")
        self.database.execute("DELETE FROM departed WHERE organization = ? AND email = lower(?)", (self.organization, one.email))
        sql = f"INSERT INTO person ({_PERSON}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- our own column names
        self.database.execute(sql, msgspec.structs.astuple(one))

    # Who comes in.

    def enter(
        self,
        *,
        issuer: str,
        subject: str,
        email: str,
        name: str,
        verified: bool,
        role: Role | None,
        otherwise: Role | None,
        id: str,
        act: Act,
    ) -> Person | None:
        """Who that is, signed in by an identity provider; None where nobody knows him. `role` is what the provider's claims make of him,
        and has the last word; else he is what he was, or was invited as, or `otherwise`. Who is known by his address only, or invited by
        it, is taken for him where it is `verified`."""
        with transaction(self.database, AUDITED):
            known = self._people("AND issuer = ? AND subject = ?", issuer, subject)
            found = known[0] if known else (self.person_of(email) if verified else None)
            if found is not None and found.issuer is not None and (found.issuer, found.subject) != (issuer, subject):
                return None  # the address is somebody else's, whom the provider told us before
            invite = self._open_invite(email, act.moment) if verified and found is None else None
            if found is not None and found.deactivated is not None:
                return None
            if found is None and invite is None and self._has_departed(issuer, subject, email):
                return None
            if found is None:
                given = role or (invite.role if invite is not None else otherwise)
                if given is None:
                    return None
                found = Person(id=id, organization=self.organization, email=email, name=name, role=given, added=act.moment)
                self.add(found)
                note(self.database, act, "user.added", id, {"email": email, "role": given})
            if invite is not None:
                self._accept(invite, found, act)
            entered = msgspec.structs.replace(found, name=name or found.name, role=role or found.role, issuer=issuer, subject=subject)
            if entered != found:
                self.database.execute(
                    "UPDATE person SET name = ?, role = ?, issuer = ?, subject = ? WHERE id = ?",
                    (entered.name, entered.role, issuer, subject, entered.id),
                )
            if entered.role != found.role:
                self._revoke_above(entered.id, entered.role, act.moment)
                note(self.database, _next(act, "r"), "user.updated", entered.id, {"role": entered.role})
        if entered.role != found.role:
            self.keys_changed()
        return entered

    def _open_invite(self, email: str, now: Moment) -> Invite | None:
        found = [one for one in self.invites() if one.email.lower() == email.lower() and one.accepted is None and one.expires > now]
        return found[0] if found else None

    def _accept(self, invite: Invite, person: Person, act: Act) -> None:
        self.database.execute("UPDATE invite SET accepted = ? WHERE id = ?", (act.moment, invite.id))
        note(self.database, _next(act, "i"), "invite.accepted", invite.id)
        there = {project.id for project in self.projects()}
        for project, role in invite.projects:
            if project in there:
                self._place(project, person.id, role, act.moment)

    # Invites.

    def invites(self) -> list[Invite]:
        sql = "SELECT id, email, role, projects, created, expires, accepted FROM invite WHERE organization = ? ORDER BY created, id"
        return self.rows(Invite, sql)

    def invite(self, id: str) -> Invite:
        """Raises NotFound."""
        for one in self.invites():
            if one.id == id:
                return one
        raise NotFound("Invite", id)

    def send_invite(self, one: Invite, act: Act) -> None:
        with transaction(self.database, AUDITED):
            if self.person_of(one.email) is not None:
                raise Conflict(f"There is a user with the address {one.email} already.")
            for project, _ in one.projects:
                self.live_project(project)
            self.database.execute(
                "INSERT INTO invite (organization, id, email, role, projects, created, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self.organization, one.id, one.email, one.role, msgspec.json.encode(one.projects).decode(), one.created, one.expires),
            )
            note(self.database, act, "invite.sent", one.id, {"email": one.email, "role": one.role})

    def drop_invite(self, id: str, act: Act) -> None:
        with transaction(self.database, AUDITED):
            if self.invite(id).accepted is not None:
                raise Conflict("This invite is accepted: remove the user instead.")
            self.database.execute("DELETE FROM invite WHERE id = ?", (id,))
            note(self.database, act, "invite.deleted", id)

    # Who has a part in a project.

    def project_people(self, project: str) -> list[ProjectPerson]:
        self.project(project)
        sql = (
            "SELECT person.id, email, name, project_person.role, project_person.added FROM project_person "
            "JOIN person ON person.id = project_person.person WHERE project_person.organization = ? AND project = ? "
            "ORDER BY project_person.added, person.id"
        )
        return self.rows(ProjectPerson, sql, project)

    def project_person(self, project: str, id: str) -> ProjectPerson:
        """Raises NotFound."""
        for one in self.project_people(project):
            if one.id == id:
                return one
        raise NotFound("Project user", id)

    def parts_of(self, person: str) -> dict[str, ProjectRole]:
        """His role in each project that has him, or a group of his."""
        return parts_of(self.database, self.organization, person)

    def place_person(self, project: str, person: str, role: ProjectRole, act: Act) -> ProjectPerson:
        """Give him a part, or another one."""
        with transaction(self.database, AUDITED):
            self.live_project(project)
            self.person(person)
            kind = "user.updated" if person in {one.id for one in self.project_people(project)} else "user.added"
            self._place(project, person, role, act.moment)
            note(self.database, act, kind, person, {"role": role}, project=project)
        return self.project_person(project, person)

    def displace_person(self, project: str, person: str, act: Act) -> None:
        """With his keys in the project, unless a group of his has a part in it."""
        with transaction(self.database, AUDITED), self.losing_parts((person,), act.moment):
            self.project_person(project, person)
            sql = "DELETE FROM project_person WHERE organization = ? AND project = ? AND person = ?"
            self.database.execute(sql, (self.organization, project, person))
            note(self.database, act, "user.deleted", person, project=project)
        self.keys_changed()

    @contextmanager
    def losing_parts(self, people: Collection[str], moment: Moment) -> Iterator[None]:
        """Whoever of `people` has no part any more in a project where he had one, after what is done meanwhile, loses his keys in it.
        Within the caller's transaction, who tells of it."""
        held = {person: self.parts_of(person) for person in self.keys.holders(self.organization).intersection(people)}
        yield
        for person, parts in held.items():
            for project in parts.keys() - self.parts_of(person).keys():
                self.keys.revoke_owned(person, moment, project)

    def _place(self, project: str, person: str, role: ProjectRole, moment: Moment) -> None:
        sql = (
            "INSERT INTO project_person (organization, project, person, role, added) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (organization, project, person) DO UPDATE SET role = excluded.role"
        )
        self.database.execute(sql, (self.organization, project, person, role, moment))

    # Service accounts.

    def service_accounts(self, project: str) -> list[ServiceAccount]:
        self.project(project)
        sql = (
            "SELECT id, project, name, role, created FROM service_account WHERE organization = ? AND project = ? AND deleted IS NULL "
            "ORDER BY created, id"
        )
        return self.rows(ServiceAccount, sql, project)

    def service_account(self, project: str, id: str) -> ServiceAccount:
        """Raises NotFound."""
        for one in self.service_accounts(project):
            if one.id == id:
                return one
        raise NotFound("Service account", id)

    def create_service_account(self, one: ServiceAccount, act: Act) -> None:
        with transaction(self.database, AUDITED):
            self.live_project(one.project)
            self.database.execute(
                "INSERT INTO service_account (organization, id, project, name, role, created) VALUES (?, ?, ?, ?, ?, ?)",
                (self.organization, *msgspec.structs.astuple(one)),
            )
            note(self.database, act, "service_account.created", one.id, {"name": one.name, "role": one.role}, project=one.project)

    def change_service_account(self, project: str, id: str, name: str | None, role: ProjectRole | None, act: Act) -> ServiceAccount:
        with transaction(self.database, AUDITED):
            found = self.service_account(project, id)
            changed = msgspec.structs.replace(found, name=name or found.name, role=role or found.role)
            self.database.execute("UPDATE service_account SET name = ?, role = ? WHERE id = ?", (changed.name, changed.role, id))
            note(self.database, act, "service_account.updated", id, {"name": changed.name, "role": changed.role}, project=project)
        return changed

    def delete_service_account(self, project: str, id: str, act: Act) -> None:
        """With its keys."""
        with transaction(self.database, AUDITED):
            self.service_account(project, id)
            self.database.execute("UPDATE service_account SET deleted = ? WHERE id = ?", (act.moment, id))
            self.keys.revoke_owned(id, act.moment)
            note(self.database, act, "service_account.deleted", id, project=project)
        self.keys_changed()

    # Keys.

    def page_key(self, person: Person, ends: Moment, id: str, token: bytes, act: Act) -> KeyRow | None:
        """The key that stands for somebody on the page, good until `ends`: the same as ever, else a new one of which nobody knows the
        secret. None: no project has him, or he was shut out meanwhile."""
        parts, live = self.parts_of(person.id), [one.id for one in self.projects()]
        theirs = [project for project in live if project in parts or may(person.role, "own_keys")]
        if not theirs:
            return None
        with transaction(self.database, AUDITED):
            if not self._people("AND id = ? AND deactivated IS NULL", person.id):
                return None
            held = next((row for row in self._page_keys(person.id) if row.project in theirs), None)
            if held is not None:
                self.keys.expire_one(held.id, ends)
        if held is not None:
            self.keys_changed()
            return msgspec.structs.replace(held, expires=ends)
        project = next((one for one in theirs if one in parts), theirs[0])
        row, _ = self.keys.create(
            id=id,
            name=PAGE_KEY,
            organization=self.organization,
            project=project,
            token=token,
            created=act.moment,
            expires=ends,
            owner=person.id,
            act=act,
        )
        return row

    def leave_page(self, person: str, now: Moment) -> None:
        """End his sessions on the page, wherever they are."""
        for row in self._page_keys(person):
            self.keys.expire(row.id, now)

    def _page_keys(self, person: str) -> list[KeyRow]:
        rest = "WHERE organization = ? AND owner = ? AND name = ? AND revoked IS NULL ORDER BY created, id"
        return key_rows(self.database, rest, self.organization, person, PAGE_KEY)

    def project_keys(self, project: str) -> list[KeyRow]:
        """Those in use, the oldest first."""
        self.project(project)
        rest = "WHERE organization = ? AND project = ? AND role IS NULL AND revoked IS NULL ORDER BY created, id"
        return key_rows(self.database, rest, self.organization, project)

    def project_key(self, project: str, id: str) -> KeyRow:
        """Raises NotFound."""
        for one in self.project_keys(project):
            if one.id == id:
                return one
        raise NotFound("API key", id)

    def owner(self, project: str, id: str | None) -> "Person | ServiceAccount | None":
        """Whose a key of the project is, where it is somebody's who is here."""
        if id is None:
            return None
        found = self._people("AND id = ?", id)
        if found:
            return found[0]
        sql = "SELECT id, project, name, role, created FROM service_account WHERE organization = ? AND project = ? AND id = ?"
        return next(iter(self.rows(ServiceAccount, sql, project, id)), None)

    def admin_keys(self) -> list[KeyRow]:
        rest = "WHERE organization = ? AND role IS NOT NULL AND revoked IS NULL ORDER BY created, id"
        return key_rows(self.database, rest, self.organization)

    def admin_key(self, id: str) -> KeyRow:
        """Raises NotFound."""
        for one in self.admin_keys():
            if one.id == id:
                return one
        raise NotFound("Admin API key", id)

    # Limits.

    def limits(self, project: str) -> list[ProjectLimit]:
        self.project(project)
        return [one for one in project_limits(self.database) if (one.organization, one.project) == (self.organization, project)]

    def set_limit(self, one: ProjectLimit, act: Act) -> None:
        """It holds in every worker within a second; the caller has his own take it on at once."""
        with transaction(self.database, AUDITED):
            self.live_project(one.project)
            self.database.execute(
                "INSERT INTO project_limit VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (organization, project, model) DO UPDATE SET "
                "requests_per_minute = excluded.requests_per_minute, tokens_per_minute = excluded.tokens_per_minute, "
                "requests_per_day = excluded.requests_per_day",
                (one.organization, one.project, one.model, one.requests_per_minute, one.tokens_per_minute, one.requests_per_day),
            )
            amounts = {name: value for name in LIMITED if (value := getattr(one, name)) is not None}
            note(self.database, act, "rate_limit.updated", f"rl-{one.model}", amounts, project=one.project)
        announce(self.database, self._layout.limits_generation)

    def drop_limit(self, project: str, model: str, act: Act) -> bool:
        """False: there was none."""
        with transaction(self.database, AUDITED):
            self.project(project)
            sql = "DELETE FROM project_limit WHERE organization = ? AND project = ? AND model = ?"
            if not self.database.execute(sql, (self.organization, project, model)).rowcount:
                return False
            note(self.database, act, "rate_limit.deleted", f"rl-{model}", project=project)
        announce(self.database, self._layout.limits_generation)
        return True

    # Which models may be asked for.

    def model_permission(self, project: str | None) -> ModelPermission | None:
        """That of a project, or for None of the whole organisation. Raises NotFound."""
        if project is not None:
            self.project(project)
        return model_permissions(self.database).get((self.organization, project or ALL_PROJECTS))

    def set_model_permission(self, project: str | None, one: ModelPermission, act: Act) -> None:
        """It holds as a revoked key does: from its return on on this host."""
        with transaction(self.database, AUDITED):
            if project is not None:
                self.live_project(project)
            self.database.execute(
                "INSERT INTO model_permission (organization, project, mode, models) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (organization, project) DO UPDATE SET mode = excluded.mode, models = excluded.models",
                (self.organization, project or ALL_PROJECTS, one.mode, msgspec.json.encode(one.models).decode()),
            )
            details = {"mode": one.mode, "model_ids": list(one.models)}
            note(self.database, act, "model_permissions.updated", project or self.organization, details, project=project or "")
        self.keys_changed()

    def drop_model_permission(self, project: str | None, act: Act) -> bool:
        """False: there was none."""
        with transaction(self.database, AUDITED):
            if project is not None:
                self.project(project)
            sql = "DELETE FROM model_permission WHERE organization = ? AND project = ?"
            if not self.database.execute(sql, (self.organization, project or ALL_PROJECTS)).rowcount:
                return False
            note(self.database, act, "model_permissions.deleted", project or self.organization, project=project or "")
        self.keys_changed()
        return True

    def keys_changed(self) -> None:
        """Tell all servers, after a change that may have revoked keys."""
        announce(self.database, self._layout.keys_generation)

    # How rows are read.

    def rows(self, kind: type[Row], sql: str, *values: object) -> list[Row]:
        """What a query gives, whose first parameter is the organisation."""
        cursor = self.database.execute(sql, (self.organization, *values))
        names = [column[0] for column in cursor.description]
        return [_made(kind, dict(zip(names, row, strict=True))) for row in cursor]

    def _people(self, rest: str, *values: object) -> list[Person]:
        return self.rows(Person, f"SELECT {_PERSON} FROM person WHERE organization = ? {rest}", *values)  # noqa: S608 -- our own words


PAGE_KEY = "the workspace"
_PERSON = "id, organization, email, name, role, added, issuer, subject, deactivated"
LIMITED = ("requests_per_minute", "tokens_per_minute", "requests_per_day")


def project_limits(database: Database) -> list[ProjectLimit]:
    """The limits of all projects that are not archived."""
    gone = archived_projects(database)
    rows = database.execute(f"SELECT {', '.join(ProjectLimit.__struct_fields__)} FROM project_limit ORDER BY organization, project, model")  # noqa: S608 -- ours
    limits = [ProjectLimit(**dict(zip(ProjectLimit.__struct_fields__, row, strict=True))) for row in rows]
    return [one for one in limits if (one.organization, one.project) not in gone]


def person_by_id(database: Database, id: str) -> Person | None:
    """Somebody of any organisation."""
    row = database.execute(f"SELECT {_PERSON} FROM person WHERE id = ?", (id,)).fetchone()  # noqa: S608 -- our own column names
    return None if row is None else _made(Person, dict(zip(_PERSON.split(", "), row, strict=True)))


def _made(kind: type[Row], named: dict[str, object]) -> Row:
    if isinstance(projects := named.get("projects"), str):
        named["projects"] = msgspec.json.decode(projects)
    return msgspec.convert(named, kind)


def _next(act: Act, suffix: str) -> Act:
    """The same act, which has more than one entry."""
    return msgspec.structs.replace(act, id=act.id + suffix)
