"""The page itself: its files, under a policy by which the browser runs nothing and asks nobody but what comes from here."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.core.errors import RouteNotFound
from headrace.web import Asset, assets

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types headrace svelte-trusted-html dompurify"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
UNBUILT: Final = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>headrace</title><h1>The page was not built</h1>"
    b"<p>The API is here all the same, under /v1. To build the page, install Node.js 18.18 or newer with npm, run "
    b"<code>make page</code> in the sources, and start the server again. Wheels bring the page along.</p>"
)


def page_routes() -> list[Route]:
    """The page at `/`, and its files."""
    return [Route("/", _index), Route("/assets/{name}", _asset), Route("/{name:str}.svg", _icon)]


async def _index(request: Request) -> Response:
    """GET /: the page; a word on how to build it where it was not."""
    found = assets().get("index.html")
    return Response(UNBUILT, media_type="text/html", headers=HEADERS) if found is None else _answer(request, found)


async def _asset(request: Request) -> Response:
    """GET /assets/{name}"""
    return _found(request, f"assets/{request.path_params['name']}")


async def _icon(request: Request) -> Response:
    """GET /{name}.svg"""
    return _found(request, f"{request.path_params['name']}.svg")


def _found(request: Request, path: str) -> Response:
    found = assets().get(path)
    if found is None:
        raise RouteNotFound(f"Invalid URL ({request.method} {request.url.path}). The page has no such file.")
    return _answer(request, found)


def _answer(request: Request, asset: Asset) -> Response:
    headers: Mapping[str, str] = {
        **HEADERS,
        "etag": f'"{asset.tag}"',
        "cache-control": "public, max-age=31536000, immutable" if asset.lasting else "no-cache",
        "vary": "accept-encoding",
    }
    if request.headers.get("if-none-match") == f'"{asset.tag}"':
        return Response(status_code=304, headers=dict(headers))
    if asset.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, media_type=asset.kind, headers={**headers, "content-encoding": "gzip"})
    return Response(asset.content, media_type=asset.kind, headers=dict(headers))
