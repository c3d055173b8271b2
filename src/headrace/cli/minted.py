"""A key of its own for an agent that runs beside us: good for as long as that runs, and revoked at once when it ends, however it does.

minted for LEASE_S ─► prolonged by LEASE_S every RENEW_S while it runs ─► revoked
                                  ╰─ who is killed with -9 revokes nothing: it ends by itself, LEASE_S after it was last prolonged
"""

import asyncio
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

import click

from headrace.cli.client import Client
from headrace.core.errors import HeadraceError

LEASE_S = 120
RENEW_S = 30
ANSWER_S = 10
"""So long a server may take to prolong or revoke it."""
ENDED_BY = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def minted_key(client: Client, wish: Mapping[str, object]) -> Iterator[Mapping[str, str]]:
    """A key minted from the client's as is wished, until the block ends; also where the terminal is closed or something stops us."""
    with _ending_by_signals():
        minted = client.post("/keys", {**wish, "expires_in_s": LEASE_S})
        try:
            yield minted
        finally:
            _revoke(client, minted["id"])


async def keep_good(client: Client, minted: Mapping[str, str], every_s: float = RENEW_S) -> None:
    """Prolong it until cancelled. A server that is away for a while finds it again as long as it is not over, and after."""
    while True:
        await asyncio.sleep(every_s)
        with suppress(HeadraceError):
            await asyncio.to_thread(client.within(ANSWER_S).post, f"/keys/{minted['id']}", {"expires_in_s": LEASE_S})


def _revoke(client: Client, id: str) -> None:
    try:
        client.within(ANSWER_S).delete(f"/keys/{id}")
    except HeadraceError as why:
        click.secho(f"Its key could not be revoked ({why.message}); it ends by itself within {LEASE_S} seconds.", fg="yellow", err=True)


@contextmanager
def _ending_by_signals() -> Iterator[None]:
    """What would end us at once ends us in order. What we were begun to ignore (`nohup`) is ignored still."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = {each: signal.signal(each, end) for each in ENDED_BY if signal.getsignal(each) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
