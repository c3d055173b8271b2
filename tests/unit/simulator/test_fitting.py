"""Coefficients are found again from what they made, never below zero, and errors are of points that were left out."""

from collections.abc import Sequence

import pytest

from headrace.simulator.fitting import Measured, Terms, fit, left_out, nonnegative, predicted, reading_ms, summed

TRUE = (8.0, 0.2, 1e-5, 0.03)


SHAPES = ((1_024, 1_024), (8_192, 1_024), (1_024, 8_192))


def points(coefficients: Terms = TRUE, shapes: Sequence[tuple[int, int]] = SHAPES) -> list[Measured]:
    made = []
    for tokens_in, tokens_out in shapes:
        for batch in (1, 4, 16, 64):
            point = Measured(batch=batch, tokens_in=tokens_in, tokens_out=tokens_out, ttft_ms=0.0, tpot_ms=1.0)
            made.append(
                Measured(
                    batch=batch,
                    tokens_in=tokens_in,
                    tokens_out=tokens_out,
                    ttft_ms=5.0 + coefficients[3] * tokens_in * (1 + batch) / 2,
                    tpot_ms=predicted(coefficients, point),
                )
            )
    return made


def test_finds_what_made_the_points():
    assert fit(points()) == pytest.approx(TRUE, rel=1e-6)


def test_nothing_is_below_zero():
    assert min(nonnegative([(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)], [3.0, 2.0, 1.0])) >= 0
    assert nonnegative([(1.0, 0.0), (1.0, 0.0)], [2.0, 2.0]) == pytest.approx((2.0, 0.0))


def test_a_prompt_that_seems_to_cost_nothing_is_not_believed():
    one_share = [point for point in points() if (point.tokens_in, point.tokens_out) == (1_024, 1_024)]
    assert reading_ms(points()) == pytest.approx(TRUE[3])
    assert reading_ms(one_share) is None
    free = points((8.0, 0.2, 1e-5, 0.0))
    slow_first = [
        Measured(
            batch=p.batch,
            tokens_in=p.tokens_in,
            tokens_out=p.tokens_out,
            ttft_ms=5 + 0.03 * p.tokens_in * (1 + p.batch) / 2,
            tpot_ms=p.tpot_ms,
        )
        for p in free
    ]
    assert fit(slow_first)[3] == pytest.approx(0.03)


def test_no_points_no_coefficients():
    with pytest.raises(ValueError, match="at least one point"):
        fit([])


def test_exact_points_leave_no_error_when_left_out():
    by_point = left_out([points()], id)
    assert max(by_point[0]) < 1e-6
    assert summed(by_point[0]).points == 12
    assert left_out([points()[:1]], id) == [()]
