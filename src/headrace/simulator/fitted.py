"""Sources of synthetic traffic fitted to recorded calls, so that more of the like can be made, and scaled.

Means are the calls' own; `spread` is the deviation of the logarithm of prompts; `cv` is that of the times between calls, within the hour,
so that a day's rhythm is not taken for bursts; `swing` is half of the difference between the busiest and the quietest sixth of a day, where
the calls last for one. Calls with one prefix in common that come one after another are a session; what more there is in each prompt than
in the one before it and its answer is what a turn adds.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from math import log
from statistics import fmean, pstdev

from headrace.core.identity import TrafficClass
from headrace.simulator.calls import Call
from headrace.simulator.synthetic import HOUR_MS, Source

SIXTH_H = 4
CV_LEAST, CV_MOST = 0.2, 10.0


def sources_of(calls: Sequence[Call], name: str) -> tuple[Source, ...]:
    """One source a class, the busiest first. Raises ValueError for fewer than two calls."""
    if len(calls) < 2:
        raise ValueError("sources are fitted on at least two calls")
    held: defaultdict[TrafficClass, list[Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: call.at_ms):
        held[call.traffic_class].append(call)
    last_ms = max(call.at_ms for call in calls)
    several = len(held) > 1
    found = [_source(own, f"{name}-{of}" if several else name, of, max(last_ms, 1.0)) for of, own in held.items()]
    return tuple(sorted(found, key=lambda source: -source.sessions_per_s))


def toml_of(source: Source) -> str:
    """As a table of a scenario."""
    figures = {
        "sessions_per_s": source.sessions_per_s,
        "tokens_in": source.tokens_in,
        "tokens_out": source.tokens_out,
        "spread": source.spread,
        "turns": source.turns,
        "tokens_added": source.tokens_added,
        "think_s": source.think_s,
        "swing": source.swing,
        "cv": source.cv,
    }
    names = f'name = "{source.name}"\nclass = "{source.traffic_class}"\nmodel = "{source.model}"\n'
    return f"[[source]]\n{names}" + "".join(f"{name} = {value:.6g}\n" for name, value in figures.items()) + f"tenants = {source.tenants}\n"


def _source(calls: Sequence[Call], name: str, of: TrafficClass, last_ms: float) -> Source:
    sessions: defaultdict[int, list[Call]] = defaultdict(list)
    for number, call in enumerate(calls):
        growing = call.grows and len(call.segments) > 0
        sessions[call.segments[-1][0] if growing else -number - 1].append(call)
    first, turns = [own[0] for own in sessions.values()], [pair for own in sessions.values() for pair in pairwise(own)]
    added = [max(1, after.tokens_in - before.tokens_in - before.tokens_out) for before, after in turns]
    gaps = [(after.at_ms - before.at_ms) / 1_000 for before, after in turns]
    prompts = [log(call.tokens_in) for call in first]
    models = Counter(call.model for call in calls)
    return Source(
        name=name,
        traffic_class=of,
        model=models.most_common(1)[0][0],
        sessions_per_s=len(first) / last_ms * 1_000,
        tokens_in=fmean(call.tokens_in for call in first),
        tokens_out=fmean(call.tokens_out for call in calls),
        spread=pstdev(prompts),
        turns=len(calls) / len(first),
        tokens_added=fmean(added) if added else 0.0,
        think_s=max(0.0, fmean(gaps)) if gaps else 0.0,
        swing=_swing(first, last_ms),
        cv=_cv(first),
        tenants=len({call.tenant for call in calls}),
    )


def _cv(calls: Sequence[Call]) -> float:
    """Of the times between calls, hour by hour, by how many the hours have."""
    hours: defaultdict[int, list[float]] = defaultdict(list)
    for before, after in pairwise(calls):
        hours[int(before.at_ms / HOUR_MS)].append(after.at_ms - before.at_ms)
    parts = [(len(gaps), pstdev(gaps) / fmean(gaps)) for gaps in hours.values() if len(gaps) > 1 and fmean(gaps) > 0]
    total = sum(count for count, _ in parts)
    found = sum(count * cv for count, cv in parts) / total if total else 1.0
    return min(CV_MOST, max(CV_LEAST, found))


def _swing(calls: Sequence[Call], last_ms: float) -> float:
    """0 where they don't last for a day."""
    days = int(last_ms / HOUR_MS / 24)
    if not days:
        return 0.0
    sixths = Counter(int(call.at_ms / HOUR_MS) % 24 // SIXTH_H for call in calls if call.at_ms < days * 24 * HOUR_MS)
    counts = [sixths[at] for at in range(24 // SIXTH_H)]
    mean = fmean(counts)
    return min(1.0, (max(counts) - min(counts)) / 2 / mean) if mean else 0.0
