"""For how long a budget holds: a day or a month by the calendar of the customer's own place, or for ever."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Literal, TypeAlias, assert_never

import msgspec

from headrace.core.clock import SECOND, Moment

Period: TypeAlias = Literal["day", "month", "total"]
MOMENT_MAX: Moment = 2**63 - 1


class Span(msgspec.Struct, frozen=True):
    """One period: its name, such as `2026-11`, its first moment, and the first moment after it."""

    name: str
    start: Moment
    end: Moment

    def holds(self, moment: Moment) -> bool:
        return self.start <= moment < self.end


ALWAYS = Span("", 0, MOMENT_MAX)


def span_of(moment: Moment, period: Period, zone: tzinfo) -> Span:
    """The period that a moment falls into, where clocks show `zone`.

    A day that a change of clocks makes shorter or longer is still one day; where midnight is left out, the day begins when it would.
    """
    match period:
        case "total":
            return ALWAYS
        case "day":
            local = datetime.fromtimestamp(moment // SECOND, zone)
            first = datetime(local.year, local.month, local.day, tzinfo=zone)
            noon = datetime(local.year, local.month, local.day, 12, tzinfo=UTC) + timedelta(days=1)
            after = datetime(noon.year, noon.month, noon.day, tzinfo=zone)
            return Span(f"{first:%Y-%m-%d}", _moment(first), _moment(after))
        case "month":
            local = datetime.fromtimestamp(moment // SECOND, zone)
            first = datetime(local.year, local.month, 1, tzinfo=zone)
            year, month = (local.year + 1, 1) if local.month == 12 else (local.year, local.month + 1)
            return Span(f"{first:%Y-%m}", _moment(first), _moment(datetime(year, month, 1, tzinfo=zone)))
        case never:
            assert_never(never)


def _moment(when: datetime) -> Moment:
    return int(when.timestamp()) * SECOND
