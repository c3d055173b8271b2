"""What clients ask to have kept, by the official client: files, uploads, conversations; and requests that must not be worked on twice."""

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import anthropic
import boto3
import openai
import pytest
from moto.server import ThreadedMotoServer
from openai import OpenAI

from tests.contract.conftest import OTHER_KEY
from tests.dialects import Polyglot
from tests.server import Installation, Running, eventually, pool
from tests.vendor import Vendor

HELLO: Any = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def client(dialects: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=dialects.base_url, api_key=dialects.key, max_retries=0) as opened:
        yield opened


@pytest.fixture(scope="module")
def other(dialects: Running) -> Iterator[OpenAI]:
    """The client of another project."""
    with OpenAI(base_url=dialects.base_url, api_key=OTHER_KEY, max_retries=0) as opened:
        yield opened


def test_a_file(client: OpenAI, other: OpenAI) -> None:
    content = b"\x00line\n" * 50_000
    made = client.files.create(file=("rows.jsonl", content), purpose="batch", expires_after={"anchor": "created_at", "seconds": 3_600})
    assert (made.bytes, made.filename, made.purpose, made.status) == (len(content), "rows.jsonl", "batch", "processed")
    assert made.expires_at == made.created_at + 3_600
    assert client.files.content(made.id).read() == content
    assert made.id in [one.id for one in client.files.list(purpose="batch")]
    assert made.id not in [one.id for one in client.files.list(purpose="vision")]
    assert made.id not in [one.id for one in other.files.list()]
    for look in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            look(made.id)
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.files.content(made.id)


def test_files_are_paged(client: OpenAI) -> None:
    made = [client.files.create(file=(f"{at}.txt", b"x"), purpose="user_data").id for at in range(5)]
    listed = [one.id for one in client.files.list(purpose="user_data", limit=2, order="asc")]
    assert [id for id in listed if id in made] == made


@pytest.mark.parametrize("given", [{"purpose": "fun"}, {"purpose": "batch", "expires_after": {"anchor": "created_at", "seconds": 1}}])
def test_a_file_that_is_refused(client: OpenAI, given: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError):
        client.files.create(file=("a", b"x"), **given)


def test_an_upload_in_parts(client: OpenAI) -> None:
    content = bytes(range(256)) * 1_000
    upload = client.uploads.create(bytes=len(content), filename="b.bin", mime_type="application/octet-stream", purpose="user_data")
    assert (upload.status, upload.object) == ("pending", "upload")
    first = client.uploads.parts.create(upload.id, data=content[:100_000])
    second = client.uploads.parts.create(upload.id, data=content[100_000:])
    with pytest.raises(openai.BadRequestError, match="made for"):
        client.uploads.complete(upload.id, part_ids=[first.id])
    with pytest.raises(openai.BadRequestError, match="MD5"):
        client.uploads.complete(upload.id, part_ids=[first.id, second.id], md5="0" * 32)
    done = client.uploads.complete(upload.id, part_ids=[first.id, second.id], md5=hashlib.md5(content).hexdigest())
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).read() == content
    with pytest.raises(openai.ConflictError):
        client.uploads.parts.create(upload.id, data=b"more")


def test_an_upload_that_is_cancelled(client: OpenAI, dialects: Running) -> None:
    upload = client.uploads.create(bytes=3, filename="c.bin", mime_type="application/octet-stream", purpose="user_data")
    part = client.uploads.parts.create(upload.id, data=b"abc")
    with pytest.raises(openai.APIStatusError, match="larger"):
        client.uploads.parts.create(upload.id, data=b"d")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert part.id not in [path.name for path in (dialects.folder / ".headrace" / "files").iterdir()]


def test_quotas(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = "[files]\nbytes_max = 1000\nproject_bytes_max = 2500\n[responses]\nretention_days = 0\n" + pool(
        "p", "http://127.0.0.1:9/v1", "m"
    )
    with Installation(tmp_path_factory.mktemp("quota"), settings).serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        with pytest.raises(openai.APIStatusError, match="larger") as large:
            client.files.create(file=("a", b"x" * 200_000), purpose="user_data")
        assert large.value.status_code == 413
        kept = [client.files.create(file=("a", b"x" * 1_000), purpose="user_data").id for _ in range(2)]
        with pytest.raises(openai.APIStatusError, match="may keep 2500"):
            client.files.create(file=("a", b"x" * 1_000), purpose="user_data")
        client.files.delete(kept[0])
        client.files.create(file=("a", b"x" * 1_000), purpose="user_data")
        assert len(list((server.folder / ".headrace" / "files").iterdir())) == 2


def test_a_conversation(client: OpenAI, other: OpenAI) -> None:
    made = client.conversations.create(metadata={"topic": "water"}, items=[{"type": "message", "role": "user", "content": "Hi"}])
    assert client.conversations.retrieve(made.id).metadata == {"topic": "water"}
    assert client.conversations.update(made.id, metadata={"topic": "fire"}).metadata == {"topic": "fire"}
    added = client.conversations.items.create(made.id, items=[{"type": "message", "role": "user", "content": f"{at}"} for at in range(4)])
    assert len(added.data) == 4
    listed = list(client.conversations.items.list(made.id, limit=2, order="asc"))
    assert [item.content[0].text for item in listed if item.type == "message"] == ["Hi", "0", "1", "2", "3"]  # type: ignore[union-attr]
    one = listed[2].id or ""
    assert client.conversations.items.retrieve(one, conversation_id=made.id).id == one
    client.conversations.items.delete(one, conversation_id=made.id)
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.retrieve(one, conversation_id=made.id)
    with pytest.raises(openai.NotFoundError):
        other.conversations.retrieve(made.id)
    assert client.conversations.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.items.list(made.id)


def test_a_request_names_a_file(client: OpenAI, other: OpenAI, polyglot: Polyglot) -> None:
    file = client.files.create(file=("x.txt", b"Water"), purpose="user_data")
    image = client.files.create(file=("x.png", b"PNG"), purpose="vision")
    content: Any = [
        {"type": "input_file", "file_id": file.id},
        {"type": "input_image", "file_id": image.id},
        {"type": "input_text", "text": "?"},
    ]
    first = client.responses.create(model="chat", input=[{"role": "user", "content": content}])
    parts = polyglot.last.body["messages"][0]["content"]
    assert parts[0] == {"type": "file", "file": {"filename": "x.txt", "file_data": "data:text/plain;base64,V2F0ZXI="}}
    assert parts[1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}}
    client.responses.create(model="responses", input="And?", previous_response_id=first.id)
    assert polyglot.last.raw.count(b"V2F0ZXI=") == 1
    with pytest.raises(openai.BadRequestError):
        other.responses.create(model="chat", input=[{"role": "user", "content": content}])


def test_models_tell_what_they_are(client: OpenAI, dialects: Running) -> None:
    told = json.loads(client.models.retrieve("messages").to_json())["x_headrace"]
    assert (told["pools"], told["operations"], told["price_permille_by_class"]["batch"]) == (["messages"], ["chat"], 500)
    with anthropic.Anthropic(base_url=dialects.url, api_key=dialects.key) as claude:
        assert {"chat", "messages"} <= {model.id for model in claude.models.list()}
        assert claude.models.retrieve("chat").display_name == "chat"


# Once.


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_again_is_answered_alike_and_not_worked_on(client: OpenAI, polyglot: Polyglot, stream: bool) -> None:
    def ask(words: str = "Hi") -> bytes:
        asked: Any = {"model": "chat", "messages": [{"role": "user", "content": words}], "stream": stream}
        answer = client.chat.completions.with_raw_response.create(**asked, extra_headers={"Idempotency-Key": f"chat {stream}"})
        return answer.http_response.read()

    first, worked = ask(), len(polyglot.sent)
    assert ask() == first
    assert len(polyglot.sent) == worked
    with pytest.raises(openai.ConflictError, match="another request"):
        ask("Ho")


def test_once_holds_for_every_post(client: OpenAI, other: OpenAI) -> None:
    key = {"Idempotency-Key": "one key"}
    assert client.conversations.create(extra_headers=key).id == client.conversations.create(extra_headers=key).id
    assert other.conversations.create(extra_headers=key).id != client.conversations.create(extra_headers=key).id
    first = client.responses.create(model="chat", input="Hi", extra_headers=key)
    assert client.responses.create(model="chat", input="Hi", extra_headers=key).id == first.id
    file = client.files.create(file=("a", b"x"), purpose="user_data", extra_headers={"Idempotency-Key": "file"})
    with pytest.raises(openai.ConflictError):  # the form's boundary is another each time, so it is another request
        client.files.create(file=("a", b"x"), purpose="user_data", extra_headers={"Idempotency-Key": "file"})
    assert client.files.delete(file.id).deleted


def test_what_came_to_nothing_may_be_asked_again(client: OpenAI, polyglot: Polyglot) -> None:
    key = {"Idempotency-Key": "refused"}
    for _ in range(2):
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="broken", messages=HELLO, extra_headers=key)
    for header in ("", "x" * 300):
        with pytest.raises(openai.BadRequestError, match="Idempotency-Key"):
            client.chat.completions.create(model="chat", messages=HELLO, extra_headers={"Idempotency-Key": header})
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").chat.completions.create(model="chat", messages=HELLO, extra_headers=key)


def test_work_goes_on_for_who_will_ask_again(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    with Installation(tmp_path_factory.mktemp("once"), pool("slow", vendor.url, "answers-long", "answers-slowly")).serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        key = {"Idempotency-Key": "slow"}

        def ask(timeout_s: float) -> str:
            answer = client.chat.completions.create(model="answers-long", messages=HELLO, timeout=timeout_s, extra_headers=key)
            return answer.choices[0].message.content or ""

        with pytest.raises(openai.APITimeoutError):
            ask(0.5)
        with pytest.raises(openai.ConflictError, match="still worked on"):
            ask(5)

        def answered() -> str:
            try:
                return ask(5)
            except openai.ConflictError:
                return ""

        assert eventually(answered, within_s=10, every_s=0.2)
        requests = json.loads(json.dumps(server.metric("headrace_requests_total")))
        assert requests == 1

        def stream() -> bytes:
            heard = client.chat.completions.with_raw_response.create(
                model="answers-slowly", messages=HELLO, stream=True, extra_headers={"Idempotency-Key": "word by word"}
            )
            return heard.http_response.read()

        assert stream() == stream(), "each word comes in a read of its own, and all of them come again"


def test_after_a_kill_in_the_middle_nobody_is_asked_twice(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    installation = Installation(tmp_path_factory.mktemp("killed"), pool("slow", vendor.url, "answers-long", "chat"))
    server = installation.start()
    key = {"Idempotency-Key": "killed"}
    with pytest.raises(openai.APITimeoutError):
        OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0).chat.completions.create(
            model="answers-long", messages=HELLO, timeout=0.5, extra_headers=key
        )
    server.kill()
    with installation.serving() as again:
        client = OpenAI(base_url=again.base_url, api_key=again.key, max_retries=2)
        for _ in range(2):
            with pytest.raises(openai.ConflictError, match=r"may have been done and paid for.*under a new key") as told:
                client.chat.completions.create(model="answers-long", messages=HELLO, extra_headers=key)
            assert told.value.code == "outcome_unknown"
            assert told.value.response.headers["x-should-retry"] == "false"
        assert again.metric("headrace_attempts_total") == 0
        assert client.chat.completions.create(model="answers-long", messages=HELLO, extra_headers={"Idempotency-Key": "new"}).choices


def test_an_answer_that_could_not_be_kept_is_told_within_seconds(tmp_path_factory: pytest.TempPathFactory, polyglot: Polyglot) -> None:
    installation = Installation(tmp_path_factory.mktemp("unkept"), pool("chat", polyglot.url, "chat"))
    with installation.serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        with closing(sqlite3.connect(installation.data / "headrace.sqlite")) as database:
            database.execute("CREATE TRIGGER full BEFORE UPDATE ON once WHEN NEW.state = 'done' BEGIN SELECT RAISE(ABORT, 'no room'); END")
            database.commit()
        key = {"Idempotency-Key": "unkept"}
        asked: Any = {"model": "chat", "messages": HELLO, "extra_headers": key}
        assert client.chat.completions.create(**asked).choices
        sent = len(polyglot.sent)

        def told() -> str | None:
            with pytest.raises(openai.ConflictError) as refused:
                client.chat.completions.create(**asked)
            return refused.value.code if refused.value.code != "conflict" else None

        assert eventually(told, within_s=15, every_s=0.2) == "outcome_unknown", server.said
        assert len(polyglot.sent) == sent


def test_two_at_once_are_one(client: OpenAI, polyglot: Polyglot) -> None:
    outcomes: list[str] = []

    def ask() -> None:
        try:
            outcomes.append(client.responses.create(model="chat", input="Once.", extra_headers={"Idempotency-Key": "race"}).id)
        except openai.ConflictError:
            outcomes.append("conflict")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for one in outcomes if one != "conflict"}) == 1
    assert sum(b"Once." in sent.raw for sent in polyglot.sent) == 1


def test_files_lie_in_a_bucket(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    """Of a server that speaks S3: a file, an upload in parts, and a batch over a file there; nothing of it is on this disk."""
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    address = "http://{}:{}".format(*s3.get_host_and_port())
    credentials = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    boto3.client("s3", endpoint_url=address, region_name="us-east-1", aws_access_key_id="id", aws_secret_access_key="secret").create_bucket(
        Bucket="headrace-files"
    )
    settings = pool("vendor", vendor.url, "answers") + f'[files]\nurl = "s3://headrace-files/eu"\nendpoint = "{address}"\n'
    place = Installation(tmp_path_factory.mktemp("bucket"), settings, credentials)
    try:
        with place.serving() as running, OpenAI(base_url=running.base_url, api_key=running.key, max_retries=0) as client:
            made = client.files.create(file=("a.bin", b"abc" * 1_000), purpose="user_data")
            assert client.files.content(made.id).read() == b"abc" * 1_000
            upload = client.uploads.create(bytes=6, filename="b.bin", mime_type="application/octet-stream", purpose="user_data")
            parts = [client.uploads.parts.create(upload.id, data=data).id for data in (b"abc", b"def")]
            done = client.uploads.complete(upload.id, part_ids=parts, md5=hashlib.md5(b"abcdef").hexdigest()).file
            assert done is not None
            assert client.files.content(done.id).read() == b"abcdef"
            line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "answers", "messages": HELLO}}
            asked = client.files.create(file=("lines.jsonl", json.dumps(line).encode()), purpose="batch")
            batch = client.batches.create(input_file_id=asked.id, endpoint="/v1/chat/completions", completion_window="24h")
            ended = eventually(lambda: (one := client.batches.retrieve(batch.id)).status == "completed" and one, 60, 0.2)
            assert ended
            assert ended.output_file_id is not None
            assert json.loads(client.files.content(ended.output_file_id).read())["response"]["status_code"] == 200
            assert client.files.delete(made.id).deleted
            assert not (place.data / "files").exists() or not list((place.data / "files").iterdir())
            s3.stop()
            with pytest.raises(openai.APIStatusError) as refused:
                client.files.create(file=("a.bin", b"abc"), purpose="user_data")
            assert refused.value.status_code == 503
    finally:
        s3.stop()


def test_what_is_kept_keeps_its_rules(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    """Whatever goes on from it is under the rules under which it was said, with another key too, and where it asks for nothing itself."""
    settings = pool("first", vendor.url, "answers", vendor="one") + pool("second", vendor.url, "answers", vendor="two")
    bound = '[[key]]\nname = "bound"\nsecret_env = "BOUND"\n[[key]]\nname = "free"\nsecret_env = "FREE"\n'
    rule = '[[rule]]\nname = "one-only"\nkey = "bound"\nvendors = ["one"]\n'
    secrets = {"BOUND": "sk-bound-0123456789", "FREE": "sk-free-0123456789"}
    place = Installation(tmp_path_factory.mktemp("rules"), settings + bound + rule, secrets)
    one, two = {"x-headrace-vendors": "one"}, {"x-headrace-vendors": "two"}
    with place.serving() as running:
        mine, its = (OpenAI(base_url=running.base_url, api_key=secrets[name], max_retries=0) for name in ("FREE", "BOUND"))

        def turn(client: OpenAI = mine, headers: dict[str, str] | None = None, **before: Any) -> Any:
            return client.responses.create(model="answers", input="Hi", extra_headers=headers or {}, **before)

        def refused(**before: Any) -> None:
            with pytest.raises(openai.PermissionDeniedError, match="rules"):
                turn(headers=two, **before)

        assert turn(headers=two).id, "the other vendor would serve it"
        first = turn(headers=one)
        refused(previous_response_id=first.id)
        second = turn(previous_response_id=first.id)
        refused(previous_response_id=second.id)
        refused(previous_response_id=turn(its).id)

        grown, born = mine.conversations.create(), mine.conversations.create(extra_headers=one)
        turn(headers=one, conversation=grown.id)
        refused(conversation=grown.id)
        refused(conversation=born.id)
        named = mine.conversations.create()
        mine.conversations.items.create(named.id, items=[{"type": "message", "role": "user", "content": "Hi"}], extra_headers=one)
        refused(conversation=named.id)
