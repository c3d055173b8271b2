"""The report of a run as figures, tables and pictures, for the page."""

from headrace.core.shown import Bars, Figure, Shown, ShownTable, Stack, news
from headrace.simulator.report import ClassReport, Report

STEPS_MAX = 120
KEPT_FROM = 0.99


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
    jobs = tuple(
        f"Training {job.name}: {job.done:.1%} done, {'in time' if job.in_time else 'late'}, {job.started} starts." for job in report.jobs
    )
    about = f"seed {report.seed}, policy {report.policy}, scale {report.scale:g}, {hours:g} h on the virtual clock"
    return Shown(
        title=f"{report.name}, {report.policy}",
        figures=figures,
        sentences=(f"{about[0].upper()}{about[1:]}.", *jobs, *report.story),
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
        tables=(_classes(report.classes), _pools(report)),
    )


def _stacks(report: Report) -> tuple[Stack, ...]:
    moments = report.moments
    width = -(-len(moments) // STEPS_MAX) or 1
    groups = [moments[at : at + width] for at in range(0, len(moments), width)]
    steps = tuple(f"{group[0].at_s / 3_600:.2f} h" for group in groups)
    counts = [tuple(float(sum(getattr(one, what) for one in group)) for group in groups) for what in ("served", "refused")]
    return (Stack("Requests", "requests", steps, ("served", "refused"), tuple(counts)),) if groups else ()


def _classes(classes: tuple[ClassReport, ...]) -> ShownTable:
    columns = (
        "class",
        "arrived",
        "served",
        "refused",
        "TTFT p50 ms",
        "p99",
        "promised",
        "TPOT p50 ms",
        "p99",
        "promised",
        "within",
        "cached",
    )
    rows = tuple(
        (
            one.traffic_class,
            f"{one.arrived:,}",
            f"{one.served:,}",
            f"{one.refused + one.cut:,}",
            *(f"{value:,.0f}" for value in (one.ttft_ms.p50, one.ttft_ms.p99, one.ttft_slo_ms)),
            *(f"{value:,.1f}" for value in (one.tpot_ms.p50, one.tpot_ms.p99, one.tpot_slo_ms)),
            news(f"{one.within_slo:.2%}", good=one.within_slo >= KEPT_FROM),
            f"{one.tokens_cached / one.tokens_in:.1%}" if one.tokens_in else "",
        )
        for one in classes
    )
    return ShownTable("Classes", columns, tuple(range(1, len(columns))), rows)


def _pools(report: Report) -> ShownTable:
    columns = ("pool", "cloud", "silicon", "accelerators", "served", "failed", "in use", "peak", "TTFT p50 ms", "TPOT p50 ms", "USD a Mtok")
    rows = tuple(
        (
            one.pool,
            one.cloud,
            one.silicon,
            f"{one.accelerators:,}" if one.accelerators else "–",
            f"{one.served:,}",
            f"{one.failed:,}",
            f"{one.utilisation:.1%}",
            f"{one.utilisation_peak:.1%}",
            f"{one.ttft_ms.p50:,.0f}",
            f"{one.tpot_ms.p50:,.1f}",
            "–" if one.usd_per_mtok is None else f"{one.usd_per_mtok:,.4g}",
        )
        for one in report.pools
    )
    return ShownTable("Pools", columns, tuple(range(3, len(columns))), rows)
