"""The workspace wired: threads and runs on the in-process gateway, sessions on the keys, the page, and the link that opens it first."""

import functools
import logging
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from headrace.agents import Budget
from headrace.agents.events import Event
from headrace.compose.agentmodel import GatewayEmbeddings, SpokenModel, sees_pictures
from headrace.compose.clock import MachineClock, process_id
from headrace.compose.facts import StoredFacts
from headrace.compose.making import ServedCommands
from headrace.compose.opening import House, Opened
from headrace.compose.outfit import outfit_of
from headrace.compose.place import version
from headrace.compose.reload import Reloading
from headrace.compose.signing import new_token, signing_key_of
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import HeadraceError, ModelNotFound, NotAllowed
from headrace.core.identity import Principal
from headrace.core.money import pico_of
from headrace.gateway import Gateway
from headrace.metering import digest
from headrace.sandbox import try_level
from headrace.storage import (
    Archive,
    FileLock,
    KeyRing,
    LocalArchive,
    MemoryStore,
    Reports,
    Schedule,
    ScheduleStore,
    SharedState,
    Thread,
    ThreadState,
    TriggerStore,
    connect,
    keep_session,
)
from headrace.workspace import (
    A2A,
    SCHEDULE_FILE,
    TRIGGER_FILE,
    AgentTasks,
    Console,
    ConsoleReports,
    Door,
    Firings,
    Keeper,
    Memories,
    Pushes,
    Remembering,
    ReportMaking,
    Runs,
    Schedules,
    Teller,
    ThreadBrowser,
    ThreadFiles,
    Triggers,
    Visitors,
    Webhooks,
    page_routes,
)
from headrace.workspace.runs import Spawn
from headrace.workspace.visitors import owner_of

LINK_S = 900
"""How long the link of the start is good; once."""
_BRIDGE = f"session:{secrets.token_urlsafe(32)}:"
"""What a session's requests carry in place of a secret, behind the door: no client can know it."""


class HeldKeys:
    """The keys as the routes for people know them: by their secrets, and by what a session of this process stands for."""

    def __init__(self, reloading: Reloading, ring: KeyRing) -> None:
        self._reloading, self._ring = reloading, ring

    def version(self) -> int:
        return self._reloading.keys.version()

    def find(self, secret: str) -> Principal | None:
        if secret.startswith(_BRIDGE):
            return self.held(bytes.fromhex(secret.removeprefix(_BRIDGE)))
        return self._reloading.all_keys.find(secret)

    def held(self, sought: bytes) -> Principal | None:
        """None also for a key that administers by its role: it does nothing else, and a session would let it talk with models."""
        principal = self._ring.held(sought)
        return None if principal is None or principal.role is not None else self._reloading.keys.limited(principal)


class Rooms:
    """What `serve` needs of it: the routes, the way in for sessions, and what to do at start and stop."""

    def __init__(
        self,
        runs: Runs,
        teller: Teller,
        firings: Firings,
        visitors: Visitors,
        archive: LocalArchive,
        database: sqlite3.Connection,
        routes: Sequence[BaseRoute],
    ) -> None:
        self.runs, self.teller, self.firings, self.routes = runs, teller, firings, routes
        self._visitors, self._archive, self._database = visitors, archive, database

    def bridge(self, app: ASGIApp) -> ASGIApp:
        return self._visitors.bridge(app)

    async def stop(self) -> None:
        """Let go of all runs."""
        await self.runs.stop()

    def close(self) -> None:
        self._archive.close()
        self._database.close()


def workspace(
    opened: Opened, gateway: Gateway, reloading: Reloading, keys: HeldKeys, shared: Archive, spawn: Spawn, log: logging.Logger
) -> Rooms:
    """Sessions are in `shared`, as keys are; threads and runs are this host's."""
    house = opened.house
    archive = LocalArchive(functools.partial(connect, house.layout.database, durable=True))
    clock, new_id = house.clock, opened.names

    def speaker(key: bytes, model: str, session: str, tell: Callable[[str, bool], None], *, pictures: bool) -> SpokenModel:
        principal = keys.held(key)
        if principal is None:
            raise NotAllowed("The key that this thread was made with is revoked, or over: nothing more is asked with it.")
        return SpokenModel(gateway, clock, new_id, principal, model or first_model(gateway, principal, sees=pictures), session, tell)

    database = connect(house.layout.database, durable=True)

    owner, whose = _household(keys.held(digest(house.secret)), database)

    def memory(owner: str, thread: Thread, run: str) -> Remembering:
        principal = keys.held(thread.key)
        embeds = None if principal is None else embeddings(gateway, clock, new_id, principal)
        project = thread.label if thread.folder is None else str(Path(thread.folder).resolve())
        return Remembering(MemoryStore(database, whose(owner)), project, run, embeds, clock, new_id)

    sign = functools.partial(signing_key_of, house.layout)

    def private() -> bool:
        return reloading.settings.agents.private_networks

    async def told(
        owner: str, thread: Thread, run: str, events: Sequence[Event], state: ThreadState, failure: HeadraceError | None
    ) -> None:
        schedule = runs.home(run) / SCHEDULE_FILE
        of = schedule.read_text() if schedule.exists() else None
        await teller.run_stands(owner, thread, run, events, state, failure, of)
        await tasks.run_stands(owner, thread, run, events, state, failure)

    teller = Teller(archive, clock, private, log)
    runs = Runs(
        folder=house.layout.runs,
        origins=house.layout.root / "workspace",
        archive=archive,
        clock=clock,
        new_id=new_id,
        speakers=speaker,
        level=try_level,
        outfit=lambda: outfit_of(reloading.settings, house.environ),
        memory=memory,
        leaves=functools.partial(_leave_of, database, sign, clock),
        told=told,
        spawn=spawn,
        log=log,
    )
    visitors = Visitors(
        holders=keys,
        may=lambda principal: principal.key in house.admins,
        archive=shared,
        clock=clock,
        new_secret=lambda: secrets.token_urlsafe(32),
        bearer=lambda key: _BRIDGE + key.hex(),
    )

    def built_in(model: str) -> bool:
        snapshot = gateway.world.snapshot
        pools = snapshot.pools_of.get(model, ()) if model else snapshot.pools.values()
        return all(pool.dialect == "local" for pool in pools)

    def most() -> int:
        return reloading.settings.files.person_bytes_max

    def blind(principal: Principal, model: str) -> list[str] | None:
        name = model or first_model(gateway, principal, sees=True)
        if sees_pictures(gateway, name):
            return None
        return [one for one in chat_models(gateway, principal) if sees_pictures(gateway, one)]

    door = Door(
        visitors=visitors,
        runs=runs,
        archive=archive,
        clock=clock,
        new_id=new_id,
        new_secret=lambda: secrets.token_urlsafe(32),
        built_in=built_in,
        blind=blind,
        most=most,
    )
    console = Console(visitors, StoredFacts(house.state, clock, lambda: reloading.settings, gateway), clock)
    commands = ServedCommands(house.layout, reloading)
    making = ReportMaking(visitors, commands, house.layout.making, clock, spawn, lambda: runs.stopping, process_id())
    reports = ConsoleReports(visitors, Reports(house.layout.reports))
    files = ThreadFiles(visitors, runs, archive, most)
    browser = ThreadBrowser(visitors, runs, archive, clock)
    memories = Memories(visitors, archive, clock, new_id, whose)
    webhooks = Webhooks(visitors=visitors, archive=archive, teller=teller, clock=clock, new_id=new_id, new_token=new_token, private=private)
    triggers = Triggers(
        visitors=visitors,
        runs=runs,
        archive=archive,
        clock=clock,
        new_id=new_id,
        new_token=new_token,
        sign=sign,
        held=keys.held,
    )
    firings, schedules = _scheduled(house, runs, visitors, archive, new_id, teller, owner, log)

    def budget() -> Budget:
        said = reloading.settings.agents
        pico = None if said.a2a_usd_max is None else pico_of(said.a2a_usd_max)
        return Budget(pico_usd_max=pico, tokens_max=said.a2a_tokens_max)

    pushes = Pushes(archive, teller, clock, new_id, private)
    tasks = AgentTasks(runs, archive, pushes, clock, new_id, budget)
    a2a = A2A(visitors, tasks, pushes, version())
    doors = (visitors, door, files, browser, memories, schedules, webhooks, triggers, a2a, console, making, reports)
    routes = [*(route for one in doors for route in one.routes()), *page_routes()]
    return Rooms(runs, teller, firings, visitors, archive, database, routes)


def _household(own: Principal | None, database: sqlite3.Connection) -> tuple[str, Callable[[str], str]]:
    """Who runs the server, as an owner of threads; and the owner of somebody's memories: what the development key says at the page and what
    is said at the terminal is one memory."""
    if own is None:
        return "", lambda visitor: visitor
    owner = owner_of(own)
    MemoryStore(database).adopt(owner)
    return owner, lambda visitor: "" if visitor == owner else visitor


def _leave_of(database: sqlite3.Connection, sign: Callable[[], bytes], clock: MachineClock, home: Path) -> Keeper | None:
    """Whoever looks after the leave that was signed for the run in this folder; None: there is none."""
    if (home / TRIGGER_FILE).exists():
        return Keeper(TriggerStore(database), (home / TRIGGER_FILE).read_text(), sign(), clock)
    if (home / SCHEDULE_FILE).exists():
        return Keeper(ScheduleStore(database), (home / SCHEDULE_FILE).read_text(), sign(), clock)
    return None


def _scheduled(
    house: House,
    runs: Runs,
    visitors: Visitors,
    archive: LocalArchive,
    new_id: Callable[[str], str],
    teller: Teller,
    owner: str,
    log: logging.Logger,
) -> tuple[Firings, Schedules]:
    """Who does what is due, and where schedules are made; those of the terminal are `owner`'s, of the development key."""
    clock = house.clock
    sign = functools.partial(signing_key_of, house.layout)

    async def skipped(schedule: Schedule, moments: list[Moment]) -> None:
        await teller.skipped(schedule.owner or owner, schedule.id, moments)

    firings = Firings(
        runs=runs,
        archive=archive,
        clock=clock,
        new_id=new_id,
        sign=sign,
        house=(owner, digest(house.secret)),
        lock=FileLock(house.layout.watch_lock),
        process=process_id(),
        skipped=skipped,
        log=log,
    )
    schedules = Schedules(
        visitors=visitors,
        archive=archive,
        clock=clock,
        new_id=new_id,
        sign=sign,
        folders=house.layout.root / "workspace",
        house=owner,
        ring=firings.ring,
    )
    return firings, schedules


def embeddings(gateway: Gateway, clock: MachineClock, new_id: Callable[[str], str], principal: Principal) -> GatewayEmbeddings | None:
    """The first model that embeds and that the key may ask; None where there is none."""
    for name, profile in gateway.world.snapshot.models.items():
        if "embeddings" in profile.operations and principal.may_ask(name):
            return GatewayEmbeddings(gateway, clock, new_id, principal, name)
    return None


def first_model(gateway: Gateway, principal: Principal, *, sees: bool = False) -> str:
    """The first that chats and that the key may ask; with `sees` the first of them that is shown pictures, if any is. Raises ModelNotFound
    where there is none."""
    names = chat_models(gateway, principal)
    if not names:
        raise ModelNotFound("any that chats")
    return next((name for name in names if sees and sees_pictures(gateway, name)), names[0])


def chat_models(gateway: Gateway, principal: Principal) -> list[str]:
    """Those that chat and that the key may ask, in order."""
    models = gateway.world.snapshot.models.items()
    return [name for name, one in models if "chat" in one.operations and principal.may_ask(name)]


def link_for(state: SharedState, clock: MachineClock, secret: str) -> str:
    """What to put behind the server's address to be signed in with this key, once and soon. Raises NotReady where the database is busy."""
    token, now = secrets.token_urlsafe(24), clock.moment()
    with state.opened() as database:
        keep_session(database, token, "link", digest(secret), now + LINK_S * SECOND, now)
    return f"/#/in/{token}"
