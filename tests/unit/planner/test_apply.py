"""From a plan to pools to review, to tasks, and to a page."""

import tomllib

import pytest

from headrace.compose.settings import parse_settings
from headrace.core.shown import News
from headrace.planner.alternatives import alternatives
from headrace.planner.apply import Existing, Wanted, changed, diff, tasks, wanted
from headrace.planner.offers import Limits
from headrace.planner.page import page
from headrace.planner.planning import Planned, make_plan
from headrace.planner.shown import shown
from headrace.planner.verify import Hour, Verdict, Verified
from headrace.planner.worth import worths
from tests.unit.planner.questions import a_demand, a_place, a_question, an_offer

SETTINGS = """\
[server]
port = 9000

[[pool]]
name = "ours"   # the first we had
cloud = "nebius"
region = "eu-north1"
silicon = "nvidia-h200"
endpoints = ["http://10.0.0.1:8000/v1"]
contract = { kind = "reserved", usd_per_accelerator_hour = "1.60", accelerators = 64 }
models = { "deepseek-r1" = "deepseek-r1" }
"""
OURS = Existing(name="ours", cloud="nebius", region="eu-north1", silicon="nvidia-h200", kind="reserved", accelerators=64)


@pytest.fixture
def planned() -> Planned:
    """Bound at Nebius under two terms, the peak rented there and at AWS."""
    chat = a_demand(model="deepseek-r1", hourly=tuple(0.5 if hour < 12 else 1.5 for hour in range(24)), tokens_per_s=1e6)
    places = (
        a_place(
            an_offer("nebius/eu-north1", "nvidia-h200", "reserved_3y", 1.5, quantum=8, accelerators_max=8),
            an_offer("nebius/eu-north1", "nvidia-h200", "reserved_1y", 1.6, quantum=8, accelerators_max=8),
            an_offer("nebius/eu-north1", "nvidia-h200", "on_demand", 3.5, quantum=8, accelerators_max=8),
        ),
        a_place(an_offer("aws/us-east-1", "nvidia-h100", "on_demand", 6.88, quantum=8)),
    )
    limits = Limits(quarters=1, blocks=2, utilisation=1.0)
    return make_plan(a_question((chat,), places, {(0, 0): 32.0, (1, 0): 32.0}, limits=limits))


MODELS = {"chat": "deepseek-r1"}


def test_pools_of_a_quarter(planned: Planned) -> None:
    """Contracts of one kind at one place are one pool, at their mean price."""
    found = {pool.name: pool for pool in wanted(planned.plan, MODELS, 0)}
    assert {name: pool.accelerators for name, pool in found.items()} == {
        "nebius-eu-north1-nvidia-h200-reserved": 16,
        "nebius-eu-north1-nvidia-h200-on-demand": 8,
        "aws-us-east-1-nvidia-h100-on-demand": 24,
    }
    assert found["nebius-eu-north1-nvidia-h200-reserved"].usd_per_accelerator_hour == pytest.approx(1.55)
    assert all(pool.models == ("deepseek-r1",) for pool in found.values())


def test_what_is_there_is_recounted_and_the_rest_added(planned: Planned) -> None:
    """What was reserved already stays, and the plan's comes on top; everything else of the file is untouched, comments too."""
    after = changed(SETTINGS, [OURS], wanted(planned.plan, MODELS, 0))
    settings = parse_settings(tomllib.loads(after), "the test")
    counts = {pool.name: getattr(pool.contract, "accelerators", 0) for pool in settings.pool}
    assert counts == {"ours": 80, "nebius-eu-north1-nvidia-h200-on-demand": 8, "aws-us-east-1-nvidia-h100-on-demand": 24}
    assert after.startswith(SETTINGS.replace("accelerators = 64", "accelerators = 80"))


def test_a_diff_to_review(planned: Planned) -> None:
    after = changed(SETTINGS, [OURS], wanted(planned.plan, MODELS, 0))
    lines = diff(SETTINGS, after, "headrace.toml").splitlines()
    assert lines[:2] == ["--- a/headrace.toml", "+++ b/headrace.toml"]
    assert [line for line in lines if line.startswith("-") and not line.startswith("---")] == [
        '-contract = { kind = "reserved", usd_per_accelerator_hour = "1.60", accelerators = 64 }'
    ]
    assert diff(SETTINGS, SETTINGS, "headrace.toml") == ""


def test_without_a_file_all_pools_are_new(planned: Planned) -> None:
    after = changed("", [], wanted(planned.plan, MODELS, 0))
    assert len(parse_settings(tomllib.loads(after), "the test").pool) == 3


def test_tasks_for_skypilot(planned: Planned) -> None:
    """One a pool by the hour and model, of clouds and accelerators that it knows; what is bound by contract is not its to start."""
    found = dict(tasks(wanted(planned.plan, MODELS, 0)))
    assert sorted(found) == [
        "aws-us-east-1-nvidia-h100-on-demand-deepseek-r1.yaml",
        "nebius-eu-north1-nvidia-h200-on-demand-deepseek-r1.yaml",
    ]
    text = found["aws-us-east-1-nvidia-h100-on-demand-deepseek-r1.yaml"]
    assert "  infra: aws/us-east-1\n  accelerators: H100:8\n  use_spot: false\n" in text
    assert "sky launch --dryrun" in text


@pytest.mark.parametrize(
    ("cloud", "silicon", "kind", "asked"),
    [
        ("oci", "nvidia-h200", "on_demand", "H200:8"),
        ("oci", "nvidia-gb200", "on_demand", "GB200:4"),
        ("nebius", "nvidia-l40s", "spot", "L40S:4"),
        ("aws", "nvidia-l40s", "spot", "L40S:8"),
        ("gcp", "google-tpu-v6e", "on_demand", None),
        ("oci", "amd-mi300x", "on_demand", None),
        ("oci", "nvidia-h200", "reserved", None),
        ("coreweave", "nvidia-h200", "on_demand", None),
    ],
)
def test_a_task_asks_for_a_whole_machine_as_it_is_sold(cloud: str, silicon: str, kind: str, asked: str | None) -> None:
    one = Wanted(
        name="w", cloud=cloud, region="r", silicon=silicon, kind=kind, accelerators=64, usd_per_accelerator_hour=2.0, models=("m",)
    )
    found = dict(tasks([one]))
    assert list(found) == ([] if asked is None else ["w-m.yaml"])
    if asked is not None:
        assert f"  accelerators: {asked}\n" in found["w-m.yaml"]
        assert f"--tensor-parallel-size {asked[-1]} " in found["w-m.yaml"]


def test_a_page_that_needs_nothing_else(planned: Planned) -> None:
    verdict = Verdict(
        traffic_class="realtime", requests=10, refused_share=0.5, within_share=0.4, ttft_ms_p99=1.0, tpot_ms_p99=2.0, kept=False
    )
    hour = Hour(state="quarter 1", scale=0.5, report=None, verdicts=(verdict,), left_out=("<tiny>",))
    verified = Verified(planned=planned, hours=(hour,), rounds=((0.7, 1.0, 0.2), (0.6, 2.0, 0.4)))
    told = page(planned.plan, alternatives(planned), worths(planned), verified)
    assert told.startswith("<!doctype html>")
    for word in (
        "nebius/eu-north1/nvidia-h200",
        "missed",
        "planned 2 times",
        "&lt;tiny&gt;",
        "From one alone",
        "What things are worth",
        "<svg",
    ):
        assert word in told
    assert "http" not in told, "it loads nothing"
    seen = shown(planned.plan, alternatives(planned), worths(planned), verified)
    assert seen.good is False, "the simulator says that something is missed"
    assert seen.tables[0].rows[0][-1] == News("missed", good=False)
    assert all(len(row) == len(table.columns) for table in seen.tables for row in table.rows)
    assert sum(seen.stacks[0].values[at][0] for at in range(len(seen.stacks[0].names))) == sum(planned.plan.accelerators(0).values())
    assert "<script" not in told


def test_a_page_says_what_goes_unserved_and_escapes_names() -> None:
    limits = Limits(quarters=1, blocks=1, utilisation=1.0, outage="region")
    question = a_question((a_demand("<b>"),), (a_place(an_offer(accelerators_max=1)),), {(0, 0): 2.0}, limits=limits)
    told = page(make_plan(question).plan, (), (), None)
    assert "&lt;b&gt;: 50.0% goes unserved in quarter 1, as expected." in told
    assert "when a/one is lost" in told
    assert "<b>:" not in told
