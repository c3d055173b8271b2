"""The page about fifteen billion tokens a minute says what the data say."""

import pytest

from scripts.fifteen_billion import PAGE, PLAN_HEADING, RESULTS, relay_costs, tables


def test_the_page_is_as_the_data_make_it() -> None:
    """The plan at its end may differ in the last digits from one build of the solver to another, so that part is not compared."""
    found, heading, plan = PAGE.read_text(encoding="utf-8").partition(PLAN_HEADING)
    assert heading
    assert found == tables(), "the data have changed: run `make page-15b`, and commit the page"
    assert "a million tokens**" in plan


def test_the_relays_costs_are_those_of_the_results() -> None:
    costs = relay_costs(RESULTS.read_text(encoding="utf-8"))
    assert 10 < costs.request_us[2_000] < costs.request_us[300_000] < 2_000
    assert 1 < costs.event_us < 200
    with pytest.raises(ValueError, match="has no row '2 KB prompt'"):
        relay_costs("| nothing |")
