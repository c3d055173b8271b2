"""Hands that keep: the usage log, its recovery, the SQLite database, its loader and queries, keys, and the data folder."""

from headrace.storage.commons import WORKERS_MAX, Commons
from headrace.storage.database import connect
from headrace.storage.decisions import AttemptRow, decision_of
from headrace.storage.folder import DataFolder, FileLock, Layout, development_key, make_folder
from headrace.storage.keys import KeyRing, KeyStore
from headrace.storage.loading import Loaded, load_once
from headrace.storage.queries import DIMENSIONS, Difference, Dimension, UsageRow, balances, key_names, usage_by, verify
from headrace.storage.recovery import Recovery, recover
from headrace.storage.runlog import Entry, RunLog, read_run
from headrace.storage.segment import Damage
from headrace.storage.usagelog import UsageLog, UsageLogSettings

__all__ = [
    "DIMENSIONS",
    "WORKERS_MAX",
    "AttemptRow",
    "Commons",
    "Damage",
    "DataFolder",
    "Difference",
    "Dimension",
    "Entry",
    "FileLock",
    "KeyRing",
    "KeyStore",
    "Layout",
    "Loaded",
    "Recovery",
    "RunLog",
    "UsageLog",
    "UsageLogSettings",
    "UsageRow",
    "balances",
    "connect",
    "decision_of",
    "development_key",
    "key_names",
    "load_once",
    "make_folder",
    "read_run",
    "recover",
    "usage_by",
    "verify",
]
