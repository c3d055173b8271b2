"""Hot reload: the settings are read again, and swapped whole or not at all.

A bad file changes nothing and says why. Requests that run keep the world that they began with. What can't change while the server runs
(where it listens, where its data is, the built-in engine) is said to need a restart, and everything else is taken on.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from headrace.compose.adapters import Adapters
from headrace.compose.banking import Purse, webhook_of
from headrace.compose.prices import price_book
from headrace.compose.settings import Settings
from headrace.compose.world import AllKeys, LimitedKeys, LocalPool, fixed_keys, guards_of, live_world, what_exists
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.gateway import Gateway, GuardedProvider, World
from headrace.metering import Limit
from headrace.storage import Commons, KeyRing, PriceSet, SharedState

log = logging.getLogger("headrace")
LOOK_S = 0.5
FIXED = ("server", "storage", "engine", "telemetry", "cache", "oidc")


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload did: the version that is served by now, whether it is another, and what only a restart would change."""

    version: str
    changed: bool
    needs_restart: tuple[str, ...]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where settings come from: `read` gives them as they are now, and they change when `file` does, where there is one."""

    read: Callable[[], Settings]
    file: Path | None


class Reloading:
    """The settings in force, and the way to others."""

    def __init__(
        self,
        *,
        settings: Settings,
        source: Source,
        environ: Mapping[str, str],
        local: Sequence[LocalPool],
        adapters: Adapters,
        ring: KeyRing,
        clock: Clock,
        commons: Commons | None = None,
        state: SharedState | None = None,
        purse: Purse | None = None,
    ) -> None:
        """`commons`: the other workers of this server, which read the settings again when one does. `state`: where prices and limits
        are set."""
        self.guarded: Counter[tuple[str, str, str]] = Counter()
        self._commons, self._state, self._purse = commons, state, purse
        self.settings, self._read, self.file = settings, source.read, source.file
        self._environ, self._local, self._adapters, self._ring, self._clock = environ, local, adapters, ring, clock
        self._gateway: Gateway | None = None
        self._seen = self._mark()
        self.keys = LimitedKeys(ring, clock.moment)
        self.keys.limit(settings.limits)
        self.all_keys = AllKeys(self.keys)
        self._limits_seen = self._limits_mark()

    def first(self) -> World:
        """The world of the settings that the server starts with. Raises SettingsInvalid."""
        if self._purse is not None:
            self._purse.change(self.settings.budget, webhook_of(self.settings.budgets, self._environ))
        return self._world(self.settings, None)

    def serve(self, gateway: Gateway) -> None:
        """From now on reloads change `gateway`."""
        self._gateway = gateway

    def reload(self) -> Reloaded:
        """Read the settings again and serve by them. Raises SettingsInvalid, and has changed nothing then."""
        assert self._gateway is not None
        settings = self._read()
        fixed = tuple(name for name in FIXED if getattr(settings, name) != getattr(self.settings, name))
        if _local(settings) != _local(self.settings):
            fixed = (*fixed, "pool (local)")
        effective = msgspec.structs.replace(
            settings,
            **{name: getattr(self.settings, name) for name in FIXED},
            pool=(*_local(self.settings), *(pool for pool in settings.pool if pool.dialect != "local")),
        )
        webhook = webhook_of(effective.budgets, self._environ)
        keys = fixed_keys(effective, self._environ, self._clock.moment())
        world = self._world(effective, self._gateway.world)
        changed = world.snapshot.version != self._gateway.world.snapshot.version
        self._ring.fix(keys)
        self.keys.limit(effective.limits)
        if self._purse is not None:
            self._purse.change(effective.budget, webhook)
        self._gateway.change(world)
        self.settings = effective
        return Reloaded(version=f"{world.snapshot.version:08x}", changed=changed, needs_restart=fixed)

    async def watch(self) -> None:
        """Reload whenever the file has changed; run it as a task of the server's group."""
        while True:
            await asyncio.sleep(LOOK_S)
            mark, called = self._mark(), self._commons is not None and self._commons.reload_called()
            if mark != self._seen or called:
                self._seen = mark
                self.try_reload()
            if (limits := self._limits_mark()) != self._limits_seen:
                self._limits_seen = limits
                self.take_limits()

    def take_limits(self) -> None:
        """Have the limits of projects hold as they are set now; all else stays as it is."""
        assert self._gateway is not None
        world = self._gateway.world
        self._gateway.change(msgspec.structs.replace(world, limits=self._limits(self.settings)))

    def reload_all(self) -> Reloaded:
        """Reload here, and have the other workers do so within a second. Raises SettingsInvalid."""
        done = self.reload()
        if self._commons is not None:
            self._commons.call_for_reload()
        return done

    def try_reload(self) -> None:
        """Reload, and say in the log what came of it."""
        try:
            done = self.reload()
        except HeadraceError as wrong:
            log.error("the settings were changed and are not taken on: %s", wrong)  # noqa: TRY400 -- the sentence says it all
            return
        except Exception:
            log.exception("the settings were changed and can't be taken on")
            return
        if done.needs_restart:
            log.warning("of the changed settings these need a restart: %s", ", ".join(done.needs_restart))
        if done.changed:
            log.info("settings %s are in force", done.version)

    def _world(self, settings: Settings, earlier: World | None) -> World:
        prices = self._prices()
        book, moment = price_book(settings, prices), self._clock.moment()
        seen = what_exists(settings, self._local, book, moment)
        draft = live_world(settings, seen, book, {}, {} if earlier is None else earlier.rooms, prices)
        guards, providers = guards_of(settings, self.guarded), self._adapters.providers(settings, self._local)
        if guards is not None:
            providers = {name: GuardedProvider(provider, guards) for name, provider in providers.items()}
        return msgspec.structs.replace(draft, providers=providers, limits=self._limits(settings), guards=guards)

    def _limits(self, settings: Settings) -> tuple[Limit, ...]:
        return (*(one.limit for one in settings.limit), *self._project_limits())

    def _project_limits(self) -> list[Limit]:
        """Those that are set by the administration API."""
        return [] if self._state is None else [one.limit for one in self._state.limits()]

    def _limits_mark(self) -> object:
        return None if self._state is None else self._state.limits_mark()

    def _prices(self) -> list[PriceSet]:
        return [] if self._state is None else self._state.prices()

    def _mark(self) -> tuple[object, ...]:
        """What changes when the file does, or a price is set."""
        return _mark_of(self.file), None if self._state is None else self._state.prices_mark()


def _mark_of(file: Path | None) -> tuple[int, int, int] | None:
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _local(settings: Settings) -> tuple[object, ...]:
    return tuple(pool for pool in settings.pool if pool.dialect == "local")
