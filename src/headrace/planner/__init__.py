"""What to own, reserve, rent or buy by the token, where and when: demand, an optimisation over the portfolio, and what it is worth."""

from headrace.planner.alternatives import Alternative, alternatives
from headrace.planner.apply import Existing, Wanted, changed, diff, tasks, wanted
from headrace.planner.demand import Ask, Case, Demand, Training, parse_demand
from headrace.planner.forecast import Forecast, forecast, foreseen
from headrace.planner.history import HourlyUsage, daily, demands_of, parse_trace, usage_of, written
from headrace.planner.offers import Held, Limits, Market, Offer, Supply, TokenOffer, parse_supply
from headrace.planner.page import page
from headrace.planner.plan import Plan, Purchase, Rental, Serving, Shortfall, Trained
from headrace.planner.planning import Effort, Planned, make_plan
from headrace.planner.sites import Instance, Place, instance, nobody_serves
from headrace.planner.solver import Infeasible, PlannerMissing
from headrace.planner.speed import Speed, SpeedOf, speed_by
from headrace.planner.verify import Hour, Verdict, Verified, verify
from headrace.planner.worth import Worth, usd, worths

__all__ = [
    "Alternative",
    "Ask",
    "Case",
    "Demand",
    "Effort",
    "Existing",
    "Forecast",
    "Held",
    "Hour",
    "HourlyUsage",
    "Infeasible",
    "Instance",
    "Limits",
    "Market",
    "Offer",
    "Place",
    "Plan",
    "Planned",
    "PlannerMissing",
    "Purchase",
    "Rental",
    "Serving",
    "Shortfall",
    "Speed",
    "SpeedOf",
    "Supply",
    "TokenOffer",
    "Trained",
    "Training",
    "Verdict",
    "Verified",
    "Wanted",
    "Worth",
    "alternatives",
    "changed",
    "daily",
    "demands_of",
    "diff",
    "forecast",
    "foreseen",
    "instance",
    "make_plan",
    "nobody_serves",
    "page",
    "parse_demand",
    "parse_supply",
    "parse_trace",
    "speed_by",
    "tasks",
    "usage_of",
    "usd",
    "verify",
    "wanted",
    "worths",
    "written",
]
