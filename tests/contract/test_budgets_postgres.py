"""Two hosts and one PostgreSQL: one budget for both, limits in equal parts, and what happens while the database is down."""

import json
import time
from pathlib import Path

from tests.client import ask
from tests.postgres import postgres
from tests.server import Installation, eventually, pool, priced
from tests.vendor import Vendor


def test_a_budget_is_one_for_all_hosts_and_closes_when_the_store_is_gone(tmp_path: Path):
    with Vendor.open() as vendor, postgres() as cluster:
        settings = pool("vendor", vendor.url, "answers") + priced("answers") + f'[storage]\nurl = "{cluster.url}"\n'
        small = '[[budget]]\nname = "small"\nuser = "poor"\nusd = "0.0013"\nperiod = "total"\n'
        large = '[[budget]]\nname = "large"\nuser = "rich"\nusd = "100"\nperiod = "month"\n'
        one, two = (Installation(tmp_path / name, settings + small + large) for name in ("one", "two"))
        with one.serving() as first, two.serving("--workers", "2") as second:

            def status(server, user: str) -> str | int:
                heard = ask(server, "answers", user=user, max_completion_tokens=100)
                return heard.end if heard.status != 200 else 200

            told = [status(server, "poor") for _ in range(8) for server in (first, second)]
            assert 6 <= told.count(200) <= 11, told
            assert set(told[-2:]) == {"insufficient_quota"}
            assert [status(server, "rich") for server in (first, second, second, second)] == [200] * 4
            cluster.kill()
            assert [status(first, "rich") for _ in range(20)] == [200] * 20, "what is leased goes on being spent"
            assert status(first, "poor") in ("insufficient_quota", "budgets_unreachable")
            unleased = ask(first, "answers", user="rich", max_completion_tokens=2_000_000)
            assert (unleased.status, unleased.end) == (503, "budgets_unreachable"), "more than is leased can't be known to be there"
            cluster.start()
            assert eventually(lambda: ask(first, "answers", user="rich", max_completion_tokens=2_000_000).status == 200, 10)
            passed = told.count(200)
        rows = {row["budget"]: row for row in json.loads(two.run("budget", "show", "--format", "json").stdout)}
        assert float(rows["small"]["spent_usd"]) == round(passed * 0.000027, 6)
        assert float(rows["large"]["spent_usd"]) == round((len(vendor.bills) - passed) * 0.000027, 6)
        assert (rows["large"]["held_usd"], rows["large"]["leased_free_usd"]) == ("0.00", "0.00")


def test_limits_are_parted_among_hosts_that_live(tmp_path: Path):
    with Vendor.open() as vendor, postgres() as cluster:
        settings = pool("vendor", vendor.url, "answers") + f'[storage]\nurl = "{cluster.url}"\n'
        settings += '[[limit]]\nname = "all"\nrequests_per_day = 10\n'
        one, two = (Installation(tmp_path / name, settings) for name in ("one", "two"))
        with one.serving() as first, two.serving() as second:

            def part(server) -> str:
                return ask(server, "answers").headers["x-ratelimit-limit-requests"]

            assert eventually(lambda: part(first) == "5", 5)
            assert eventually(lambda: part(second) == "5", 5)
            time.sleep(0.1)
