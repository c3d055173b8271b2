"""When something is to be done, as people say it: `every weekday 9:00` becomes the line of cron that means it."""

import re
from typing import Final

from headrace.core.errors import InvalidRequest

DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
EXAMPLES: Final = "every weekday 9:00, every monday and thursday at 18:30, every 15 minutes, every month on the 1st at 8:00, or 0 9 * * 1-5"
_GROUPS: Final = {"day": "*", "weekday": "1-5", "weekend": "0,6"}
_TIME: Final = re.compile(r"(?:at )?(\d{1,2})(?::(\d{2}))?\s*(am|pm)?")
_EVERY: Final = re.compile(r"every (\d+) (minute|hour)s?")
_MONTH: Final = re.compile(r"every month on the (\d{1,2})(?:st|nd|rd|th)?(?: (.+))?")
_CRON: Final = re.compile(r"[\d*/,\-a-z#L]+(?: [\d*/,\-a-z#L]+){4}", re.IGNORECASE)
_STEPS: Final = {"minute": 60, "hour": 24}


def cron_of(spoken: str) -> str:
    """The line of cron. Raises InvalidRequest, with examples."""
    low = " ".join(spoken.casefold().replace(",", " and ").split())
    if low in ("hourly", "every hour"):
        return "0 * * * *"
    if low == "every minute":
        return "* * * * *"
    if every := _EVERY.fullmatch(low):
        return _stepped(int(every[1]), every[2], spoken)
    if month := _MONTH.fullmatch(low):
        if not 1 <= int(month[1]) <= 31:
            raise _unclear(spoken)
        return f"{_time(month[2] or '9:00', spoken)} {int(month[1])} * *"
    if low.startswith(("daily", "every ")):
        return _weekly(low.replace("daily", "every day", 1).removeprefix("every "), spoken)
    if _CRON.fullmatch(spoken.strip()):
        return spoken.strip()
    raise _unclear(spoken)


def _stepped(number: int, unit: str, spoken: str) -> str:
    """Only steps that divide the hour or the day come evenly."""
    whole = _STEPS[unit]
    if not 1 <= number <= whole or whole % number:
        raise InvalidRequest(f"{spoken!r} does not come out even: say a number of {unit}s that divides {whole}.")
    return f"*/{number} * * * *" if unit == "minute" else f"0 */{number} * * *"


def _weekly(rest: str, spoken: str) -> str:
    days: list[str] = []
    words = rest.split(" ")
    while words and (day := _day(words[0])) is not None:
        days.append(day)
        words.pop(0)
        while words and words[0] == "and":
            words.pop(0)
    if not days:
        raise _unclear(spoken)
    return f"{_time(' '.join(words) or '9:00', spoken)} * * {','.join(days)}"


def _day(word: str) -> str | None:
    if word in _GROUPS:
        return _GROUPS[word]
    named = [number for number, day in enumerate(DAYS) if len(word) >= 3 and (day.startswith(word) or word == f"{day}s")]
    return str(named[0]) if len(named) == 1 else None


def _time(text: str, spoken: str) -> str:
    """Minute and hour, as cron wants them."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise _unclear(spoken)
    hour, minute = int(found[1]), int(found[2] or 0)
    if found[3]:
        if not 1 <= hour <= 12:
            raise _unclear(spoken)
        hour = hour % 12 + (12 if found[3] == "pm" else 0)
    if hour > 23 or minute > 59:
        raise _unclear(spoken)
    return f"{minute} {hour}"


def _unclear(spoken: str) -> InvalidRequest:
    return InvalidRequest(f"It is not clear when {spoken!r} is. Say {EXAMPLES}.")
