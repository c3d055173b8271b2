"""A thousandth of a fleet beside a hundredth of it: what a slice for the whole says otherwise, with 95 % intervals over seeds.

    make bench-slices              ARGS="--seeds 8 --large 100 --small 1000"

The fleet is the shipped scenario `small` times `FLEET`: 28,000 accelerators and 80,000 requests a second, about fifteen billion tokens a
minute. A thousandth of it is the scenario itself, the least that leaves each pool whole replicas. Sessions and caches fill first.
"""

import argparse

import msgspec

from bench.machine import machine, tell
from headrace.compose.simulated import prepare, read_scenario
from headrace.simulator.report import Report
from headrace.simulator.slices import Apart, apart

FLEET = 1_000
SETTLE_S = 120.0


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--seeds", type=int, default=8, help="of each slice")
    ask.add_argument("--large", type=int, default=100, help="the larger slice is one of so many")
    ask.add_argument("--small", type=int, default=1_000, help="the smaller slice is one of so many")
    ask.add_argument("--seconds", type=float, default=120.0, help="of the virtual clock that count")
    said = ask.parse_args()
    found = beside(said.large, said.small, said.seeds, said.seconds)
    rows = [(one.what, f"{one.larger:,.2f}", f"{one.smaller:,.2f}", told(one), "" if one.within else "beyond chance") for one in found]
    figures = {
        "slice_figures": len(found),
        "slice_figures_beyond_chance": sum(not one.within for one in found),
        "slice_largest_percent": round(max(100 * abs(one.off / one.larger) for one in found if one.larger), 1),
    }
    columns = ("figure", f"1/{said.large} of the fleet", f"1/{said.small}", "difference, 95 % interval", "")
    tell(machine("headrace", "numba", "numpy"), columns, rows, figures)


def beside(large: int, small: int, seeds: int, seconds: float) -> tuple[Apart, ...]:
    """Both slices, over the same number of seeds."""
    return apart(sliced(FLEET / large, seeds, seconds), sliced(FLEET / small, seeds, seconds))


def sliced(scale: float, seeds: int, seconds: float) -> list[Report]:
    """The scenario so many times, for each seed."""
    scenario = read_scenario("small")
    reports = []
    for seed in range(1, seeds + 1):
        simulation = msgspec.structs.replace(
            scenario.simulation, duration_s=SETTLE_S + seconds, seed=seed, scale=scale, settle_s=SETTLE_S, name=f"small x {scale:g}"
        )
        reports.append(prepare(msgspec.structs.replace(scenario, simulation=simulation)).go())
    return reports


def told(one: Apart) -> str:
    """The difference, in the figure's own unit and in percent."""
    percent = f" ({100 * one.off / one.larger:+.1f} %)" if one.larger else ""
    return f"{one.off:+.2f} ± {one.half:.2f}{percent}"


if __name__ == "__main__":
    main()
