"""Hands that keep: the usage log, its recovery, the SQLite database, its loader and queries, keys, and the data folder."""

from headrace.storage.audit import audit, head
from headrace.storage.commons import WORKERS_MAX, Commons
from headrace.storage.database import connect
from headrace.storage.decisions import AttemptRow, decision_of
from headrace.storage.export import COLUMNS, Exported, exported
from headrace.storage.finance import Rated, attempted, cards, organizations, owned, rated
from headrace.storage.folder import DataFolder, FileLock, Layout, development_key, make_folder
from headrace.storage.journal import JournalEntry, enter, entries, invoices, issue
from headrace.storage.keys import KeyRing, KeyStore
from headrace.storage.loading import Loaded, load_once
from headrace.storage.pricesets import PriceSet, price_sets, set_price
from headrace.storage.queries import Difference, UsageRow, balances, key_names, usage_by, verify
from headrace.storage.recovery import Recovery, recover
from headrace.storage.segment import Damage
from headrace.storage.tallies import ALWAYS, DIMENSIONS, Dimension, Places, Tally, tallies
from headrace.storage.usagelog import UsageLog, UsageLogSettings

__all__ = [
    "ALWAYS",
    "COLUMNS",
    "DIMENSIONS",
    "WORKERS_MAX",
    "AttemptRow",
    "Commons",
    "Damage",
    "DataFolder",
    "Difference",
    "Dimension",
    "Exported",
    "FileLock",
    "JournalEntry",
    "KeyRing",
    "KeyStore",
    "Layout",
    "Loaded",
    "Places",
    "PriceSet",
    "Rated",
    "Recovery",
    "Tally",
    "UsageLog",
    "UsageLogSettings",
    "UsageRow",
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
    "organizations",
    "owned",
    "price_sets",
    "rated",
    "recover",
    "set_price",
    "tallies",
    "usage_by",
    "verify",
]
