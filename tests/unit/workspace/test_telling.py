"""Who tells addresses outside what has happened, while the database is away."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from headrace.core.errors import StoreUnreachable
from headrace.storage import Subscriber, Telling, claim_telling, due_tellings
from headrace.testing.clock import TurnedClock
from headrace.workspace.telling import Teller

ONE = (
    Telling(id="msg_1", subscriber="whk_1", kind="test", body=b"{}", created=0),
    Subscriber(id="whk_1", owner="", url="", secret="", created=0),
)


class Away:
    """A database that tells what is due, and keeps nothing."""

    def __init__(self, why: Exception) -> None:
        self.why, self.looks = why, 0

    async def run(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        if work is due_tellings:
            self.looks += 1
            return [ONE]
        assert work is claim_telling
        raise self.why


@pytest.mark.parametrize("why", [sqlite3.OperationalError("disk I/O error"), StoreUnreachable("It is away."), RuntimeError("ours")])
async def test_a_database_that_is_away_ends_nobody_who_tells(why):
    keeps = Away(why)
    teller = Teller(keeps, TurnedClock(), lambda: False, logging.getLogger("told"))
    async with asyncio.timeout(5):
        telling = asyncio.create_task(teller.keep_telling())
        while keeps.looks < 3 and not telling.done():
            teller.ring()
            await asyncio.sleep(0)
    assert not telling.done()
    telling.cancel()
