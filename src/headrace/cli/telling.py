"""What runs of the terminal tell to webhooks: written into the data folder's database, and told at once as far as anybody hears."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from headrace.agents.events import Event
from headrace.compose import Place
from headrace.compose.clock import MachineClock
from headrace.core.errors import HeadraceError
from headrace.core.money import usd
from headrace.storage import ThreadState
from headrace.workspace import Teller, happened, scheduled

Given = ParamSpec("Given")
Got = TypeVar("Got")
NOBODYS = ""
"""Who owns what is done at the terminal: only webhooks that are told of everybody's runs hear of it."""


class Here:
    """The database, in this thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    async def run(self, work: Callable[Concatenate[sqlite3.Connection, Given], Got], *given: Given.args, **named: Given.kwargs) -> Got:
        return work(self._database, *given, **named)


def teller_of(place: Place, database: sqlite3.Connection) -> Teller:
    """Whoever tells, for a command."""
    private = place.settings().agents.private_networks
    return Teller(Here(database), MachineClock(), lambda: private, logging.getLogger("headrace"))


def tell_run(
    place: Place,
    database: sqlite3.Connection,
    run: str,
    about: dict[str, Any],
    events: Sequence[Event],
    state: ThreadState,
    why: HeadraceError | None,
) -> None:
    """A run has come to a stand. `about` says which; with a `schedule` in it, it is told as that one's."""
    found = happened(events, state, why)
    if found is None:
        return
    kind, more = found
    if "schedule" in about:
        kind = scheduled(kind)
    asyncio.run(_tell(teller_of(place, database), kind, f"{run}_{len(events)}_{state}", {"run": run, **about, **more}))


def tell_skipped(place: Place, database: sqlite3.Connection, schedule: str, moments: Sequence[int]) -> None:
    """Nobody watched when a schedule was due."""
    asyncio.run(_skipped(teller_of(place, database), schedule, moments))


def tell_due(place: Place, database: sqlite3.Connection) -> None:
    """Tell what is due by now."""
    asyncio.run(_due(teller_of(place, database)))


def used(tokens: int, pico_usd: int) -> dict[str, Any]:
    return {"cost_usd": usd(pico_usd), "tokens": tokens}


async def _tell(teller: Teller, kind: str, happening: str, told: dict[str, Any]) -> None:
    if await teller.write(NOBODYS, kind, happening, told):
        await teller.tell_due()


async def _skipped(teller: Teller, schedule: str, moments: Sequence[int]) -> None:
    await teller.skipped(NOBODYS, schedule, moments)
    await teller.tell_due()


async def _due(teller: Teller) -> None:
    await teller.tell_due()
