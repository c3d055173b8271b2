"""How much an accelerator serves: what a token of a prompt and a token of an answer take of it, within a class's objectives.

Two measured shapes of request give two equations for two unknowns, the seconds that a token in and a token out take:

    1 = requests/s an accelerator × (tokens in × s_in + tokens out × s_out)        at 1k in, 1k out and at 8k in, 1k out

With one shape only, a token out is taken for five times a token in. Prefill and decode are taken to add up, and the cost of attending to
a long context is in neither: for prompts of 100,000 tokens that is a lower bound.
"""

from collections.abc import Callable, Iterable
from typing import TypeAlias

import msgspec

from headrace.planner.demand import Demand
from headrace.portfolio import Catalog, ServingPoint
from headrace.portfolio.serving import GRADES, Grade, own_point, plain_name

OUTPUT_WEIGHT = 5.0
"""A token out for a token in, where one shape alone was measured: 5,855 and 1,245 tokens a second of DeepSeek-R1 on B200."""
TOKENS_SHORT = 2_048
"""Up to so long a prompt, a point counts as one of short prompts."""
ERROR = {"measured": 0.3, "vendor-claimed": 0.5, "estimated": 1.0}
"""By how much a throughput may be wrong for a shape that wasn't measured: the error of leaving one shape out, and guesses above it."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one accelerator that a token takes; `error` is the share by which both may be wrong."""

    s_in: float
    s_out: float
    grade: Grade
    error: float
    source: str
    ttft_ms: float | None = None
    tpot_ms: float | None = None

    def accelerators(self, demand: Demand) -> float:
        """How many are full with a demand at its mean."""
        return demand.tokens_uncached_per_s * self.s_in + demand.tokens_out_per_s * self.s_out


SpeedOf: TypeAlias = Callable[[str, Demand], Speed | None]
"""Of a silicon for a demand; None: it can't serve it within the class's objectives, or nothing is known."""


def measured_speed(catalog: Catalog, silicon: str, model: str, *, ttft_ms_max: float, tpot_ms_max: float) -> Speed | None:
    """By the catalog's points for `model` on `silicon` that keep to the objectives, as far as they say; None: there are none."""
    known = catalog.models.get(plain_name(model), plain_name(model))
    own = own_point(catalog.silicon(silicon), known)
    held = catalog.points.get((silicon, known), ()) if own is None else (own,)
    kept = [point for point in held if _in_time(point, ttft_ms_max, tpot_ms_max)]
    if not kept:
        return None
    best = min(GRADES.index(point.grade) for point in kept)
    short, long = _fastest(p for p in kept if GRADES.index(p.grade) == best and _short(p)), None
    long = _fastest(p for p in kept if GRADES.index(p.grade) == best and not _short(p))
    solved = None if short is None or long is None else _solve(short, long)
    point = long or short
    assert point is not None
    s_in, s_out = solved or _alone(point)
    return Speed(
        s_in=s_in,
        s_out=s_out,
        grade=point.grade,
        error=ERROR[point.grade],
        source=point.source,
        ttft_ms=point.ttft_ms,
        tpot_ms=point.tpot_ms,
    )


def _in_time(point: ServingPoint, ttft_ms_max: float, tpot_ms_max: float) -> bool:
    """What a point doesn't say it is not held against; an offline one says that nobody waited."""
    if point.offline:
        return tpot_ms_max >= OFFLINE_TPOT_MS
    return (point.tpot_ms or 0) <= tpot_ms_max and (point.ttft_ms or 0) <= ttft_ms_max


OFFLINE_TPOT_MS = 500
"""Who allows so much between tokens is in no hurry."""


def _short(point: ServingPoint) -> bool:
    return point.tokens_in is not None and point.tokens_in <= TOKENS_SHORT


def _fastest(points: Iterable[ServingPoint]) -> ServingPoint | None:
    return max(points, key=lambda p: (p.tokens_in is not None, p.output_tokens_per_s), default=None)


def _solve(short: ServingPoint, long: ServingPoint) -> tuple[float, float] | None:
    """Seconds a token in and out by two shapes; None where they have no answer above zero."""
    (i1, o1, r1), (i2, o2, r2) = _shape(short), _shape(long)
    det = i1 * o2 - i2 * o1
    if det == 0:
        return None
    s_in, s_out = (o2 / r1 - o1 / r2) / det, (i1 / r2 - i2 / r1) / det
    return (s_in, s_out) if s_in > 0 and s_out > 0 else None


def _alone(point: ServingPoint) -> tuple[float, float]:
    tokens_in, tokens_out, per_s = _shape(point)
    s_in = 1 / (per_s * (tokens_in + OUTPUT_WEIGHT * tokens_out))
    return s_in, OUTPUT_WEIGHT * s_in


def _shape(point: ServingPoint) -> tuple[float, float, float]:
    """Tokens in and out of a request, and requests a second. A benchmark that doesn't say is taken to have as many in as out."""
    tokens_out = point.tokens_out or 1_024
    if point.tokens_in is not None:
        tokens_in: float = point.tokens_in
    elif point.total_tokens_per_s is not None:
        tokens_in = tokens_out * (point.total_tokens_per_s / point.output_tokens_per_s - 1)
    else:
        tokens_in = tokens_out
    return tokens_in, tokens_out, point.output_tokens_per_s / tokens_out
