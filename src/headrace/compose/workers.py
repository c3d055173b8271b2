"""Several processes that serve as one: `headrace serve --workers N`.

The first process holds the data folder, runs the loader, and starts the workers, each of which listens at the same address
(SO_REUSEPORT): the system deals the connections out. What must be one is one: limits of keys, room and health of pools are shared in
`Commons`, usage goes into one folder by one loader. A worker that dies is started again, and what it had open is booked as held.
"""

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import msgspec

from headrace.compose.banking import BankProcess
from headrace.compose.clock import MachineClock
from headrace.compose.opening import House, bury
from headrace.compose.reports import SHARED
from headrace.core.clock import SECOND
from headrace.core.errors import HeadraceError, SetupError
from headrace.storage import Commons

log = logging.getLogger("headrace")
LOADING_S = 60.0
DEATHS_MAX = 5
DEATHS_WITHIN = 30 * SECOND
"""So many deaths of workers in so short a time are a fault that starting them again does not mend."""

ENGINES = -1
"""The number, beside the workers', of the process that runs the embedded engines."""

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Life = Callable[["Worker"], None]
Hosting = Callable[[int], None]
Tell = Callable[[House, socket.socket, tuple[str, ...]], None]


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """One worker as it knows itself. `lifeline` becomes readable when the first process is gone."""

    number: int
    port: int
    commons: Commons
    lifeline: int
    speaking: int

    def ready(self, models: tuple[str, ...]) -> None:
        """Tell the first process that this one serves."""
        os.write(self.speaking, msgspec.json.encode(models) + b"\n")


class _Family:
    """The workers that live, by process id."""

    def __init__(self, house: House, held: socket.socket, count: int, life: Life, hosting: Hosting, loader: int, bank: BankProcess) -> None:
        self._loader, self._bank = loader, bank
        self._house, self._held, self._count, self._life, self._hosting = house, held, count, life, hosting
        self._port = held.getsockname()[1]
        self._path = house.layout.commons
        for left in (self._path, *house.layout.root.glob(f"{SHARED}*")):
            left.unlink(missing_ok=True)
        self.commons = Commons(self._path, 0, count)
        self.lifeline, self._held_end = os.pipe()
        self.hearing, self._speaking = os.pipe()
        self.living: dict[int, int] = {}

    def start(self, number: int) -> None:
        """Start one. It leaves this function only by ending its process."""
        sys.stdout.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)  # until the child has handlers of its own, which would miss what comes before
        pid = os.fork()
        if pid:
            self.living[pid] = number
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            return
        status = 1
        try:
            os.setsid()  # a terminal's Ctrl-C is for the first process, which passes it on once
            for each in (self._held_end, self.hearing, self._loader, self._bank.pipe):  # what is open in a child outlives the first process
                if each is not None:
                    os.close(each)
            signal.set_wakeup_fd(-1)
            for signum in HANDLED:
                signal.signal(signum, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            if number == ENGINES:
                self._hosting(self.lifeline)
            else:
                self._life(
                    Worker(
                        number=number,
                        port=self._port,
                        commons=Commons(self._path, number, self._count),
                        lifeline=self.lifeline,
                        speaking=self._speaking,
                    )
                )
            status = 0
        except HeadraceError as error:
            log.error("%s can't serve: %s", _called(number), error)  # noqa: TRY400 -- the sentence says it all
        except BaseException:
            log.exception("%s broke", _called(number))
        finally:
            os._exit(status)

    def reap(self) -> list[tuple[int, int]]:
        """Those that have ended: number and status."""
        ended: list[tuple[int, int]] = []
        for pid, number in tuple(self.living.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self.living[pid]
                if number != ENGINES:
                    self.commons.bury(number)
                ended.append((number, os.waitstatus_to_exitcode(status)))
        return ended

    def tell(self, number: int) -> None:
        """Pass a signal on to all of them."""
        for pid in self.living:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def _called(number: int) -> str:
    return "the process of the engines" if number == ENGINES else f"worker {number}"


def supervise(house: House, held: socket.socket, count: int, life: Life, hosting: Hosting, tell: Tell) -> None:
    """Run `count` workers until a signal, and return when all have ended; where there are local pools, `hosting` is the life of the
    process that runs their engines, given its lifeline. Raises SetupError when they can't be kept alive."""
    bank = BankProcess(house.layout, house.settings.storage.url, house.clock, lambda: bool(house.settings.budget))
    with _signals() as (heard, asked), _loader(house) as loader, contextlib.ExitStack() as closing:
        closing.callback(bank.finish)
        bank.look()
        family = _Family(house, held, count, life, hosting, loader, bank)
        for number in (*([ENGINES] if house.local else []), *range(count)):
            family.start(number)
        deaths: list[int] = []
        stopping, ready = False, 0
        failure: SetupError | None = None
        while family.living:
            bank.look()
            readable, _, _ = select.select([heard, *([family.hearing] if ready < count else [])], [], [], 1.0)
            if heard in readable:
                with suppress(BlockingIOError):
                    os.read(heard, 64)
            if family.hearing in readable:
                for line in os.read(family.hearing, 65_536).splitlines():
                    ready += 1
                    if ready == count:
                        tell(house, held, tuple(msgspec.json.decode(line, type=list[str])))
            for number in _taken(asked):
                stopping = stopping or number != signal.SIGHUP
                family.tell(number)
            for number, status in family.reap():
                if stopping:
                    continue
                log.error("%s ended with status %d; it is started again", _called(number), status)
                failure = _too_many(deaths, house.clock)
                if failure is not None or ready < count:
                    failure = failure or SetupError(f"{_called(number)} ended before it could serve: the log says why")
                    stopping = True
                    family.tell(signal.SIGTERM)
                    continue
                bury(house.layout, house.clock, house.names, house.settings)
                family.start(number)
        bury(house.layout, house.clock, house.names, house.settings)
        if failure is not None:
            raise failure


def _too_many(deaths: list[int], clock: MachineClock) -> SetupError | None:
    now = clock.instant()
    deaths[:] = [*(death for death in deaths if now - death < DEATHS_WITHIN), now]
    if len(deaths) <= DEATHS_MAX:
        return None
    return SetupError(f"{len(deaths)} workers died within {DEATHS_WITHIN // SECOND} s: the log says why")


@contextmanager
def _signals() -> Iterator[tuple[int, list[int]]]:
    """What wakes the first process: its own signals, and those of its children's deaths."""
    asked: list[int] = []
    heard, waking = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(waking, False)
    signal.set_wakeup_fd(waking)
    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in handled:
        signal.signal(number, lambda each, _: asked.append(each))
    signal.signal(signal.SIGCHLD, lambda each, _: None)
    try:
        yield heard, asked
    finally:
        signal.set_wakeup_fd(-1)
        for number in (*handled, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.close(heard)
        os.close(waking)


def _taken(asked: list[int]) -> list[int]:
    taken, asked[:] = list(asked), []
    return taken


@contextmanager
def _loader(house: House) -> Iterator[int]:
    """The process that loads the usage log, by our end of its standard input: when that closes, it ends."""
    command = [sys.executable, "-m", "headrace.storage", str(house.layout.root), str(house.settings.storage.sync_interval_ms)]
    loader = subprocess.Popen(command, stdin=subprocess.PIPE)  # noqa: S603 -- our own program
    assert loader.stdin is not None
    try:
        yield loader.stdin.fileno()
    finally:
        loader.stdin.close()
        try:
            loader.wait(LOADING_S)
        except subprocess.TimeoutExpired:
            log.warning("the usage loader is far behind: what is left is loaded by the next start, or by `headrace usage`")
            loader.kill()
            loader.wait()
