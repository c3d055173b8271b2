"""The guide's examples are taken as they stand, and so are the files that ship."""

import re
from pathlib import Path

import pytest

from headrace.compose.planning import EXAMPLES, example, question
from headrace.compose.settings import Settings
from headrace.planner.demand import parse_demand
from headrace.planner.offers import parse_supply

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "plan.md"


def test_the_guides_examples_are_taken() -> None:
    demand, portfolio = re.findall(r"```toml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    assert parse_demand(demand).training[0].gang == 64
    assert parse_supply(portfolio).limits.outage == "region"


@pytest.mark.parametrize(("demand", "portfolio"), [EXAMPLES[:2], EXAMPLES[2:]], ids=["example", "planet"])
def test_what_ships_can_be_planned(tmp_path: Path, demand: str, portfolio: str) -> None:
    for name in (demand, portfolio):
        (tmp_path / f"{name}.toml").write_text(example(name), encoding="utf-8")
    asked = question(tmp_path / f"{demand}.toml", tmp_path / f"{portfolio}.toml", Settings())
    assert len({place.cloud for place in asked.places}) >= 5
    assert {number for _, number in asked.loads} >= set(range(len(asked.ask.demands)))
