"""The groups of an organisation: who is in them, and which parts they give in projects. Every change is in the audit log.

Who loses a part by a change, and has none left in that project, loses his keys in it in the same transaction. A group that a directory
keeps (SCIM) is changed by nobody else for as long as there is a key with which a directory comes.
"""

from collections.abc import Callable, Collection
from typing import TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import Conflict, InvalidRequest, NotFound
from headrace.core.roles import ProjectRole
from headrace.storage.auditlog import AUDITED, Act, note
from headrace.storage.database import transaction
from headrace.storage.register import Person, Register

_GROUP = "id, name, created, changed, external, provisioned"


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """`external` is what the directory that keeps it calls it; `provisioned`, since when one does."""

    id: str
    name: str
    created: Moment
    changed: Moment
    external: str | None = None
    provisioned: Moment | None = None


class ProjectGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A group with a part in a project."""

    id: str
    name: str
    created: Moment
    provisioned: Moment | None
    role: ProjectRole
    added: Moment


Edit: TypeAlias = Callable[[Group, frozenset[str]], tuple[Group, Collection[str]]]


class Groups:
    """Those of a register's organisation, read and changed."""

    def __init__(self, register: Register) -> None:
        self._register, self._database, self._organization = register, register.database, register.organization

    def all(self, id: str | None = None) -> list[Group]:
        """The oldest first; or that of an id, where it is there."""
        return self._groups("ORDER BY created, id") if id is None else self._groups("AND id = ?", id)

    def group(self, id: str) -> Group:
        """Raises NotFound."""
        for one in self.all(id):
            return one
        raise NotFound("Group", id)

    def by_hand(self, id: str) -> Group:
        """One that an administrator may change. Raises NotFound, or Conflict where a directory keeps it."""
        found = self.group(id)
        if found.provisioned and any(key.role == "provisioner" for key in self._register.admin_keys()):
            raise Conflict(f"The group '{found.name}' is kept by your directory (SCIM): change it there.")
        return found

    def create(self, one: Group, act: Act, members: Collection[str] = ()) -> None:
        """Raises Conflict where the name is taken, InvalidRequest where a member is not there."""
        with transaction(self._database, AUDITED):
            self._check_name(one)
            sql = f"INSERT INTO people_group (organization, {_GROUP}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- our own column names
            self._database.execute(sql, (self._organization, *msgspec.structs.astuple(one)))
            self._put_in(one.id, members, act.moment)
            note(self._database, act, "group.created", one.id, {"group_name": one.name, **_told("members_added", members)})

    def change(self, id: str, edit: Edit, act: Act) -> Group:
        """The group becomes what `edit` makes of it and of its members' ids. Nothing is told where nothing changes. Raises NotFound,
        Conflict where another has the name, InvalidRequest where a member is not there."""
        with transaction(self._database, AUDITED):
            before, held = self.group(id), frozenset(one.id for one in self.members(id))
            edited, members = edit(before, held)
            put_in, taken_out = frozenset(members) - held, held - frozenset(members)
            if edited == before and not put_in and not taken_out:
                return before
            after = msgspec.structs.replace(edited, changed=act.moment)
            self._check_name(after)
            sql = "UPDATE people_group SET name = ?, changed = ?, external = ?, provisioned = ? WHERE id = ?"
            self._database.execute(sql, (after.name, after.changed, after.external, after.provisioned, id))
            self._put_in(id, put_in, act.moment)
            with self._register.losing_parts(taken_out, act.moment):
                for person in taken_out:
                    self._database.execute("DELETE FROM group_person WHERE people_group = ? AND person = ?", (id, person))
            renamed = {"group_name": after.name} if after.name != before.name else {}
            note(
                self._database,
                act,
                "group.updated",
                id,
                {**renamed, **_told("members_added", put_in), **_told("members_removed", taken_out)},
            )
        self._register.keys_changed()
        return after

    def delete(self, id: str, act: Act) -> None:
        """With the parts that it gives."""
        with transaction(self._database, AUDITED):
            gone = self.group(id)
            with self._register.losing_parts({one.id for one in self.members(id)}, act.moment):
                for table, column in (("project_group", "people_group"), ("group_person", "people_group"), ("people_group", "id")):
                    self._database.execute(f"DELETE FROM {table} WHERE {column} = ?", (id,))  # noqa: S608 -- our own names
            note(self._database, act, "group.deleted", id, {"group_name": gone.name})
        self._register.keys_changed()

    def _check_name(self, one: Group) -> None:
        if self._groups("AND lower(name) = lower(?) AND id <> ?", one.name, one.id):
            raise Conflict(f"There is a group named '{one.name}' already.")

    # Members.

    def members(self, id: str) -> list[Person]:
        """Whoever was put in first stands first."""
        columns = ", ".join(f"person.{name}" for name in Person.__struct_fields__)
        sql = (
            f"SELECT {columns} FROM person JOIN group_person ON group_person.person = person.id "  # noqa: S608 -- our own column names
            "WHERE organization = ? AND people_group = ? ORDER BY group_person.added, person.id"
        )
        return self._register.rows(Person, sql, id)

    def member(self, id: str, person: str) -> Person:
        """Raises NotFound."""
        self.group(id)
        for one in self.members(id):
            if one.id == person:
                return one
        raise NotFound("Group user", person)

    def of_person(self, person: str) -> list[Group]:
        """The groups that he is in."""
        return self._groups("AND id IN (SELECT people_group FROM group_person WHERE person = ?) ORDER BY created, id", person)

    def put_in(self, id: str, person: str, act: Act) -> None:
        self._register.person(person)
        self.change(id, lambda group, members: (group, members | {person}), act)

    def take_out(self, id: str, person: str, act: Act) -> None:
        self.member(id, person)
        self.change(id, lambda group, members: (group, members - {person}), act)

    def _put_in(self, id: str, people: Collection[str], moment: Moment) -> None:
        for person in sorted(people):
            try:
                self._register.person(person)
            except NotFound:
                raise InvalidRequest(f"There is no user '{person}' to be a member.", param="members") from None
            sql = "INSERT INTO group_person (people_group, person, added) VALUES (?, ?, ?)"
            self._database.execute(sql, (id, person, moment))

    # Parts in projects.

    def in_project(self, project: str) -> list[ProjectGroup]:
        self._register.project(project)
        sql = (
            "SELECT people_group.id, name, created, provisioned, role, added FROM project_group "
            "JOIN people_group ON people_group.id = project_group.people_group "
            "WHERE project_group.organization = ? AND project = ? ORDER BY added, people_group.id"
        )
        return self._register.rows(ProjectGroup, sql, project)

    def one_in_project(self, project: str, id: str) -> ProjectGroup:
        """Raises NotFound."""
        for one in self.in_project(project):
            if one.id == id:
                return one
        raise NotFound("Project group", id)

    def place(self, project: str, id: str, role: ProjectRole, act: Act) -> ProjectGroup:
        """Give the group a part, or another one."""
        with transaction(self._database, AUDITED):
            self._register.live_project(project)
            self.group(id)
            self._database.execute(
                "INSERT INTO project_group (organization, project, people_group, role, added) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (organization, project, people_group) DO UPDATE SET role = excluded.role",
                (self._organization, project, id, role, act.moment),
            )
            note(self._database, act, "role.assignment.created", f"{id}/{project}", _assigned(project, id, role), project=project)
        return self.one_in_project(project, id)

    def displace(self, project: str, id: str, act: Act) -> None:
        """With the keys of whoever had no other part."""
        with transaction(self._database, AUDITED):
            gone = self.one_in_project(project, id)
            with self._register.losing_parts({one.id for one in self.members(id)}, act.moment):
                sql = "DELETE FROM project_group WHERE organization = ? AND project = ? AND people_group = ?"
                self._database.execute(sql, (self._organization, project, id))
            note(self._database, act, "role.assignment.deleted", f"{id}/{project}", _assigned(project, id, gone.role), project=project)
        self._register.keys_changed()

    def _groups(self, rest: str, *values: object) -> list[Group]:
        return self._register.rows(Group, f"SELECT {_GROUP} FROM people_group WHERE organization = ? {rest}", *values)  # noqa: S608 -- our own words


def _told(name: str, people: Collection[str]) -> dict[str, object]:
    return {name: sorted(people)} if people else {}


def _assigned(project: str, id: str, role: ProjectRole) -> dict[str, object]:
    """As OpenAI's entries tell it."""
    return {"principal_id": id, "principal_type": "group", "resource_id": project, "resource_type": "project", "role": role}
