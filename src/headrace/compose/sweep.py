"""Many simulations at once: here or on a Ray cluster. Each is a function of its own scenario, so both give the same.

A task goes as bytes and comes back as bytes: nothing is shared, and what a worker needs is the package alone.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context

import msgspec

from headrace.compose.simulated import Scenario, simulate, sites_of
from headrace.core.errors import SettingsInvalid
from headrace.simulator.events import happening
from headrace.simulator.report import Report, decode, encode

Told = Callable[[int, int], None]


class Cell(msgspec.Struct, frozen=True):
    """One run of a sweep, and by what it differs."""

    policy: str
    events: tuple[str, ...]
    seed: int
    scenario: Scenario


def cells(scenario: Scenario, *, policies: Sequence[str], events: Sequence[tuple[str, ...]], seeds: Sequence[int]) -> list[Cell]:
    """Every policy with every set of events and every seed."""
    sites = sites_of(scenario, scenario.simulation.scale)
    found = []
    for policy, named, seed in product(policies, events, seeds):
        simulation = msgspec.structs.replace(scenario.simulation, policy=policy, seed=seed)
        faults = happening(named, sites, simulation.duration_s)
        found.append(Cell(policy, named, seed, msgspec.structs.replace(scenario, simulation=simulation, fault=(*scenario.fault, *faults))))
    return found


def run_here(held: Sequence[Cell], *, processes: int, told: Told | None = None) -> list[Report]:
    """On `processes` processes of this machine, in the order of the cells."""
    tasks = [msgspec.msgpack.encode(cell.scenario) for cell in held]
    if processes <= 1:
        return list(_heard(map(_task, tasks), len(tasks), told))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(_heard(pool.map(_task, tasks), len(tasks), told))


def run_on_ray(held: Sequence[Cell], *, address: str, told: Told | None = None) -> list[Report]:
    """On the Ray cluster at `address` (`local` starts one here), in the order of the cells. Raises SettingsInvalid without Ray."""
    try:
        import ray
    except ImportError:
        raise SettingsInvalid("--ray needs Ray: pip install 'headrace[ray]'") from None
    tasks = [msgspec.msgpack.encode(cell.scenario) for cell in held]
    ray.init(address=address, ignore_reinit_error=True, include_dashboard=False, log_to_driver=False)
    try:
        remote = ray.remote(_task)
        answers = [remote.remote(task) for task in tasks]
        return list(_heard((ray.get(answer) for answer in answers), len(tasks), told))
    finally:
        ray.shutdown()


def _task(scenario: bytes) -> bytes:
    return encode(simulate(msgspec.msgpack.decode(scenario, type=Scenario)))


def _heard(answers: Iterator[bytes], count: int, told: Told | None) -> Iterator[Report]:
    for number, answer in enumerate(answers, 1):
        if told is not None:
            told(number, count)
        yield decode(answer)
