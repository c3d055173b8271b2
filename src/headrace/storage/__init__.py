"""Hands that keep: the usage log, its recovery, the SQLite database, its loader and queries, keys, and the data folder."""

from headrace.storage.attempts import records_of
from headrace.storage.audit import audit, head
from headrace.storage.banklink import BankLink
from headrace.storage.bankwords import Webhook
from headrace.storage.budgets_postgres import PostgresBudgets
from headrace.storage.budgets_sqlite import SqliteBudgets
from headrace.storage.commons import WORKERS_MAX, Commons
from headrace.storage.database import connect
from headrace.storage.decisions import AttemptRow, decision_of
from headrace.storage.export import COLUMNS, Exported, exported
from headrace.storage.finance import Rated, attempted, cards, organizations, owned, rated
from headrace.storage.folder import DataFolder, FileLock, Layout, development_key, make_folder
from headrace.storage.hourly import HourRow, usage_by_hour
from headrace.storage.journal import JournalEntry, enter, entries, invoices, issue
from headrace.storage.keys import LINEAGE_MAX, KeyRing, KeyStore
from headrace.storage.loading import Loaded, load_once
from headrace.storage.pricesets import PriceSet, price_sets, set_price
from headrace.storage.queries import Difference, UsageRow, balances, key_names, usage_by, verify
from headrace.storage.recovery import Recovery, recover
from headrace.storage.segment import Damage
from headrace.storage.tallies import ALWAYS, DIMENSIONS, Dimension, Places, Tally, tallies
from headrace.storage.traffic import Came, traffic
from headrace.storage.treasury import AccountRow, Alert, Fenced, Treasury, Unknown
from headrace.storage.treasury import opened as opened_treasury
from headrace.storage.usagelog import UsageLog, UsageLogSettings

__all__ = [
    "ALWAYS",
    "COLUMNS",
    "DIMENSIONS",
    "LINEAGE_MAX",
    "WORKERS_MAX",
    "AccountRow",
    "Alert",
    "AttemptRow",
    "BankLink",
    "Came",
    "Commons",
    "Damage",
    "DataFolder",
    "Difference",
    "Dimension",
    "Exported",
    "Fenced",
    "FileLock",
    "HourRow",
    "JournalEntry",
    "KeyRing",
    "KeyStore",
    "Layout",
    "Loaded",
    "Places",
    "PostgresBudgets",
    "PriceSet",
    "Rated",
    "Recovery",
    "SqliteBudgets",
    "Tally",
    "Treasury",
    "Unknown",
    "UsageLog",
    "UsageLogSettings",
    "UsageRow",
    "Webhook",
    "attempted",
    "audit",
    "balances",
    "cards",
    "connect",
    "decision_of",
    "development_key",
    "enter",
    "entries",
    "exported",
    "head",
    "invoices",
    "issue",
    "key_names",
    "load_once",
    "make_folder",
    "opened_treasury",
    "organizations",
    "owned",
    "price_sets",
    "rated",
    "records_of",
    "recover",
    "set_price",
    "tallies",
    "traffic",
    "usage_by",
    "usage_by_hour",
    "verify",
]
