"""What an answer says of itself in its head, whatever dialect its body has: where it went, what it cost, what was not taken as asked."""

from collections.abc import Sequence

from headrace.core.ask import Ask
from headrace.core.money import usd
from headrace.core.translation import Change
from headrace.gateway import Visit, remaining_pico

TRANSLATION_SIZE_MAX = 1_024


def about(ask: Ask, visit: Visit) -> str:
    """Our own header lines. A stream's head goes out before its cost is known, which follows in its trailer."""
    told = (
        f"x-headrace-pool: {visit.pool}\r\nx-headrace-class: {ask.traffic_class}\r\nx-headrace-attempts: {visit.attempts}\r\n"
        f"{'trailer: x-headrace-cost' if ask.stream else f'x-headrace-cost: {cost(visit)}'}\r\n"
    )
    if visit.cache:
        told += f"x-headrace-cache: {visit.cache}\r\n"
    if visit.hold is not None or visit.capped:
        told += _money(visit)
    return told + (f"x-headrace-translation: {translation(visit.translation)}\r\n" if visit.translation else "")


def _money(visit: Visit) -> str:
    """What is held for it at most, what its scarcest budget leaves, and whether the answer may end because the money does."""
    told = f"x-headrace-cost-max: {usd(visit.bound_pico)}\r\n" if visit.price is not None else ""
    if visit.hold is not None and (left := remaining_pico(visit.hold)) is not None:
        told += f"x-headrace-budget-remaining: {usd(left)}\r\n"
    if visit.capped:
        told += f"x-headrace-tokens-out-max: {visit.bound.output}; {visit.capped}\r\n"
    return told


def cost(visit: Visit) -> str:
    """In US dollars, to the last digit."""
    return "unpriced" if visit.cost_pico is None else usd(visit.cost_pico)


def translation(changes: Sequence[Change]) -> str:
    """`dropped seed, changed stop`: what the pool's dialect did not take as it was asked; `headrace why` says the reasons."""
    told = ", ".join(f"{change.what} {change.param}" for change in changes)
    return told if len(told) <= TRANSLATION_SIZE_MAX else f"{told[:TRANSLATION_SIZE_MAX]}..."
