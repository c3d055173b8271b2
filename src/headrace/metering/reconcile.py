"""A vendor's bill against our books, day by day and model by model: every pico-dollar of a difference has a cause.

    cache       the same prompt tokens, another part of them cached
    disconnect  attempts whose usage never reached us were booked on an estimate
    retry       attempts that we hold for free, since they failed, and the vendor counts
    tier        the same tokens at the price of another service tier
    rounding    less than half of the last digit that the vendor writes, a row
    unknown     what is left

The causes of a group add up to its difference, exactly.
"""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Literal, TypeAlias

import msgspec

from headrace.core.usage import SEGMENTS, Segment, Usage
from headrace.metering.vendorfiles import Billed

Cause: TypeAlias = Literal["cache", "disconnect", "retry", "tier", "rounding", "unknown"]
Weights: TypeAlias = tuple[int | None, ...]
_AT: Mapping[Segment, int] = {segment: at for at, segment in enumerate(SEGMENTS)}


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """What our books hold for one day and model. `uncertain` is the part of `usage` that rests on estimates, and `failed` counts attempts
    that ended with nothing owed. `weights` are the buying book's, by tier; the standard one is `standard`."""

    usage: Usage
    pico: int
    requests: int
    uncertain: Usage
    failed: int
    weights: Mapping[str, Weights]
    tier: str = "standard"


class Explained(msgspec.Struct, frozen=True):
    """A part of a difference: the vendor's less ours. `request` is our attempt and `line` the vendor's name of its request, where the
    vendor's file tells of single ones."""

    day: date
    model: str
    cause: Cause
    pico: int
    tokens: int
    request: str = ""
    line: str = ""


def explain(billed: Billed, booked: Booked, rows: int = 1) -> list[Explained]:
    """The causes of a difference; none where there is none. `rows`: of how many rows of the vendor's the group is made."""
    parts = [part for part in _causes(billed, booked, rows) if part[1] or part[2]]
    return [Explained(billed.day, billed.model, *part) for part in parts]


def _causes(billed: Billed, booked: Booked, rows: int) -> Iterator[tuple[Cause, int, int]]:
    weights = booked.weights.get(booked.tier)
    if weights is None:
        yield "unknown", (billed.pico or 0) - booked.pico if billed.pico is not None else 0, 0
        return
    counted = booked.usage if billed.usage is None else billed.usage
    at_ours = _cost(counted, weights)
    if billed.usage is not None:
        yield from _of_tokens(billed, booked, weights, at_ours - booked.pico)
    elif at_ours != booked.pico:
        yield "unknown", at_ours - booked.pico, 0
    if billed.pico is not None:
        yield from _of_price(billed, booked, counted, at_ours, rows)


def _of_tokens(billed: Billed, booked: Booked, weights: Weights, whole: int) -> Iterator[tuple[Cause, int, int]]:
    assert billed.usage is not None
    theirs, ours = billed.usage, booked.usage
    tokens = theirs.total - ours.total
    moved = theirs.cached - ours.cached
    cheaper = (weights[_AT["uncached"]] or 0) - (weights[_AT["cache_read"]] or 0)
    cache = -moved * cheaper if moved else 0
    yield "cache", cache, 0
    rest = whole - cache
    if not tokens and not rest:
        return
    yield _cause_of_tokens(billed, booked, tokens), rest, tokens


def _cause_of_tokens(billed: Billed, booked: Booked, tokens: int) -> Cause:
    """Why the vendor counts more tokens, or fewer."""
    if booked.uncertain.total and -booked.uncertain.total <= tokens <= booked.uncertain.total:
        return "disconnect"
    more = 0 if billed.requests is None else billed.requests - booked.requests
    if tokens > 0 and booked.failed and more <= booked.failed and (more > 0 or billed.requests is None):
        return "retry"
    return "unknown"


def _of_price(billed: Billed, booked: Booked, counted: Usage, at_ours: int, rows: int) -> Iterator[tuple[Cause, int, int]]:
    assert billed.pico is not None
    rest, step = billed.pico - at_ours, billed.unit_pico * max(1, rows)
    if abs(rest) * 2 <= step:
        yield "rounding", rest, 0
        return
    for tier, weights in booked.weights.items():
        at_tier = _cost(counted, weights)
        if tier != booked.tier and abs(billed.pico - at_tier) * 2 <= step:
            yield "tier", at_tier - at_ours, 0
            yield "rounding", billed.pico - at_tier, 0
            return
    yield "unknown", rest, 0


def _cost(usage: Usage, weights: Weights) -> int:
    return sum(count * (pico or 0) for count, pico in zip(msgspec.structs.astuple(usage), weights, strict=True))
