"""Budgets over a real socket: the real program before a vendor that keeps its own bill.

Prices are 1 USD a million tokens in and 4 out; a request of these tests is held at 0.00062 to 0.0012 USD, and comes to 27 millionths.
"""

import contextlib
import json
import os
import signal
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import openai
import pytest

from tests.client import Heard, ask, begin, post
from tests.server import KEY, Installation, Running, at_once, eventually, pool, priced
from tests.vendor import Vendor
from tests.visitor import Visitor

COST = "0.000027"


def budget(name: str, usd: str, **more: str | list[int]) -> str:
    lines = [f"{field} = {json.dumps(value)}" for field, value in {"name": name, "usd": usd, "period": "total", **more}.items()]
    return "\n".join(("[[budget]]", *lines, "\n"))


def standing(installation: Installation, name: str) -> dict[str, Any]:
    rows = json.loads(installation.run("budget", "show", name, "--format", "json").stdout)
    assert len(rows) == 1, rows
    return dict(rows[0])


def asked_at_once(server: Running, count: int, model: str = "answers") -> list[Heard]:
    heard: list[Heard] = []
    at_once(*[lambda: heard.append(ask(server, model, max_completion_tokens=100)) for _ in range(count)])
    return heard


def test_a_hard_budget_lets_pass_what_fits_and_refuses_the_rest(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.0012"))
        with installation.serving() as server:
            first = ask(server, "answers", max_completion_tokens=100)
            assert (first.status, first.end) == (200, "whole"), first
            assert first.headers["x-headrace-cost"] == COST
            assert float(first.headers["x-headrace-cost-max"]) > 0.001
            assert first.headers["x-headrace-budget-remaining"] == "0.001173"
            heard = [ask(server, "answers", max_completion_tokens=100) for _ in range(10)]
            refused = [one for one in heard if one.status != 200]
            assert refused
            assert {one.status for one in refused} == {429}
            assert refused[0].end == "insufficient_quota"
            assert refused[0].error is not None
            assert refused[0].error["type"] == "insufficient_quota"
            assert refused[0].headers["x-should-retry"] == "false"
            assert len(vendor.bills) == 11 - len(refused)
        spent = float(standing(installation, "acme")["spent_usd"])
        assert spent == round(len(vendor.bills) * 0.000027, 6)
        with installation.serving() as server:
            again = ask(server, "answers", max_completion_tokens=100)
            assert again.end == "insufficient_quota", "a start anew forgets nothing"


def test_of_64_at_once_one_passes_where_there_is_room_for_one(tmp_path: Path):
    with Vendor.open() as vendor:
        names = [f"answers-long/{number}" for number in range(64)]
        installation = Installation(tmp_path, pool("vendor", vendor.url, *names) + priced(*names) + budget("acme", "0.0012"))
        with installation.serving() as server:
            heard: list[Heard] = []
            at_once(*[lambda name=name: heard.append(ask(server, name, max_completion_tokens=100)) for name in names])
            assert sorted(one.status for one in heard) == [200] + [429] * 63
            assert len(vendor.bills) == 1


def test_of_64_at_once_one_passes_over_four_workers(tmp_path: Path):
    with Vendor.open() as vendor:
        names = [f"answers-long/{number}" for number in range(64)]
        installation = Installation(tmp_path, pool("vendor", vendor.url, *names) + priced(*names) + budget("acme", "0.0012"))
        with installation.serving("--workers", "4") as server:
            heard: list[Heard] = []
            at_once(*[lambda name=name: heard.append(ask(server, name, max_completion_tokens=100)) for name in names])
            assert sorted(one.status for one in heard) == [200] + [429] * 63
            assert len(vendor.bills) == 1
        assert standing(installation, "acme")["spent_usd"] == COST


def test_what_is_leased_to_one_worker_is_called_in_when_another_needs_it(tmp_path: Path):
    """Four workers, one after another until the budget is spent: each spends what is there to the last request that fits."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.0015"))
        with installation.serving("--workers", "4") as server:
            heard = [ask(server, "answers", max_completion_tokens=100) for _ in range(40)]
            passed = sum(one.status == 200 for one in heard)
            bound = 0.0004 + 0.000001 * (512 + 110)
            assert (0.0015 - bound) // 0.000027 - 1 <= passed <= (0.0015 - bound) // 0.000027 + 2
        assert float(standing(installation, "acme")["spent_usd"]) == round(passed * 0.000027, 6)


def test_budgets_hold_together_or_not_at_all(tmp_path: Path):
    """The project has enough, each user has room for one: what is refused takes nothing of either."""
    settings = budget("project", "1", project="default") + budget("each", "0.0012", for_each="user")
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers-slowly") + priced("answers-slowly") + settings)
        with installation.serving() as server:
            ann, bob = [], []
            at_once(
                *[lambda: ann.append(ask(server, "answers-slowly", max_completion_tokens=100, user="ann")) for _ in range(8)],
                *[lambda: bob.append(ask(server, "answers-slowly", max_completion_tokens=100, user="bob")) for _ in range(8)],
            )
            assert sorted(one.status for one in ann) == sorted(one.status for one in bob) == [200] + [429] * 7
        assert standing(installation, "project")["spent_usd"] == "0.000054"
        assert standing(installation, "project")["held_usd"] == "0.00"


def test_a_soft_budget_is_overspent_by_no_more_than_what_is_in_flight(tmp_path: Path):
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.00006", mode="soft")
        installation = Installation(tmp_path, settings)
        with installation.serving() as server:
            heard = [ask(server, "answers", max_completion_tokens=100).status for _ in range(6)]
            assert heard == [200, 200, 200, 429, 429, 429]
        assert standing(installation, "acme")["spent_usd"] == "0.000081"


def test_a_watched_budget_only_counts(tmp_path: Path):
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.00003", mode="watch")
        installation = Installation(tmp_path, settings)
        with installation.serving() as server:
            assert {ask(server, "answers").status for _ in range(4)} == {200}
        assert standing(installation, "acme")["spent_usd"] == "0.000108"


def test_a_model_without_a_price_is_refused_under_a_hard_budget_and_counted_as_nothing_else(tmp_path: Path):
    with Vendor.open() as vendor:
        hard = pool("vendor", vendor.url, "answers") + budget("acme", "1")
        with Installation(tmp_path / "hard", hard).serving() as server:
            refused = ask(server, "answers")
            assert (refused.status, refused.end) == (403, "unpriced_model")
        with Installation(tmp_path / "soft", hard.replace('"total"', '"total"\nmode = "soft"')).serving() as server:
            assert ask(server, "answers").headers["x-headrace-cost"] == "unpriced"
        assert len(vendor.bills) == 1


def test_who_names_no_length_gets_what_there_is_money_for(tmp_path: Path):
    """16,384 tokens would cost 0.065 USD; there are 0.01, so the vendor is told to stop where they end."""
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.01")
        with Installation(tmp_path, settings).serving() as server:
            heard = ask(server, "answers", stream=True)
            assert heard.status == 200, heard
            cap, why = heard.headers["x-headrace-tokens-out-max"].split("; ")
            assert why == "budget"
            assert 2_000 < int(cap) < 2_500
            assert vendor.bodies[-1]["max_completion_tokens"] == int(cap)
            assert float(heard.headers["x-headrace-cost-max"]) <= 0.01


def test_a_stream_that_reaches_its_affordable_end_finishes_with_length(tmp_path: Path):
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "talks-until-stopped") + priced("talks-until-stopped") + budget("acme", "0.002")
        installation = Installation(tmp_path, settings)
        with installation.serving() as server:
            connection, answer = begin(server, "talks-until-stopped")
            cap = int(answer.headers["x-headrace-tokens-out-max"].split(";")[0])
            said = answer.read().decode()
            connection.close()
            assert '"finish_reason": "length"' in said
            assert vendor.bills[0].tokens_out == cap > 300
        spent = float(standing(installation, "acme")["spent_usd"])
        assert spent <= 0.002
        assert spent == round(0.000007 + cap * 0.000004, 6)


CAPPED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 10_000}),
    ("/v1/responses", {"input": "Hi"}),
]


def test_every_dialect_says_what_is_held_and_that_the_answer_is_capped(tmp_path: Path):
    settings = priced("answers") + budget("acme", "1")
    with Vendor.open() as vendor, Installation(tmp_path, pool("vendor", vendor.url, "answers") + settings).serving() as server:
        for path, asked in CAPPED:
            body = json.dumps({"model": "answers", **asked}).encode()
            headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json", "x-headrace-max-cost": "0.005"}
            with urllib.request.urlopen(urllib.request.Request(server.url + path, body, headers), timeout=10) as answer:
                cap, why = answer.headers["x-headrace-tokens-out-max"].split("; ")
                assert why == "max_cost", path
                assert vendor.bodies[-1]["max_completion_tokens"] == int(cap), path
                assert 0.004 < float(answer.headers["x-headrace-cost-max"]) <= 0.005, path
                assert 0.9 < float(answer.headers["x-headrace-budget-remaining"]) < 1, path


def test_max_cost_caps_the_answer_or_refuses(tmp_path: Path):
    with Vendor.open() as vendor, Installation(tmp_path, pool("vendor", vendor.url, "answers") + priced("answers")).serving() as server:
        heard = ask(server, "answers", max_completion_tokens=10_000, max_cost="0.001")
        assert heard.status == 200, heard
        cap, why = heard.headers["x-headrace-tokens-out-max"].split("; ")
        assert why == "max_cost"
        assert vendor.bodies[-1]["max_completion_tokens"] == int(cap) < 100
        assert "max_cost" not in vendor.bodies[-1]
        refused = ask(server, "answers", max_cost=0.0001)
        assert (refused.status, refused.end) == (400, "max_cost_exceeded")
        assert ask(server, "answers", max_cost="a lot").end == "invalid_value"
        assert len(vendor.bills) == 1


def test_a_quote_says_the_bound_and_holds_nothing(tmp_path: Path):
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.0012")
        with Installation(tmp_path, settings).serving() as server:
            body = {"model": "answers", "messages": [{"role": "user", "content": "What is a headrace?"}], "max_completion_tokens": 100}
            status, quote = post(server, "/v1/quotes", body)
            assert status == 200, quote
            assert (quote["fits"], quote["tokens_out_max"]) == (True, 100)
            assert float(quote["cost_max_usd"]) > 0.001
            assert quote["budgets"] == [
                {"budget": "acme", "instance": None, "period": None, "mode": "hard", "limit_usd": "0.0012", "free_usd": "0.0012"}
            ]
            _, too_long = post(server, "/v1/quotes", body | {"max_completion_tokens": 1_000})
            assert (too_long["fits"], too_long["refusal"]["code"]) == (False, "insufficient_quota")
            assert not vendor.bills
            heard = ask(server, "answers", max_completion_tokens=100)
            assert heard.status == 200


def test_a_key_mints_one_that_may_do_less_and_ends_with_it(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers", "byte-by-byte") + priced("answers", "byte-by-byte"))
        with installation.serving() as server:
            found = KEY.search(installation.run("keys", "create", "agent", "--budget", "0.01").stdout)
            assert found is not None
            parent = found[0]
            wish = {"name": "run-1", "budget_usd": "0.0012", "models": ["answers"], "classes": ["agentic"], "expires_in_s": 600}
            status, child = post(server, "/v1/keys", wish, parent)
            assert status == 200, child
            secret = child["secret"]
            assert ask(server, "byte-by-byte", key=secret, max_completion_tokens=100).end == "model_not_found"
            first = ask(server, "answers", key=secret, max_completion_tokens=100)
            assert (first.status, first.headers["x-headrace-class"]) == (200, "agentic")
            assert eventually(lambda: ask(server, "answers", key=secret, max_completion_tokens=1_000).end) == "insufficient_quota"
            assert ask(server, "answers", key=parent, max_completion_tokens=1_000).status == 200
            assert post(server, "/v1/keys", {"name": "more", "budget_usd": "0.02"}, parent)[0] == 400
            assert post(server, "/v1/keys", {"name": "more", "models": ["byte-by-byte"]}, secret)[0] == 400
            status, grandchild = post(server, "/v1/keys", {"name": "run-1-a"}, secret)
            assert ask(server, "byte-by-byte", key=grandchild["secret"]).end == "model_not_found", "it may what all above it may"
            at = f"/v1/keys/{child['id']}"
            assert post(server, at, {"expires_in_s": 60}, secret)[0] == 404, "no key prolongs itself"
            assert post(server, at, {"expires_in_s": 1_200}, parent)[0] == 200
            assert post(server, at, {"expires_in_s": 0}, parent)[0] == post(server, at, {}, parent)[0] == 400
            other = post(server, "/v1/keys", {"name": "brief", "expires_in_s": 60}, parent)[1]
            assert post(server, f"/v1/keys/{other['id']}", {"expires_in_s": 1}, secret)[0] == 404, "nor one beside it"
            assert Visitor(server).call("DELETE", f"/v1/keys/{other['id']}", authorization=f"Bearer {secret}")[0] == 404
            assert Visitor(server).call("DELETE", f"/v1/keys/{other['id']}", authorization=f"Bearer {parent}")[0] == 200
            assert ask(server, "answers", key=other["secret"]).status == 401
            assert post(server, f"/v1/keys/{other['id']}", {"expires_in_s": 60}, parent)[0] == 404, "what is revoked stays revoked"
            below = post(server, "/v1/keys", {"name": "run-1-b", "expires_in_s": 60}, secret)[1]
            assert post(server, f"/v1/keys/{below['id']}", {"expires_in_s": 3_600}, secret)[0] == 400, "it ends with the one above it"
            installation.run("keys", "revoke", "agent")
            assert {ask(server, "answers", key=one).status for one in (parent, secret, grandchild["secret"])} == {401}


def test_a_budget_that_is_not_there_is_said_not_to_be(tmp_path: Path):
    installation = Installation(tmp_path, budget("acme", "1"))
    assert "Nothing was charged" in installation.run("budget", "show", "acme").stderr
    assert "no budget 'acm': did you mean 'acme'?" in installation.run("budget", "show", "acm", expect=1).stderr


def test_a_budget_set_at_the_command_line_holds_within_a_second(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers") + priced("answers"))
        with installation.serving() as server:
            assert ask(server, "answers").status == 200
            installation.run("budget", "set", "tight", "--usd", "0.0001", "--timezone", "Europe/Berlin")
            assert eventually(lambda: ask(server, "answers", max_completion_tokens=100).status == 429, 5)
            assert "tight" in installation.run("budget", "list").stdout
            installation.run("budget", "remove", "tight")
            assert eventually(lambda: ask(server, "answers", max_completion_tokens=100).status == 200, 5)


def test_the_bank_may_be_killed_at_any_time(tmp_path: Path):
    """What is leased is spent meanwhile, and the next bank goes on where it was."""
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "10"))
        with installation.serving() as server:
            assert ask(server, "answers", max_completion_tokens=100).status == 200
            for _ in range(3):
                bank = int((installation.data / "budgets.lock").read_text())
                os.kill(bank, signal.SIGKILL)
                assert ask(server, "answers", max_completion_tokens=100).status == 200, "the lease in hand is enough"
                assert eventually(lambda: (installation.data / "budgets.lock").read_text().strip() not in ("", str(bank))), "no next one"  # noqa: B023 -- called at once
        assert standing(installation, "acme")["spent_usd"] == "0.000108"


def test_a_budget_may_be_larger_than_64_bits_of_pico_dollars(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "2000000000"))
        with installation.serving() as server:
            assert ask(server, "answers").status == 200
        assert standing(installation, "acme")["free_usd"] == "1999999999.999973"


def test_parts_of_a_budget_are_told_to_a_webhook_once_each(tmp_path: Path):
    heard: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        fails: ClassVar[list[bool]] = [True]

        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(500 if self.fails and self.fails.pop() else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with Vendor.open() as vendor, HTTPServer(("127.0.0.1", 0), Hook) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{receiver.server_address[1]}/"
        settings = (
            pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.00054", mode="watch", alerts_percent=[5, 10])
        )
        installation = Installation(tmp_path, settings + f'[budgets]\nwebhook_url = "{url}"\n', {"HEADRACE_WEBHOOK_SECRET": "whsec"})
        with installation.serving() as server:
            assert ask(server, "answers").status == 200
            assert eventually(lambda: len(heard) >= 1, 5), "a twentieth is spent"
            assert ask(server, "answers").status == 200
            assert eventually(lambda: len(heard) >= 3, 12), "the first was not heard, and is told again"
        receiver.shutdown()
    assert sorted(one["data"]["percent"] for one in heard) == [5, 5, 10]


def test_what_nobody_knows_the_end_of_is_held_until_somebody_tells_it(tmp_path: Path):
    """A server is killed in the middle of an answer: its bound stays spent and flagged, and the truth gives the difference back."""
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers-long") + priced("answers-long") + budget("acme", "0.01")
        installation = Installation(tmp_path, settings)
        server = installation.start()
        connection, answer = begin(server, "answers-long", max_completion_tokens=300)
        assert answer.readline()
        server.kill()
        answer.close()
        connection.close()
        with installation.serving():
            assert eventually(lambda: standing(installation, "acme")["unknown_usd"] != "0.00", 5)
            (lost,) = json.loads(installation.run("budget", "unknown", "--format", "json").stdout)
            before = standing(installation, "acme")
            assert before["spent_usd"] == before["unknown_usd"] == lost["usd"]
            for _ in range(2):
                installation.run("budget", "correct", lost["request"], "--usd", "0.000107", "--input", "7", "--output", "25")
            after = standing(installation, "acme")
            assert (after["spent_usd"], after["unknown_usd"], after["free_usd"]) == ("0.000107", "0.00", "0.009893")
            (row,) = installation.usage("model")
            assert (row["usd"], row["lost"], row["input"], row["output"]) == ("0.000107", 0, 7, 25)
        assert "agree with the usage log" in installation.run("usage", "verify").stdout
        rows = json.loads(installation.run("ledger", "balances", "--format", "json").stdout)
        assert {row["account"]: row["usd"] for row in rows if row["account"].startswith("budget:")} == {
            "budget:acme:limit": "-0.01",
            "budget:acme:spent": "0.000107",
            "budget:acme:free": "0.009893",
        }
        assert "The ledger is whole" in installation.run("ledger", "verify").stdout
        with contextlib.closing(sqlite3.connect(installation.data / "budgets.sqlite")) as database, database:
            database.execute("UPDATE budget_account SET spent_pico = '106000000'")
        assert "budget acme: by the usage log 107000000" in installation.run("ledger", "verify", expect=1).stderr
        installation.run("budget", "correct", lost["request"], "--usd", "1", "--input", "7", "--output", "25", expect=1)
        installation.run("budget", "correct", "req_nobody", "--usd", "1", "--input", "7", "--output", "25", expect=1)


def test_the_official_client_sees_a_quota_and_does_not_try_again(tmp_path: Path):
    with Vendor.open() as vendor:
        installation = Installation(tmp_path, pool("vendor", vendor.url, "answers") + priced("answers") + budget("acme", "0.0001"))
        with installation.serving() as server, openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=5) as client:
            began = time.monotonic()
            with pytest.raises(openai.RateLimitError) as refused:
                client.chat.completions.create(model="answers", messages=[{"role": "user", "content": "hi"}], max_completion_tokens=100)
            assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
            assert time.monotonic() - began < 0.5
            assert not vendor.bills
