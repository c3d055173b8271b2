"""How fast the simulator is, and how near to what was measured.

    make bench-simulate            ARGS="--minutes 10"

Speed: requests a second of processor time on one core, with the real `decide`, lines, health and prefix caches, over the shipped scenario
`small`, after a first run that loads the compiled steps. Accuracy: the step model (`bench.stepmodel`), request latency beside real runs of
vLLM, the prefix cache over a published trace, a published day of production, and a small slice of a fleet beside a larger one. What needs
data that is not beside the repository is left out, and said so.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from bench.machine import machine, tell
from bench.shared import shared
from bench.slices import beside, told
from bench.stepmodel import MODELS, POINTS_MIN, Way, read, service_of
from headrace.compose.simulated import Scenario, prepare, read_scenario
from headrace.portfolio.serving import plain_name
from headrace.simulator import Service, mix_of, shipped_services, standing
from headrace.simulator.fitting import Measured, left_out
from headrace.simulator.fleet import Block
from headrace.simulator.known import fleet_of
from headrace.simulator.prefix import PrefixCache
from headrace.simulator.roofline import CHIPS, SHAPES, estimate
from headrace.simulator.traces import As, mooncake

ROUNDS = 3
"""The least of some: the machine is shared."""
Row = tuple[str, str, str, str]


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--minutes", type=float, default=10.0, help="of the virtual clock, for the speed")
    ask.add_argument("--slices", type=int, default=3, help="seeds of each slice of the fleet")
    ask.add_argument("--runs", type=Path, help="a folder of real runs of vLLM, each as LLMServingSim's bench writes it")
    said = ask.parse_args()
    rows: list[Row] = []
    figures: dict[str, object] = {}
    for part in (speed(said.minutes), step_model(), closed_loop(), latency(said.runs), prefix(), day(), slices(said.slices)):
        rows += part[0]
        figures |= part[1]
    tell(machine("headrace", "numba", "numpy"), ("what", "measured or published", "simulated", "difference"), rows, figures)


def speed(minutes: float) -> tuple[list[Row], dict[str, object]]:
    """Requests a second of processor time, the report included."""
    scenario = _lasting(read_scenario("small"), minutes * 60, seed=1)
    prepare(_lasting(scenario, 20, seed=2)).go()
    took = float("inf")
    for _ in range(ROUNDS):
        run = prepare(scenario)
        began = time.process_time()
        report = run.go()
        took = min(took, time.process_time() - began)
    rate = report.arrived / took
    row = ("requests simulated a second, one core", "", f"{rate:,.0f}", f"{took / report.arrived * 1e6:.1f} us each")
    return [row], {"requests_simulated_per_s": round(rate), "requests_simulated": report.arrived}


def step_model() -> tuple[list[Row], dict[str, object]]:
    """Errors of the time between tokens, predicted for points that were left out."""
    path = shared("aiconfigurator_silicon_sample", "silicon_sample.csv")
    if not path.exists():
        return [("step model", "no data", "", "")], {}
    ways = [points for points in read(path).values() if len(points) >= POINTS_MIN]
    points = [error for own in left_out(ways, id) for error in own]
    shapely = [own for own in ways if len({(point.tokens_in, point.tokens_out) for point in own}) >= 3]
    shapes = [error for own in left_out(shapely, lambda point: (point.tokens_in, point.tokens_out)) for error in own]
    rows = [
        ("TPOT, a point left out", f"{len(points):,} points", "", f"{100 * fmean(points):.1f} % mean error"),
        ("TPOT, a shape left out", f"{len(shapes):,} points", "", f"{100 * fmean(shapes):.1f} % mean error"),
    ]
    return rows, {
        "tpot_mean_error_percent": round(100 * fmean(points), 2),
        "tpot_unseen_shape_mean_error_percent": round(100 * fmean(shapes), 2),
    }


def closed_loop(count: int = 300) -> tuple[list[Row], dict[str, object]]:
    """Points of the sample as its benchmark runs them: so many clients that ask again when answered, ten times each, with prompts and
    answers of 80 to 100 % of the shape. Times to the first token were not fitted, beyond what the fastest take beside their step."""
    path = shared("aiconfigurator_silicon_sample", "silicon_sample.csv")
    if not path.exists():
        return [("closed loop", "no data", "", "")], {}
    held = [
        (way, service, point)
        for way, points in read(path).items()
        if len(points) >= POINTS_MIN and way.path in MODELS and way.expert > 0 and len({point.tokens_in for point in points}) >= 2
        if (service := service_of(way, points)) is not None
        for point in points
        if point.ttft_ms > 0
    ]
    chance = Random(1)
    found = [Looped(way, point, *_clients(service, point, chance)) for way, service, point in chance.sample(held, min(count, len(held)))]
    rows, figures = [], dict[str, object]()
    for engine in ("", *sorted({one.way.engine for one in found})):
        own = [one for one in found if engine in ("", one.way.engine)]
        for name, errors in (
            ("TTFT", [one.ttft_ms / one.point.ttft_ms - 1 for one in own]),
            ("TPOT", [one.tpot_ms / one.point.tpot_ms - 1 for one in own]),
        ):
            off = [abs(error) for error in errors]
            told = f"{100 * fmean(off):.0f} % mean, {100 * median(off):.0f} % median error, {100 * median(errors):+.0f} % bias"
            rows.append((f"{name}, clients in a closed loop{engine and ', '}{engine}", f"{len(own)} points", "", told))
            key = "_".join(filter(None, ("closed_loop", engine, name.lower())))
            figures[f"{key}_median_error_percent"] = round(100 * median(off), 1)
            figures[f"{key}_bias_percent"] = round(100 * median(errors), 1)
    for silicon, systems in (("Blackwell", ("b200_sxm", "b300_sxm")), ("H200", ("h200_sxm",))):
        late = [one.steps_late for one in found if one.polled and one.way.system in systems]
        if late:
            rows.append(
                (
                    f"TTFT beyond the simulated, SGLang on {silicon}, 1,024 in",
                    f"{len(late)} points",
                    "",
                    f"{median(late):+.1f} steps at the median",
                )
            )
            figures[f"closed_loop_sglang_{silicon.lower()}_steps_late"] = round(median(late), 1)
    return rows, figures


class Looped(NamedTuple):
    """A point, and what its clients saw in the simulator."""

    way: Way
    point: Measured
    ttft_ms: float
    tpot_ms: float

    @property
    def polled(self) -> bool:
        """SGLang with 16 clients or more of short prompts, over the two models whose recipes of that benchmark for Blackwell have the
        engine look for new requests every 30 steps, and those for H200 every step."""
        own = self.way.engine == "sglang" and self.way.path.startswith(("deepseek-ai/", "Qwen/Qwen3.5"))
        return own and self.point.batch >= 16 and self.point.tokens_in == 1_024

    @property
    def steps_late(self) -> float:
        """How many steps later than simulated the first token came."""
        return (self.point.ttft_ms - self.ttft_ms) / self.point.tpot_ms


def _clients(service: Service, point: Measured, chance: Random) -> tuple[float, float]:
    """Mean TTFT and TPOT."""
    fleet = fleet_of([Block(service=service, replicas=1, within="least")])
    running, ttfts, tpots = dict[int, tuple[float, int]](), list[float](), list[float]()
    left = 10 * point.batch

    def ask(now_ms: float) -> None:
        tokens_in, tokens_out = (max(2, round(tokens * chance.uniform(0.8, 1.0))) for tokens in (point.tokens_in, point.tokens_out))
        running[fleet.submit(now_ms, 0, tokens_in, tokens_out, ())] = now_ms, tokens_out

    for _ in range(point.batch):
        ask(0.0)
    while running:
        for one, (asked_ms, tokens_out) in [(one, running.pop(one.slot)) for one in fleet.run(1e15, 1)]:
            ttfts.append(one.first_ms + service.first_ms - asked_ms)
            tpots.append((one.finished_ms - one.first_ms) / (tokens_out - 1))
            left -= 1
            if left >= point.batch:
                ask(one.finished_ms)
    return fmean(ttfts), fmean(tpots)


class Real(msgspec.Struct):
    """A request of a real run."""

    input_toks: int
    output_toks: int
    queued_ts: float
    first_token_ts: float
    last_token_ts: float


def latency(runs: Path | None = None) -> tuple[list[Row], dict[str, object]]:
    """Each real run of vLLM that is there, by data sheets of its accelerator and its engine's own settings alone."""
    folder = runs if runs is not None else shared("llmservingsim_bench")
    rows: list[Row] = []
    figures: dict[str, object] = {}
    for at in sorted(each for each in folder.glob("*") if (each / "requests.jsonl").exists()):
        service = by_data_sheet(at)
        if service is None:
            rows.append((at.name, "no data sheet", "", ""))
            continue
        lines = (at / "requests.jsonl").read_text(encoding="utf-8").splitlines()
        real = sorted((msgspec.json.decode(line, type=Real) for line in lines if line.strip()), key=lambda one: one.queued_ts)
        for name, measured, simulated in compared(service, real):
            off = 100 * (simulated / measured - 1)
            rows.append((f"{at.name}, {name}", f"{measured:,.1f} ms", f"{simulated:,.1f} ms", f"{off:+.1f} %"))
            figures[f"{at.name.lower()}_{name.lower().replace(' ', '_')}_error_percent"] = round(off, 2)
    return rows or [("request latency", "no data", "", "")], figures


def by_data_sheet(folder: Path) -> Service | None:
    """By the run's own notes: which model, on what, with which limits; None: no data sheet is known."""
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    engine, model = meta["engine_kwargs"], plain_name(meta["model"])
    device = plain_name(meta["hardware"]["device_name"].replace(" ", "-"))
    shape = max((one for one in SHAPES if model.startswith(one.model)), key=lambda one: len(one.model), default=None)
    chip = next((one for one in CHIPS if one.silicon.removeprefix("nvidia-").replace("-", "") in device.replace("-", "")), None)
    if shape is None or chip is None:
        return None
    return estimate(
        shape,
        chip,
        tensor=engine["tensor_parallel_size"],
        bytes_a_weight=2.0
        if engine.get("dtype", "bfloat16") in ("bfloat16", "float16", "auto") and "fp8" not in meta["model"].lower()
        else 1.0,
        batch_max=engine["max_num_seqs"],
        chunk_tokens=engine["max_num_batched_tokens"],
        kv_tokens=meta["kv_cache"]["num_kv_tokens"],
    )


def compared(service: Service, real: Sequence[Real]) -> list[tuple[str, float, float]]:
    """The same arrivals, simulated: mean, median and 99th percentile of both times, measured and simulated."""
    fleet = fleet_of([Block(service=service, replicas=1, within="least")])
    began, by_slot = real[0].queued_ts, dict[int, Real]()
    ttfts, tpots = list[float](), list[float]()

    def hear(until_ms: float) -> None:
        while done := fleet.run(until_ms, 4_096):
            for one in done:
                request = by_slot.pop(one.slot)
                ttfts.append(one.first_ms + service.first_ms - (request.queued_ts - began) * 1_000)
                tpots.append((one.finished_ms - one.first_ms) / max(1, request.output_toks - 1))

    for request in real:
        at_ms = (request.queued_ts - began) * 1_000
        hear(at_ms)
        by_slot[fleet.submit(at_ms, 0, request.input_toks, request.output_toks, ())] = request
    hear(1e15)
    said = {
        "TTFT": ([1_000 * (one.first_token_ts - one.queued_ts) for one in real], ttfts),
        "TPOT": ([1_000 * (one.last_token_ts - one.first_token_ts) / max(1, one.output_toks - 1) for one in real], tpots),
    }
    return [
        row
        for name, (measured, simulated) in said.items()
        for row in (
            (f"{name} mean", fmean(measured), fmean(simulated)),
            (f"{name} p50", _at(measured, 0.5), _at(simulated, 0.5)),
            (f"{name} p99", _at(measured, 0.99), _at(simulated, 0.99)),
        )
    ]


def prefix() -> tuple[list[Row], dict[str, object]]:
    """The share of Mooncake's conversation that an endless prefix cache would have had."""
    path = shared("mooncake", "conversation_trace.jsonl")
    if not path.exists():
        return [("prefix cache", "no data", "", "")], {}
    cache, hit, tokens = PrefixCache(), 0, 0
    with path.open(encoding="utf-8") as lines:
        for call in mooncake(lines, As(model="m")).calls():
            hit += cache.found(call.segments)
            tokens += call.tokens_in
            cache.keep(call.segments, 1 << 62)
    share = 100 * hit / tokens
    return [("Mooncake conversation, ideal hit", "36.6 % (paper 40 %)", f"{share:.1f} %", f"{share - 36.6:+.1f} points")], {
        "mooncake_ideal_hit_percent": round(share, 2)
    }


# DeepSeek's day of 27 to 28 February 2025, from its own page (deepseek-ai/open-infra-index@56d8685, day 6).
TOKENS_IN, TOKENS_CACHED, TOKENS_OUT = 608e9, 342e9, 168e9
NODES_MEAN, NODES_PEAK, HELD_MEAN = 226.75, 278, 4_989
PREFILL_PER_NODE, DECODE_PER_NODE = 73_700, 14_800
DAY_S = 86_400
H800_PREFILL, H800_DECODE = 7_839, 2_324
"""Tokens a second a GPU, measured on H800 with wide expert parallelism (alibaba's InferSim, its table of DeepSeek-V3)."""
USE = 0.8
"""Of a fleet that follows its load: an assumption, between what a full machine gives and what a day leaves idle."""


def day() -> tuple[list[Row], dict[str, object]]:
    """How many nodes of eight H800 DeepSeek's day takes, by its stated totals and two models of a node.

    By its own throughputs a node: arithmetic, which shows that totals, throughputs and nodes agree. By throughputs that others measured
    on the same silicon, at full use and at `USE`. By our service of DeepSeek-R1 on H200 without
    disaggregation or wide expert parallelism, at the pace that it stated (20 to 22 tokens a second): how far a plain deployment is away.
    """
    own = TOKENS_IN / DAY_S / PREFILL_PER_NODE + TOKENS_OUT / DAY_S / DECODE_PER_NODE
    full = ((TOKENS_IN - TOKENS_CACHED) / H800_PREFILL + TOKENS_OUT / H800_DECODE) / DAY_S / 8
    rows = [
        (
            "DeepSeek's day, nodes by its stated throughput",
            f"{NODES_MEAN} on average",
            f"{own:.1f}",
            f"{100 * (own / NODES_MEAN - 1):+.1f} %",
        )
    ]
    for use in (1.0, USE):
        off = 100 * (full / use / NODES_MEAN - 1)
        rows.append((f"… by H800 throughputs measured elsewhere, {use:.0%} used", f"{NODES_MEAN}", f"{full / use:.1f}", f"{off:+.1f} %"))
    figures: dict[str, object] = {
        "deepseek_day_nodes": round(own, 1),
        "deepseek_day_error_percent": round(100 * (own / NODES_MEAN - 1), 2),
        "deepseek_day_measured_h800_error_percent": round(100 * (full / USE / NODES_MEAN - 1), 2),
    }
    calls = TOKENS_OUT / 1_000  # an answer of a thousand tokens; only ratios matter below
    shape = mix_of([(1.0, TOKENS_IN / calls, TOKENS_CACHED / calls, TOKENS_OUT / calls)])
    mix = msgspec.structs.replace(shape, tokens_held=HELD_MEAN)
    best = max(
        (
            found.tokens_out_per_s / way.accelerators
            for way in shipped_services().of("deepseek-r1", "nvidia-h200")
            for batch in range(1, 4 * way.batch_max)
            if (found := standing(way, mix, batch)).tpot_ms <= 1_000 / 21 and way.grade == "measured" and batch <= way.batch_max
        ),
        default=0.0,
    )
    if best:
        nodes = TOKENS_OUT / DAY_S / best / 8
        rows.append(
            ("… by H200 nodes without wide expert parallelism", f"{NODES_MEAN} of H800", f"{nodes:.0f}", f"× {nodes / NODES_MEAN:.1f}")
        )
        figures["deepseek_day_plain_h200_nodes"] = round(nodes)
    return rows, figures


def slices(seeds: int) -> tuple[list[Row], dict[str, object]]:
    """A thousandth of a fleet beside a hundredth: medians here, all figures in `python -m bench.slices`."""
    found = {one.what: one for one in beside(100, 1_000, seeds, 120.0)}
    rows: list[Row] = []
    figures: dict[str, object] = {"slice_figures": len(found), "slice_figures_beyond_chance": sum(not one.within for one in found.values())}
    for name in ("realtime", "enterprise", "agentic"):
        for what in ("TTFT p50", "TPOT p50"):
            one = found[f"{name}: {what}, ms"]
            rows.append((f"{name} {what}, 1/100 and 1/1000 of a fleet", f"{one.larger:.2f} ms", f"{one.smaller:.2f} ms", told(one)))
            figures[f"slice_{name}_{what.lower().replace(' ', '_')}_percent"] = round(100 * one.off / one.larger, 2)
    return rows, figures


def _lasting(scenario: Scenario, duration_s: float, *, seed: int) -> Scenario:
    simulation = msgspec.structs.replace(scenario.simulation, duration_s=duration_s, seed=seed)
    return msgspec.structs.replace(scenario, simulation=simulation)


def _at(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()
