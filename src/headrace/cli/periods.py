"""Times as people write them on a command line."""

from datetime import UTC, datetime, timedelta

import click

from headrace.compose import now
from headrace.compose.finance import month_of
from headrace.core.clock import SECOND, Moment

FOREVER: Moment = 2**63 - 1


class When(click.ParamType[Moment]):
    """A day or a moment, UTC, or an age such as 24h or 7d."""

    name = "when"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> Moment:
        text = str(value)
        units = {"m": "minutes", "h": "hours", "d": "days"}
        try:
            if text[-1:] in units and text[:-1].isdigit():
                moment = now() - timedelta(**{units[text[-1]]: int(text[:-1])})
            else:
                moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is not a time: write 2026-11-23, 2026-11-23T10:00, or an age such as 24h", param, context)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(aware.timestamp()) * SECOND


class Month(click.ParamType[str]):
    """A month, such as 2026-11."""

    name = "month"

    def convert(self, value: object, param: click.Parameter | None, context: click.Context | None) -> str:
        try:
            month_of(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a month: write 2026-11", param, context)
        return str(value)


def this_month() -> tuple[Moment, Moment]:
    """From the first of the month until now."""
    moment = now()
    return month_of(f"{moment:%Y-%m}")[0], int(moment.timestamp()) * SECOND


def span(month: str | None, since: Moment | None, until: Moment | None) -> tuple[Moment, Moment]:
    """A month, or what was said, or all time."""
    if month is not None:
        return month_of(month)
    return since or 0, FOREVER if until is None else until
