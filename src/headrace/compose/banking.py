"""The process that leases budgets to the workers, a worker's line to it, and the store for commands."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headrace.compose.budgets import BudgetSettings, BudgetsSettings
from headrace.compose.clock import MachineClock, Names, process_id
from headrace.compose.place import Place
from headrace.core.clock import SECOND, Clock, Instant
from headrace.core.errors import SettingsInvalid
from headrace.gateway import Till
from headrace.storage import BankLink, Layout, PostgresBudgets, SqliteBudgets, Treasury, UsageLog, Webhook, make_folder, opened_treasury

log = logging.getLogger("headrace")
BANK_PAUSE_S = 0.2
BANK_END_S = 10.0
BANK_LIFE, BANK_PAUSE_MAX = 5 * SECOND, 10 * SECOND
"""One that lived shorter than the first is tried again after a pause, which grows up to the second."""


@contextmanager
def open_budgets(place: Place) -> Iterator[Treasury]:
    """Where the budgets of a place are kept. Raises SetupError or NotReady."""
    settings = place.settings()
    with budgets_at(make_folder(Path(settings.storage.path)), settings.storage.url) as treasury:
        yield treasury


@contextmanager
def budgets_at(layout: Layout, url: str | None) -> Iterator[Treasury]:
    """The same, where folder and database are known. In any thread; once the file is there, a server starts its bank."""
    with opened_treasury(PostgresBudgets(url) if url else SqliteBudgets(layout.budgets)) as treasury:
        yield treasury


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
        self.till.change([one.budget for one in named.values()])


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

    def __init__(self, layout: Layout, url: str | None, clock: Clock, wanted: Callable[[], bool]) -> None:
        self._layout, self._url, self._clock, self._wanted = layout, url, clock, wanted
        self._begun_at: Instant = 0
        self._pause = 0
        self._process: subprocess.Popen[bytes] | None = None

    def look(self) -> None:
        """To be called now and then."""
        process = self._process
        if process is not None:
            status = process.poll()
            if status is None:
                return
            now = self._clock.instant()
            if process.stdin is not None:
                process.stdin.close()
                process.stdin = None
                log.error("the process of the budgets ended with status %d; it is started again", status)
                self._pause = 0 if now - self._begun_at > BANK_LIFE else min(BANK_PAUSE_MAX, 2 * self._pause + SECOND // 2)
            if now < self._begun_at + self._pause:
                return  # one that can't live is not tried without end
        elif not (self._wanted() or self._url is not None or self._layout.budgets.exists()):
            return
        command = [sys.executable, "-m", "headrace.storage.bank", str(self._layout.root)]
        self._begun_at = self._clock.instant()
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
