"""Scenarios from files: the shipped ones run, wrong ones say what is wrong, and sweeps give the same wherever they run."""

from typing import Any

import msgspec
import pytest

from headrace.compose.settings import parse_settings
from headrace.compose.simulated import (
    Scenario,
    parse_scenario,
    planet,
    prepare,
    read_scenario,
    replay_of,
    shipped_scenarios,
    sites_of,
    with_pools_of,
)
from headrace.compose.sweep import cells, run_here, run_on_ray
from headrace.core.errors import SettingsInvalid
from headrace.simulator.events import EVENTS, happening
from headrace.simulator.report import encode
from headrace.simulator.traces import As

POOL = """
[[pool]]
name = "a"
cloud = "oci"
region = "eu-frankfurt-1"
silicon = "nvidia-h100"
models = { "gpt-oss-120b" = "gpt-oss-120b" }
contract = { kind = "reserved", usd_per_accelerator_hour = "2.40", accelerators = 4 }
"""
SOURCE = """
[[source]]
name = "s"
class = "enterprise"
model = "gpt-oss-120b"
sessions_per_s = 2
tokens_in = 800
tokens_out = 100
"""


def short(name: str = "small", duration_s: float = 20.0, **more: Any) -> Scenario:
    scenario = read_scenario(name)
    return msgspec.structs.replace(scenario, simulation=msgspec.structs.replace(scenario.simulation, duration_s=duration_s, **more))


@pytest.mark.parametrize("name", shipped_scenarios())
def test_shipped_scenarios_run(name):
    report = prepare(short(name, scale=1.0 if name == "small" else 0.0005)).go()
    assert report.served > 0
    assert report.name == name


def test_a_scenario_of_ones_own(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(POOL + SOURCE)
    scenario = read_scenario(str(file))
    site = sites_of(scenario, 1.0)[0]
    assert site.block is not None
    assert site.accelerators == 4
    assert site.pool.jurisdictions >= {"eu", "de"}
    assert 0 < site.pool.concurrency_max <= site.block.replicas * site.block.service.batch_max
    assert site.carbon_g_per_kwh is not None
    assert scenario.simulation.name == "mine"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[pool]", "not valid TOML"),
        ("[simulation]\nsede = 1", "sede"),
        (POOL.replace("nvidia-h100", "nvidia-h1000") + SOURCE, "nvidia-h1000"),
        (POOL.replace("gpt-oss-120b", "gpt-2") + SOURCE, r"no service of gpt-2.*\[\[service\]\]"),
        (SOURCE, "at least one"),
        (POOL + POOL + SOURCE, "two pools"),
        (POOL, "source"),
        (POOL + SOURCE.replace("sessions_per_s = 2", "sessions_per_s = -2"), "sessions_per_s"),
    ],
)
def test_what_is_wrong_is_said(text, why):
    with pytest.raises(SettingsInvalid, match=why):
        prepare(parse_scenario(text, "x.toml"))


def test_no_such_scenario():
    with pytest.raises(SettingsInvalid, match=r"shipped scenario: those are .*small"):
        read_scenario("smal")


def test_a_service_of_ones_own():
    row = (
        "[[service]]\nmodel = 'gpt-2'\nsilicon = 'nvidia-h100'\nengine = 'mine'\nprecision = 'bf16'\nstep_ms = 5\n"
        "prompt_ms = 0.01\nkv_tokens = 50000\ngrade = 'estimated'\nsource = 'me'\n"
    )
    scenario = parse_scenario(POOL.replace("gpt-oss-120b", "gpt-2") + SOURCE.replace("gpt-oss-120b", "gpt-2") + row, "x.toml")
    block = sites_of(scenario, 1.0)[0].block
    assert block is not None
    assert (block.service.engine, block.replicas) == ("mine", 4)


def test_pools_of_the_settings():
    pool = {
        "name": "mine",
        "endpoints": ["http://10.0.0.1/v1"],
        "cloud": "oci",
        "region": "eu-frankfurt-1",
        "silicon": "amd-mi355x",
        "models": {"gpt-oss-120b": "gpt-oss-120b"},
        "contract": {"kind": "reserved", "usd_per_accelerator_hour": "4", "accelerators": 8},
    }
    scenario = with_pools_of(short(), parse_settings({"pool": [pool]}, "test"))
    assert [site.pool.name for site in sites_of(scenario, 1.0)] == ["mine"]
    with pytest.raises(SettingsInvalid, match="none of the settings' pools"):
        with_pools_of(short(), parse_settings({}, "test"))


def test_a_trace_that_is_none(tmp_path):
    file = tmp_path / "trace.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(SettingsInvalid, match="cannot be read as azure"):
        replay_of("azure", file, As(model="m"))


def test_the_planet_is_calibrated_by_its_slice():
    report, apart = planet(short(duration_s=3_600.0), slice_scale=1.0, slice_s=20.0)
    assert report.duration_s == 3_600.0
    assert report.served > 100_000
    assert {one.what.partition(":")[0] for one in apart} >= {"realtime", "coding", "cerebras-api"}


def test_a_sweep_is_the_same_on_one_process_and_two():
    held = cells(short(duration_s=5.0), policies=["balanced", "least_loaded"], events=[(), ("replica",)], seeds=[1, 2])
    assert len(held) == 8
    told: list[int] = []
    one = run_here(held[:3], processes=1, told=lambda done, count: told.append(done))
    assert told == [1, 2, 3]
    assert list(map(encode, one)) == list(map(encode, run_here(held[:3], processes=2)))


def test_a_sweep_is_the_same_on_ray():
    pytest.importorskip("ray", reason="the ray extra is not installed: a sweep over its workers is run here")
    held = cells(short(duration_s=5.0), policies=["balanced"], events=[()], seeds=[1, 2])
    assert list(map(encode, run_on_ray(held, address="local"))) == list(map(encode, run_here(held, processes=1)))


def test_events_know_their_names():
    sites = sites_of(short(), 1.0)
    assert all(happening([name], sites, 900.0) for name in EVENTS)
    with pytest.raises(ValueError, match="no event 'meteor'"):
        happening(["meteor"], sites, 900.0)
