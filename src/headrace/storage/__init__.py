"""Hands that keep: the usage log, its recovery, the SQLite database, its loader and queries, keys, and the data folder."""

from headrace.storage.attempts import records_of
from headrace.storage.banklink import BankLink
from headrace.storage.bankwords import Webhook
from headrace.storage.budgets_postgres import PostgresBudgets
from headrace.storage.budgets_sqlite import SqliteBudgets
from headrace.storage.commons import WORKERS_MAX, Commons
from headrace.storage.database import connect
from headrace.storage.decisions import AttemptRow, decision_of
from headrace.storage.folder import DataFolder, FileLock, Layout, development_key, make_folder
from headrace.storage.hourly import HourRow, usage_by_hour
from headrace.storage.keys import LINEAGE_MAX, KeyRing, KeyStore
from headrace.storage.loading import Loaded, load_once
from headrace.storage.queries import DIMENSIONS, Difference, Dimension, UsageRow, balances, key_names, usage_by, verify
from headrace.storage.recovery import Recovery, recover
from headrace.storage.segment import Damage
from headrace.storage.traffic import Came, traffic
from headrace.storage.treasury import AccountRow, Alert, Fenced, Treasury, Unknown
from headrace.storage.treasury import opened as opened_treasury
from headrace.storage.usagelog import UsageLog, UsageLogSettings

__all__ = [
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
    "Fenced",
    "FileLock",
    "HourRow",
    "KeyRing",
    "KeyStore",
    "Layout",
    "Loaded",
    "PostgresBudgets",
    "Recovery",
    "SqliteBudgets",
    "Treasury",
    "Unknown",
    "UsageLog",
    "UsageLogSettings",
    "UsageRow",
    "Webhook",
    "balances",
    "connect",
    "decision_of",
    "development_key",
    "key_names",
    "load_once",
    "make_folder",
    "opened_treasury",
    "records_of",
    "recover",
    "traffic",
    "usage_by",
    "usage_by_hour",
    "verify",
]
