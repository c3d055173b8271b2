"""A person's leave: a value that says exactly what may be done, how often, until when, and who said so.

Leave to one call is bound to that call's every argument. Standing leave, for runs that nobody watches, names a tool, the exact values of
the arguments that it fixes, the most of an amount, a number of times and an end. Neither is ever widened by what a model says.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from headrace.agents.values import Value, said
from headrace.core.clock import Moment


class Call(msgspec.Struct, frozen=True):
    """A tool that the model wants called. `arguments` are JSON text, as the model wrote it."""

    id: str
    tool: str
    arguments: str


class Leave(msgspec.Struct, frozen=True, tag=True):
    """Leave to exactly this call, once."""

    tool: str
    arguments: str
    by: str
    given_at: Moment

    def covers(self, tool: str, arguments: str) -> bool:
        return self.tool == tool and self.arguments == arguments


class StandingLeave(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Leave ahead of time: "Fridays, this form, once, at most 20"."""

    id: str
    tool: str
    fixed: dict[str, str]
    amount_max: dict[str, float] = {}
    free: frozenset[str] = frozenset()
    times_max: int = 1
    expires_at: Moment
    by: str

    def covers(self, tool: str, arguments: Mapping[str, Value], used: int, now: Moment) -> bool:
        """Whether it holds for this call: every argument is fixed, bounded or free by name, and the leave is neither used up nor over."""
        if tool != self.tool or now >= self.expires_at or used >= self.times_max:
            return False
        return all(self._fits(name, value) for name, value in arguments.items()) and self.fixed.keys() <= arguments.keys()

    def _fits(self, name: str, value: Value) -> bool:
        if name in self.fixed:
            return said(value) == self.fixed[name]
        if name in self.amount_max:
            return isinstance(value, int | float) and 0 <= value <= self.amount_max[name]
        return name in self.free


AnyLeave: TypeAlias = Leave | StandingLeave


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use before it pauses and asks. None: not limited."""

    pico_usd_max: int | None = None
    tokens_max: int | None = None
    steps_max: int = 100


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may do without asking, beyond what its request says."""

    kinds: frozenset[str] = frozenset()
    hosts: frozenset[str] = frozenset()
    standing: tuple[StandingLeave, ...] = ()
    budget: Budget = Budget()
