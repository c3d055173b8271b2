"""How a plan looks at a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.markup import escape
from rich.table import Table

from headrace.cli.tables import Cell, rich_table
from headrace.planner import Demand, Forecast, Instance, Plan, Planned, Verified, usd
from headrace.planner.parts import purchases, rentals, servings, small, trained, unserved, verdict


def summary(planned: Planned) -> Iterator[str]:
    """A few sentences: the bill, the price of a token, what may be cheaper, what goes unserved."""
    plan = planned.plan
    quarters = f"{plan.quarters} quarter{'s' if plan.quarters > 1 else ''}"
    yield f"[bold]{usd(plan.usd)} over {quarters}, {small(plan.usd_per_mtok)} a million tokens[/] ({_tokens(plan.tokens)} as expected)"
    cases = ", ".join(f"{name} {usd(amount)}" for name, amount in plan.usd_by_case.items())
    if len(plan.usd_by_case) > 1:
        yield f"By case: {cases}."
    if plan.usd_after:
        yield f"Contracts run on after the last quarter: {usd(plan.usd_after)} more are owed."
    if plan.usd_rounding:
        yield f"Whole nodes of what is rented by the hour take up to {usd(plan.usd_rounding)} more."
    carbon = f"{plan.carbon_t:,.0f} t of CO₂ ({plan.carbon_known_share:.0%} of it on grids that are known)"
    yield f"No plan can be more than {plan.gap:.2%} cheaper. Power {sum(plan.kw_max.values()):,.0f} kW at most; {carbon}."
    for sentence in unserved(plan):
        yield f"[red]{escape(sentence)}[/]"
    for sentence in trained(plan):
        yield escape(sentence)


def plan_tables(plan: Plan) -> Iterator[Table]:
    for table in (purchases(plan), rentals(plan), servings(plan)):
        yield rich_table(table)


SPEEDS = (
    *("demand", "silicon", "tokens_per_s", "accelerators_full", "together", "ttft_ms", "tpot_ms"),
    *("grade", "may_be_off_percent", "beyond_measured", "source"),
)


def speed_rows(question: Instance) -> list[dict[str, Cell]]:
    """One row a demand and silicon that can serve it, the fastest first."""
    found = {(question.ask.demands[number].title, question.places[at].silicon): (at, number) for at, number in question.speeds}
    rows: list[tuple[str, float, dict[str, Cell]]] = []
    for (demand, silicon), key in found.items():
        speed = question.speeds[key]
        row: dict[str, Cell] = {
            "demand": demand,
            "silicon": silicon,
            "tokens_per_s": round(speed.tokens_per_s),
            "accelerators_full": round(question.loads[key]),
            "together": speed.accelerators,
            "ttft_ms": None if speed.ttft_ms is None else round(speed.ttft_ms),
            "tpot_ms": None if speed.tpot_ms is None else round(speed.tpot_ms),
            "grade": speed.grade,
            "may_be_off_percent": round(speed.error * 100),
            "beyond_measured": "yes" if speed.extrapolated else "no",
            "source": speed.source,
        }
        rows.append((demand, -speed.tokens_per_s, row))
    return [row for _, _, row in sorted(rows, key=lambda each: each[:2])]


def verdict_lines(plan: Plan, checked: Verified) -> Iterator[str | Table]:
    """The plan and the simulator's verdict, side by side."""
    for hour in checked.hours:
        yield rich_table(verdict(plan, hour))
        if hour.left_out:
            yield f"Too small for a replica in that slice, and not simulated: {', '.join(hour.left_out)}."
    for used, cost, worst in checked.rounds[:-1]:
        yield f"At {used:.0%} utilisation ({usd(cost)}) {worst:.1%} of the worst class were served in time: planned again with less."


def forecast_lines(demands: Sequence[Demand], found: Mapping[str, Forecast]) -> Iterator[str]:
    """What the forecast rests on, for each demand."""
    for demand in demands:
        ahead = found.get(demand.title)
        if ahead is None:
            yield f"{demand.title}: too few whole days for a forecast; as it was used, without growth."
            continue
        low, middle, high = ahead.quarters[-1]
        held = (
            "" if ahead.coverage is None else f"; of {ahead.tried} forecasts tried on the past {ahead.coverage:.0%} held (80% are meant to)"
        )
        beyond = "" if ahead.beyond is None else f"; from quarter {ahead.beyond + 1} on it looks further ahead than was ever tried"
        last = f"quarter {len(ahead.quarters)} is {middle:.2f} times the last four weeks, {low:.2f} to {high:.2f}"
        yield f"{demand.title}: {last}, from {ahead.days} days{held}{beyond}."


def _tokens(count: float) -> str:
    for over, unit in ((1e15, "quadrillion"), (1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if count >= over:
            return f"{count / over:,.1f} {unit} tokens"
    return f"{count:,.0f} tokens"
