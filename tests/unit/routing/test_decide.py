"""Who is sent where, as a table."""

from random import Random

import pytest

from headrace.routing import POLICIES, Load, Refuse, Send, decide, least_loaded
from headrace.testing.builders import a_pool, a_snapshot, an_ask

A, B, C = a_pool("a", models=["m"], concurrency_max=10), a_pool("b", models=["m"], concurrency_max=100), a_pool("c", models=["n"])
WORLD = a_snapshot(A, B, C)

TABLE = [
    # asked, inflight, decided
    ("m", {"a": 1, "b": 1}, Send((B, A))),
    ("m", {"a": 1, "b": 11}, Send((A, B))),
    ("m", {"a": 10, "b": 99}, Send((B,))),
    ("m", {"a": 9, "b": 100}, Send((A,))),
    ("m", {"a": 10, "b": 100}, Refuse("no_capacity")),
    ("m", {"a": 11, "b": 101}, Refuse("no_capacity")),
    ("n", {"a": 10, "b": 100}, Send((C,))),
    ("gpt-9", {}, Refuse("model_not_found")),
]


@pytest.mark.parametrize(("model", "inflight", "decided"), TABLE)
def test_the_table(model, inflight, decided):
    loads = {name: Load(count) for name, count in inflight.items()}
    assert decide(an_ask(model=model), WORLD, loads, Random(0)) == decided


def test_a_tie_is_broken_by_chance():
    loads = {"a": Load(0), "b": Load(0)}
    first = {
        decided.order[0].name for seed in range(20) if isinstance(decided := decide(an_ask(model="m"), WORLD, loads, Random(seed)), Send)
    }
    assert first == {"a", "b"}


def test_another_policy_has_its_way():
    busiest_first = decide(an_ask(model="m"), WORLD, {"a": Load(5), "b": Load(1)}, Random(0), lambda ask, pool, load: -load.inflight)
    assert busiest_first == Send((A, B))


def test_what_may_be_chosen():
    assert {"least_loaded": least_loaded} == POLICIES
    assert least_loaded(an_ask(), A, Load(4)) == 0.4
