"""Write docs/explanation/fifteen-billion.md from the data: `make page-15b`.

The tables are closed arithmetic over the shipped catalog, the simulator's service model and the relay that bench/RESULTS.md measured; the
last part is a plan that the solver makes. `--tables` leaves that part as it stands on the page.
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from textwrap import fill

from headrace.compose.capacity import shipped_catalog
from headrace.compose.planning import planet_question, verified
from headrace.planner import Alternative, Effort, Planned, Verified, alternatives, make_plan, speed_by, usd, worths
from headrace.planner.planet import BLEND, Fleet, Kind, RelayCosts, cached_at, fleet, gateway_cores, only, totals, two_shapes, uncached
from headrace.portfolio.prices import HourlyKind
from headrace.simulator import shipped_services

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "fifteen-billion.md"
RESULTS = ROOT / "bench" / "RESULTS.md"
MODELS = ("deepseek-r1", "gpt-oss-120b", "llama-3.1-70b", "qwen3.5-397b-a17b")
SILICON = (
    "nvidia-h100", "nvidia-h200", "nvidia-b200", "nvidia-gb200", "amd-mi300x", "amd-mi325x", "amd-mi355x",
    "aws-trainium2", "google-tpu-v6e", "google-tpu-v7",
)  # fmt: skip
UTILISATION = 0.55
"""Mean over a day: the stated assumption of all figures here that don't name another."""
HOURS_PER_YEAR = 8_766
USD_PER_CORE_HOUR = 0.05
"""What a core of a general machine costs on demand in most clouds, about; an assumption."""
CATALOG = shipped_catalog()
SPEED, FAST = speed_by(shipped_services(), CATALOG), two_shapes(CATALOG)
PLAN_HEADING = "## One plan\n"


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--tables", action="store_true", help="leave the plan as it stands")
    page = tables()
    old = PAGE.read_text(encoding="utf-8").partition(PLAN_HEADING)[2] if PAGE.exists() else ""
    page += PLAN_HEADING + (old if ask.parse_args().tables and old else "\n" + plan_part())
    PAGE.write_text(page, encoding="utf-8")


def tables() -> str:
    """Everything but the plan, whose last digits may depend on the solver's build."""
    return "\n".join([*_head(), *_blend(), *_fleets(), *_prices(), *_sensitivity(), *_anchor(), *_gateways(), *_limits(), ""])


def _say(*sentences: str) -> str:
    """A paragraph, in lines as long as the pages'."""
    return fill(" ".join(sentences), 140, break_long_words=False, break_on_hyphens=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _head() -> Iterator[str]:
    yield "# Fifteen billion tokens a minute"
    yield ""
    yield _say(
        "What it takes to serve 15 billion tokens a minute, which are 250 million a second: how many accelerators",
        "of which kind, what a million",
        "tokens then costs under list prices, three-year contracts and ownership, what that depends on, and what",
        "the gateways add. `make page-15b`",
        "writes this page from the [portfolio](../reference/portfolio.md), the simulator's service model and the",
        "[measured relay](../../bench/RESULTS.md);",
        "[the planner](planner.md) says how. None of it was measured on a fleet of that size.",
    )
    yield ""
    best = _fleet(BLEND, "deepseek-r1", "nvidia-b200")
    assert best is not None
    low, high = _usd("nvidia-b200", "owned")[0], _usd("nvidia-b200", "on_demand")[1]
    cheap, dear = best.usd_per_mtok(low, UTILISATION), best.usd_per_mtok(high, UTILISATION)
    yield _say(
        "**In one sentence:** with a blend of traffic in which",
        f"{1 - totals(BLEND).tokens_uncached / totals(BLEND).tokens_in:.0%} of the prompts' tokens are cached,",
        "DeepSeek-R1 on",
        f"{best.full / UTILISATION:,.0f} B200 serves it at {_small(cheap)} to {_small(dear)} a million tokens:",
        f"{usd(cheap * 15e3 * 60 * HOURS_PER_YEAR)} to {usd(dear * 15e3 * 60 * HOURS_PER_YEAR)} a year. What is",
        "paid an hour for the same",
        f"silicon differs by a factor of {high / low:.0f}, which is more than most choices of silicon make.",
    )
    yield ""


def _blend() -> Iterator[str]:
    yield "## The blend"
    yield ""
    yield _say(
        "Nobody publishes a mix at that scale. This one is an assumption, by tokens; shapes and cached shares are those of public traces.",
    )
    yield ""
    rows = [
        (
            kind.name,
            kind.traffic_class,
            f"{kind.share:.0%}",
            f"{kind.tokens_in:,} / {kind.tokens_out:,}",
            f"{kind.cached_share:.1%}",
            f"{kind.per_s:,.0f}",
            kind.source,
        )
        for kind in BLEND
    ]
    yield from _table(("kind", "class", "of all tokens", "tokens in / out", "cached", "requests/s", "from"), rows)
    found = totals(BLEND)
    yield ""
    yield _say(
        f"Together: **{found.requests:,.0f} requests a second**, {found.tokens_in / 1e6:.1f} million tokens in",
        f"({found.tokens_uncached / 1e6:.1f} million of them to be read anew) and",
        f"{found.tokens_out / 1e6:.2f} million out.",
    )
    yield ""


def _fleets() -> Iterator[str]:
    yield "## How many accelerators"
    yield ""
    yield _say(
        "All of one kind. *By class*: the service model at each class's objectives, full, and at a mean",
        f"utilisation of {UTILISATION:.0%}. *Fast*: two measured shapes solved",
        "for a token in and a token out, at 50 tokens a second to each user; a lower bound for long contexts,",
        "whose attention it leaves out. *May be",
        "off by*: the model's own error, for prompts no longer than those measured; *beyond what was measured*:",
        "the share of the accelerators whose",
        "prompts are longer. *estimated*: scaled from another silicon, within a factor of two.",
    )
    yield ""
    rows = []
    for model in MODELS:
        for silicon in SILICON:
            found, fast = _fleet(BLEND, model, silicon), fleet(BLEND, model, silicon, FAST)
            if found is not None:
                quick = f"{fast.full / UTILISATION:,.0f}" if fast else ""
                megawatts = f"{found.full / UTILISATION * (kw or 0) / 1_000:,.0f} MW" if (kw := _kw(silicon)) else ""
                off = f"{found.error:.0%}"
                rows.append(
                    (
                        model,
                        silicon,
                        f"{found.full:,.0f}",
                        f"{found.full / UTILISATION:,.0f}",
                        quick,
                        megawatts,
                        found.grade,
                        off,
                        f"{found.extrapolated_share:.0%}",
                    )
                )
    columns = (
        "model",
        "silicon",
        "full",
        f"at {UTILISATION:.0%}",
        f"fast, at {UTILISATION:.0%}",
        "power",
        "grade",
        "may be off by",
        "beyond what was measured",
    )
    yield from _table(columns, rows)
    yield ""


def _prices() -> Iterator[str]:
    yield "## What a million tokens costs"
    yield ""
    yield _say(
        f"At a mean utilisation of {UTILISATION:.0%}, in US dollars, cached tokens counted like others. *List*: on",
        "demand, from the cheapest cloud that lists it to the dearest.",
        "*Three years*: a published estimate of a rental of that length, of no cloud in particular. *Own*:",
        "published estimates of the cost of owning,",
        "from a hyperscaler to a smaller cloud. The year is that of the range from own to list.",
    )
    yield ""
    rows = []
    for model in MODELS:
        for silicon in SILICON:
            found = _fleet(BLEND, model, silicon)
            prices = {kind: _usd(silicon, kind) for kind in _KINDS}
            if found is None or not any(prices.values()):
                continue
            cells = [_range([found.usd_per_mtok(each, UTILISATION) for each in prices[kind]]) for kind in _KINDS]
            every = [found.usd_per_mtok(each, UTILISATION) * 15e3 * 60 * HOURS_PER_YEAR for kind in _KINDS for each in prices[kind]]
            rows.append((model, silicon, *cells, f"{usd(min(every))} to {usd(max(every))}", found.grade))
    yield from _table(("model", "silicon", "list", "three years", "own", "a year", "grade"), rows)
    yield ""


_KINDS: tuple[HourlyKind, ...] = ("on_demand", "reserved", "owned")


def _sensitivity() -> Iterator[str]:
    yield "## What it depends on"
    yield ""
    yield "DeepSeek-R1 on B200, by class, at the three-year price; each line changes one thing."
    yield ""
    price = _usd("nvidia-b200", "reserved")[0]
    base = _fleet(BLEND, "deepseek-r1", "nvidia-b200")
    assert base is not None

    def row(what: str, found: Fleet | None, utilisation: float = UTILISATION) -> tuple[str, ...]:
        if found is None:
            return what, "can't be served", "", ""
        cost, at_base = found.usd_per_mtok(price, utilisation), base.usd_per_mtok(price, UTILISATION)
        return what, f"{found.full / utilisation:,.0f}", _small(cost), f"{cost / at_base:.2f}"

    rows = [row("as above", base)]
    rows += [row(f"utilisation {share:.0%}", base, share) for share in (0.3, 0.4, 0.7, 0.85)]
    rows += [row(f"caches miss {factor:g} times as much", _mix(cached_at(BLEND, factor))) for factor in (0.5, 1.5, 2)]
    rows += [row("no cache at all", _mix(uncached(BLEND)))]
    rows += [row(f"all of it {kind.name}", _mix(only(kind))) for kind in BLEND]
    rows += [row("all of it agentic coding, without a cache", _mix(uncached(only(BLEND[3]))))]
    yield from _table(("changed", "accelerators", "USD a million tokens", "times the cost above"), rows)
    yield ""
    yield _say(
        "Long sessions are cheap a token only while they meet their cache: that is why placement keeps a session",
        "where its prefix is, and moves it",
        "only for a reason.",
    )
    yield ""


def _mix(blend: Iterable[Kind]) -> Fleet | None:
    return _fleet(tuple(blend), "deepseek-r1", "nvidia-b200")


def _anchor() -> Iterator[str]:
    tokens, accelerators = 776e9 / 86_400, 226.75 * 8
    scaled = 250e6 / (tokens / accelerators)
    yield "## Against what was published"
    yield ""
    yield _say(
        "DeepSeek's published day (CC0, deepseek-ai/open-infra-index@56d8685): 608 billion tokens in, 56.3 % of",
        "them cached, and 168 billion out, on 226.75 nodes of",
        f"eight H800 on average: {tokens / accelerators:,.0f} tokens a second an accelerator, all hours counted,",
        "$0.112 a million at its $2 an hour. Scaled, 250 million",
        f"a second are {scaled:,.0f} H800. Its answers are longer than the blend's (3.6 tokens in for one out,",
        f"here {totals(BLEND).tokens_in / totals(BLEND).tokens_out:.0f}), which costs more, and its engine is",
        "better",
        f"than those measured above: an H200 by the table takes {_at(BLEND, 'deepseek-r1', 'nvidia-h200'):,.0f}.",
    )
    yield ""


def _gateways() -> Iterator[str]:
    costs = relay_costs(RESULTS.read_text(encoding="utf-8"))
    plain, streamed = (gateway_cores(BLEND, costs, streamed=each) for each in (False, True))
    yield "## The gateways"
    yield ""
    sizes = ", ".join(f"{us:g} µs at {size / 1_000:g} KB" for size, us in sorted(costs.request_us.items()))
    per_mtok = streamed / 0.5 * USD_PER_CORE_HOUR / (15e9 * 60) * 1e6
    yield _say(
        f"What stands in front of it, by the [measured relay](../../bench/RESULTS.md): {sizes} of processor time a",
        f"governed request, {costs.event_us:g} µs an event of a stream.",
        f"The blend is {plain:.1f} busy cores if no answer is streamed, and {streamed:,.0f} if all are, a token an",
        "event (engines send several at a time under load, which is",
        f"cheaper). At half use and ${USD_PER_CORE_HOUR:.2f} a core-hour, that is at most {streamed / 0.5:,.0f}",
        f"cores, ${streamed / 0.5 * USD_PER_CORE_HOUR:,.0f} an hour and ${per_mtok:.6f} a million tokens: nothing",
        "beside the accelerators.",
    )
    yield ""


def relay_costs(results: str) -> RelayCosts:
    """What bench/RESULTS.md says of headrace's own processor time. Raises ValueError where a row is gone."""

    def cell(row: str) -> float:
        found = re.search(rf"^\| {row}[^|]*\| [\d.]+ µs \| ([\d.]+) µs", results, re.MULTILINE)
        if found is None:
            raise ValueError(f"bench/RESULTS.md has no row {row!r} of processor time")
        return float(found[1])

    sizes = {2_000: cell("2 KB prompt"), 24_000: cell("24 KB"), 300_000: cell("300 KB")}
    return RelayCosts(request_us=sizes, event_us=cell("streams, an event"))


def _limits() -> Iterator[str]:
    yield "## What this can't say"
    yield ""
    yield from (
        _say(
            "- **Prices.** List and ownership are a factor of five to ten apart, and what is really agreed lies",
            "between and is published nowhere.",
        ),
        _say(
            "- **Other silicon.** Rows that are estimated are scaled from NVIDIA's by one published ratio each.",
            "Rankings between makers carry a factor of two.",
        ),
        _say(
            "- **Long prompts.** Nothing was measured beyond 8,192 tokens in; agentic coding has 122,379. Its",
            "accelerators are an extrapolation.",
        ),
        _say(
            "- **Engines.** Points are of 2026's first half, of aggregated serving. Prefill and decode apart,",
            "speculation, and better kernels are cheaper.",
        ),
        _say("- **Supply and power.** That many accelerators may not be for sale in one place, or find the power there."),
        _say("- **Everything else.** Networks between regions, storage, people, and the research that makes the models."),
    )
    yield ""


def _fleet(blend: tuple[Kind, ...], model: str, silicon: str) -> Fleet | None:
    return fleet(blend, model, silicon, SPEED)


def _at(blend: tuple[Kind, ...], model: str, silicon: str) -> float:
    found = _fleet(blend, model, silicon)
    assert found is not None
    return found.full / UTILISATION


def _kw(silicon: str) -> float | None:
    held = CATALOG.silicon(silicon)
    return None if held is None else held.all_in_kw


def _usd(silicon: str, kind: HourlyKind) -> tuple[float, ...]:
    """The lowest and the highest that is known, of all places; none: nothing is."""
    rows = CATALOG.prices.get((silicon, kind), ())
    if not rows:
        return ()
    low, high = min(row.pico_per_accelerator_hour_min for row in rows), max(row.pico_per_accelerator_hour_max for row in rows)
    return low / 1e12, high / 1e12


def _small(amount: float) -> str:
    return f"${amount:.2f}" if amount >= 1 else f"${amount:.3f}"


def _range(found: Sequence[float]) -> str:
    if not found:
        return ""
    low, high = _small(min(found)), _small(max(found))
    return low if low == high else f"{low} to {high}"


def plan_part() -> str:
    checked = verified(make_plan(planet_question()), seed=1, seconds=90.0, effort=Effort())
    planned = checked.planned
    return "\n".join([*_plan(planned), *_verdict(checked), *_beside(alternatives(planned)), *_worth(planned), ""])


def _plan(planned: Planned) -> Iterator[str]:
    plan = planned.plan
    yield _say(
        "The tables above know neither places nor outages. This plan does: `headrace plan --demand",
        "planet-demand.toml --portfolio planet-portfolio.toml`, with the files that",
        "`headrace plan example planet-demand` and `planet-portfolio` print. Three parts of the world with their",
        "days, long chats and API calls of Europe kept there, short",
        "chat and API calls on gpt-oss-120b and the rest on DeepSeek-R1, nobody who can't wait notices the loss",
        "of any one region, no cloud gets more than half of",
        "the money and no maker of silicon more than three quarters; four quarters, with a case of a third more",
        "demand and one of dearer prices.",
    )
    yield ""
    yield _say(
        f"**{usd(plan.usd)} for the year, {_small(plan.usd_per_mtok)} a million tokens**, {usd(plan.usd_after)}",
        f"owed after it; {sum(plan.kw_max.values()) / 1_000:,.0f} MW. In whole nodes and racks, at most",
        f"{plan.gap:.2%} from the cheapest.",
    )
    yield ""
    for what in ("cloud", "silicon", "term"):
        spent = ", ".join(
            f"{name.replace('_', ' ')} {amount / plan.usd:.0%}" for name, amount in plan.spend[what].items() if amount > 0.005 * plan.usd
        )
        yield f"- By {what}: {spent}."
    yield ""
    held = sorted(plan.accelerators(plan.quarters - 1).items(), key=lambda each: -each[1])
    yield from _table(
        ("in the last quarter, at", "under", "accelerators"),
        [(place, term.replace("_", " "), f"{count:,.0f}") for (place, term), count in held if count >= 1],
    )
    yield ""


def _verdict(checked: Verified) -> Iterator[str]:
    yield _say(
        "The simulator's verdict, by the placement that serves live traffic, on a slice of the fleet; pools of less than a replica in the",
        "slice are left out, and tails are wider on few replicas than on many:",
    )
    yield ""
    rows = [
        (
            f"{hour.state}; {hour.scale:.1%} of it",
            each.traffic_class,
            f"{each.requests:,}",
            f"{each.refused_share:.1%}",
            f"{each.within_share:.1%}",
            f"{each.ttft_ms_p99:,.0f} ms",
            f"{each.tpot_ms_p99:,.1f} ms",
            "kept" if each.kept else "**missed**",
        )
        for hour in checked.hours
        for each in hour.verdicts
    ]
    yield from _table(("hour", "class", "requests", "refused", "within objectives", "TTFT p99", "TPOT p99", "verdict"), rows)
    yield ""
    for used, cost, worst in checked.rounds[:-1]:
        yield _say(
            f"At {used:.0%} utilisation it would cost {usd(cost)}, and {worst:.1%} of the worst class were in time:",
            "planned again with less.",
        )
        yield ""


def _beside(found: Sequence[Alternative]) -> Iterator[str]:
    yield _say(
        "From one alone, with the caps on shares gone. *Lock-in*: how much of a rise of the worst vendor's prices",
        "by half the plan has to bear.",
    )
    yield ""
    base = found[0].plan
    assert base is not None
    rows = []
    for each in found:
        if each.plan is not None:
            more = "" if each is found[0] else f"{each.plan.usd_per_mtok / base.usd_per_mtok - 1:+.0%}"
            unserved = f"{each.unserved_share:.0%}" if each.unserved_share > 0.005 else ""
            covered = not any(short.outage is not None and short.share > short.allowed + 1e-4 for short in each.plan.shortfalls)
            loses = "nobody notices" if covered else "not covered"
            rows.append(
                (
                    each.only or each.kind,
                    _small(each.plan.usd_per_mtok),
                    more,
                    unserved,
                    loses,
                    f"{each.lock_in:.2f}",
                    f"{each.lost_share:.0%}",
                )
            )
    yield from _table(
        ("from", "USD a million tokens", "beside the plan", "can't be served", "loss of a region", "lock-in", "lost with its worst cloud"),
        rows,
    )
    yield ""


def _worth(planned: Planned) -> Iterator[str]:
    yield "What things are worth in it, by `headrace plan explain`:"
    yield ""
    for each in worths(planned):
        if each.about not in ("supply",):
            yield f"- {each.sentence}"


if __name__ == "__main__":
    main()
