"""Anthropic's Message Batches by the official client over a socket: made, worked on over every dialect, read, cancelled, forgotten."""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types.messages import MessageBatch
from openai import OpenAI

from tests.contract.conftest import OTHER_KEY
from tests.dialects import TEXT, Polyglot
from tests.server import Installation, Running, eventually, pool
from tests.vendor import Vendor

WHOLE = "".join(TEXT)


@pytest.fixture(scope="module")
def client(dialects: Running) -> Iterator[Anthropic]:
    with Anthropic(base_url=dialects.url, api_key=dialects.key, max_retries=0) as opened:
        yield opened


def request(id: str, model: str, words: str = "Hi", **more: Any) -> Any:
    return {"custom_id": id, "params": {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": words}], **more}}


def ended(client: Anthropic, id: str) -> MessageBatch:
    def look() -> MessageBatch | None:
        batch = client.messages.batches.retrieve(id)
        return batch if batch.processing_status == "ended" else None

    found = eventually(look, within_s=20, every_s=0.1)
    assert found
    return found


def test_messages_over_every_dialect(client: Anthropic, polyglot: Polyglot) -> None:
    good = [request(f"{model}-{number}", model, f"Message {number}.") for number in range(8) for model in ("chat", "messages", "responses")]
    bad = [request("refused", "broken"), request("unknown", "nobody"), request("streamed", "chat", stream=True)]
    batch = client.messages.batches.create(requests=[*good, *bad])
    assert (batch.type, batch.processing_status, batch.request_counts.processing, batch.results_url) == (
        "message_batch",
        "in_progress",
        27,
        None,
    )
    done = ended(client, batch.id)
    counts = done.request_counts
    assert (counts.processing, counts.succeeded, counts.errored, counts.canceled, counts.expired) == (0, 24, 3, 0, 0)
    assert done.ended_at is not None
    results = {one.custom_id: one.result for one in client.messages.batches.results(batch.id)}
    assert list(results) == [one["custom_id"] for one in (*good, *bad)]
    for one in good:
        result = results[one["custom_id"]]
        assert result.type == "succeeded"
        assert result.message.content[0].type == "text"
        assert result.message.content[0].text == WHOLE
    errors = {id: result.error.error.type for id, result in results.items() if result.type == "errored"}
    assert errors == {"refused": "invalid_request_error", "unknown": "not_found_error", "streamed": "invalid_request_error"}
    for number in range(8):
        assert sum(f"Message {number}.".encode() in sent.raw for sent in polyglot.sent) == 3


def test_pages(client: Anthropic, dialects: Running) -> None:
    ids = [client.messages.batches.create(requests=[request("a", "chat")]).id for _ in range(3)]
    assert [one.id for one in client.messages.batches.list(limit=2).data] == ids[:0:-1]
    assert [one.id for one in client.messages.batches.list(limit=1)][:3] == ids[::-1]
    page = client.messages.batches.list(before_id=ids[0], limit=1)
    assert ([one.id for one in page.data], page.has_more) == ([ids[1]], True)
    with OpenAI(base_url=dialects.base_url, api_key=dialects.key, max_retries=0) as other:
        assert not {one.id for one in other.batches.list()} & set(ids), "they are Anthropic's, not OpenAI's"
        with pytest.raises(openai.NotFoundError):
            other.batches.retrieve(ids[0])


async def test_one_is_forgotten(dialects: Running) -> None:
    async with AsyncAnthropic(base_url=dialects.url, api_key=dialects.key, max_retries=0) as client:
        batch = await client.messages.batches.create(requests=[request("a", "chat")])
        with Anthropic(base_url=dialects.url, api_key=dialects.key, max_retries=0) as plain:
            ended(plain, batch.id)
        assert (await client.messages.batches.delete(batch.id)).type == "message_batch_deleted"
        with pytest.raises(anthropic.NotFoundError):
            await client.messages.batches.retrieve(batch.id)


WRONG: list[tuple[list[Any], str]] = [
    ([], "1 to"),
    ([request("a", "chat"), request("a", "chat")], "requests.1.custom_id"),
    ([request("no spaces", "chat")], "requests.0.custom_id"),
    ([{"custom_id": "a", "params": {"messages": []}}], "requests.0.params"),
    ([{"custom_id": "a"}], "params"),
]


@pytest.mark.parametrize(("requests", "words"), WRONG)
def test_what_is_refused_at_once(client: Anthropic, requests: list[Any], words: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=words):
        client.messages.batches.create(requests=requests)


def test_whose_a_batch_is(client: Anthropic, dialects: Running) -> None:
    batch = client.messages.batches.create(requests=[request("a", "chat")])
    with Anthropic(base_url=dialects.url, api_key=OTHER_KEY, max_retries=0) as other:
        for ask in (other.messages.batches.retrieve, other.messages.batches.cancel, other.messages.batches.delete):
            with pytest.raises(anthropic.NotFoundError):
                ask(batch.id)
        assert batch.id not in {one.id for one in other.messages.batches.list()}
    with Anthropic(base_url=dialects.url, api_key="sk-wrong", max_retries=0) as stranger, pytest.raises(anthropic.AuthenticationError):
        stranger.messages.batches.list()
    with pytest.raises(anthropic.BadRequestError, match="x-headrace-jurisdictions"):
        client.messages.batches.create(requests=[request("a", "chat")], extra_headers={"x-headrace-jurisdictions": "eu"})
    for limit in ("0", "x"):
        with pytest.raises(anthropic.BadRequestError):
            client.messages.batches.list(extra_query={"limit": limit})
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.list(after_id="msgbatch_none")


def test_one_is_cancelled(tmp_path: Any, vendor: Vendor) -> None:
    settings = pool("slow", vendor.url, "answers-slowly", concurrency_max=2) + "[batches]\nconcurrency_max = 2\n"
    with Installation(tmp_path, settings).serving() as server, Anthropic(base_url=server.url, api_key=server.key, max_retries=0) as client:
        asked = len(vendor.bills)
        batch = client.messages.batches.create(requests=[request(f"a{number}", "answers-slowly") for number in range(200)])
        assert eventually(lambda: len(vendor.bills) >= asked + 2)
        with pytest.raises(anthropic.BadRequestError, match="cancel it first"):
            client.messages.batches.delete(batch.id)
        cancelled = client.messages.batches.cancel(batch.id)
        assert cancelled.processing_status in ("canceling", "ended")
        done = ended(client, batch.id)
        assert done.cancel_initiated_at is not None
        assert done.request_counts.canceled > 0
        assert done.request_counts.canceled + done.request_counts.succeeded == 200
        kinds = {one.result.type for one in client.messages.batches.results(batch.id)}
        assert kinds == {"succeeded", "canceled"}
        with pytest.raises(anthropic.BadRequestError, match="nothing to cancel"):
            client.messages.batches.cancel(batch.id)
