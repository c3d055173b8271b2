"""How people sign in: at an identity provider (OpenID Connect), after which a cookie tells who they are.

    /auth/login ──► the provider ──► /auth/callback ──► where they wanted to go, with a session
    /auth/logout ──► the provider's own sign-out        /auth/backchannel-logout: the provider ends a session by itself
    /auth/ways: whether one can, and once, why one who came from the page was not let in

Between the first two a cookie of ten minutes holds what must come back: the state, the nonce and PKCE's verifier. The session's cookie is
256 random bits, of which the database has the digest. Neither can be read by a script.
"""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from headrace.api.asgi import bounded
from headrace.api.desk import Desk, json
from headrace.api.gate import COOKIE, COOKIE_TLS, Actor, Gate, check_origin, cookie_of
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import HeadraceError, InvalidRequest, NotAllowed
from headrace.core.roles import Role
from headrace.providers.identity import Identity, IdentityProvider
from headrace.storage import Author, Origin, Person, Register, SignIn, sign_in, sign_out, sign_out_elsewhere, signed_in

WAY, WAY_TLS = "headrace_signing_in", "__Host-headrace_signing_in"
WAY_S = 600
WHY, WHY_TLS = "headrace_why", "__Host-headrace_why"
WHY_S, WHY_CHARS_MAX = 120, 400
PAGE = "/"
NO_STORE = {"cache-control": "no-store"}
RANK: tuple[Role, ...] = ("owner", "admin", "billing", "viewer", "member")
"""Whose claims make him several things is the first of these."""


class SigningTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Who may sign in and for how long. `url` is our own address; `roles` says what a value of the claim `role_claim` makes of one, and
    `default_role` what whoever the provider knows becomes, where that is anything."""

    url: str
    organization: str
    role_claim: str
    roles: Mapping[str, Role]
    default_role: Role | None
    session_s: int
    idle_s: int

    @property
    def tls(self) -> bool:
        """Whether browsers reach us by TLS: then a cookie is sent in no other way."""
        return self.url.startswith("https:")


class Page(Protocol):
    """The workspace's page, where it has one for people who are signed in."""

    async def open(self, person: Person, ends: Moment) -> str | None:
        """Where somebody is let in, once and soon, until then; None: nothing is there for him."""
        ...

    async def close(self, organization: str, person: str) -> None:
        """End what was opened for him."""
        ...


class _Way(msgspec.Struct, frozen=True):
    """What must come back from the provider, and where to go then."""

    state: str
    nonce: str
    verifier: str
    next: str


_ways = msgspec.json.Decoder(_Way)


class Signing:
    """The handlers. `provider` and `terms` of None: nobody can sign in, and keys are all there is."""

    def __init__(self, *, gate: Gate, desk: Desk, provider: IdentityProvider | None, terms: SigningTerms | None, page: Page) -> None:
        self._page, self._gate, self._desk, self._provider, self._terms = page, gate, desk, provider, terms

    def routes(self) -> list[Route]:
        return [
            Route("/auth/ways", self.ways),
            Route("/auth/login", self.login),
            Route("/auth/callback", self.callback),
            Route("/auth/logout", self.logout, methods=["GET", "POST"]),
            Route("/auth/me", self.me),
            Route("/auth/backchannel-logout", self.backchannel, methods=["POST"]),
        ]

    async def ways(self, request: Request) -> Response:
        """GET /auth/ways"""
        terms, why = self._terms, _why_of(request)
        host = None if self._provider is None else urlsplit(self._provider.issuer).hostname
        answer = json({"object": "headrace.ways", "login": None if terms is None else "/auth/login", "provider": host, "why": why})
        answer.headers.update(NO_STORE)
        if terms is not None and why is not None:
            answer.delete_cookie(WHY_TLS if terms.tls else WHY, secure=terms.tls, httponly=True, samesite="lax")
        return answer

    async def login(self, request: Request) -> Response:
        """GET /auth/login?next=/…"""
        provider, terms = self._configured()
        way = _Way(self._random(), self._random(), self._random(), _local(request.query_params.get("next")))
        url = await asyncio.to_thread(provider.sign_in_url, state=way.state, nonce=way.nonce, verifier=way.verifier)
        answer = RedirectResponse(url, 303, NO_STORE)
        value = urlsafe_b64encode(msgspec.json.encode(way)).decode()
        answer.set_cookie(WAY_TLS if terms.tls else WAY, value, max_age=WAY_S, secure=terms.tls, httponly=True, samesite="lax")
        return answer

    async def callback(self, request: Request) -> Response:
        """GET /auth/callback"""
        provider, terms = self._configured()
        way: _Way | None = None
        try:
            way = _way_of(request)
            identity = await self._identified(request, provider, way)
            person = await self._entered(request, identity, terms)
        except HeadraceError as refused:
            if isinstance(refused, NotAllowed) and "code" in request.query_params:
                await self._failed(request, terms, refused)
            if way is None or way.next != PAGE:
                raise
            return self._back(terms, refused.message)
        cookie, now = self._random(), self._desk.moment()
        session = SignIn(
            person=person.id,
            began=now,
            seen=now,
            expires=now + terms.session_s * SECOND,
            issuer=identity.issuer,
            subject=identity.subject,
            sid=identity.sid,
            id_token=identity.id_token,
        )
        await self._desk.archive.run(sign_in, cookie, session)
        await self._desk.noted(_actor(request, person), "login.succeeded", person.id)
        there = await self._page.open(person, session.expires) if way.next == PAGE else None
        if way.next == PAGE and there is None:
            who = person.email or person.name or "you"
            answer = self._back(
                terms, f"The identity provider knows {who}, but no project here has you: ask who administers to add you to one."
            )
        else:
            answer = RedirectResponse(there or way.next, 303, NO_STORE)
            answer.delete_cookie(WAY_TLS if terms.tls else WAY, secure=terms.tls, httponly=True, samesite="lax")
        name = COOKIE_TLS if terms.tls else COOKIE
        answer.set_cookie(name, cookie, max_age=terms.session_s, secure=terms.tls, httponly=True, samesite="lax")
        return answer

    def _back(self, terms: SigningTerms, why: str) -> Response:
        """To the page, which says why nobody was let in: in a cookie, so that no link can have it say anything."""
        answer = RedirectResponse(PAGE, 303, NO_STORE)
        answer.delete_cookie(WAY_TLS if terms.tls else WAY, secure=terms.tls, httponly=True, samesite="lax")
        value = urlsafe_b64encode(why[:WHY_CHARS_MAX].encode()).decode()
        answer.set_cookie(WHY_TLS if terms.tls else WHY, value, max_age=WHY_S, secure=terms.tls, httponly=True, samesite="lax")
        return answer

    async def logout(self, request: Request) -> Response:
        """GET or POST /auth/logout"""
        provider, terms = self._configured()
        if request.headers.get("sec-fetch-site") != "none":  # typed by hand: nobody else made the browser ask
            check_origin(request)
        cookie, url = cookie_of(request), None
        if cookie is not None:
            found = await self._desk.archive.run(signed_in, cookie, self._desk.moment(), terms.idle_s * SECOND)
            await self._desk.archive.run(sign_out, cookie)
            if found is not None:
                session, person = found
                await self._page.close(person.organization, person.id)
                await self._desk.noted(_actor(request, person), "logout.succeeded", person.id)
                url = await asyncio.to_thread(provider.sign_out_url, id_token=session.id_token, back_to=f"{terms.url}/")
        answer = RedirectResponse(url or "/", 303, NO_STORE)
        answer.delete_cookie(COOKIE_TLS if terms.tls else COOKIE, secure=terms.tls, httponly=True, samesite="lax")
        return answer

    async def me(self, request: Request) -> Response:
        """GET /auth/me"""
        actor = await self._gate.who(request)
        person = actor.person
        told: dict[str, Any] = {
            "object": "headrace.person",
            "id": person.id,
            "organization": person.organization,
            "name": person.name,
            "email": person.email or None,
            "role": actor.role,
            "signed_in": actor.author.origin == "session",
        }
        answer = json(told)
        answer.headers.update(NO_STORE)
        return answer

    async def backchannel(self, request: Request) -> Response:
        """POST /auth/backchannel-logout"""
        provider, terms = self._configured()
        form = await bounded(request, 64 * 1024, "what this route reads").form()
        token = form.get("logout_token")
        if not isinstance(token, str):
            raise InvalidRequest("Missing required parameter: 'logout_token'.", param="logout_token")
        sid, subject = await asyncio.to_thread(provider.signed_out, token, self._desk.moment() // SECOND)
        ended = await self._desk.archive.run(sign_out_elsewhere, provider.issuer, sid=sid, subject=subject)
        for person in ended:
            actor = _nobody(request, terms.organization, "server")
            await self._page.close(terms.organization, person)
            await self._desk.noted(actor, "logout.succeeded", person, {"by": "the identity provider"})
        return Response(status_code=200, headers=NO_STORE)

    def _configured(self) -> tuple[IdentityProvider, SigningTerms]:
        if self._provider is None or self._terms is None:
            raise NotAllowed("Nobody can sign in here: set an identity provider in [oidc]. Until then there are keys.")
        return self._provider, self._terms

    async def _identified(self, request: Request, provider: IdentityProvider, way: _Way) -> Identity:
        said = request.query_params
        if said.get("state") != way.state or said.get("iss", provider.issuer) != provider.issuer:
            raise NotAllowed("This answer belongs to another sign-in: begin again at /auth/login.")
        if "code" not in said:
            raise NotAllowed(f"The identity provider refused: {said.get('error_description') or said.get('error') or 'it gave no code'}.")
        return await asyncio.to_thread(
            provider.identify, code=said["code"], verifier=way.verifier, nonce=way.nonce, now_s=self._desk.moment() // SECOND
        )

    async def _entered(self, request: Request, identity: Identity, terms: SigningTerms) -> Person:
        role, id = role_of(identity.claims.get(terms.role_claim), terms.roles), self._desk.new_id("user_")
        actor = _nobody(request, terms.organization, "session", identity)
        act = self._desk.act(actor)

        def enter(register: Register) -> Person | None:
            return register.enter(
                issuer=identity.issuer,
                subject=identity.subject,
                email=identity.email,
                name=identity.name,
                verified=identity.verified and bool(identity.email),
                role=role,
                otherwise=terms.default_role,
                id=id,
                act=act,
            )

        person = await self._desk.on(actor, enter)
        if person is None:
            raise NotAllowed("You have no place in this organisation: somebody who administers it can invite you.")
        return person

    async def _failed(self, request: Request, terms: SigningTerms, refused: HeadraceError) -> None:
        actor = _nobody(request, terms.organization, "session")
        await self._desk.noted(actor, "login.failed", "", {"error_code": refused.code, "error_message": refused.message})

    def _random(self) -> str:
        return urlsafe_b64encode(self._desk.new_token()).rstrip(b"=").decode()


def role_of(said: object, roles: Mapping[str, Role]) -> Role | None:
    """The highest of the roles that the values of a claim stand for; None: for none."""
    values = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    found = {roles[value] for value in values if isinstance(value, str) and value in roles}
    return next((role for role in RANK if role in found), None)


def _local(path: str | None) -> str:
    """A path of ours, whatever was asked for: nobody is sent elsewhere from here."""
    if path is None or not path.startswith("/") or path.startswith("//") or "\\" in path or not path.isprintable():
        return "/"
    return path


def _why_of(request: Request) -> str | None:
    """What the page is to say, once."""
    value = request.cookies.get(WHY_TLS) or request.cookies.get(WHY)
    try:
        return urlsafe_b64decode(value).decode() if value else None
    except ValueError:
        return None


def _way_of(request: Request) -> _Way:
    value = request.cookies.get(WAY_TLS) or request.cookies.get(WAY)
    try:
        return _ways.decode(urlsafe_b64decode(value or ""))
    except (ValueError, msgspec.MsgspecError):
        raise NotAllowed("This browser has begun no sign-in, or longer than ten minutes ago: begin again at /auth/login.") from None


def _actor(request: Request, person: Person) -> Actor:
    address = None if request.client is None else request.client.host
    author = Author(origin="session", id=person.id, name=person.name, email=person.email, address=address)
    return Actor(author=author, person=person, organization=person.organization, role=person.role)


def _nobody(request: Request, organization: str, origin: Origin, identity: Identity | None = None) -> Actor:
    """Who is not known yet."""
    address = None if request.client is None else request.client.host
    id, email = ("", "") if identity is None else (identity.subject, identity.email)
    person = Person(id=id, organization=organization, email=email, name="", role="member", added=0)
    return Actor(
        author=Author(origin=origin, id=id, email=email or None, address=address), person=person, organization=organization, role=None
    )
