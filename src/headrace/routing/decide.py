"""What is chosen: one pure function from an ask and the facts of the moment to an order of pools, or a refusal.

Filter (who may serve it), then feasible (who can now), then score (lower is better, ties broken by chance), then order. The gateway
and the simulator call the same function, so it takes facts and chance as arguments and touches nothing.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Literal, TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.portfolio import Pool, Snapshot


class Load(msgspec.Struct):
    """The moving facts of one pool: how many requests it is working on."""

    inflight: int = 0


class Send(msgspec.Struct, frozen=True, tag=True):
    """Try these pools in this order."""

    order: tuple[Pool, ...]


class Refuse(msgspec.Struct, frozen=True, tag=True):
    """No pool: none serves the model, or none that does has room now."""

    reason: Literal["model_not_found", "no_capacity"]


Policy: TypeAlias = Callable[[Ask, Pool, Load], float]
IDLE = Load()


def least_loaded(ask: Ask, pool: Pool, load: Load) -> float:
    """The share of the pool that is taken."""
    return load.inflight / pool.concurrency_max


POLICIES: dict[str, Policy] = {"least_loaded": least_loaded}


def decide(ask: Ask, snapshot: Snapshot, loads: Mapping[str, Load], rng: Random, policy: Policy = least_loaded) -> Send | Refuse:
    """Rank the pools that may and can serve `ask`."""
    may = snapshot.pools_of.get(ask.model)
    if not may:
        return Refuse("model_not_found")
    can = [pool for pool in may if loads.get(pool.name, IDLE).inflight < pool.concurrency_max]
    if not can:
        return Refuse("no_capacity")
    if len(can) == 1:
        return Send((can[0],))
    ranked = sorted(can, key=lambda pool: (policy(ask, pool, loads.get(pool.name, IDLE)), rng.random()))
    return Send(tuple(ranked))
