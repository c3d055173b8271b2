"""From a plan to settings and to machines: the `[[pool]]` tables that it asks for, as a diff to review, and task files for SkyPilot."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff

import msgspec

from headrace.planner.offers import Term
from headrace.planner.plan import Plan, Purchase, Rental

CONTRACT: Mapping[Term, str] = {
    "owned": "owned",
    "reserved_3y": "reserved",
    "reserved_1y": "reserved",
    "on_demand": "on_demand",
    "spot": "spot",
}
ENDPOINT = "http://127.0.0.1:8000/v1"
"""Stands for where the new pool will listen, which no plan knows: to be replaced."""
SKYPILOT: Mapping[str, str] = {
    "nvidia-a100-80gb": "A100-80GB",
    "nvidia-h100": "H100",
    "nvidia-h200": "H200",
    "nvidia-b200": "B200",
    "nvidia-b300": "B300",
    "nvidia-gb200": "GB200",
    "nvidia-l40s": "L40S",
}
"""SkyPilot's names of the accelerators on which what a task installs runs: vLLM's own wheels are for NVIDIA's."""
FOURS = frozenset({("oci", "nvidia-gb200"), ("oci", "nvidia-l40s"), ("nebius", "nvidia-l40s")})
"""Who is sold by four a machine at most; all others by eight."""
CLOUDS = frozenset({"aws", "gcp", "azure", "oci", "nebius"})
"""Those that SkyPilot provisions by their own name."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as the plan has it in a quarter; `kind` of contract, as settings call it."""

    name: str
    cloud: str
    region: str
    silicon: str
    kind: str
    accelerators: int
    usd_per_accelerator_hour: float
    models: tuple[str, ...]


class Existing(msgspec.Struct, frozen=True, kw_only=True):
    """A pool of the settings that is paid by the hour; `kind` as its contract says."""

    name: str
    cloud: str
    region: str
    silicon: str
    kind: str
    accelerators: int


def wanted(plan: Plan, models: Mapping[str, str], quarter: int) -> tuple[Wanted, ...]:
    """The pools of a quarter: one a place and kind of contract, what is rented at its most. `models` by the demands' titles."""
    served: dict[str, set[str]] = {}
    for serving in plan.servings:
        if serving.quarter == quarter:
            served.setdefault(serving.place, set()).add(models[serving.demand])
    held: list[tuple[Purchase | Rental, int]] = []
    held += [(each, each.accelerators) for each in plan.purchases if each.quarter <= quarter < each.quarter + each.quarters]
    held += [(each, each.accelerators_max) for each in plan.rentals if each.quarter == quarter]
    found: dict[tuple[str, str], list[tuple[Purchase | Rental, int]]] = {}
    for each, count in held:
        found.setdefault((each.place, CONTRACT[each.term]), []).append((each, count))
    return tuple(_wanted(kind, found[place, kind], sorted(served.get(place, ()))) for place, kind in sorted(found))


def _wanted(kind: str, held: Sequence[tuple[Purchase | Rental, int]], models: Iterable[str]) -> Wanted:
    """All contracts of one kind at one place, at their mean price."""
    first, total = held[0][0], sum(count for _, count in held)
    return Wanted(
        name="-".join((first.cloud, first.region.lower(), first.silicon, kind.replace("_", "-"))),
        cloud=first.cloud,
        region=first.region,
        silicon=first.silicon,
        kind=kind,
        accelerators=total,
        usd_per_accelerator_hour=sum(each.usd_per_accelerator_hour * count for each, count in held) / total,
        models=tuple(models),
    )


def changed(text: str, pools: Sequence[Existing], asked: Sequence[Wanted]) -> str:
    """The settings with what the plan asks for: counts of pools that are there already, and new pools at the end.

    What one has reserved or owns is there whatever is planned, so the plan's comes on top of it; what is rented is as the plan says.
    Nothing is ever removed.
    """
    new: list[Wanted] = []
    for each in asked:
        where = each.cloud, each.region, each.silicon, each.kind
        held = next((pool for pool in pools if (pool.cloud, pool.region, pool.silicon, pool.kind) == where), None)
        if held is None:
            new.append(each)
            continue
        count = each.accelerators + (held.accelerators if each.kind in ("reserved", "owned") else 0)
        text = _counted(text, held.name, count)
    tables = "".join(f"\n{table(each)}" for each in new if each.models)
    return text + ("" if text.endswith("\n") or not text or not tables else "\n") + tables


def diff(before: str, after: str, name: str) -> str:
    """As `patch` takes it; empty: nothing changes."""
    lines = unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n" for line in lines)


def table(each: Wanted) -> str:
    """A `[[pool]]` table. Where it listens is left to be said."""
    models = ", ".join(f'"{model}" = "{model}"' for model in each.models)
    price = f'usd_per_accelerator_hour = "{each.usd_per_accelerator_hour:.6f}"'
    return "\n".join(
        (
            "[[pool]]",
            f'name = "{each.name}"',
            f'cloud = "{each.cloud}"',
            f'region = "{each.region}"',
            f'silicon = "{each.silicon}"',
            'dialect = "openai"',
            f'endpoints = ["{ENDPOINT}"]  # say where it listens',
            f'contract = {{ kind = "{each.kind}", {price}, accelerators = {each.accelerators} }}',
            f"models = {{ {models} }}",
            "",
        )
    )


_POOL = re.compile(r"^\[\[pool\]\]\n.*?(?=^\[|\Z)", re.MULTILINE | re.DOTALL)


def _counted(text: str, name: str, count: int) -> str:
    """The settings with another number of accelerators in one pool's contract."""

    def recount(found: re.Match[str]) -> str:
        block = found[0]
        if not re.search(rf'^name\s*=\s*"{re.escape(name)}"', block, re.MULTILINE):
            return block
        return re.sub(r"(accelerators\s*=\s*)[\d_]+", rf"\g<1>{count}", block, count=1)

    return _POOL.sub(recount, text)


def tasks(asked: Sequence[Wanted]) -> Iterator[tuple[str, str]]:
    """A task file of SkyPilot a pool that it can provision: by the hour, on a cloud and an accelerator that it has a name for."""
    for each in asked:
        if each.kind not in ("on_demand", "spot") or each.cloud not in CLOUDS or each.silicon not in SKYPILOT:
            continue
        for model in each.models:
            name = f"{each.name}-{re.sub(r'[^a-z0-9]+', '-', model.lower())}"
            node = 4 if (each.cloud, each.silicon) in FOURS else 8
            lines = (
                f"# {each.accelerators:,} accelerators in all of {each.name}; this starts one node of them. Look first:",
                f"#   sky launch --dryrun {name}.yaml",
                f"name: {name}",
                "num_nodes: 1",
                "resources:",
                f"  infra: {each.cloud}/{each.region}",
                f"  accelerators: {SKYPILOT[each.silicon]}:{node}",
                f"  use_spot: {'true' if each.kind == 'spot' else 'false'}",
                "  ports: 8000",
                "setup: |",
                "  uv venv --seed ~/vllm && uv pip install --python ~/vllm/bin/python vllm",
                "run: |",
                f"  ~/vllm/bin/vllm serve {model} --tensor-parallel-size {node} --port 8000",
                "",
            )
            yield f"{name}.yaml", "\n".join(lines)
