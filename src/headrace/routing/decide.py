"""What is chosen: one pure function from an ask and the facts of the moment to an order of pools, a place in line, or a refusal.

    filter     who may: model, jurisdiction, vendor, data class, zero retention, capabilities      `Board.shortlist`
    feasible   who can: open, with room, long enough a context, in time for the class and the deadline
    score      what each would cost and how long it would take, by the policy; lower is better, ties fall by chance
    order      the best first, the others for when it fails

The gateway and the simulator call the same function, so it takes facts and chance as arguments, and touches nothing.
"""

from collections.abc import Collection, Sequence
from random import Random
from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import MS, Instant
from headrace.routing.board import Board, Choice, Shortlist
from headrace.routing.classes import ClassTerms
from headrace.routing.policies import Policy, Scene, balanced

Reason: TypeAlias = Literal["model_not_found", "forbidden", "incapable", "context", "closed", "late", "tried"]

RANKED: Final = 0
LATE: Final = 1
CLOSED: Final = 2
FULL: Final = 3
CONTEXT: Final = 4
TRIED: Final = 5
DEADLINE: Final = 6
SHARE: Final = 7
VERDICTS: Final = ("ranked", "late for its class", "closed", "full", "context", "tried", "deadline", "over its vendor's share")
"""What was found of each choice, by the code that `placed` keeps. The late, and who is over its share, serve if nobody else can."""

BYTES_PER_TOKEN_MOST: Final = 8
"""A prompt of so many bytes a token is rarer than any; one that needs more tokens than the context at this rate fits nowhere near."""

PLACED_MAX: Final = 4
Placed: TypeAlias = tuple[tuple[int, int, float], ...]
"""Of the best of those that may be sent there, and of all others: the index in the shortlist, the verdict's code, the score (0 of the
others)."""


class Send(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Try these in this order."""

    order: tuple[Choice, ...]
    placed: Placed
    shortlist: Shortlist


class Wait(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Those that could serve are full: stand in their lines."""

    choices: tuple[Choice, ...]
    placed: Placed
    shortlist: Shortlist


class Refuse(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Nobody may, or nobody can. `open_at`: when the first that is closed may be asked again."""

    reason: Reason
    placed: Placed = ()
    shortlist: Shortlist | None = None
    open_at: Instant | None = None


def decide(
    ask: Ask, board: Board, now: Instant, rng: Random, policy: Policy = balanced, tried: Collection[str] = ()
) -> Send | Wait | Refuse:
    """Rank the pools that may and can serve `ask`, leaving out those that were `tried`."""
    shortlist = board.shortlist(ask)
    choices = shortlist.choices
    if not choices:
        return Refuse(_why_nobody(shortlist), (), shortlist)
    terms = board.classes[ask.traffic_class]
    tokens_least = ask.tokens_in_max // BYTES_PER_TOKEN_MOST + (ask.tokens_out_max or 0)
    if not tried and tokens_least <= shortlist.context_min and ask.deadline is None:
        idle_share, ttft_ms_max, tpot_ms_max = terms.idle_share, terms.ttft_ms, terms.tpot_ms
        good = [
            choice
            for choice in choices
            if not (load := choice.load).hindered
            and load.inflight < load.limit * idle_share
            and load.ttft_ms <= ttft_ms_max
            and load.tpot_ms <= tpot_ms_max
        ]
        if len(good) == len(choices):  # the usual case: nothing stands in the way of anybody
            if len(choices) == 1:
                return Send(choices, ALONE, shortlist)
            return Send(*_ranked(ask, choices, board, now, rng, policy), shortlist)
    deadline_ms = UNHURRIED if ask.deadline is None else (ask.deadline - now) / MS
    found = [TRIED if choice.pool.name in tried else _verdict(choice, terms, tokens_least, deadline_ms, now) for choice in choices]
    return _second_look(ask, board, now, rng, policy, shortlist, found)


ALONE: Final[Placed] = ((0, RANKED, 0.0),)
UNHURRIED: Final = 1e300


def _verdict(choice: Choice, terms: ClassTerms, tokens_least: int, deadline_ms: float, now: Instant) -> int:
    """What stands in the way of one choice, the worst first."""
    load = choice.load
    if load.closed_until > now:
        return CLOSED
    if tokens_least > choice.context_max:
        return CONTEXT
    if load.ttft_ms > deadline_ms:
        return DEADLINE  # the more so for who would have to wait for room
    if load.inflight >= load.limit * terms.idle_share or (load.waiting and load.waiting_first <= terms.priority):
        return FULL  # who waits of a lower class waits for what is not meant for it, and holds up nobody above
    if load.over_share:
        return SHARE
    return LATE if load.ttft_ms > terms.ttft_ms or load.tpot_ms > terms.tpot_ms else RANKED


def _second_look(
    ask: Ask, board: Board, now: Instant, rng: Random, policy: Policy, shortlist: Shortlist, found: list[int]
) -> Send | Wait | Refuse:
    """The good ones first, and after them those that serve only when nobody else can."""
    order: list[Choice] = []
    placed: list[tuple[int, int, float]] = []
    for tier in ((RANKED,), (LATE, SHARE)):
        spots = [spot for spot, code in enumerate(found) if code in tier]
        if spots:
            ranked, scored = _ranked(ask, [shortlist.choices[spot] for spot in spots], board, now, rng, policy)
            order += ranked
            placed += [(spots[place], found[spots[place]], score) for place, _, score in scored]
    placed += [(spot, code, 0.0) for spot, code in enumerate(found) if code not in (RANKED, LATE, SHARE)]
    if order:
        return Send(tuple(order), tuple(placed), shortlist)
    return _nobody(shortlist, found, tuple(placed))


def _ranked(
    ask: Ask, choices: Sequence[Choice], board: Board, now: Instant, rng: Random, policy: Policy
) -> tuple[tuple[Choice, ...], Placed]:
    """The lowest score first. Sorting keeps the order of equals, so starting at a place of chance lets ties fall by chance."""
    count = len(choices)
    scores = policy(ask, choices, Scene(ask, choices, board.classes[ask.traffic_class], now, rng))
    start = int(rng.random() * count)
    places = [*range(start, count), *range(start)]
    places.sort(key=scores.__getitem__)
    return tuple([choices[place] for place in places]), tuple([(place, RANKED, scores[place]) for place in places[:PLACED_MAX]])


def _nobody(shortlist: Shortlist, found: list[int], placed: Placed) -> Wait | Refuse:
    """Why none of them can now: whoever is only full will have room again."""
    full = tuple([choice for choice, code in zip(shortlist.choices, found, strict=True) if code == FULL])
    if full:
        return Wait(full, placed, shortlist)
    closed = [choice.load.closed_until for choice, code in zip(shortlist.choices, found, strict=True) if code == CLOSED]
    if closed:
        return Refuse("closed", placed, shortlist, min(closed))
    return Refuse("late" if DEADLINE in found else "context" if CONTEXT in found else "tried", placed, shortlist)


def _why_nobody(shortlist: Shortlist) -> Reason:
    if not shortlist.excluded:
        return "model_not_found"
    return "incapable" if any(rule.startswith("capability:") for _, rule in shortlist.excluded) else "forbidden"
