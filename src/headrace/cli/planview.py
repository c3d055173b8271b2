"""How a plan looks at a terminal."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from headrace.cli.tables import Cell
from headrace.planner import Alternative, Demand, Forecast, Instance, Plan, Planned, Verified, usd

TERM = {"owned": "own", "reserved_3y": "reserve 3 years", "reserved_1y": "reserve 1 year", "on_demand": "on demand", "spot": "spot"}


def summary(planned: Planned) -> Iterator[str]:
    """A few sentences: the bill, the price of a token, what may be cheaper, what goes unserved."""
    plan = planned.plan
    quarters = f"{plan.quarters} quarter{'s' if plan.quarters > 1 else ''}"
    yield f"[bold]{usd(plan.usd)} over {quarters}, {_small(plan.usd_per_mtok)} a million tokens[/] ({_tokens(plan.tokens)} as expected)"
    cases = ", ".join(f"{name} {usd(amount)}" for name, amount in plan.usd_by_case.items())
    if len(plan.usd_by_case) > 1:
        yield f"By case: {cases}."
    if plan.usd_after:
        yield f"Contracts run on after the last quarter: {usd(plan.usd_after)} more are owed."
    if plan.usd_rounding:
        yield f"Whole nodes of what is rented by the hour take up to {usd(plan.usd_rounding)} more."
    carbon = f"{plan.carbon_t:,.0f} t of CO₂ ({plan.carbon_known_share:.0%} of it on grids that are known)"
    yield f"No plan can be more than {plan.gap:.2%} cheaper. Power {sum(plan.kw_max.values()):,.0f} kW at most; {carbon}."
    for short in plan.shortfalls:
        where = "as expected" if short.outage is None else f"when {short.outage} is lost"
        over = "" if short.outage is None else f" (it may {short.allowed:.0%})"
        if short.share > short.allowed + 1e-4:
            yield f"[red]{short.demand}: {short.share:.1%} goes unserved in quarter {short.quarter + 1}, {where}{over}.[/]"
    for job in plan.trained:
        where = f"at {job.place}, {job.accelerators_mean:,.0f} accelerators on average" if job.place else "nowhere"
        yield f"Training {job.job}: {job.share:.0%} done in time, {where}."


def purchases_table(plan: Plan) -> Table:
    table = _table("Bound for a term", "from quarter", "place", "term", "accelerators", "USD an hour each", "USD in plan", "USD after it")
    for each in sorted(plan.purchases, key=lambda bought: (bought.quarter, -bought.usd)):
        table.add_row(
            f"{each.quarter + 1}{f', order in {each.order_quarter + 1}' if each.order_quarter != each.quarter else ''}",
            each.place,
            TERM[each.term],
            f"{each.accelerators:,} ({each.quanta} × {each.accelerators // each.quanta})",
            f"{each.usd_per_accelerator_hour:,.2f}",
            usd(each.usd),
            usd(each.usd_after) if each.usd_after else "",
        )
    return table


def rentals_table(plan: Plan) -> Table:
    table = _table("By the hour", "quarter", "place", "term", "accelerators, mean", "at most", "USD an hour each", "USD in plan")
    for each in sorted(plan.rentals, key=lambda rented: (rented.quarter, -rented.usd)):
        table.add_row(
            str(each.quarter + 1),
            each.place,
            TERM[each.term],
            f"{each.accelerators_mean:,.0f}",
            f"{each.accelerators_max:,}",
            f"{each.usd_per_accelerator_hour:,.2f}",
            usd(each.usd),
        )
    return table


def servings_table(plan: Plan) -> Table:
    """Who serves what in the last quarter."""
    last = plan.quarters - 1
    table = _table(f"Who serves what in quarter {last + 1}", "demand", "place", "share", "tokens/s", "accelerators full")
    for each in sorted((each for each in plan.servings if each.quarter == last), key=lambda each: (each.demand, -each.share)):
        full = f"{each.accelerators_full:,.0f}" if each.accelerators_full else ""
        table.add_row(each.demand, each.place, f"{each.share:.1%}", f"{each.tokens_per_s:,.0f}", full)
    return table


def alternatives_table(beside: Sequence[Alternative]) -> Table:
    names = (
        "from",
        "USD",
        "USD a million tokens",
        "beside the plan",
        "unserved",
        "loss of a region",
        "lock-in",
        "lost with its worst cloud",
    )
    table = _table("Beside it: from one alone", *names)
    base = beside[0].plan
    assert base is not None
    for each in beside:
        if each.plan is None:
            table.add_row(each.only or each.kind, "no plan", *("" for _ in names[2:]))
            continue
        more = each.plan.usd_per_mtok / base.usd_per_mtok - 1 if base.usd_per_mtok else 0.0
        covered = not any(short.outage is not None and short.share > short.allowed + 1e-4 for short in each.plan.shortfalls)
        table.add_row(
            each.only or each.kind,
            usd(each.plan.usd),
            _small(each.plan.usd_per_mtok),
            "" if each is beside[0] else f"{more:+.0%}",
            f"{each.unserved_share:.1%}" if each.unserved_share > 5e-4 else "",
            "covered" if covered else "not covered",
            f"{each.lock_in:.2f} ({each.locked_to})" if each.locked_to else "",
            f"{each.lost_share:.0%} ({each.lost_cloud})" if each.lost_cloud else "",
        )
    return table


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


def verdict_lines(checked: Verified) -> Iterator[str | Table]:
    """The plan and the simulator's verdict, side by side."""
    names = ("class", "simulated requests", "refused", "within objectives", "TTFT p99 ms", "TPOT p99 ms", "verdict")
    for hour in checked.hours:
        table = _table(f"The simulator's verdict: {hour.state}; {hour.scale:.1%} of the fleet", *names)
        for each in hour.verdicts:
            kept = "[green]kept[/]" if each.kept else "[red]missed[/]"
            shares = f"{each.refused_share:.2%}", f"{each.within_share:.2%}"
            table.add_row(each.traffic_class, f"{each.requests:,}", *shares, f"{each.ttft_ms_p99:,.0f}", f"{each.tpot_ms_p99:,.1f}", kept)
        yield table
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


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0)
    )
    for column in columns:
        words = ("place", "demand", "term", "from", "from quarter", "loss of a region", "class")
        table.add_column(column, justify="left" if column in words else "right", no_wrap=True)
    return table


def _small(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.3f}"


def _tokens(count: float) -> str:
    for over, unit in ((1e15, "quadrillion"), (1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if count >= over:
            return f"{count / over:,.1f} {unit} tokens"
    return f"{count:,.0f} tokens"
