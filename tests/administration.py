"""The routes of administration, built of nothing: what there is of them, for tests that go through all."""

from typing import Any

from starlette.routing import Route

from headrace.api import (
    Admin,
    AuditLogs,
    Members,
    Organization,
    PeopleGroups,
    Permissions,
    ProjectKeys,
    Projects,
    Scim,
    Signing,
    Spending,
)


def administrative_routes(gate: Any = None) -> list[Route]:
    """Every route that only who administers may use; `gate` decides who does."""
    nothing: Any = None
    return [
        *Admin(gate=gate, desk=nothing, gateway=nothing, clock=nothing, decisions=nothing, reload=nothing).routes(),
        *Organization(gate=gate, clock=nothing, finance=nothing).routes(),
        *Spending(gate=gate, desk=nothing, rules=nothing).routes(),
        *Permissions(gate=gate, desk=nothing, models=nothing).routes(),
        *Projects(gate=gate, desk=nothing, models=nothing, by_default=nothing, limits_changed=nothing).routes(),
        *Members(gate=gate, desk=nothing).routes(),
        *PeopleGroups(gate=gate, desk=nothing).routes(),
        *Scim(gate=gate, desk=nothing).routes(),
        *ProjectKeys(gate=gate, desk=nothing).routes(),
        *AuditLogs(gate=gate, desk=nothing).routes(),
    ]


def signing_routes() -> list[Route]:
    """Where people sign in and out."""
    nothing: Any = None
    return Signing(gate=nothing, desk=nothing, provider=nothing, terms=nothing, page=nothing).routes()
