"""One immutable version of what exists, indexed by what is asked for."""

import pytest

from headrace.portfolio import Pool, snapshot
from headrace.testing.builders import a_model, a_pool


def test_pools_are_found_by_the_models_that_they_serve():
    both, one = a_pool("both", models=["m", "n"]), a_pool("one", models=["n"])
    held = snapshot(7, [both, one], [a_model("m"), a_model("n")])
    assert held.version == 7
    assert held.pools == {"both": both, "one": one}
    assert held.pools_of == {"m": (both,), "n": (both, one)}
    assert set(held.models) == {"m", "n"}


def test_nothing_is_a_portfolio_too():
    assert snapshot(1, [], []).pools_of == {}


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="two pools are named 'a'"):
        snapshot(1, [a_pool("a"), a_pool("a", models=["n"])], [])


def test_values_do_not_change():
    with pytest.raises(AttributeError):
        a_pool().name = "b"  # type: ignore[misc]


def test_a_pool_has_what_it_needs_from_three_fields():
    pool = Pool(name="p", dialect="local", models={})
    assert (pool.endpoints, pool.drain_ms_max, pool.region) == ((), 0, "local")
