"""The audit log in OpenAI's shape, the newest entry first. The event's details stand under its type, as theirs do."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from headrace.api.desk import Desk, json, seconds
from headrace.api.gate import Actor, Gate, guarded
from headrace.api.listing import LIMIT, LIMIT_MAX
from headrace.core.clock import SECOND
from headrace.core.errors import InvalidRequest
from headrace.storage import AuditEntry, AuditFilter, Author, Register, audit_entries, audit_entry_there

LAST_S = 2**33
"""A second after which nothing is; its nanoseconds are still a number of the database's."""
LISTS = ("event_types", "project_ids", "resource_ids", "actor_ids", "actor_emails")
DATA = {"created": "data", "added": "data", "sent": "data", "updated": "changes_requested"}
"""Where the details of an event stand in its object, by what happened."""


class AuditLogs:
    """The handler."""

    def __init__(self, *, gate: Gate, desk: Desk) -> None:
        self._gate, self._desk = gate, desk

    def routes(self) -> list[Route]:
        return guarded(self._gate, {("GET", "/v1/organization/audit_logs"): self.entries})

    async def entries(self, request: Request, actor: Actor) -> Response:
        """GET …/audit_logs"""
        said: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            said.setdefault(name.removesuffix("[]"), []).append(value)
        asked, limit = _filter(actor.organization, said), _limit(said)
        after, before = _last(said, "after"), _last(said, "before")

        def page(register: Register) -> list[AuditEntry]:
            for name, id in (("after", after), ("before", before)):
                if id is not None and not audit_entry_there(register.database, actor.organization, id):
                    raise InvalidRequest(f"Invalid value for '{name}': there is no '{id}' here.", param=name)
            return audit_entries(register.database, asked, limit=limit + 1, newest_first=True, after=after, before=before)

        found = await self._desk.on(actor, page)
        backwards = before is not None and after is None
        shown = found[-limit:] if backwards else found[:limit]
        return json(
            {
                "object": "list",
                "data": [told(one) for one in shown],
                "first_id": shown[0].id if shown else None,
                "last_id": shown[-1].id if shown else None,
                "has_more": len(found) > limit,
            }
        )


def told(one: AuditEntry) -> dict[str, Any]:
    """An entry in OpenAI's shape."""
    entry: dict[str, Any] = {"id": one.id, "type": one.kind, "effective_at": seconds(one.moment), "actor": _actor(one.author)}
    if one.project:
        entry["project"] = {"id": one.project}
    what = one.kind.rpartition(".")[2]
    nested = what in DATA and not one.kind.startswith("role.assignment.")
    details: Mapping[str, object] = {DATA[what]: one.details} if nested else one.details
    return entry | {one.kind: {"id": one.resource, **details}}


def _actor(author: Author) -> dict[str, Any]:
    if author.origin == "api_key":
        whose = author.owner or author.id
        return {
            "type": "api_key",
            "api_key": {
                "id": author.id,
                "type": "service_account",
                "service_account": {"id": whose},
                "name": author.name,
                "ip_address": author.address,
            },
        }
    return {
        "type": "session",
        "session": {"user": {"id": author.id, "email": author.email}, "ip_address": author.address, "origin": author.origin},
    }


def _filter(organization: str, said: Mapping[str, list[str]]) -> AuditFilter:
    kinds, projects, resources, actors, emails = (tuple(said.get(name, ())) for name in LISTS)
    since, until = None, None
    for name, step in (("gt", 1), ("gte", 0)):
        if (bound := _second(said, name)) is not None:
            since = max(since or 0, (bound + step) * SECOND)
    for name, step in (("lt", 0), ("lte", 1)):
        if (bound := _second(said, name)) is not None:
            end = (bound + step) * SECOND - 1
            until = end if until is None else min(until, end)
    return AuditFilter(
        organization=organization,
        since=since,
        until=until,
        kinds=kinds,
        projects=projects,
        resources=resources,
        actors=actors,
        emails=emails,
    )


def _second(said: Mapping[str, list[str]], bound: str) -> int | None:
    name = f"effective_at[{bound}]"
    text = _last(said, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 11):
        raise InvalidRequest(f"Invalid value for '{name}': it is a Unix second.", param="effective_at")
    return min(int(text), LAST_S)


def _limit(said: Mapping[str, list[str]]) -> int:
    text = _last(said, "limit") or str(LIMIT)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= LIMIT_MAX):
        raise InvalidRequest(f"Invalid value for 'limit': it is 1 to {LIMIT_MAX}.", param="limit")
    return int(text)


def _last(said: Mapping[str, list[str]], name: str) -> str | None:
    return said[name][-1] if said.get(name) else None
