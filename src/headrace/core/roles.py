"""Who may do what in an organisation: five roles, and what each of them may.

    right       owner  admin  member  viewer  billing   what it is
    see           x      x      .       x       x       projects, people, groups, keys, limits
    projects      x      x                              make, change, archive them
    people        x      x      .                       invite, add, change, remove them, and groups
    keys          x      x      .                       service accounts and the keys of projects
    own_keys      x      x      .                       keys of one's own
    limits        x      x      .                       rate limits
    usage         x      x              x       x       usage, costs, spend limits and alerts, as they are
    money         x                             x       set spend limits and alerts
    audit         x      x              x               the audit log
    admin_keys    x                                     keys that administer
    operate       x      x                              the server itself, for those of the organisation that runs it

A member has nothing by that, and something where a project has him (the dots): in a project `owner`s may see, people, keys, own_keys and
limits, and `member`s see and own_keys. A key that administers has one of the five roles, and is bound by them as a person is. A sixth
role is for keys alone: a `provisioner` is a directory that keeps people and groups by SCIM. It has the right to `provision` and no other,
and nobody else has that.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

PersonRole: TypeAlias = Literal["owner", "admin", "member", "viewer", "billing"]
Role: TypeAlias = Literal[PersonRole, "provisioner"]
ProjectRole: TypeAlias = Literal["owner", "member"]
Right: TypeAlias = Literal[
    "see", "projects", "people", "keys", "own_keys", "limits", "usage", "money", "audit", "admin_keys", "operate", "provision",
]  # fmt: skip

MAY: Mapping[Role, frozenset[Right]] = {
    "owner": frozenset(("see", "projects", "people", "keys", "own_keys", "limits", "usage", "money", "audit", "admin_keys", "operate")),
    "admin": frozenset(("see", "projects", "people", "keys", "own_keys", "limits", "usage", "audit", "operate")),
    "member": frozenset(),
    "viewer": frozenset(("see", "usage", "audit")),
    "billing": frozenset(("see", "usage", "money")),
    "provisioner": frozenset(("provision",)),
}
PERSON_ROLES: tuple[PersonRole, ...] = ("owner", "admin", "member", "viewer", "billing")
MAY_IN_PROJECT: Mapping[ProjectRole, frozenset[Right]] = {
    "owner": frozenset(("see", "people", "keys", "own_keys", "limits")),
    "member": frozenset(("see", "own_keys")),
}


def may(role: Role, right: Right, in_project: ProjectRole | None = None) -> bool:
    """Whether a role has a right; `in_project` is the role in the project that it is about, where there is one."""
    return right in MAY[role] or (in_project is not None and right in MAY_IN_PROJECT[in_project])


def may_give(giver: Role, role: Role) -> bool:
    """Nobody makes of another what he is not himself: only owners make owners."""
    return giver == "owner" or (giver == "admin" and role not in ("owner", "provisioner"))


def stronger(one: ProjectRole, other: ProjectRole) -> ProjectRole:
    """Of two parts in a project the one that may more."""
    return "owner" if "owner" in (one, other) else "member"
