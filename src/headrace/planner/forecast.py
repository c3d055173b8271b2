"""What will be asked for: exponential smoothing of daily tokens, with intervals that come from its own past mistakes.

The model is ETS with an additive trend that is damped and a weekly season, on logarithms (statsmodels). Its own interval rests on the
model being right, so it isn't used: the model is fitted again and again on the history's beginning, and asked for what followed. Mistakes
grow with the square root of how far ahead one looks, as those of a random walk do; divided by that root they are pooled, and of their
sizes the ninetieth percentile makes the interval that is meant to hold in eight of ten cases. One more in ten, since mistakes on one
history are not independent: on random walks, the eightieth held in 13 of 20 and the ninetieth in 15. How often it would have held on this
history is told beside it.
"""

import warnings
from collections.abc import Mapping, Sequence
from math import ceil, exp, log, sqrt

import msgspec

from headrace.planner.demand import Case, Demand
from headrace.planner.history import Stream
from headrace.planner.solver import PlannerMissing

DAYS_MIN = 28
"""Four weeks: fewer say nothing of a trend beside a weekly season."""
DAYS_PER_QUARTER = 91
SECONDS_PER_DAY = 86_400
WEEK = 7
ORIGINS_MAX = 12
HELD = 0.9
TRIED_MIN = 5
UNTRIED = 0.1
"""A day, where nothing could be tried: a factor of two after seven weeks."""
WEIGHTS = (0.3, 0.4, 0.3)
"""Of the three cases that stand for the distribution (Swanson's rule for the tenth, fiftieth and ninetieth percentile)."""
FLOOR = 1e-9


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Mean tokens a day by quarter, as a multiple of the last four weeks: low, middle, high (the tenth, fiftieth, ninetieth percentile).

    `coverage`: of forecasts that were tried on the past, the share whose outcome was within the interval that the mistakes before it make;
    None: the history is too short to try. `beyond`: the first quarter that looks further ahead than was ever tried.
    """

    quarters: tuple[tuple[float, float, float], ...]
    days: int
    tried: int
    coverage: float | None
    beyond: int | None

    @property
    def growth_per_quarter(self) -> float:
        """Of the middle, compounding, from the first quarter to the last."""
        first, last = self.quarters[0][1], self.quarters[-1][1]
        return (last / first) ** (1 / (len(self.quarters) - 1)) - 1 if len(self.quarters) > 1 and first > 0 else 0.0


def forecast(daily: Sequence[float], quarters: int) -> Forecast:
    """Raises ValueError for fewer than four weeks of days, PlannerMissing without statsmodels."""
    if len(daily) < DAYS_MIN:
        raise ValueError(f"a forecast needs at least {DAYS_MIN} whole days of usage, and there are {len(daily)}")
    logs = [log(max(each, FLOOR * (max(daily) or 1.0))) for each in daily]
    base = sum(daily[-DAYS_MIN:]) / DAYS_MIN
    errors = _errors(logs)
    ahead = _ahead(logs, quarters * DAYS_PER_QUARTER)
    tried_days = max((days for days, _ in errors), default=WEEK)
    a_day = _quantile([abs(off) / sqrt(days) for days, off in errors], HELD)
    found = []
    for quarter in range(quarters):
        days = ahead[quarter * DAYS_PER_QUARTER : (quarter + 1) * DAYS_PER_QUARTER]
        middle = sum(map(exp, days)) / len(days) / base
        wide = a_day * sqrt((quarter + 0.5) * DAYS_PER_QUARTER)
        found.append((middle * exp(-wide), middle, middle * exp(wide)))
    beyond = next((quarter for quarter in range(quarters) if (quarter + 0.5) * DAYS_PER_QUARTER > tried_days), None)
    return Forecast(quarters=tuple(found), days=len(daily), tried=len(errors), coverage=_coverage(errors), beyond=beyond)


def _errors(logs: Sequence[float]) -> list[tuple[int, float]]:
    """Days ahead and how far off, for each origin in the second half and each whole week that followed."""
    first = max(2 * WEEK, len(logs) // 2)
    step = max(1, (len(logs) - WEEK - first) // ORIGINS_MAX)
    found = []
    for origin in range(first, len(logs) - WEEK + 1, step):
        ahead = _ahead(logs[:origin], len(logs) - origin)
        for week in range((len(logs) - origin) // WEEK):
            days = slice(week * WEEK, (week + 1) * WEEK)
            came = sum(map(exp, logs[origin:][days])) / WEEK
            said = sum(map(exp, ahead[days])) / WEEK
            found.append(((week + 1) * WEEK, log(max(came, FLOOR) / max(said, FLOOR))))
    return found


def _coverage(errors: Sequence[tuple[int, float]]) -> float | None:
    """Each mistake held against the interval that those before it would have made."""
    sizes = [abs(off) / sqrt(days) for days, off in errors]
    inside = [sizes[number] <= _quantile(sizes[:number], HELD) for number in range(TRIED_MIN, len(sizes))]
    return sum(inside) / len(inside) if inside else None


def _quantile(sizes: Sequence[float], share: float) -> float:
    """With the finite sample's correction outward, so that few mistakes give a wide interval; of none at all, a wide one."""
    if not sizes:
        return UNTRIED
    ordered = sorted(sizes)
    return ordered[min(len(ordered), ceil((len(ordered) + 1) * share)) - 1]


def _ahead(logs: Sequence[float], days: int) -> list[float]:
    try:
        import numpy  # an extra, and heavy
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel
    except ImportError:
        raise PlannerMissing from None
    weekly = len(logs) >= 3 * WEEK
    series = numpy.asarray(logs, dtype=float)
    if float(series.std()) < FLOOR:
        return [float(series[-1])] * days
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so when the search for parameters stops early, and the mistakes below judge that
        model = ETSModel(
            series,
            error="add",
            trend="add",
            damped_trend=True,
            seasonal="add" if weekly else None,
            seasonal_periods=WEEK if weekly else None,
            initialization_method="heuristic",  # a fiftieth of the time of estimating where it begins, and as good after some weeks
        )
        return [float(each) for each in model.fit(disp=False).forecast(days)]


def foreseen(
    demands: Sequence[Demand], histories: Mapping[Stream, Sequence[float]], quarters: int
) -> tuple[tuple[Demand, ...], tuple[Case, ...], dict[str, Forecast]]:
    """The demands with their size and growth by the middle of their forecasts, three cases for their low, middle and high, and the
    forecasts by demand. A demand whose history is too short stays as it is, in all cases.
    """
    found: dict[str, Forecast] = {}
    grown: list[Demand] = []
    for demand in demands:
        days = histories.get((demand.traffic_class, demand.geography, demand.model), ())
        if len(days) < DAYS_MIN:
            grown.append(demand)
            continue
        ahead = forecast(days, quarters)
        found[demand.title] = ahead
        recent = sum(days[-DAYS_MIN:]) / DAYS_MIN / SECONDS_PER_DAY
        grown.append(
            msgspec.structs.replace(
                demand, tokens_per_s=recent * ahead.quarters[0][1], growth_per_quarter=round(ahead.growth_per_quarter, 4)
            )
        )
    if not found:
        return tuple(grown), (), {}
    cases = tuple(
        Case(
            name=name,
            probability=weight,
            demand={title: round(ahead.quarters[-1][at] / ahead.quarters[-1][1], 4) for title, ahead in found.items()},
        )
        for at, (name, weight) in enumerate(zip(("low", "middle", "high"), WEIGHTS, strict=True))
    )
    return tuple(grown), cases, found
