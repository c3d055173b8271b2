"""A planner's day at the terminal: an example, a plan with its verdict, what it is worth, what to change, and a forecast."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.server import Installation

DEMAND = """\
[[demand]]
class = "enterprise"
model = "gpt-oss-120b"
tokens_per_s = 50_000
tokens_in = 1_155
tokens_out = 211
curve = "office"
jurisdictions = ["eu"]
"""
PORTFOLIO = """\
[[market]]
cloud = "nebius"
regions = ["eu-north1"]
silicon = ["nvidia-h100", "nvidia-h200"]
terms = ["reserved_3y", "on_demand", "spot"]

[[market]]
cloud = "aws"
regions = ["eu-north-1"]
silicon = ["nvidia-h100"]
terms = ["on_demand"]

[[limits]]
quarters = 2
blocks = 2
outage = "region"
"""
HELD = """\
[[pool]]
name = "ours"
cloud = "nebius"
region = "eu-north1"
silicon = "nvidia-h200"
endpoints = ["http://10.0.0.1:8000/v1"]
contract = { kind = "reserved", usd_per_accelerator_hour = "1.60", accelerators = 8 }
models = { "gpt-oss-120b" = "gpt-oss-120b" }
"""


@pytest.fixture
def place(tmp_path: Path) -> Installation:
    found = Installation(tmp_path, HELD)
    (tmp_path / "demand.toml").write_text(DEMAND)
    (tmp_path / "portfolio.toml").write_text(PORTFOLIO)
    return found


FILES = ("--demand", "demand.toml", "--portfolio", "portfolio.toml")


def test_a_plan_with_the_simulators_verdict(place: Installation) -> None:
    said = place.run("plan", *FILES, "--seconds", "5", "--html", "plan.html").stdout
    for words in (
        "over 2 quarters",
        "Bound for a term",
        "The simulator's verdict",
        "kept",
        "From one alone",
        "nebius/eu-north1",
    ):
        assert words in said
    assert "<svg" in (place.folder / "plan.html").read_text()


def test_a_plan_for_programs(place: Installation) -> None:
    told = json.loads(place.run("plan", *FILES, "--no-verify", "--no-alone", "--format", "json").stdout)
    assert told["plan"]["usd"] > told["plan"]["usd_held"] > 0, "what the settings' pool has reserved is in it"
    assert told["alternatives"] == []
    assert told["usd_per_mtok"] > 0


def test_what_it_is_worth(place: Installation) -> None:
    said = place.run("plan", "explain", *FILES).stdout
    assert "One more million tokens of enterprise anywhere gpt-oss-120b" in said
    assert "That nobody who can't wait notices the loss of any one region costs" in said
    rows = json.loads(place.run("plan", "explain", *FILES, "--format", "json").stdout)
    assert {row["about"] for row in rows} >= {"demand", "contract", "outage"}


def test_what_to_change(place: Installation) -> None:
    """A diff that `patch` would take; the file itself is left alone."""
    said = place.run("plan", "apply", *FILES, "--skypilot", "tasks").stdout
    assert said.startswith("--- a/headrace.toml\n+++ b/headrace.toml\n")
    assert (place.folder / "headrace.toml").read_text() == HELD
    assert list((place.folder / "tasks").glob("*.yaml"))
    assert "no quarter 9" in place.run("plan", "apply", *FILES, "--quarter", "9", expect=1).stderr


def test_examples_are_files_to_start_from(place: Installation) -> None:
    for name in ("demand", "portfolio", "planet-demand", "planet-portfolio"):
        assert tomllib.loads(place.run("plan", "example", name).stdout)


def test_a_forecast_from_a_trace_is_a_demand_to_plan_for(place: Installation) -> None:
    hours = "".join(f"{hour},{90_000 + hour * 10},0,{15_000 + hour}\n" for hour in range(24 * 40))
    (place.folder / "trace.csv").write_text(f"hour,tokens_uncached,tokens_cached,tokens_out\n{hours}")
    ended = place.run("plan", "forecast", "--trace", "trace.csv", "--class", "agentic", "--model", "gpt-oss-120b", "--quarters", "2")
    told = tomllib.loads(ended.stdout)
    assert [case["name"] for case in told["case"]] == ["low", "middle", "high"]
    assert told["demand"][0]["growth_per_quarter"] > 0
    assert "times the last four weeks" in ended.stderr
    (place.folder / "foreseen.toml").write_text(ended.stdout)
    assert place.run("plan", "--demand", "foreseen.toml", "--no-verify", "--no-alone").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--demand", "gone.toml"), "gone.toml does not exist; `headrace plan example` writes one"),
        (("--demand", "headrace.toml"), "tables that nobody reads: pool"),
        (("forecast",), "Nothing was used in that time"),
        (("forecast", "--trace", "headrace.toml"), "is no trace of the kind csv: the trace has no columns"),
        (("forecast", "--trace", "headrace.toml", "--kind", "mooncake"), "is no trace of the kind mooncake"),
    ],
)
def test_what_is_wrong_is_said(place: Installation, arguments: tuple[str, ...], said: str) -> None:
    assert said in place.run("plan", *arguments, expect=1).stderr.replace("\n", " ")


def test_a_demand_that_nothing_can_serve_is_refused(place: Installation) -> None:
    (place.folder / "demand.toml").write_text(DEMAND.replace("gpt-oss-120b", "nobody-s-model"))
    assert "nothing in the portfolio can serve" in place.run("plan", *FILES, expect=1).stderr
