"""What a request of any route could cost: asked beforehand, and held to. The real program, before vendors that say what they were sent."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import anthropic
import openai
import pytest

from tests.client import post
from tests.dialects import Polyglot
from tests.server import Installation, Running
from tests.studio import Studio

SETTINGS = """
[[pool]]
name = "openai"
endpoints = ["{talks}"]
models = {{ plain = "plain" }}
responses = true

[[pool]]
name = "anthropic"
dialect = "anthropic"
endpoints = ["{talks}"]
models = {{ claude = "claude" }}

[[pool]]
name = "studio"
endpoints = ["{draws}"]
models = {{ painter = "units/painter", reader = "units/reader", scribe = "units/scribe", judge = "silent/judge", ranker = "tokens/ranker" }}
pass_through = ["/rerank"]

[[model]]
name = "plain"
tokens_out_max = 1_000
usd_per_mtok = {{ input = "1", output = "4" }}
usd_per_call = {{ web_search = "0.01" }}

[[model]]
name = "claude"
tokens_out_max = 1_000
tokens_context_max = 200_000
usd_per_mtok = {{ input = "1", output = "4" }}

[[model]]
name = "painter"
operations = ["images"]
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ image = "0.04" }}

[[model]]
name = "reader"
operations = ["speech"]
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ character = "0.001" }}

[[model]]
name = "scribe"
operations = ["transcriptions"]
audio_s_max = 60
usd_per_mtok = {{ input = "0", output = "0" }}
usd_per_call = {{ second = "0.001" }}

[[model]]
name = "judge"
operations = ["moderations"]
usd_per_mtok = {{ input = "1", output = "0" }}

[[model]]
name = "ranker"
operations = ["pass_through"]
usd_per_mtok = {{ input = "1", output = "1" }}

[[budget]]
name = "acme"
usd = "1"
period = "total"
organization = "acme"
"""
HI = [{"role": "user", "content": "hi"}]
SEARCH = {"type": "web_search"}
FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def talks() -> Iterator[Polyglot]:
    with Polyglot.open() as vendor:
        yield vendor


@pytest.fixture(scope="module")
def server(talks: Polyglot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Studio.open() as studio:
        settings = SETTINGS.format(talks=talks.url, draws=studio.url)
        with Installation(tmp_path_factory.mktemp("quotes"), settings).serving() as running:
            yield running


@pytest.fixture(scope="module")
def bound(server: Running) -> str:
    """A key for which a hard budget holds."""
    made = Installation(server.folder).run("keys", "create", "bound", "--organization", "acme").stdout
    return next(word for word in made.split() if word.startswith("sk-hr-"))


def quote(server: Running, body: object, endpoint: str | None = None, key: str | None = None, **headers: str) -> dict[str, Any]:
    path = "/v1/quotes" + (f"?endpoint={endpoint}" if endpoint else "")
    status, told = post(server, path, body, key, **headers)
    assert status == 200, told
    return told


QUOTED: list[tuple[str | None, dict[str, Any], str, str]] = [
    # route (None: it is seen from the request), body, which it is, how dear at most
    ("/v1/responses", {"model": "plain", "input": "hi", "max_output_tokens": 100}, "/v1/responses", "0.0011"),
    (None, {"model": "plain", "input": "hi", "max_output_tokens": 100}, "/v1/responses", "0.0011"),
    (None, {"model": "plain", "messages": HI, "max_completion_tokens": 100}, "/v1/chat/completions", "0.0011"),
    ("/v1/messages", {"model": "claude", "messages": HI, "max_tokens": 100}, "/v1/messages", "0.0011"),
    (None, {"model": "painter", "prompt": "A mill", "n": 3}, "/v1/images/generations", "0.12"),
    (None, {"model": "reader", "input": "hello", "voice": "alloy"}, "/v1/audio/speech", "0.005"),
    (None, {"model": "judge", "input": "hello"}, "/v1/moderations", "0.0006"),
]


@pytest.mark.parametrize(("endpoint", "body", "meant", "most"), QUOTED)
def test_each_route_has_its_bound(server: Running, talks: Polyglot, endpoint: str | None, body: dict[str, Any], meant: str, most: str):
    sent = len(talks.sent)
    told = quote(server, body, endpoint)
    assert (told["endpoint"], told["fits"], told["refusal"]) == (meant, True, None)
    assert Decimal("0.5") < Decimal(told["cost_max_usd"]) / Decimal(most) <= 1
    assert len(talks.sent) == sent, "nobody is asked"


PIXELS = "iVBORw0KGgo" + "A" * 1_000_000
SEEN = f"data:image/png;base64,{PIXELS}"
SHOWN: list[tuple[str, dict[str, Any]]] = [
    (
        "/v1/chat/completions",
        {
            "model": "plain",
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": SEEN}}]}],
            "max_completion_tokens": 100,
        },
    ),
    (
        "/v1/responses",
        {
            "model": "plain",
            "input": [{"role": "user", "content": [{"type": "input_image", "image_url": SEEN}]}],
            "max_output_tokens": 100,
        },
    ),
    (
        "/v1/messages",
        {
            "model": "claude",
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXELS}}],
                }
            ],
            "max_tokens": 100,
        },
    ),
]


@pytest.mark.parametrize(("endpoint", "body"), SHOWN)
def test_a_picture_is_no_text_in_any_dialect(server: Running, bound: str, endpoint: str, body: dict[str, Any]):
    """A megabyte of one would be a million tokens at most, and is 16,384; the same bytes as text stay what they are."""
    told = quote(server, body, endpoint)
    assert 16_384 < told["tokens_in_max"] < 18_000
    assert told["fits"]
    status, _ = post(server, endpoint, body, bound)
    assert status == 200, "a budget of a dollar is enough"
    field = "input" if endpoint == "/v1/responses" else "messages"
    text = body | {field: [{"role": "user", "content": SEEN}]}
    assert quote(server, text, endpoint)["tokens_in_max"] > 1_000_000


def test_a_picture_in_the_result_of_a_tool_is_no_text_either(server: Running):
    source = {"type": "base64", "media_type": "image/png", "data": PIXELS}
    turns = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source}]}]},
    ]
    asked = {"model": "claude", "messages": turns, "max_tokens": 100, "tools": [{"name": "look", "input_schema": {"type": "object"}}]}
    assert quote(server, asked, "/v1/messages")["tokens_in_max"] < 18_000
    items = [
        {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": SEEN}]},
    ]
    assert quote(server, {"model": "plain", "input": items}, "/v1/responses")["tokens_in_max"] < 18_000


PAGES = "data:application/pdf;base64,JVBERi0xLjcK"
FILED = [
    ("/v1/chat/completions", "messages", {"type": "file", "file": {"filename": "a.pdf", "file_data": PAGES}}),
    ("/v1/responses", "input", {"type": "input_file", "filename": "a.pdf", "file_data": PAGES}),
    ("/v1/messages", "messages", {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PAGES[28:]}}),
]


@pytest.mark.parametrize(("endpoint", "field", "part"), FILED)
def test_a_file_is_held_to_the_longest_prompt_in_any_dialect(server: Running, bound: str, endpoint: str, field: str, part: dict[str, Any]):
    """A PDF of a kilobyte may have a hundred pages: where nobody knows what its model takes at most, nobody knows what it costs."""
    body = {field: [{"role": "user", "content": [part]}], "max_tokens" if field == "messages" else "max_output_tokens": 100}
    known, unknown = body | {"model": "claude"}, body | {"model": "plain"}
    assert quote(server, known, endpoint)["tokens_in_max"] == 200_000
    assert post(server, endpoint, known, bound)[0] == 200
    assert "tokens_context_max" in quote(server, unknown, endpoint)["unbounded"]
    status, refused = post(server, endpoint, unknown, bound)
    assert (status, "tokens_context_max" in refused["error"]["message"]) == (403, True)
    assert post(server, endpoint, unknown)[0] == 200, "no hard budget holds for this key"


def test_a_recording_is_bound_by_the_longest_that_its_model_takes(server: Running):
    form = b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nscribe\r\n' + (
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nID3\r\n--x--\r\n'
    )
    told = quote(server, form, "/v1/audio/transcriptions", **{"content-type": "multipart/form-data; boundary=x"})
    assert (told["cost_max_usd"], told["units_max"]) == ("0.06", {"second": 60})


def test_what_has_no_bound_has_no_price_and_is_refused_where_one_must_hold(server: Running, bound: str, talks: Polyglot):
    asked = {"model": "plain", "input": "hi", "tools": [SEARCH]}
    for body, endpoint in ((asked, "/v1/responses"), ({"model": "ranker", "query": "water"}, "/v1/rerank")):
        told = quote(server, body, endpoint)
        assert (told["cost_max_usd"], told["fits"]) == (None, True)
        assert told["unbounded"]
        held = quote(server, body, endpoint, key=bound)
        assert (held["fits"], held["refusal"]["code"]) == (False, "unbounded_request")
    sent = len(talks.sent)
    client = openai.OpenAI(base_url=server.base_url, api_key=bound, max_retries=0)
    with pytest.raises(openai.PermissionDeniedError, match="hard budget"):
        client.responses.create(model="plain", input="hi", tools=[{"type": "web_search"}])
    with pytest.raises(openai.PermissionDeniedError, match="web_search_options"):
        client.chat.completions.create(model="plain", messages=[{"role": "user", "content": "hi"}], web_search_options={})
    with pytest.raises(openai.PermissionDeniedError, match="max_cost"):
        openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0).responses.create(
            model="plain", input="hi", tools=[{"type": "web_search"}], extra_body={"max_cost": "0.5"}
        )
    assert len(talks.sent) == sent


def test_beside_others_a_tool_of_the_vendors_is_left_out_where_a_hard_budget_holds(server: Running, bound: str, talks: Polyglot):
    """Coding agents declare it always, and seldom use it."""
    for key, kinds in ((server.key, ["function", "web_search"]), (bound, ["function"])):
        client = openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0)
        told = client.responses.with_raw_response.create(model="plain", input="hi", tools=[FUNCTION, SEARCH])  # type: ignore[list-item]
        assert talks.last.path.endswith("/responses")
        assert [tool["type"] for tool in talks.last.body["tools"]] == kinds
        assert ("dropped tools[1]" in told.headers.get("x-headrace-translation", "")) == (key == bound)
    claude = anthropic.Anthropic(base_url=server.url, api_key=bound, max_retries=0)
    tools: list[Any] = [{"name": "look", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "web_search"}]
    claude.messages.create(model="claude", max_tokens=100, messages=[{"role": "user", "content": "hi"}], tools=tools)
    assert [tool["name"] for tool in talks.last.body["tools"]] == ["look"]


def test_max_cost_holds_for_every_route(server: Running, talks: Polyglot):
    client = openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
    told = client.responses.with_raw_response.create(model="plain", input="hi", extra_body={"max_cost": "0.002"})
    assert told.headers["x-headrace-tokens-out-max"].endswith("max_cost")
    assert talks.last.body["max_output_tokens"] < 500
    assert "max_cost" not in talks.last.body
    claude = anthropic.Anthropic(base_url=server.url, api_key=server.key, max_retries=0)
    with pytest.raises(anthropic.BadRequestError, match="max_cost"):
        claude.messages.create(
            model="claude", max_tokens=100, messages=[{"role": "user", "content": "hi"}], extra_body={"max_cost": 0.0001}
        )
    claude.messages.create(model="claude", max_tokens=900, messages=[{"role": "user", "content": "hi"}], extra_body={"max_cost": 0.002})
    assert talks.last.body["max_tokens"] < 500
    assert "max_cost" not in talks.last.body
    with pytest.raises(openai.BadRequestError, match="nothing of it can be capped"):
        client.images.generate(model="painter", prompt="A mill", n=3, extra_body={"max_cost": "0.1"})
    with pytest.raises(openai.BadRequestError, match="nothing of it can be capped"):
        client.audio.transcriptions.create(model="scribe", file=("a.mp3", b"ID3"), extra_body={"max_cost": "0.01"})
    assert client.moderations.create(model="judge", input="x", extra_body={"max_cost": "0.1"}).results


def test_a_batch_is_the_sum_of_its_lines(server: Running, bound: str):
    client = openai.OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
    body = {"model": "plain", "input": "hi", "max_output_tokens": 100}
    lines = [{"custom_id": str(at), "method": "POST", "url": "/v1/responses", "body": body} for at in range(3)]
    file = client.files.create(file=("lines.jsonl", "".join(json.dumps(line) + "\n" for line in lines).encode()), purpose="batch")
    asked = {"input_file_id": file.id, "endpoint": "/v1/responses", "completion_window": "24h"}
    told = quote(server, asked, "/v1/batches")
    one = Decimal(quote(server, body, "/v1/responses", **{"x-headrace-class": "batch"})["cost_max_usd"])
    assert (told["lines"], Decimal(told["cost_max_usd"]), told["fits"]) == (3, 3 * one, True)
    requests = [{"custom_id": str(at), "params": {"model": "claude", "messages": HI, "max_tokens": 200_000}} for at in range(3)]
    dear = quote(server, {"requests": requests}, "/v1/messages/batches", key=bound)
    assert (dear["lines"], dear["fits"], dear["refusal"]["code"]) == (3, False, "insufficient_quota")
    status, wrong = post(server, "/v1/quotes?endpoint=/v1/batches", asked | {"input_file_id": "file-none"})
    assert (status, wrong["error"]["code"]) == (404, "not_found")


def test_a_route_that_is_none_is_said(server: Running):
    for body, endpoint in (({"input": "x"}, ""), ({"model": "plain"}, "/v2/other"), ({"model": "plain"}, "/v1/other")):
        status, told = post(server, f"/v1/quotes?endpoint={endpoint}", body)
        assert status in (400, 404), told
