"""Builds a live world from settings: what exists, who answers for it, what it costs, and who may ask."""

import functools
import importlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import cast

import msgspec

from headrace.api import Keys
from headrace.compose.capacity import pool_of, region_of, shipped_catalog
from headrace.compose.clock import Names
from headrace.compose.place import secret_of
from headrace.compose.pools import PoolSettings
from headrace.compose.prices import purchases
from headrace.compose.settings import GuardrailSettings, KeySettings, LimitSettings, ModelSettings, RuleSettings, Settings
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import SettingsInvalid, WeightsUnavailable
from headrace.core.guardrails import Guard
from headrace.core.identity import Principal
from headrace.core.rules import CAPABILITIES, Rules
from headrace.engine import Embedder, Engine, find, obtain, obtain_embedding
from headrace.engine.choosing import missing_for
from headrace.engine.gguf import read_gguf
from headrace.gateway import GUARDS, REACH, Guardrail, Guards, Room, RuleFor, Terms, World, rooms_for
from headrace.metering import KeyRow, PriceBook, digest, shown
from headrace.portfolio import ModelProfile, Pool, Snapshot, snapshot
from headrace.providers import Provider
from headrace.providers.adapters.hosted import HostedEngine
from headrace.routing import CLASSES, POLICIES, Board, Policy
from headrace.storage import PriceSet

Fetched = Callable[[str, int, int | None], None]
"""Told while something is fetched: what, bytes done, bytes in all where known."""

EMBEDDING_MODEL = "all-minilm-l6-v2"
EMBEDDED = PoolSettings(name="embedded", dialect="local")
TEXT_ONLY = frozenset(CAPABILITIES) - {"images", "audio"}
"""What the engine of this process can do."""
EMBEDDED_CONCURRENCY_MAX = 1_000_000  # the engine's own waiting line is the bound, and answers with a time to come back


class LocalPool(msgspec.Struct, frozen=True):
    """A pool on this machine, before its engine runs: in this process, or in one that all workers ask."""

    pool: Pool
    engine: Engine | HostedEngine
    embedder: Embedder | None
    profiles: tuple[ModelProfile, ...]


def local_pools(settings: Settings, cache: Path, names: Names, log: logging.Logger, fetched: Fetched) -> list[LocalPool]:
    """The pools that run here, with their weights at hand; fetches what is missing. Raises WeightsUnavailable or SetupError."""
    wanted = [pool for pool in settings.pool or (EMBEDDED,) if pool.dialect == "local"]
    return [_local_pool(settings, pool, cache, names, log, fetched) for pool in wanted]


def _local_pool(settings: Settings, asked: PoolSettings, cache: Path, names: Names, log: logging.Logger, fetched: Fetched) -> LocalPool:
    weights = _weights(asked.weights or settings.engine.weights, cache, fetched)
    facts, created = read_gguf(weights), int(weights.stat().st_mtime)
    name = next(iter(asked.models), weights.stem.lower())
    chat = ModelProfile(
        name=name,
        created=created,
        owned_by="headrace",
        operations=frozenset({"chat"}),
        tokens_context_max=facts.context,
        tokens_out_max=settings.engine.context_max or facts.context or 16_384,
        capabilities=TEXT_ONLY,
    )
    engine = Engine(weights, settings.engine, cache, lambda: names("call_"), log)
    embedder = _embedder(cache, log, fetched) if asked.embeddings else None
    profiles, models = [chat], {name: name}
    if embedder is not None:
        models[EMBEDDING_MODEL] = EMBEDDING_MODEL
        profiles.append(ModelProfile(name=EMBEDDING_MODEL, created=created, owned_by="headrace", operations=frozenset({"embeddings"})))
    pool = Pool(
        name=asked.name,
        dialect="local",
        models=models,
        concurrency_max=EMBEDDED_CONCURRENCY_MAX,
        vendor=asked.vendor or "on-premises",
        jurisdictions=region_of(asked).jurisdictions,
        data_class=asked.data_class if asked.data_class != "public" else "restricted",  # it never leaves this machine
        zero_retention=True,
        owned=True,
    )
    return LocalPool(pool, engine, embedder, tuple(profiles))


def _embedder(cache: Path, log: logging.Logger, fetched: Fetched) -> Embedder | None:
    """The embedding model; None where it can't be had: chats are served all the same."""
    if missing := missing_for("embedding"):
        log.warning("there are no embeddings: they need the Python packages %s", ", ".join(missing))
        return None
    try:
        weights = obtain_embedding(cache, functools.partial(fetched, "embedding model"))
    except WeightsUnavailable as wrong:
        log.warning("there are no embeddings: %s", wrong)
        return None
    return Embedder(weights, log=log)


def _weights(asked: str | None, cache: Path, fetched: Fetched) -> Path:
    return find(asked, cache) if asked is not None else obtain(cache, functools.partial(fetched, "model weights"))


def what_exists(settings: Settings, local: Iterable[LocalPool], book: PriceBook, moment: Moment) -> Snapshot:
    """One version of everything that can be asked. Raises SettingsInvalid when names collide, or a place does not exist."""
    local, now_s = list(local), moment // SECOND
    remote = [pool_of(pool, settings.silicon, book, moment) for pool in settings.pool if pool.dialect != "local"]
    pools = [*(one.pool for one in local), *remote]
    described: dict[str, ModelSettings] = {}
    for model in settings.model:
        described.setdefault(model.name, model)
    profiles = {name: _profile(name, described.get(name), pool, now_s) for pool in pools for name in pool.models}
    profiles.update({profile.name: profile for one in local for profile in one.profiles})
    try:
        return snapshot(version_of(settings), pools, profiles.values())
    except ValueError as wrong:
        raise SettingsInvalid(str(wrong)) from None


def version_of(settings: Settings) -> int:
    """The same settings have the same version, whoever reads them."""
    return int.from_bytes(blake2b(msgspec.msgpack.encode(settings), digest_size=4).digest(), "big")


def _profile(name: str, described: ModelSettings | None, pool: Pool, now_s: int) -> ModelProfile:
    model = described or ModelSettings(name=name)
    return ModelProfile(
        name=name,
        created=now_s,
        owned_by=pool.cloud,
        operations=frozenset(model.operations),
        tokens_context_max=model.tokens_context_max,
        tokens_out_max=model.tokens_out_max,
        audio_s_max=model.audio_s_max,
        capabilities=None if model.capabilities is None else frozenset(model.capabilities),
    )


def policy_of(settings: Settings) -> Policy:
    """The policy by which placement ranks: one of the table, or a function of the operator's own. Raises SettingsInvalid."""
    name = settings.routing.policy
    return POLICIES[name] if name in POLICIES else cast(Policy, _imported(f"routing.policy {name!r}", name, POLICIES))


def guards_of(settings: Settings, tally: "Counter[tuple[str, str, str]]") -> Guards | None:
    """The guardrails; None: there are none. `tally` counts their verdicts. Raises SettingsInvalid."""
    return Guards([_guardrail(one) for one in settings.guardrail], tally) if settings.guardrail else None


def _guardrail(one: GuardrailSettings) -> Guardrail:
    guard, reach = GUARDS[one.use] if one.use in GUARDS else (_imported(f"guardrail {one.name!r}: use {one.use!r}", one.use, GUARDS), REACH)
    return Guardrail(
        name=one.name,
        guard=cast(Guard, guard),
        ways=frozenset(one.on),
        action=one.action,
        reach=one.reach or reach,
        organization=one.organization,
        project=one.project,
        key=one.key,
        model=one.model,
        traffic_class=one.traffic_class,
    )


def _imported(what: str, name: str, ours: Iterable[str]) -> object:
    """A function of the operator's own. Raises SettingsInvalid."""
    module, _, function = name.partition(":")
    if not function:
        raise SettingsInvalid(f"{what} is none of {', '.join(ours)}, nor a function of yours, as module:function")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as wrong:
        raise SettingsInvalid(f"{what} can't be imported: {type(wrong).__name__}: {wrong}") from wrong
    if not callable(found):
        raise SettingsInvalid(f"{what} is no function")
    return cast(object, found)


def live_world(
    settings: Settings,
    seen: Snapshot,
    book: PriceBook,
    providers: Mapping[str, Provider],
    earlier: Mapping[str, Room],
    prices: Sequence[PriceSet] = (),
) -> World:
    """What requests are served by. `earlier` are the rooms of the world before this one, which go on. Raises SettingsInvalid."""
    classes = dict(CLASSES)
    for one in settings.traffic_class:
        classes[one.name] = one.terms(classes[one.name])
    rooms = rooms_for(seen, earlier, settings.health)
    terms = {field: getattr(settings.routing, field) for field in Terms.__struct_fields__}
    return World(
        snapshot=seen,
        board=Board(seen, {name: room.load for name, room in rooms.items()}, classes),
        rooms=rooms,
        providers=providers,
        book=book,
        rules=tuple(_rule(rule) for rule in settings.rule),
        policy=policy_of(settings),
        terms=Terms(**terms),
        health=settings.health,
        buys=purchases(settings, prices),
        limits=tuple(one.limit for one in settings.limit),
    )


def _rule(rule: RuleSettings) -> RuleFor:
    unknown = set(rule.jurisdictions or ()) - shipped_catalog().jurisdictions
    if unknown:
        near = shipped_catalog().nearest("jurisdiction", min(unknown))
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SettingsInvalid(f"rule {rule.name!r}: no region has the jurisdiction {min(unknown)!r}{meant}")
    return RuleFor(
        rules=Rules(
            names=(rule.name,),
            jurisdictions=None if rule.jurisdictions is None else frozenset(rule.jurisdictions),
            vendors=None if rule.vendors is None else frozenset(rule.vendors),
            vendors_denied=frozenset(rule.vendors_denied),
            data_class=rule.data_class,
            zero_retention=rule.zero_retention,
        ),
        organization=rule.organization,
        project=rule.project,
        key=rule.key,
        model=rule.model,
        traffic_class=rule.traffic_class,
    )


def fixed_keys(settings: Settings, environ: Mapping[str, str], created: Moment) -> list[KeyRow]:
    """The keys of the settings file. Raises SettingsInvalid when a secret is not in the environment."""
    return [_fixed_key(key, secret_of(environ, key.secret_env, f"key {key.name!r}"), created) for key in settings.key]


def _fixed_key(key: KeySettings, secret: str, created: Moment) -> KeyRow:
    return KeyRow(
        id=f"settings:{key.name}",
        name=key.name,
        organization=key.organization,
        project=key.project,
        traffic_class=key.traffic_class,
        requests_per_minute=key.requests_per_minute,
        tokens_per_minute=key.tokens_per_minute,
        digest=digest(secret),
        shown=shown(secret),
        created=created,
    )


class LimitedKeys:
    """The keys, with the settings' limits for those that have none of their own."""

    def __init__(self, keys: Keys, moment: Callable[[], Moment]) -> None:
        self._keys, self._find, self._moment = keys, keys.find, moment
        self._changes = 0
        self._expires: Moment | None = None  # the first end of a key that was found
        self._requests: int | None = None
        self._tokens: int | None = None
        self._limited: dict[str, tuple[Principal, Principal]] = {}  # by key: as it is kept, and as it is limited

    def limit(self, limits: LimitSettings) -> None:
        """From now on these hold."""
        self._requests, self._tokens = limits.requests_per_minute or None, limits.tokens_per_minute or None
        self._limited = {}
        self._changes += 1

    def version(self) -> int:
        """Another number whenever a key or its limits may have changed."""
        if self._expires is not None and self._expires <= self._moment():
            self._expires = None
            self._changes += 1
        return self._keys.version() + self._changes

    def find(self, secret: str) -> Principal | None:
        """Whose key it is; None also for one that administers, which is good for nothing else."""
        principal = self.find_any(secret)
        return None if principal is None or principal.role is not None else principal

    def find_any(self, secret: str) -> Principal | None:
        """Whose key it is, those that administer too."""
        principal = self._find(secret)
        return None if principal is None else self.limited(principal)

    def limited(self, principal: Principal) -> Principal | None:
        """Who holds a key, with the limits that hold for it now; None: it is over."""
        if principal.expires is not None:
            if principal.expires <= self._moment():
                return None
            self._expires = principal.expires if self._expires is None else min(self._expires, principal.expires)
        held = self._limited.get(principal.key)
        if held is not None and held[0] is principal:
            return held[1]
        limited = msgspec.structs.replace(
            principal,
            requests_per_minute=principal.requests_per_minute or self._requests,
            tokens_per_minute=principal.tokens_per_minute or self._tokens,
        )
        self._limited[principal.key] = principal, limited
        return limited


class AllKeys:
    """The same keys, and those that administer."""

    def __init__(self, keys: LimitedKeys) -> None:
        self.version, self.find = keys.version, keys.find_any
