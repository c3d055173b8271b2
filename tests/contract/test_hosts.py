"""Two hosts and one PostgreSQL: what one keeps the other serves, what one is told holds on both, and what happens when either is gone."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from openai import APIStatusError, AuthenticationError, ConflictError, OpenAI

from tests.dialects import TEXT, Polyglot
from tests.postgres import Postgres, postgres
from tests.server import KEY, Installation, Running, at_once, eventually, pool
from tests.vendor import Vendor

ADMIN = "sk-hr-0123456789012345678901234567890123"
SHARED_KEY = '[[key]]\nname = "shared"\nsecret_env = "SHARED_KEY"\norganization = "default"\nproject = "default"\nadmin = true\n'
CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Postgres]:
    with postgres() as one:
        yield one


def installation(folder: Path, name: str, url: str, more: str) -> Installation:
    settings = f'{more}{SHARED_KEY}[storage]\nurl = "{url}"\n[files]\nurl = "file://{folder}/files"\n'
    return Installation(folder / name, settings, {"SHARED_KEY": ADMIN})


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, cluster: Postgres, polyglot: Polyglot) -> Iterator[tuple[Running, Running]]:
    folder = tmp_path_factory.mktemp("hosts")
    one, two = (installation(folder, name, cluster.url, pool("chat", polyglot.url, "chat")) for name in ("one", "two"))
    with one.serving() as first, two.serving("--workers", "2") as second:
        yield first, second


@contextmanager
def client(server: Running, key: str = ADMIN) -> Iterator[OpenAI]:
    """On a connection of its own."""
    with OpenAI(base_url=server.base_url, api_key=key, max_retries=0) as opened:
        yield opened


def lines(*models: str) -> bytes:
    """The input of a batch."""
    bodies = [{"model": model, "messages": [{"role": "user", "content": "Of a batch of hosts."}]} for model in models]
    told = [{"custom_id": str(at), "method": "POST", "url": CHAT, "body": body} for at, body in enumerate(bodies)]
    return "\n".join(map(json.dumps, told)).encode()


def test_responses_and_conversations_go_on_at_any_host(hosts: tuple[Running, Running]) -> None:
    previous: str | None = None
    for server in hosts * 3:
        with client(server) as asking:
            previous = asking.responses.create(model="chat", input="Go on.", previous_response_id=previous).id
    for server in hosts:
        with client(server) as asking:
            assert len(list(asking.responses.input_items.list(previous or ""))) == 11
    with client(hosts[0]) as asking:
        conversation = asking.conversations.create(items=[{"type": "message", "role": "user", "content": "Hello."}]).id
    with client(hosts[1]) as asking:
        asking.responses.create(model="chat", input="And then?", conversation=conversation)
    with client(hosts[0]) as asking:
        assert len(list(asking.conversations.items.list(conversation))) == 3


def test_a_response_in_the_background_is_followed_elsewhere(hosts: tuple[Running, Running]) -> None:
    with client(hosts[0]) as asking:
        made = asking.responses.create(model="chat", input="Hi", background=True)
    with client(hosts[1]) as asking:
        assert [event.type for event in asking.responses.retrieve(made.id, stream=True)][-1] == "response.completed"
        assert asking.responses.retrieve(made.id).output_text == "".join(TEXT)


def test_one_key_is_worked_on_once_among_hosts(hosts: tuple[Running, Running], polyglot: Polyglot) -> None:
    answers: set[str] = set()

    def ask(server: Running) -> None:
        def answered() -> bool:
            with client(server) as asking:
                try:
                    more = {"Idempotency-Key": "among hosts"}
                    answers.add(asking.responses.with_raw_response.create(model="chat", input="Only here.", extra_headers=more).text)
                except ConflictError:
                    return False  # the first is still worked on
                return True

        assert eventually(answered)

    at_once(*[lambda server=server: ask(server) for server in hosts * 4])
    assert len(answers) == 1
    assert sum(b"Only here." in sent.raw for sent in polyglot.sent) == 1


def test_a_file_of_one_host_is_a_batch_of_another(hosts: tuple[Running, Running], polyglot: Polyglot) -> None:
    with client(hosts[0]) as asking:
        file = asking.files.create(file=("x.jsonl", lines(*["chat"] * 40)), purpose="batch")
    with client(hosts[1]) as asking:
        made = [asking.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h").id for _ in range(3)]
    with client(hosts[0]) as asking:
        for id in made:
            assert eventually(lambda: asking.batches.retrieve(id).status == "completed", within_s=30, every_s=0.2)  # noqa: B023 -- asked at once
            assert len(asking.files.content(asking.batches.retrieve(id).output_file_id or "").text.splitlines()) == 40
    assert sum(b"Of a batch of hosts." in sent.raw for sent in polyglot.sent) == 120


def works(server: Running, secret: str) -> bool:
    """Whether a key does."""
    with client(server, secret) as asking:
        try:
            return bool(asking.chat.completions.create(model="chat", messages=[{"role": "user", "content": "Hi"}]))
        except AuthenticationError:
            return False


def test_a_key_that_is_made_or_revoked_is_so_everywhere(hosts: tuple[Running, Running]) -> None:
    first, second = hosts
    with client(first) as admin:
        secret = admin.post("/keys", body={"name": "of one host"}, cast_to=dict[str, str])["secret"]
    assert works(first, secret), "whoever made it may use it at once"
    assert eventually(lambda: works(second, secret))
    Installation(second.folder).run("keys", "revoke", "of one host")
    assert eventually(lambda: not works(first, secret))
    assert eventually(lambda: not works(second, secret))
    listed = Installation(first.folder).run("audit", "list", "--format", "json").stdout
    assert [one["what"] for one in json.loads(listed)] == ["api_key.created", "api_key.deleted"]


def test_one_host_becomes_one_of_several(tmp_path: Path, cluster: Postgres, polyglot: Polyglot) -> None:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE moved")
    url, served = cluster.url.replace("/postgres?", "/moved?"), pool("chat", polyglot.url, "chat")
    alone = Installation(tmp_path / "one", served)
    secret = KEY.search(alone.run("keys", "create", "old").stdout)
    assert secret is not None
    several = installation(tmp_path, "one", url, served)
    assert "headrace storage move" in several.run("serve", "--port", "0", expect=1).stderr
    assert {"api_key", "audit_entry"} <= {row["table"] for row in json.loads(several.run("storage", "move", "--format", "json").stdout)}
    with several.serving() as server:
        assert works(server, secret[0])
    assert "lies in PostgreSQL already" in several.run("storage", "move", expect=1).stderr
    assert "1 entries" in several.run("audit", "verify").stdout
    (tmp_path / "one" / "headrace.toml").write_text(served)
    assert "set [storage] url again" in alone.run("serve", "--port", "0", expect=1).stderr


def test_without_the_database_chats_go_on_and_the_rest_says_so(hosts: tuple[Running, Running], cluster: Postgres) -> None:
    def code(ask: object) -> str:
        try:
            return str(ask()) and "done"  # type: ignore[operator]
        except APIStatusError as wrong:
            return f"{wrong.status_code} {wrong.code}"

    with client(hosts[0]) as asking:
        kept = asking.responses.create(model="chat", input="Before.").id
        cluster.kill()
        assert eventually(lambda: code(lambda: asking.responses.retrieve(kept)) == "503 store_unreachable")
        for ask in (
            lambda: asking.responses.create(model="chat", input="Hi"),
            lambda: asking.files.create(file=("x", b"x"), purpose="batch"),
            lambda: asking.chat.completions.create(
                model="chat", messages=[{"role": "user", "content": "Hi"}], extra_headers={"Idempotency-Key": "of an outage"}
            ),
        ):
            assert code(ask) == "503 store_unreachable"
        assert works(hosts[0], ADMIN)
        assert code(lambda: asking.responses.create(model="chat", input="Hi", store=False)) == "done"
        doctor = Installation(hosts[0].folder, environment={"SHARED_KEY": ADMIN}).run("doctor", expect=1).stdout
        assert "PostgreSQL can't be reached" in doctor
        cluster.start()
        assert eventually(lambda: code(lambda: asking.responses.retrieve(kept)) == "done")
        assert code(lambda: asking.files.create(file=("x", b"x"), purpose="batch")) == "done"
    with client(hosts[1]) as asking:
        assert eventually(lambda: code(lambda: asking.responses.retrieve(kept)) == "done")


def test_a_batch_outlives_its_host_and_no_line_is_asked_twice(tmp_path: Path, cluster: Postgres) -> None:
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE outlived")
    url = cluster.url.replace("/postgres?", "/outlived?")
    with Vendor.open() as vendor:
        more = pool("vendor", vendor.url, "answers", "stalls-at-once") + "[batches]\nconcurrency_max = 4\n"
        one, two = (installation(tmp_path, name, url, more) for name in ("one", "two"))
        asked = ["answers"] * 6 + ["stalls-at-once"] * 4 + ["answers"] * 6
        with one.serving() as first:
            with client(first) as asking:
                file = asking.files.create(file=("x.jsonl", lines(*asked)), purpose="batch")
                id = asking.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h").id
                assert eventually(lambda: len(vendor.bills) == 10), "the four that stall are asked, and nothing behind them"
            first.kill()
        with two.serving() as second, client(second) as asking:
            assert eventually(lambda: asking.batches.retrieve(id).status == "completed", within_s=60, every_s=0.3)
            done = asking.batches.retrieve(id)
            assert done.request_counts is not None
            assert (done.request_counts.completed, done.request_counts.failed) == (12, 4)
            errors = asking.files.content(done.error_file_id or "").text.splitlines()
            assert {json.loads(line)["error"]["code"] for line in errors} == {"interrupted"}
        assert len(vendor.bills) == 16
