"""Budgets beside the ledger: what is held against them as accounts that anybody can add up, and their spending against the usage log.

Nothing is owed for what is only held, so the ledger posts none of it: these accounts are read off the treasury. Each budget has

    budget:NAME:PERIOD:limit    what may be spent, as a credit
    …:spent  …:held  …:leased   what is spent, at work or of unknown end, and lies ready at workers, as debits
    …:free                      the rest

and they are even. What the treasury says was spent must be what the usage log says was charged: exactly where no worker lives, and
otherwise within what workers had leased and not yet told of.
"""

from collections.abc import Mapping, Sequence

from headrace.compose.banking import open_budgets
from headrace.compose.finance import Finance
from headrace.compose.place import Place
from headrace.core.clock import Moment
from headrace.storage import AccountRow, Unknown


def budget_balances(place: Place, now: Moment) -> dict[str, int]:
    """Debits less credits of the budgets' accounts, each budget's instances together: of periods that run, or that still hold something."""
    if not _kept(place):
        return {}
    with open_budgets(place) as treasury:
        return shown(treasury.accounts(), now)


def shown(rows: Sequence[AccountRow], now: Moment) -> dict[str, int]:
    sums: dict[str, int] = {}
    for row in rows:
        if row.ends <= now and not row.holders:
            continue
        # in a mode that leases nothing ahead, what is at work is not taken out of what is free
        held = row.held_pico if row.mode == "hard" else 0
        parts = {"limit": -row.limit_pico, "spent": row.spent_pico, "held": held, "leased": row.leased_free_pico}
        for name, pico in (*parts.items(), ("free", -sum(parts.values()))):
            account = ":".join(part for part in ("budget", row.budget, row.period, name) if part)
            sums[account] = sums.get(account, 0) + pico
    return {account: pico for account, pico in sums.items() if pico}


def budget_faults(place: Place, finance: Finance) -> list[str]:
    """Where the treasury and the usage log tell of other spending, in words. Hosts that share a database see only their own log."""
    if not _kept(place):
        return []
    with open_budgets(place) as treasury:
        before = treasury.accounts()
        unended = finance.unended(treasury.unknown())
        charged, whole = finance.debited()
        after = treasury.accounts()
    return faults(before, after, charged, unended, whole=whole and not place.settings().storage.url)


def faults(
    before: Sequence[AccountRow], after: Sequence[AccountRow], charged: Mapping[int, int], unended: Sequence[Unknown], *, whole: bool
) -> list[str]:
    """The treasury before and after the log was read, which tells what was charged; `unended` are booked and have no end in the log yet.
    `whole`: it is all of the log."""
    awaited: dict[int, int] = {}
    for one in unended:
        for number in one.accounts:
            awaited[number] = awaited.get(number, 0) + one.booked_pico
    told = {row.account: row.spent_pico - row.carried_pico for row in before}
    found = []
    for row in after:
        by_log = charged.get(row.account, 0) + awaited.get(row.account, 0)
        if whole and by_log < told.get(row.account, 0):
            found.append(f"{_name(row)}: {told[row.account]} pico-USD are spent, by the usage log only {by_log}")
        if (most := _most(row)) is not None and by_log > most:
            found.append(f"{_name(row)}: by the usage log {by_log} pico-USD are charged, and no more than {most} can be")
    return found


def _most(row: AccountRow) -> int | None:
    """What can be charged at most, as far as the treasury knows; None: nobody knows while a worker lives that needs no lease."""
    if not row.holders:
        return row.spent_pico - row.carried_pico
    most = row.spent_pico - row.carried_pico + row.held_pico + row.leased_free_pico
    return most if row.mode == "hard" else None


def _name(row: AccountRow) -> str:
    return "budget " + ", ".join(part for part in (row.budget, row.instance, row.period) if part)


def _kept(place: Place) -> bool:
    return place.settings().storage.url is not None or place.layout().budgets.exists()
