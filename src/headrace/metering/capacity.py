"""What capacity paid by the hour cost whom: its hours are shared out by the work that was done on it; what stood idle is said apart.

Work is weighed as placement weighs it: a cached token a tenth of an input token, one of the answer five times. The shares add up to the
hours' price exactly: what integers leave over goes to the largest remainders.
"""

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from headrace.core.usage import Usage

CACHED, INPUT, OUTPUT = 1, 10, 50
"""Tenths of the work of an input token."""


class Shared(msgspec.Struct, frozen=True):
    """What the hours cost, whom, and what was paid for capacity that stood idle."""

    whole_pico: int
    by: Mapping[str, int]
    idle_pico: int

    @property
    def utilisation(self) -> float:
        return 0.0 if not self.whole_pico else 1 - self.idle_pico / self.whole_pico


def work_of(usage: Usage) -> int:
    """How much work it was, in tenths of an input token's."""
    fresh = usage.tokens_in - usage.cached
    return usage.cached * CACHED + fresh * INPUT + usage.tokens_out * OUTPUT


def shared(whole_pico: int, capacity: int, by: Mapping[str, int]) -> Shared:
    """Share out what `capacity` units of work would have cost, by the work that was done. Work beyond the capacity, which was more than was
    known then, pays all, and nothing stood idle. A capacity of 0 is not known: nothing is called idle."""
    done = sum(by.values())
    if not done:
        return Shared(whole_pico, {}, whole_pico)
    whole = max(capacity, done)
    parts = {name: Fraction(whole_pico * work, whole) for name, work in by.items()}
    paid = whole_pico * done // whole
    given = {name: int(part) for name, part in parts.items()}
    over = paid - sum(given.values())
    for name in sorted(parts, key=lambda one: (given[one] - parts[one], one))[:over]:
        given[name] += 1
    return Shared(whole_pico, given, whole_pico - paid)
