"""The processes that work on what is kept, of all hosts, and what becomes of their work when they die.

Each says again and again that it lives, by moving a count. Whoever sees a count stand still for as long as `GONE`, by his own clock, takes
its process to be dead: so clocks need not agree, and a database that nobody could reach makes nobody dead. What a dead one worked on is
lost (what it had taken of a batch, or under an Idempotency-Key), has failed (a response in the background), or is taken up by another (the
rest of a batch). One that was taken to be dead and is not finds its work gone from it, and ends it.
"""

from collections.abc import Mapping
from typing import Final

from headrace.core.clock import SECOND, Instant
from headrace.storage.batches import desert_batches
from headrace.storage.database import Database, transaction
from headrace.storage.once import lose_once
from headrace.storage.responses import fail_responses

BEAT_S: Final = 3.0
GONE: Final = 15 * SECOND
_ALL: Final = "runners"


def beat(database: Database, runner: str, host: str) -> dict[str, int]:
    """Say that `runner` lives, and hear the counts of all the others."""
    moved = database.execute("UPDATE runner SET beat = beat + 1 WHERE id = ?", (runner,)).rowcount
    if not moved:
        with transaction(database, _ALL):
            database.execute("INSERT INTO runner (id, host, beat) VALUES (?, ?, 0)", (runner, host))
    return {id: count for id, count in database.execute("SELECT id, beat FROM runner") if id != runner}


def bury(database: Database, runner: str) -> None:
    """It works on nothing any more, for it is dead or has ended."""
    with transaction(database, _ALL):
        database.execute("DELETE FROM runner WHERE id = ?", (runner,))
    bury_work(database)


def bury_host(database: Database, host: str) -> None:
    """None of a host's processes works on anything: it starts."""
    with transaction(database, _ALL):
        database.execute("DELETE FROM runner WHERE host = ?", (host,))
    bury_work(database)


def bury_work(database: Database) -> None:
    """What nobody works on who lives."""
    with transaction(database, _ALL):
        lose_once(database)
    fail_responses(database)
    desert_batches(database)


class Vigil:
    """What one process has seen of the counts of others, and when."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, Instant]] = {}

    def look(self, counts: Mapping[str, int], now: Instant) -> list[str]:
        """Those that have stood still for too long."""
        for gone in self._seen.keys() - counts.keys():
            del self._seen[gone]
        for runner, count in counts.items():
            if self._seen.get(runner, (None, 0))[0] != count:
                self._seen[runner] = count, now
        return [runner for runner, (_, since) in self._seen.items() if now - since > GONE]

    def blink(self) -> None:
        """Nothing could be seen for a while: it begins anew."""
        self._seen.clear()
