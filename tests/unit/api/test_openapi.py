"""Our own OpenAPI document: every route is in it, and nothing that is not there."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jsonschema import Draft202012Validator
from starlette.routing import Route

import headrace
from headrace.api import HOT_PATHS, Batches, Conversations, Files, MessageBatches, Money, Responses
from headrace.api.openapi import document, page, paths_of
from headrace.api.quotes import Quotes
from tests.administration import administrative_routes


def message_batches(batches: Batches) -> MessageBatches:
    nothing: Any = None
    return MessageBatches(asgi=nothing, archive=nothing, clock=nothing, batches=batches, settings=nothing, authenticate=nothing)


def served() -> set[tuple[str, str]]:
    """Method and path of each route under /v1."""
    nothing: Any = SimpleNamespace(gateway=None, clock=None, archive=None, files=None)
    batches = Batches(
        asgi=nothing,
        archive=nothing,
        runner="",
        clock=nothing,
        blobs=nothing,
        lines=nothing,
        settings=nothing,
        quota=0,
        spawn=nothing,
        log=nothing,
    )
    routes = [
        *Responses(nothing, nothing, nothing).routes(),
        *Conversations(nothing, nothing, nothing).routes(),
        *Files(nothing, nothing, nothing, nothing, nothing).routes(),
        *batches.routes(),
        *message_batches(batches).routes(),
        *Quotes(asgi=nothing, foreign=nothing, keeper=nothing, settings=nothing).routes(),
        *Money(keys=nothing, clock=nothing, mint=nothing, prolong=nothing, revoke=nothing).routes(),
        *(route for route in administrative_routes() if route.path.startswith("/v1/")),
    ]
    found = {(method, route.path) for route in routes if isinstance(route, Route) for method in route.methods or () if method != "HEAD"}
    return found | {("POST", path) for path in HOT_PATHS} | {("GET", "/v1/models"), ("GET", "/v1/models/{model}")}


def test_it_tells_every_route_and_no_other() -> None:
    assert paths_of() == served()


UNTOLD = {
    "/healthz": "whoever watches over processes asks it",
    "/readyz": "the same",
    "/metrics": "Prometheus's, in its own form",
    "/openapi.json": "it is the document",
    "/docs": "it is the document, to read",
    "/auth/": "browsers go there when somebody signs in",
    "/admin/": "for who operates this server; it is in the reference, and may change",
    "/workspace/": "the page's own, and may change with it",
    "/a2a": "A2A says what it is, in its card",
    "/.well-known/": "the card",
    "/scim/": "SCIM tells its own schemas",
    "/hooks/": "webhooks, in their senders' forms",
    "/assets/": "the page",
    "/{name:str}.svg": "the page",
}
"""Where routes begin that the document does not tell, and why."""
ROUTE = re.compile(r'(?:Route|\bMount)\(\s*f?"(/[^"]*)"|\("(?:GET|POST|PUT|PATCH|DELETE)", "(/[^"]*)"\)')


def nameless(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_no_route_is_written_anywhere_that_it_does_not_tell() -> None:
    told = {nameless(path) for _, path in paths_of()}
    sources = sorted(Path(headrace.__file__).parent.rglob("*.py"))
    written = {one or other for source in sources for one, other in ROUTE.findall(source.read_text(encoding="utf-8"))}
    assert {"/v1/quotes", "/v1/keys", "/v1/organization/projects", "/healthz", "/auth/me"} <= written
    assert [path for path in written if nameless(path) not in told and path != "/" and not path.startswith(tuple(UNTOLD))] == []


def references(told: Any) -> set[str]:
    if isinstance(told, dict):
        own = {str(told["$ref"])} if "$ref" in told else set()
        return own.union(*(references(one) for one in told.values()))
    return set().union(*(references(one) for one in told)) if isinstance(told, list) else set()


def test_it_is_whole() -> None:
    told = document("1.2.3")
    assert (told["openapi"], told["info"]["version"]) == ("3.1.0", "1.2.3")
    schemas = told["components"]["schemas"]
    assert {one.removeprefix("#/components/schemas/") for one in references(told)} <= schemas.keys()
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    ids = [one["operationId"] for methods in told["paths"].values() for one in methods.values()]
    assert len(ids) == len(set(ids))
    for path, methods in told["paths"].items():
        for one in methods.values():
            assert {part["name"] for part in one["parameters"] if part["in"] == "path"} == {
                part[1:-1] for part in path.split("/") if part[:1] == "{"
            }


def test_it_can_be_read() -> None:
    read = page(document("1"))
    assert "POST /v1/responses" in read
    assert "<script" not in read
    assert "http:" not in read
