"""People as a directory keeps them (SCIM): what it says of somebody stands beside the person, who is everyone's as before.

Whoever it deactivates loses his sessions and his keys in the same transaction, and no sign-in brings him back; nor whom it removes.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.core.errors import Conflict, NotFound
from headrace.storage.auditlog import AUDITED, Act, note
from headrace.storage.database import transaction
from headrace.storage.register import Person, Register


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a directory says of somebody. `document` is all that we keep of it, as JSON."""

    user_name: str
    external: str | None
    email: str
    name: str
    active: bool
    document: bytes


class Provisioned(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, and his profile; `document` of None: no directory has spoken of him yet."""

    person: Person
    user_name: str
    external: str | None
    document: bytes | None
    changed: Moment


Edit: TypeAlias = Callable[[Provisioned], Profile]
_TOLD = ("user_name", "external", "document", "changed")


class Provisioning:
    """The people of a register's organisation, for its directory."""

    def __init__(self, register: Register) -> None:
        self._register, self._database, self._organization = register, register.database, register.organization

    def all(self, *, id: str | None = None, user_name: str | None = None, external: str | None = None) -> list[Provisioned]:
        """Who is there, the oldest first; where something is named, only who is called so."""
        conditions, values = "", list[str]()
        for condition, value in (
            ("person.id = ?", id),
            ("lower(coalesce(user_name, email)) = lower(?)", user_name),
            ("external = ?", external),
        ):
            if value is not None:
                conditions += f" AND {condition}"
                values.append(value)
        columns = ", ".join((*(f"person.{name}" for name in Person.__struct_fields__), *_TOLD))
        rows = self._database.execute(
            f"SELECT {columns} FROM person LEFT JOIN provisioned_person ON provisioned_person.person = person.id "  # noqa: S608 -- our own words
            f"WHERE person.organization = ?{conditions} ORDER BY person.added, person.id",
            (self._organization, *values),
        )
        return [_made(row) for row in rows]

    def one(self, id: str) -> Provisioned:
        """Raises NotFound."""
        for found in self.all(id=id):
            return found
        raise NotFound("User", id)

    def create(self, id: str, profile: Profile, act: Act) -> Provisioned:
        """A new member, who may nothing by that. Raises Conflict where his name or his address is somebody's."""
        with transaction(self._database, AUDITED):
            self._check_name(id, profile)
            made = Person(
                id=id,
                organization=self._organization,
                email=profile.email,
                name=profile.name,
                role="member",
                added=act.moment,
                deactivated=None if profile.active else act.moment,
            )
            self._register.add(made)
            self._keep(id, profile, act.moment)
            note(self._database, act, "user.added", id, {"email": made.email, "role": made.role, "active": profile.active})
            return self.one(id)

    def change(self, id: str, edit: Edit, act: Act) -> Provisioned:
        """He becomes what `edit` makes of him. Nothing is told where nothing changes. Raises NotFound, or Conflict as `create`."""
        with transaction(self._database, AUDITED):
            before = self.one(id)
            profile = edit(before)
            if profile == _profile(before):
                return before
            self._check_name(id, profile)
            self._keep(id, profile, act.moment)
            was_active = before.person.deactivated is None
            changes = {
                name: value
                for name, value, held in (
                    ("email", profile.email, before.person.email),
                    ("name", profile.name, before.person.name),
                    ("active", profile.active, was_active),
                )
                if value != held
            }
            since = None if profile.active else before.person.deactivated or act.moment
            sql = "UPDATE person SET email = ?, name = ?, deactivated = ? WHERE id = ?"
            self._database.execute(sql, (profile.email, profile.name, since, id))
            if was_active and not profile.active:
                self._register.shut_out(id, act.moment)
            if changes:
                note(self._database, act, "user.updated", id, changes)
            after = self.one(id)
        self._register.keys_changed()
        return after

    def _check_name(self, id: str, profile: Profile) -> None:
        if any(one.person.id != id for one in self.all(user_name=profile.user_name)):
            raise Conflict(f"There is a user named {profile.user_name} already.")
        other = self._register.person_of(profile.email)
        if other is not None and other.id != id:
            raise Conflict(f"There is a user with the address {profile.email} already.")

    def _keep(self, id: str, profile: Profile, moment: Moment) -> None:
        self._database.execute(
            "INSERT INTO provisioned_person (person, organization, user_name, external, document, changed) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (person) DO UPDATE SET user_name = excluded.user_name, external = excluded.external, "
            "document = excluded.document, changed = excluded.changed",
            (id, self._organization, profile.user_name, profile.external, profile.document.decode(), moment),
        )


def _made(row: tuple[object, ...]) -> Provisioned:
    *fields, user_name, external, document, changed = row
    person = msgspec.convert(dict(zip(Person.__struct_fields__, fields, strict=True)), Person)
    told = {
        "person": person,
        "user_name": user_name or person.email,
        "external": external,
        "document": None if document is None else str(document).encode(),
        "changed": changed or person.added,
    }
    return msgspec.convert(told, Provisioned, builtin_types=(bytes,))


def _profile(one: Provisioned) -> Profile | None:
    """As it stands; None: there is none yet."""
    if one.document is None:
        return None
    return Profile(
        user_name=one.user_name,
        external=one.external,
        email=one.person.email,
        name=one.person.name,
        active=one.person.deactivated is None,
        document=one.document,
    )
