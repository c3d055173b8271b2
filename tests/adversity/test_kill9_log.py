"""kill -9 at random moments, of the server's log and of its loader: nothing is lost, nothing is doubled.

A process admits and settles as fast as it can, and tells us over a pipe what it is about to do and what it has done: our own count.
It is killed, again and again, and so is a loader that follows it. After each recovery the database must hold all that was done, and
nothing that was never begun; what was begun and not told as done may be either way, as it is with any log. `KILL9_SEED=…` tries another
seed.
"""

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from headrace.storage import Layout, UsageLog, UsageLogSettings, balances, connect, load_once, make_folder, recover, usage_by, verify

ROUNDS = 24
BOUND_PICO = 10_000_000

WRITER = """
import os, sys, time
from pathlib import Path
from random import Random
from headrace.core.usage import Usage
from headrace.metering import Admit, Settle, Void
from headrace.storage import UsageLog, UsageLogSettings

class Clock:
    instant = staticmethod(time.monotonic_ns)
    moment = staticmethod(time.time_ns)

usage, start, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
rng = Random(seed)
settings = UsageLogSettings(segment_size_max=256 * 1024)
log = UsageLog(usage, clock=Clock(), pid=os.getpid(), process="writer", settings=settings, mapped=rng.random() < 0.7)
tell = lambda text: os.write(1, text.encode())
running = []
number = start
while True:
    tell(f"admitting {number}\\n")
    owner = ("acme", "demo", "key_1", "batch")
    admit = Admit(f"req_{number:012d}", 0, time.time_ns(), *owner, "chat", "m", "p", False, Usage(9), 10_000_000, "m@1")
    log.append(admit)
    tell(f"admitted {number}\\n")
    running.append((number, admit))
    number += 1
    while len(running) > 20 or (running and rng.random() < 0.4):
        ended, admit = running.pop(rng.randrange(len(running)))
        if rng.random() < 0.1:
            tell(f"voiding {ended}\\n")
            log.append(Void(admit, time.time_ns(), "refused"))
            tell(f"voided {ended}\\n")
        else:
            tell(f"settling {ended}\\n")
            log.append(Settle(admit, time.time_ns(), Usage(ended), ended, "confirmed", "completed", None, 1))
            tell(f"settled {ended}\\n")
    if rng.random() < 0.01:
        log.sync()
"""


class Clock:
    def instant(self) -> int:
        return time.monotonic_ns()

    def moment(self) -> int:
        return time.time_ns()


def spawn(*arguments: object, stdin: int | None = None, stdout: int | None = None) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, *map(str, arguments)], stdin=stdin, stdout=stdout, env=environment)


class Writer:
    """A process that writes; what it told before it was killed is in `told`: a line that was cut is not told."""

    def __init__(self, layout: Layout, first: int, rng: Random) -> None:
        self.process = spawn("-c", WRITER, layout.usage, first, rng.randrange(10**9), stdout=subprocess.PIPE)
        self._said = b""
        self.told: list[tuple[str, int]] = []

    def hear(self, wait_s: float) -> bool:
        """Take in what it says within this time; False when that was nothing."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], wait_s)[0]:
            return False
        self._said += os.read(self.process.stdout.fileno(), 1 << 16)
        assert self.process.poll() is None
        return True

    def kill(self) -> int:
        """Kill it; return its id."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self._said += self.process.stdout.read()
        self.process.stdout.close()
        lines = self._said.decode().split("\n")[:-1]
        self.told = [(word, int(number)) for word, number in (line.split() for line in lines)]
        return self.process.pid


def write_until_killed(layout: Layout, first: int, rng: Random) -> list[tuple[str, int]]:
    writer = Writer(layout, first, rng)
    while not writer.hear(0.005):
        pass
    ends_at = time.monotonic() + rng.uniform(0.0, 0.12)
    while time.monotonic() < ends_at:
        writer.hear(0.005)
    writer.kill()
    return writer.told


def kill_a_loader(layout: Layout, rng: Random) -> None:
    loader = spawn("-m", "headrace.storage.loader", layout.root, stdin=subprocess.PIPE)
    time.sleep(rng.uniform(0.08, 0.25))
    loader.kill()
    loader.wait()
    assert loader.stdin is not None
    loader.stdin.close()


def recover_here(layout: Layout, pid: int, pids: set[int] | None = None) -> int:
    """What a starting server does, or one of whose workers the one of `pids` has died."""
    log = UsageLog(layout.usage, clock=Clock(), pid=pid, process="recovery", settings=UsageLogSettings())
    found = recover(layout.usage, log, time.time_ns(), pids=pids)
    assert not [damage for damage in found.damages if not damage.torn]
    log.close()
    return len(found.lost)


def expected_states(told: list[tuple[str, int]]) -> dict[int, set[str]]:
    """Which states each attempt may be in, by our own count."""
    may: dict[int, set[str]] = {}
    for word, number in told:
        match word:
            case "admitting":
                may[number] = {"absent", "lost"}
            case "admitted":
                may[number] = {"lost"}
            case "settling":
                may[number] = {"lost", "confirmed"}
            case "voiding":
                may[number] = {"lost", "void"}
            case "settled":
                may[number] = {"confirmed"}
            case _:
                may[number] = {"void"}
    return may


def test_kill_9_loses_nothing_and_doubles_nothing(tmp_path: Path):
    seed = int(os.environ.get("KILL9_SEED") or 0)
    rng, layout = Random(seed), make_folder(tmp_path / "data")
    told: list[tuple[str, int]] = []
    lost = 0
    for round_number in range(ROUNDS):
        first = max((number for _, number in told), default=0) + 1
        told += write_until_killed(layout, first, rng)
        if round_number % 4 == 0:
            kill_a_loader(layout, rng)
        if round_number % 3:
            lost += recover_here(layout, round_number + 1)
        if round_number % 5 == 0:
            load_once(layout, os.getpid())
    lost += recover_here(layout, 10**6)
    assert recover_here(layout, 10**6 + 1) == 0
    load_once(layout, os.getpid())

    check(layout, told, lost, ROUNDS)


def test_kill_9_of_one_of_several_workers(tmp_path: Path):
    """They write and one loader follows all of them; when one dies its log is recovered while the others go on."""
    seed = int(os.environ.get("KILL9_SEED") or 0)
    rng, layout = Random(seed), make_folder(tmp_path / "data")
    loader = spawn("-m", "headrace.storage", layout.root, stdin=subprocess.PIPE)
    first, told, lost = 0, list[tuple[str, int]](), 0
    workers: list[Writer] = []
    for round_number in range(12):
        while len(workers) < 3:
            workers.append(Writer(layout, first, rng))
            first += 10**6
        ends_at = time.monotonic() + rng.uniform(0.1, 0.4)
        while time.monotonic() < ends_at:
            for worker in workers:
                worker.hear(0.01)
        dead = workers.pop(rng.randrange(len(workers)))
        pid = dead.kill()
        told += dead.told
        lost += recover_here(layout, 10**6 + round_number, rng.choice([{pid}, None]))
    for worker in workers:
        worker.kill()
        told += worker.told
    assert loader.stdin is not None
    loader.stdin.close()
    assert loader.wait() == 0
    lost += recover_here(layout, 10**7)
    load_once(layout, os.getpid())
    check(layout, told, lost, 12)


def check(layout: Layout, told: list[tuple[str, int]], lost: int, at_least: int) -> None:
    """The database against our own count."""
    may = expected_states(told)
    assert len(may) > at_least
    database = connect(layout.database)
    found = {int(request[4:]): (state, cost) for request, state, cost in database.execute("SELECT request, state, cost_pico FROM usage")}
    assert {number: found.get(number, ("absent", None))[0] in allowed for number, allowed in may.items()} == dict.fromkeys(may, True)
    assert set(found) <= set(may)
    for number, (state, cost) in found.items():
        assert cost == {"confirmed": number, "lost": BOUND_PICO, "void": None}[state]
    assert lost == sum(state == "lost" for state, _ in found.values())
    owed = sum(cost or 0 for _, cost in found.values())
    assert balances(database)["customer:acme/demo"] == owed
    (row,) = usage_by(database, ())
    assert (row.cost_pico, row.held) == (owed, 0)
    assert verify(database, layout.usage) == []
    database.close()
