"""Which models a project may ask for: OpenAI's `model_permissions`, and the same of a whole organisation, which is ours."""

from collections.abc import Callable, Collection
from typing import Annotated, Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk, json
from headrace.api.gate import Actor, Gate, Guarded, guarded
from headrace.api.reading import read
from headrace.api.rights import PROJECT
from headrace.core.errors import InvalidRequest, NotFound
from headrace.storage import ModelPermission

MODELS_MAX, MODEL_SIZE_MAX = 1_000, 256
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=MODEL_SIZE_MAX)]


class _Permission(msgspec.Struct, frozen=True, kw_only=True):
    mode: Literal["allow_list", "deny_list"]
    model_ids: Annotated[tuple[Model, ...], msgspec.Meta(max_length=MODELS_MAX)]


_permissions = msgspec.json.Decoder(_Permission)


class Permissions:
    """The handlers. `models` are those that there are: a name that is none of them would allow or deny nothing."""

    def __init__(self, *, gate: Gate, desk: Desk, models: Callable[[], Collection[str]]) -> None:
        self._gate, self._desk, self._models = gate, desk, models

    def routes(self) -> list[Route]:
        handlers: dict[tuple[str, str], Guarded] = {}
        for root in ("/v1/organization", PROJECT):
            handlers |= {
                ("GET", f"{root}/model_permissions"): self.retrieve,
                ("POST", f"{root}/model_permissions"): self.update,
                ("DELETE", f"{root}/model_permissions"): self.delete,
            }
        return guarded(self._gate, handlers)

    async def retrieve(self, request: Request, actor: Actor) -> Response:
        """GET …/model_permissions"""
        project = request.path_params.get("project")
        found = await self._desk.on(actor, lambda register: register.model_permission(project))
        if found is None:
            raise NotFound("Model permissions of", project or actor.organization)
        return json(_told(project, found))

    async def update(self, request: Request, actor: Actor) -> Response:
        """POST …/model_permissions"""
        asked, project, act = await read(_permissions, request), request.path_params.get("project"), self._desk.act(actor)
        if unknown := [name for name in asked.model_ids if name not in self._models()]:
            raise InvalidRequest(f"There is no model {unknown[0]!r}: see GET /v1/models.", param="model_ids")
        made = ModelPermission(mode=asked.mode, models=tuple(dict.fromkeys(asked.model_ids)))
        await self._desk.on(actor, lambda register: register.set_model_permission(project, made, act))
        return json(_told(project, made))

    async def delete(self, request: Request, actor: Actor) -> Response:
        """DELETE …/model_permissions"""
        project, act = request.path_params.get("project"), self._desk.act(actor)
        gone = await self._desk.on(actor, lambda register: register.drop_model_permission(project, act))
        return json({"object": f"{_kind(project)}.deleted", "deleted": gone})


def _told(project: str | None, one: ModelPermission) -> dict[str, Any]:
    return {"object": _kind(project), "mode": one.mode, "model_ids": one.models}


def _kind(project: str | None) -> str:
    return "organization.model_permissions" if project is None else "project.model_permissions"
