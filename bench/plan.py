"""What a plan costs to make: 88 pools under 4 terms each, 24 scenarios, 24 demands.

    make bench-plan           ARGS="--rounds 3"

Five clouds' 11 regions with 8 kinds of silicon each, at made-up prices and speeds; six classes in four geographies, a third of them bound
to a jurisdiction; 13 cases of demand and prices, and the loss of each of the 11 regions. Whole quanta, within half a percent of the
cheapest and within a hundredth of it. Then the example that is shipped: several quarters, blocks of the day, training. Wall time; the
least of some rounds.
"""

import argparse
import random
import time
from collections.abc import Callable

import msgspec

from bench.machine import machine, tell
from headrace.compose.planning import question
from headrace.compose.settings import Settings
from headrace.core.identity import TrafficClass
from headrace.planner import Ask, Case, Demand, Effort, Instance, Limits, Offer, Place, alternatives, make_plan, worths
from headrace.planner.offers import Term

REGIONS = tuple(
    f"{cloud}/{cloud}-{number}" for cloud, count in (("a", 3), ("b", 3), ("c", 2), ("d", 2), ("e", 1)) for number in range(count)
)
SILICON = ("s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7")
CLASSES: tuple[TrafficClass, ...] = ("realtime", "coding", "enterprise", "agentic", "agentic", "batch")
TERMS: tuple[tuple[Term, float], ...] = (("reserved_3y", 0.35), ("reserved_1y", 0.6), ("on_demand", 1.0), ("spot", 0.3))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rounds", type=int, default=3)
    rounds = ask.parse_args().rounds
    asked, shipped = synthetic(random.Random(1)), question(None, None, Settings())
    made = make_plan(asked)
    began = time.process_time()
    make_plan(asked)
    processor_s = time.process_time() - began
    least = {
        "solve_s": _least(rounds, lambda: make_plan(asked)),
        "solve_tight_s": _least(1, lambda: make_plan(asked, Effort(gap=1e-4))),
        "example_s": _least(rounds, lambda: make_plan(shipped)),
    }
    planned = make_plan(shipped)
    least["worths_s"], least["alternatives_s"] = _least(1, lambda: worths(planned)), _least(1, lambda: alternatives(planned))
    program = made.draft.program
    rows = [
        (f"88 pools × 4 terms × 24 scenarios, gap {made.plan.gap:.2%}", f"{least['solve_s']:.2f}"),
        ("the same, processor time", f"{processor_s:.2f}"),
        ("the same within 0.01 %", f"{least['solve_tight_s']:.2f}"),
        ("the shipped example", f"{least['example_s']:.2f}"),
        ("what things are worth in it", f"{least['worths_s']:.2f}"),
        ("the plans beside it, with lock-in", f"{least['alternatives_s']:.2f}"),
    ]
    sizes = {"columns": len(program.cost), "rows": len(program.row_lower), "entries": len(program.values), "whole": len(program.whole)}
    tell(
        machine("headrace", "highspy"),
        ("plan", "s"),
        rows,
        {name: round(took, 3) for name, took in least.items()} | {"solve_cpu_s": round(processor_s, 3)} | sizes,
    )


def synthetic(rng: random.Random) -> Instance:
    """The question of the docstring."""
    dear = {each: rng.uniform(0.8, 1.3) for each in REGIONS}
    fast = {each: rng.uniform(0.5, 8) for each in SILICON}
    places = tuple(
        _place(region, silicon, dear[region] * fast[silicon] * rng.uniform(0.7, 1.4)) for region in REGIONS for silicon in SILICON
    )
    demands = tuple(_demand(name, kind, geography, rng) for name, kind in enumerate(CLASSES) for geography in range(4))
    loads = {
        (at, number): demand.tokens_per_s / (1_000 * fast[place.silicon]) * rng.uniform(0.8, 1.25)
        for at, place in enumerate(places)
        for number, demand in enumerate(demands)
        if number % 3 or at % 3 == number % 4 % 3
    }
    cases = tuple(
        Case(name=f"case {n}", probability=rng.uniform(0.5, 2), demand={"*": rng.uniform(0.6, 1.8)}, prices={"a": rng.uniform(1, 1.5)})
        for n in range(13)
    )
    limits = Limits(quarters=1, blocks=1, outage="region", cloud_share_max={"*": 0.5}, silicon_vendor_share_max={"*": 0.6})
    return Instance(
        ask=Ask(demands=demands, cases=cases),
        limits=limits,
        places=places,
        loads=loads,
        usd_per_s={},
        trains={},
        utilisation=(0.7,) * len(places),
    )


def _place(region: str, silicon: str, usd: float) -> Place:
    cloud, name = region.split("/")
    offers = tuple(
        Offer(
            cloud=cloud,
            region=name,
            silicon=silicon,
            term=term,
            usd_per_accelerator_hour=usd * share,
            quantum=8,
            lead_quarters=0,
            accelerators_max=4_000,
        )
        for term, share in TERMS
    )
    return Place(
        name=f"{region}/{silicon}",
        cloud=cloud,
        region=name,
        silicon=silicon,
        silicon_vendor=f"maker {silicon[-1]}",
        kw=1.5,
        offers=offers,
        held=(0.0,),
        held_usd_per_hour=(0.0,),
    )


def _demand(name: int, kind: TrafficClass, geography: int, rng: random.Random) -> Demand:
    return msgspec.structs.replace(
        Demand(model="m", tokens_per_s=rng.uniform(0.5, 4) * 1e6),
        name=f"{kind} {name} {geography}",
        traffic_class=kind,
        geography=str(geography),
    )


def _least(rounds: int, work: Callable[[], object]) -> float:
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return min(took)


if __name__ == "__main__":
    main()
