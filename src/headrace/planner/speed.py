"""How much an accelerator serves: what a token of a prompt and a token of an answer take of it, within a class's objectives.

The simulator's service model says it where it can. Elsewhere two measured shapes of request give two equations for two unknowns, the
seconds that a token in and a token out take:

    1 = requests/s an accelerator × (tokens in × s_in + tokens out × s_out)        at 1k in, 1k out and at 8k in, 1k out

With one shape only, a token out is taken for five times a token in. Prefill and decode are taken to add up, and the cost of attending to
a long context is in neither: for prompts of 100,000 tokens that is a lower bound.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

import msgspec

from headrace.planner.demand import Demand
from headrace.portfolio import Catalog, ServingPoint
from headrace.portfolio.serving import GRADES, Grade, own_point, plain_name
from headrace.routing import CLASSES
from headrace.simulator import Services, mix_of

OUTPUT_WEIGHT = 5.0
"""A token out for a token in, where one shape alone was measured: 5,855 and 1,245 tokens a second of DeepSeek-R1 on B200."""
TOKENS_SHORT = 2_048
"""Up to so long a prompt, a point counts as one of short prompts."""
ERROR: Mapping[Grade, float] = {"measured": 0.3, "vendor-claimed": 0.5, "estimated": 1.0}
"""By how much a throughput may be wrong for a shape that wasn't measured: the error of leaving one shape out, and guesses above it."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What one accelerator serves of one demand's requests, in tokens a second of prompts and answers together, at full use.

    `error` is the share by which it may be wrong; `accelerators` serve together, and the times are those at that load. `extrapolated`:
    the prompts are longer than any that was measured.
    """

    tokens_per_s: float
    grade: Grade
    error: float
    source: str
    accelerators: int | None = None
    ttft_ms: float | None = None
    tpot_ms: float | None = None
    extrapolated: bool = False

    def full_with(self, demand: Demand, caution: float = 0.0) -> float:
        """How many accelerators are full with the demand at its mean, if they are slower by `caution` times the error."""
        return demand.tokens_per_s / self.tokens_per_s * (1 + caution * self.error)


SpeedOf: TypeAlias = Callable[[str, Demand], Speed | None]
"""Of a silicon for a demand; None: it can't serve it within the class's objectives, or nothing is known."""


def speed_by(services: Services, catalog: Catalog) -> SpeedOf:
    """By the simulator's service model, the very one that a plan is verified with; where it knows nothing, by the catalog's points.

    What an operator says of silicon of its own comes before both.
    """

    def speed_of(silicon: str, demand: Demand) -> Speed | None:
        terms = CLASSES[demand.traffic_class]
        known = catalog.models.get(plain_name(demand.model), plain_name(demand.model))
        if own_point(catalog.silicon(silicon), known) is None and services.of(demand.model, silicon):
            return modelled_speed(services, silicon, demand, ttft_ms_max=terms.ttft_ms, tpot_ms_max=terms.tpot_ms)
        return measured_speed(catalog, silicon, demand, ttft_ms_max=terms.ttft_ms, tpot_ms_max=terms.tpot_ms)

    return speed_of


def modelled_speed(services: Services, silicon: str, demand: Demand, *, ttft_ms_max: float, tpot_ms_max: float) -> Speed | None:
    """At the largest batch at which requests of the demand's shape keep to the objectives; None: not even one alone does."""
    shape = (1.0, float(demand.tokens_in), demand.tokens_in * demand.cached_share, float(demand.tokens_out))
    found = services.best(demand.model, silicon, mix_of([shape]), ttft_ms_max=ttft_ms_max, tpot_ms_max=tpot_ms_max)
    if found is None:
        return None
    service, stands = found
    return Speed(
        tokens_per_s=stands.tokens_per_s / service.accelerators,
        grade=service.grade,
        error=ERROR[service.grade] if service.error_percent is None else service.error_percent / 100,
        source=f"{service.name}: {service.source}",
        accelerators=service.accelerators,
        ttft_ms=stands.ttft_ms,
        tpot_ms=stands.tpot_ms,
        extrapolated=stands.extrapolated,
    )


def measured_speed(catalog: Catalog, silicon: str, demand: Demand, *, ttft_ms_max: float, tpot_ms_max: float) -> Speed | None:
    """By the catalog's points that keep to the objectives, as far as they say; None: there are none."""
    known = catalog.models.get(plain_name(demand.model), plain_name(demand.model))
    own = own_point(catalog.silicon(silicon), known)
    held = catalog.points.get((silicon, known), ()) if own is None else (own,)
    kept = [point for point in held if _in_time(point, ttft_ms_max, tpot_ms_max)]
    if not kept:
        return None
    grade = min(kept, key=lambda point: GRADES.index(point.grade)).grade
    short = _fastest(point for point in kept if point.grade == grade and _short(point))
    long = _fastest(point for point in kept if point.grade == grade and not _short(point))
    solved = None if short is None or long is None else _solve(short, long)
    point = long or short
    assert point is not None
    s_in, s_out = solved or _alone(point)
    seconds = demand.tokens_in * (1 - demand.cached_share) * s_in + demand.tokens_out * s_out
    return Speed(
        tokens_per_s=(demand.tokens_in + demand.tokens_out) / seconds,
        grade=grade,
        error=ERROR[grade],
        source=point.source,
        accelerators=point.accelerators,
        ttft_ms=point.ttft_ms,
        tpot_ms=point.tpot_ms,
        extrapolated=point.tokens_in is not None and demand.tokens_in > point.tokens_in,
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
