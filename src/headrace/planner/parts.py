"""What a plan is told with, at the terminal as in a page: its tables and sentences, as plain values."""

from collections.abc import Sequence

from headrace.core.shown import News, ShownCell, ShownTable
from headrace.planner.alternatives import Alternative
from headrace.planner.plan import Plan, Shortfall
from headrace.planner.verify import Hour
from headrace.planner.worth import usd

UNSERVED_MIN = 1e-4
UNSERVED_SHOWN = 5e-4
TERM = {"owned": "own", "reserved_3y": "reserved, 3 years", "reserved_1y": "reserved, 1 year", "on_demand": "on demand", "spot": "spot"}


def over(plan: Plan) -> list[Shortfall]:
    """Where more goes unserved than may."""
    return [short for short in plan.shortfalls if short.share > short.allowed + UNSERVED_MIN]


def unserved(plan: Plan) -> list[str]:
    """A sentence for each of them."""
    return [
        f"{short.demand}: {short.share:.1%} goes unserved in quarter {short.quarter + 1}, "
        + ("as expected." if short.outage is None else f"when {short.outage} is lost (it may {short.allowed:.0%}).")
        for short in over(plan)
    ]


def trained(plan: Plan) -> list[str]:
    """A sentence for each job of training."""
    return [
        f"Training {job.job}: {job.share:.0%} done in time, "
        + (f"at {job.place}, {job.accelerators_mean:,.0f} accelerators on average." if job.place else "nowhere.")
        for job in plan.trained
    ]


def small(amount: float) -> str:
    """An amount of some dollars or less."""
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.3f}"


def purchases(plan: Plan) -> ShownTable:
    columns = ("from quarter", "order in", "place", "term", "accelerators", "USD an hour each", "USD in plan", "USD after it")
    rows = tuple(
        (
            f"{each.quarter + 1}",
            f"{each.order_quarter + 1}",
            each.place,
            TERM[each.term],
            f"{each.accelerators:,} ({each.quanta} × {each.accelerators // each.quanta})",
            f"{each.usd_per_accelerator_hour:,.2f}",
            usd(each.usd),
            usd(each.usd_after) if each.usd_after else "",
        )
        for each in sorted(plan.purchases, key=lambda bought: (bought.quarter, -bought.usd))
    )
    return ShownTable("Bound for a term", columns, (4, 5, 6, 7), rows)


def rentals(plan: Plan) -> ShownTable:
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


def servings(plan: Plan) -> ShownTable:
    """Who serves what in the last quarter."""
    last = plan.quarters - 1
    rows = tuple(
        (
            each.demand,
            each.place,
            f"{each.share:.1%}",
            f"{each.tokens_per_s:,.0f}",
            f"{each.accelerators_full:,.0f}" if each.accelerators_full else "",
        )
        for each in sorted((each for each in plan.servings if each.quarter == last), key=lambda each: (each.demand, -each.share))
    )
    columns = ("demand", "place", "share", "tokens/s", "accelerators full")
    return ShownTable(f"Who serves what in quarter {last + 1}", columns, (2, 3, 4), rows)


def verdict(plan: Plan, hour: Hour) -> ShownTable:
    """Plan and simulator, side by side."""
    planned = max((short.share for short in plan.shortfalls if short.outage is None), default=0.0)
    columns = ("class", "plan: served", "simulated requests", "refused", "within objectives", "TTFT p99 ms", "TPOT p99 ms", "verdict")
    rows = tuple(
        (
            each.traffic_class,
            f"{1 - planned:.1%}",
            f"{each.requests:,}",
            f"{each.refused_share:.2%}",
            f"{each.within_share:.2%}",
            f"{each.ttft_ms_p99:,.0f}",
            f"{each.tpot_ms_p99:,.1f}",
            News("kept" if each.kept else "missed", each.kept),
        )
        for each in hour.verdicts
    )
    return ShownTable(f"The simulator's verdict: {hour.state}; {hour.scale:.1%} of the fleet", columns, (1, 2, 3, 4, 5, 6), rows)


def from_one_alone(beside: Sequence[Alternative]) -> ShownTable:
    """What it costs, and risks, from one cloud or on one silicon only; the first of them is the plan itself."""
    columns = (
        *("from", "USD", "USD a million tokens", "beside the plan", "unserved", "loss of a region", "lock-in"),
        "lost with its worst cloud",
    )
    base = beside[0].plan.usd_per_mtok if beside and beside[0].plan is not None else 0.0
    return ShownTable("From one alone", columns, (1, 2, 3, 4, 6, 7), tuple(_alone(each, base, each is beside[0]) for each in beside))


def _alone(each: Alternative, base: float, itself: bool) -> tuple[ShownCell, ...]:
    name = each.only or each.kind
    if each.plan is None:
        return name, "no plan", "", "", "", "", "", ""
    covered = not any(short.outage is not None for short in over(each.plan))
    return (
        name,
        usd(each.plan.usd),
        small(each.plan.usd_per_mtok),
        "" if itself else f"{each.plan.usd_per_mtok / base - 1 if base else 0.0:+.0%}",
        f"{each.unserved_share:.1%}" if each.unserved_share > UNSERVED_SHOWN else "",
        News("covered" if covered else "not covered", covered),
        f"{each.lock_in:.2f} ({each.locked_to})" if each.locked_to else "",
        f"{each.lost_share:.0%} ({each.lost_cloud})" if each.lost_cloud else "",
    )
