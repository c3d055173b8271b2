"""Requests as they came, for whoever wants to play them again: when, for what, in which class, how long."""

import sqlite3
from collections.abc import Iterator

import msgspec

from headrace.core.clock import Moment

ENDED = 3
"""States from here on are of attempts whose usage is known, or estimated."""


class Came(msgspec.Struct, frozen=True, gc=False):
    """One request whose usage is known."""

    at: Moment
    tenant: str
    model: str
    traffic_class: str
    tokens_in: int
    tokens_out: int


def traffic(database: sqlite3.Connection) -> Iterator[Came]:
    """All chat that was answered, in the order of its coming; of a request that was tried more than once, the try that answered."""
    rows = database.execute(
        """
        SELECT admitted, organization || '/' || project, model, class,
            uncached + cache_read + cache_write + cache_write_30m + cache_write_1h + cache_write_12h, output + reasoning
        FROM attempt JOIN label ON label.id = attempt.label
        WHERE state >= ? AND operation = 'chat' AND output + reasoning > 0
        ORDER BY admitted
        """,
        (ENDED,),
    )
    return (Came(*row) for row in rows)
