"""Builds worlds from settings: the one room that reads the environment, the clock and chance, and names concrete adapters."""

from headrace.compose.acts import audit_log, command_noted, shared_state
from headrace.compose.banking import open_budgets
from headrace.compose.books import Books
from headrace.compose.budgetbooks import budget_balances, budget_faults
from headrace.compose.budgets import BudgetSettings
from headrace.compose.chargeback import Charged, capacity, chargeback, close_month
from headrace.compose.checkup import Finding, examine
from headrace.compose.clock import MachineClock, now, shown_moment
from headrace.compose.corrections import correct
from headrace.compose.finance import DayCheck
from headrace.compose.moving import move_to_postgres
from headrace.compose.outfit import outfit_of
from headrace.compose.place import Place, cache_folder, here, secret_of, version
from headrace.compose.prices import price_book
from headrace.compose.pricing import (
    PriceChange,
    PriceFault,
    finance_of,
    moment_now,
    price_change,
    price_changes,
    price_faults,
    price_rows,
    reconciled,
    rerate,
    set_price_row,
)
from headrace.compose.serve import Ready, serve_until_stopped
from headrace.compose.settings import Settings, load_settings
from headrace.compose.signing import new_token, signing_key
from headrace.compose.workspace import link_for

__all__ = [
    "Books",
    "BudgetSettings",
    "Charged",
    "DayCheck",
    "Finding",
    "MachineClock",
    "Place",
    "PriceChange",
    "PriceFault",
    "Ready",
    "Settings",
    "audit_log",
    "budget_balances",
    "budget_faults",
    "cache_folder",
    "capacity",
    "chargeback",
    "close_month",
    "command_noted",
    "correct",
    "examine",
    "finance_of",
    "here",
    "link_for",
    "load_settings",
    "moment_now",
    "move_to_postgres",
    "new_token",
    "now",
    "open_budgets",
    "outfit_of",
    "price_book",
    "price_change",
    "price_changes",
    "price_faults",
    "price_rows",
    "reconciled",
    "rerate",
    "secret_of",
    "serve_until_stopped",
    "set_price_row",
    "shared_state",
    "shown_moment",
    "signing_key",
    "version",
]
