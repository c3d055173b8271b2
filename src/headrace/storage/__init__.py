"""Hands that keep: the usage log, its recovery, the SQLite database, its loader and queries, keys, and the data folder."""

from headrace.storage.archive import Archive
from headrace.storage.commons import WORKERS_MAX, Commons
from headrace.storage.conversations import (
    Conversation,
    add_items,
    conversation_of,
    drop_conversation,
    drop_item,
    items_of,
    keep_conversation,
)
from headrace.storage.database import connect
from headrace.storage.decisions import AttemptRow, decision_of
from headrace.storage.folder import DataFolder, FileLock, Layout, development_key, make_folder
from headrace.storage.keys import KeyRing, KeyStore
from headrace.storage.loading import Loaded, load_once
from headrace.storage.queries import DIMENSIONS, Difference, Dimension, UsageRow, balances, key_names, usage_by, verify
from headrace.storage.recovery import Recovery, recover
from headrace.storage.responses import (
    StoredEvent,
    StoredResponse,
    bury_responses,
    cancel_response,
    context_of,
    drop_response,
    events_after,
    keep_events,
    keep_response,
    response_of,
    sweep_responses,
)
from headrace.storage.segment import Damage
from headrace.storage.usagelog import UsageLog, UsageLogSettings

__all__ = [
    "DIMENSIONS",
    "WORKERS_MAX",
    "Archive",
    "AttemptRow",
    "Commons",
    "Conversation",
    "Damage",
    "DataFolder",
    "Difference",
    "Dimension",
    "FileLock",
    "KeyRing",
    "KeyStore",
    "Layout",
    "Loaded",
    "Recovery",
    "StoredEvent",
    "StoredResponse",
    "UsageLog",
    "UsageLogSettings",
    "UsageRow",
    "add_items",
    "balances",
    "bury_responses",
    "cancel_response",
    "connect",
    "context_of",
    "conversation_of",
    "decision_of",
    "development_key",
    "drop_conversation",
    "drop_item",
    "drop_response",
    "events_after",
    "items_of",
    "keep_conversation",
    "keep_events",
    "keep_response",
    "key_names",
    "load_once",
    "make_folder",
    "recover",
    "response_of",
    "sweep_responses",
    "usage_by",
    "verify",
]
