"""Batches by the official client and by `headrace batch run`: checked, worked on, cancelled, and taken up after a kill."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types import Batch

from tests.contract.conftest import OTHER_KEY
from tests.dialects import TEXT, TOKENS_IN, TOKENS_OUT, Polyglot
from tests.server import Installation, Running, eventually, pool, priced
from tests.vendor import Vendor

WHOLE = "".join(TEXT)
ENDED = ("completed", "failed", "expired", "cancelled")


@pytest.fixture(scope="module")
def client(dialects: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=dialects.base_url, api_key=dialects.key, max_retries=0) as opened:
        yield opened


def line(number: int, body: dict[str, Any], url: str = "/v1/chat/completions", **more: Any) -> dict[str, Any]:
    return {"custom_id": f"line {number}", "method": "POST", "url": url, "body": body} | more


def chat(model: str, words: str = "Hi") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": words}]}


def begun(client: OpenAI, lines: list[Any], endpoint: Any = "/v1/chat/completions") -> Batch:
    content = "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in lines)
    file = client.files.create(file=("lines.jsonl", content.encode()), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"a": "b"})


def ended(client: OpenAI, batch: Batch, within_s: float = 20.0) -> Batch:
    found = eventually(lambda: (now := client.batches.retrieve(batch.id)).status in ENDED and now, within_s, every_s=0.1)
    assert found
    return found


def answers(client: OpenAI, file: str | None) -> dict[str, Any]:
    assert file is not None
    return {told["custom_id"]: told for told in map(json.loads, client.files.content(file).text.splitlines())}


def test_chats(client: OpenAI, polyglot: Polyglot) -> None:
    lines = [line(number, chat("chat" if number % 2 else "messages", f"Number {number}.")) for number in range(50)]
    batch = begun(client, [*lines, line(50, chat("broken")), line(51, chat("nobody")), line(52, {**chat("chat"), "stream": True})])
    assert (batch.status, batch.object, batch.metadata) == ("validating", "batch", {"a": "b"})
    done = ended(client, batch)
    assert done.request_counts is not None
    assert done.status == "completed"
    assert (done.request_counts.total, done.request_counts.completed, done.request_counts.failed) == (53, 50, 3)
    told = answers(client, done.output_file_id)
    assert list(told) == [f"line {number}" for number in range(50)]
    assert {one["response"]["body"]["choices"][0]["message"]["content"] for one in told.values()} == {WHOLE}
    assert all(one["error"] is None and one["response"]["status_code"] == 200 for one in told.values())
    failed = answers(client, done.error_file_id)
    assert [one["response"]["status_code"] for one in failed.values()] == [400, 404, 400]
    assert sorted(number for number in range(50) for sent in polyglot.sent if f"Number {number}.".encode() in sent.raw) == list(range(50))


@pytest.mark.parametrize("model", ["chat", "messages", "responses"])
def test_responses(client: OpenAI, model: str) -> None:
    done = ended(client, begun(client, [line(1, {"model": model, "input": "Hi"}, "/v1/responses")], "/v1/responses"))
    body = answers(client, done.output_file_id)["line 1"]["response"]["body"]
    assert body["output"][-1]["content"][0]["text"] == WHOLE
    assert client.responses.retrieve(body["id"]).output_text == WHOLE


def test_a_response_is_answered_whole(client: OpenAI) -> None:
    lines = [
        line(1, {"model": "chat", "input": "Hi", "stream": True}, "/v1/responses"),
        line(2, {"model": "chat", "input": "Hi", "background": True}, "/v1/responses"),
    ]
    done = ended(client, begun(client, lines, "/v1/responses"))
    assert [one["response"]["status_code"] for one in answers(client, done.error_file_id).values()] == [400, 400]
    assert done.output_file_id is None


def test_embeddings(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    settings = pool("v", vendor.url, "embeds") + '[[model]]\nname = "embeds"\noperations = ["embeddings"]\n'
    with Installation(tmp_path_factory.mktemp("embedded"), settings).serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        done = ended(client, begun(client, [line(1, {"model": "embeds", "input": "Hi"}, "/v1/embeddings")], "/v1/embeddings"))
        assert answers(client, done.output_file_id)["line 1"]["response"]["body"]["data"][0]["embedding"] == [0.1, 0.2]


WRONG: list[tuple[list[Any], str]] = [
    (["{"], "invalid_json"),
    ([line(1, chat("chat")), line(1, chat("chat"))], "invalid_value"),
    ([line(1, chat("chat"), method="GET")], "invalid_value"),
    ([line(1, chat("chat"), "/v1/embeddings")], "invalid_value"),
    ([line(1, {"messages": []})], "invalid_value"),
    ([{"custom_id": "1"}], "invalid_value"),
    ([""], "empty_file"),
]


@pytest.mark.parametrize(("lines", "code"), WRONG)
def test_nothing_is_worked_on_while_a_line_is_wrong(client: OpenAI, polyglot: Polyglot, lines: list[Any], code: str) -> None:
    sent = len(polyglot.sent)
    done = ended(client, begun(client, [*lines, *([line(99, chat("chat"))] if code != "empty_file" else [])]))
    assert done.status == "failed"
    assert done.errors is not None
    assert [error.code for error in done.errors.data or ()] == [code]
    assert len(polyglot.sent) == sent


def test_what_is_refused_at_once(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.batches.create(input_file_id="file-none", endpoint="/v1/responses", completion_window="24h")
    other = client.files.create(file=("a", b"x"), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.batches.create(input_file_id=other.id, endpoint="/v1/responses", completion_window="24h")
    for wrong in ({"endpoint": "/v1/images"}, {"completion_window": "1h"}):
        asked: Any = {"input_file_id": other.id, "endpoint": "/v1/responses", "completion_window": "24h"} | wrong
        with pytest.raises(openai.BadRequestError):
            client.batches.create(**asked)


def test_a_header_that_would_not_hold_for_the_lines_is_refused(client: OpenAI, polyglot: Polyglot) -> None:
    sent = len(polyglot.sent)
    file = client.files.create(file=("a.jsonl", json.dumps(line(1, chat("chat"))).encode()), purpose="batch")
    asked: Any = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    with pytest.raises(openai.BadRequestError, match="does not hold for the lines of a batch"):
        client.batches.create(**asked, extra_headers={"X-Headrace-Jurisdictions": "eu"})
    assert len(polyglot.sent) == sent


def test_batches_are_their_projects(client: OpenAI, dialects: Running) -> None:
    batch = begun(client, [line(1, chat("chat"))])
    other = OpenAI(base_url=dialects.base_url, api_key=OTHER_KEY, max_retries=0)
    assert batch.id in [one.id for one in client.batches.list(limit=2)]
    assert batch.id not in [one.id for one in other.batches.list()]
    for look in (other.batches.retrieve, other.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            look(batch.id)


def test_a_batch_is_cancelled(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    settings = "[batches]\nconcurrency_max = 2\n" + pool("slow", vendor.url, "answers-long")
    with Installation(tmp_path_factory.mktemp("cancelled"), settings).serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        batch = begun(client, [line(number, chat("answers-long")) for number in range(40)])
        assert eventually(lambda: client.batches.retrieve(batch.id).status == "in_progress")
        assert client.batches.cancel(batch.id).status == "cancelling"
        done = ended(client, batch)
        assert done.status == "cancelled"
        assert done.request_counts is not None
        assert done.request_counts.completed <= 4
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)


def test_a_killed_server_goes_on_and_runs_no_line_twice(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Polyglot.open() as vendor:
        settings = "[batches]\nconcurrency_max = 3\n" + pool("v", vendor.url, "chat") + priced("chat")
        installation = Installation(tmp_path_factory.mktemp("killed"), settings)
        server = installation.start()
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        batch = begun(client, [line(number, chat("chat", f"Number {number}.")) for number in range(400)])
        assert eventually(lambda: len(vendor.sent) > 40, every_s=0.005)
        server.kill()
        with installation.serving() as again:
            client = OpenAI(base_url=again.base_url, api_key=again.key, max_retries=0)
            done = ended(client, batch, within_s=60)
            assert done.request_counts is not None
            assert done.status == "completed"
            assert done.request_counts.completed + done.request_counts.failed == 400
            assert done.request_counts.failed <= 3
            if done.error_file_id:
                assert {one["error"]["code"] for one in answers(client, done.error_file_id).values()} == {"interrupted"}
            told = answers(client, done.output_file_id)
            assert len(told) == done.request_counts.completed
        asked = [sent.body["messages"][0]["content"] for sent in vendor.sent]
        assert len(asked) == len(set(asked))
        assert len(asked) >= len(told)
        rows = installation.usage("class")
        assert [row["class"] for row in rows] == ["batch"]


def test_the_command(dialects: Running, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text("".join(json.dumps(line(number, chat("chat"))) + "\n" for number in range(5)))
    here = Installation(tmp_path)
    told = here.run("batch", "run", str(file), "--url", dialects.base_url, "--key", dialects.key)
    assert "5 of 5 answered" in told.stderr
    written = (tmp_path / "questions.out.jsonl").read_text().splitlines()
    assert [json.loads(one)["custom_id"] for one in written] == [f"line {number}" for number in range(5)]
    usage = json.loads(written[0])["response"]["body"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (TOKENS_IN, TOKENS_OUT)
    for wrong in (b"nothing", b"\xff\xfe\x00", b""):
        file.write_bytes(wrong)
        told = here.run("batch", "run", str(file), "--url", dialects.base_url, "--key", dialects.key, expect=1)
        assert "has no first line with a url" in told.stderr.splitlines()[-1]
    file.write_text(json.dumps(line(1, {})))
    assert "line 1" in here.run("batch", "run", str(file), "--url", dialects.base_url, "--key", dialects.key, expect=1).stderr
