"""How fast models are served: measured, claimed or estimated points of throughput, each with its shape and its grade."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from math import inf, log
from typing import Literal, TypeAlias

import msgspec

from headrace.portfolio.silicon import Silicon
from headrace.portfolio.tables import Table, read_tables, rows

Grade: TypeAlias = Literal["measured", "vendor-claimed", "estimated"]
GRADES: tuple[Grade, ...] = ("measured", "vendor-claimed", "estimated")
"""From the most to the least to be relied on."""

TOKENS_IN = 8_192
TOKENS_OUT = 1_024
"""The shape of request that is meant where none is named: a document or a conversation in, a page out."""

_SAME_MODEL = ("-instruct", "-chat", "-it", "-hf", "-fp8", "-fp4", "-nvfp4", "-mxfp4", "-int4", "-awq", "-gptq", "-bf16")
"""What names add that doesn't make it another model: its tuning for dialogue, and how its weights are kept."""


class ServingPoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one accelerator gave: `output_tokens_per_s` of the answers, `total_tokens_per_s` with the prompts, at requests of
    `tokens_in` and `tokens_out`. None: the source doesn't say.

    `accelerators` is how many served together; `ttft_ms` and `tpot_ms` are the times to the first and between later tokens at that load;
    `scenario` and `result` name the benchmark's rule and the entry in its results; `offline`: no answer was in a hurry, as in a batch.
    """

    silicon: str
    model: str
    tokens_in: int | None = None
    tokens_out: int | None = None
    scenario: str | None = None
    offline: bool = False
    engine: str | None = None
    precision: str | None = None
    accelerators: int | None = None
    output_tokens_per_s: float
    total_tokens_per_s: float | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    grade: Grade
    result: str | None = None
    source: str
    as_of: date | None

    @property
    def tokens_per_s_per_accelerator(self) -> float:
        """Of prompts and answers together; of answers alone, which is less, where the source says no more."""
        return self.output_tokens_per_s if self.total_tokens_per_s is None else self.total_tokens_per_s


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """All points, and the model that each other name of a model means."""

    points: tuple[ServingPoint, ...]
    models: Mapping[str, str]


def parse_serving(text: str) -> Serving:
    """The points of a TOML text, such as the shipped `serving.toml`. Raises ValueError that says what is wrong, and in which row."""
    tables = read_tables(text, "serving points", frozenset({"names", "serving"}))
    points = rows(_points(tables["serving"]), "serving points", ServingPoint)
    models = {plain_name(point.model): point.model for point in points}
    for names in rows(tables["names"], "names of models", _Names):
        models |= {plain_name(alias): model for model, aliases in names.aliases.items() for alias in aliases}
    return Serving(points=points, models=models)


def plain_name(model: str) -> str:
    """A model's name without its owner, its tuning for dialogue and its precision: `llama-3.1-8b` of `nvidia/Llama-3.1-8B-Instruct-FP8`."""
    name = model.rsplit("/", 1)[-1].lower()
    while (shorter := next((name.removesuffix(end) for end in _SAME_MODEL if name.endswith(end)), name)) != name:
        name = shorter
    return name


def own_point(silicon: Silicon | None, model: str) -> ServingPoint | None:
    """The point that an operator's own figures make: an estimate, at the usual shape. None: there are none for `model` (a plain name)."""
    if silicon is None or silicon.tokens_per_s is None:
        return None
    rates = silicon.tokens_per_s
    rate = {plain_name(name): of for name, of in rates.items()}.get(model) if isinstance(rates, Mapping) else rates
    if rate is None:
        return None
    return ServingPoint(
        silicon=silicon.name,
        model=model,
        tokens_in=TOKENS_IN,
        tokens_out=TOKENS_OUT,
        output_tokens_per_s=rate * TOKENS_OUT / (TOKENS_IN + TOKENS_OUT),
        total_tokens_per_s=rate,
        grade="estimated",
        source=silicon.source,
        as_of=silicon.as_of,
    )


def best_point(points: Iterable[ServingPoint], *, tokens_in: int, tokens_out: int, tpot_ms_max: float | None = None) -> ServingPoint | None:
    """The point to reckon with: of the best grade, then of answers that were waited for, then of the shape nearest to `tokens_in` and
    `tokens_out`, then the fastest.

    With `tpot_ms_max`, only points that are known to keep to it.
    """
    kept = [p for p in points if tpot_ms_max is None or (p.tpot_ms is not None and p.tpot_ms <= tpot_ms_max)]
    return min(
        kept, key=lambda p: (GRADES.index(p.grade), p.offline, _distance(p, tokens_in, tokens_out), -p.output_tokens_per_s), default=None
    )


def _distance(point: ServingPoint, tokens_in: int, tokens_out: int) -> float:
    """How far apart two shapes are: by what factors the prompts and the answers differ."""
    if point.tokens_in is None or point.tokens_out is None:
        return inf
    return abs(log((point.tokens_in + 1) / (tokens_in + 1))) + abs(log((point.tokens_out + 1) / (tokens_out + 1)))


class _Names(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By model: the names of others of the same size and architecture, which are served alike."""

    aliases: Mapping[str, tuple[str, ...]]
    source: str
    as_of: date


class _Points(msgspec.Struct, frozen=True):
    points: tuple[dict[str, object], ...]


def _points(tables: Iterable[Table]) -> Iterator[Table]:
    for table in tables:
        held = rows((table,), "serving points", _Points)[0].points
        shared = {name: value for name, value in table.items() if name != "points"}
        for point in held:
            yield shared | point
