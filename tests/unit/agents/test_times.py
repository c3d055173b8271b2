"""When something is to be done, as people say it."""

import pytest

from headrace.agents.times import cron_of
from headrace.core.errors import InvalidRequest


@pytest.mark.parametrize(
    ("spoken", "cron"),
    [
        ("every weekday 9:00", "0 9 * * 1-5"),
        ("Every weekday at 9:30", "30 9 * * 1-5"),
        ("every day", "0 9 * * *"),
        ("daily at 7", "0 7 * * *"),
        ("every monday and thursday at 18:30", "30 18 * * 1,4"),
        ("every mon, wed, fri 6:05", "5 6 * * 1,3,5"),
        ("every sundays 12 am", "0 0 * * 0"),
        ("every saturday 12pm", "0 12 * * 6"),
        ("every weekend 10:00", "0 10 * * 0,6"),
        ("hourly", "0 * * * *"),
        ("every hour", "0 * * * *"),
        ("every minute", "* * * * *"),
        ("every 15 minutes", "*/15 * * * *"),
        ("every 2 hours", "0 */2 * * *"),
        ("every month on the 1st at 8:00", "0 8 1 * *"),
        ("every month on the 15", "0 9 15 * *"),
        ("0 9 * * 1-5", "0 9 * * 1-5"),
        ("*/5 0-6 1,15 * MON", "*/5 0-6 1,15 * MON"),
    ],
)
def test_it_is_understood(spoken, cron):
    assert cron_of(spoken) == cron


@pytest.mark.parametrize(
    "spoken",
    [
     "", "soon", "every", "every blue moon", "every t 9:00", "every day 25:00", "every day 9:61", "every day 13 pm",
     "every month on the 32", "every month on the 1st noonish", "every day at noon", "1 2 3",
    ],
)  # fmt: skip
def test_what_is_not_clear_is_asked_for_with_examples(spoken):
    with pytest.raises(InvalidRequest, match="every weekday 9:00"):
        cron_of(spoken)


@pytest.mark.parametrize("spoken", ["every 7 minutes", "every 0 minutes", "every 5 hours", "every 90 minutes"])
def test_what_does_not_come_out_even_is_refused(spoken):
    with pytest.raises(InvalidRequest, match="divides"):
        cron_of(spoken)
