"""The plan as one page of HTML that needs nothing else: figures, bars, the simulator's verdict, the plans beside it, what things are
worth."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from headrace.core.shown import ShownTable
from headrace.planner.alternatives import Alternative
from headrace.planner.parts import TERM, from_one_alone, purchases, rentals, servings, small, trained, unserved, verdict
from headrace.planner.plan import Plan
from headrace.planner.verify import Verified
from headrace.planner.worth import Worth, usd
from headrace.simulator.htmltable import html_table

COLOURS = (
    "#3a6ea5",
    "#c26a3d",
    "#5b8c5a",
    "#8a5a9e",
    "#b7950b",
    "#4a9aa5",
    "#a54a6a",
    "#7a7a7a",
    "#2f4b7c",
    "#d08b8b",
    "#9bb37a",
    "#6b6bb0",
)
STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #666; --bad: #b3261e; --good: #2e7d32 }
@media (prefers-color-scheme: dark) { :root { --dim: #aaa; --bad: #ff8a80; --good: #81c784 } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem } .dim { color: var(--dim) } .bad { color: var(--bad) }
.good { color: var(--good) }
.figures { display: flex; flex-wrap: wrap; gap: 2rem; margin: 1rem 0 } .figures b { display: block; font-size: 1.5rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100% } th { text-align: left; font-weight: 600; color: var(--dim) }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); white-space: nowrap }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto } svg text { fill: currentColor; font: 12px system-ui, sans-serif } li { margin: .2rem 0 }
"""


def page(plan: Plan, beside: Sequence[Alternative], worth: Sequence[Worth], verified: Verified | None) -> str:
    body = "".join(
        (*_head(plan), *_stands(plan), *_buys(plan), _titled(servings(plan)), *_verdict(plan, verified), *_alone(beside), *_worths(worth))
    )
    title = f"A plan of {plan.quarters} quarters: {usd(plan.usd)}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _head(plan: Plan) -> Iterator[str]:
    yield f"<h1>A plan of {plan.quarters} quarter{'s' if plan.quarters > 1 else ''}</h1><div class='figures'>"
    for figure, what in (
        (usd(plan.usd), "expected cost"),
        (small(plan.usd_per_mtok), "a million tokens"),
        (usd(plan.usd_after), "owed after the last quarter"),
        (f"{sum(plan.kw_max.values()) / 1_000:,.1f} MW", "power at most"),
        (f"{plan.carbon_t:,.0f} t", "CO₂ equivalent"),
        (f"{plan.gap:.2%}", "could be saved at most"),
    ):
        yield f"<div><b>{escape(figure)}</b><span class='dim'>{escape(what)}</span></div>"
    yield "</div>"
    yield (
        "<p class='dim'>Prices are list prices and published estimates, and a plan is an estimate: see the cases. "
        f"{plan.carbon_known_share:.0%} of the carbon is on grids that are known.</p>"
    )
    if len(plan.usd_by_case) > 1:
        yield "<h2>If it turns out otherwise</h2>" + _bars(plan.usd_by_case)
    for sentence in unserved(plan):
        yield f"<p class='bad'>{escape(sentence)}</p>"
    for sentence in trained(plan):
        yield f"<p>{escape(sentence)}</p>"


def _stands(plan: Plan) -> Iterator[str]:
    yield "<h2>What stands when</h2>"
    quarters = [plan.accelerators(quarter) for quarter in range(plan.quarters)]
    places = sorted({place for held in quarters for place, _ in held})
    series = {place: [sum(count for (where, _), count in held.items() if where == place) for held in quarters] for place in places}
    yield _stacked(series, [f"quarter {quarter + 1}" for quarter in range(plan.quarters)])
    for what in ("cloud", "silicon", "term"):
        yield f"<h2>Spent by {what}</h2>" + _bars({TERM.get(name, name): amount for name, amount in plan.spend[what].items()})


def _buys(plan: Plan) -> Iterator[str]:
    for table in (purchases(plan), rentals(plan)):
        if table.rows:
            yield _titled(table)


def _verdict(plan: Plan, verified: Verified | None) -> Iterator[str]:
    if verified is None:
        return
    for hour in verified.hours:
        yield _titled(verdict(plan, hour))
        yield "<p class='dim'>A slice of the fleet, by the gateway's own placement.</p>"
        if hour.left_out:
            yield f"<p class='dim'>Too small for a replica in that slice: {escape(', '.join(hour.left_out))}.</p>"
    if len(verified.rounds) > 1:
        steps = "; ".join(f"at {used:.0%} utilisation {usd(cost)}, {worst:.1%} in time" for used, cost, worst in verified.rounds)
        yield f"<p>It was planned {len(verified.rounds)} times: {escape(steps)}.</p>"


def _alone(beside: Sequence[Alternative]) -> Iterator[str]:
    if not beside or beside[0].plan is None:
        return
    yield _titled(from_one_alone(beside))
    yield "<p class='dim'>Lock-in: how much of a rise of its worst vendor's prices by half the plan has to bear; 1 is all of it.</p>"


def _titled(table: ShownTable) -> str:
    return f"<h2>{escape(table.title)}</h2>{html_table(table)}"


def _worths(worth: Sequence[Worth]) -> Iterator[str]:
    if worth:
        yield "<h2>What things are worth</h2><ul>"
        yield from (f"<li>{escape(each.sentence)}</li>" for each in worth)
        yield "</ul>"


def _bars(amounts: Mapping[str, float]) -> str:
    """One bar a name, with its amount in dollars."""
    most, height = max(amounts.values(), default=0.0) or 1.0, 24
    bars = []
    for row, (name, amount) in enumerate(amounts.items()):
        y, width = row * height, 480 * amount / most
        bars += [_label(0, y + 16, name), _box(200, y + 4, width, 16, 0), _label(205 + width, y + 16, usd(amount))]
    return _svg(max(1, len(amounts)) * height, "amounts in dollars", bars)


def _stacked(series: Mapping[str, Sequence[float]], columns: Sequence[str]) -> str:
    """A column a quarter, stacked by place, and the names beside it."""
    totals = [sum(values[at] for values in series.values()) for at in range(len(columns))]
    most, tall = max(totals, default=0.0) or 1.0, 240
    parts, width = list[str](), 460 / max(1, len(columns))
    for at, column in enumerate(columns):
        top = float(tall)
        for number, values in enumerate(series.values()):
            high = (tall - 20) * values[at] / most
            top -= high
            parts.append(_box(at * width, top, width * 0.7, high, number))
        parts += [_label(at * width, top - 4, f"{totals[at]:,.0f}"), _label(at * width, tall + 16, column)]
    for number, name in enumerate(series):
        y = 14 + number * 18
        parts += [_box(490, y - 10, 11, 11, number), _label(507, y, name)]
    return _svg(max(tall + 24, 20 + len(series) * 18), "accelerators by quarter and place", parts)


def _box(x: float, y: float, width: float, height: float, colour: int) -> str:
    fill = COLOURS[colour % len(COLOURS)]
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'


def _label(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(height: int, what: str, parts: Sequence[str]) -> str:
    return f'<svg viewBox="0 0 780 {height}" role="img" aria-label="{escape(what)}">{"".join(parts)}</svg>'
