"""The doors of administration, wired: who may, at which desk, and what each of them is handed."""

import functools
import secrets
from collections.abc import Mapping

import msgspec
from starlette.routing import BaseRoute

from headrace.api import Admin, AuditLogs, Desk, Gate, Members, Organization, People, ProjectKeys, Projects, Spending
from headrace.api.askers import Keys
from headrace.compose.acts import HOUSE
from headrace.compose.banking import budgets_at
from headrace.compose.chargeback import Reader
from headrace.compose.decisions import Decisions
from headrace.compose.opening import Opened
from headrace.compose.reload import Reloading
from headrace.compose.spending import StoredSpending
from headrace.core.roles import ProjectRole
from headrace.gateway import Gateway
from headrace.storage import Archive, Person, Register


class KeptPeople(People):
    """People as the register knows them; nobody is signed in where there is no identity provider."""

    def __init__(self, archive: Archive, opened: Opened) -> None:
        self._archive, self._layout, self._clock = archive, opened.house.layout, opened.house.clock

    async def signed_in(self, cookie: str) -> Person | None:
        return None

    async def parts_of(self, organization: str, person: str) -> Mapping[str, ProjectRole]:
        return await self._archive.run(lambda database: Register(database, self._layout, organization).parts_of(person))


class Administration:
    """What `serve` needs of it: the gate, and the routes behind it."""

    def __init__(self, opened: Opened, gateway: Gateway, reloading: Reloading, archive: Archive, keys: Keys) -> None:
        house, began = opened.house, opened.house.clock.moment()
        self.people = KeptPeople(archive, opened)
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
            decisions=Decisions(house.layout).of,
            reload=lambda: msgspec.structs.asdict(reloading.reload_all()),
        )
        organization = Organization(gate=self.gate, clock=house.clock, finance=Reader(house.layout, lambda: reloading.settings))
        rules = StoredSpending(functools.partial(budgets_at, house.layout, house.settings.storage.url))
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
            *Members(gate=self.gate, desk=self.desk).routes(),
            *ProjectKeys(gate=self.gate, desk=self.desk).routes(),
            *AuditLogs(gate=self.gate, desk=self.desk).routes(),
        ]
