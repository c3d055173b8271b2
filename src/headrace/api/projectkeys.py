"""Keys in OpenAI's shape: service accounts with theirs, the keys of a project, and keys that administer. A secret is told once.

Beyond OpenAI's own, a person or a key may make a key in a project (`POST …/api_keys`), which is theirs and goes when they do; who has no
right to all keys changes and deletes only those of his own.
"""

from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk, json, seconds
from headrace.api.gate import Actor, Gate, guarded
from headrace.api.listing import page_of
from headrace.api.projects import Name
from headrace.api.reading import read
from headrace.api.rights import PROJECT
from headrace.core.errors import InvalidRequest, NotAllowed
from headrace.core.roles import ProjectRole, Role, may, may_give
from headrace.metering import KeyRow
from headrace.storage import Act, Person, Register, ServiceAccount

Seconds = Annotated[int, msgspec.Meta(ge=1, le=100 * 366 * 86_400)]
KEY_NAME = "Secret Key"
ACCOUNT, KEY = f"{PROJECT}/service_accounts/{{account}}", f"{PROJECT}/api_keys/{{key}}"
ADMIN = "/v1/organization/admin_api_keys"


class _NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    create_service_account_only: bool | None = None
    expires_in_seconds: Seconds | None = None


class _Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | None = None
    role: ProjectRole | None = None


class _NewKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | None = None
    expires_in_seconds: Seconds | None = None
    scopes: tuple[str, ...] | None = None


class _NewAdminKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    expires_in_seconds: Seconds | None = None
    role: Role | None = None


_new_accounts, _accounts = msgspec.json.Decoder(_NewAccount), msgspec.json.Decoder(_Account)
_new_keys, _new_admin_keys = msgspec.json.Decoder(_NewKey), msgspec.json.Decoder(_NewAdminKey)


class ProjectKeys:
    """The handlers."""

    def __init__(self, *, gate: Gate, desk: Desk) -> None:
        self._gate, self._desk = gate, desk

    def routes(self) -> list[Route]:
        return guarded(
            self._gate,
            {
                ("GET", f"{PROJECT}/service_accounts"): self.accounts,
                ("POST", f"{PROJECT}/service_accounts"): self.create_account,
                ("GET", ACCOUNT): self.account,
                ("POST", ACCOUNT): self.change_account,
                ("DELETE", ACCOUNT): self.delete_account,
                ("POST", f"{ACCOUNT}/api_keys"): self.create_account_key,
                ("GET", f"{PROJECT}/api_keys"): self.keys,
                ("POST", f"{PROJECT}/api_keys"): self.create_key,
                ("GET", KEY): self.key,
                ("POST", KEY): self.change_key,
                ("DELETE", KEY): self.delete_key,
                ("GET", ADMIN): self.admin_keys,
                ("POST", ADMIN): self.create_admin_key,
                ("GET", f"{ADMIN}/{{key}}"): self.admin_key,
                ("DELETE", f"{ADMIN}/{{key}}"): self.delete_admin_key,
            },
        )

    # Service accounts.

    async def accounts(self, request: Request, actor: Actor) -> Response:
        """GET …/service_accounts"""
        found = await self._desk.on(actor, lambda register: register.service_accounts(request.path_params["project"]))
        return json(page_of([_account(one) for one in found], request.query_params, newest_first=False))

    async def create_account(self, request: Request, actor: Actor) -> Response:
        """POST …/service_accounts"""
        asked, act = await read(_new_accounts, request), self._desk.act(actor)
        one = ServiceAccount(
            id=self._desk.new_id("user_"), project=request.path_params["project"], name=asked.name, role="member", created=act.moment
        )
        await self._desk.on(actor, lambda register: register.create_service_account(one, act))
        if asked.create_service_account_only:
            return json(_account(one) | {"api_key": None})
        row, secret = await self._made(actor, one.project, KEY_NAME, owner=one.id, expires_in_s=asked.expires_in_seconds)
        return json(_account(one) | {"api_key": _account_key(row, secret)})

    async def account(self, request: Request, actor: Actor) -> Response:
        """GET …/service_accounts/{account}"""
        project, account = request.path_params["project"], request.path_params["account"]
        return json(_account(await self._desk.on(actor, lambda register: register.service_account(project, account))))

    async def change_account(self, request: Request, actor: Actor) -> Response:
        """POST …/service_accounts/{account}"""
        asked, act = await read(_accounts, request), self._desk.act(actor)
        project, account = request.path_params["project"], request.path_params["account"]
        changed = await self._desk.on(
            actor, lambda register: register.change_service_account(project, account, asked.name, asked.role, act)
        )
        return json(_account(changed))

    async def delete_account(self, request: Request, actor: Actor) -> Response:
        """DELETE …/service_accounts/{account}"""
        project, account, act = request.path_params["project"], request.path_params["account"], self._desk.act(actor)
        await self._desk.on(actor, lambda register: register.delete_service_account(project, account, act))
        return json({"id": account, "object": "organization.project.service_account.deleted", "deleted": True})

    async def create_account_key(self, request: Request, actor: Actor) -> Response:
        """POST …/service_accounts/{account}/api_keys"""
        asked, project, account = await read(_new_keys, request), request.path_params["project"], request.path_params["account"]
        _no_scopes(asked.scopes)
        await self._desk.on(actor, lambda register: register.service_account(project, account))
        row, secret = await self._made(actor, project, asked.name or KEY_NAME, owner=account, expires_in_s=asked.expires_in_seconds)
        return json(_account_key(row, secret))

    # The keys of a project.

    async def keys(self, request: Request, actor: Actor) -> Response:
        """GET …/api_keys"""
        project = request.path_params["project"]
        told = await self._desk.on(actor, lambda register: [_key(one, register) for one in register.project_keys(project)])
        return json(page_of(told, request.query_params, newest_first=False))

    async def create_key(self, request: Request, actor: Actor) -> Response:
        """POST …/api_keys"""
        asked, project = await read(_new_keys, request), request.path_params["project"]
        _no_scopes(asked.scopes)
        await self._desk.on(actor, lambda register: register.project(project))
        owner = actor.person.id if actor.author.origin == "session" else actor.author.owner
        row, secret = await self._made(actor, project, asked.name or KEY_NAME, owner=owner, expires_in_s=asked.expires_in_seconds)
        return json(await self._desk.on(actor, lambda register: _key(row, register)) | {"value": secret})

    async def key(self, request: Request, actor: Actor) -> Response:
        """GET …/api_keys/{key}"""
        project, key = request.path_params["project"], request.path_params["key"]
        return json(await self._desk.on(actor, lambda register: _key(register.project_key(project, key), register)))

    async def change_key(self, request: Request, actor: Actor) -> Response:
        """POST …/api_keys/{key}"""
        asked, project, key, act = (
            await read(_new_keys, request),
            request.path_params["project"],
            request.path_params["key"],
            self._desk.act(actor),
        )
        _no_scopes(asked.scopes)
        if asked.name is not None:
            raise InvalidRequest("A key keeps its name.", param="name")
        expires = self._desk.ends(asked.expires_in_seconds)

        def changed(register: Register) -> dict[str, Any]:
            row = register.project_key(project, key)
            _check_own(actor, row)
            if row.expires is not None and row.expires <= act.moment:
                raise InvalidRequest("This key has expired: make another one.")
            if expires is not None:
                row = register.keys.expire(key, expires, act) or row
            return _key(row, register)

        return json(await self._desk.on(actor, changed))

    async def delete_key(self, request: Request, actor: Actor) -> Response:
        """DELETE …/api_keys/{key}"""
        project, key, act = request.path_params["project"], request.path_params["key"], self._desk.act(actor)

        def deleted(register: Register) -> None:
            _check_own(actor, register.project_key(project, key))
            register.keys.revoke(key, act.moment, act)

        await self._desk.on(actor, deleted)
        return json({"id": key, "object": "organization.project.api_key.deleted", "deleted": True})

    # Keys that administer.

    async def admin_keys(self, request: Request, actor: Actor) -> Response:
        """GET …/admin_api_keys"""
        told = await self._desk.on(actor, lambda register: [_admin_key(one, register) for one in register.admin_keys()])
        return json(page_of(told, request.query_params, newest_first=False))

    async def create_admin_key(self, request: Request, actor: Actor) -> Response:
        """POST …/admin_api_keys"""
        asked = await read(_new_admin_keys, request)
        role = asked.role or actor.role
        if role is None or actor.role is None or not may_give(actor.role, role):
            raise NotAllowed("Nobody makes a key that may do more than he may.")
        owner = actor.person.id if actor.author.origin == "session" else actor.author.owner
        if role == "provisioner":  # a directory's, which shall see off also who made it
            owner = None
        row, secret = await self._made(actor, "", asked.name, owner=owner, expires_in_s=asked.expires_in_seconds, role=role)
        return json(await self._desk.on(actor, lambda register: _admin_key(row, register)) | {"value": secret})

    async def admin_key(self, request: Request, actor: Actor) -> Response:
        """GET …/admin_api_keys/{key}"""
        return json(await self._desk.on(actor, lambda register: _admin_key(register.admin_key(request.path_params["key"]), register)))

    async def delete_admin_key(self, request: Request, actor: Actor) -> Response:
        """DELETE …/admin_api_keys/{key}"""
        key, act = request.path_params["key"], self._desk.act(actor)

        def deleted(register: Register) -> None:
            register.admin_key(key)
            register.keys.revoke(key, act.moment, act)

        await self._desk.on(actor, deleted)
        return json({"id": key, "object": "organization.admin_api_key.deleted", "deleted": True})

    async def _made(
        self, actor: Actor, project: str, name: str, *, owner: str | None, expires_in_s: int | None, role: Role | None = None
    ) -> tuple[KeyRow, str]:
        act: Act = self._desk.act(actor)
        id, token, expires = self._desk.new_id("key_"), self._desk.new_token(), self._desk.ends(expires_in_s)
        return await self._desk.on(
            actor,
            lambda register: register.keys.create(
                id=id,
                name=name,
                organization=actor.organization,
                project=project,
                token=token,
                created=act.moment,
                expires=expires,
                owner=owner,
                role=role,
                act=act,
            ),
        )


def _no_scopes(scopes: tuple[str, ...] | None) -> None:
    if scopes:
        raise InvalidRequest("Scopes are not kept here: mint a key that may do less from it, with POST /v1/keys.", param="scopes")


def _check_own(actor: Actor, row: KeyRow) -> None:
    """Raises NotAllowed for another's key, where the actor has no right to all of them."""
    if actor.role is not None and may(actor.role, "keys", actor.in_project):
        return
    if row.owner != actor.person.id:
        raise NotAllowed("This key is another's.")


def _account(one: ServiceAccount) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": "organization.project.service_account",
        "name": one.name,
        "role": one.role,
        "created_at": seconds(one.created),
    }


def _account_key(row: KeyRow, secret: str) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "organization.project.service_account.api_key",
        "name": row.name,
        "value": secret,
        "created_at": seconds(row.created),
        "expires_at": seconds(row.expires),
    }


def _key(row: KeyRow, register: Register) -> dict[str, Any]:
    return {
        "id": row.id,
        "object": "organization.project.api_key",
        "name": row.name,
        "redacted_value": row.shown,
        "created_at": seconds(row.created),
        "expires_at": seconds(row.expires),
        "owner": _owner(row, register),
        "owner_project_access": "active",
    }


def _owner(row: KeyRow, register: Register) -> dict[str, Any]:
    """Whose it is. A key that was made at the command line, or minted, stands for itself, as a service account of its name."""
    owner = register.owner(row.project, row.owner)
    if isinstance(owner, Person):
        user = {"id": owner.id, "email": owner.email, "name": owner.name, "role": owner.role, "created_at": seconds(owner.added)}
        return {"type": "user", "user": user}
    account = (row.id, row.name, row.created, "member") if owner is None else (owner.id, owner.name, owner.created, owner.role)
    id, name, created, role = account
    return {"type": "service_account", "service_account": {"id": id, "name": name, "created_at": seconds(created), "role": role}}


def _admin_key(row: KeyRow, register: Register) -> dict[str, Any]:
    owner = register.owner("", row.owner)
    whose = {"type": "user", "object": "organization.user", "id": row.owner or row.id, "name": row.name, "created_at": seconds(row.created)}
    if isinstance(owner, Person):
        whose |= {"name": owner.name, "created_at": seconds(owner.added)}
    return {
        "id": row.id,
        "object": "organization.admin_api_key",
        "name": row.name,
        "redacted_value": row.shown,
        "created_at": seconds(row.created),
        "expires_at": seconds(row.expires),
        "last_used_at": None,
        "owner": whose | {"role": row.role},
    }
