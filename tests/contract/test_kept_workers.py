"""What is kept is the same whichever worker of a server is asked."""

import json
from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.dialects import TEXT, Polyglot
from tests.server import Installation, Running, at_once, eventually, pool

WORKERS = 3


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, polyglot: Polyglot) -> Iterator[Running]:
    with Installation(tmp_path_factory.mktemp("workers"), pool("chat", polyglot.url, "chat")).serving("--workers", str(WORKERS)) as server:
        yield server


def client(server: Running) -> OpenAI:
    """On a connection of its own, so that another worker may answer."""
    return OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)


def test_responses(workers: Running) -> None:
    def converse() -> None:
        previous: str | None = None
        for _ in range(6):
            with client(workers) as asking:
                previous = asking.responses.create(model="chat", input="Go on.", previous_response_id=previous).id
        with client(workers) as asking:
            assert len(list(asking.responses.input_items.list(previous or ""))) == 11

    at_once(*[converse] * 6)


def test_responses_in_the_background(workers: Running) -> None:
    def follow() -> None:
        with client(workers) as asking:
            made = asking.responses.create(model="chat", input="Hi", background=True)
        with client(workers) as asking:
            assert [event.type for event in asking.responses.retrieve(made.id, stream=True)][-1] == "response.completed"
        with client(workers) as asking:
            assert asking.responses.retrieve(made.id).output_text == "".join(TEXT)

    at_once(*[follow] * 9)


def test_one_key_is_worked_on_once(workers: Running, polyglot: Polyglot) -> None:
    answers: list[str] = []

    def ask() -> None:
        with client(workers) as asking:
            raw = asking.responses.with_raw_response.create(
                model="chat", input="Only once, please.", extra_headers={"Idempotency-Key": "among workers"}
            )
            answers.append(raw.text)

    ask()
    at_once(*[ask] * 12)
    assert len(set(answers)) == 1
    assert sum(b"Only once, please." in sent.raw for sent in polyglot.sent) == 1


def test_a_batch_is_worked_on_by_one(workers: Running, polyglot: Polyglot) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "Of a batch."}]}
    lines = [{"custom_id": str(at), "method": "POST", "url": "/v1/chat/completions", "body": body} for at in range(60)]
    with client(workers) as asking:
        file = asking.files.create(file=("x.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
        made = [asking.batches.create(input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h").id for _ in range(3)]
    for id in made:
        with client(workers) as asking:
            assert eventually(lambda: asking.batches.retrieve(id).status == "completed", within_s=30, every_s=0.2)  # noqa: B023 -- asked at once
    assert sum(b"Of a batch." in sent.raw for sent in polyglot.sent) == 180
