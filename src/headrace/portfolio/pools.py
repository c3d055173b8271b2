"""What exists: pools of capacity, and the one version of them that a request is placed by."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

from headrace.core.rules import Capability, DataClass

Dialect: TypeAlias = Literal["openai", "azure", "anthropic", "bedrock", "gemini", "local"]


class TokenCost(msgspec.Struct, frozen=True, gc=False):
    """What a token costs us at a pool, in pico-USD: what its vendor charges, or what owned capacity costs at full use."""

    input_pico: float = 0.0
    cached_input_pico: float = 0.0
    output_pico: float = 0.0


class PathBound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The most that one request to a vendor's path can use, as the operator says: tokens, and of what is counted otherwise `units_max`."""

    tokens_in_max: int = 0
    tokens_out_max: int = 0
    units_max: Mapping[str, int] = {}


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Capacity of one kind at one place. `models` maps our name of a model to the pool's own name for it.

    Where it is and whose it is: `vendor` runs it, `jurisdictions` hold there (they follow from the region, never from what a pool claims;
    none where the region is unknown), `data_class` is the most sensitive data it is cleared for, `zero_retention` says that its contract
    keeps nothing. `paths` are what it offers beside chats and embeddings (`/images/edits`). `costs` are by our names of the models.
    `owned` capacity is paid whether it is used or not, so that using it while it idles is nearly free. `drain_ms_max` says how long to read
    on when a client leaves a stream, because this vendor bills the whole answer anyway; 0 means: hang up, it stops computing.
    `capabilities` of None: whatever its models can do.
    """

    name: str
    dialect: Dialect
    models: Mapping[str, str]
    endpoints: tuple[str, ...] = ()
    concurrency_max: int = 1_024
    waiting_max: int = 1_024
    drain_ms_max: int = 0
    vendor: str = "on-premises"
    cloud: str = "on-premises"
    region: str = "local"
    jurisdictions: frozenset[str] = frozenset()
    silicon: str = "cpu"
    data_class: DataClass = "public"
    zero_retention: bool = False
    capabilities: frozenset[Capability] | None = None
    tokens_context_max: int | None = None
    owned: bool = False
    costs: Mapping[str, TokenCost] = {}
    weight: float = 1.0
    ttft_ms: float = 500.0
    tpot_ms: float = 20.0
    prefill_tokens_per_s: float = 10_000.0
    paths: Mapping[str, PathBound | None] = {}


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is, wherever it runs. `tokens_out_max` bounds an answer for which the client named no bound; `capabilities` of None:
    not known, so that nobody is turned away for want of one. `audio_s_max` is the longest recording that it takes."""

    name: str
    created: int
    owned_by: str
    operations: frozenset[str]
    tokens_context_max: int | None = None
    tokens_out_max: int = 16_384
    audio_s_max: int = 1_500
    capabilities: frozenset[Capability] | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that placement knows, as one immutable version."""

    version: int
    pools: Mapping[str, Pool]
    models: Mapping[str, ModelProfile]
    pools_of: Mapping[str, tuple[Pool, ...]]


def abilities(snapshot: Snapshot, model: str) -> frozenset[Capability] | None:
    """What some pool of a model can do with it; None where of one nothing is known, so that it may do anything."""
    profile = snapshot.models.get(model)
    of_model = profile.capabilities if profile else None
    known = [pool.capabilities if pool.capabilities is not None else of_model for pool in snapshot.pools_of.get(model, ())]
    return None if None in known else frozenset().union(*(one for one in known if one is not None))


def context_of(snapshot: Snapshot, model: str) -> int | None:
    """The most tokens that some pool of a model takes, prompt and answer together; None where of one it is not known."""
    profile = snapshot.models.get(model)
    of_model = profile.tokens_context_max if profile else None
    known = [pool.tokens_context_max or of_model for pool in snapshot.pools_of.get(model, ())]
    return None if not known or None in known else max(one for one in known if one is not None)


def snapshot(version: int, pools: Iterable[Pool], models: Iterable[ModelProfile]) -> Snapshot:
    """Index `pools` by the models that they serve. Raises ValueError when a name is taken twice."""
    named: dict[str, Pool] = {}
    serving: defaultdict[str, list[Pool]] = defaultdict(list)
    for pool in pools:
        if pool.name in named:
            raise ValueError(f"two pools are named {pool.name!r}: give each its own name")
        named[pool.name] = pool
        for model in pool.models:
            serving[model].append(pool)
    return Snapshot(
        version=version,
        pools=named,
        models={model.name: model for model in models},
        pools_of={model: tuple(held) for model, held in serving.items()},
    )
