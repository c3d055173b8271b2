"""The report of a run as figures, tables and pictures, for the page."""

from headrace.core.shown import Bars, Figure, Shown, Stack
from headrace.simulator.parts import KEPT_FROM, classes, jobs, pools
from headrace.simulator.report import Report

STEPS_MAX = 120


def shown(report: Report) -> Shown:
    """One run."""
    hours, usd = report.duration_s / 3_600, report.usd_per_mtok
    figures = (
        Figure(f"{report.tokens_per_minute:,.0f}", "tokens a minute"),
        Figure(f"{report.served / max(1, report.arrived):.2%}", f"of {report.arrived:,} requests served"),
        Figure("–" if usd is None else f"${usd:,.3f}", "a million tokens"),
        Figure(f"{report.hit_rate:.1%}", "of prompts cached"),
        *(() if report.carbon_kg is None else (Figure(f"{report.carbon_kg:,.3g} kg", "CO₂"),)),
    )
    about = f"seed {report.seed}, policy {report.policy}, scale {report.scale:g}, {hours:g} h on the virtual clock"
    return Shown(
        title=f"{report.name}, {report.policy}",
        figures=figures,
        sentences=(f"{about[0].upper()}{about[1:]}.", *report.story),
        good=all(one.within_slo >= KEPT_FROM for one in report.classes if one.served),
        stacks=_stacks(report),
        bars=(
            Bars(
                "Time to the first token, 99th percentile",
                tuple(one.traffic_class for one in report.classes),
                tuple(one.ttft_ms.p99 for one in report.classes),
                tuple(f"{one.ttft_ms.p99:,.0f} ms of {one.ttft_slo_ms:,.0f}" for one in report.classes),
            ),
            Bars(
                "How full the pools were",
                tuple(one.pool for one in report.pools),
                tuple(one.utilisation for one in report.pools),
                tuple(f"{one.utilisation:.1%}, {one.utilisation_peak:.0%} at most" for one in report.pools),
            ),
        ),
        tables=tuple(table for table in (classes(report), pools(report), jobs(report)) if table.rows),
    )


def _stacks(report: Report) -> tuple[Stack, ...]:
    moments = report.moments
    width = -(-len(moments) // STEPS_MAX) or 1
    groups = [moments[at : at + width] for at in range(0, len(moments), width)]
    steps = tuple(f"{group[0].at_s / 3_600:.2f} h" for group in groups)
    counts = [tuple(float(sum(getattr(one, what) for one in group)) for group in groups) for what in ("served", "refused")]
    return (Stack("Requests", "requests", steps, ("served", "refused"), tuple(counts)),) if groups else ()
