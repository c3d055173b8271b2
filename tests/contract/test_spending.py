"""Spend limits and alerts as OpenAI's own client sets them, over a socket, and what they do to requests."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.client import ask
from tests.server import Installation, Running, eventually, pool
from tests.vendor import Vendor

DEAR = '[[model]]\nname = "answers"\nusd_per_mtok = { input = "100", cached_input = "10", output = "400" }\n'
"""A request of these tests comes to 0.0027 USD, and is held at 0.06 to 0.12."""
CHANNEL: Any = {"type": "email", "recipients": ["finance@example.org"], "subject_prefix": "[acme]"}


class Hook(HTTPServer):
    """Hears alerts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HookDoor)
        self.heard: list[dict[str, Any]] = []
        self.ids: list[str] = []


class HookDoor(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Hook)
        self.server.heard.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.server.ids.append(self.headers["webhook-id"])
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(tmp_path: Path, hook: Hook) -> Iterator[Installation]:
    with Vendor.open() as vendor:
        settings = pool("vendor", vendor.url, "answers") + DEAR
        told = f'[budgets]\nwebhook_url = "http://127.0.0.1:{hook.server_address[1]}/"\n'
        yield Installation(tmp_path, settings + told, {"HEADRACE_WEBHOOK_SECRET": "whsec"})


def organization(server: Running, key: str | None = None) -> Any:
    client = openai.OpenAI(base_url=server.base_url, admin_api_key=key or server.key, api_key="none", max_retries=0)
    return client.admin.organization


def created(place: Installation, name: str, *more: str) -> str:
    return next(word for word in place.run("keys", "create", name, *more).stdout.split() if word.startswith("sk-hr-"))


def test_a_limit_is_a_hard_budget_that_is_set_read_and_taken_back(place):
    with place.serving() as server:
        limit = organization(server).spend_limit
        with pytest.raises(openai.NotFoundError):
            limit.retrieve()
        made = limit.update(currency="USD", interval="month", threshold_amount=1)
        assert (made.object, made.threshold_amount, made.enforcement.status) == ("organization.spend_limit", 1, "enforcing")
        assert limit.retrieve() == made
        (shown,) = json.loads(place.run("budget", "list", "--format", "json").stdout)
        assert (shown["usd"], shown["period"], shown["mode"], shown["for"]) == ("0.01", "month", "hard", "organization default")
        assert eventually(lambda: ask(server, "answers", max_completion_tokens=100).end == "organization_spend_limit_exceeded")
        limit.update(currency="USD", interval="month", threshold_amount=10_000)
        assert eventually(lambda: ask(server, "answers", max_completion_tokens=100).status == 200)
        gone = limit.delete()
        assert (gone.object, gone.deleted) == ("organization.spend_limit.deleted", True)
        with pytest.raises(openai.NotFoundError):
            limit.delete()


def test_a_limit_and_an_alert_count_what_the_month_has_spent_already(place, hook):
    with place.serving() as server:
        key = created(place, "early", "--project", "early")
        asked = [ask(server, "answers", key=key, max_completion_tokens=100) for _ in range(4)]
        spent = sum(float(one.headers["x-headrace-cost"]) for one in asked)
        there = organization(server).projects
        there.spend_limit.update("early", currency="USD", interval="month", threshold_amount=10_000)

        def told() -> float:
            (row,) = json.loads(place.run("budget", "show", "spend_limit:default/early", "--format", "json").stdout)
            return float(row["spent_usd"])

        assert told() == pytest.approx(spent)
        shown = 'headrace_budget_limit_usd{headrace_budget="spend_limit:default/early"} 100.0'
        assert eventually(lambda: shown in server.get("/metrics")[1].decode(), within_s=20, every_s=0.2)
        there.spend_alerts.create("early", currency="USD", interval="month", threshold_amount=1, notification_channel=CHANNEL)
        assert eventually(lambda: hook.heard, within_s=15), "one cent is spent already"

        def counted() -> bool:
            nonlocal spent
            spent += float(ask(server, "answers", key=key, max_completion_tokens=100).headers["x-headrace-cost"])
            return eventually(lambda: told() == pytest.approx(spent), within_s=5)

        assert counted()
        there.spend_limit.update("early", currency="USD", interval="month", threshold_amount=1)
        assert eventually(lambda: ask(server, "answers", key=key, max_completion_tokens=100).end == "project_spend_limit_exceeded")
    place.run("ledger", "verify")


def test_a_limit_that_is_not_enforced_only_counts(place):
    with place.serving() as server:
        asked: dict[str, Any] = {"currency": "USD", "interval": "month", "threshold_amount": 1}
        limit = organization(server).spend_limit
        made = limit.update(**asked, extra_body={"enforcement": {"status": "inactive"}})
        assert made.enforcement.status == limit.retrieve().enforcement.status == "inactive"
        heard = [ask(server, "answers", max_completion_tokens=100) for _ in range(8)]
        assert eventually(
            lambda: ask(server, "answers").status == 200 and json.loads(place.run("budget", "show", "--format", "json").stdout)
        )
        heard += [ask(server, "answers", max_completion_tokens=100) for _ in range(8)]
        assert {one.status for one in heard} == {200}


def test_a_projects_limit_is_its_own(place):
    with place.serving() as server:
        search = created(place, "search", "--project", "search")
        limit = organization(server).projects.spend_limit
        made = limit.update("search", currency="USD", interval="month", threshold_amount=1)
        assert (made.object, limit.retrieve("search").threshold_amount) == ("project.spend_limit", 1)
        with pytest.raises(openai.NotFoundError):
            limit.retrieve("elsewhere")
        assert eventually(lambda: ask(server, "answers", key=search, max_completion_tokens=100).end == "project_spend_limit_exceeded")
        assert ask(server, "answers", max_completion_tokens=100).status == 200, "another project of the same organisation"
        assert limit.delete("search").object == "project.spend_limit.deleted"
        assert eventually(lambda: ask(server, "answers", key=search, max_completion_tokens=100).status == 200)


def test_an_alert_is_told_with_whom_to_write_to_and_again_when_its_amount_is_raised(place, hook):
    with place.serving() as server:
        alerts = organization(server).spend_alerts
        made = alerts.create(currency="USD", interval="month", threshold_amount=1, notification_channel=CHANNEL)
        assert (made.object, made.notification_channel.recipients) == ("organization.spend_alert", ["finance@example.org"])

        def spent_until(told: int) -> bool:
            return ask(server, "answers", max_completion_tokens=100).status == 200 and len(hook.heard) >= told

        assert eventually(lambda: spent_until(1), 20, 0.2)
        data = hook.heard[0]["data"]
        assert (data["budget"], data["percent"], data["limit_usd"]) == (f"spend_alert:{made.id}", 100, "0.01")
        assert (data["recipients"], data["subject_prefix"]) == (["finance@example.org"], "[acme]")
        more = {**CHANNEL, "recipients": ["cfo@example.org"]}
        changed = alerts.update(made.id, currency="USD", interval="month", threshold_amount=10, notification_channel=more)
        assert (changed.id, changed.threshold_amount, alerts.retrieve(made.id)) == (made.id, 10, changed)
        assert eventually(lambda: spent_until(2), 20, 0.05)
        assert (hook.heard[1]["data"]["limit_usd"], hook.heard[1]["data"]["recipients"]) == ("0.10", ["cfo@example.org"])
        assert len(set(hook.ids)) == 2, "who keeps the ids it has heard hears of both"
        assert alerts.delete(made.id).deleted
        with pytest.raises(openai.NotFoundError):
            alerts.retrieve(made.id)


def test_alerts_are_listed_page_by_page_each_with_its_owner(place):
    with place.serving() as server:
        of_project = organization(server).projects.spend_alerts
        ids = [
            of_project.create(
                "search", currency="USD", interval="month", threshold_amount=cents, notification_channel={**CHANNEL, "subject_prefix": None}
            ).id
            for cents in (300, 100, 200)
        ]
        assert [one.id for one in of_project.list("search", limit=2)] == ids, "the official client turns the pages"
        assert [one.threshold_amount for one in of_project.list("search", order="desc")] == [200, 100, 300]
        assert list(of_project.list("elsewhere")) == list(organization(server).spend_alerts.list()) == []
        with pytest.raises(openai.NotFoundError):
            of_project.retrieve(ids[0], project_id="elsewhere")
        with pytest.raises(openai.NotFoundError):
            organization(server).spend_alerts.delete(ids[0])
        assert of_project.delete(ids[0], project_id="search").object == "project.spend_alert.deleted"
        assert [one.id for one in of_project.list("search")] == ids[1:]


def refusal(server: Running, body: bytes) -> tuple[int, str | None]:
    """The status of setting a limit so, and the member at fault."""
    headers = {"authorization": f"Bearer {server.key}", "content-type": "application/json"}
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{server.base_url}/organization/spend_limit", body, headers), timeout=10)
    with refused.value as answer:
        return answer.code, json.loads(answer.read())["error"]["param"]


WRONG: list[tuple[dict[str, Any], str]] = [
    # what is asked for                                                        the member at fault
    ({"currency": "EUR", "interval": "month", "threshold_amount": 1}, "currency"),
    ({"currency": "USD", "interval": "week", "threshold_amount": 1}, "interval"),
    ({"currency": "USD", "interval": "month", "threshold_amount": 0}, "threshold_amount"),
    ({"currency": "USD", "interval": "month", "threshold_amount": 1.5}, "threshold_amount"),
    ({"currency": "USD", "interval": "month"}, "threshold_amount"),
]
WRONG_CHANNELS = [
    ({"type": "sms", "recipients": ["a@b"]}, "notification_channel.type"),
    ({"type": "email", "recipients": []}, "notification_channel.recipients"),
    ({"type": "email", "recipients": ["nobody"]}, "notification_channel.recipients[0]"),
]


def test_what_is_wrong_is_said_and_others_may_not(place):
    with place.serving() as server:
        there = organization(server)
        for asked, param in WRONG:
            with pytest.raises(openai.BadRequestError) as refused:
                there.spend_limit.update(**asked, **({} if "threshold_amount" in asked else {"threshold_amount": openai.omit}))
            assert refused.value.param == param
        for channel, param in WRONG_CHANNELS:
            with pytest.raises(openai.BadRequestError) as refused:
                there.spend_alerts.create(currency="USD", interval="month", threshold_amount=1, notification_channel=channel)
            assert refused.value.param == param
        assert [refusal(server, body) for body in (b"{", b"7", b'{"currency": 1}')] == [(400, None), (400, None), (400, "currency")]
        plain = organization(server, created(place, "plain"))
        for call in (plain.spend_limit.retrieve, plain.spend_limit.delete, plain.spend_alerts.list):
            with pytest.raises(openai.PermissionDeniedError):
                call()
        with pytest.raises(openai.PermissionDeniedError):
            plain.spend_limit.update(currency="USD", interval="month", threshold_amount=1)
        for number in range(20):
            there.spend_alerts.create(currency="USD", interval="month", threshold_amount=number + 1, notification_channel=CHANNEL)
        with pytest.raises(openai.BadRequestError):
            there.spend_alerts.create(currency="USD", interval="month", threshold_amount=99, notification_channel=CHANNEL)
