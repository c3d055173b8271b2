"""kill -9 of workers, of the process of the budgets, of the whole server and of PostgreSQL under load: budgets against the vendor's bill.

The vendor counts for itself. Whatever was killed when: what the vendor billed never passes a hard budget; every token of it is confirmed or
held in the books, the customer's or ours, who bear what nobody heard; what the budget shows as spent is, to the last digit, what
`headrace usage` shows as costs; and when all is over, nothing is leased or held any more.

A seed says who is killed when. `KILL9_SEED=…` is the first one and `KILL9_SEEDS=…` how many follow; `make soak` draws new ones, and keeps
what failed in kill9_seeds.txt, from where it runs ever after.
"""

import contextlib
import http.client
import itertools
import json
import os
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from headrace.core.usage import OUTPUTS, SEGMENTS
from tests.client import ask, begin
from tests.postgres import postgres
from tests.server import Installation, Running, eventually, pool
from tests.vendor import Vendor

SEEDS = int(os.environ.get("KILL9_SEEDS") or ("18" if os.environ.get("CI") else "4"))
FIRST = int(os.environ.get("KILL9_SEED") or 0)
KEPT = Path(__file__).with_name("kill9_seeds.txt")
TIMEOUT_S = 300
SCRIPTS = ("answers", "answers", "answers-slowly", "talks-until-stopped", "usage-in-last-chunk", "cut-mid-stream")
CLIENTS = 6
MICRO = Decimal("0.000001")


def seeds(story: str, count: int) -> list[int]:
    """Those that are drawn, and those of this story that failed once."""
    kept = [int(line.split()[1]) for line in KEPT.read_text().splitlines() if line.split()[:1] == [story]]
    return list(dict.fromkeys([*kept, *range(FIRST, FIRST + count)]))


def budgets(limit: Decimal) -> str:
    return (
        f'[[budget]]\nname = "acme"\nusd = "{limit}"\nperiod = "total"\n'
        f'[[budget]]\nname = "mine"\nusd = "{limit * 2}"\nperiod = "month"\ntimezone = "Europe/Berlin"\nfor_each = "key"\n'
    )


def models(scripts: tuple[str, ...] = SCRIPTS) -> str:
    return "\n".join(f'[[model]]\nname = "{name}"\nusd_per_mtok = {{ input = "1", output = "4" }}\n' for name in sorted({*scripts}))


class Load:
    """Clients who ask until they are told to stop."""

    def __init__(self, servers: list[Running], seed: int) -> None:
        self.servers, self._rng, self._stop = servers, Random(seed), threading.Event()
        self.passed = self.refused = 0
        self._threads = [threading.Thread(target=self._client, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _client(self, number: int) -> None:
        for turn in itertools.count(number):
            if self._stop.is_set():
                return
            server = self.servers[turn % len(self.servers)]
            model, way = self._rng.choice(SCRIPTS), self._rng.choice(("stream", "stream", "whole", "leave"))
            if way == "leave":
                with contextlib.suppress(http.client.HTTPException, OSError):
                    connection, answer = begin(server, model, max_completion_tokens=40)
                    answer.readline()
                    answer.close()
                    connection.close()
                continue
            heard = ask(server, model, stream=way == "stream" or model == "talks-until-stopped", max_completion_tokens=40)
            self.passed += heard.status == 200
            self.refused += heard.end == "insufficient_quota"
            if heard.status != 200:
                time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)


def serves(server: Running) -> bool:
    """Whether it answers, or says that the money is spent; on a busy machine its bank may be there a moment after it (503 until then)."""
    return eventually(lambda: ask(server, "answers", max_completion_tokens=40).status in (200, 429), 60, 0.2)


def vendors_bill(vendor: Vendor) -> Decimal:
    return sum((MICRO * (bill.tokens_in + 4 * bill.tokens_out) for bill in tuple(vendor.bills)), Decimal(0))


def workers_of(installation: Installation) -> list[int]:
    """Who writes a usage log now."""
    return sorted({int(path.stem.split("-")[1]) for path in (installation.data / "usage").glob("*.log")})


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def bank_of(installation: Installation) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        return int((installation.data / "budgets.lock").read_text())
    return None


def standings(installation: Installation, name: str) -> dict[str, Any]:
    (row,) = json.loads(installation.run("budget", "show", name, "--format", "json").stdout)
    return dict(row)


def costs(installation: Installation) -> Decimal:
    return sum((Decimal(row["usd"]) for row in installation.usage("model")), Decimal(0))


def used(installation: Installation) -> Decimal:
    """What all attempts used, or are held at, at the vendor's prices: those too that we bear, since nobody heard anything of them."""
    rows = [json.loads(line) for line in installation.run("usage", "export", "--format", "jsonl").stdout.splitlines()]
    return sum(
        (MICRO * (sum(row[one] for one in SEGMENTS if one not in OUTPUTS) + 4 * sum(row[one] for one in OUTPUTS)) for row in rows),
        Decimal(0),
    )


def check(installations: list[Installation], vendor: Vendor, limit: Decimal) -> None:
    billed, booked = vendors_bill(vendor), sum((costs(one) for one in installations), Decimal(0))
    row = standings(installations[0], "acme")
    spent = Decimal(row["spent_usd"])
    print(f"the vendor billed {billed}, the books say {booked}, the budget of {limit} {row}")
    assert billed <= limit, "overspent"
    assert spent <= limit
    assert spent == booked, "the budget and the books are one truth"
    assert sum((used(one) for one in installations), Decimal(0)) >= billed, "what the vendor billed is confirmed or held"
    assert Decimal(row["held_usd"]) == Decimal(row["leased_free_usd"]) == 0, "nothing is out any more"
    assert spent + Decimal(row["free_usd"]) == limit
    for one in installations:
        one.run("ledger", "verify")


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("seed", seeds("one_host", SEEDS))
def test_kills_of_one_host(tmp_path: Path, seed: int):
    rng = Random(seed)
    limit = MICRO * rng.choice((8_000, 30_000, 200_000))
    workers = rng.choice((1, 2, 3))
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, *sorted({*SCRIPTS}), drain_ms_max=1_000) + models() + budgets(limit)
        installation = Installation(tmp_path, settings)
        for _ in range(2):
            server = installation.start("--workers", str(workers), within_s=60)
            load = Load([server], rng.randrange(2**30))
            for _ in range(rng.randint(1, 4)):
                time.sleep(rng.uniform(0.02, 0.5))
                victim = rng.choice(("bank", "bank", "worker"))
                if victim == "bank" and (bank := bank_of(installation)) is not None:
                    kill(bank)
                elif victim == "worker" and workers > 1:
                    found = [pid for pid in workers_of(installation) if pid != server.process.pid]  # who books what the dead had open
                    if found:
                        kill(rng.choice(found))
            time.sleep(rng.uniform(0.05, 0.4))
            if rng.random() < 0.7:
                server.kill()
            else:
                server.stop()
            load.stop()
            for pid in workers_of(installation):  # of a server that was killed, workers end when they notice; here at once
                if pid != server.process.pid and rng.random() < 0.5:
                    kill(pid)
            eventually(lambda: bank_of(installation) is None or not _lives(bank_of(installation)), 5)
        with installation.serving("--workers", str(workers), within_s=60) as server:
            assert serves(server), "it serves after all that"
            installation.run("ledger", "verify")  # also while workers live, and ends are still being booked
            eventually(lambda: Decimal(standings(installation, "acme")["spent_usd"]) == costs(installation), 8)
        check([installation], vendor, limit)


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.parametrize("seed", seeds("two_hosts", max(1, SEEDS // 4)))
def test_kills_of_two_hosts_and_of_postgresql(tmp_path: Path, seed: int):
    rng = Random(seed)
    limit = MICRO * rng.choice((20_000, 100_000))
    with Vendor.open() as vendor, postgres() as cluster:
        settings = (
            pool("vendor", vendor.url, *sorted({*SCRIPTS}), drain_ms_max=1_000)
            + models()
            + budgets(limit)
            + f'[storage]\nurl = "{cluster.url}"\n'
        )
        hosts = [Installation(tmp_path / name, settings) for name in ("one", "two")]
        servers = [host.start("--workers", "2", within_s=60) for host in hosts]
        load = Load(servers, rng.randrange(2**30))
        time.sleep(rng.uniform(0.2, 0.8))
        cluster.kill()
        time.sleep(rng.uniform(0.2, 0.8))
        servers[0].kill()
        cluster.start()
        time.sleep(rng.uniform(0.2, 0.8))
        load.stop()
        servers[1].stop()
        eventually(lambda: not any(_lives(pid) for host in hosts for pid in (bank_of(host), *workers_of(host))), 8)
        for host in hosts:
            with host.serving(within_s=60) as server:
                assert serves(server)
                time.sleep(1.2)
        check(hosts, vendor, limit)


def _lives(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
