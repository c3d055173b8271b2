"""What was used, hour by hour, and the demand that follows from it: its size, its shape, its course over the day."""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

from headrace.core.identity import TrafficClass
from headrace.planner.day import HOURS_PER_DAY
from headrace.planner.demand import Case, Demand
from headrace.simulator.calls import Call
from headrace.simulator.prefix import PrefixCache

SECONDS_PER_HOUR = 3_600
ENDLESS = 1 << 60
Sums: TypeAlias = defaultdict[tuple[int, TrafficClass, str], list[int]]
"""Requests, uncached, cached and output tokens by hour since 1970, class and model."""
Stream: TypeAlias = tuple[TrafficClass, str, str]
"""Class, geography and model."""


class HourlyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one class asked of one model in one hour, by its number since 1970. Tokens in are without cached ones."""

    hour: int
    traffic_class: TrafficClass
    model: str
    geography: str = "anywhere"
    requests: int
    tokens_uncached: int
    tokens_cached: int
    tokens_out: int

    @property
    def tokens(self) -> int:
        return self.tokens_uncached + self.tokens_cached + self.tokens_out

    @property
    def stream(self) -> Stream:
        return self.traffic_class, self.geography, self.model


def demands_of(usage: Iterable[HourlyUsage]) -> tuple[Demand, ...]:
    """One demand a stream: its mean over the hours from its first to its last, its mean shape, its own course over the day (UTC).

    The course is told only where each hour of the day was seen; else it is flat. Growth is left at none: that is a forecast's to say.
    """
    streams: defaultdict[Stream, list[HourlyUsage]] = defaultdict(list)
    for row in usage:
        if row.requests and row.tokens:
            streams[row.stream].append(row)
    return tuple(_demand(stream, rows) for stream, rows in sorted(streams.items()))


def _demand(stream: Stream, rows: Sequence[HourlyUsage]) -> Demand:
    hours = max(row.hour for row in rows) - min(row.hour for row in rows) + 1
    requests, tokens = sum(row.requests for row in rows), sum(row.tokens for row in rows)
    cached, out = sum(row.tokens_cached for row in rows), sum(row.tokens_out for row in rows)
    asked = tokens - out
    return Demand(
        traffic_class=stream[0],
        geography=stream[1],
        model=stream[2],
        tokens_per_s=tokens / hours / SECONDS_PER_HOUR,
        tokens_in=max(1, round(asked / requests)),
        tokens_out=max(1, round(out / requests)),
        cached_share=cached / asked if asked else 0.0,
        hourly=_course(rows),
    )


def _course(rows: Sequence[HourlyUsage]) -> tuple[float, ...] | None:
    by_hour = [0.0] * HOURS_PER_DAY
    for row in rows:
        by_hour[row.hour % HOURS_PER_DAY] += row.tokens
    mean = sum(by_hour) / HOURS_PER_DAY
    return tuple(each / mean for each in by_hour) if min(by_hour) > 0 else None


def daily(usage: Iterable[HourlyUsage]) -> dict[Stream, list[float]]:
    """Tokens of each whole day of a stream, from its first to its last; the first and the last are left out where they may be cut."""
    days: defaultdict[Stream, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
    for row in usage:
        days[row.stream][row.hour // HOURS_PER_DAY] += row.tokens
    return {
        stream: [held[day] for day in range(min(held) + 1, max(held))] for stream, held in sorted(days.items()) if max(held) - min(held) > 1
    }


def parse_trace(text: str, *, traffic_class: TrafficClass, model: str) -> tuple[HourlyUsage, ...]:
    """A trace of requests as CSV, by its own header: Azure's (`TIMESTAMP,ContextTokens,GeneratedTokens`), BurstGPT's (`Timestamp,…,Request
    tokens,Response tokens`), or `hour,tokens_uncached,tokens_cached,tokens_out`. Raises ValueError for another.
    """
    rows = csv.DictReader(text.splitlines())
    names = {name.strip().lower(): name for name in rows.fieldnames or ()}
    time = names.get("timestamp") or names.get("hour")
    asked = names.get("contexttokens") or names.get("request tokens") or names.get("tokens_uncached")
    said = names.get("generatedtokens") or names.get("response tokens") or names.get("tokens_out")
    if time is None or asked is None or said is None:
        raise ValueError("the trace has no columns for the time, the tokens in and the tokens out that we know: see the guide")
    cached, hours = names.get("tokens_cached"), "hour" in names and "timestamp" not in names
    sums: Sums = defaultdict(lambda: [0, 0, 0, 0])
    for number, row in enumerate(rows, start=2):
        try:
            hour = int(row[time]) if hours else int(_seconds(row[time]) // SECONDS_PER_HOUR)
            found = (1, int(row[asked]), int(row[cached] or 0) if cached else 0, int(row[said]))
        except (TypeError, ValueError) as wrong:
            raise ValueError(f"line {number} of the trace: {wrong}") from None
        key = hour, traffic_class, model
        sums[key] = [held + more for held, more in zip(sums[key], found, strict=True)]
    return _hourly(sums)


def usage_of(calls: Iterable[Call]) -> tuple[HourlyUsage, ...]:
    """What the calls of a recorded workload come to, by hour. What of a prompt is cached is what a cache without end would hold of it."""
    cache = PrefixCache()
    sums: Sums = defaultdict(lambda: [0, 0, 0, 0])
    for call in calls:
        found = min(cache.found(call.segments), call.tokens_in) if call.segments else 0
        cache.keep(call.segments, ENDLESS)
        key = int(call.at_ms // (SECONDS_PER_HOUR * 1_000)), call.traffic_class, call.model
        added = (1, call.tokens_in - found, found, call.tokens_out)
        sums[key] = [held + more for held, more in zip(sums[key], added, strict=True)]
    return _hourly(sums)


def _hourly(sums: Sums) -> tuple[HourlyUsage, ...]:
    return tuple(
        HourlyUsage(
            hour=hour,
            traffic_class=traffic_class,
            model=model,
            requests=held[0],
            tokens_uncached=held[1],
            tokens_cached=held[2],
            tokens_out=held[3],
        )
        for (hour, traffic_class, model), held in sorted(sums.items())
    )


def _seconds(text: str) -> float:
    """A moment as ISO 8601, or as seconds since some beginning."""
    try:
        return float(text)
    except ValueError:
        whole, _, fraction = text.strip().partition(".")
        moment = datetime.fromisoformat(whole)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return aware.timestamp() + (float(f"0.{fraction}") if fraction.isdigit() else 0.0)


def written(demands: Sequence[Demand], cases: Sequence[Case] = ()) -> str:
    """As a demand file, to look through and change."""
    parts = [_table("demand", _fields(demand)) for demand in demands]
    parts += [_table("case", _case_fields(case)) for case in cases]
    return "\n".join(parts)


def _fields(demand: Demand) -> dict[str, str]:
    course = {} if demand.hourly is None else {"hourly": f"[{', '.join(f'{each:.3f}' for each in demand.hourly)}]"}
    return {
        "name": _text(demand.title),
        "class": _text(demand.traffic_class),
        "geography": _text(demand.geography),
        "model": _text(demand.model),
        "tokens_per_s": f"{demand.tokens_per_s:.3f}",
        "tokens_in": str(demand.tokens_in),
        "tokens_out": str(demand.tokens_out),
        "cached_share": f"{demand.cached_share:.4f}",
        "growth_per_quarter": f"{demand.growth_per_quarter:.4f}",
        **course,
    }


def _case_fields(case: Case) -> dict[str, str]:
    factors = ", ".join(f"{_text(name)} = {factor:.4f}" for name, factor in case.demand.items())
    return {
        "name": _text(case.name),
        "probability": f"{case.probability:.2f}",
        "demand": f"{{ {factors} }}",
        "from_quarter": str(case.from_quarter),
    }


def _table(name: str, fields: Mapping[str, str]) -> str:
    return "\n".join((f"[[{name}]]", *(f"{field} = {value}" for field, value in fields.items()), ""))


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
