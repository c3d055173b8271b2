"""What metering costs: admit and settle on the hot path, loading into SQLite, a usage report, and recovery after a crash.

    make bench-money [ARGS="--requests 200000"]

Every request goes the whole way: limits, price, bound, both records of the usage log; then the log is loaded, added up and checked. The
processor time is this process's own, so that what else runs on the machine counts little. The last line is one JSON object.
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from headrace.core.usage import Usage
from headrace.metering import Admit, Granted, Limiter, PriceBook, Settle, parse_prices, rate, rate_bound
from headrace.storage import (
    KeyRing,
    KeyStore,
    Layout,
    UsageLog,
    UsageLogSettings,
    balances,
    connect,
    load_once,
    make_folder,
    recover,
    usage_by,
    verify,
)

MODEL = "smollm2-135m-instruct"
BOUND, USED = Usage(2_000, output=500), Usage(900, cache_read=100, output=200)
REPEATS = 5


class Clock:
    def instant(self) -> int:
        return time.monotonic_ns()

    def moment(self) -> int:
        return time.time_ns()


class Till:
    """One key's way through metering, request by request."""

    def __init__(self, log: UsageLog) -> None:
        self.log, self.clock = log, Clock()
        shipped = parse_prices((files("headrace.metering") / "prices.toml").read_text(encoding="utf-8"))
        self.book = PriceBook(shipped)
        self.limiter = Limiter(requests_per_minute=10**9, tokens_per_minute=10**13, now=self.clock.instant())
        self.count = 0

    def request(self) -> None:
        clock, log = self.clock, self.log
        self.count += 1
        granted = self.limiter.take(clock.instant(), BOUND.total)
        moment = clock.moment()
        price = self.book.price_on(MODEL, moment)
        assert isinstance(granted, Granted)
        assert price is not None
        admit = Admit(
            f"req_{moment:016x}{self.count:08x}", 0, moment, "acme", f"project-{self.count % 20}", f"key_{self.count % 50:016d}",
            "enterprise", "chat", MODEL, "embedded", True, BOUND, rate_bound(BOUND, price), price.id,
        )  # fmt: skip
        log.append(admit)
        log.append(Settle(admit, clock.moment(), USED, rate(USED, price), "confirmed", "completed", 120, 900, "SmolLM2-135M-Instruct"))
        self.limiter.give_back(clock.instant(), BOUND.total - USED.total, granted)


def cpu_us(do: Callable[[], None], times: int) -> float:
    """Processor time of one call, in microseconds: the median of some runs."""
    runs: list[float] = []
    for _ in range(REPEATS):
        start = time.process_time_ns()
        for _ in range(times):
            do()
        runs.append((time.process_time_ns() - start) / times / 1_000)
    return sorted(runs)[REPEATS // 2]


def elapsed_s(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


async def synced_us(till: Till, times: int) -> float:
    """As `cpu_us`, with the group sync at work beside it: its thread's time is counted in."""
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(till.log.keep_synced())
        start = time.process_time_ns()
        for number in range(times):
            till.request()
            if number % 20 == 0:
                await asyncio.sleep(0)
        spent = time.process_time_ns() - start
        keeper.cancel()
    return spent / times / 1_000


def limiter_us() -> float:
    limiter = Limiter(requests_per_minute=10**9, tokens_per_minute=10**13, now=0)

    def once() -> None:
        granted = limiter.take(limiter._at + 1_000, 2_500)
        assert isinstance(granted, Granted)
        limiter.give_back(limiter._at, 1_300, granted)

    return cpu_us(once, 50_000)


def find_key_us(layout: Layout) -> float:
    database = connect(layout.database, durable=True)
    _, secret = KeyStore(database, layout).create(id="key_1", name="bench", organization="a", project="b", token=os.urandom(32), created=1)
    ring = KeyRing(database, layout)

    def once() -> None:
        ring.find(secret)

    spent = cpu_us(once, 50_000)
    ring.close()
    database.close()
    return spent


def new_log(layout: Layout) -> UsageLog:
    return UsageLog(layout.usage, clock=Clock(), pid=os.getpid(), process="bench", settings=UsageLogSettings())


def measure(root: Path, requests: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    layout = make_folder(root / "data")
    till = Till(new_log(layout))
    figures["admit_settle_us"] = cpu_us(till.request, requests // 10)
    figures["admit_settle_group_sync_us"] = asyncio.run(synced_us(till, requests // 10))
    figures["limiter_take_give_back_us"] = limiter_us()
    figures["find_key_us"] = find_key_us(layout)
    while till.count < requests:
        till.request()
    till.log.sync()

    loading_s = elapsed_s(lambda: load_once(layout, os.getpid()))
    figures["load_requests_per_s"] = till.count / loading_s
    figures["load_records_per_s"] = 2 * till.count / loading_s
    database = connect(layout.database)
    (row,) = usage_by(database, ())
    assert row.requests == till.count
    figures["usage_rows"] = row.requests
    figures["usage_query_s"] = elapsed_s(lambda: usage_by(database))
    figures["verify_s"] = elapsed_s(lambda: verify(database, layout.usage))
    assert sum(balances(database).values()) == 0
    figures["database_bytes_per_request"] = layout.database.stat().st_size / till.count
    figures["log_bytes_per_request"] = sum(path.stat().st_size for path in layout.usage.iterdir()) / till.count
    database.close()

    crashed = make_folder(root / "crashed")
    dead = Till(new_log(crashed))
    for _ in range(requests // 10):
        dead.request()
    size_gb = dead.log.path.stat().st_size / 10**9
    log = new_log(crashed)
    figures["recovery_s_per_gb"] = elapsed_s(lambda: recover(crashed.usage, log, time.time_ns())) / size_gb
    return figures


TABLE = [
    ("admit_settle_us", "admit and settle: limits, price, both records, CPU", "µs"),
    ("admit_settle_group_sync_us", "the same, with fdatasync every 5 ms beside it", "µs"),
    ("limiter_take_give_back_us", "of it the limits: take, and give back", "µs"),
    ("find_key_us", "a secret to its key's holder", "µs"),
    ("load_requests_per_s", "loading into SQLite, with the ledger", "requests/s"),
    ("usage_query_s", "a usage report over all rows", "s"),
    ("verify_s", "adding all balances up again", "s"),
    ("recovery_s_per_gb", "recovery after a crash", "s/GB"),
    ("log_bytes_per_request", "usage log", "bytes/request"),
    ("database_bytes_per_request", "SQLite", "bytes/request"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="what metering costs")
    parser.add_argument("--requests", type=int, default=1_000_000)
    requests: int = parser.parse_args().requests
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        figures = measure(Path(folder), requests)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    print(f"money: {int(figures['usage_rows']):,} requests on {machine}")
    for name, what, unit in TABLE:
        print(f"  {what:<52} {figures[name]:>12,.2f} {unit}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
