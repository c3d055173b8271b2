"""What exists: pools of capacity, and the one version of them that a request is placed by."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

Dialect: TypeAlias = Literal["openai", "local"]


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """Capacity of one kind at one place. `models` maps our name of a model to the pool's own name for it.

    `drain_ms_max` says how long to read on when a client leaves a stream, because this vendor bills the whole answer anyway;
    0 means: hang up, it stops computing.
    """

    name: str
    dialect: Dialect
    models: Mapping[str, str]
    endpoints: tuple[str, ...] = ()
    concurrency_max: int = 1_024
    drain_ms_max: int = 0
    cloud: str = "on-premises"
    region: str = "local"
    silicon: str = "cpu"


class ModelProfile(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is, wherever it runs. `tokens_out_max` bounds an answer for which the client named no bound."""

    name: str
    created: int
    owned_by: str
    operations: frozenset[str]
    tokens_context_max: int | None = None
    tokens_out_max: int = 16_384


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that placement knows, as one immutable version."""

    version: int
    pools: Mapping[str, Pool]
    models: Mapping[str, ModelProfile]
    pools_of: Mapping[str, tuple[Pool, ...]]


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
