"""A plan as figures, tables and pictures, for the page."""

from collections.abc import Mapping, Sequence

from headrace.core.shown import Bars, Figure, Shown, Stack
from headrace.planner.alternatives import Alternative
from headrace.planner.parts import TERM, from_one_alone, over, purchases, rentals, servings, small, trained, unserved, verdict
from headrace.planner.plan import Plan
from headrace.planner.verify import Verified
from headrace.planner.worth import Worth, usd

PLACES_MAX = 6


def shown(plan: Plan, beside: Sequence[Alternative], worth: Sequence[Worth], verified: Verified | None) -> Shown:
    """The plan, the simulator's verdict on it, what one cloud or silicon alone would cost, and what things are worth."""
    verdicts = [] if verified is None else [each.kept for hour in verified.hours for each in hour.verdicts]
    return Shown(
        title=f"A plan of {plan.quarters} quarter{'s' if plan.quarters > 1 else ''}",
        figures=(
            Figure(usd(plan.usd), "expected cost"),
            Figure(small(plan.usd_per_mtok), "a million tokens"),
            Figure(usd(plan.usd_after), "owed after it"),
            Figure(f"{sum(plan.kw_max.values()) / 1_000:,.1f} MW", "power at most"),
            Figure(f"{plan.carbon_t:,.0f} t", "CO₂"),
            Figure(f"{plan.gap:.2%}", "could be saved at most"),
        ),
        sentences=(*unserved(plan), *trained(plan), *(each.sentence for each in worth)),
        good=False if over(plan) else None if verified is None else all(verdicts),
        stacks=(_stands(plan),),
        bars=(
            *((_amounts("If it turns out otherwise", plan.usd_by_case),) if len(plan.usd_by_case) > 1 else ()),
            *(_amounts(f"Spent by {what}", {TERM.get(name, name): cost for name, cost in plan.spend[what].items()}) for what in plan.spend),
        ),
        tables=tuple(
            table
            for table in (
                *(verdict(plan, hour) for hour in (() if verified is None else verified.hours)),
                purchases(plan),
                rentals(plan),
                servings(plan),
                from_one_alone(beside),
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
