"""The two kinds of resources that a directory keeps here by SCIM, users and groups: what of a person or a group is told, and what is done
with what is said."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from headrace.core.clock import SECOND, Moment
from headrace.storage import Act, Group, Groups, Profile, Provisioned, Provisioning, Register
from headrace.wire.scim import GROUP, GROUP_ATTRIBUTES, USER, USER_ATTRIBUTES, Attribute, Resource

Edit: TypeAlias = Callable[[Resource], Resource]
"""What becomes of a resource; both without what is read-only."""
_decode = msgspec.json.Decoder(Resource).decode


class Kind(Protocol):
    """`seen` finds what is there, by `id`, `username` or `externalid` where they are known; a resource is `whole` with what takes a query
    of its own to know. `create` and `change` raise Conflict and InvalidRequest; whatever names an id raises NotFound."""

    name: str
    path: str
    schema: str
    attributes: tuple[Attribute, ...]
    costly: str

    def seen(self, register: Register, known: Mapping[str, str], root: str, *, whole: bool) -> list[Resource]: ...

    def create(self, register: Register, said: Resource, id: str, act: Act) -> str: ...

    def change(self, register: Register, id: str, edit: Edit, act: Act, root: str) -> str: ...

    def remove(self, register: Register, id: str, act: Act) -> None: ...


class Users(Kind):
    """People. Whoever is here by another way is known to the directory by his address."""

    name, path, schema, attributes, costly = "User", "Users", USER, USER_ATTRIBUTES, "groups"

    def seen(self, register: Register, known: Mapping[str, str], root: str, *, whole: bool) -> list[Resource]:
        people = Provisioning(register)
        found = people.all(id=known.get("id"), user_name=known.get("username"), external=known.get("externalid"))
        return [self._told(register, one, root, whole=whole) for one in found]

    def create(self, register: Register, said: Resource, id: str, act: Act) -> str:
        return Provisioning(register).create(id, profile_of(said), act).person.id

    def change(self, register: Register, id: str, edit: Edit, act: Act, root: str) -> str:
        def edited(one: Provisioned) -> Profile:
            before = self._told(register, one, root, whole=True)
            return profile_of({"active": before["active"], **edit(before)})  # nobody is let in again by what is not said

        return Provisioning(register).change(id, edited, act).person.id

    def remove(self, register: Register, id: str, act: Act) -> None:
        register.remove_person(id, act, for_good=True)

    def _told(self, register: Register, one: Provisioned, root: str, *, whole: bool) -> Resource:
        groups = Groups(register).of_person(one.person.id) if whole else []
        return {
            "schemas": [USER],
            "id": one.person.id,
            **(_of_person(one) if one.document is None else _decode(one.document)),
            "active": one.person.deactivated is None,
            "groups": [{"value": each.id, "display": each.name, "$ref": f"{root}/Groups/{each.id}"} for each in groups],
            "meta": meta(one.person.id, "User", root, one.person.added, one.changed),
        }


class GroupsKept(Kind):
    """Groups, those too that were made by hand: from its first change on, a directory keeps a group."""

    name, path, schema, attributes, costly = "Group", "Groups", GROUP, GROUP_ATTRIBUTES, "members"

    def seen(self, register: Register, known: Mapping[str, str], root: str, *, whole: bool) -> list[Resource]:
        return [self._told(register, one, root, whole=whole) for one in Groups(register).all(known.get("id"))]

    def create(self, register: Register, said: Resource, id: str, act: Act) -> str:
        made = Group(
            id=id,
            name=said["displayName"],
            created=act.moment,
            changed=act.moment,
            external=said.get("externalId"),
            provisioned=act.moment,
        )
        Groups(register).create(made, act, _members(said))
        return id

    def change(self, register: Register, id: str, edit: Edit, act: Act, root: str) -> str:
        def edited(one: Group, members: frozenset[str]) -> tuple[Group, frozenset[str]]:
            said = edit(self._told(register, one, root, whole=True))
            kept = replace(one, name=said["displayName"], external=said.get("externalId"), provisioned=one.provisioned or act.moment)
            return kept, _members(said)

        return Groups(register).change(id, edited, act).id

    def remove(self, register: Register, id: str, act: Act) -> None:
        Groups(register).delete(id, act)

    def _told(self, register: Register, one: Group, root: str, *, whole: bool) -> Resource:
        people = Groups(register).members(one.id) if whole else []
        return {
            "schemas": [GROUP],
            "id": one.id,
            **({} if one.external is None else {"externalId": one.external}),
            "displayName": one.name,
            "members": [{"value": each.id, "type": "User", "$ref": f"{root}/Users/{each.id}"} for each in people],
            "meta": meta(one.id, "Group", root, one.created, one.changed),
        }


KINDS: Final[tuple[Kind, ...]] = (Users(), GroupsKept())


def profile_of(said: Resource) -> Profile:
    """What a user's resource makes of a person."""
    name, user_name = said.get("name", {}), said["userName"]
    whole = " ".join(part for part in (name.get("givenName"), name.get("familyName")) if part)
    document = {key: value for key, value in said.items() if key not in ("schemas", "id", "meta", "active", "groups")}
    return Profile(
        user_name=user_name,
        external=said.get("externalId"),
        email=_address(said) or user_name,
        name=said.get("displayName") or name.get("formatted") or whole or user_name,
        active=said.get("active", True),
        document=msgspec.json.encode(document, order="sorted"),
    )


def _address(said: Resource) -> str | None:
    """The primary one, or that of work, or any."""
    emails = [one for one in said.get("emails", ()) if one.get("value")]
    emails.sort(key=lambda one: (one.get("primary") is not True, one.get("type") != "work"))
    return emails[0]["value"] if emails else None


def _of_person(one: Provisioned) -> Resource:
    """Of whom no directory has spoken yet."""
    email = one.person.email
    return {"userName": email, "displayName": one.person.name or email, "emails": [{"value": email, "type": "work", "primary": True}]}


def _members(said: Resource) -> frozenset[str]:
    return frozenset(one["value"] for one in said.get("members", ()) if one.get("value"))


def meta(id: str, name: str, root: str, created: Moment, changed: Moment) -> Resource:
    """What a resource is, when it was made and changed, which is its version."""
    return {
        "resourceType": name,
        "created": _time(created),
        "lastModified": _time(changed),
        "location": f"{root}/{name}s/{id}",
        "version": f'W/"{changed:x}"',
    }


def _time(moment: Moment) -> str:
    return datetime.fromtimestamp(moment // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
