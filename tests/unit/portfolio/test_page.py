"""The page about the portfolio: its tables say what the data says, and its example is one that is accepted.

After a change of the data, `python -m tests.unit.portfolio.test_page` prints the tables anew.
"""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from headrace.portfolio.contracts import Contract
from headrace.portfolio.serving import GRADES
from headrace.portfolio.silicon import Silicon
from tests.unit.portfolio.shipped import SHIPPED

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "portfolio.md").read_text(encoding="utf-8")


def table(*columns: str, rows: Iterable[tuple[str, ...]]) -> str:
    ruler = "|" + "---|" * len(columns)
    return "\n".join([_line(columns), ruler, *map(_line, rows)])


def _line(cells: tuple[str, ...]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def figure(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"


def clouds() -> str:
    held = {name: sum(cloud == name for cloud, _ in SHIPPED.regions) for name in SHIPPED.clouds}
    return table(
        "`cloud`", "is", "kind", "run by", "under the law of", "regions",
        rows=(
            (f"`{one.name}`", one.title, one.kind, one.operator, one.operator_country or "the country that you state", str(held[one.name]))
            for one in SHIPPED.clouds.values()
        ),
    )  # fmt: skip


def jurisdictions() -> str:
    return table(
        "name", "is", "reaches over",
        rows=(
            (f"`{rule.name}`", rule.title, ", ".join([*sorted(rule.countries), *(f"`{realm}`" for realm in sorted(rule.realms))]))
            for rule in SHIPPED.rules.values()
        ),
    )  # fmt: skip


def silicon() -> str:
    return table(
        "`silicon`", "is", "memory, GB", "bandwidth, TB/s", "power, W", "all in, kW",
        rows=(
            (f"`{one.name}`", one.title, *map(figure, (one.memory_gb, one.memory_bandwidth_tb_s, one.power_w, one.all_in_kw)))
            for one in SHIPPED.accelerators.values()
        ),
    )  # fmt: skip


def models() -> str:
    rows = []
    for model in sorted({model for _, model in SHIPPED.points}):
        graded = {grade: sorted({of for of, name in SHIPPED.points if name == model and best(of, model) == grade}) for grade in GRADES}
        aliases = sorted(alias for alias, meant in SHIPPED.models.items() if meant == model and alias != model)
        rows.append((f"`{model}`", ", ".join(f"`{alias}`" for alias in aliases), *(", ".join(graded[grade]) for grade in GRADES)))
    return table("model", "served alike", *GRADES, rows=rows)


def best(of: str, model: str) -> str:
    point = SHIPPED.serving_point(of, model)
    assert point is not None
    return point.grade


TABLES = {"Clouds": clouds, "Jurisdictions": jurisdictions, "Silicon": silicon, "Speeds": models}


@pytest.mark.parametrize("section", list(TABLES))
def test_a_table_of_the_page_is_the_data(section: str):
    _, found, rest = PAGE.partition(f"\n## {section}\n")
    assert found, f"no section {section}"
    written = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("|")]
    assert "\n".join(written) == TABLES[section]()


def test_every_grade_is_explained():
    for grade in (*GRADES, "list"):
        assert f"`{grade}`" in PAGE


def test_the_examples_are_accepted():
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    own = tomllib.loads(blocks[0])["silicon"]
    assert msgspec.convert(own, tuple[Silicon, ...])[0].name == "own-chip"
    pools = tomllib.loads(blocks[1])["pool"]
    for pool in pools:
        msgspec.convert(pool["contract"], Contract)
        assert pool["cloud"] in SHIPPED.clouds
        assert pool["cloud"] == "on-premises" or SHIPPED.region(pool["cloud"], pool["region"])
        assert pool["silicon"] == "own-chip" or SHIPPED.silicon(pool["silicon"])


if __name__ == "__main__":
    print("\n\n".join(f"## {section}\n\n{render()}" for section, render in TABLES.items()))
