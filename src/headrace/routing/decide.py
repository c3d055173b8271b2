"""What is chosen: one pure function from an ask and the facts of the moment to a pool, a place in line, or a refusal.

    filter     who may: model, jurisdiction, vendor, data class, zero retention, capabilities      `Board.shortlist`
    feasible   who can: open, with room, long enough a context, in time for the class and the deadline
    score      what each would cost and how long it would take, by the policy; lower is better, ties fall by chance
    first      the best; when it fails, the best of the others as they are then

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
NEXT: Final = 8
VERDICTS: Final = (
    "ranked",
    "late for its class",
    "closed",
    "full",
    "context",
    "tried",
    "deadline",
    "over its vendor's share",
    "not needed",
)
"""What was found of each choice, by the code that `placed` keeps. The late, and who is over its share, serve if nobody else can. Who is not
needed has a higher score than one that can serve, so nobody looked whether it could."""

BYTES_PER_TOKEN_MOST: Final = 8
"""A prompt of so many bytes a token is rarer than any; one that needs more tokens than the context at this rate fits nowhere near."""

PLACED_MAX: Final = 4
Placed: TypeAlias = tuple[tuple[int, int, float], ...]
"""Of the best of those that may be sent there, and of all others: the index in the shortlist, the verdict's code, the score (0 of the
others)."""


class Send(msgspec.Struct, frozen=True, tag=True, gc=False):
    """Try this one. When it fails, decide again without it: by then others may be better than those that are next now."""

    choice: Choice
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
    """The best of the pools that may and can serve `ask`, leaving out those that were `tried`."""
    shortlist = board.shortlist(ask)
    choices = shortlist.choices
    if not choices:
        return Refuse(_why_nobody(shortlist), (), shortlist)
    terms = board.classes[ask.traffic_class]
    tokens_least = ask.tokens_in_max // BYTES_PER_TOKEN_MOST + (ask.tokens_out_max or 0)
    if not tried and tokens_least <= shortlist.context_min and ask.deadline is None:
        sent = _first_look(ask, terms, now, rng, policy, shortlist)
        if sent is not None:
            return sent
    deadline_ms = UNHURRIED if ask.deadline is None else (ask.deadline - now) / MS
    found = [TRIED if choice.pool.name in tried else _verdict(choice, terms, tokens_least, deadline_ms, now) for choice in choices]
    return _second_look(ask, board, now, rng, policy, shortlist, found)


NO_RIVALS: Final[Sequence[float]] = (0.0,)
ALONE: Final[Sequence[int]] = (0,)
UNHURRIED: Final = 1e300


def _first_look(ask: Ask, terms: ClassTerms, now: Instant, rng: Random, policy: Policy, shortlist: Shortlist) -> Send | None:
    """The usual case: nothing stands in the way of the best of all, which is then the best of those that can, whoever they are."""
    choices = shortlist.choices
    if len(choices) == 1:
        scores, order = NO_RIVALS, ALONE
    else:
        scores = policy(ask, choices, Scene(ask, choices, terms, now, rng))
        order = _order(scores, rng)
    spot = order[0]
    first = choices[spot]
    load = first.load
    if load.strain >= terms.idle_share or load._ttft_ms > terms.ttft_ms or load._tpot_ms > terms.tpot_ms:
        return None
    placed = tuple([(place, NEXT, scores[place]) for place in order[1:PLACED_MAX]])
    return Send(first, ((spot, RANKED, scores[spot]), *placed), shortlist)


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
    best: Choice | None = None
    placed: list[tuple[int, int, float]] = []
    terms = board.classes[ask.traffic_class]
    for tier in ((RANKED,), (LATE, SHARE)):
        spots = [spot for spot, code in enumerate(found) if code in tier]
        if spots:
            choices = [shortlist.choices[spot] for spot in spots]
            scores = policy(ask, choices, Scene(ask, choices, terms, now, rng))
            order = _order(scores, rng)
            best = best or choices[order[0]]
            placed += [(spots[place], found[spots[place]], scores[place]) for place in order[:PLACED_MAX]]
    placed += [(spot, code, 0.0) for spot, code in enumerate(found) if code not in (RANKED, LATE, SHARE)]
    return Send(best, tuple(placed), shortlist) if best is not None else _nobody(shortlist, found, tuple(placed))


def _order(scores: Sequence[float], rng: Random) -> list[int]:
    """Where the scores are, from the lowest on; of several that are the lowest chance says which goes first."""
    spots = sorted(range(len(scores)), key=scores.__getitem__)
    lowest = scores[spots[0]]
    if len(spots) > 1 and scores[spots[1]] == lowest:
        spots.insert(0, spots.pop(int(rng.random() * scores.count(lowest))))
    return spots


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
