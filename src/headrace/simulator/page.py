"""The report as one page that needs nothing else: text, tables and plots inside."""

from collections.abc import Iterable, Sequence
from html import escape

from headrace.core.shown import ShownTable
from headrace.simulator.htmltable import html_table
from headrace.simulator.parts import classes, jobs, pools, usd
from headrace.simulator.plots import Bar, bars, lines
from headrace.simulator.report import Moment, Report

STYLE = """
:root {
  color-scheme: light dark;
  --ink: #1d1d1f; --soft: #6b6b70; --rule: #d8d8dc; --ground: #fff; --good: #2b7a4b; --bad: #b33a3a;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --soft: #a0a0a8; --rule: #3a3a40; --ground: #17171a; --good: #6cc08b; --bad: #e38080; }
}
body {
  font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
}
h1 { font-size: 1.5rem; margin: 0 }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .4rem }
p { margin: .3rem 0; color: var(--soft) }
.facts { display: flex; flex-wrap: wrap; gap: 1.6rem; margin: 1.2rem 0; color: var(--soft) }
.facts b { display: block; font-size: 1.35rem; color: var(--ink) }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem .25rem 0; text-align: left; white-space: nowrap }
.n { text-align: right }
th { color: var(--soft); font-weight: 500 }
tr { border-bottom: 1px solid var(--rule) }
.good { color: var(--good) }
.bad { color: var(--bad) }
figure { margin: 1.4rem 0 }
figcaption { font-weight: 500 }
svg { width: 100%; height: auto; font-size: 11px }
svg text { fill: var(--soft) }
svg .grid { stroke: var(--rule) }
svg polyline { fill: none; stroke-width: 1.6 }
svg .far { fill: var(--soft); opacity: .45 }
svg .promised { stroke: var(--bad); stroke-width: 2 }
figure ul { display: flex; flex-wrap: wrap; gap: .2rem 1rem; list-style: none; margin: .2rem 0; padding: 0 }
figure li { font-size: .85rem; color: var(--soft) }
figure i { display: inline-block; width: .8rem; height: .2rem; margin-right: .4rem; vertical-align: middle }
"""


def page(report: Report) -> str:
    """One run."""
    held = moments_of(report)
    hours = [one.at_s / 3_600 for one in held]
    wide = max(1.0, (held[1].at_s - held[0].at_s) if len(held) > 1 else report.duration_s)
    parts = [
        _head(report),
        "<h2>Classes</h2>",
        html_table(classes(report)),
        bars(
            "Time to the first token: median, to the 99th percentile, and what is promised",
            "ms",
            [Bar(one.traffic_class, one.ttft_ms.p50, one.ttft_ms.p99, _shown(one.ttft_slo_ms, one.ttft_ms.p99)) for one in report.classes],
        ),
        bars(
            "Time between tokens: median, to the 99th percentile, and what is promised",
            "ms",
            [Bar(one.traffic_class, one.tpot_ms.p50, one.tpot_ms.p99, _shown(one.tpot_slo_ms, one.tpot_ms.p99)) for one in report.classes],
        ),
        "<h2>Pools</h2>",
        html_table(pools(report)),
        bars("Cost", "USD a million tokens", [Bar(one.pool, one.usd_per_mtok) for one in report.pools if one.usd_per_mtok is not None]),
        bars(
            "Prompts that were cached",
            "%",
            [Bar(one.pool, 100 * one.tokens_cached / one.tokens_in) for one in report.pools if one.tokens_in],
        ),
        bars("Carbon", "kg of CO₂", [Bar(one.pool, one.carbon_kg) for one in report.pools if one.carbon_kg is not None]),
        "<h2>Over time</h2>",
        lines(
            "How full the pools are",
            "%",
            hours,
            {each.pool: [100 * one.utilisation[at] for one in held] for at, each in enumerate(report.pools)},
            top=100.0,
        ),
        lines(
            "Requests a second",
            "",
            hours,
            {
                "arrived": [one.arrived / wide for one in held],
                "served": [one.served / wide for one in held],
                "refused": [one.refused / wide for one in held],
            },
        ),
        lines("Time to the first token, 95th percentile", "ms", hours, {"all classes": [one.ttft_ms_p95 for one in held]}),
        lines("Tokens a minute", "", hours, {"in and out": [one.tokens / wide * 60 for one in held]}),
        *(("<h2>Training</h2>", html_table(jobs(report))) if report.jobs else ()),
    ]
    return _whole(f"headrace simulate: {report.name}", parts)


def moments_of(report: Report) -> Sequence[Moment]:
    """Those in which calls came; in what follows only the last are answered."""
    ends_s = report.duration_s + (report.moments[0].at_s if report.moments else 0.0)
    return [one for one in report.moments if one.at_s < ends_s]


def comparison(one: Report, other: Report) -> str:
    """Two runs, side by side."""
    classes = {each.traffic_class: each for each in other.classes}
    pairs = [(each, classes[each.traffic_class]) for each in one.classes if each.traffic_class in classes]
    named = (f"{one.name}, {one.policy}, seed {one.seed}", f"{other.name}, {other.policy}, seed {other.seed}")
    rows = (
        ("requests", f"{one.arrived:,}", f"{other.arrived:,}"),
        ("served", f"{one.served:,}", f"{other.served:,}"),
        ("refused or cut off", f"{one.refused + one.cut:,}", f"{other.refused + other.cut:,}"),
        ("prompts cached", f"{one.hit_rate:.1%}", f"{other.hit_rate:.1%}"),
        ("USD a million tokens", usd(one.usd_per_mtok), usd(other.usd_per_mtok)),
        *((f"{a.traffic_class}: within SLO", f"{a.within_slo:.2%}", f"{b.within_slo:.2%}") for a, b in pairs),
        *((f"{a.traffic_class}: TTFT p99, ms", f"{a.ttft_ms.p99:,.0f}", f"{b.ttft_ms.p99:,.0f}") for a, b in pairs),
        *((f"{a.traffic_class}: TPOT p99, ms", f"{a.tpot_ms.p99:,.1f}", f"{b.tpot_ms.p99:,.1f}") for a, b in pairs),
    )
    parts = [
        f"<h1>{escape(named[0])} beside {escape(named[1])}</h1>",
        html_table(ShownTable("", ("", *named), (1, 2), rows)),
        bars(
            "Time to the first token: median, to the 99th percentile",
            "ms",
            [
                Bar(f"{each.traffic_class}, {which}", each.ttft_ms.p50, each.ttft_ms.p99)
                for pair in pairs
                for each, which in zip(pair, ("first", "second"), strict=True)
            ],
        ),
    ]
    for report, name in zip((one, other), named, strict=True):
        held = moments_of(report)
        hours = [each.at_s / 3_600 for each in held]
        used = {each.pool: [100 * moment.utilisation[at] for moment in held] for at, each in enumerate(report.pools)}
        parts.append(lines(f"How full the pools are: {name}", "%", hours, used, top=100.0))
    return _whole("headrace simulate compare", parts)


def _head(report: Report) -> str:
    facts = [
        (f"{report.arrived:,}", "requests"),
        (f"{report.served / report.arrived:.2%}" if report.arrived else "-", "served"),
        (f"{report.tokens_per_minute:,.0f}", "tokens a minute"),
        (f"{report.hit_rate:.1%}", "of prompts cached"),
        (usd(report.usd_per_mtok), "USD a million tokens"),
        ("-" if report.carbon_kg is None else f"{report.carbon_kg:,.0f} kg", "of CO₂, at rated power"),
    ]
    told = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for value, name in facts)
    said = f"{report.duration_s / 3_600:g} h on the virtual clock, seed {report.seed}, policy {report.policy}, scale {report.scale:g}"
    return f'<h1>{escape(report.name)}</h1><p>{escape(said)}</p><div class="facts">{told}</div>'


def _whole(title: str, parts: Iterable[str]) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _shown(promised: float, measured: float) -> float | None:
    """A promise far beyond all that was measured would only press the bars flat."""
    return promised if promised <= 4 * max(measured, 1.0) else None
