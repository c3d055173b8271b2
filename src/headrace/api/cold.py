"""The cold routes, on Starlette: models, health, metrics, and a clear answer to everything that is not there."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from headrace.api.askers import Keys, authenticate
from headrace.api.errors import answer_for
from headrace.api.models import Models
from headrace.api.openapi import document, page
from headrace.api.posts import POST_PATHS
from headrace.core.errors import HeadraceError, InternalFailure, MethodNotAllowed, ModelNotFound, NotReady, RouteNotFound
from headrace.portfolio import ModelProfile, Snapshot

HOT_PATHS = (
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/responses/compact",
    *POST_PATHS,
)

WEBSOCKET_PATHS = ("/v1/responses",)


class Cold:
    """The handlers. `unready` says why requests can't be served yet, or None; `metrics` is the text that Prometheus scrapes.
    `more` are routes beside ours; `models` describes the models."""

    def __init__(
        self,
        *,
        snapshot: Callable[[], Snapshot],
        keys: Keys,
        unready: Callable[[], str | None],
        metrics: Callable[[], bytes],
        metrics_type: str,
        new_id: Callable[[str], str],
        more: Sequence[BaseRoute] = (),
        models: Models | None = None,
        version: str = "",
    ) -> None:
        self._more, self._models, self._version = more, models, version
        self._snapshot, self._keys, self._unready = snapshot, keys, unready
        self._metrics, self._metrics_type, self._new_id = metrics, metrics_type, new_id

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.list_models),
                Route("/v1/models/{name:path}", self.show_model),
                Route("/healthz", self.healthz),
                Route("/readyz", self.readyz),
                Route("/metrics", self.scrape),
                Route("/openapi.json", self.openapi),
                Route("/docs", self.docs),
                *(Route(path, self.post_only, methods=["POST"]) for path in HOT_PATHS),
                *self._more,
            ],
            exception_handlers={HeadraceError: self.refuse, HTTPException: self.unknown, Exception: self.failed},
        )

    async def list_models(self, request: Request) -> Response:
        self._authenticate(request)
        models = [self._told(profile, request) for profile in self._snapshot().models.values()]
        return self._json({"object": "list", "data": models} if self._models is None else self._models.listed(models, request.headers))

    async def show_model(self, request: Request) -> Response:
        self._authenticate(request)
        name = request.path_params["name"]
        profile = self._snapshot().models.get(name)
        if profile is None:
            raise ModelNotFound(name)
        return self._json(self._told(profile, request))

    async def healthz(self, request: Request) -> Response:
        """The process is alive."""
        return self._json({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """Requests can be served; 503 with the reason until then."""
        if why := self._unready():
            raise NotReady(why, retry_after_ms=1_000)
        return self._json({"status": "ready"})

    async def scrape(self, request: Request) -> Response:
        return Response(self._metrics(), headers={"content-type": self._metrics_type})

    async def openapi(self, request: Request) -> Response:
        """Our own OpenAPI document."""
        return self._json(document(self._version))

    async def docs(self, request: Request) -> Response:
        """The same, to read."""
        return Response(page(document(self._version)), media_type="text/html; charset=utf-8")

    async def post_only(self, request: Request) -> Response:  # pragma: no cover -- a POST to a hot path never comes here
        raise MethodNotAllowed("Allowed here: POST.")

    async def refuse(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HeadraceError)
        return self._answer(error, {})

    async def unknown(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        asked = f"{request.method} {request.url.path}"
        if error.status_code != 405:
            return self._answer(RouteNotFound(f"Invalid URL ({asked}). The API is under /v1."), {})
        allowed = (error.headers or {}).get("Allow", "")
        return self._answer(MethodNotAllowed(f"Not allowed: {asked}. Allowed here: {allowed}."), {"allow": allowed})

    async def failed(self, request: Request, error: Exception) -> Response:
        return self._answer(InternalFailure("headrace failed. Its log tells why."), {})

    def _told(self, profile: ModelProfile, request: Request) -> dict[str, Any]:
        return _model(profile) if self._models is None else self._models.told(profile, request.headers)

    def _authenticate(self, request: Request) -> None:
        authorization, key = request.headers.get("authorization"), request.headers.get("x-api-key")
        if authorization is None and key is not None:  # as Anthropic's clients send it
            authorization = f"Bearer {key}"
        authenticate(authorization.encode("latin-1") if authorization is not None else None, self._keys)

    def _answer(self, error: HeadraceError, more: dict[str, str]) -> Response:
        status, lines, body = answer_for(error)
        headers = dict(line.split(": ", 1) for line in lines.decode().splitlines())
        return Response(body, status, {**headers, **more, **self._common()})

    def _json(self, value: object) -> Response:
        return Response(msgspec.json.encode(value), headers=self._common(), media_type="application/json")

    def _common(self) -> dict[str, str]:
        """What every answer of the API carries."""
        return {"x-request-id": self._new_id("req_"), "openai-version": "2020-10-01"}


def _model(profile: ModelProfile) -> dict[str, Any]:
    return {"id": profile.name, "object": "model", "created": profile.created, "owned_by": profile.owned_by}
