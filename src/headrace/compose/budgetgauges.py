"""Budgets for Prometheus: of each its limit, what is spent and what is held, all its instances of the running period together.

They are read from the store now and then and not when somebody scrapes: a store that is far away, or down, holds up nobody. Budgets may be
many; the series have an end, and the rest is one of them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Final

from headrace.compose.spending import ALERT
from headrace.core.clock import Clock
from headrace.core.errors import HeadraceError
from headrace.core.money import PICO_PER_USD
from headrace.storage import AccountRow, Treasury
from headrace.telemetry import Metrics

log = logging.getLogger("headrace")
READ_EVERY_S: Final = 5.0
BUDGETS_MAX: Final = 100
OTHERS: Final = "(others)"
LABEL: Final = ("headrace_budget",)


class BudgetGauges:
    """`opened` is the store; `wanted` whether there is one to be read."""

    def __init__(self, opened: Callable[[], AbstractContextManager[Treasury]], wanted: Callable[[], bool], clock: Clock) -> None:
        self._opened, self._wanted, self._clock = opened, wanted, clock
        self._parts: dict[str, dict[str, float]] = {"limit": {}, "spent": {}, "held": {}}

    def watch(self, metrics: Metrics) -> None:
        def gauge(part: str, help: str) -> None:
            metrics.gauge(f"headrace_budget_{part}_usd", help, lambda: self._parts[part], adds=False, labels=LABEL)

        gauge("limit", "What a budget allows in the period that runs, all its instances together.")
        gauge("spent", "What of it is spent.")
        gauge("held", "What of it is held for requests at work, or whose end nobody knows.")

    async def keep_reading(self) -> None:
        """Run it as a task of the server's group."""
        while True:
            if self._wanted():
                try:
                    self._parts = usd_by_budget(await asyncio.to_thread(self._accounts))
                except HeadraceError as failure:
                    log.warning("the metrics of budgets are those of before: %s", failure)
            await asyncio.sleep(READ_EVERY_S)

    def _accounts(self) -> list[AccountRow]:
        """Those of periods that run."""
        with self._opened() as treasury:
            return treasury.accounts(ends_after=self._clock.moment())


def usd_by_budget(rows: Iterable[AccountRow]) -> dict[str, dict[str, float]]:
    """Limit, spent and held by budget; alerts are no budgets of their own. The largest have their names."""
    sums: dict[str, list[int]] = {}
    for row in rows:
        if not row.budget.startswith(ALERT):
            known = sums.setdefault(row.budget, [0, 0, 0])
            for at, pico in enumerate((row.limit_pico, row.spent_pico, row.held_pico)):
                known[at] += pico
    named = sorted(sums, key=lambda name: (-sums[name][0], name))
    for name in named[BUDGETS_MAX:]:
        others = sums.setdefault(OTHERS, [0, 0, 0])
        for at, pico in enumerate(sums.pop(name)):
            others[at] += pico
    return {part: _usd(sums, at) for at, part in enumerate(("limit", "spent", "held"))}


def _usd(sums: Mapping[str, list[int]], at: int) -> dict[str, float]:
    return {name: amounts[at] / PICO_PER_USD for name, amounts in sums.items()}
