"""Serving points: which one is reckoned with, and what a model's name means."""

import pytest

from headrace.portfolio.serving import GRADES, ServingPoint, best_point, parse_serving, plain_name
from headrace.portfolio.silicon import Silicon
from tests.unit.portfolio.shipped import DATED, SHIPPED, a_catalog

NAMES = [
    ("deepseek-r1",                           "deepseek-r1"),
    ("deepseek-ai/DeepSeek-R1-0528",          "deepseek-r1-0528"),
    ("nvidia/Llama-3.1-70B-Instruct-FP8",     "llama-3.1-70b"),
    ("Qwen/Qwen3.5-397B-A17B",                "qwen3.5-397b-a17b"),
    ("gemma-3-27b-it",                        "gemma-3-27b"),
    ("deepseek-r1-distill-qwen-7b",           "deepseek-r1-distill-qwen-7b"),
    ("",                                      ""),
]  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_what_a_name_means(name: str, expected: str):
    assert plain_name(name) == expected


SHIPPED_POINTS = [
    # silicon            model                                 tokens/s of answers   grade
    ("nvidia-b200",      "deepseek-r1",                        973,                  "measured"),
    ("nvidia-b200",      "nvidia/DeepSeek-R1-0528-FP4",        973,                  "measured"),
    ("nvidia-gb200",     "deepseek-v3",                        1227,                 "measured"),
    ("nvidia-gb300",     "deepseek-r1",                        2907.3,               "measured"),
    ("nvidia-b300",      "qwen3.5-397b-a17b",                  1049,                 "measured"),
    ("nvidia-h100",      "gpt-oss-120b",                       1175,                 "measured"),
    ("nvidia-h200",      "meta-llama/Llama-3.3-70B-Instruct",  441,                  "measured"),
    ("nvidia-h200",      "minimax-m2.5",                       381,                  "measured"),
    ("nvidia-h200",      "kimi-k2.5",                          112,                  "measured"),
    ("amd-mi300x",       "deepseek-r1",                        66.8,                 "measured"),
    ("amd-mi325x",       "llama-2-70b-chat-hf",                4017.4,               "measured"),
    ("amd-mi355x",       "llama-2-70b",                        11630.7,              "vendor-claimed"),
    ("google-tpu-v6e",   "llama-3.3-70b",                      443,                  "vendor-claimed"),
    ("google-tpu-v7",    "qwen3.5-397b",                       570,                  "vendor-claimed"),
    ("aws-trainium1",    "llama-3-70b",                        8.75,                 "vendor-claimed"),
    ("aws-trainium2",    "llama-3.1-405b",                     7.56,                 "vendor-claimed"),
    ("aws-trainium2",    "deepseek-r1",                        56.25,                "estimated"),
    ("nvidia-h800",      "deepseek-r1",                        1071.9,               "vendor-claimed"),
]  # fmt: skip


@pytest.mark.parametrize(("silicon", "model", "output_tokens_per_s", "grade"), SHIPPED_POINTS)
def test_what_the_shipped_points_say(silicon: str, model: str, output_tokens_per_s: float, grade: str):
    point = SHIPPED.serving_point(silicon, model)
    assert point is not None
    assert (point.output_tokens_per_s, point.grade) == (output_tokens_per_s, grade)
    assert point.source


UNKNOWN = [
    ("nvidia-b200", "gpt-9"),
    ("cerebras-cs3", "gpt-oss-120b"),
    ("nvidia-b200", "deepseek-r1-distill-qwen-7b"),
    ("abacus", "gpt-oss-120b"),
]


@pytest.mark.parametrize(("silicon", "model"), UNKNOWN)
def test_what_nobody_measured_has_no_point(silicon: str, model: str):
    assert SHIPPED.serving_point(silicon, model) is None


def test_a_point_for_another_shape_or_a_pace():
    quick = SHIPPED.serving_point("nvidia-b200", "deepseek-r1", tpot_ms_max=20)
    short = SHIPPED.serving_point("nvidia-b200", "deepseek-r1", tokens_in=500, tokens_out=900)
    assert quick is not None
    assert short is not None
    assert (quick.output_tokens_per_s, quick.tpot_ms) == (461, 15.37)
    assert (short.tokens_in, short.output_tokens_per_s) == (1024, 2622)
    assert SHIPPED.serving_point("nvidia-b200", "deepseek-r1", tpot_ms_max=5) is None


def test_shipped_points_hold_together():
    points = [point for held in SHIPPED.points.values() for point in held]
    assert len(points) == 133
    for point in points:
        assert 0 < point.output_tokens_per_s <= point.tokens_per_s_per_accelerator
        assert (point.scenario or "").startswith("mlperf") == (point.result is not None), "a result of MLPerf names its entry"
        if point.total_tokens_per_s and point.tokens_in and point.tokens_out:
            share = point.tokens_out / (point.tokens_in + point.tokens_out)
            assert point.output_tokens_per_s == pytest.approx(point.total_tokens_per_s * share, abs=1)


def at(output_tokens_per_s: float, tokens_in: int | None = 1_000, tokens_out: int | None = 1_000, **facts) -> ServingPoint:
    known = {"grade": GRADES[0], "source": "a test", "as_of": None, **facts}
    return ServingPoint(
        silicon="x", model="m", tokens_in=tokens_in, tokens_out=tokens_out, output_tokens_per_s=output_tokens_per_s, **known
    )


BEST = [
    # points                                                        asked for             reckoned with
    ([],                                                            {},                   None),
    ([at(1), at(2)],                                                {},                   1),
    ([at(9, grade="estimated"), at(1, grade="vendor-claimed")],     {},                   1),
    ([at(9, grade="vendor-claimed"), at(1)],                        {},                   1),
    ([at(9, 8_000), at(1, 1_000)],                                  {},                   1),
    ([at(9, 8_000), at(1, 1_000)],                                  {"tokens_in": 9_000}, 0),
    ([at(9, None), at(1, 100_000), at(8, 1_000, None)],             {},                   1),
    ([at(9, None), at(1, None)],                                    {},                   0),
    ([at(9, tpot_ms=30.0), at(1, tpot_ms=10.0), at(5)],             {"tpot_ms_max": 20},  1),
    ([at(9, tpot_ms=30.0), at(5)],                                  {"tpot_ms_max": 20},  None),
    ([at(9, offline=True), at(1)],                                  {},                   1),
    ([at(9, offline=True), at(10, offline=True)],                   {},                   1),
    ([at(9, 5, 0), at(1, 5, 100)],                                  {"tokens_out": 0},    0),
]  # fmt: skip


@pytest.mark.parametrize(("points", "asked", "expected"), BEST)
def test_the_point_to_reckon_with(points: list[ServingPoint], asked: dict[str, int], expected: int | None):
    best = best_point(points, **{"tokens_in": 1_000, "tokens_out": 1_000, **asked})
    assert best == (None if expected is None else points[expected])


def test_where_only_answers_are_known_they_are_all_that_is_reckoned_with():
    assert at(5).tokens_per_s_per_accelerator == 5
    assert at(5, total_tokens_per_s=50).tokens_per_s_per_accelerator == 50


OWN = [
    # an operator's figures          of model            all tokens a second
    (900.0,                          "anything",         900),
    ({"Own/M-Instruct": 90.0},       "m",                90),
    ({"Own/M-Instruct": 90.0},       "n",                None),
    ({"deepseek-r1-0528": 9.0},      "deepseek-r1",      None),
    (None,                           "m",                None),
]  # fmt: skip


@pytest.mark.parametrize(("rates", "model", "expected"), OWN)
def test_an_operators_own_figures(rates: float | dict[str, float] | None, model: str, expected: float | None):
    known = SHIPPED.with_silicon([Silicon(name="own", tokens_per_s=rates)])
    point = known.serving_point("own", model)
    assert (point and (point.total_tokens_per_s, point.grade, point.source)) == (expected and (expected, "estimated", "the settings"))
    if point:
        assert point.output_tokens_per_s == pytest.approx(point.tokens_per_s_per_accelerator / 9)


def test_an_operators_own_figures_come_before_measured_ones():
    known = SHIPPED.with_silicon([Silicon(name="nvidia-b200", tokens_per_s={"deepseek-r1": 1.0})])
    own, measured = known.serving_point("nvidia-b200", "deepseek-r1"), known.serving_point("nvidia-b200", "gpt-oss-120b")
    assert own is not None
    assert measured is not None
    assert (own.total_tokens_per_s, own.grade) == (1.0, "estimated")
    assert measured.grade == "measured"


def test_a_point_says_better_than_its_table():
    serving = """
        [[serving]]
        model = "m"
        silicon = "x"
        grade = "estimated"
        engine = "vllm"
        points = [{ output_tokens_per_s = 1 }, { output_tokens_per_s = 2, engine = "sglang", source = "another" }]
        [[names]]
        aliases = { m = ["Same-As-M"] }
    """
    known = a_catalog(serving=serving)
    assert [(p.engine, p.source) for p in known.points["x", "m"]] == [("vllm", "a test"), ("sglang", "another")]
    assert known.serving_point("x", "same-as-m") == known.points["x", "m"][1]


WRONG = [
    ("[[serving]]\nmodel = 'm'",                                                        "missing required field `points`"),
    ("[[serving]]\nmodel = 'm'\npoints = [{}]",                                         "missing required field"),
    ("[[serving]]\ngrade = 'said'\npoints = [{ output_tokens_per_s = 1 }]",             "Invalid enum value 'said'"),
    ("[[serving]]\ngrade = 'measured'\npoints = [{ tokens_per_s = 1 }]",                "unknown field `tokens_per_s`"),
    ("[[names]]\naliases = { m = 'n' }",                                                "the names of models are not right"),
]  # fmt: skip


@pytest.mark.parametrize(("toml", "says"), WRONG)
def test_what_is_wrong_is_said(toml: str, says: str):
    with pytest.raises(ValueError, match=says):
        parse_serving(DATED + toml)
