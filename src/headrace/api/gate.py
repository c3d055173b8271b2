"""Who administers, and whether he may: by a key, or signed in with a cookie. All administrative routes pass here, by the table of rights.

A key that administers has a role of its own; the development key, and the settings' keys with `admin = true`, are owners everywhere. People
have the role that the register says at this moment. Whoever administers the organisation that runs the server also runs the server.

A cookie is sent by a browser whoever made it ask. So whoever changes something with a cookie must say where from, by the headers that
browsers set themselves (`Sec-Fetch-Site`, `Origin`), and it must be here.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.askers import Keys, authenticate
from headrace.api.rights import RIGHTS
from headrace.core.errors import NotAllowed
from headrace.core.identity import Principal
from headrace.core.roles import ProjectRole, Right, Role, may
from headrace.storage import Author, Person

COOKIE, COOKIE_TLS = "headrace_person", "__Host-headrace_person"
SAFE = ("GET", "HEAD", "OPTIONS")


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. `organization` is the one that is acted on, `project` that of a plain key; `role` of None: he administers nothing. `only`
    are the projects that he may see where that is not all of them."""

    author: Author
    person: Person
    organization: str
    role: Role | None
    project: str = ""
    runs_server: bool = False
    only: frozenset[str] | None = None
    in_project: ProjectRole | None = None


Guarded: TypeAlias = Callable[[Request, Actor], Awaitable[Response]]


class People:
    """Who is signed in, and who has a part in what, as the gate asks it. Here: nobody, since nobody can sign in."""

    async def signed_in(self, cookie: str) -> Person | None:
        """Whose session a cookie is of; None: nobody's."""
        return None

    async def parts_of(self, organization: str, person: str) -> Mapping[str, ProjectRole]:
        """His role in each project that has him."""
        return {}


class Gate:
    """`rules_all` says which keys are owners everywhere; `house` is the organisation that runs the server; `keys` finds all keys, those too
    that administer."""

    def __init__(self, *, keys: Keys, rules_all: Callable[[Principal], bool], house: str, people: People) -> None:
        self._keys, self._rules_all, self._house, self._people = keys, rules_all, house, people

    async def who(self, request: Request) -> Actor:
        """Who asks, whatever he may. Raises InvalidApiKey, or NotAllowed for what may come from another site."""
        address = None if request.client is None else request.client.host
        secret, cookie = _secret(request), cookie_of(request)
        if secret is None and cookie is not None and (person := await self._people.signed_in(cookie)) is not None:
            if request.method not in SAFE:
                check_origin(request)
            return self._of_person(person, request, address)
        principal = authenticate(None if secret is None else secret.encode("latin-1"), self._keys)
        if principal.owner and cookie is not None:  # the page asks by a key of somebody who is signed in: then it is he who asks
            person = await self._people.signed_in(cookie)
            if person is not None and person.id == principal.owner:
                if request.method not in SAFE:
                    check_origin(request)
                return self._of_person(person, request, address)
        return self._of_key(principal, request, address)

    async def person(self, request: Request) -> Person:
        """Who asks, for whoever needs no more than that: id, name, address and role, from a session or a key. Raises as `who`."""
        return (await self.who(request)).person

    async def admit(self, request: Request, right: Right) -> Actor:
        """Who asks, who has this right in the organisation, or in the project that the path names. Raises InvalidApiKey or NotAllowed."""
        actor = await self.who(request)
        role = actor.role
        if role is None:
            raise NotAllowed("This key may not administer: use the development key of the data folder, or an admin API key.")
        if right == "operate" and not actor.runs_server:
            raise NotAllowed("Only who administers the organisation that runs this server may ask this.")
        if may(role, right):
            return actor
        parts = await self._people.parts_of(actor.organization, actor.person.id)
        project = request.path_params.get("project")
        in_project = parts.get(project) if project is not None else None
        if in_project is not None and may(role, right, in_project):
            return msgspec.structs.replace(actor, in_project=in_project, only=frozenset(parts))
        if project is None and right == "see" and request.url.path == "/v1/organization/projects" and parts:
            return msgspec.structs.replace(actor, only=frozenset(parts))
        raise NotAllowed(f"A role of {role!r} has no right to {right!r} here: an owner of the organisation can give another one.")

    def _of_person(self, person: Person, request: Request, address: str | None) -> Actor:
        runs = person.organization == self._house and may(person.role, "operate")
        author = Author(origin="session", id=person.id, name=person.name, email=person.email, address=address)
        asked = self._asked_for(request, person.organization, other=runs and person.role == "owner")
        return Actor(author=author, person=person, organization=asked, role=person.role, runs_server=runs)

    def _of_key(self, principal: Principal, request: Request, address: str | None) -> Actor:
        everywhere = self._rules_all(principal)
        role: Role | None = "owner" if everywhere else principal.role
        runs = everywhere or (principal.organization == self._house and role is not None and may(role, "operate"))
        author = Author(origin="api_key", id=principal.key, name=principal.key_name, owner=principal.owner or None, address=address)
        person = Person(
            id=principal.owner or principal.key,
            organization=principal.organization,
            email="",
            name=principal.key_name,
            role=role or "member",
            added=0,
        )
        return Actor(
            author=author,
            person=person,
            organization=self._asked_for(request, principal.organization, other=runs and role == "owner"),
            role=role,
            project=principal.project,
            runs_server=runs,
        )

    def _asked_for(self, request: Request, own: str, *, other: bool) -> str:
        asked = request.headers.get("openai-organization") or own
        if asked != own and not other:
            raise NotAllowed(f"OpenAI-Organization names {asked!r}, which is not the organisation of who asks.")
        return asked


def guarded(gate: Gate, handlers: Mapping[tuple[str, str], Guarded]) -> list[Route]:
    """A route for each method and path; its handler is handed who asks, who has the right that the table demands."""
    return [_guarded(gate, method, path, handler) for (method, path), handler in handlers.items()]


def _guarded(gate: Gate, method: str, path: str, handler: Guarded) -> Route:
    right = RIGHTS[method, path]

    async def handle(request: Request) -> Response:
        return await handler(request, await gate.admit(request, right))

    return Route(path, handle, methods=[method])


def cookie_of(request: Request) -> str | None:
    """The session's cookie, where the browser sends one."""
    return request.cookies.get(COOKIE_TLS) or request.cookies.get(COOKIE)


def check_origin(request: Request) -> None:
    """Raises NotAllowed for what another site may have made a browser send."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    here = origin is not None and urlsplit(origin).netloc == request.headers.get("host")
    if site == "same-origin" or (site is None and here):
        return
    raise NotAllowed("A session's cookie is taken only from pages of this address (Sec-Fetch-Site: same-origin, or Origin).")


def _secret(request: Request) -> str | None:
    """The Authorization header, as it came or as Anthropic's clients send it."""
    authorization, key = request.headers.get("authorization"), request.headers.get("x-api-key")
    return authorization if authorization is not None or key is None else f"Bearer {key}"
