"""What exists, as immutable values."""

from headrace.portfolio.pools import Dialect, ModelProfile, Pool, Snapshot, snapshot

__all__ = ["Dialect", "ModelProfile", "Pool", "Snapshot", "snapshot"]
