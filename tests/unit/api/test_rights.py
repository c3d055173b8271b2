"""Every administrative route, for every role, for people and for keys: who may, and who may not."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from starlette.routing import Route

from headrace.api import Gate, People
from headrace.api.rights import RIGHTS
from headrace.core.errors import InvalidApiKey, NotAllowed
from headrace.core.identity import Principal
from headrace.core.roles import MAY, MAY_IN_PROJECT, ProjectRole, Role, may_give
from headrace.storage import Person
from tests.administration import administrative_routes

ROLES: tuple[Role, ...] = ("owner", "admin", "member", "viewer", "billing", "provisioner")
WHO_MAY = {
    # right        who
    "see":         "owner admin viewer billing",
    "projects":    "owner admin",
    "people":      "owner admin",
    "keys":        "owner admin",
    "own_keys":    "owner admin",
    "limits":      "owner admin",
    "usage":       "owner admin viewer billing",
    "money":       "owner billing",
    "audit":       "owner admin viewer",
    "admin_keys":  "owner",
    "operate":     "owner admin",
    "provision":   "provisioner",
}  # fmt: skip
IN_A_PROJECT = {"owner": "see people keys own_keys limits", "member": "see own_keys"}


class Fakes(People):
    """Keys and cookies are `ORGANIZATION/ROLE`; a person has the part in `atlas` that is given."""

    def __init__(self, part: ProjectRole | None = None) -> None:
        self._part = part

    def version(self) -> int:
        return 0

    def find(self, secret: str) -> Principal | None:
        organization, _, role = secret.partition("/")
        known: Any = role if role in ROLES else None
        return Principal(organization=organization, project="" if known else "atlas", key=f"key of {secret}", role=known)

    async def signed_in(self, cookie: str) -> Person | None:
        organization, _, role = cookie.partition("/")
        known: Any = role
        return Person(id="ann", organization=organization, email="ann@example.org", name="Ann", role=known, added=0) if role else None

    async def parts_of(self, organization: str, person: str) -> Mapping[str, ProjectRole]:
        return {} if self._part is None or person != "ann" else {"atlas": self._part}


def gate(fakes: Fakes) -> Gate:
    return Gate(keys=fakes, rules_all=lambda principal: principal.key == "key of house/root", house="house", people=fakes)


def ask(
    route: Route, who: str, by: str, part: ProjectRole | None = None, project: str = "atlas", more: Mapping[str, str] | None = None
) -> str:
    """What becomes of a request by a role: `refused`, `unknown`, or `handled`, since the handler has nothing to work with and breaks."""
    at = next(one for one in administrative_routes(gate(Fakes(part))) if (one.path, one.methods) == (route.path, route.methods))
    headers = {"authorization": f"Bearer {who}"} if by == "key" else {"cookie": f"headrace_person={who}", "sec-fetch-site": "same-origin"}
    scope = {
        "type": "http",
        "method": next(iter(route.methods or ())),
        "path": route.path,
        "path_params": {"project": project} if "{project}" in route.path else {},
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in (headers | dict(more or {})).items()],
        "query_string": b"",
        "client": ("10.0.0.9", 1),
    }

    async def nothing(*_: Any) -> Any:
        raise AssertionError("no handler comes so far as to read")

    async def told(message: Mapping[str, Any]) -> None:
        """Where a refusal is an answer, as SCIM has it."""
        raise {403: NotAllowed, 401: InvalidApiKey}.get(message["status"], AssertionError)("told")

    async def served() -> None:
        await at.app(scope, nothing, told)

    try:
        asyncio.run(served())
    except NotAllowed:
        return "refused"
    except InvalidApiKey:
        return "unknown"
    except Exception:  # noqa: BLE001 -- it was let in, and has nothing to work with
        return "handled"
    return "handled"


def guarded_routes() -> dict[tuple[str, str], Route]:
    named = {(method, route.path): route for route in administrative_routes() for method in route.methods or () if method != "HEAD"}
    own = named.pop(("GET", "/admin/requests/{request}"))  # who made the request may know, whoever he is
    assert own is not None
    return named


def test_the_table_is_what_the_documents_say() -> None:
    assert {role: {right for right, who in WHO_MAY.items() if role in who.split()} for role in ROLES} == MAY
    assert {role: set(rights.split()) for role, rights in IN_A_PROJECT.items()} == MAY_IN_PROJECT


def test_every_route_has_its_right_and_every_right_its_route() -> None:
    assert guarded_routes().keys() == RIGHTS.keys()


@pytest.mark.parametrize("by", ["key", "session"])
@pytest.mark.parametrize("role", ROLES)
def test_every_route_for_every_role(role: Role, by: str) -> None:
    for named, route in guarded_routes().items():
        expected = "handled" if role in WHO_MAY[RIGHTS[named]].split() else "refused"
        assert ask(route, f"house/{role}", by) == expected, (named, role, by)


@pytest.mark.parametrize("role", ROLES)
def test_only_the_organisation_that_runs_the_server_runs_it(role: Role) -> None:
    for named, route in guarded_routes().items():
        if RIGHTS[named] == "operate":
            assert ask(route, f"acme/{role}", "key") == "refused", named


@pytest.mark.parametrize("part", ["owner", "member"])
def test_every_route_for_who_has_a_part_in_a_project(part: ProjectRole) -> None:
    for named, route in guarded_routes().items():
        may = "{project}" in route.path and RIGHTS[named] in IN_A_PROJECT[part].split()
        listed = named == ("GET", "/v1/organization/projects")  # of which he sees those that have him
        assert ask(route, "acme/member", "session", part) == ("handled" if may or listed else "refused"), named
        assert ask(route, "acme/member", "session", part, project="other") == ("handled" if listed else "refused"), named


def test_a_plain_key_administers_nothing() -> None:
    for route in guarded_routes().values():
        assert ask(route, "house/plain", "key") == "refused"
    for named, route in guarded_routes().items():
        expected = "refused" if RIGHTS[named] == "provision" else "handled"
        assert ask(route, "house/root", "key") == expected, "the development key, and the settings' keys with admin = true"


@pytest.mark.parametrize(
    ("who", "organization", "expected"),
    [
        ("house/root", "acme", "handled"),
        ("house/owner", "acme", "handled"),
        ("house/admin", "acme", "refused"),
        ("acme/owner", "acme", "handled"),
        ("acme/owner", "house", "refused"),
    ],
)
def test_who_may_act_on_another_organisation(who: str, organization: str, expected: str) -> None:
    route = guarded_routes()["POST", "/v1/organization/projects"]
    assert ask(route, who, "key", more={"openai_organization": organization}) == expected


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("GET", {"sec-fetch-site": "cross-site"}, "handled"),
        ("POST", {"sec-fetch-site": "same-origin"}, "handled"),
        ("POST", {"sec-fetch-site": "cross-site"}, "refused"),
        ("POST", {"sec-fetch-site": "same-site", "origin": "https://here", "host": "here"}, "refused"),
        ("POST", {"sec-fetch-site": "", "origin": "https://elsewhere", "host": "here"}, "refused"),
        ("POST", {"sec-fetch-site": "none"}, "refused"),
    ],
)
def test_another_site_changes_nothing_with_a_cookie(method: str, headers: dict[str, str], expected: str) -> None:
    route = guarded_routes()[method, "/v1/organization/projects"]
    assert ask(route, "house/owner", "session", more=headers) == expected


@pytest.mark.parametrize(
    ("giver", "role", "expected"),
    [
        ("owner", "owner", True),
        ("owner", "provisioner", True),
        ("admin", "provisioner", False),
        ("admin", "owner", False),
        ("admin", "admin", True),
        ("billing", "viewer", False),
    ],
)
def test_who_makes_whom_what(giver: Role, role: Role, expected: bool) -> None:
    assert may_give(giver, role) is expected
