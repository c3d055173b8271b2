"""SCIM 2.0 (RFC 7643, 7644): an identity provider's directory keeps the people and the groups of an organisation here.

It comes with a key that administers in the role of a `provisioner` and nothing else; without such a key nobody is let in. What it can't
do is told in SCIM's form. There are no bulk operations, no sorting and no passwords.
"""

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.asgi import bounded
from headrace.api.desk import Desk
from headrace.api.errors import status_of
from headrace.api.gate import Actor, Gate, Guarded, guarded
from headrace.api.scim_kinds import KINDS, Kind
from headrace.core.errors import Conflict, HeadraceError, InvalidApiKey, InvalidRequest, MethodNotAllowed, NotFound
from headrace.core.unreadable import UNREADABLE
from headrace.storage import Register
from headrace.wire.scim import Resource, ScimRefused, read, schema
from headrace.wire.scim_filter import demanded, matches, named, parse_filter
from headrace.wire.scim_patch import patched

ROOT: Final = "/scim/v2"
MEDIA_TYPE: Final = "application/scim+json"
BODY_BYTES_MAX: Final = 8 * 1024 * 1024
COUNT, COUNT_MAX = 100, 1_000
"""How many resources a page has unasked, and at most."""
STATUS: Mapping[str, int] = {"uniqueness": 409, "tooMany": 413, "precondition": 412}
"""Where a word of SCIM's is not of a request that is wrong; a precondition has no word."""
ALWAYS = ("schemas", "id")
THERE = ("ServiceProviderConfig", "ResourceTypes", "Schemas", *(kind.path for kind in KINDS))
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Scim:
    """The handlers."""

    def __init__(self, *, gate: Gate, desk: Desk) -> None:
        self._gate, self._desk = gate, desk

    def routes(self) -> list[Route]:
        handlers: dict[tuple[str, str], Guarded] = {
            ("GET", f"{ROOT}/ServiceProviderConfig"): self.config,
            ("GET", f"{ROOT}/ResourceTypes"): self.types,
            ("GET", f"{ROOT}/ResourceTypes/{{type}}"): self.type,
            ("GET", f"{ROOT}/Schemas"): self.schemas,
            ("GET", f"{ROOT}/Schemas/{{schema}}"): self.schema,
        }
        for kind in KINDS:
            all, one = f"{ROOT}/{kind.path}", f"{ROOT}/{kind.path}/{{id}}"
            handlers |= {
                ("GET", all): functools.partial(self.resources, kind),
                ("POST", all): functools.partial(self.create, kind),
                ("POST", f"{all}/.search"): functools.partial(self.search, (kind,)),
                ("GET", one): functools.partial(self.resource, kind),
                ("PUT", one): functools.partial(self.replace, kind),
                ("PATCH", one): functools.partial(self.patch, kind),
                ("DELETE", one): functools.partial(self.remove, kind),
            }
        handlers["POST", f"{ROOT}/.search"] = functools.partial(self.search, KINDS)
        handlers |= {(method, f"{ROOT}/{{rest:path}}"): self.nothing for method in METHODS}
        return [_in_scims_form(route) for route in guarded(self._gate, handlers)]

    # What there is.

    async def config(self, request: Request, actor: Actor) -> Response:
        """GET /scim/v2/ServiceProviderConfig"""
        return _json(_config(_root(request)))

    async def types(self, request: Request, actor: Actor) -> Response:
        """GET /scim/v2/ResourceTypes"""
        return _json(_list([_type(kind, _root(request)) for kind in KINDS]))

    async def type(self, request: Request, actor: Actor) -> Response:
        """GET /scim/v2/ResourceTypes/{type}"""
        return _json(_one([_type(kind, _root(request)) for kind in KINDS], "Resource type", request.path_params["type"]))

    async def schemas(self, request: Request, actor: Actor) -> Response:
        """GET /scim/v2/Schemas"""
        return _json(_list([_schema(kind, _root(request)) for kind in KINDS]))

    async def schema(self, request: Request, actor: Actor) -> Response:
        """GET /scim/v2/Schemas/{schema}"""
        return _json(_one([_schema(kind, _root(request)) for kind in KINDS], "Schema", request.path_params["schema"]))

    async def nothing(self, request: Request, actor: Actor) -> Response:
        """Whatever else is asked."""
        rest = request.path_params["rest"]
        if rest.partition("/")[0] in THERE:
            raise MethodNotAllowed(f"{request.method} is not for {rest}.")
        raise NotFound("Resource", rest)

    # Users and groups.

    async def resources(self, kind: Kind, request: Request, actor: Actor) -> Response:
        """GET /scim/v2/Users or Groups"""
        return await self._page((kind,), request.query_params, _root(request), actor)

    async def search(self, kinds: Sequence[Kind], request: Request, actor: Actor) -> Response:
        """POST /scim/v2/.search, or below Users or Groups: the same, asked by a body."""
        body = await _body(request)
        said = body if isinstance(body, dict) else {}
        query = {name: ",".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in said.items()}
        return await self._page(kinds, query, _root(request), actor)

    async def _page(self, kinds: Sequence[Kind], query: Mapping[str, str], root: str, actor: Actor) -> Response:
        asked = parse_filter(query["filter"]) if query.get("filter") else None
        start, count = max(1, _number(query, "startIndex", 1)), min(max(0, _number(query, "count", COUNT)), COUNT_MAX)
        known = {} if asked is None else demanded(asked)

        def page(register: Register) -> tuple[int, list[Resource]]:
            found: list[tuple[Kind, Resource]] = []
            for kind in kinds:
                whole = asked is not None and kind.costly in named(asked)
                seen = kind.seen(register, known, root, whole=whole)
                found += [(kind, one) for one in seen if asked is None or matches(asked, one)]
            shown = found[start - 1 : start - 1 + count]
            return len(found), [each for kind, one in shown for each in _filled(kind, register, one, query, root)]

        total, shown = await self._desk.on(actor, page)
        return _json(_list([_projected(one, query) for one in shown], total=total, start=start))

    async def create(self, kind: Kind, request: Request, actor: Actor) -> Response:
        """POST /scim/v2/Users or Groups"""
        said, act, root = read(await _body(request), kind.attributes), self._desk.act(actor), _root(request)
        id = self._desk.new_id(f"{kind.name.lower()}_")

        def made(register: Register) -> Resource:
            return _seen(kind, register, kind.create(register, said, id, act), root)

        told = await self._desk.on(actor, made)
        return _told(told, request, status=201, location=told["meta"]["location"])

    async def resource(self, kind: Kind, request: Request, actor: Actor) -> Response:
        """GET /scim/v2/Users/{id} or Groups/{id}"""
        id, root = request.path_params["id"], _root(request)
        told = await self._desk.on(actor, lambda register: _seen(kind, register, id, root))
        if _named_in(request, "if-none-match", told["meta"]["version"]):
            return Response(status_code=304, headers={"etag": told["meta"]["version"]})
        return _told(told, request)

    async def replace(self, kind: Kind, request: Request, actor: Actor) -> Response:
        """PUT /scim/v2/Users/{id} or Groups/{id}"""
        said = read(await _body(request), kind.attributes)
        return _told(await self._changed(kind, request, actor, lambda _: said), request)

    async def patch(self, kind: Kind, request: Request, actor: Actor) -> Response:
        """PATCH /scim/v2/Users/{id} or Groups/{id}"""
        body = await _body(request)
        told = await self._changed(kind, request, actor, lambda before: patched(before, body, kind.attributes))
        return _told(told, request)

    async def remove(self, kind: Kind, request: Request, actor: Actor) -> Response:
        """DELETE /scim/v2/Users/{id} or Groups/{id}"""
        id, act = request.path_params["id"], self._desk.act(actor)
        await self._desk.on(actor, lambda register: kind.remove(register, id, act))
        return Response(status_code=204)

    async def _changed(self, kind: Kind, request: Request, actor: Actor, edit: Callable[[Resource], Resource]) -> Resource:
        """What has become of a resource, where it is still the version that the request knows."""
        id, act, root = request.path_params["id"], self._desk.act(actor), _root(request)

        def edited(before: Resource) -> Resource:
            if "if-match" in request.headers and not _named_in(request, "if-match", before["meta"]["version"]):
                raise ScimRefused("precondition", "The resource is another version by now: read it again.")
            return edit(before)

        def changed(register: Register) -> Resource:
            return _seen(kind, register, kind.change(register, id, edited, act, root), root)

        return await self._desk.on(actor, changed)


def _seen(kind: Kind, register: Register, id: str, root: str) -> Resource:
    for one in kind.seen(register, {"id": id}, root, whole=True):
        return one
    raise NotFound(kind.name, id)


def _filled(kind: Kind, register: Register, one: Resource, query: Mapping[str, str], root: str) -> list[Resource]:
    """The same with what it costs a query to know, where that is wanted; nothing where it went meanwhile."""
    return kind.seen(register, {"id": one["id"]}, root, whole=True) if _wanted(query, kind.costly) else [one]


def _in_scims_form(route: Route) -> Route:
    """The same route, whose refusals are told in SCIM's form."""
    handle: Callable[[Request], Awaitable[Response]] = route.endpoint

    async def handled(request: Request) -> Response:
        try:
            return await handle(request)
        except ScimRefused as refused:
            status = STATUS.get(refused.kind, 400)
            return _refused(status, refused.detail, None if status in (412, 413) else refused.kind)
        except Conflict as refused:
            return _refused(409, refused.message, "uniqueness")
        except InvalidRequest as refused:
            return _refused(status_of(refused), refused.message, "invalidValue")
        except HeadraceError as refused:
            answer = _refused(status_of(refused), refused.message, None)
            if isinstance(refused, InvalidApiKey):
                answer.headers["www-authenticate"] = "Bearer"
            if refused.retry_after_ms is not None:
                answer.headers["retry-after"] = str(-(-refused.retry_after_ms // 1_000))
            return answer

    return Route(route.path, handled, methods=sorted((route.methods or set()) - {"HEAD"}))


def _refused(status: int, detail: str, kind: str | None) -> Response:
    told: Resource = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"], "status": str(status), "detail": detail}
    return _json(told if kind is None else told | {"scimType": kind}, status)


async def _body(request: Request) -> object:
    content = await bounded(request, BODY_BYTES_MAX, "what this route reads").body()
    try:
        return msgspec.json.decode(content)
    except UNREADABLE as wrong:
        raise ScimRefused("invalidSyntax", f"The body is no JSON: {wrong}.") from None


def _root(request: Request) -> str:
    return f"{str(request.base_url).rstrip('/')}{ROOT}"


def _number(query: Mapping[str, str], name: str, otherwise: int) -> int:
    text = query.get(name) or str(otherwise)
    if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 10):
        raise ScimRefused("invalidValue", f"{name} is a number.")
    return int(text)


def _named_in(request: Request, header: str, version: str) -> bool:
    """Whether a header names this version, or any."""
    versions = [one.strip() for one in request.headers.get(header, "").split(",")]
    return "*" in versions or version in versions or version.removeprefix("W/") in versions


def _wanted(query: Mapping[str, str], name: str) -> bool:
    """Whether an attribute is to be told."""
    if wanted := _names(query, "attributes"):
        return name.lower() in wanted
    return name.lower() not in _names(query, "excludedAttributes")


def _names(query: Mapping[str, str], parameter: str) -> frozenset[str]:
    return frozenset(
        name.strip().rpartition(":")[2].partition(".")[0].lower() for name in query.get(parameter, "").split(",") if name.strip()
    )


def _projected(one: Resource, query: Mapping[str, str]) -> Resource:
    return {name: value for name, value in one.items() if name in ALWAYS or _wanted(query, name)}


def _told(one: Resource, request: Request, *, status: int = 200, location: str | None = None) -> Response:
    answer = _json(_projected(one, request.query_params), status)
    answer.headers["etag"] = one["meta"]["version"]
    if location is not None:
        answer.headers["location"] = location
    return answer


def _json(value: Mapping[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=MEDIA_TYPE)


def _list(resources: list[Resource], *, total: int | None = None, start: int = 1) -> Resource:
    return {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": len(resources) if total is None else total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }


def _one(resources: list[Resource], what: str, id: str) -> Resource:
    for one in resources:
        if one["id"] == id:
            return one
    raise NotFound(what, id)


def _type(kind: Kind, root: str) -> Resource:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": kind.name,
        "name": kind.name,
        "endpoint": f"/{kind.path}",
        "schema": kind.schema,
        "meta": {"resourceType": "ResourceType", "location": f"{root}/ResourceTypes/{kind.name}"},
    }


def _schema(kind: Kind, root: str) -> Resource:
    told = schema(kind.schema, kind.name, f"A {kind.name.lower()} of the organisation.", kind.attributes)
    return told | {"meta": {"resourceType": "Schema", "location": f"{root}/Schemas/{kind.schema}"}}


def _config(root: str) -> Resource:
    no = {"supported": False}
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": True},
        "bulk": {**no, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": COUNT_MAX},
        "changePassword": no,
        "sort": no,
        "etag": {"supported": True},
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A key that administers, in the role of a provisioner.",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{root}/ServiceProviderConfig"},
    }
