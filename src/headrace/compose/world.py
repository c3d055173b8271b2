"""Builds a live world from settings: what exists, who answers for it, what it costs, and who may ask."""

import functools
import logging
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import msgspec

from headrace.compose.clock import Names
from headrace.compose.settings import KeySettings, ModelSettings, PoolSettings, Settings
from headrace.core.clock import Moment
from headrace.core.errors import SettingsInvalid, WeightsUnavailable
from headrace.core.identity import Principal
from headrace.engine import Embedder, Engine, find, obtain, obtain_embedding
from headrace.engine.choosing import missing_for
from headrace.engine.gguf import read_gguf
from headrace.metering import KeyRow, PriceBook, digest, parse_prices, price_row, shown
from headrace.portfolio import ModelProfile, Pool, Snapshot, snapshot
from headrace.providers import Endpoint, Provider
from headrace.providers.adapters.local import LocalProvider
from headrace.providers.adapters.openai import OpenAIProvider

Fetched = Callable[[str, int, int | None], None]
"""Told while something is fetched: what, bytes done, bytes in all where known."""

EMBEDDING_MODEL = "all-minilm-l6-v2"
EMBEDDED = PoolSettings(name="embedded", dialect="local")
EMBEDDED_CONCURRENCY_MAX = 1_000_000  # the engine's own waiting line is the bound, and answers with a time to come back


class LocalPool(msgspec.Struct, frozen=True):
    """A pool on this machine, before its engine runs."""

    pool: Pool
    engine: Engine
    embedder: Embedder | None
    profiles: tuple[ModelProfile, ...]


def price_book(settings: Settings) -> PriceBook:
    """The shipped rows, and the settings' own above them."""
    shipped = parse_prices((files("headrace.metering") / "prices.toml").read_text(encoding="utf-8"))
    own = [
        price_row(model=model.name, usd_per_mtok=model.usd_per_mtok, source="settings", valid_from=model.valid_from)
        for model in settings.model
        if model.usd_per_mtok is not None
    ]
    return PriceBook(shipped, own)


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
    )
    engine = Engine(weights, settings.engine, cache, lambda: names("call_"), log)
    embedder = _embedder(cache, log, fetched) if asked.embeddings else None
    profiles, models = [chat], {name: name}
    if embedder is not None:
        models[EMBEDDING_MODEL] = EMBEDDING_MODEL
        profiles.append(ModelProfile(name=EMBEDDING_MODEL, created=created, owned_by="headrace", operations=frozenset({"embeddings"})))
    pool = Pool(name=asked.name, dialect="local", models=models, concurrency_max=EMBEDDED_CONCURRENCY_MAX)
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


def remote_pool(asked: PoolSettings) -> Pool:
    return Pool(
        name=asked.name,
        dialect=asked.dialect,
        endpoints=asked.endpoints,
        models=asked.models,
        concurrency_max=asked.concurrency_max,
        drain_ms_max=asked.drain_ms_max,
        cloud=asked.cloud,
        region=asked.region,
        silicon=asked.silicon,
    )


def what_exists(settings: Settings, local: Iterable[LocalPool], now_s: int) -> Snapshot:
    """One version of everything that can be asked. Raises SettingsInvalid when names collide."""
    local = list(local)
    pools = [*(one.pool for one in local), *(remote_pool(pool) for pool in settings.pool if pool.dialect != "local")]
    described: dict[str, ModelSettings] = {}
    for model in settings.model:
        described.setdefault(model.name, model)
    profiles = {name: _profile(name, described.get(name), pool, now_s) for pool in pools for name in pool.models}
    profiles.update({profile.name: profile for one in local for profile in one.profiles})
    try:
        return snapshot(1, pools, profiles.values())
    except ValueError as wrong:
        raise SettingsInvalid(str(wrong)) from None


def _profile(name: str, described: ModelSettings | None, pool: Pool, now_s: int) -> ModelProfile:
    model = described or ModelSettings(name=name)
    return ModelProfile(
        name=name,
        created=now_s,
        owned_by=pool.cloud,
        operations=frozenset(model.operations),
        tokens_context_max=model.tokens_context_max,
        tokens_out_max=model.tokens_out_max,
    )


def providers(
    settings: Settings, local: Iterable[LocalPool], environ: Mapping[str, str], endpoint: Callable[[str], Endpoint]
) -> dict[str, Provider]:
    """Who answers for each pool. Raises SettingsInvalid for an address that is none, or a key that is not in the environment."""
    found: dict[str, Provider] = {one.pool.name: LocalProvider(engine=one.engine, embedder=one.embedder) for one in local}
    for pool in settings.pool:
        if pool.dialect == "openai":
            try:
                endpoints = [endpoint(url) for url in pool.endpoints]
            except ValueError as wrong:
                raise SettingsInvalid(f"pool {pool.name!r}: {wrong}") from None
            key = _secret(environ, pool.api_key_env, f"pool {pool.name!r}") if pool.api_key_env else None
            found[pool.name] = OpenAIProvider(name=pool.name, endpoints=endpoints, models=pool.models, api_key=key)
    return found


def fixed_keys(settings: Settings, environ: Mapping[str, str], created: Moment) -> list[KeyRow]:
    """The keys of the settings file. Raises SettingsInvalid when a secret is not in the environment."""
    return [_fixed_key(key, _secret(environ, key.secret_env, f"key {key.name!r}"), created) for key in settings.key]


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


def _secret(environ: Mapping[str, str], name: str, whose: str) -> str:
    secret = environ.get(name, "")
    if not secret:
        raise SettingsInvalid(f"{whose} takes its secret from the environment variable {name}, which is not set")
    return secret


class LimitedKeys:
    """The keys, with the settings' limits for those that have none of their own."""

    def __init__(self, find: Callable[[str], Principal | None], requests_per_minute: int, tokens_per_minute: int) -> None:
        self._find = find
        self._requests, self._tokens = requests_per_minute or None, tokens_per_minute or None
        self._limited: dict[str, tuple[Principal, Principal]] = {}  # by key: as it is kept, and as it is limited

    def find(self, secret: str) -> Principal | None:
        principal = self._find(secret)
        if principal is None:
            return None
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
