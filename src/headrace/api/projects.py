"""Projects in OpenAI's shape: who has a part in one, and what all its keys together may ask of a model."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk, json, seconds
from headrace.api.gate import Actor, Gate, guarded
from headrace.api.listing import page_of
from headrace.api.reading import read
from headrace.api.rights import PROJECT
from headrace.core.errors import Conflict, InvalidRequest, ModelNotFound, NotFound
from headrace.core.roles import ProjectRole
from headrace.storage import Project, ProjectLimit, ProjectPerson, Register

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
UNLIMITED = 2**53
"""What is shown as a limit where there is none."""
LIMIT_ID = "rl-"


class _Project(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | None = None
    geography: None = None
    residency: None = None
    external_key_id: None = None


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Literal["owner", "member"]
    user_id: str | None = None
    email: str | None = None


class _Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    max_requests_per_1_minute: Amount | None = None
    max_tokens_per_1_minute: Amount | None = None
    max_requests_per_1_day: Amount | None = None


_projects, _parts, _limits = msgspec.json.Decoder(_Project), msgspec.json.Decoder(_Part), msgspec.json.Decoder(_Limit)


class Projects:
    """The handlers. `models` names what can be asked, `by_default` says a key's limits on requests and tokens where nothing is set, and
    `limits_changed` has this worker take on what was set."""

    def __init__(
        self,
        *,
        gate: Gate,
        desk: Desk,
        models: Callable[[], Mapping[str, object]],
        by_default: Callable[[], tuple[int, int]],
        limits_changed: Callable[[], None],
    ) -> None:
        self._gate, self._desk, self._models, self._by_default, self._limits_changed = gate, desk, models, by_default, limits_changed

    def routes(self) -> list[Route]:
        return guarded(
            self._gate,
            {
                ("GET", "/v1/organization/projects"): self.projects,
                ("POST", "/v1/organization/projects"): self.create,
                ("GET", PROJECT): self.project,
                ("POST", PROJECT): self.rename,
                ("POST", f"{PROJECT}/archive"): self.archive,
                ("GET", f"{PROJECT}/users"): self.people,
                ("POST", f"{PROJECT}/users"): self.place,
                ("GET", f"{PROJECT}/users/{{user}}"): self.person,
                ("POST", f"{PROJECT}/users/{{user}}"): self.change_part,
                ("DELETE", f"{PROJECT}/users/{{user}}"): self.displace,
                ("GET", f"{PROJECT}/rate_limits"): self.limits,
                ("POST", f"{PROJECT}/rate_limits/{{limit}}"): self.set_limit,
                ("DELETE", f"{PROJECT}/rate_limits/{{limit}}"): self.drop_limit,
            },
        )

    async def projects(self, request: Request, actor: Actor) -> Response:
        """GET …/projects"""
        archived = request.query_params.get("include_archived") == "true"
        found = await self._desk.on(actor, lambda register: register.projects(archived=archived))
        seen = [one for one in found if actor.only is None or one.id in actor.only]
        return json(page_of([_project(one) for one in seen], request.query_params, newest_first=False))

    async def create(self, request: Request, actor: Actor) -> Response:
        """POST …/projects"""
        name, id, act = await self._named(request), self._desk.new_id("proj_"), self._desk.act(actor)
        return json(_project(await self._desk.on(actor, lambda register: register.create_project(id, name, act))))

    async def project(self, request: Request, actor: Actor) -> Response:
        """GET …/projects/{project}"""
        return json(_project(await self._desk.on(actor, lambda register: register.project(request.path_params["project"]))))

    async def rename(self, request: Request, actor: Actor) -> Response:
        """POST …/projects/{project}"""
        name, act = await self._named(request), self._desk.act(actor)
        return json(
            _project(await self._desk.on(actor, lambda register: register.rename_project(request.path_params["project"], name, act)))
        )

    async def archive(self, request: Request, actor: Actor) -> Response:
        """POST …/projects/{project}/archive"""
        act = self._desk.act(actor)
        if actor.project == request.path_params["project"]:
            raise Conflict("The key that asks is of this project and would end with it, for good: ask with another one.")
        return json(_project(await self._desk.on(actor, lambda register: register.archive_project(request.path_params["project"], act))))

    async def _named(self, request: Request) -> str:
        name = (await read(_projects, request)).name
        if name is None or not name.isprintable():
            raise InvalidRequest("A project's name has 1 to 128 printable letters.", param="name")
        return name

    # Who has a part.

    async def people(self, request: Request, actor: Actor) -> Response:
        """GET …/projects/{project}/users"""
        found = await self._desk.on(actor, lambda register: register.project_people(request.path_params["project"]))
        return json(page_of([_person(one) for one in found], request.query_params, newest_first=False))

    async def place(self, request: Request, actor: Actor) -> Response:
        """POST …/projects/{project}/users"""
        asked, project, act = await read(_parts, request), request.path_params["project"], self._desk.act(actor)
        if (asked.user_id is None) == (asked.email is None):
            raise InvalidRequest("Name the user by 'user_id' or by 'email'.", param="user_id")

        def placed(register: Register) -> ProjectPerson:
            found = register.person_of(asked.email) if asked.email is not None else register.person(asked.user_id or "")
            if found is None:
                raise NotFound("User", asked.email or "")
            return register.place_person(project, found.id, asked.role, act)

        return json(_person(await self._desk.on(actor, placed)))

    async def person(self, request: Request, actor: Actor) -> Response:
        """GET …/projects/{project}/users/{user}"""
        project, user = request.path_params["project"], request.path_params["user"]
        return json(_person(await self._desk.on(actor, lambda register: register.project_person(project, user))))

    async def change_part(self, request: Request, actor: Actor) -> Response:
        """POST …/projects/{project}/users/{user}"""
        role: ProjectRole = (await read(_parts, request)).role
        project, user, act = request.path_params["project"], request.path_params["user"], self._desk.act(actor)

        def changed(register: Register) -> ProjectPerson:
            register.project_person(project, user)
            return register.place_person(project, user, role, act)

        return json(_person(await self._desk.on(actor, changed)))

    async def displace(self, request: Request, actor: Actor) -> Response:
        """DELETE …/projects/{project}/users/{user}"""
        project, user, act = request.path_params["project"], request.path_params["user"], self._desk.act(actor)
        await self._desk.on(actor, lambda register: register.displace_person(project, user, act))
        return json({"id": user, "object": "organization.project.user.deleted", "deleted": True})

    # Limits.

    async def limits(self, request: Request, actor: Actor) -> Response:
        """GET …/projects/{project}/rate_limits"""
        project = request.path_params["project"]
        held = {one.model: one for one in await self._desk.on(actor, lambda register: register.limits(project))}
        models = sorted({*self._models(), *held})
        told = [
            self._limit(held.get(model) or ProjectLimit(organization=actor.organization, project=project, model=model)) for model in models
        ]
        return json(page_of(told, request.query_params, newest_first=False, limit=100))

    async def set_limit(self, request: Request, actor: Actor) -> Response:
        """POST …/projects/{project}/rate_limits/{limit}"""
        asked, project, model, act = (
            await read(_limits, request),
            request.path_params["project"],
            self._model(request),
            self._desk.act(actor),
        )
        said = {
            "requests_per_minute": asked.max_requests_per_1_minute,
            "tokens_per_minute": asked.max_tokens_per_1_minute,
            "requests_per_day": asked.max_requests_per_1_day,
        }
        given = {name: amount for name, amount in said.items() if amount is not None}
        if not given:
            raise InvalidRequest(f"Give at least one of {', '.join(_Limit.__struct_fields__)}.")

        def changed(register: Register) -> ProjectLimit:
            held = {one.model: one for one in register.limits(project)}
            before = held.get(model) or ProjectLimit(organization=actor.organization, project=project, model=model)
            after = msgspec.structs.replace(before, **given)
            register.set_limit(after, act)
            return after

        made = await self._desk.on(actor, changed)
        self._limits_changed()
        return json(self._limit(made))

    async def drop_limit(self, request: Request, actor: Actor) -> Response:
        """DELETE …/projects/{project}/rate_limits/{limit}"""
        project, model, act = request.path_params["project"], request.path_params["limit"].removeprefix(LIMIT_ID), self._desk.act(actor)
        if not await self._desk.on(actor, lambda register: register.drop_limit(project, model, act)):
            raise NotFound("Rate limit", request.path_params["limit"])
        self._limits_changed()
        return json({"id": request.path_params["limit"], "object": "project.rate_limit.deleted", "deleted": True})

    def _model(self, request: Request) -> str:
        id = request.path_params["limit"]
        model = str(id).removeprefix(LIMIT_ID)
        if model not in self._models():
            raise ModelNotFound(model)
        return model

    def _limit(self, one: ProjectLimit) -> dict[str, Any]:
        requests, tokens = self._by_default()
        told: dict[str, Any] = {
            "object": "project.rate_limit",
            "id": f"{LIMIT_ID}{one.model}",
            "model": one.model,
            "max_requests_per_1_minute": one.requests_per_minute or requests or UNLIMITED,
            "max_tokens_per_1_minute": one.tokens_per_minute or tokens or UNLIMITED,
        }
        return told if one.requests_per_day is None else told | {"max_requests_per_1_day": one.requests_per_day}


def _project(one: Project) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": "organization.project",
        "name": one.name,
        "created_at": seconds(one.created),
        "archived_at": seconds(one.archived),
        "status": "active" if one.archived is None else "archived",
    }


def _person(one: ProjectPerson) -> dict[str, Any]:
    return {
        "id": one.id,
        "object": "organization.project.user",
        "name": one.name,
        "email": one.email,
        "role": one.role,
        "added_at": seconds(one.added),
    }
