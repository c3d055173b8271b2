"""Small worlds: services with round figures, sites, and calls that come when they are told to."""

from collections.abc import Sequence
from typing import Any

from headrace.portfolio import Pool, TokenCost
from headrace.simulator.calls import Call, Replay, Workload
from headrace.simulator.faults import Fault
from headrace.simulator.fleet import Block
from headrace.simulator.known import fleet_of
from headrace.simulator.run import Run, RunSettings
from headrace.simulator.service import Service
from headrace.simulator.sites import Site, Vendor
from headrace.simulator.training import Job

MODEL = "m"


def a_service(**more: Any) -> Service:
    """10 ms a step, 0.1 a sequence, 0.01 a token of prompt; `more` are its fields."""
    fields: dict[str, Any] = {
        "model": MODEL,
        "silicon": "nvidia-h100",
        "engine": "vllm",
        "precision": "bf16",
        "step_ms": 10.0,
        "sequence_ms": 0.1,
        "held_ms": 0.0,
        "prompt_ms": 0.01,
        "batch_max": 8,
        "chunk_tokens": 1_000,
        "kv_tokens": 20_000,
        "grade": "estimated",
        "source": "a test",
    }
    return Service(**{**fields, **more})


def a_site(name: str = "a", *, replicas: int = 2, service: Service | None = None, concurrency_max: int = 16, **more: Any) -> Site:
    """An owned pool of replicas; `more` are fields of Pool."""
    fields: dict[str, Any] = {"jurisdictions": frozenset({"us"}), "vendor": name, "cloud": name, "region": f"{name}-1", **more}
    pool = Pool(
        name=name,
        dialect="openai",
        models={MODEL: MODEL},
        concurrency_max=concurrency_max,
        owned=True,
        costs={MODEL: TokenCost(1e5, 1e4, 5e5)},
        **fields,
    )
    return Site(pool=pool, block=Block(service=service or a_service(), replicas=replicas), hour_pico=2 * 10**12)


def a_vendor(name: str = "v", *, concurrency_max: int = 16, usd: float = 1.0, limits: Vendor | None = None) -> Site:
    """A pool that sells tokens, at `usd` a million."""
    cost = TokenCost(usd * 1e6, usd * 1e5, usd * 5e6)
    pool = Pool(
        name=name,
        dialect="openai",
        models={MODEL: MODEL},
        concurrency_max=concurrency_max,
        vendor=name,
        cloud=name,
        costs={MODEL: cost},
        ttft_ms=200.0,
        tpot_ms=5.0,
    )
    return Site(pool=pool, vendor=limits if limits is not None else Vendor())


def a_call(at_ms: float = 0.0, **more: Any) -> Call:
    fields: dict[str, Any] = {
        "traffic_class": "enterprise",
        "model": MODEL,
        "tenant": 0,
        "geography": 0,
        "tokens_in": 500,
        "tokens_out": 20,
    }
    return Call(at_ms, **{**fields, **more})


def a_run(
    sites: Sequence[Site],
    calls: Sequence[Call] | Workload,
    *,
    faults: Sequence[Fault] = (),
    jobs: Sequence[Job] = (),
    plain: bool = True,
    **settings: Any,
) -> Run:
    """A run over `sites`; in plain Python unless said otherwise."""
    workload = Replay(list(calls)) if isinstance(calls, Sequence) else calls
    fleet = fleet_of([site.block for site in sites if site.block is not None], plain=plain)
    said = RunSettings(**{"duration_s": 60.0, "policy": "least_loaded", **settings})
    return Run(said, sites, fleet, workload, faults=faults, jobs=jobs)
