"""Budgets as settings and the command line say them."""

from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from headrace.core.identity import TrafficClass
from headrace.core.money import pico_of
from headrace.metering import Budget, Mode, Period, Scope, Whom


class WhomSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests something holds for."""

    organization: str | None = None
    project: str | None = None
    key: str | None = None
    user: str | None = None
    session: str | None = None
    model: str | None = None
    traffic_class: TrafficClass | None = msgspec.field(default=None, name="class")
    for_each: Scope | None = None

    @property
    def whom(self) -> Whom:
        """As metering knows it."""
        return Whom(**{field: getattr(self, field) for field in Whom.__struct_fields__})


class BudgetSettings(WhomSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An amount of money for the requests that match every field given of organization … class; with `for_each`, for each of them."""

    name: str
    usd: str
    period: Period = "month"
    timezone: str = "UTC"
    mode: Mode = "hard"
    alerts_percent: tuple[int, ...] = (50, 80, 100)

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= 64 or not self.name.isprintable() or self.name.startswith("key:"):
            raise ValueError(f"budget {self.name!r}: a name has 1 to 64 letters, and does not begin with key:")
        try:
            pico_of(self.usd)
        except ValueError as wrong:
            raise ValueError(f"budget {self.name!r}: {wrong}") from None
        if any(not 1 <= percent <= 1_000 for percent in self.alerts_percent):
            raise ValueError(f"budget {self.name!r}: alerts_percent are 1 to 1000")
        zone_of(self.timezone)

    @property
    def budget(self) -> Budget:
        """As metering knows it."""
        return Budget(
            name=self.name,
            whom=self.whom,
            limit_pico=pico_of(self.usd),
            period=self.period,
            zone=zone_of(self.timezone),
            zone_name=self.timezone,
            mode=self.mode,
            alerts_percent=self.alerts_percent,
        )


class BudgetsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is told when parts of budgets are reached: a URL that is sent signed messages, with the secret in the environment."""

    webhook_url: str | None = None
    webhook_secret_env: str = "HEADRACE_WEBHOOK_SECRET"  # noqa: S105 -- the name of a variable

    def __post_init__(self) -> None:
        if self.webhook_url is not None and urlsplit(self.webhook_url).scheme not in ("http", "https"):
            raise ValueError("budgets.webhook_url is an http or https address")


def zone_of(name: str) -> ZoneInfo:
    """Raises ValueError where there is no such time zone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no time zone {name!r} is known here, such as Europe/Berlin (the system's tzdata has them)") from None
