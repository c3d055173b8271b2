"""What metering costs: admit and settle on the hot path, loading into SQLite, usage reports, and recovery after a crash.

    make bench-money [ARGS="--requests 200000 --rows 10000000"]

Every request goes the whole way: limits, price, bound, both records of the usage log; then the log is loaded, added up and checked. The
processor time is the processes' own, so that what else runs on the machine counts little. The last line is one JSON object.
"""

import argparse
import gc
import json
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from bench import leases
from bench.leases import PRICE, ask_of, budgets
from headrace.compose.clock import MachineClock, Names
from headrace.core.usage import Usage
from headrace.gateway import Till as GatewayTill
from headrace.gateway import Visit
from headrace.gateway.till import NOBODY
from headrace.metering import Admit, Granted, Limiter, PriceBook, Sale, Settle, parse_prices, rate, rate_bound, sold
from headrace.storage import (
    KeyRing,
    KeyStore,
    Layout,
    LocalNews,
    UsageLog,
    UsageLogSettings,
    balances,
    connect,
    load_once,
    make_folder,
    owned,
    recover,
    tallies,
    usage_by,
    verify,
)
from headrace.storage.rollups import tidy
from headrace.storage.segment import segments
from headrace.storage.syncer import Syncer
from headrace.testing.builders import a_world

MODEL = "smollm2-135m-instruct"
BOUND, USED = Usage(2_000, output=500), Usage(900, cache_read=100, output=200)
PLACED = ((0, 0, 0.125), (1, 0, 0.5), (2, 3, 1.75))  # three pools were considered
REPEATS = 5
SYNCS = 200
MONTH_NS = 30 * 86_400 * 10**9
LABELS, STEP = 400, 500_000


class Till:
    """One key's way through metering, request by request."""

    def __init__(self, log: UsageLog) -> None:
        self.log, self.clock = log, MachineClock()
        self.names = Names(self.clock)
        shipped = parse_prices((files("headrace.metering") / "prices.toml").read_text(encoding="utf-8"))
        self.book = PriceBook(shipped)
        self.limiter = Limiter(requests_per_minute=10**9, tokens_per_minute=10**13, now=self.clock.instant())
        self.keys = [self.names("key_") for _ in range(50)]
        self.gate = GatewayTill(NOBODY, self.clock)
        self.gate.change(budgets(1_000_000_000))
        self.ask = ask_of("ann")
        self.world = a_world()
        self._fill()
        self.evidence = "0123456789abcdef01234567"
        self.count = 0

    def _fill(self) -> None:
        """The four scopes, with more leased than is ever spent here."""
        self.gate.admit(self.ask, self._visit(), self.book.price_on(MODEL, self.clock.moment()))
        for number, one in enumerate(self.gate.slices.values()):
            one.account, one.granted, one.free = number + 1, 10**24, 10**24

    def _visit(self) -> Visit:
        return Visit(self.world, self.clock.instant(), None, None, BOUND.total, BOUND, priced_at=self.clock.moment())

    def request(self) -> None:
        clock = self.clock
        granted = self.limiter.take(clock.instant(), BOUND.total)
        assert isinstance(granted, Granted)
        visit = self._visit()
        self.gate.admit(self.ask, visit, self.book.price_on(MODEL, clock.moment()))
        admit, settle = self.records(visit.accounts)
        self.log.append(admit)
        visit.hold.open += 1
        self.log.append(settle)
        visit.hold.pay(settle.cost_pico)
        visit.hold.end()
        visit.hold.release()
        self.limiter.give_back(clock.instant(), BOUND.total - USED.total, granted)

    def held(self) -> None:
        """Of a request what its budgets cost, beside the log."""
        visit = self._visit()
        self.gate.admit(self.ask, visit, PRICE)
        visit.hold.open += 1
        visit.hold.pay(1_000)
        visit.hold.end()
        visit.hold.release()

    def records(self, accounts: tuple[int, ...] = (1, 2, 3, 4)) -> tuple[Admit, Settle]:
        self.count += 1
        moment = self.clock.moment()
        project = f"project-{self.count % 20}"
        price = self.book.sale(Sale(MODEL, "acme", project), moment)
        assert price is not None
        admit = Admit(
            self.names("req_"), 1, moment, "acme", project, self.keys[self.count % 50], "enterprise", "chat", MODEL,
            "embedded", True, BOUND, rate_bound(BOUND, price), price.id, self.evidence, PLACED, 7, accounts,
        )  # fmt: skip
        _, cost = sold(USED, price)
        return admit, Settle(admit, self.clock.moment(), USED, cost, "confirmed", "completed", 120, 900, "SmolLM2-135M-Instruct")

    def append(self, admit: Admit, settle: Settle) -> None:
        self.log.append(admit)
        self.log.append(settle)


def cpu_us(do: Callable[[], None], times: int) -> float:
    """Processor time of one call, in microseconds: the median of some runs."""
    runs: list[float] = []
    for _ in range(REPEATS):
        start = time.process_time_ns()
        for _ in range(times):
            do()
        runs.append((time.process_time_ns() - start) / times / 1_000)
    return sorted(runs)[REPEATS // 2]


def cpu_s(do: Callable[[], object]) -> float:
    """As its process takes it: without looking for garbage among rows that have no cycles."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    do()
    spent = time.process_time() - start
    gc.enable()
    return spent


def append_us(till: Till, times: int) -> float:
    """Of a request what its two records cost, made before."""
    each = iter([till.records() for _ in range(times * REPEATS)])
    return cpu_us(lambda: till.append(*next(each)), times)


def round_us(till: Till) -> float:
    """A round of the syncer that has some requests to sync, as its process does it; the waiting for the disk is not counted."""
    syncer = Syncer(till.log.path.parent, 10)
    syncer.round()
    spent = 0
    for _ in range(SYNCS):
        for _ in range(20):
            till.request()
        start = time.process_time_ns()
        assert syncer.round()
        spent += time.process_time_ns() - start
    return spent / SYNCS / 1_000


def limiter_us() -> float:
    limiter = Limiter(requests_per_minute=10**9, tokens_per_minute=10**13, now=0)

    def once() -> None:
        granted = limiter.take(limiter._at + 1_000, 2_500)
        assert isinstance(granted, Granted)
        limiter.give_back(limiter._at, 1_300, granted)

    return cpu_us(once, 50_000)


def rate_us(till: Till) -> dict[str, float]:
    """The price of a sale, and what usage costs by it."""
    moment = till.clock.moment()
    sale = Sale(MODEL, "acme", "project-1")
    price = till.book.sale(sale, moment)
    assert price is not None
    return {
        "price_us": cpu_us(lambda: till.book.sale(Sale(MODEL, "acme", "project-1"), moment), 50_000),
        "rate_us": cpu_us(lambda: rate(USED, price), 50_000),
    }


def month_of_rows(root: Path, rows: int) -> dict[str, float]:
    """Reports over a month of so many attempts, written into SQLite as the loader writes them."""
    layout = make_folder(root / "month")
    database = connect(layout.database)
    database.execute("PRAGMA synchronous = OFF")
    database.execute("INSERT INTO account (name, balance) VALUES ('customer:acme/demo', '0'), ('revenue:m', '0')")
    database.executemany(
        "INSERT INTO label (organization, project, key, class, operation, model, pool, streamed, price, outcome, customer, revenue) "
        "VALUES ('acme', ?, ?, 'enterprise', 'chat', ?, 'pool', 1, 'p', 'completed', 1, 2)",
        [(f"project-{at % 10}", f"key_{at % 40}", f"model-{at % 4}") for at in range(LABELS)],
    )
    database.execute("BEGIN")
    for start in range(0, rows, STEP):
        database.execute(
            f"""
            WITH RECURSIVE n (i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i < {min(start + STEP, rows) - 1})
            INSERT INTO attempt (request, number, state, label, admitted, ended, uncached, cache_read, cache_write, output, reasoning,
                cache_write_30m, cache_write_1h, cache_write_12h, cost_pico)
            SELECT printf('req_%012d', i), 1, 4, 1 + i * 7 % {LABELS}, i * {MONTH_NS // rows}, i * {MONTH_NS // rows} + 1000, 900, 100, 0,
                200, 0, 0, 0, 0, 9000000 + i % 977 FROM n
            """
        )
    database.execute("INSERT INTO rollup_stale SELECT DISTINCT admitted / 3600000000000 FROM attempt")
    database.execute("COMMIT")
    figures = {"month_rows": float(rows), "rollup_us_per_row": 1e6 * cpu_s(lambda: [None for _ in iter(lambda: tidy(database), 0)]) / rows}
    day = 86_400 * 10**9
    group = ("model", "project")
    figures["usage_query_month_s"] = cpu_s(lambda: tallies(database, group, since=0, until=MONTH_NS))
    figures["usage_query_days_s"] = cpu_s(lambda: tallies(database, group, since=0, until=MONTH_NS, width=day))
    figures["usage_query_keys_s"] = cpu_s(lambda: tallies(database, ("key", "model", "project"), since=0, until=MONTH_NS, width=day))
    figures["costs_query_s"] = cpu_s(lambda: owned(database, organization="acme", since=0, until=MONTH_NS, width=day))
    figures["usage_query_minutes_of_a_day_s"] = cpu_s(lambda: tallies(database, group, since=day, until=2 * day, width=60 * 10**9))
    (total,) = tallies(database, ()).values()
    assert total.requests == rows
    database.close()
    return figures


def find_key_us(layout: Layout) -> float:
    database = connect(layout.database, durable=True)
    _, secret = KeyStore(database, layout).create(id="key_1", name="bench", organization="a", project="b", token=os.urandom(32), created=1)
    ring = KeyRing(LocalNews(connect(layout.database), layout))

    def once() -> None:
        ring.find(secret)

    spent = cpu_us(once, 50_000)
    ring.close()
    database.close()
    return spent


def new_log(layout: Layout) -> UsageLog:
    return UsageLog(layout.usage, clock=MachineClock(), pid=os.getpid(), process="bench", settings=UsageLogSettings())


def left_by_a_crash(layout: Layout, requests: int) -> None:
    """A process that writes so much, and ends without a word."""
    child = os.fork()
    if not child:
        till = Till(new_log(layout))
        for _ in range(requests):
            till.request()
        os._exit(0)
    os.waitpid(child, 0)


def size_of(layout: Layout) -> int:
    return sum(path.stat().st_size for path in segments(layout.usage))


def measure(root: Path, requests: int, rows: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    layout = make_folder(root / "data")
    till = Till(new_log(layout))
    figures["admit_settle_us"] = cpu_us(till.request, requests // 20)
    figures["append_us"] = append_us(till, requests // 20)
    figures["sync_round_us"] = round_us(till)
    figures |= rate_us(till)
    figures["budgets_us"] = cpu_us(till.held, requests // 20)
    figures["limiter_take_give_back_us"] = limiter_us()
    figures["find_key_us"] = find_key_us(layout)
    while till.count < requests:
        till.request()
    till.log.sync()

    figures["load_us"] = 1e6 * cpu_s(lambda: load_once(layout, os.getpid())) / till.count
    figures["load_requests_per_s"] = 1e6 / figures["load_us"]
    database = connect(layout.database)
    (row,) = usage_by(database, ())
    assert row.requests == till.count
    figures["usage_rows"] = row.requests
    figures["usage_query_s_per_million"] = 1e6 * cpu_s(lambda: usage_by(database)) / till.count
    figures["verify_s_per_million"] = 1e6 * cpu_s(lambda: verify(database, layout.usage)) / till.count
    assert sum(balances(database).values()) == 0
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    figures["database_bytes_per_request"] = layout.database.stat().st_size / till.count
    figures["log_bytes_per_request"] = size_of(layout) / till.count
    database.close()

    crashed = make_folder(root / "crashed")
    left_by_a_crash(crashed, requests // 10)
    size_gb = size_of(crashed) / 10**9
    log = new_log(crashed)
    figures["recovery_s_per_gb"] = cpu_s(lambda: recover(crashed.usage, log, time.time_ns())) / size_gb
    return figures | month_of_rows(root, rows)


TABLE = [
    ("admit_settle_us", "admit and settle: limits, 4 budgets, price, both records", "µs"),
    ("append_us", "of it the two records in the usage log", "µs"),
    ("budgets_us", "of it the budgets: hold on four scopes, pay, release", "µs"),
    ("limiter_take_give_back_us", "of it the limits: take, and give back", "µs"),
    ("price_us", "of it the price: a look-up", "µs"),
    ("rate_us", "of it the cost by that price", "µs"),
    ("sync_round_us", "a sync of some milliseconds' appends (its own process)", "µs"),
    ("find_key_us", "a secret to its key's holder", "µs"),
    ("load_us", "loading a request into SQLite, with the ledger", "µs"),
    ("load_requests_per_s", "that is", "requests/s"),
    ("usage_query_s_per_million", "a usage report over a million requests", "s"),
    ("verify_s_per_million", "adding all balances of a million up again", "s"),
    ("recovery_s_per_gb", "recovery after a crash", "s/GB"),
    ("rollup_us_per_row", "summing up an hour, by its attempts", "µs"),
    ("usage_query_month_s", "usage of a month by model and project", "s"),
    ("usage_query_days_s", "the same in days", "s"),
    ("usage_query_keys_s", "in days by key too", "s"),
    ("costs_query_s", "costs of a month in days", "s"),
    ("usage_query_minutes_of_a_day_s", "usage of a day in minutes, by its attempts", "s"),
    ("lease_requests_per_s", "leases: 4 workers, requests held on 4 scopes", "/s"),
    ("lease_waits_permille", "of them those that waited for the bank", "permille"),
    ("lease_stranded_permille_max", "leased and idle, of what was left", "permille"),
    ("lease_wait_ms_p50", "at the end of a budget: wait for the bank", "ms"),
    ("lease_wait_ms_p99", "the same, of one in a hundred", "ms"),
    ("log_bytes_per_request", "usage log", "bytes/request"),
    ("database_bytes_per_request", "SQLite", "bytes/request"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description="what metering costs")
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=10_000_000, help="attempts of the month that reports are made of")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder:
        figures = measure(Path(folder), asked.requests, asked.rows) | leases.measure(Path(folder))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    print(f"money: {int(figures['usage_rows']):,} requests, and a month of {asked.rows:,}, on {machine}")
    for name, what, unit in TABLE:
        print(f"  {what:<52} {figures[name]:>12,.2f} {unit}")
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
