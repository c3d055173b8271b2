"""Builds worlds from settings: the one room that reads the environment, the clock and chance, and names concrete adapters."""

from headrace.compose.banking import open_budgets
from headrace.compose.books import Books
from headrace.compose.budgets import BudgetSettings
from headrace.compose.checkup import Finding, examine
from headrace.compose.clock import now
from headrace.compose.corrections import correct
from headrace.compose.place import Place, cache_folder, here, version
from headrace.compose.serve import Ready, serve_until_stopped
from headrace.compose.settings import Settings, load_settings
from headrace.compose.world import price_book

__all__ = [
    "Books",
    "BudgetSettings",
    "Finding",
    "Place",
    "Ready",
    "Settings",
    "cache_folder",
    "correct",
    "examine",
    "here",
    "load_settings",
    "now",
    "open_budgets",
    "price_book",
    "serve_until_stopped",
    "version",
]
