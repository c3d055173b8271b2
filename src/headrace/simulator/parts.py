"""What a report is told with in a page, the console's or one of its own: its tables, as plain values."""

from headrace.core.shown import News, ShownCell, ShownTable
from headrace.simulator.report import Report

KEPT_FROM = 0.99
"""Of this share of a class's requests and above, what it was promised counts as kept."""


def classes(report: Report) -> ShownTable:
    columns = (
        *("class", "arrived", "served", "refused", "cut off", "spilled"),
        *("TTFT p50 ms", "p95", "p99", "promised", "TPOT p50 ms", "p99", "promised"),
        *("within SLO", "cached"),
    )
    rows: tuple[tuple[ShownCell, ...], ...] = tuple(
        (
            one.traffic_class,
            *(f"{count:,}" for count in (one.arrived, one.served, one.refused, one.cut, one.spilled)),
            *(f"{value:,.0f}" for value in (one.ttft_ms.p50, one.ttft_ms.p95, one.ttft_ms.p99, one.ttft_slo_ms)),
            *(f"{value:,.1f}" for value in (one.tpot_ms.p50, one.tpot_ms.p99, one.tpot_slo_ms)),
            News(f"{one.within_slo:.2%}", one.within_slo >= KEPT_FROM),
            f"{one.tokens_cached / one.tokens_in:.1%}" if one.tokens_in else "-",
        )
        for one in report.classes
    )
    return ShownTable("Classes", columns, tuple(range(1, len(columns))), rows)


def pools(report: Report) -> ShownTable:
    columns = (
        *("pool", "place", "silicon", "accelerators", "served", "failed", "in use", "peak"),
        *("TTFT p50 ms", "TPOT p50 ms", "USD a Mtok", "kg of CO₂"),
    )
    rows = tuple(
        (
            one.pool,
            f"{one.cloud} {one.region}".strip(),
            one.silicon,
            f"{one.accelerators:,}" if one.accelerators else "-",
            f"{one.served:,}",
            f"{one.failed:,}",
            f"{one.utilisation:.1%}",
            f"{one.utilisation_peak:.1%}",
            f"{one.ttft_ms.p50:,.0f}",
            f"{one.tpot_ms.p50:,.1f}",
            usd(one.usd_per_mtok),
            "-" if one.carbon_kg is None else f"{one.carbon_kg:,.1f}",
        )
        for one in report.pools
    )
    return ShownTable("Pools", columns, tuple(range(3, len(columns))), rows)


def jobs(report: Report) -> ShownTable:
    columns = ("job", "done", "finished after", "in time", "starts", "accelerator-hours", "of these lost")
    rows = tuple(
        (
            one.name,
            f"{one.done:.1%}",
            "-" if one.finished_s is None else f"{one.finished_s / 3_600:.2f} h",
            News("yes" if one.in_time else "no", one.in_time),
            f"{one.started:,}",
            f"{one.used_accelerator_hours:,.1f}",
            f"{one.lost_accelerator_hours:,.1f}",
        )
        for one in report.jobs
    )
    return ShownTable("Training", columns, (1, 2, 4, 5, 6), rows)


def usd(value: float | None) -> str:
    """Dollars a million tokens, where they are known."""
    return "-" if value is None else f"{value:,.4g}"
