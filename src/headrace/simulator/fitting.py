"""Step coefficients from measured points: least squares with no coefficient below zero, each point weighed by its own size.

    TPOT = a + b·B + c·B·(tokens in + tokens out / 2) + d·B·tokens in / tokens out

is what a step takes on average while `B` requests of one shape are kept running: each decodes a token a step, holds half its answer and
all of its prompt, and in the time of one answer one prompt has to be read. A time can't be negative, and a plan is judged by relative
error; so the squares are of relative errors, and no coefficient is below zero. With four unknowns all subsets are tried, which is exact.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from statistics import fmean, median
from typing import TypeAlias

import msgspec

Terms: TypeAlias = tuple[float, ...]
FEW = 4
DOUBT = 10
"""Of so many requests at once the first token comes when the own prompt has been read, or little later."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One measured point: `batch` requests of one shape kept running on one replica."""

    batch: int
    tokens_in: int
    tokens_out: int
    ttft_ms: float
    tpot_ms: float


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Relative errors of predictions, in percent."""

    mean_percent: float
    median_percent: float
    points: int


def step_terms(point: Measured) -> Terms:
    """What `a`, `b`, `c` and `d` are multiplied with."""
    held = point.tokens_in + point.tokens_out / 2
    return 1.0, float(point.batch), point.batch * held, point.batch * point.tokens_in / point.tokens_out


def fit(points: Sequence[Measured]) -> Terms:
    """`a`, `b`, `c` and `d` in milliseconds. Raises ValueError when there are no points.

    Shapes alike in their share of prompt don't tell `d` from `b`. So a `d` below a tenth of what first tokens took with few requests is not
    believed: it is set to that, and the others are fitted beside it.
    """
    if not points:
        raise ValueError("coefficients are fitted on at least one point")
    rows = [tuple(term / point.tpot_ms for term in step_terms(point)) for point in points]
    found = nonnegative(rows, [1.0] * len(rows))
    seen = reading_ms(points)
    if seen is None or found[3] >= seen / DOUBT:
        return found
    left = [max(0.0, 1.0 - row[3] * seen) for row in rows]
    return (*nonnegative([row[:3] for row in rows], left), seen)


def reading_ms(points: Sequence[Measured]) -> float | None:
    """What a token of a prompt takes to read, by how first tokens came with few requests; None: that can't be told."""
    few = [point for point in points if 0 < point.batch <= FEW and point.ttft_ms > 0]
    if len({point.tokens_in for point in few}) < 2:
        return None
    rows = [(1.0 / point.ttft_ms, point.tokens_in * (1 + point.batch) / 2 / point.ttft_ms) for point in few]
    return nonnegative(rows, [1.0] * len(rows))[1] or None


def nonnegative(rows: Sequence[Terms], wanted: Sequence[float]) -> Terms:
    """The coefficients, none below zero, with the least sum of squares of `rows · coefficients - wanted`."""
    count = len(rows[0])
    scales = [max(abs(row[at]) for row in rows) or 1.0 for at in range(count)]
    scaled = [tuple(row[at] / scales[at] for at in range(count)) for row in rows]
    best, least = (0.0,) * count, sum(value * value for value in wanted)
    for size in range(1, min(count, len(rows)) + 1):
        for kept in combinations(range(count), size):
            found = _solve(scaled, wanted, kept)
            if found is None or min(found) < 0:
                continue
            full = [0.0] * count
            for at, value in zip(kept, found, strict=True):
                full[at] = value
            off = sum((sum(a * b for a, b in zip(row, full, strict=True)) - value) ** 2 for row, value in zip(scaled, wanted, strict=True))
            if off < least - 1e-15:
                best, least = tuple(full), off
    return tuple(value / scale for value, scale in zip(best, scales, strict=True))


def left_out(groups: Sequence[Sequence[Measured]], group_of: Callable[[Measured], object]) -> list[tuple[float, ...]]:
    """Per group of points the relative errors of each, predicted from those that `group_of` tells apart from it."""
    errors = []
    for points in groups:
        own = []
        for kind in dict.fromkeys(map(group_of, points)):
            others = [point for point in points if group_of(point) != kind]
            if others:
                found = fit(others)
                own += [abs(predicted(found, point) / point.tpot_ms - 1) for point in points if group_of(point) == kind]
        errors.append(tuple(own))
    return errors


def predicted(coefficients: Terms, point: Measured) -> float:
    """TPOT in milliseconds."""
    return sum(a * b for a, b in zip(coefficients, step_terms(point), strict=True))


def summed(errors: Sequence[float]) -> Errors:
    """How far off predictions were."""
    return Errors(mean_percent=100 * fmean(errors), median_percent=100 * median(errors), points=len(errors))


def _solve(rows: Sequence[Terms], wanted: Sequence[float], kept: tuple[int, ...]) -> list[float] | None:
    """Least squares over the columns `kept`, by the normal equations; None: they don't tell the columns apart."""
    size = len(kept)
    matrix = [[sum(row[i] * row[j] for row in rows) for j in kept] for i in kept]
    for at, column in enumerate(kept):
        matrix[at].append(sum(row[column] * value for row, value in zip(rows, wanted, strict=True)))
    for at in range(size):
        pivot = max(range(at, size), key=lambda row: abs(matrix[row][at]))
        if abs(matrix[pivot][at]) < 1e-12:
            return None
        matrix[at], matrix[pivot] = matrix[pivot], matrix[at]
        for row in range(size):
            if row != at:
                factor = matrix[row][at] / matrix[at][at]
                matrix[row] = [value - factor * above for value, above in zip(matrix[row], matrix[at], strict=True)]
    return [matrix[at][size] / matrix[at][at] for at in range(size)]
