"""The process that leases budgets to the workers of one host: `python -m headrace.storage.bank DATA_FOLDER`. The first line
of its standard input is the address of a PostgreSQL, or empty.

It alone opens the store, holds nothing that is not in it, and so may die at any point: workers spend what they have in hand and come back
to the next one. A worker whose usage log nobody holds any more is dead, and its end is booked from that log. The server keeps a pipe to
its standard input; when that closes, it ends.
"""

import asyncio
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Final

from headrace.core.clock import Moment
from headrace.core.errors import HeadraceError
from headrace.metering import AccountOpening
from headrace.storage.alerts import deliver
from headrace.storage.bankwords import (
    Answered,
    Asked,
    Beat,
    Down,
    FencedOff,
    Hello,
    Lent,
    Noted,
    Open,
    Opened,
    Recall,
    Rules,
    RulesAre,
    Webhook,
    Welcome,
    decode_asked,
    framed,
    payload_from,
)
from headrace.storage.budgets_postgres import PostgresBudgets
from headrace.storage.budgets_sqlite import SqliteBudgets
from headrace.storage.folder import FileLock, Layout, host_id, make_folder, short_path
from headrace.storage.recovery import is_held
from headrace.storage.treasury import Alert, Database, Fenced, Treasury, Unknown
from headrace.storage.usagemark import Mark, left_after

TICK_S: Final = 0.5
LOCK_S: Final = 0.05
HOST_DEAD_S: Final = 15
BUFFER_MAX: Final = 4 * 1024 * 1024
STDIN: Final = 0


class Client:
    """One connection of a worker."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer, self.epoch, self.process = writer, 0, ""
        self.accounts: set[int] = set()

    def send(self, message: Answered) -> None:
        if self.writer.transport.get_write_buffer_size() < BUFFER_MAX:  # who does not read is stopped, and asks again when it goes on
            self.writer.write(framed(message))


class Bank:
    """The treasury, for the workers that are connected. `moment` is the clock."""

    def __init__(self, treasury: Treasury, layout: Layout, moment: Callable[[], Moment]) -> None:
        self._treasury, self._layout, self._moment = treasury, layout, moment
        self._host = host_id(layout, f"host_{moment():x}_{os.getpid()}_{os.stat(layout.root).st_ino}")
        self._clients: set[Client] = set()
        self._version, self._hosts = "", 1
        self._webhook: Webhook | None = None
        self.news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One worker, until it goes."""
        client = Client(writer)
        self._clients.add(client)
        try:
            while True:
                client.send(self._answer(client, decode_asked(await payload_from(reader))))
                await writer.drain()
        except (EOFError, ConnectionError):
            pass
        finally:
            self._clients.discard(client)
            writer.close()
            self.news.set()

    def _answer(self, client: Client, asked: Asked) -> Answered:
        try:
            return self._answered(client, asked)
        except Fenced:
            return FencedOff()
        except HeadraceError as why:
            return Down(why.message)

    def _answered(self, client: Client, asked: Asked) -> Answered:
        match asked:
            case Hello(process=process, pid=pid, segment=segment):
                client.epoch = self._treasury.open_holder(process, self._host, pid, segment, self._moment())
                client.process = process
                return Welcome(client.epoch)
            case Open(openings=openings):
                return Opened(tuple(self._opened(client, opening) for opening in openings))
            case Beat():
                return self._beat(client, asked)
            case Rules():
                return self._rules()
            case Webhook():
                self._webhook = asked
                return Noted()

    def _opened(self, client: Client, opening: AccountOpening) -> tuple[int, int, int, int]:
        account = self._treasury.open_account(opening)
        lease = self._treasury.lease(client.epoch, account)
        return account, lease.granted, lease.returned, lease.settled

    def _beat(self, client: Client, beat: Beat) -> Answered:
        now = self._moment()
        tolds = self._treasury.beat(client.epoch, beat.mark, beat.saids, now)
        client.accounts.update(said.account for said in beat.saids)
        if beat.last:
            self._treasury.end_holder(client.epoch, now)
        short = {told.account for told in tolds if told.short}
        if short:
            for other in self._clients:
                if other is not client and (theirs := short & other.accounts):
                    other.send(Recall(tuple(theirs)))
        return Lent(tuple(tolds), self._version, self._hosts)

    def _rules(self) -> RulesAre:
        contents = tuple(self._treasury.rules().values())
        self._version = _version(contents)
        return RulesAre(contents, self._version)

    def tick(self) -> list[Alert]:
        """Book the ends of the dead, see which hosts live and which rules hold; returns the alerts that are due."""
        now = self._moment()
        self._rules()
        self._hosts = self._treasury.seen(self._host, now, HOST_DEAD_S)
        self._bury(now)
        return self._treasury.due_alerts(now) if self._webhook is not None else []

    def _bury(self, now: Moment) -> None:
        living = {client.epoch for client in self._clients}
        for holder in self._treasury.holders(self._host):
            if holder.epoch in living or is_held(self._layout.usage, holder.pid):
                continue
            left = left_after(self._layout.usage, holder.pid, holder.epoch, holder.mark)
            unknown = [Unknown(admit.request, admit.attempt, admit.accounts, admit.bound_pico or 0) for admit in left.open]
            self._treasury.end_holder(holder.epoch, now, left.paid, unknown)

    async def tell(self, alert: Alert) -> None:
        """One alert to the webhook, if no other host does."""
        webhook = self._webhook
        if webhook is None or not self._treasury.claim_alert(alert, self._moment()):
            return
        failure = await asyncio.to_thread(deliver, alert, webhook.url, webhook.secret, self._moment())
        self._treasury.alert_told(alert, self._moment(), failure)

    async def keep(self) -> None:
        """Look after what time brings; run it as a task."""
        complaint = ""
        while True:
            try:
                alerts = self.tick()
                complaint = ""
                for alert in alerts:
                    await self.tell(alert)
            except HeadraceError as why:
                if why.message != complaint:
                    sys.stderr.write(f"{why.message}\n")
                complaint = why.message
            self.news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self.news.wait()


def _version(contents: tuple[str, ...]) -> str:
    return blake2b("\0".join(contents).encode(), digest_size=8).hexdigest()


async def run(layout: Layout, database: Database, moment: Callable[[], Moment]) -> None:
    """Serve until standard input closes."""
    treasury = Treasury(database)
    bank = Bank(treasury, layout, moment)
    closed = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        if not os.read(STDIN, 4096):
            loop.remove_reader(STDIN)
            closed.set()

    loop.add_reader(STDIN, look)
    with socket.socket(socket.AF_UNIX) as listener:
        layout.bank.unlink(missing_ok=True)
        with short_path(layout.bank) as name:
            listener.bind(name)
        layout.bank.chmod(0o600)
        server = await asyncio.start_unix_server(bank.serve, sock=listener)
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(bank.keep())
            await closed.wait()
            server.close()
            keeping.cancel()
    with suppress(HeadraceError):
        bank.tick()  # whoever has ended by now is booked
    treasury.close()


def _first_line() -> str:
    """Not through a buffer, which would swallow what comes after it."""
    line = b""
    while (byte := os.read(STDIN, 1)) not in (b"", b"\n"):
        line += byte
    return line.decode()


def _is_closed(wait_s: float) -> bool:
    return bool(select.select([STDIN], [], [], wait_s)[0]) and not os.read(STDIN, 1)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m headrace.storage.bank DATA_FOLDER < PIPE\n")
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer; we end when it closes our pipe
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    from time import time_ns  # noqa: TID251 -- a process of its own has a clock of its own

    try:
        url = _first_line()
        layout = make_folder(Path(arguments[0]))
        lock = FileLock(layout.bank_lock)
        while not lock.take(os.getpid()):  # the one before is on its last breath
            if _is_closed(LOCK_S):
                return 0
        database: Database = PostgresBudgets(url) if url else SqliteBudgets(layout.budgets)
        asyncio.run(run(layout, database, time_ns))
    except (HeadraceError, OSError) as error:
        sys.stderr.write(f"the process of the budgets stopped: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


__all__ = ["Bank", "Mark", "main", "run"]
