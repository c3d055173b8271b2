"""Answers that are kept, over a real socket: who gets them, what they cost, and who never does."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.server import Installation, Running, eventually, pool, priced
from tests.vendor import TEXT, Vendor

OTHER = "sk-hr-9876543210987654321098765432109876"
CACHE = """
[cache]
bytes_max = 1_000_000
price_permille = 100

[[key]]
name = "other"
secret_env = "OTHER_KEY"
project = "other"
"""
COST = Decimal("0.000027")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> Installation:
    settings = pool("v", vendor.url, "answers", "answers-slowly", "usage-never", "embeds", "cut-mid-stream") + CACHE
    settings += priced("answers", "answers-slowly", "usage-never") + '[[model]]\nname = "embeds"\noperations = ["embeddings"]\n'
    return Installation(tmp_path_factory.mktemp("cache"), settings, {"OTHER_KEY": OTHER})


@pytest.fixture(scope="module")
def server(installation: Installation) -> Iterator[Running]:
    with installation.serving() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as opened:
        yield opened


def ask(client: OpenAI, words: str, wish: str | None = "on", model: str = "answers", **more: Any) -> tuple[bytes, dict[str, str]]:
    """The whole answer, and its head."""
    headers = {**({"x-headrace-cache": wish} if wish else {}), **more.pop("headers", {})}
    asked: Any = {"model": model, "messages": [{"role": "user", "content": words}], **more}
    heard = client.chat.completions.with_raw_response.create(**asked, extra_headers=headers)
    return heard.http_response.read(), dict(heard.headers)


def test_the_same_again_is_not_asked_for_and_costs_its_share(client: OpenAI, vendor: Vendor) -> None:
    first, head = ask(client, "again")
    assert (head["x-headrace-cache"], Decimal(head["x-headrace-cost"])) == ("miss", COST)
    asked = len(vendor.bills)
    again, head = ask(client, "again")
    assert (again, len(vendor.bills)) == (first, asked)
    assert head["x-headrace-cache"].startswith("hit; age=")
    assert (head["x-headrace-pool"], Decimal(head["x-headrace-cost"])) == ("headrace:cache", COST / 10)
    assert json.loads(again)["choices"][0]["message"]["content"] == TEXT


@pytest.mark.parametrize("model", ["answers", "answers-slowly"])
def test_a_stream_is_said_again(client: OpenAI, vendor: Vendor, model: str) -> None:
    first, _ = ask(client, "streamed", model=model, stream=True)
    asked = len(vendor.bills)
    again, head = ask(client, "streamed", model=model, stream=True)
    assert (again, len(vendor.bills)) == (first, asked)
    assert head["content-type"].startswith("text/event-stream")
    head = ask(client, "streamed", model=model)[1]
    assert head["x-headrace-cache"] == "miss", "who asks for it whole asks for something else"
    events = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "streamed"}], stream=True, extra_headers={"x-headrace-cache": "on"}
    )
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == TEXT


OTHERWISE: list[dict[str, Any]] = [
    {"words": "another"},
    {"temperature": 0.5},
    {"headers": {"x-headrace-vendors": "on-premises"}},
    {"headers": {"x-headrace-strict": "true"}},
]


@pytest.mark.parametrize("more", OTHERWISE)
def test_whoever_asks_otherwise_is_answered_anew(client: OpenAI, more: dict[str, Any]) -> None:
    ask(client, "one")
    assert ask(client, "one")[1]["x-headrace-cache"].startswith("hit")
    assert ask(client, more.pop("words", "one"), **more)[1]["x-headrace-cache"] == "miss"


def test_nobody_gets_what_another_project_was_told(server: Running, client: OpenAI) -> None:
    ask(client, "ours")
    with OpenAI(base_url=server.base_url, api_key=OTHER, max_retries=0) as other:
        assert ask(other, "ours")[1]["x-headrace-cache"] == "miss"


def test_what_a_client_wishes(client: OpenAI, vendor: Vendor) -> None:
    ask(client, "wish")
    asked = len(vendor.bills)
    assert "x-headrace-cache" not in ask(client, "wish", "off")[1]
    assert "x-headrace-cache" not in ask(client, "wish", None)[1]
    assert ask(client, "wish", "refresh")[1]["x-headrace-cache"] == "miss"
    assert len(vendor.bills) == asked + 3
    assert ask(client, "wish")[1]["x-headrace-cache"].startswith("hit")


def test_what_is_never_kept(client: OpenAI) -> None:
    for _ in range(2):
        assert ask(client, "nobody knows what it took", model="usage-never")[1]["x-headrace-cache"] == "miss"


def test_rules_and_limits_hold_for_hits(installation: Installation, client: OpenAI) -> None:
    ask(client, "kept here")
    for headers in ({"x-headrace-jurisdictions": "eu"}, {"x-headrace-zero-retention": "true"}):
        with pytest.raises(Exception, match="No pool"):
            ask(client, "kept here", headers=headers)
    assert ask(client, "kept here", headers={"x-headrace-max-cost": "1"})[1]["x-headrace-cache"].startswith("hit")


def test_embeddings_are_kept(client: OpenAI, vendor: Vendor) -> None:
    wish = {"x-headrace-cache": "on"}
    first = client.embeddings.create(model="embeds", input="x", extra_headers=wish)
    asked = len(vendor.bills)
    assert client.embeddings.create(model="embeds", input="x", extra_headers=wish).data[0].embedding == first.data[0].embedding
    assert len(vendor.bills) == asked


@pytest.mark.parametrize("stream", [False, True])
def test_messages_are_kept(server: Running, vendor: Vendor, stream: bool) -> None:
    with Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:

        def ask() -> bytes:
            heard = client.messages.with_raw_response.create(
                model="answers",
                max_tokens=64,
                messages=[{"role": "user", "content": "kept"}],
                stream=stream,
                extra_headers={"x-headrace-cache": "on"},
            )
            return heard.http_response.read()

        first, asked = ask(), len(vendor.bills)
        assert ask() == first
        assert len(vendor.bills) == asked


def test_the_books_know_a_hit(tmp_path: Path, vendor: Vendor) -> None:
    settings = pool("v", vendor.url, "answers") + priced("answers")
    settings += "[cache]\nbytes_max = 4_500\nttl_s = 1\nby_default = true\nprice_permille = 500\n"
    installation = Installation(tmp_path, settings)
    with installation.serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)

        def look() -> str:
            return ask(client, "first", None)[1]["x-headrace-cache"].partition(";")[0]

        assert eventually(lambda: look() == "hit")
        for number in range(4):
            ask(client, f"number {number}", None)
        assert look() == "miss", "what was asked for longest ago made room"
        assert eventually(lambda: look() == "hit")
        assert eventually(lambda: look() == "miss", within_s=30, every_s=0.2), "it is too old"
    rows = {row["pool"]: row for row in installation.usage("pool")}
    assert rows["headrace:cache"]["requests"] >= 2
    assert Decimal(rows["headrace:cache"]["usd"]) == COST / 2 * rows["headrace:cache"]["requests"]


def test_what_costs_more_than_a_request_may_is_made_anew(tmp_path: Path, vendor: Vendor) -> None:
    """The answer costs 0.000020 USD."""
    settings = pool("v", vendor.url, "answers") + '[[model]]\nname = "answers"\nusd_per_mtok = { input = "0", output = "4" }\n'
    settings += "[cache]\nbytes_max = 1_000_000\nprice_permille = 1_000\n"
    with (
        Installation(tmp_path, settings).serving() as server,
        OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0) as client,
    ):
        found = [
            ask(client, "dear", headers={"x-headrace-max-cost": most})[1]["x-headrace-cache"].partition(";")[0]
            for most in ("1", "0.000020", "0.000012")
        ]
    assert found == ["miss", "hit", "miss"]
