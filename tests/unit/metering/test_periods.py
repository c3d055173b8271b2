"""When days and months begin and end, by the clocks of a place."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from headrace.core.clock import SECOND
from headrace.metering import span_of
from headrace.metering.periods import ALWAYS

TABLE = [
    # a moment                  where               period   its name      hours
    ("2026-11-27T13:00+00:00", "UTC", "day", "2026-11-27", 24),
    ("2026-11-27T23:30+00:00", "Europe/Berlin", "day", "2026-11-28", 24),
    ("2026-10-25T12:00+00:00", "Europe/Berlin", "day", "2026-10-25", 25),
    ("2026-03-29T12:00+00:00", "Europe/Berlin", "day", "2026-03-29", 23),
    ("2026-10-31T23:30+00:00", "Europe/Berlin", "month", "2026-11", 30 * 24),
    ("2026-12-31T23:30+00:00", "UTC", "month", "2026-12", 31 * 24),
    ("2027-01-01T00:00+00:00", "America/Los_Angeles", "month", "2026-12", 31 * 24),
    ("2026-10-15T12:00+00:00", "Europe/Berlin", "month", "2026-10", 31 * 24 + 1),
    ("2018-11-04T12:00+00:00", "America/Sao_Paulo", "day", "2018-11-04", 23),  # there was no midnight
]


@pytest.mark.parametrize(("when", "where", "period", "name", "hours"), TABLE)
def test_periods(when: str, where: str, period, name: str, hours: int):
    moment = int(datetime.fromisoformat(when).timestamp()) * SECOND
    span = span_of(moment, period, ZoneInfo(where))
    assert span.name == name
    assert span.holds(moment)
    assert timedelta(seconds=(span.end - span.start) // SECOND) == timedelta(hours=hours)


def test_a_total_has_no_end():
    assert span_of(5, "total", ZoneInfo("UTC")) is ALWAYS
    assert ALWAYS.holds(2**62)
