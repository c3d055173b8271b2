"""The cold routes, on Starlette: models, health, metrics, and a clear answer to everything that is not there."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.door import Keys, authenticate
from headrace.api.errors import answer_for
from headrace.core.errors import HeadraceError, InternalFailure, MethodNotAllowed, ModelNotFound, NotReady, RouteNotFound
from headrace.portfolio import ModelProfile, Snapshot

HOT_PATHS = ("/v1/chat/completions", "/v1/embeddings")


def cold_app(
    *,
    snapshot: Callable[[], Snapshot],
    keys: Keys,
    unready: Callable[[], str | None],
    metrics: Callable[[], bytes],
    metrics_type: str,
    new_id: Callable[[str], str],
) -> Starlette:
    """`unready` says why requests can't be served yet, or None; `metrics` is the text that Prometheus scrapes."""

    async def list_models(request: Request) -> Response:
        _authenticated(request, keys)
        return _json({"object": "list", "data": [_model(profile) for profile in snapshot().models.values()]})

    async def show_model(request: Request) -> Response:
        _authenticated(request, keys)
        name = request.path_params["name"]
        profile = snapshot().models.get(name)
        if profile is None:
            raise ModelNotFound(name)
        return _json(_model(profile))

    async def healthz(request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(request: Request) -> Response:
        if why := unready():
            raise NotReady(why, retry_after_ms=1_000)
        return _json({"status": "ready"})

    async def scrape(request: Request) -> Response:
        return Response(metrics(), media_type=None, headers={"content-type": metrics_type})

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HeadraceError)
        return _answer(request, error)

    async def unknown(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        asked = f"{request.method} {request.url.path}"
        if error.status_code == 405:
            allowed = (error.headers or {}).get("Allow", "")
            return _answer(request, MethodNotAllowed(f"Not allowed: {asked}. Allowed here: {allowed}."), {"allow": allowed})
        return _answer(request, RouteNotFound(f"Invalid URL ({asked}). The API is under /v1."))

    async def failed(request: Request, error: Exception) -> Response:
        return _answer(request, InternalFailure("headrace failed. Its log tells why."))

    async def hot(request: Request) -> Response:  # pragma: no cover - a POST to a hot path never comes here
        raise MethodNotAllowed("POST only")

    def _answer(request: Request, error: HeadraceError, more: dict[str, str] | None = None) -> Response:
        status, lines, body = answer_for(error)
        headers = dict(line.split(": ", 1) for line in lines.decode().splitlines())
        return Response(body, status, {**headers, **(more or {}), "x-request-id": new_id("req_")})

    return Starlette(
        routes=[
            Route("/v1/models", list_models),
            Route("/v1/models/{name:path}", show_model),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", scrape),
            *(Route(path, hot, methods=["POST"]) for path in HOT_PATHS),
        ],
        exception_handlers={HeadraceError: refuse, HTTPException: unknown, Exception: failed},
    )


def _authenticated(request: Request, keys: Keys) -> None:
    authorization = request.headers.get("authorization")
    authenticate(authorization.encode("latin-1") if authorization is not None else None, keys)


def _model(profile: ModelProfile) -> dict[str, Any]:
    return {"id": profile.name, "object": "model", "created": profile.created, "owned_by": profile.owned_by}


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
