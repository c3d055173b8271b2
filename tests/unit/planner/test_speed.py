"""How much an accelerator serves: by the simulator's model where it knows, else by measured points, and within the class's objectives."""

import msgspec
import pytest

from headrace.planner.demand import Demand
from headrace.planner.speed import measured_speed, modelled_speed, speed_by
from headrace.portfolio import Silicon
from headrace.simulator import Services, shipped_services
from tests.unit.portfolio.shipped import SHIPPED

CHAT = Demand(model="deepseek-r1", tokens_per_s=1e6, tokens_in=8_192, tokens_out=1_024)
ANY = {"ttft_ms_max": 1e6, "tpot_ms_max": 1e6}


def test_two_measured_shapes_give_back_what_was_measured() -> None:
    found = measured_speed(SHIPPED, "nvidia-gb200", CHAT, ttft_ms_max=5_000, tpot_ms_max=20)
    assert found is not None
    assert found.tokens_per_s == pytest.approx(9_961, rel=0.01)
    assert (found.grade, found.extrapolated) == ("measured", False)


def test_a_cached_prompt_takes_less_and_a_longer_one_is_extrapolated() -> None:
    cached = msgspec.structs.replace(CHAT, cached_share=0.9)
    longer = msgspec.structs.replace(CHAT, tokens_in=100_000)
    base, less, far = (measured_speed(SHIPPED, "nvidia-gb200", each, **ANY) for each in (CHAT, cached, longer))
    assert base is not None
    assert less is not None
    assert far is not None
    assert less.tokens_per_s > 2 * base.tokens_per_s
    assert far.extrapolated


def test_one_shape_alone_takes_a_token_out_for_five_in() -> None:
    found = measured_speed(SHIPPED, "amd-mi325x", CHAT, **ANY)
    assert found is not None
    assert found.tokens_per_s == pytest.approx(677, rel=0.01)


def test_who_waits_may_be_served_as_in_a_batch() -> None:
    """MLPerf's offline points are for those who are in no hurry."""
    llama = msgspec.structs.replace(CHAT, model="llama-2-70b", tokens_in=300, tokens_out=300)
    hasty = measured_speed(SHIPPED, "amd-mi355x", llama, ttft_ms_max=1_000, tpot_ms_max=40)
    patient = measured_speed(SHIPPED, "amd-mi355x", llama, **ANY)
    assert hasty is None
    assert patient is not None


def test_the_service_model_is_asked_first_and_points_where_it_knows_nothing() -> None:
    whole, none = speed_by(shipped_services(), SHIPPED), speed_by(Services(()), SHIPPED)
    by_model, by_points = whole("nvidia-b200", CHAT), none("nvidia-b200", CHAT)
    assert by_model is not None
    assert by_points is not None
    assert by_model.accelerators is not None
    assert by_model.source != by_points.source
    assert whole("nvidia-l40s", CHAT) is None


def test_what_an_operator_says_of_its_own_silicon_comes_first() -> None:
    own = SHIPPED.with_silicon([Silicon(name="nvidia-b200", tokens_per_s={"deepseek-r1": 1_234.0})])
    found = speed_by(shipped_services(), own)("nvidia-b200", CHAT)
    assert found is not None
    assert found.tokens_per_s == pytest.approx(1_234)


def test_stricter_objectives_are_slower_and_impossible_ones_are_none() -> None:
    services = shipped_services()
    easy = modelled_speed(services, "nvidia-b200", CHAT, ttft_ms_max=10_000, tpot_ms_max=60)
    hard = modelled_speed(services, "nvidia-b200", CHAT, ttft_ms_max=2_000, tpot_ms_max=20)
    assert easy is not None
    assert hard is not None
    assert hard.tokens_per_s < easy.tokens_per_s
    assert modelled_speed(services, "nvidia-b200", CHAT, ttft_ms_max=1, tpot_ms_max=1) is None


def test_caution_takes_off_what_may_be_wrong() -> None:
    found = measured_speed(SHIPPED, "nvidia-gb200", CHAT, **ANY)
    assert found is not None
    assert found.full_with(CHAT, caution=1.0) == pytest.approx(found.full_with(CHAT) * 1.3)
