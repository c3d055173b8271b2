"""The doors of administration, wired: who may, at which desk, and what each of them is handed."""

import functools
import secrets
from collections.abc import Mapping
from importlib.util import find_spec

import msgspec
from starlette.routing import BaseRoute

from headrace.api import (
    Admin,
    AuditLogs,
    Desk,
    Gate,
    Members,
    Organization,
    Page,
    People,
    PeopleGroups,
    Permissions,
    ProjectKeys,
    Projects,
    Scim,
    Signing,
    SigningTerms,
    Spending,
)
from headrace.api.askers import Keys
from headrace.compose.acts import HOUSE
from headrace.compose.banking import budgets_at
from headrace.compose.chargeback import Reader
from headrace.compose.decisions import Decisions
from headrace.compose.opening import House, Opened
from headrace.compose.place import secret_of
from headrace.compose.reload import Reloading
from headrace.compose.settings import OidcSettings
from headrace.compose.spending import StoredSpending
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import SettingsInvalid
from headrace.core.roles import ProjectRole
from headrace.gateway import Gateway
from headrace.providers.identity import IdentityProvider
from headrace.storage import Act, Archive, Author, Database, Person, Register, keep_session, signed_in

LINK_S = 60


class KeptPeople(People):
    """People as the register knows them. A session that nobody used for `idle_s` is over."""

    def __init__(self, archive: Archive, opened: Opened, idle_s: int) -> None:
        self._idle = idle_s * SECOND
        self._archive, self._layout, self._clock = archive, opened.house.layout, opened.house.clock

    async def signed_in(self, cookie: str) -> Person | None:
        found = await self._archive.run(signed_in, cookie, self._clock.moment(), self._idle)
        return None if found is None else found[1]

    async def parts_of(self, organization: str, person: str) -> Mapping[str, ProjectRole]:
        return await self._archive.run(lambda database: Register(database, self._layout, organization).parts_of(person))


class PersonsPage(Page):
    """The workspace, for people: a key of theirs stands for them there, which ends with their session."""

    def __init__(self, archive: Archive, opened: Opened) -> None:
        self._archive, self._layout = archive, opened.house.layout
        self._clock, self._new_id = opened.house.clock, opened.names

    async def open(self, person: Person, ends: Moment) -> str | None:
        now, id, link = self._clock.moment(), self._new_id("key_"), secrets.token_urlsafe(24)
        author = Author(origin="session", id=person.id, name=person.name, email=person.email)
        act = Act(id=self._new_id("audit_"), moment=now, organization=person.organization, author=author)

        def opened(database: Database) -> bool:
            register = Register(database, self._layout, person.organization)
            key = register.page_key(person, ends, id, secrets.token_bytes(30), act)
            if key is not None:
                keep_session(database, link, "link", key.digest, now + LINK_S * SECOND, now)
            return key is not None

        return f"/#/in/{link}" if await self._archive.run(opened) else None

    async def close(self, organization: str, person: str) -> None:
        now = self._clock.moment()
        await self._archive.run(lambda database: Register(database, self._layout, organization).leave_page(person, now))


class Administration:
    """What `serve` needs of it: the gate, and the routes behind it."""

    def __init__(self, opened: Opened, gateway: Gateway, reloading: Reloading, archive: Archive, keys: Keys) -> None:
        house, began = opened.house, opened.house.clock.moment()
        self.people = KeptPeople(archive, opened, house.settings.oidc.idle_minutes * 60)
        self.gate = Gate(keys=keys, rules_all=lambda principal: principal.key in house.admins, house=HOUSE, people=self.people)
        self.desk = Desk(
            archive=archive,
            layout=house.layout,
            clock=house.clock,
            new_id=opened.names,
            new_token=lambda: secrets.token_bytes(30),
            settled=lambda organization: {key.project: began for key in reloading.settings.key if key.organization == organization},
        )
        admin = Admin(
            gate=self.gate,
            desk=self.desk,
            gateway=gateway,
            clock=house.clock,
            decisions=Decisions(house.state).of,
            reload=lambda: msgspec.structs.asdict(reloading.reload_all()),
        )
        finance = Reader(house.layout, lambda: reloading.settings)
        organization = Organization(gate=self.gate, clock=house.clock, finance=finance)
        rules = StoredSpending(
            functools.partial(budgets_at, house.layout, house.settings.storage.url),
            house.clock,
            lambda whose, since, until: finance.spent(whose.organization, whose.project, since, until),
        )
        projects = Projects(
            gate=self.gate,
            desk=self.desk,
            models=lambda: gateway.world.snapshot.models,
            by_default=lambda: (reloading.settings.limits.requests_per_minute, reloading.settings.limits.tokens_per_minute),
            limits_changed=reloading.take_limits,
        )
        self.routes: list[BaseRoute] = [
            *admin.routes(),
            *organization.routes(),
            *Spending(gate=self.gate, desk=self.desk, rules=rules).routes(),
            *projects.routes(),
            *Permissions(gate=self.gate, desk=self.desk, models=lambda: gateway.world.snapshot.models).routes(),
            *Members(gate=self.gate, desk=self.desk).routes(),
            *PeopleGroups(gate=self.gate, desk=self.desk).routes(),
            *Scim(gate=self.gate, desk=self.desk).routes(),
            *ProjectKeys(gate=self.gate, desk=self.desk).routes(),
            *AuditLogs(gate=self.gate, desk=self.desk).routes(),
            *Signing(
                gate=self.gate,
                desk=self.desk,
                provider=identity_provider(house),
                terms=_terms(house.settings.oidc),
                page=PersonsPage(archive, opened),
            ).routes(),
        ]


def identity_provider(house: House) -> IdentityProvider | None:
    """Who tells who people are; None: nobody does. Raises SettingsInvalid."""
    asked = house.settings.oidc
    if asked.issuer is None:
        return None
    if find_spec("joserfc") is None:
        raise SettingsInvalid("[oidc] needs a package that checks signatures: pip install 'headrace[oidc]'")
    secret = None if asked.client_secret_env is None else secret_of(house.environ, asked.client_secret_env, "[oidc]")
    return IdentityProvider(
        issuer=asked.issuer,
        client_id=asked.client_id,
        client_secret=secret,
        redirect_uri=f"{asked.url.rstrip('/')}/auth/callback",
        scopes=asked.scopes,
    )


def _terms(asked: OidcSettings) -> SigningTerms:
    return SigningTerms(
        url=asked.url.rstrip("/"),
        organization=asked.organization,
        role_claim=asked.role_claim,
        roles=asked.roles,
        default_role=asked.default_role,
        session_s=asked.session_hours * 3_600,
        idle_s=asked.idle_minutes * 60,
    )
