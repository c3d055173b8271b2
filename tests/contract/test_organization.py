"""Usage and costs as OpenAI's own client reads them, over a socket, from a vendor that names tiers, long prompts and cached tokens."""

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.server import Installation, Running, eventually, listening

SETTINGS = """
[[pool]]
name = "openai-api"
endpoints = ["http://127.0.0.1:{port}/v1"]
models = {{ "gpt-5.4" = "gpt-5.4", "gpt-5.4-nano" = "gpt-5.4-nano", "nobody-knows" = "nobody-knows" }}
vendor = "openai"
contract = {{ kind = "tokens" }}
"""


class Vendor(BaseHTTPRequestHandler):
    """Answers with the usage that the last message asks for, as JSON."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        told = json.loads(asked["messages"][-1]["content"])
        message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"], "choices": [message], **told}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Nothing."""


def usage(tokens_in: int, tokens_out: int, tier: str | None = None, **more: Any) -> str:
    told = {"prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out, **more}
    return json.dumps({"usage": told} | ({"service_tier": tier} if tier else {}))


CALLS = [
    # model, tier asked, what the vendor says, what the customer pays, what the vendor charges
    ("gpt-5.4", None, usage(1_000, 100), "0.004", "0.004"),
    ("gpt-5.4", None, usage(1_000, 100, prompt_tokens_details={"cached_tokens": 400}), "0.0031", "0.0031"),
    ("gpt-5.4", None, usage(272_000, 10), "0.68015", "0.68015"),
    ("gpt-5.4", None, usage(272_001, 10), "1.36023", "1.36023"),
    ("gpt-5.4", "priority", usage(1_000, 100, "priority"), "0.008", "0.008"),
    ("gpt-5.4", "priority", usage(1_000, 100, "default"), "0.004", "0.004"),
    ("gpt-5.4", "flex", usage(1_000, 100, "flex"), "0.002", "0.002"),
    ("gpt-5.4-nano", None, usage(1_000, 100), "0.000325", "0.000325"),
    ("gpt-5.4-nano", None, usage(1_000, 100, "priority"), "0.000325", None),
    ("gpt-5.4-nano", "flex", usage(1_000, 100, "flex"), "0.0001625", "0.0001625"),
    ("nobody-knows", None, usage(1_000, 100), None, None),
]
PAID = sum(Decimal(paid) for *_, paid, _ in CALLS if paid)


@pytest.fixture(scope="module")
def vendor() -> Iterator[int]:
    """The port of one."""
    with listening(Vendor) as port:
        yield port


@pytest.fixture(scope="module")
def place(vendor: int, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(tmp_path_factory.mktemp("organization"), SETTINGS.format(port=vendor))


@pytest.fixture(scope="module")
def running(place: Installation) -> Iterator[Running]:
    with place.serving() as running:
        client = openai.OpenAI(base_url=running.base_url, api_key=running.key, max_retries=0)
        for model, tier, told, *_ in CALLS:
            more: dict[str, Any] = {"service_tier": tier} if tier else {}
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": told}], user="ann", **more)
        yield running


def admin(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=running.base_url, admin_api_key=running.key, api_key="none", max_retries=0)


def test_every_request_costs_what_the_catalogue_says(running, place):
    rows = [json.loads(line) for line in place.run("usage", "export", "--format", "jsonl").stdout.splitlines()]
    found = [(row["cost_usd"] and Decimal(row["cost_usd"]), row["buy_usd"] and Decimal(row["buy_usd"])) for row in rows]
    assert found == [(paid and Decimal(paid), bought and Decimal(bought)) for *_, paid, bought in CALLS]


def test_usage_as_the_official_client_reads_it(running):
    start = int(time.time()) - 86_400
    page = admin(running).admin.organization.usage.completions(start_time=start, group_by=["model", "user_id", "service_tier"])
    found: list[Any] = [result for bucket in page.data for result in bucket.results]
    by_tier = {(one.model, one.service_tier): one for one in found}
    assert sum(one.num_model_requests for one in found) == len(CALLS)
    assert by_tier["gpt-5.4", "default"].input_tokens == 1_000 * 3 + 272_000 + 272_001
    assert by_tier["gpt-5.4", "default"].input_cached_tokens == 400
    assert {one.user_id for one in found} == {"ann"}
    assert {tier for _, tier in by_tier} == {"default", "priority", "flex"}


def test_costs_are_exact(running):
    start = int(time.time()) - 86_400
    status, body = running.get(f"/v1/organization/costs?start_time={start}&group_by=line_item")
    assert status == 200, body
    results = [result for bucket in json.loads(body, parse_float=Decimal)["data"] for result in bucket["results"]]
    assert sum(result["amount"]["value"] for result in results) == PAID
    items = {result["line_item"]: result["quantity"] for result in results}
    assert items["gpt-5.4, cached_input_tokens"] == 400
    assert items["nobody-knows, unpriced_tokens"] == 1_100
    told = admin(running).admin.organization.usage.costs(start_time=start, group_by=["user_id"])
    by_user: list[Any] = [result for bucket in told.data for result in bucket.results]
    assert [(one.object, one.user_id, one.amount.value) for one in by_user] == [("organization.costs.result", "ann", float(PAID))]


def test_pages_follow_each_other(running):
    start = int(time.time()) // 3_600 * 3_600 - 5 * 3_600
    seen: list[int] = []
    page: dict[str, Any] = {}
    while True:
        told = admin(running).admin.organization.usage.completions(start_time=start, bucket_width="1h", limit=2, **page)
        seen += [bucket.start_time for bucket in told.data]
        if not told.has_more:
            break
        page = {"page": told.next_page}
    assert seen == list(range(start, start + 6 * 3_600, 3_600))


WRONG = [
    ("usage/completions", "start_time"),
    ("usage/completions?start_time=x", "start_time"),
    ("usage/completions?start_time=1&bucket_width=2d", "bucket_width"),
    ("usage/completions?start_time=1&group_by=colour", "group_by"),
    ("usage/completions?start_time=1&limit=99", "limit"),
    ("usage/completions?start_time=1&page=7", "page"),
    ("usage/completions?start_time=1&batch=perhaps", "batch"),
    ("usage/colours?start_time=1", "kind"),
    ("costs?start_time=1&bucket_width=1h", "bucket_width"),
    ("costs?start_time=1&group_by=user_id&group_by=line_item", "group_by"),
]


@pytest.mark.parametrize(("path", "param"), WRONG)
def test_what_is_wrong_is_said(running, path, param):
    status, body = running.get(f"/v1/organization/{path}")
    assert (status, json.loads(body)["error"]["param"]) == (400, param)


def test_others_may_not_read_it(running, place):
    made = place.run("keys", "create", "plain").stdout
    secret = next(word for word in made.split() if word.startswith("sk-hr-"))
    with pytest.raises(openai.PermissionDeniedError):
        openai.OpenAI(base_url=running.base_url, admin_api_key=secret, api_key="none", max_retries=0).admin.organization.usage.costs(
            start_time=1
        )


def test_chargeback(running):
    status, body = running.get("/admin/chargeback?start_time=0&group_by=vendor&group_by=cloud")
    assert status == 200, body
    row, unknown = json.loads(body)["data"]
    assert (row["vendor"], row["cloud"], row["requests"], row["cost_unknown"]) == ("openai", "on-premises", len(CALLS) - 1, 1)
    assert (unknown["vendor"], unknown["requests"], unknown["cost_unknown"]) == ("", 1, 1), "nobody knows what that vendor charges"
    assert Decimal(row["usd_revenue"]) == PAID
    assert Decimal(row["usd_margin"]) == PAID - Decimal(row["usd_vendors"])
    assert running.get("/admin/chargeback?start_time=0&group_by=colour")[0] == 400


def test_a_price_that_is_set_holds_within_a_second(vendor, tmp_path: Path):
    place = Installation(tmp_path, SETTINGS.format(port=vendor))
    with place.serving() as running:
        place.run("price", "set", "nobody-knows", "--input", "1", "--output", "2", "--from", "2026-01-01")
        client = openai.OpenAI(base_url=running.base_url, api_key=running.key, max_retries=0)

        def cost() -> str | None:
            asked = client.chat.completions.with_raw_response.create(
                model="nobody-knows", messages=[{"role": "user", "content": usage(1_000, 100)}]
            )
            return asked.headers.get("x-headrace-cost")

        assert eventually(lambda: cost() == "0.0012", within_s=15.0, every_s=0.2)


def test_what_was_not_used_is_told_as_nothing(running):
    told = admin(running).admin.organization.usage.images(start_time=int(time.time()) - 60)
    assert [bucket.results for bucket in told.data] == [[]]
