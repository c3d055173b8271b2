"""What a step takes, what a replica gives within a service level, and what the shipped rows are."""

from random import Random
from statistics import fmean

import msgspec
import pytest

from headrace.simulator import Service, Services, feasible, mix_of, parse_services, shipped_services, standing
from headrace.simulator.fleet import Block
from headrace.simulator.reference import ReferenceFleet
from headrace.simulator.roofline import CHIPS, SHAPES, estimate
from tests.unit.simulator.builders import a_service

MIX = mix_of([(1.0, 1_000, 0, 200)])


def test_a_step_is_the_sum_of_its_parts():
    service = a_service(held_ms=0.001, spare_tokens=100)
    assert service.step(4, 1_000, 0) == pytest.approx(10 + 0.4 + 1)
    assert service.step(4, 1_000, 600) == pytest.approx(10 + 0.4 + 1 + 0.01 * 500)
    assert service.slowed(2.0).step(4, 1_000, 600) == pytest.approx(2 * service.step(4, 1_000, 600))


@pytest.mark.parametrize("wrong", [{"step_ms": -1}, {"step_ms": 0, "sequence_ms": 0}, {"kv_tokens": 0}, {"batch_max": 0}])
def test_a_service_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="m on 1 × nvidia-h100"):
        a_service(**wrong)


def test_a_mix_weighs_context_by_how_long_it_is_held():
    mix = mix_of([(3.0, 100, 50, 10), (1.0, 1_000, 0, 90)])
    assert (mix.tokens_in, mix.tokens_cached, mix.tokens_out) == (325, 37.5, 30)
    assert mix.tokens_held == pytest.approx((3 * 10 * 105 + 90 * 1_045) / 120)
    with pytest.raises(ValueError, match="at least one shape"):
        mix_of([(0.0, 1, 0, 1)])


def test_more_at_once_is_slower_and_gives_more():
    held = [standing(a_service(), MIX, batch) for batch in range(1, 9)]
    assert [one.tpot_ms for one in held] == sorted(one.tpot_ms for one in held)
    assert [one.ttft_ms for one in held] == sorted(one.ttft_ms for one in held)
    assert [one.requests_per_s for one in held] == sorted(one.requests_per_s for one in held)
    assert held[3].tokens_per_s == pytest.approx(held[3].requests_per_s * 1_200)
    assert held[3].extrapolated is False
    assert standing(a_service(tokens_in_max=500), MIX, 1).extrapolated


@pytest.mark.parametrize(
    ("limits", "batch"),
    [
        ({"ttft_ms_max": 1e9, "tpot_ms_max": 1e9}, 8),  # no more were measured
        ({"ttft_ms_max": 1e9, "tpot_ms_max": 10.5}, 3),  # 10 + 0.1·B + 0.01·B·5
        ({"ttft_ms_max": 1e9, "tpot_ms_max": 9.0}, None),
        ({"ttft_ms_max": 1.0, "tpot_ms_max": 1e9}, None),
    ],
)
def test_the_largest_batch_within_the_limits(limits: dict[str, float], batch: int | None):
    found = feasible(a_service(), MIX, **limits)
    assert (found.batch if found else None) == batch


def largest(service: Service) -> int | None:
    """Whatever the times."""
    found = feasible(service, MIX, ttft_ms_max=1e9, tpot_ms_max=1e9)
    return found.batch if found else None


def test_context_that_does_not_fit_limits_the_batch():
    assert largest(a_service(kv_tokens=2_300)) == 2
    assert largest(a_service(kv_tokens=1_000)) is None


def test_prompts_must_be_read_as_fast_as_answers_end():
    assert largest(a_service(chunk_tokens=20)) == 4


def test_the_best_way_gives_most_an_accelerator():
    small, large = a_service(accelerators=1), a_service(accelerators=8, batch_max=16)
    services = Services((small, large, a_service(model="other")), {"alias": "m"})
    best = services.best("Alias", "nvidia-h100", MIX, ttft_ms_max=1e9, tpot_ms_max=1e9)
    assert best is not None
    assert best[0] is small
    assert services.best("m", "nvidia-h100", MIX, ttft_ms_max=1e9, tpot_ms_max=1e9, grades=["measured"]) is None
    own = services.with_own([msgspec.structs.replace(large, source="mine")])
    assert [row.source for row in own.of("m", "nvidia-h100")] == ["mine"]


@pytest.mark.parametrize("text", ["[[services]]\nrows = [{ model = 'm' }]", "[[more]]", "not toml"])
def test_rows_that_are_wrong_say_so(text):
    with pytest.raises(ValueError, match="services"):
        parse_services(text)


def test_shipped_rows_are_graded_and_bounded():
    services = shipped_services()
    assert len(services.rows) > 100
    for row in services.rows:
        assert row.prompt_ms > 0
        assert row.kv_tokens >= 16_384
        assert (row.grade == "measured") == (row.points > 0)
        assert row.error_percent is not None
    assert {row.silicon for row in services.of("llama-3.3-70b-instruct", "nvidia-h100")} == {"nvidia-h100"}


def test_data_sheets_make_a_service():
    shape = next(one for one in SHAPES if one.model == "llama-3.1-8b")
    chip = next(one for one in CHIPS if one.silicon == "nvidia-rtx-4090")
    one = estimate(shape, chip, kv_tokens=41_408)
    assert one.step_ms == pytest.approx(17.3, abs=0.1)
    assert one.sequence_ms == 0
    two = estimate(shape, chip, tensor=2)
    assert two.step_ms < one.step_ms
    assert two.sequence_ms > 0
    with pytest.raises(ValueError, match="leaves no room"):
        estimate(next(one for one in SHAPES if one.model == "llama-3.1-70b"), chip)


def test_arithmetic_stands_where_a_simulated_replica_does():
    """Arrivals by chance at 60 % of what fits, on the plain fleet: means within a tenth or so: lengths do not vary here."""
    service, mix = a_service(held_ms=1e-4, batch_max=40), mix_of([(1.0, 400, 0, 60)])
    expected = standing(service, mix, 24)
    fleet, chance, running = ReferenceFleet([Block(service=service, replicas=1)]), Random(1), dict[int, float]()
    now, ttfts, tpots = 0.0, list[float](), list[float]()
    for number in range(3_000):
        now += chance.expovariate(expected.requests_per_s / 1_000)
        while done := fleet.run(now, 100):
            for one in done:
                ttfts.append(one.first_ms - running.pop(one.slot))
                tpots.append((one.finished_ms - one.first_ms) / 59)
        running[fleet.submit(now, 0, 400, 60, ((number, 400),))] = now
    assert fmean(ttfts[300:]) == pytest.approx(expected.ttft_ms, rel=0.15)
    assert fmean(tpots[300:]) == pytest.approx(expected.tpot_ms, rel=0.1)
