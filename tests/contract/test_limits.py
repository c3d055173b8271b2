"""Limits at every scope, over a real socket: what passes is never more than is published, and what is said of the rest is true."""

import time
from pathlib import Path

import pytest

from tests.client import Heard, ask
from tests.server import Installation, Running, at_once, pool
from tests.vendor import Vendor


def limit(name: str, **more: str | int) -> str:
    lines = [f'{field} = "{value}"' if isinstance(value, str) else f"{field} = {value}" for field, value in {"name": name, **more}.items()]
    return "\n".join(("[[limit]]", *lines, "\n"))


def asked_at_once(server: Running, count: int, model: str, **more: int) -> list[Heard]:
    heard: list[Heard] = []
    at_once(*[lambda: heard.append(ask(server, model, max_completion_tokens=more.get("tokens", 50))) for _ in range(count)])
    return heard


@pytest.mark.parametrize("workers", ["1", "4"])
def test_a_limit_of_requests_under_a_burst(tmp_path: Path, workers: str):
    """Ten a minute: ten at once pass, whichever worker they come to, and those that do not are told when to come again."""
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + limit("project", project="default", requests_per_minute=10)
        with Installation(tmp_path, settings).serving("--workers", workers) as server:
            heard = asked_at_once(server, 40, "answers")
            passed = [one for one in heard if one.status == 200]
            refused = [one for one in heard if one.status == 429]
            assert 10 <= len(passed) <= 10 + int(workers) - 1, "at most one more a worker, in the microseconds in which neither has read"
            assert len(passed) + len(refused) == 40
            assert {one.headers["x-ratelimit-limit-requests"] for one in passed} == {"10"}
            left = min(int(one.headers["x-ratelimit-remaining-requests"]) for one in passed)
            assert left <= int(workers) - 1, "what is told is as old as what was read of the others: for one worker it is 0"
            assert {one.headers["x-ratelimit-remaining-requests"] for one in refused} == {"0"}, "who is refused has read it"
            wait_s = int(refused[0].headers["retry-after-ms"]) / 1000
            assert 0 < wait_s <= 6
            time.sleep(wait_s)
            assert ask(server, "answers", max_completion_tokens=50).status == 200


def test_a_limit_of_tokens_gives_back_what_was_not_used(tmp_path: Path):
    """Bounds are about 670 of 1,500 tokens; each request comes to 12."""
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers", "answers-long") + limit("all", tokens_per_minute=1_500)
        with Installation(tmp_path, settings).serving() as server:
            assert sorted(one.status for one in asked_at_once(server, 8, "answers-long")) == [200] * 2 + [429] * 6
            assert {ask(server, "answers", max_completion_tokens=50).status for _ in range(10)} == {200}
            never = ask(server, "answers", max_completion_tokens=1_400)
            assert (never.status, never.headers["x-should-retry"]) == (429, "false"), "it asks for more than the limit"


def test_a_100_token_limit_lets_pass_nothing_that_could_be_more(tmp_path: Path):
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + limit("tiny", tokens_per_minute=100)
        with Installation(tmp_path, settings).serving() as server:
            assert {one.status for one in asked_at_once(server, 30, "answers", tokens=10)} == {429}, "each could use more than 100"
            assert not vendor.bills


def test_how_many_run_at_once(tmp_path: Path):
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers-long") + limit("each", for_each="key", concurrent=3)
        with Installation(tmp_path, settings).serving("--workers", "2") as server:
            heard = asked_at_once(server, 12, "answers-long")
            passed = sum(one.status == 200 for one in heard)
            assert 3 <= passed <= 4
            assert asked_at_once(server, 1, "answers-long")[0].status == 200, "places are free again"


def test_limits_hold_together_or_not_at_all(tmp_path: Path):
    """A request that one limit refuses has taken nothing of the other."""
    with Vendor.open() as vendor:
        settings = (
            pool("vendor", vendor.url, "answers")
            + limit("project", project="default", requests_per_day=8)
            + limit("users", for_each="user", requests_per_minute=2)
        )
        with Installation(tmp_path, settings).serving() as server:

            def status(user: str) -> int:
                return ask(server, "answers", user=user, max_completion_tokens=50).status

            assert [status("ann") for _ in range(6)] == [200, 200, 429, 429, 429, 429]
            assert [status(user) for user in ("bob", "bob", "cid", "cid", "dan", "dan")] == [200] * 6
            assert status("eve") == 429, "the project's eight are gone, and not one more"
