"""The people of an organisation in OpenAI's shape, and who is invited to be one. We send no letters: an invite is told by its maker."""

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk, json, seconds
from headrace.api.gate import Actor, Gate, guarded
from headrace.api.listing import page_of
from headrace.api.reading import read
from headrace.api.spending import Address
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import InvalidRequest, NotAllowed
from headrace.core.roles import PERSON_ROLES, PersonRole, ProjectRole, Role, may_give
from headrace.storage import Invite, Person

INVITE_DAYS = 7
PROJECTS_MAX = 100
OTHER_NAMES: dict[str, PersonRole] = {"reader": "member"}
"""What OpenAI's clients call a role of ours."""


class _User(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: str


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    role: ProjectRole


class _Invite(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Address
    role: str
    projects: Annotated[tuple[_Part, ...], msgspec.Meta(max_length=PROJECTS_MAX)] = ()


_users, _invites = msgspec.json.Decoder(_User), msgspec.json.Decoder(_Invite)


class Members:
    """The handlers."""

    def __init__(self, *, gate: Gate, desk: Desk) -> None:
        self._gate, self._desk = gate, desk

    def routes(self) -> list[Route]:
        return guarded(
            self._gate,
            {
                ("GET", "/v1/organization/users"): self.users,
                ("GET", "/v1/organization/users/{user}"): self.user,
                ("POST", "/v1/organization/users/{user}"): self.change,
                ("DELETE", "/v1/organization/users/{user}"): self.remove,
                ("GET", "/v1/organization/invites"): self.invites,
                ("POST", "/v1/organization/invites"): self.invite,
                ("GET", "/v1/organization/invites/{invite}"): self.show_invite,
                ("DELETE", "/v1/organization/invites/{invite}"): self.drop_invite,
            },
        )

    async def users(self, request: Request, actor: Actor) -> Response:
        """GET …/users"""
        emails = {value.lower() for name, value in request.query_params.multi_items() if name in ("emails", "emails[]")}
        found = await self._desk.on(actor, lambda register: register.people())
        return json(
            page_of([_user(one) for one in found if not emails or one.email.lower() in emails], request.query_params, newest_first=False)
        )

    async def user(self, request: Request, actor: Actor) -> Response:
        """GET …/users/{user}"""
        return json(_user(await self._desk.on(actor, lambda register: register.person(request.path_params["user"]))))

    async def change(self, request: Request, actor: Actor) -> Response:
        """POST …/users/{user}"""
        role, user, act = _role((await read(_users, request)).role), request.path_params["user"], self._desk.act(actor)
        _check_giving(actor, role, (await self._desk.on(actor, lambda register: register.person(user))).role)
        return json(_user(await self._desk.on(actor, lambda register: register.change_role(user, role, act))))

    async def remove(self, request: Request, actor: Actor) -> Response:
        """DELETE …/users/{user}"""
        user, act = request.path_params["user"], self._desk.act(actor)
        _check_giving(actor, (await self._desk.on(actor, lambda register: register.person(user))).role)
        await self._desk.on(actor, lambda register: register.remove_person(user, act))
        return json({"id": user, "object": "organization.user.deleted", "deleted": True})

    async def invites(self, request: Request, actor: Actor) -> Response:
        """GET …/invites"""
        found, now = await self._desk.on(actor, lambda register: register.invites()), self._desk.moment()
        return json(page_of([_invite(one, now) for one in found], request.query_params, newest_first=False))

    async def invite(self, request: Request, actor: Actor) -> Response:
        """POST …/invites"""
        asked, act = await read(_invites, request), self._desk.act(actor)
        role = _role(asked.role)
        _check_giving(actor, role)
        made = Invite(
            id=self._desk.new_id("invite_"),
            email=asked.email,
            role=role,
            projects=tuple((part.id, part.role) for part in asked.projects),
            created=act.moment,
            expires=act.moment + INVITE_DAYS * 86_400 * SECOND,
        )
        await self._desk.on(actor, lambda register: register.send_invite(made, act))
        return json(_invite(made, act.moment))

    async def show_invite(self, request: Request, actor: Actor) -> Response:
        """GET …/invites/{invite}"""
        found = await self._desk.on(actor, lambda register: register.invite(request.path_params["invite"]))
        return json(_invite(found, self._desk.moment()))

    async def drop_invite(self, request: Request, actor: Actor) -> Response:
        """DELETE …/invites/{invite}"""
        invite, act = request.path_params["invite"], self._desk.act(actor)
        await self._desk.on(actor, lambda register: register.drop_invite(invite, act))
        return json({"id": invite, "object": "organization.invite.deleted", "deleted": True})


def _role(said: str) -> PersonRole:
    role = OTHER_NAMES.get(said, said)
    for known in PERSON_ROLES:
        if role == known:
            return known
    raise InvalidRequest(f"Invalid value for 'role': it is {', '.join(PERSON_ROLES)}.", param="role")


def _check_giving(actor: Actor, *roles: Role) -> None:
    """Raises NotAllowed where the actor gives or takes a role that is above his own."""
    if actor.role is None or not all(may_give(actor.role, role) for role in roles):
        raise NotAllowed("Only an owner makes, changes or removes owners.")


def _user(one: Person) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": "organization.user",
        "name": one.name,
        "email": one.email,
        "role": one.role,
        "added_at": seconds(one.added),
        "is_service_account": False,
        "user": {"id": one.id, "object": "user", "email": one.email, "name": one.name, "enabled": one.deactivated is None},
    }


def _invite(one: Invite, now: Moment) -> dict[str, Any]:
    status = "accepted" if one.accepted is not None else "expired" if one.expires <= now else "pending"
    return {
        "id": one.id,
        "object": "organization.invite",
        "email": one.email,
        "role": one.role,
        "status": status,
        "created_at": seconds(one.created),
        "expires_at": seconds(one.expires),
        "accepted_at": seconds(one.accepted),
        "projects": [{"id": project, "role": role} for project, role in one.projects],
    }
