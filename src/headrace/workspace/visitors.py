"""Who uses the page: signed in with a key, once, for a session that a cookie holds which no script can read.

A session stands for its key and ends with it. Whatever changes something must come from the page itself, which the browser says: the
cookie is never sent along from other sites (SameSite=Strict), and a request that says that it comes from elsewhere is refused as well.
"""

from collections.abc import Callable
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from headrace.core.clock import SECOND, Clock
from headrace.core.errors import InvalidApiKey, NotAllowed
from headrace.core.identity import Principal
from headrace.metering import digest
from headrace.storage import Archive, drop_session, keep_session, session_of, take_link
from headrace.workspace.bodies import as_json, read_body

COOKIE: Final = "headrace_page"
SIGN_IN_BYTES_MAX: Final = 4_096
SESSION_S: Final = 30 * 86_400
SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))
BRIDGED: Final = ("/v1/models", "/v1/organization/", "/v1/keys", "/v1/quotes", "/admin/")
"""Where a session is as good as the key that it stands for. The hot paths are none of them."""


class Holders(Protocol):
    """Whose a key is."""

    def find(self, secret: str) -> Principal | None: ...

    def held(self, sought: bytes) -> Principal | None:
        """The same by the digest of the secret."""
        ...


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Who is signed in. `owner` is whose threads are theirs: of this person in this project, and nobody else."""

    principal: Principal
    key: bytes
    owner: str
    admin: bool


class _SignIn(msgspec.Struct, forbid_unknown_fields=True):
    key: str = ""
    link: str = ""


class Visitors:
    """The sessions. `may` says who administers; `new_secret` draws a token; `bearer` makes a header of a key's digest that only this
    process's own routes take."""

    def __init__(
        self,
        *,
        holders: Holders,
        may: Callable[[Principal], bool],
        archive: Archive,
        clock: Clock,
        new_secret: Callable[[], str],
        bearer: Callable[[bytes], str],
    ) -> None:
        self._holders, self._may, self._archive, self._clock = holders, may, archive, clock
        self._new_secret, self._bearer = new_secret, bearer

    def routes(self) -> list[Route]:
        return [Route("/workspace/api/session", self.session, methods=["GET", "POST", "DELETE"])]

    async def session(self, request: Request) -> Response:
        """GET: who is signed in. POST: sign in, with a key or a link. DELETE: sign out."""
        if request.method == "POST":
            return await self._sign_in(request)
        if request.method == "DELETE":
            check_origin(request)
            await self._archive.run(drop_session, request.cookies.get(COOKIE, ""))
            answer = Response(status_code=204)
            answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
            return answer
        return as_json(_told(await self.of(request)))

    async def of(self, request: Request) -> Visitor:
        """Who makes this request; one that changes something must come from our own page. Raises InvalidApiKey or NotAllowed."""
        if request.method not in SAFE:
            check_origin(request)
        visitor = await self._known(request.cookies.get(COOKIE))
        if visitor is None:
            raise InvalidApiKey("You are not signed in here, or your session is over: sign in with your key.")
        return visitor

    def by_key(self, request: Request) -> Visitor:
        """Who makes this request with a key, as programs do. Raises InvalidApiKey."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        given = secret.strip() if scheme.casefold() == "bearer" else request.headers.get("x-api-key", "")
        key = digest(given)
        principal = self._holders.held(key) if given else None
        if principal is None:
            raise InvalidApiKey("Send your key, as `Authorization: Bearer sk-hr-…`. `headrace keys list` shows those that exist.")
        return self._visitor(principal, key)

    async def of_either(self, request: Request) -> Visitor:
        """Who makes this request, by a session or by a key. Raises InvalidApiKey or NotAllowed."""
        keyed = "authorization" in request.headers or "x-api-key" in request.headers
        return self.by_key(request) if keyed else await self.of(request)

    async def _known(self, token: str | None) -> Visitor | None:
        if not token:
            return None
        key = await self._archive.run(session_of, token, self._clock.moment())
        principal = None if key is None else self._holders.held(key)
        return None if key is None or principal is None else self._visitor(principal, key)

    def _visitor(self, principal: Principal, key: bytes) -> Visitor:
        return Visitor(principal=principal, key=key, owner=owner_of(principal), admin=self._may(principal))

    async def _sign_in(self, request: Request) -> Response:
        check_origin(request)
        now = self._clock.moment()
        asked = await read_body(request, _SignIn, SIGN_IN_BYTES_MAX)
        key = digest(asked.key.strip()) if asked.key else await self._archive.run(take_link, asked.link, now)
        principal = None if key is None else self._holders.held(key)
        if key is None or principal is None:
            raise InvalidApiKey(
                "This key is not known here: `headrace keys list` shows those that are."
                if asked.key
                else "This link was used before, or is too old. `headrace workspace` prints another; or sign in with your key."
            )
        token = self._new_secret()
        await self._archive.run(keep_session, token, "session", key, now + SESSION_S * SECOND, now)
        answer = as_json(_told(self._visitor(principal, key)))
        secure = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(COOKIE, token, max_age=SESSION_S, path="/", httponly=True, samesite="strict", secure=secure)
        return answer

    def bridge(self, app: ASGIApp) -> ASGIApp:
        """The same application, whose routes for keys a session opens as well."""

        async def bridged(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["path"].startswith(BRIDGED):
                names = {name for name, _ in scope["headers"]}
                if b"cookie" in names and b"authorization" not in names:
                    scope = await self._as_key(scope)
            await app(scope, receive, send)

        return bridged

    async def _as_key(self, scope: Scope) -> Scope:
        request = Request(scope)
        if request.method not in SAFE and not _ours(request):
            return scope
        visitor = await self._known(request.cookies.get(COOKIE))
        if visitor is None:
            return scope
        return {**scope, "headers": [*scope["headers"], (b"authorization", f"Bearer {self._bearer(visitor.key)}".encode())]}


def owner_of(principal: Principal) -> str:
    """Whose threads are this principal's."""
    organization, project = principal.organization, principal.project
    return f"{len(organization)}:{organization}/{len(project)}:{project}/{principal.key}"


def check_origin(request: Request) -> None:
    """Raises NotAllowed for a request that another site's page has made."""
    if not _ours(request):
        raise NotAllowed("This request does not come from the workspace's own page.")


def _ours(request: Request) -> bool:
    """Browsers say where a request comes from, in one of these headers or both; who says nothing is no browser, and has no cookie of ours
    but by its owner's will."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get("host", "")


def _told(visitor: Visitor) -> dict[str, object]:
    principal = visitor.principal
    return {
        "name": principal.key_name or principal.key,
        "organization": principal.organization,
        "project": principal.project,
        "key": principal.key,
        "admin": visitor.admin,
    }
