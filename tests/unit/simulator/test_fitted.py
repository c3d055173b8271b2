"""What is fitted to traffic that was made from a source is about that source."""

import tomllib

import msgspec
import pytest

from headrace.simulator.calls import Call
from headrace.simulator.fitted import sources_of, toml_of
from headrace.simulator.synthetic import Source, Synthetic
from tests.unit.simulator.builders import a_call

DAY_MS = 24 * 3_600_000.0


def made(source: Source, duration_ms: float) -> list[Call]:
    return list(Synthetic([source], seed=1, duration_ms=duration_ms).calls())


def a_source(**more) -> Source:
    fields = {
        "name": "s",
        "traffic_class": "enterprise",
        "model": "m",
        "sessions_per_s": 5,
        "tokens_in": 500,
        "tokens_out": 50,
        "swing": 0.0,
    }
    return Source(**{**fields, **more})


@pytest.mark.parametrize("cv", [0.5, 1.0, 2.0])
def test_rates_lengths_and_bursts(cv):
    found = sources_of(made(a_source(cv=cv, spread=0.7), 3_600_000), "s")[0]
    assert found.sessions_per_s == pytest.approx(5, rel=0.1)
    assert found.tokens_in == pytest.approx(500, rel=0.05)
    assert found.tokens_out == pytest.approx(50, rel=0.05)
    assert found.spread == pytest.approx(0.7, rel=0.05)
    assert found.cv == pytest.approx(cv, rel=0.1)
    assert (found.turns, found.swing) == (1.0, 0.0)


def test_a_day_has_its_swing():
    source = a_source(sessions_per_s=0.5, swing=0.8, weights=(0.0, 1.0, 0.0, 0.0, 0.0))
    found = sources_of(made(source, 1.01 * DAY_MS), "s")[0]
    assert found.swing == pytest.approx(0.8 * 0.955, rel=0.1)  # the mean of a wave's best sixth is below its top
    assert found.cv == pytest.approx(1.0, rel=0.1)


def test_sessions_are_found_by_what_they_begin_with():
    calls = []
    for session in range(50):
        for turn in range(3):
            tokens_in = 100 + turn * 70
            calls.append(
                a_call(session * 9_000.0 + turn * 2_000, tokens_in=tokens_in, tokens_out=20, segments=((session, tokens_in),), grows=True)
            )
    found = sources_of(calls, "s")[0]
    assert (found.turns, found.tokens_added, found.think_s) == (3.0, 50.0, 2.0)
    assert found.tokens_in == 100


def test_a_class_is_a_source_and_a_source_is_a_table():
    calls = [a_call(float(at), traffic_class="batch" if at % 3 else "coding") for at in range(30)]
    found = sources_of(calls, "t")
    assert [source.name for source in found] == ["t-batch", "t-coding"]
    table = tomllib.loads(toml_of(found[0]))["source"][0]
    assert msgspec.convert(table, Source).sessions_per_s == pytest.approx(found[0].sessions_per_s, rel=1e-5)
    with pytest.raises(ValueError, match="two calls"):
        sources_of(calls[:1], "t")
