"""A day, in blocks of hours, and the courses that demand takes over it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

DayCurve: TypeAlias = Literal["flat", "office", "consumer", "agents"]
HOURS_PER_DAY = 24
HOURS_PER_QUARTER = 8_766 / 4
"""Of a mean year of 365.25 days."""


def _scaled(hourly: Sequence[float]) -> tuple[float, ...]:
    mean = sum(hourly) / len(hourly)
    return tuple(each / mean for each in hourly)


CURVES: Mapping[DayCurve, tuple[float, ...]] = {
    "flat": (1.0,) * HOURS_PER_DAY,
    "office": _scaled((2, 1.5, 1.2, 1, 1, 1.5, 3, 5, 8, 10, 11, 10.5, 9, 10, 11, 11, 10, 8, 6, 5, 4.5, 4, 3, 2.5)),
    "consumer": _scaled((5, 3.5, 2.5, 2, 2, 2.5, 3.5, 5, 6.5, 7.5, 8, 8, 8, 8, 8, 8.5, 9, 9.5, 10, 11, 12, 11.5, 10, 7.5)),
    "agents": _scaled((6, 5.5, 5, 5, 5, 5.5, 6, 7, 9, 10, 10.5, 10.5, 10, 10.5, 11, 11, 10.5, 9.5, 8.5, 8, 8, 7.5, 7, 6.5)),
}
"""By local hour, with a mean of one: an assumption of shape, not a measurement. Peak to mean is 1.0, 1.88, 1.66 and 1.37."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Hours `start` to `start + hours` of each day, UTC."""

    start: int
    hours: int

    @property
    def title(self) -> str:
        return f"{self.start:02d}-{(self.start + self.hours) % HOURS_PER_DAY:02d} UTC"

    @property
    def hours_per_quarter(self) -> float:
        return HOURS_PER_QUARTER * self.hours / HOURS_PER_DAY

    def mean(self, level: Callable[[int], float]) -> float:
        return sum(level(hour) for hour in self._hours()) / self.hours

    def peak(self, level: Callable[[int], float]) -> float:
        """What must be held: people don't wait for a block's mean."""
        return max(level(hour) for hour in self._hours())

    def _hours(self) -> range:
        return range(self.start, self.start + self.hours)


def blocks(count: int) -> tuple[Block, ...]:
    """The day in `count` equal parts. Raises ValueError where that doesn't come out even."""
    if count < 1 or HOURS_PER_DAY % count:
        raise ValueError(f"a day can't be divided into {count} blocks: choose from 1, 2, 3, 4, 6, 8, 12 and 24")
    return tuple(Block(start=number * (HOURS_PER_DAY // count), hours=HOURS_PER_DAY // count) for number in range(count))
