"""Whom a request is sent to, one after another, when each of them fails."""

from collections.abc import Collection
from random import Random

from headrace.core.ask import Ask
from headrace.core.clock import Instant
from headrace.routing import Board, Choice, Policy, Refuse, Send, Wait, decide


def order_of(
    ask: Ask, board: Board, now: Instant, rng: Random, policy: Policy, tried: Collection[str] = ()
) -> tuple[list[Choice], Send | Wait | Refuse]:
    """All that it could be sent to, the best first; and what is decided at first."""
    made = first = decide(ask, board, now, rng, policy, tried)
    order: list[Choice] = []
    while isinstance(made, Send):
        order.append(made.choice)
        made = decide(ask, board, now, rng, policy, [*tried, *(choice.pool.name for choice in order)])
    return order, first
