"""Plans that are known: Mélange's published example, and every small question's answer by trying all of them."""

from itertools import product
from random import Random

import pytest

from headrace.planner.day import HOURS_PER_QUARTER
from headrace.planner.planning import Effort, make_plan
from headrace.planner.sites import Instance
from tests.unit.planner.questions import a_demand, a_place, a_question, an_offer

EXACT = Effort(gap=0.0)


def test_melange_published_example() -> None:
    """tyler-griggs/melange-release@ebba701, melange/config/example.json: four buckets of requests, two kinds of GPU, one slice a bucket;
    its answer is 3 A10G and 1 A100 for $6.70 an hour."""
    rates = [30 * share for share in (0.2, 0.1, 0.5, 0.2)]
    gpus = {"a10g": (1.01, (2, 1, 5, 2)), "a100": (3.67, (20, 20, 40, 20))}
    demands = tuple(a_demand(f"bucket {number}", tokens_per_s=1_000 * rate, slices=1) for number, rate in enumerate(rates))
    places = tuple(a_place(an_offer(f"{name}/one", name, usd=usd)) for name, (usd, _) in gpus.items())
    loads = {(at, b): rates[b] / tputs[b] for at, (_, tputs) in enumerate(gpus.values()) for b in range(4)}
    plan = make_plan(a_question(demands, places, loads), EXACT).plan
    assert {rented.silicon: rented.accelerators_max for rented in plan.rentals} == {"a10g": 3, "a100": 1}
    assert plan.usd / HOURS_PER_QUARTER == pytest.approx(6.70)


def test_the_same_without_slices_is_cheaper() -> None:
    """Divided at will, one of each will do: 1.01 + 3.67."""
    demands = tuple(a_demand(f"bucket {number}", tokens_per_s=1_000 * rate) for number, rate in enumerate((6, 3, 15, 6)))
    places = (a_place(an_offer("a10g/one", "a10g", usd=1.01)), a_place(an_offer("a100/one", "a100", usd=3.67)))
    loads = {(0, b): 3.0 for b in range(4)} | {(1, b): load for b, load in enumerate((0.3, 0.15, 0.375, 0.3))}
    plan = make_plan(a_question(demands, places, loads), EXACT).plan
    assert plan.usd / HOURS_PER_QUARTER == pytest.approx(4.68)


@pytest.mark.parametrize("seed", range(40))
def test_brute_force_agrees(seed: int) -> None:
    """Two or three places with quanta and terms of their own, two demands in indivisible slices, one case or two: all answers tried."""
    question = _random_question(Random(seed))
    planned = make_plan(question, EXACT)
    assert planned.plan.usd / HOURS_PER_QUARTER == pytest.approx(_cheapest(question), rel=1e-6)
    assert planned.plan.outcome == "optimal"


def _random_question(rng: Random) -> Instance:
    count = rng.choice((2, 3))
    demands = tuple(a_demand(f"d{number}", slices=rng.choice((1, 2))) for number in range(2))
    places = tuple(
        a_place(
            an_offer(
                f"c{at}/r", f"s{at}", rng.choice(("on_demand", "reserved_1y")), round(rng.uniform(1, 4), 2), quantum=rng.choice((1, 2, 3))
            )
        )
        for at in range(count)
    )
    loads = {(at, d): round(rng.uniform(0.4, 4), 2) for at in range(count) for d in range(2) if at == 0 or rng.random() < 0.8}
    return a_question(demands, places, loads)


def _cheapest(question: Instance) -> float:
    """Every way to put each slice somewhere, and the quanta that it takes; dollars an hour."""
    slices = [(d, 1 / demand.slices) for d, demand in enumerate(question.ask.demands) if demand.slices for _ in range(demand.slices)]
    best = float("inf")
    for choice in product(range(len(question.places)), repeat=len(slices)):
        if any((at, d) not in question.loads for at, (d, _) in zip(choice, slices, strict=True)):
            continue
        cost = 0.0
        for at, place in enumerate(question.places):
            full = sum(question.loads[at, d] * part for chosen, (d, part) in zip(choice, slices, strict=True) if chosen == at)
            offer = place.offers[0]
            quanta = next(n for n in range(100) if n * offer.size >= full - 1e-9)
            cost += quanta * offer.size * (offer.usd_per_accelerator_hour or 0)
        best = min(best, cost)
    return best
