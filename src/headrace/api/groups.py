"""Groups of people in OpenAI's shape: who is in one, and which parts they give in projects.

A group has one role in a project, `owner` or `member`, which is what its members have there unless they have a stronger part themselves;
the routes that assign roles set it and take it back. Roles of the organisation are given to people, not to groups.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk, json, seconds
from headrace.api.gate import Actor, Gate, guarded
from headrace.api.listing import next_of, page_of
from headrace.api.projects import Name
from headrace.api.reading import read
from headrace.api.rights import PROJECT, PROJECT_ROLES
from headrace.core.errors import InvalidRequest, NotFound
from headrace.core.roles import MAY_IN_PROJECT, ProjectRole
from headrace.storage import Group, Groups, Person, ProjectGroup, Register

GROUPS: Final = "/v1/organization/groups"
GROUP: Final = f"{GROUPS}/{{group}}"
ROLES: Final = f"{PROJECT_ROLES}/groups/{{group}}/roles"
LIMIT, LIMIT_MAX = 100, 1_000
ABOUT: Mapping[ProjectRole, str] = {
    "owner": "Sees and changes the project: its people, keys and limits.",
    "member": "Sees the project and has keys of his own in it.",
}


class _Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class _Member(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    user_id: str


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    group_id: str
    role: ProjectRole


class _Role(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role_id: ProjectRole


_names, _members = msgspec.json.Decoder(_Named), msgspec.json.Decoder(_Member)
_parts, _roles = msgspec.json.Decoder(_Part), msgspec.json.Decoder(_Role)


class PeopleGroups:
    """The handlers."""

    def __init__(self, *, gate: Gate, desk: Desk) -> None:
        self._gate, self._desk = gate, desk

    def routes(self) -> list[Route]:
        return guarded(
            self._gate,
            {
                ("GET", GROUPS): self.groups,
                ("POST", GROUPS): self.create,
                ("GET", GROUP): self.group,
                ("POST", GROUP): self.rename,
                ("DELETE", GROUP): self.delete,
                ("GET", f"{GROUP}/users"): self.members,
                ("POST", f"{GROUP}/users"): self.put_in,
                ("GET", f"{GROUP}/users/{{user}}"): self.member,
                ("DELETE", f"{GROUP}/users/{{user}}"): self.take_out,
                ("GET", f"{PROJECT}/groups"): self.parts,
                ("POST", f"{PROJECT}/groups"): self.place,
                ("GET", f"{PROJECT}/groups/{{group}}"): self.part,
                ("DELETE", f"{PROJECT}/groups/{{group}}"): self.displace,
                ("GET", f"{PROJECT_ROLES}/roles"): self.known_roles,
                ("GET", ROLES): self.roles,
                ("POST", ROLES): self.assign,
                ("GET", f"{ROLES}/{{role}}"): self.role,
                ("DELETE", f"{ROLES}/{{role}}"): self.unassign,
            },
        )

    async def groups(self, request: Request, actor: Actor) -> Response:
        """GET …/groups"""
        found = await self._desk.on(actor, lambda register: Groups(register).all())
        return json(_page([_group(one) for one in found], request))

    async def create(self, request: Request, actor: Actor) -> Response:
        """POST …/groups"""
        name, id, act = await self._named(request), self._desk.new_id("group_"), self._desk.act(actor)
        made = Group(id=id, name=name, created=act.moment, changed=act.moment)
        await self._desk.on(actor, lambda register: Groups(register).create(made, act))
        return json(_group(made))

    async def group(self, request: Request, actor: Actor) -> Response:
        """GET …/groups/{group}"""
        return json(_group(await self._desk.on(actor, lambda register: Groups(register).group(request.path_params["group"]))))

    async def rename(self, request: Request, actor: Actor) -> Response:
        """POST …/groups/{group}"""
        name, id, act = await self._named(request), request.path_params["group"], self._desk.act(actor)

        def renamed(register: Register) -> Group:
            groups = Groups(register)
            groups.by_hand(id)
            return groups.change(id, lambda group, members: (replace(group, name=name), members), act)

        return json(_group(await self._desk.on(actor, renamed)))

    async def delete(self, request: Request, actor: Actor) -> Response:
        """DELETE …/groups/{group}"""
        id, act = request.path_params["group"], self._desk.act(actor)

        def deleted(register: Register) -> None:
            groups = Groups(register)
            groups.by_hand(id)
            groups.delete(id, act)

        await self._desk.on(actor, deleted)
        return json({"id": id, "object": "group.deleted", "deleted": True})

    async def _named(self, request: Request) -> str:
        name = (await read(_names, request)).name
        if not name.isprintable():
            raise InvalidRequest("A group's name has 1 to 128 printable letters.", param="name")
        return name

    # Who is in one.

    async def members(self, request: Request, actor: Actor) -> Response:
        """GET …/groups/{group}/users"""
        id = request.path_params["group"]

        def found(register: Register) -> list[Person]:
            groups = Groups(register)
            groups.group(id)
            return groups.members(id)

        return json(_page([_member(one) for one in await self._desk.on(actor, found)], request))

    async def put_in(self, request: Request, actor: Actor) -> Response:
        """POST …/groups/{group}/users"""
        id, person, act = request.path_params["group"], (await read(_members, request)).user_id, self._desk.act(actor)

        def put(register: Register) -> None:
            groups = Groups(register)
            groups.by_hand(id)
            groups.put_in(id, person, act)

        await self._desk.on(actor, put)
        return json({"object": "group.user", "group_id": id, "user_id": person})

    async def member(self, request: Request, actor: Actor) -> Response:
        """GET …/groups/{group}/users/{user}"""
        id, user = request.path_params["group"], request.path_params["user"]
        found = await self._desk.on(actor, lambda register: Groups(register).member(id, user))
        return json(_member(found) | {"is_service_account": False, "picture": None, "user_type": "user"})

    async def take_out(self, request: Request, actor: Actor) -> Response:
        """DELETE …/groups/{group}/users/{user}"""
        id, user, act = request.path_params["group"], request.path_params["user"], self._desk.act(actor)

        def taken(register: Register) -> None:
            groups = Groups(register)
            groups.by_hand(id)
            groups.take_out(id, user, act)

        await self._desk.on(actor, taken)
        return json({"object": "group.user.deleted", "deleted": True})

    # Parts in projects.

    async def parts(self, request: Request, actor: Actor) -> Response:
        """GET …/projects/{project}/groups"""
        project = request.path_params["project"]
        found = await self._desk.on(actor, lambda register: Groups(register).in_project(project))
        return json(next_of(page_of([_part(project, one) for one in found], request.query_params, newest_first=False, id="group_id")))

    async def place(self, request: Request, actor: Actor) -> Response:
        """POST …/projects/{project}/groups"""
        asked, project, act = await read(_parts, request), request.path_params["project"], self._desk.act(actor)
        made = await self._desk.on(actor, lambda register: Groups(register).place(project, asked.group_id, asked.role, act))
        return json(_part(project, made))

    async def part(self, request: Request, actor: Actor) -> Response:
        """GET …/projects/{project}/groups/{group}"""
        project, id = request.path_params["project"], request.path_params["group"]
        return json(_part(project, await self._desk.on(actor, lambda register: Groups(register).one_in_project(project, id))))

    async def displace(self, request: Request, actor: Actor) -> Response:
        """DELETE …/projects/{project}/groups/{group}"""
        project, id, act = request.path_params["project"], request.path_params["group"], self._desk.act(actor)
        await self._desk.on(actor, lambda register: Groups(register).displace(project, id, act))
        return json({"object": "project.group.deleted", "deleted": True})

    # The same, as the assignment of a role.

    async def known_roles(self, request: Request, actor: Actor) -> Response:
        """GET /v1/projects/{project}/roles"""
        return json(_page([{"object": "role", **_role(role)} for role in MAY_IN_PROJECT], request))

    async def roles(self, request: Request, actor: Actor) -> Response:
        """GET …/groups/{group}/roles"""
        project, id = request.path_params["project"], request.path_params["group"]
        found = await self._desk.on(actor, lambda register: Groups(register).in_project(project))
        return json(_page([_assigned(one) for one in found if one.id == id], request))

    async def assign(self, request: Request, actor: Actor) -> Response:
        """POST …/groups/{group}/roles"""
        role: ProjectRole = (await read(_roles, request)).role_id
        project, id, act = request.path_params["project"], request.path_params["group"], self._desk.act(actor)
        made = await self._desk.on(actor, lambda register: Groups(register).place(project, id, role, act))
        group = {
            "object": "group",
            "id": made.id,
            "name": made.name,
            "created_at": seconds(made.created),
            "scim_managed": made.provisioned is not None,
        }
        return json({"object": "group.role", "group": group, "role": {"object": "role", **_role(role)}})

    async def role(self, request: Request, actor: Actor) -> Response:
        """GET …/groups/{group}/roles/{role}"""
        return json(_assigned(await self._desk.on(actor, lambda register: self._of_role(register, request))))

    async def unassign(self, request: Request, actor: Actor) -> Response:
        """DELETE …/groups/{group}/roles/{role}"""
        act = self._desk.act(actor)

        def taken(register: Register) -> None:
            Groups(register).displace(request.path_params["project"], self._of_role(register, request).id, act)

        await self._desk.on(actor, taken)
        return json({"object": "group.role.deleted", "deleted": True})

    def _of_role(self, register: Register, request: Request) -> ProjectGroup:
        """The group of the path in the project of the path, where it has the role of the path. Raises NotFound."""
        found = Groups(register).one_in_project(request.path_params["project"], request.path_params["group"])
        if found.role != request.path_params["role"]:
            raise NotFound("Role", request.path_params["role"])
        return found


def _page(items: Sequence[dict[str, Any]], request: Request) -> dict[str, Any]:
    return next_of(page_of(items, request.query_params, newest_first=False, limit=LIMIT, limit_max=LIMIT_MAX))


def _group(one: Group) -> dict[str, Any]:
    return {
        "object": "group",
        "id": one.id,
        "name": one.name,
        "created_at": seconds(one.created),
        "is_scim_managed": one.provisioned is not None,
        "group_type": "group",
    }


def _member(one: Person) -> dict[str, Any]:
    return {"object": "organization.user", "id": one.id, "name": one.name, "email": one.email}


def _part(project: str, one: ProjectGroup) -> dict[str, Any]:
    return {
        "object": "project.group",
        "project_id": project,
        "group_id": one.id,
        "group_name": one.name,
        "group_type": "group",
        "role": one.role,
        "created_at": seconds(one.added),
    }


def _role(role: ProjectRole) -> dict[str, Any]:
    return {
        "id": role,
        "name": role,
        "description": ABOUT[role],
        "permissions": sorted(MAY_IN_PROJECT[role]),
        "predefined_role": True,
        "resource_type": "api.project",
    }


def _assigned(one: ProjectGroup) -> dict[str, Any]:
    return {**_role(one.role), "created_at": seconds(one.added)}
