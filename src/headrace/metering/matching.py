"""A vendor's list of requests against our attempts, one by one.

A vendor's list has no name that we know, but it has times and counts: a request that it served is one of our attempts that ran then. Lines
are given to attempts of the same model, pass by pass, the surest first:

    the same tokens, in the same tier        a line without tokens: the same amount
    the same tokens
    the same prompt and the same answer      another part of it cached
    an attempt whose usage never reached us
    an attempt that failed, and is free in our books
    any other that ran then

Within a pass a line goes to the attempt, of those that ran at its time, that ended first: as many find their own as can (the scheduling
of points to intervals by earliest deadline). Of equal attempts it does not matter which is which. Clocks may differ by `SLACK`.
"""

import heapq
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.usage import NOTHING, Usage
from headrace.metering.prices import day_of
from headrace.metering.reconcile import Booked, Cause, Explained, Weights, explain
from headrace.metering.records import State
from headrace.metering.vendorfiles import Billed

SLACK: Final = 120 * SECOND


class Bought(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as its vendor should bill it: `model` is the vendor's name, and `tier` the one that served ("": the standard one)."""

    request: str
    attempt: int
    state: State
    admitted: Moment
    ended: Moment | None
    model: str
    tier: str
    usage: Usage
    pico: int

    @property
    def uncertain(self) -> bool:
        return self.state in ("held", "lost", "estimated")


Pair: TypeAlias = tuple[Billed | None, Bought | None]
Key: TypeAlias = Hashable | None
"""Of a line and of an attempt that may be the same one; None: this pass is not for it."""


def match(lines: Iterable[Billed], attempts: Iterable[Bought], slack: int = SLACK) -> list[Pair]:
    """Each line with the attempt that it bills, lines without any, and attempts without a line. Every line has its `moment`."""
    pairs: list[Pair] = []
    left, free = list(lines), list(attempts)
    for of_line, of_attempt in _PASSES:
        found = _paired(left, free, of_line, of_attempt, slack)
        pairs += found
        taken, given = {id(line) for line, _ in found}, {id(attempt) for _, attempt in found}
        left = [line for line in left if id(line) not in taken]
        free = [attempt for attempt in free if id(attempt) not in given]
    return [*pairs, *((line, None) for line in left), *((None, attempt) for attempt in free)]


def explained(pair: Pair, weights: Mapping[str, Weights]) -> list[Explained]:
    """Why a line and its attempt differ. `weights` are what the vendor charges for the model, by tier."""
    line, attempt = pair
    if attempt is None:
        assert line is not None
        return [Explained(line.day, line.model, "unknown", line.pico or 0, 0 if line.usage is None else line.usage.total, line=line.id)]
    named = f"{attempt.request}.{attempt.attempt}"
    if line is None:
        if attempt.state == "void":
            return []
        cause: Cause = "disconnect" if attempt.uncertain else "unknown"
        return [Explained(day_of(attempt.admitted), attempt.model, cause, -attempt.pico, -attempt.usage.total, request=named)]
    booked = Booked(
        usage=attempt.usage,
        pico=attempt.pico,
        requests=1,
        uncertain=attempt.usage if attempt.uncertain else NOTHING,
        failed=int(attempt.state == "void"),
        weights=weights,
        tier=attempt.tier if attempt.tier in weights else "standard",
    )
    found = explain(line, booked)
    if attempt.uncertain:
        found = _guessed(found)
    return [msgspec.structs.replace(one, request=named, line=line.id) for one in found]


def _guessed(found: list[Explained]) -> list[Explained]:
    """Of an attempt whose usage is an estimate, all that is not the price's doing is for that one reason."""
    kept = [one for one in found if one.cause in ("tier", "rounding")]
    rest = [one for one in found if one.cause not in ("tier", "rounding")]
    if not rest:
        return kept
    pico, tokens = sum(one.pico for one in rest), sum(one.tokens for one in rest)
    return [msgspec.structs.replace(rest[0], cause="disconnect", pico=pico, tokens=tokens), *kept]


def _paired(
    lines: Sequence[Billed],
    attempts: Sequence[Bought],
    of_line: Callable[[Billed], Key],
    of_attempt: Callable[[Bought], Key],
    slack: int,
) -> list[tuple[Billed, Bought]]:
    wanted: dict[Key, tuple[list[Billed], list[Bought]]] = {}
    for line in lines:
        if (key := of_line(line)) is not None:
            wanted.setdefault((line.model, key), ([], []))[0].append(line)
    for attempt in attempts:
        if (key := of_attempt(attempt)) is not None and (group := wanted.get((attempt.model, key))):
            group[1].append(attempt)
    return [pair for group in wanted.values() for pair in _in_time(*group, slack)]


def _in_time(lines: list[Billed], attempts: list[Bought], slack: int) -> Iterator[tuple[Billed, Bought]]:
    lines.sort(key=_moment)
    attempts.sort(key=lambda one: one.admitted)
    running: list[tuple[Moment, int]] = []
    started = 0
    for line in lines:
        moment = _moment(line)
        while started < len(attempts) and attempts[started].admitted - slack <= moment:
            heapq.heappush(running, (_end(attempts[started]) + slack, started))
            started += 1
        while running and running[0][0] < moment:
            heapq.heappop(running)
        if running:
            yield line, attempts[heapq.heappop(running)[1]]


def _moment(line: Billed) -> Moment:
    assert line.moment is not None
    return line.moment


def _end(attempt: Bought) -> Moment:
    return attempt.admitted if attempt.ended is None else attempt.ended


def _counts(usage: Usage) -> tuple[int, int, int]:
    """As far as vendors' lists tell tokens apart: the prompt's, those of it that were cached, the answer's."""
    return usage.tokens_in, usage.cached, usage.tokens_out


def _exact(line: Billed) -> Key:
    return ("usd", line.pico) if line.usage is None else (_counts(line.usage), line.tier or "standard")


def _exact_tokens(line: Billed) -> Key:
    return None if line.usage is None else _counts(line.usage)


def _sums(line: Billed) -> Key:
    return None if line.usage is None else (line.usage.tokens_in, line.usage.tokens_out)


def _certain(attempt: Bought) -> bool:
    return attempt.state == "confirmed"


_PASSES: Sequence[tuple[Callable[[Billed], Key], Callable[[Bought], Key]]] = (
    (_exact, lambda one: (_counts(one.usage), one.tier or "standard") if _certain(one) else None),
    (lambda line: line.pico if line.usage is None else None, lambda one: one.pico if _certain(one) else None),
    (_exact_tokens, lambda one: _counts(one.usage) if _certain(one) else None),
    (_sums, lambda one: (one.usage.tokens_in, one.usage.tokens_out) if _certain(one) else None),
    (lambda _: "uncertain", lambda one: "uncertain" if one.uncertain else None),
    (lambda _: "failed", lambda one: "failed" if one.state == "void" else None),
    (lambda _: "any", lambda _: "any"),
)
