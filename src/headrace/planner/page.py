"""The plan as one page of HTML that needs nothing else: figures, bars, the simulator's verdict, the plans beside it, what things are
worth."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from headrace.planner.alternatives import Alternative
from headrace.planner.plan import Plan
from headrace.planner.verify import Hour, Verified
from headrace.planner.worth import Worth, usd

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
TERM = {"owned": "own", "reserved_3y": "reserved, 3 years", "reserved_1y": "reserved, 1 year", "on_demand": "on demand", "spot": "spot"}
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
Cell = str | tuple[str, str]
"""Text, or text with a class of style."""


def page(plan: Plan, beside: Sequence[Alternative], worth: Sequence[Worth], verified: Verified | None) -> str:
    body = "".join(
        (*_head(plan), *_stands(plan), *_buys(plan), *_serves(plan), *_verdict(plan, verified), *_alone(beside), *_worths(worth))
    )
    title = f"A plan of {plan.quarters} quarters: {usd(plan.usd)}"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _head(plan: Plan) -> Iterator[str]:
    yield f"<h1>A plan of {plan.quarters} quarter{'s' if plan.quarters > 1 else ''}</h1><div class='figures'>"
    per_mtok = f"${plan.usd_per_mtok:.3f}" if plan.usd_per_mtok < 1 else f"${plan.usd_per_mtok:.2f}"
    for figure, what in (
        (usd(plan.usd), "expected cost"),
        (per_mtok, "a million tokens"),
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
    for short in plan.shortfalls:
        if short.share > short.allowed + 1e-4:
            where = "as expected" if short.outage is None else f"when {short.outage} is lost"
            what = f"{short.demand}: {short.share:.1%} goes unserved in quarter {short.quarter + 1}, {where}."
            yield f"<p class='bad'>{escape(what)}</p>"
    for job in plan.trained:
        where = f"at {job.place}, {job.accelerators_mean:,.0f} accelerators on average" if job.place else "nowhere"
        yield f"<p>{escape(f'Training {job.job}: {job.share:.0%} done in time, {where}.')}</p>"


def _stands(plan: Plan) -> Iterator[str]:
    yield "<h2>What stands when</h2>"
    quarters = [plan.accelerators(quarter) for quarter in range(plan.quarters)]
    places = sorted({place for held in quarters for place, _ in held})
    series = {place: [sum(count for (where, _), count in held.items() if where == place) for held in quarters] for place in places}
    yield _stacked(series, [f"quarter {quarter + 1}" for quarter in range(plan.quarters)])
    for what in ("cloud", "silicon", "term"):
        yield f"<h2>Spent by {what}</h2>" + _bars({TERM.get(name, name): amount for name, amount in plan.spend[what].items()})


def _buys(plan: Plan) -> Iterator[str]:
    yield "<h2>To buy, and to rent</h2>"
    rows: list[Sequence[Cell]] = [
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
    ]
    rows += [
        (
            f"{each.quarter + 1}",
            "",
            each.place,
            TERM[each.term],
            f"{each.accelerators_mean:,.0f} on average, {each.accelerators_max:,} at most",
            f"{each.usd_per_accelerator_hour:,.2f}",
            usd(each.usd),
            "",
        )
        for each in sorted(plan.rentals, key=lambda rented: (rented.quarter, -rented.usd))
    ]
    yield _table(("from quarter", "order in", "place", "term", "accelerators", "USD an hour", "USD in plan", "USD after"), rows)


def _serves(plan: Plan) -> Iterator[str]:
    last = plan.quarters - 1
    yield f"<h2>Who serves what in quarter {last + 1}</h2>"
    held = sorted((each for each in plan.servings if each.quarter == last), key=lambda each: (each.demand, -each.share))
    yield _table(
        ("demand", "place", "share", "tokens a second", "accelerators full"),
        [(each.demand, each.place, f"{each.share:.1%}", f"{each.tokens_per_s:,.0f}", f"{each.accelerators_full:,.0f}") for each in held],
    )


def _verdict(plan: Plan, verified: Verified | None) -> Iterator[str]:
    if verified is None:
        return
    yield "<h2>Plan and simulator, side by side</h2>"
    for hour in verified.hours:
        yield f"<p>{escape(hour.state)}: a slice of {hour.scale:.1%} of the fleet, by the gateway's own placement.</p>"
        yield from _hour(plan, hour)
    if len(verified.rounds) > 1:
        steps = "; ".join(f"at {used:.0%} utilisation {usd(cost)}, {worst:.1%} in time" for used, cost, worst in verified.rounds)
        yield f"<p>It was planned {len(verified.rounds)} times: {escape(steps)}.</p>"


def _hour(plan: Plan, hour: Hour) -> Iterator[str]:
    planned = max((short.share for short in plan.shortfalls if short.outage is None), default=0.0)
    rows: list[Sequence[Cell]] = [
        (
            each.traffic_class,
            f"{1 - planned:.1%}",
            f"{each.requests:,}",
            f"{each.refused_share:.2%}",
            f"{each.within_share:.2%}",
            f"{each.ttft_ms_p99:,.0f} ms",
            f"{each.tpot_ms_p99:,.1f} ms",
            ("kept", "good") if each.kept else ("missed", "bad"),
        )
        for each in hour.verdicts
    ]
    columns = ("class", "plan: served", "requests simulated", "refused", "within objectives", "TTFT p99", "TPOT p99", "verdict")
    yield _table(columns, rows)
    if hour.left_out:
        yield f"<p class='dim'>Too small for a replica in that slice: {escape(', '.join(hour.left_out))}.</p>"


def _alone(beside: Sequence[Alternative]) -> Iterator[str]:
    if not beside or beside[0].plan is None:
        return
    yield "<h2>From one vendor, or on one silicon, alone</h2>"
    base = beside[0].plan.usd_per_mtok
    rows: list[Sequence[Cell]] = []
    for each in beside:
        if each.plan is None:
            rows.append((each.only, "no plan", "", "", "", "", "", ""))
            continue
        covered = not any(short.outage is not None and short.share > short.allowed + 1e-4 for short in each.plan.shortfalls)
        rows.append(
            (
                each.only or each.kind,
                usd(each.plan.usd),
                f"${each.plan.usd_per_mtok:.3f}",
                "" if each is beside[0] or not base else f"{each.plan.usd_per_mtok / base - 1:+.0%}",
                f"{each.unserved_share:.1%}" if each.unserved_share > 5e-4 else "",
                ("covered", "good") if covered else ("not covered", "bad"),
                f"{each.lock_in:.2f} {each.locked_to}",
                f"{each.lost_share:.0%} {each.lost_cloud}",
            )
        )
    yield _table(
        ("from", "USD", "a million tokens", "beside the plan", "unserved", "loss of a place", "lock-in", "lost with its worst cloud"), rows
    )
    yield "<p class='dim'>Lock-in: how much of a rise of its worst vendor's prices by half the plan has to bear; 1 is all of it.</p>"


def _worths(worth: Sequence[Worth]) -> Iterator[str]:
    if worth:
        yield "<h2>What things are worth</h2><ul>"
        yield from (f"<li>{escape(each.sentence)}</li>" for each in worth)
        yield "</ul>"


NUMBERS = (
    "USD",
    "share",
    "tokens",
    "accelerators",
    "requests",
    "refused",
    "within",
    "TTFT",
    "TPOT",
    "unserved",
    "lock",
    "lost",
    "beside",
    "a million",
)


def _table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    kinds = ["n" if column.startswith(NUMBERS) else "" for column in columns]
    head = "".join(f'<th class="{kind}">{escape(column)}</th>' for column, kind in zip(columns, kinds, strict=True))
    body = "".join(f"<tr>{''.join(_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True))}</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(cell: Cell, kind: str) -> str:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return f'<td class="{kind} {style}">{escape(text)}</td>'


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
