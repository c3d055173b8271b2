"""How well the step model predicts measured points, and the coefficients that the package ships.

    make bench-stepmodel                  errors, leaving one point out and leaving one shape out
    make bench-stepmodel ARGS="--write"   and write src/headrace/simulator/data/services.toml anew

It reads `silicon_sample.csv` of ai-dynamo/aiconfigurator (Apache-2.0), looked for in ../shared/data unless `--data` says where.
"""

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from bench.machine import machine, tell
from bench.shared import shared
from headrace.compose.capacity import shipped_catalog
from headrace.simulator.fitting import Measured, Terms, fit, left_out
from headrace.simulator.service import Mix, Service, feasible, mix_of

OUT = Path(__file__).resolve().parents[1] / "src" / "headrace" / "simulator" / "data" / "services.toml"
SOURCE = "ai-dynamo/aiconfigurator@095f58a, systems/silicon_sample.csv, aggregated points of one configuration"
POINTS_MIN = 6
SYSTEMS = {
    "b200_sxm": "nvidia-b200",
    "b300_sxm": "nvidia-b300",
    "h100_sxm": "nvidia-h100",
    "h200_sxm": "nvidia-h200",
    "gb200": "nvidia-gb200",
}


class Facts(NamedTuple):
    """What a model weighs: parameters in billions, heads that keep keys and values (1: one shared latent), bytes a token at 16 bits."""

    parameters_g: float
    kv_heads: int
    kv_bytes: int


MODELS = {
    "deepseek-ai/DeepSeek-R1": ("deepseek-r1", Facts(671, 1, 61 * 576 * 2)),
    "deepseek-ai/DeepSeek-V3": ("deepseek-r1", Facts(671, 1, 61 * 576 * 2)),
    "openai/gpt-oss-120b": ("gpt-oss-120b", Facts(117, 8, 18 * 8 * 64 * 2 * 2)),  # the other 18 layers see 128 tokens
    "meta-llama/Llama-3.1-70B": ("llama-3.1-70b", Facts(70.6, 8, 80 * 8 * 128 * 2 * 2)),
    "meta-llama/Llama-3.1-8B-Instruct": ("llama-3.1-8b", Facts(8, 8, 32 * 8 * 128 * 2 * 2)),
    "nvidia/Llama-3.1-8B-Instruct-FP8": ("llama-3.1-8b", Facts(8, 8, 32 * 8 * 128 * 2 * 2)),
    "Qwen/Qwen3-32B": ("qwen3-32b", Facts(32.8, 8, 64 * 8 * 128 * 2 * 2)),
    "Qwen/Qwen3-235B-A22B-FP8": ("qwen3-235b-a22b", Facts(235, 4, 94 * 4 * 128 * 2 * 2)),
    "Qwen/Qwen3.5-397B-A17B": ("qwen3.5-397b-a17b", Facts(397, 2, 15 * 2 * 256 * 2 * 2)),  # one layer in four has full attention
    "MiniMaxAI/MiniMax-M2.5": ("minimax-m2.5", Facts(230, 8, 62 * 8 * 128 * 2 * 2)),
    "moonshotai/Kimi-K2.5": ("kimi-k2.5", Facts(1026, 1, 61 * 576 * 2)),
    "zhipuai/GLM-5": ("glm-5", Facts(744, 1, 78 * 576 * 2)),
}
BYTES_A_WEIGHT = {"fp4": 0.57, "int4": 0.57, "w4a16": 0.57, "fp8": 1.03, "bf16": 2.0, "fp16": 2.0}
PRECISIONS = {"nvfp4": "fp4", "fp8": "fp8", "fp8_block": "fp8", "fp8_static": "fp8", "bfloat16": "bf16", "float16": "bf16"}
MEMORY_SHARE, OVERHEAD_GB = 0.9, 4.0

# Scaled from a measured way of the same model on the H200, by the one factor of time that makes it meet a published point.
POINTS = {
    "amd-mi300x": ("deepseek-r1", 8192, 1024, 67.0, 31.25, "InferenceX pages, DeepSeek-R1 fp8 8k/1k"),
    "amd-mi325x": ("deepseek-r1", 8192, 1024, 75.0, 31.25, "InferenceX pages, DeepSeek-R1 fp8 8k/1k"),
    "aws-trainium2": ("deepseek-r1", 1024, 1024, 56.0, 40.0, "a third-party page, 64 chips: weak"),
    "google-tpu-v6e": ("llama-3.1-70b", 1024, 1024, 443.0, 35.0, "tpu-recipes@c8cfe2f, vLLM"),
    "google-tpu-v7": ("qwen3.5-397b-a17b", 8192, 1024, 570.0, 40.0, "tpu-recipes@c8cfe2f, vLLM"),
}
RATIOS = {
    "amd-mi355x": ("nvidia-b200", 11_631 / 12_864, "MLPerf Inference v5.1, llama2-70b Offline, MI355X (open) to B200"),
    "nvidia-gb300": ("nvidia-b200", 2_907 / 2_324, "MLPerf Inference v5.1, deepseek-r1 Server, GB300 to B200"),
    "nvidia-h800": ("nvidia-h100", 1.0, "an H100 with slower links; taken as equal"),
    "nvidia-gb200": ("nvidia-b200", 2_327 / 2_324, "MLPerf Inference v5.1, deepseek-r1 Server, GB200 to B200"),
}
SCALED = ("deepseek-r1", "gpt-oss-120b", "llama-3.1-70b", "qwen3.5-397b-a17b", "llama-3.1-8b")


class Way(NamedTuple):
    """One configuration."""

    path: str
    system: str
    engine: str
    precision: str
    tensor: int
    expert: int
    version: str


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", type=Path, default=shared("aiconfigurator_silicon_sample", "silicon_sample.csv"))
    ask.add_argument("--write", action="store_true")
    said = ask.parse_args()
    ways = read(said.data)
    enough = {way: points for way, points in ways.items() if len(points) >= POINTS_MIN}
    by_point = left_out(list(enough.values()), id)
    shapely = {way: points for way, points in enough.items() if len({_shape(point) for point in points}) >= 3}
    by_shape = left_out(list(shapely.values()), _shape)
    if said.write:
        OUT.write_text(toml(services(enough, dict(zip(enough, by_point, strict=True)))), encoding="utf-8")
    rows = [(name, *_row(errors)) for name, errors in _by_silicon(enough, by_point).items()]
    rows += [(f"{name}, an unseen shape", *_row(errors)) for name, errors in _by_silicon(shapely, by_shape).items()]
    all_points, all_shapes = [e for own in by_point for e in own], [e for own in by_shape for e in own]
    figures = {
        "tpot_mean_error_percent": round(100 * fmean(all_points), 2),
        "tpot_median_error_percent": round(100 * median(all_points), 2),
        "tpot_unseen_shape_mean_error_percent": round(100 * fmean(all_shapes), 2),
        "tpot_unseen_shape_median_error_percent": round(100 * median(all_shapes), 2),
        "points": len(all_points),
        "configurations": len(enough),
    }
    columns = ("TPOT, leaving one out", "configurations", "points", "mean %", "median %", "p90 %")
    tell(machine("headrace"), columns, rows, figures)


def read(path: Path) -> dict[Way, list[Measured]]:
    """The aggregated points by configuration; attention in data parallel is left out, since the file counts it in several ways."""
    ways: defaultdict[Way, list[Measured]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["mode"] != "agg" or float(row["silicon_tpot_ms"] or 0) <= 0:
                continue
            said = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
            data_parallel = int(row["attention_dp_size"] or 1) or 1
            point = Measured(
                batch=int(said[1]) if said else int(float(row["batch_size"])) * data_parallel,
                tokens_in=int(row["isl"]),
                tokens_out=int(row["osl"]),
                ttft_ms=float(row["silicon_ttft_ms"] or 0),
                tpot_ms=float(row["silicon_tpot_ms"]),
            )
            expert = int(row["moe_ep_size"] or 1) * (1 if data_parallel == 1 else -data_parallel)
            precision = row["precision"] or PRECISIONS.get(row["gemm_quant_mode"], "bf16")
            way = Way(row["model_path"], row["system"], row["backend"], precision, int(row["tp_size"]), expert, row["backend_version"])
            ways[way].append(point)
    return ways


def services(ways: dict[Way, list[Measured]], errors: dict[Way, Sequence[float]]) -> list[Service]:
    """Of each configuration the version with the most points over at least two shapes, and what is scaled from them."""
    best: dict[tuple[object, ...], Way] = {}
    for way, points in ways.items():
        if way.expert < 0 or way.path not in MODELS or len({_shape(point) for point in points}) < 2:
            continue
        key = (MODELS[way.path][0], *way[1:6])
        if key not in best or (len(points), way.version) > (len(ways[best[key]]), best[key].version):
            best[key] = way
    found = [one for way in best.values() if (one := service_of(way, ways[way], errors[way])) is not None]
    return sorted([*found, *_scaled(found)], key=lambda one: (one.model, one.silicon, one.engine, one.precision, one.tensor, one.expert))


def service_of(way: Way, points: Sequence[Measured], errors: Sequence[float] = ()) -> Service | None:
    """The row of a configuration; None: it has no room for context, or its points say nothing of some coefficient."""
    coefficients = fit(points)
    model, facts = MODELS[way.path]
    silicon = SYSTEMS[way.system]
    room = _kv_tokens(silicon, way.precision, way.tensor, facts)
    if room < 16_384 or coefficients[0] + coefficients[1] <= 0 or not coefficients[3]:
        return None
    return Service(
        model=model,
        silicon=silicon,
        engine=way.engine,
        precision=way.precision,
        tensor=way.tensor,
        expert=max(1, way.expert),
        accelerators=way.tensor,
        **_rounded(coefficients),
        first_ms=_first_ms(points, coefficients),
        batch_max=max(point.batch for point in points),
        kv_tokens=room,
        tokens_in_max=max(point.tokens_in for point in points),
        error_percent=round(100 * fmean(errors), 1) if errors else None,
        points=len(points),
        grade="measured",
        source=SOURCE,
    )


def _first_ms(points: Iterable[Measured], coefficients: Terms) -> float:
    """What the fastest first tokens took beyond the step that read their prompt: tokenising, scheduling, the way back."""
    step, sequence, _, prompt = coefficients
    beyond = [point.ttft_ms - (step + sequence + prompt * point.tokens_in) for point in points if point.batch <= 8 and point.ttft_ms > 0]
    return round(max(0.0, median(beyond)), 1) if beyond else 0.0


def _rounded(coefficients: Terms) -> dict[str, float]:
    names = ("step_ms", "sequence_ms", "held_ms", "prompt_ms")
    return {name: float(f"{value:.5g}") for name, value in zip(names, coefficients, strict=True)}


def _kv_tokens(silicon: str, precision: str, tensor: int, facts: Facts) -> int:
    """What fits beside the weights. Where accelerators are more than heads of keys and values, each head is held several times."""
    known = shipped_catalog().silicon(silicon)
    assert known is not None
    assert known.memory_gb is not None
    free_gb = MEMORY_SHARE * known.memory_gb - OVERHEAD_GB - facts.parameters_g * BYTES_A_WEIGHT[precision] / tensor
    halved = 2 if precision != "bf16" else 1
    copies = max(1.0, tensor / facts.kv_heads)
    return max(0, int(free_gb * tensor * 1e9 / (facts.kv_bytes / halved * copies)))


def _scaled(measured: Sequence[Service]) -> list[Service]:
    """Estimates for silicon of which too little was measured."""
    factors = {silicon: ("nvidia-h200", _factor(measured, point), point[5]) for silicon, point in POINTS.items()}
    factors |= {silicon: (base, 1 / ratio, source) for silicon, (base, ratio, source) in RATIOS.items()}
    held = {(one.model, one.silicon) for one in measured}
    rows = []
    for silicon, (base, factor, source) in factors.items():
        for model in SCALED:
            way = _best(measured, model, base, mix_of([(1, 8192, 0, 1024)]), 50.0)
            if way is None or (model, silicon) in held:
                continue
            known = shipped_catalog().silicon(silicon)
            memory = (known.memory_gb if known else None) or 0.0
            facts = next(facts for name, facts in MODELS.values() if name == model)
            tensor = way.tensor
            while memory and _kv_tokens(silicon, way.precision, tensor, facts) < way.kv_tokens // 4:
                tensor *= 2
            room = _kv_tokens(silicon, way.precision, tensor, facts) if memory else way.kv_tokens
            scaled = way.slowed(factor * way.accelerators / tensor)
            rows.append(
                msgspec.structs.replace(
                    scaled,
                    **_rounded((scaled.step_ms, scaled.sequence_ms, scaled.held_ms, scaled.prompt_ms)),
                    silicon=silicon,
                    tensor=tensor,
                    accelerators=tensor,
                    expert=1,
                    kv_tokens=room,
                    error_percent=100.0,
                    points=0,
                    grade="estimated",
                    source=f"the {base}'s times by {factor:.2f}: {source}",
                )
            )
    return rows


def _best(ways: Iterable[Service], model: str, silicon: str, mix: Mix, tpot_ms: float) -> Service | None:
    own = [
        one for one in ways if one.model == model and one.silicon == silicon and one.error_percent is not None and one.error_percent < 15
    ]
    scored = [
        (f.tokens_per_s / w.accelerators, at, w)
        for at, w in enumerate(own)
        if (f := feasible(w, mix, ttft_ms_max=1e9, tpot_ms_max=tpot_ms))
    ]
    return max(scored)[2] if scored else None


def _factor(measured: Sequence[Service], point: tuple[str, int, int, float, float, str]) -> float:
    """How many times as long an H200 would have to take, an accelerator, to give what the point says at its TPOT."""
    model, tokens_in, tokens_out, wanted, tpot_ms, _ = point
    mix = mix_of([(1, tokens_in, 0, tokens_out)])
    low, high = 0.02, 50.0
    for _ in range(60):
        factor = (low * high) ** 0.5
        way = _best([one.slowed(factor) for one in measured if one.silicon == "nvidia-h200"], model, "nvidia-h200", mix, tpot_ms)
        found = feasible(way, mix, ttft_ms_max=1e9, tpot_ms_max=tpot_ms) if way else None
        given = found.tokens_out_per_s / way.accelerators if found and way else 0.0
        low, high = (factor, high) if given > wanted else (low, factor)
    return factor


def toml(held: Sequence[Service]) -> str:
    """The file, a line a row."""
    lines = [
        "# How long a step of an engine takes: step_ms + sequence_ms x sequences + held_ms x tokens held + prompt_ms x tokens.",
        "# Made by `make bench-stepmodel ARGS=--write`. error_percent: the mean error of predicting a point that was left out (100: a",
        "# guess within a factor of two). kv_tokens is reckoned from the accelerators' memory and the model's published shape.",
        "",
        "as_of = 2026-11-01",
    ]
    shared_fields = ("model", "silicon", "grade", "source")
    group: tuple[object, ...] = ()
    for one in held:
        key = tuple(getattr(one, name) for name in shared_fields)
        if key != group:
            if group:
                lines.append("]")
            lines += ["", "[[services]]", *(f'{name} = "{value}"' for name, value in zip(shared_fields, key, strict=True)), "rows = ["]
            group = key
        own = {name: getattr(one, name) for name in one.__struct_fields__ if name not in (*shared_fields, "as_of")}
        cells = ", ".join(f"{name} = {_cell(value)}" for name, value in own.items() if value is not None)
        lines.append(f"  {{ {cells} }},")
    return "\n".join([*lines, "]", ""])


def _cell(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _shape(point: Measured) -> tuple[int, int]:
    return point.tokens_in, point.tokens_out


def _by_silicon(ways: dict[Way, list[Measured]], errors: Sequence[Sequence[float]]) -> dict[str, list[Sequence[float]]]:
    held: dict[str, list[Sequence[float]]] = {}
    for way, own in zip(ways, errors, strict=True):
        held.setdefault(SYSTEMS[way.system], []).append(own)
    return dict(sorted(held.items())) | {"all": list(errors)}


def _row(errors: Sequence[Sequence[float]]) -> tuple[object, ...]:
    flat = sorted(error for own in errors for error in own)
    return len(errors), len(flat), f"{100 * fmean(flat):.1f}", f"{100 * median(flat):.1f}", f"{100 * flat[int(len(flat) * 0.9)]:.1f}"


if __name__ == "__main__":
    main()
