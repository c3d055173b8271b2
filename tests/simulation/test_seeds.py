"""A sample of seeds, events and policies: the books close whatever happens, and a failing one says how to repeat it."""

from itertools import product

import msgspec
import pytest

from headrace.compose.simulated import prepare, read_scenario, sites_of
from headrace.routing import POLICIES
from headrace.simulator.events import EVENTS, happening
from headrace.simulator.training import Job

CASES = [
    (events, policy, seed)
    for seed, (events, policy) in enumerate(
        [
            *product([(name,) for name in EVENTS], ["balanced"]),
            *product([("region", "surge")], POLICIES),
            (("vendor", "flood", "rule"), "affinity"),
        ]
    )
]


@pytest.mark.parametrize(
    ("events", "policy", "seed"), CASES, ids=["-".join((*events, policy, str(seed))) for events, policy, seed in CASES]
)
def test_the_books_close(events, policy, seed):
    scenario = read_scenario("small")
    simulation = msgspec.structs.replace(scenario.simulation, duration_s=40.0, policy=policy, seed=seed)
    job = Job(name="tune", accelerator_hours=0.05, gang=1, starts_below=0.5)
    scenario = msgspec.structs.replace(scenario, simulation=simulation, training=(job,))
    faults = happening(events, sites_of(scenario, 1.0), simulation.duration_s)
    try:
        report = prepare(msgspec.structs.replace(scenario, fault=tuple(faults))).go()
    except BaseException:
        print(
            f"again: headrace simulate --seed {seed} --policy {policy} {' '.join(f'--event {name}' for name in events)} --hours {40 / 3600}"
        )
        raise
    assert report.served > 0
    assert report.served + report.refused + report.cut + report.in_flight == report.arrived
