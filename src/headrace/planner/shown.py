"""A plan as figures, tables and pictures, for the page."""

from collections.abc import Mapping, Sequence

from headrace.core.shown import Bars, Figure, Shown, ShownTable, Stack, news
from headrace.planner.alternatives import Alternative
from headrace.planner.page import TERM
from headrace.planner.plan import Plan
from headrace.planner.verify import Hour, Verified
from headrace.planner.worth import Worth, usd

UNSERVED_MIN = 1e-4
PLACES_MAX = 6


def shown(plan: Plan, beside: Sequence[Alternative], worth: Sequence[Worth], verified: Verified | None) -> Shown:
    """The plan, the simulator's verdict on it, what one cloud or silicon alone would cost, and what things are worth."""
    over = [short for short in plan.shortfalls if short.share > short.allowed + UNSERVED_MIN]
    verdicts = [] if verified is None else [each.kept for hour in verified.hours for each in hour.verdicts]
    unserved = tuple(
        f"{short.demand}: {short.share:.1%} goes unserved in quarter {short.quarter + 1}, "
        f"{'as expected' if short.outage is None else f'when {short.outage} is lost'}."
        for short in over
    )
    trained = tuple(
        f"Training {job.job}: {job.share:.0%} done in time, "
        f"{f'at {job.place}, {job.accelerators_mean:,.0f} accelerators on average' if job.place else 'nowhere'}."
        for job in plan.trained
    )
    return Shown(
        title=f"A plan of {plan.quarters} quarter{'s' if plan.quarters > 1 else ''}",
        figures=(
            Figure(usd(plan.usd), "expected cost"),
            Figure(f"${plan.usd_per_mtok:.3f}", "a million tokens"),
            Figure(usd(plan.usd_after), "owed after it"),
            Figure(f"{sum(plan.kw_max.values()) / 1_000:,.1f} MW", "power at most"),
            Figure(f"{plan.carbon_t:,.0f} t", "CO₂"),
            Figure(f"{plan.gap:.2%}", "could be saved at most"),
        ),
        sentences=(*unserved, *trained, *(each.sentence for each in worth)),
        good=not over and all(verdicts) if verified is not None else None if not over else False,
        stacks=(_stands(plan),),
        bars=(
            *((_amounts("If it turns out otherwise", plan.usd_by_case),) if len(plan.usd_by_case) > 1 else ()),
            *(_amounts(f"Spent by {what}", {TERM.get(name, name): cost for name, cost in plan.spend[what].items()}) for what in plan.spend),
        ),
        tables=tuple(
            table
            for table in (
                *(_verdict(hour) for hour in (() if verified is None else verified.hours)),
                _purchases(plan),
                _rentals(plan),
                _servings(plan),
                _alone(beside),
            )
            if table.rows
        ),
    )


def _amounts(title: str, amounts: Mapping[str, float]) -> Bars:
    return Bars(title, tuple(amounts), tuple(amounts.values()), tuple(usd(amount) for amount in amounts.values()))


def _stands(plan: Plan) -> Stack:
    quarters = [plan.accelerators(quarter) for quarter in range(plan.quarters)]
    places = sorted({place for held in quarters for place, _ in held})
    counts = {place: [float(sum(n for (where, _), n in held.items() if where == place)) for held in quarters] for place in places}
    ranked = sorted(places, key=lambda place: (-max(counts[place]), place))
    most, others = ranked[:PLACES_MAX], ranked[PLACES_MAX:]
    named = [*most, *(["others"] if others else [])]
    counts["others"] = [sum(counts[place][at] for place in others) for at in range(plan.quarters)]
    steps = tuple(f"quarter {at + 1}" for at in range(plan.quarters))
    return Stack("What stands when", "accelerators", steps, tuple(named), tuple(tuple(counts[name]) for name in named))


def _verdict(hour: Hour) -> ShownTable:
    columns = ("class", "requests simulated", "refused", "within objectives", "TTFT p99 ms", "TPOT p99 ms", "verdict")
    rows = tuple(
        (
            each.traffic_class,
            f"{each.requests:,}",
            f"{each.refused_share:.2%}",
            f"{each.within_share:.2%}",
            f"{each.ttft_ms_p99:,.0f}",
            f"{each.tpot_ms_p99:,.1f}",
            news("kept" if each.kept else "missed", good=each.kept),
        )
        for each in hour.verdicts
    )
    return ShownTable(f"The simulator's verdict: {hour.state}, {hour.scale:.1%} of the fleet", columns, (1, 2, 3, 4, 5), rows)


def _purchases(plan: Plan) -> ShownTable:
    columns = ("from quarter", "order in", "place", "term", "accelerators", "USD an hour each", "USD in plan", "USD after it")
    rows = tuple(
        (
            f"{each.quarter + 1}",
            f"{each.order_quarter + 1}",
            each.place,
            TERM[each.term],
            f"{each.accelerators:,}",
            f"{each.usd_per_accelerator_hour:,.2f}",
            usd(each.usd),
            usd(each.usd_after) if each.usd_after else "",
        )
        for each in sorted(plan.purchases, key=lambda bought: (bought.quarter, -bought.usd))
    )
    return ShownTable("Bound for a term", columns, (4, 5, 6, 7), rows)


def _rentals(plan: Plan) -> ShownTable:
    columns = ("quarter", "place", "term", "accelerators, mean", "at most", "USD an hour each", "USD in plan")
    rows = tuple(
        (
            f"{each.quarter + 1}",
            each.place,
            TERM[each.term],
            f"{each.accelerators_mean:,.0f}",
            f"{each.accelerators_max:,}",
            f"{each.usd_per_accelerator_hour:,.2f}",
            usd(each.usd),
        )
        for each in sorted(plan.rentals, key=lambda rented: (rented.quarter, -rented.usd))
    )
    return ShownTable("By the hour", columns, (3, 4, 5, 6), rows)


def _servings(plan: Plan) -> ShownTable:
    last = plan.quarters - 1
    rows = tuple(
        (each.demand, each.place, f"{each.share:.1%}", f"{each.tokens_per_s:,.0f}", f"{each.accelerators_full:,.0f}")
        for each in sorted((each for each in plan.servings if each.quarter == last), key=lambda each: (each.demand, -each.share))
    )
    return ShownTable(
        f"Who serves what in quarter {last + 1}", ("demand", "place", "share", "tokens/s", "accelerators full"), (2, 3, 4), rows
    )


def _alone(beside: Sequence[Alternative]) -> ShownTable:
    columns = ("from", "USD", "USD a million tokens", "beside the plan", "unserved", "loss of a region", "lock-in")
    base = beside[0].plan.usd_per_mtok if beside and beside[0].plan is not None else 0.0
    rows = []
    for each in beside:
        if each.plan is None:
            rows.append((each.only or each.kind, "no plan", "", "", "", "", ""))
            continue
        covered = not any(short.outage is not None and short.share > short.allowed + UNSERVED_MIN for short in each.plan.shortfalls)
        rows.append(
            (
                each.only or each.kind,
                usd(each.plan.usd),
                f"${each.plan.usd_per_mtok:.3f}",
                "" if each is beside[0] or not base else f"{each.plan.usd_per_mtok / base - 1:+.0%}",
                f"{each.unserved_share:.1%}" if each.unserved_share > 5e-4 else "",
                news("covered" if covered else "not covered", good=covered),
                f"{each.lock_in:.2f} {each.locked_to}".strip(),
            )
        )
    return ShownTable("From one cloud, or on one silicon, alone", columns, (1, 2, 3, 4), tuple(rows))
