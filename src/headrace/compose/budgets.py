"""Budgets as settings say them, the process that leases them to the workers, and a worker's line to it."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from headrace.compose.clock import MachineClock, Names, process_id
from headrace.core.errors import SettingsInvalid
from headrace.core.identity import TrafficClass
from headrace.core.money import pico_of
from headrace.gateway import Till
from headrace.metering import Budget, Mode, Period, Scope, Whom
from headrace.storage import BankLink, Layout, UsageLog, Webhook

log = logging.getLogger("headrace")
BANK_PAUSE_S = 0.2
BANK_END_S = 10.0


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


def budget_of(settings: BudgetSettings) -> Budget:
    """As metering knows it."""
    return Budget(
        name=settings.name,
        whom=settings.whom,
        limit_pico=pico_of(settings.usd),
        period=settings.period,
        zone=zone_of(settings.timezone),
        zone_name=settings.timezone,
        mode=settings.mode,
        alerts_percent=settings.alerts_percent,
    )


def rules_of(contents: Iterable[str]) -> list[BudgetSettings]:
    """What was set at the command line. What this version can't read is said in the log, and left out."""
    rules = []
    for content in contents:
        try:
            rules.append(msgspec.json.decode(content, type=BudgetSettings))
        except msgspec.MsgspecError as wrong:
            log.error("a budget that was set at the command line can't be read, and does not hold: %s", wrong)  # noqa: TRY400
    return rules


class Purse:
    """One worker's budgets, as the server wires them: the till that requests pass, and the line to the bank."""

    def __init__(self, clock: MachineClock, names: Names, layout: Layout, usage_log: UsageLog, hosts: Callable[[int], None]) -> None:
        self._settings: tuple[BudgetSettings, ...] = ()
        self._rules: list[BudgetSettings] = []
        self.link = BankLink(
            layout.bank,
            slices=lambda: self.till.slices,
            place=lambda: usage_log.place,
            pid=process_id(),
            new_process=lambda: names("process_"),
            moment=clock.moment,
            forget=lambda gone: self.till.forget(gone),
            fenced=lambda: self.till.close_holder(),
            rules=self._take_rules,
            hosts=hosts,
        )
        self.till = Till(self.link, clock)

    @property
    def has_budgets(self) -> bool:
        return bool(self._settings)

    def change(self, budgets: Iterable[BudgetSettings], webhook: Webhook | None) -> None:
        """The settings say these now."""
        self._settings = tuple(budgets)
        if webhook is not None:
            self.link.tell_webhook(webhook)
        self._apply()

    def _take_rules(self, contents: tuple[str, ...]) -> None:
        self._rules = rules_of(contents)
        self._apply()

    def _apply(self) -> None:
        named = {one.name: one for one in (*self._settings, *self._rules)}  # what was set at the command line has the last word
        self.till.change([budget_of(one) for one in named.values()])


def webhook_of(settings: BudgetsSettings, environ: Mapping[str, str]) -> Webhook | None:
    """Raises SettingsInvalid where the secret is not in the environment."""
    if settings.webhook_url is None:
        return None
    secret = environ.get(settings.webhook_secret_env, "")
    if not secret:
        raise SettingsInvalid(f"budgets.webhook_url takes its secret from {settings.webhook_secret_env}, which is not set")
    return Webhook(settings.webhook_url, secret)


class BankProcess:
    """The bank as the server owns it: begun when there is a budget anywhere, and begun again when it dies."""

    def __init__(self, layout: Layout, url: str | None, wanted: Callable[[], bool]) -> None:
        self._layout, self._url, self._wanted = layout, url, wanted
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """To be called now and then."""
        process = self._process
        if process is not None:
            status = process.poll()
            if status is None:
                return
            log.error("the process of the budgets ended with status %d; it is started again", status)
            assert process.stdin is not None
            process.stdin.close()
        elif not (self._wanted() or self._url is not None or self._layout.budgets.exists()):
            return
        command = [sys.executable, "-m", "headrace.storage.bank", str(self._layout.root)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 -- our own program
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._url or ''}\n".encode())
        self._process.stdin.flush()

    @property
    def pipe(self) -> int | None:
        """Our end of its standard input, which no child may keep open."""
        return None if self._process is None or self._process.stdin is None else self._process.stdin.fileno()

    async def keep_running(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(BANK_PAUSE_S)

    def finish(self) -> None:
        """Let it book the last ends, and end."""
        process = self._process
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            process.wait(BANK_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


__all__ = ["BankProcess", "BudgetSettings", "BudgetsSettings", "Purse", "budget_of", "rules_of", "webhook_of", "zone_of"]
