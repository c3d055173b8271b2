"""The lease protocol over several workers: how often a request waits for the bank, how long, and what lies unused meanwhile.

Each worker is a process with a till of its own and a line to the one bank, which keeps its accounts in SQLite; a request is held at
0.005 USD on four scopes and comes to 0.001. First there is money enough, so that a wait is a want of foresight. Then only so much is there
that all of it is spent, and every request near the end must ask.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path

import msgspec

from headrace.compose.clock import MachineClock, Names
from headrace.core.ask import Ask
from headrace.core.errors import QuotaExceeded
from headrace.core.identity import Principal
from headrace.core.usage import Usage
from headrace.gateway import Till, Visit
from headrace.gateway.world import World
from headrace.metering import Budget, UsdPerMtok, Whom, price_row
from headrace.storage import BankLink, SqliteBudgets, Treasury, make_folder
from headrace.testing.builders import a_world, an_ask

WORKERS = 4
USD = 10**12
PRICE = price_row(model="m", usd_per_mtok=UsdPerMtok(input="1", output="4"), source="bench")
COST_PICO = USD // 1_000
SCOPES = ("organization", "project", "key", "user")


def budgets(usd: int) -> list[Budget]:
    whom = {"organization": Whom(), "project": Whom(project="demo"), "key": Whom(for_each="key"), "user": Whom(for_each="user")}
    return [
        Budget(name=scope, whom=whom[scope], limit_pico=usd * USD, period="month", zone=UTC, zone_name="UTC", alerts_percent=(50, 80, 100))
        for scope in SCOPES
    ]


def ask_of(user: str) -> Ask:
    principal = Principal(organization="acme", project="demo", key="key_1")
    ask = an_ask(principal=principal, model="m", tokens_in_max=1_000, tokens_out_max=1_000)
    return msgspec.structs.replace(ask, user=user)


class Worker:
    """One process's part."""

    def __init__(self, root: Path, usd: int) -> None:
        self.clock = MachineClock()
        names = Names(self.clock)
        self.link = BankLink(
            root / "budgets.sock",
            slices=lambda: self.till.slices,
            place=lambda: ("", 0),
            pid=os.getpid(),
            new_process=lambda: names("process_"),
            moment=self.clock.moment,
            forget=lambda gone: self.till.forget(gone),
            fenced=lambda: self.till.close_holder(),
            rules=lambda contents: None,
            hosts=lambda hosts: None,
        )
        self.till = Till(self.link, self.clock)
        self.till.change(budgets(usd))
        self.world: World = a_world()
        self.waits_ms: list[float] = []
        self.requests = self.refused = 0

    async def one(self, ask: Ask) -> None:
        visit = Visit(self.world, self.clock.instant(), None, None, 2_000, Usage(1_000, output=1_000), priced_at=self.clock.moment())
        self.till.admit(ask, visit, PRICE)
        if visit.lacks is not None:
            began = self.clock.instant()
            try:
                await self.till.fetch(ask, visit)
            finally:
                self.waits_ms.append((self.clock.instant() - began) / 1e6)
        assert visit.hold is not None
        visit.hold.open += 1
        self.requests += 1
        visit.hold.pay(COST_PICO)
        visit.hold.end()
        visit.hold.release()

    async def run(self, seconds: float, per_s: int) -> None:
        """So many requests a second, until the time or the money is over."""
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self.link.keep())
            await self.link.known(10)
            ask = ask_of("ann")
            began = time.monotonic()
            while (elapsed := time.monotonic() - began) < seconds and self.refused < 20:
                while self.requests + self.refused < elapsed * per_s:
                    try:
                        await self.one(ask)
                    except QuotaExceeded:
                        self.refused += 1
                        break
                await asyncio.sleep(0.001)
            await self.link.finish()
            keeping.cancel()


def child(root: Path, usd: int, seconds: float, per_s: int) -> None:
    worker = Worker(root, usd)
    asyncio.run(worker.run(seconds, per_s))
    print(json.dumps({"requests": worker.requests, "refused": worker.refused, "waits_ms": worker.waits_ms}))


def phase(root: Path, usd: int, seconds: float, per_s: int) -> Mapping[str, float]:
    """All workers and the bank, on a store of their own."""
    layout = make_folder(root)
    bank = subprocess.Popen([sys.executable, "-m", "headrace.storage.bank", str(root)], stdin=subprocess.PIPE)
    assert bank.stdin is not None
    bank.stdin.write(b"\n")
    bank.stdin.flush()
    command = [sys.executable, "-m", "bench.leases", str(root), str(usd), str(seconds), str(per_s)]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(WORKERS)]
    stranded: list[float] = []
    time.sleep(1.0)
    store = Treasury(SqliteBudgets(layout.budgets))
    while any(worker.poll() is None for worker in workers):
        for row in store.accounts("organization"):
            unspent = row.limit_pico - row.spent_pico - row.held_pico
            stranded.append(1_000 * row.leased_free_pico / max(1, unspent))
        time.sleep(0.05)
    said = [json.loads(worker.communicate()[0].splitlines()[-1]) for worker in workers]
    bank.stdin.close()
    bank.wait(20)
    (row,) = store.accounts("organization")
    store.close()
    requests, waits = sum(one["requests"] for one in said), sorted(wait for one in said for wait in one["waits_ms"])
    assert row.spent_pico == requests * COST_PICO <= row.limit_pico, "overspent, or lost"
    return {
        "requests": requests,
        "refused": sum(one["refused"] for one in said),
        "waits_permille": 1_000 * len(waits) / max(1, requests),
        "wait_ms_p50": waits[len(waits) // 2] if waits else 0.0,
        "wait_ms_p99": waits[len(waits) * 99 // 100] if waits else 0.0,
        "stranded_permille_max": max(stranded, default=0.0),
        "unspent_usd": (row.limit_pico - row.spent_pico) / USD,
    }


def measure(root: Path) -> dict[str, float]:
    rich = phase(root / "rich", 100_000, 6.0, 1_000)
    poor = phase(root / "poor", 4, 20.0, 400)
    return {
        "lease_requests_per_s": rich["requests"] / 6.0,
        "lease_waits_permille": rich["waits_permille"],
        "lease_stranded_permille_max": rich["stranded_permille_max"],
        "lease_wait_ms_p50": poor["wait_ms_p50"],
        "lease_wait_ms_p99": poor["wait_ms_p99"],
        "lease_unspent_usd_of_4": poor["unspent_usd"],
    }


if __name__ == "__main__":
    child(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
