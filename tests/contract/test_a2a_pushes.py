"""Push notifications of A2A 1.0 by the real server: addresses given, shown without their secrets and taken back, and what they are told.

The official client does the same in tests/frameworks/a2a_suite.py.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.agent import Agent, house, state
from tests.receiver import Receiver, receiving
from tests.server import Installation, Running, eventually, pool, priced
from tests.talker import Talker
from tests.visitor import Visitor

TOKEN, CREDENTIALS = "it-is-you", "another-secret"
SHOWN = {"token": TOKEN, "authentication": {"scheme": "Bearer", "credentials": CREDENTIALS}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, talker: Talker) -> Installation:
    return house(tmp_path_factory.mktemp("house"), talker, "private_networks = true")


@pytest.fixture(scope="module")
def coder(server: Running, place: Installation) -> Agent:
    return Agent(server, place, "coder")


@pytest.fixture(scope="module")
def visitor(server: Running, place: Installation) -> Agent:
    return Agent(server, place, "visitor")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def send(agent: Agent, text: str, push: dict[str, Any]) -> dict[str, Any]:
    configuration = {"returnImmediately": True, "taskPushNotificationConfig": push}
    task: dict[str, Any] = agent.call("SendMessage", message=agent.message(text), configuration=configuration)["result"]["task"]
    return task


def told(receiver: Receiver) -> list[str]:
    """The states, and the names of what came of it, as they were told."""
    return [
        state(one["statusUpdate"]) if "statusUpdate" in one else str(one["artifactUpdate"]["artifact"]["name"]) for one in receiver.told
    ]


def create(agent: Agent, task: str, **more: Any) -> dict[str, Any]:
    return agent.call("CreateTaskPushNotificationConfig", taskId=task, **more)


def test_what_becomes_of_a_task_is_told_in_its_order_with_what_shows_who_tells_it(coder, receiver):
    task = send(coder, "Write hello.py", {"id": "mine", "url": receiver.url, **SHOWN})
    assert eventually(lambda: told(receiver) == ["WORKING", "answer", "hello.py", "COMPLETED"]), told(receiver)
    for headers, _ in receiver.heard:
        assert headers["content-type"] == "application/json"
        assert headers["x-a2a-notification-token"] == headers["a2a-notification-token"] == TOKEN
        assert headers["authorization"] == f"Bearer {CREDENTIALS}"
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 4
    assert all(len(one) == 1 for one in receiver.told), "one of what a StreamResponse may be"
    first, answer, file, last = (next(iter(one.values())) for one in receiver.told)
    assert {(one["taskId"], one["contextId"]) for one in (first, answer, file, last)} == {(task["id"], task["contextId"])}
    assert (answer["artifact"]["parts"], answer["lastChunk"]) == ([{"text": "I wrote **hello.py**."}], True)
    assert file["artifact"]["parts"][0]["text"] == "print('hello')\n"
    assert last["status"]["message"]["parts"] == [{"text": "I wrote **hello.py**."}]


def test_what_was_not_heard_is_told_again_unless_later_news_overtook_it(coder, receiver):
    receiver.fails = [500, 204, 413]
    send(coder, "Write hello.py", {"url": receiver.url})
    assert eventually(lambda: told(receiver)[4:] == ["hello.py"], 12), told(receiver)
    assert told(receiver)[:4] == ["WORKING", "answer", "hello.py", "COMPLETED"], "how it stands does not wait for what was refused"
    ids = [headers["webhook-id"] for headers, _ in receiver.heard]
    assert ids[4] == ids[2], "one message, so who has heard it already can tell"
    assert "authorization" not in receiver.heard[0][0]


def test_a_task_that_waits_says_so_and_so_does_one_that_is_stopped_then(server, visitor, receiver):
    task = send(visitor, "Read https://collect.invalid/?a=1 for me", {"url": receiver.url})
    assert eventually(lambda: told(receiver) == ["WORKING", "INPUT_REQUIRED"]), told(receiver)
    says = receiver.told[1]["statusUpdate"]["status"]["message"]["parts"][0]["text"]
    assert "needs its owner's leave for fetch" in says
    assert "collect.invalid" not in says
    owner = Visitor(server).sign_in(visitor.key)
    (call,) = owner.get("/inbox")["waiting"][0]["asks"]
    owner.post(f"/threads/{task['id']}/answer", {"calls": {call["call"]["id"]: False}})
    assert eventually(lambda: told(receiver)[2:] == ["WORKING", "answer", "COMPLETED"]), told(receiver)
    other = send(visitor, "Read https://collect.invalid/?a=1 for me", {"url": receiver.url})
    assert eventually(lambda: told(receiver)[5:] == ["WORKING", "INPUT_REQUIRED"]), told(receiver)
    assert state(visitor.call("CancelTask", id=other["id"])["result"]) == "CANCELED"
    assert eventually(lambda: told(receiver)[7:] == ["CANCELED"]), told(receiver)


def test_a_file_whose_name_is_no_text_keeps_nobody_from_being_told(server, place, visitor, receiver):
    task = send(visitor, "Read https://collect.invalid/?a=1 for me", {"url": receiver.url})
    assert eventually(lambda: told(receiver) == ["WORKING", "INPUT_REQUIRED"]), told(receiver)
    owner = Visitor(server).sign_in(visitor.key)
    work = place.data / "runs" / owner.get(f"/threads/{task['id']}")["run"] / "draft" / "work"
    (work / os.fsdecode(b"no-\xff")).write_text("x")
    assert state(visitor.call("CancelTask", id=task["id"])["result"]) == "CANCELED"
    assert eventually(lambda: told(receiver)[2:] == ["no-\ufffd", "CANCELED"]), told(receiver)


def test_nobody_is_told_of_another_task_and_webhooks_are_not_told_in_its_words(server, coder, receiver):
    send(coder, "Write hello.py", {"url": receiver.url})
    assert eventually(lambda: told(receiver)[-1:] == ["COMPLETED"])
    owner = Visitor(server).sign_in(coder.key)
    assert owner.get("/webhooks")["webhooks"] == [], "another agent's address is no webhook of the owner's"
    heard = len(receiver.heard)
    coder.send("Write hello.py")
    with receiving() as later:
        send(coder, "Write hello.py", {"url": later.url})
        assert eventually(lambda: told(later)[-1:] == ["COMPLETED"])
    assert len(receiver.heard) == heard


def test_addresses_are_made_shown_without_their_secrets_and_taken_back(coder, visitor, receiver):
    task = coder.send("Write hello.py")["id"]
    made = create(coder, task, id="one", url=receiver.url, **SHOWN)["result"]
    assert made == {"id": "one", "taskId": task, "url": receiver.url, **SHOWN}, "whoever gave it sees it this once"
    shown = {"id": "one", "taskId": task, "url": receiver.url, "authentication": {"scheme": "Bearer"}}
    assert coder.call("GetTaskPushNotificationConfig", taskId=task, id="one")["result"] == shown
    named = create(coder, task, url=f"{receiver.url}/2")["result"]
    assert named["id"]
    assert create(coder, task, url=f"{receiver.url}/2")["result"] == named, "given again it is the same"
    create(coder, task, id="one", url=f"{receiver.url}/3")
    listed = coder.call("ListTaskPushNotificationConfigs", taskId=task)["result"]
    assert listed == {"configs": [{"id": "one", "taskId": task, "url": f"{receiver.url}/3"}, named], "nextPageToken": ""}
    asked = {"taskId": task, "id": "one"}
    for method, params in (
        ("CreateTaskPushNotificationConfig", {"taskId": task, "url": receiver.url}),
        ("GetTaskPushNotificationConfig", asked),
        ("ListTaskPushNotificationConfigs", {"taskId": task}),
        ("DeleteTaskPushNotificationConfig", asked),
    ):
        assert visitor.call(method, **params)["error"]["code"] == -32001, f"{method}: the task is another's"
    assert coder.call("DeleteTaskPushNotificationConfig", **asked)["result"] == {}
    assert coder.call("DeleteTaskPushNotificationConfig", **asked)["result"] == {}, "it is gone either way"
    assert coder.call("GetTaskPushNotificationConfig", **asked)["error"]["code"] == -32001
    assert receiver.heard == []


def test_the_same_over_http_with_json(coder, visitor, receiver):
    task = coder.send("Write hello.py")["id"]
    at = f"/a2a/tasks/{task}/pushNotificationConfigs"
    made = {"id": "one", "taskId": task, "url": receiver.url, "token": TOKEN}
    assert coder.post(at, {"id": "one", "url": receiver.url, "token": TOKEN, "taskId": "thread_none"}) == (200, made)
    del made["token"]
    assert coder.get(f"{at}/one") == (200, made)
    assert coder.get(at) == (200, {"configs": [made], "nextPageToken": ""})
    assert visitor.get(at)[0] == visitor.get(f"{at}/one")[0] == visitor.post(at, {"url": receiver.url})[0] == 404
    assert coder.delete(f"{at}/one") == (200, {})
    assert coder.get(f"{at}/one")[0] == 404


def test_what_was_taken_back_is_told_nothing_and_goes_with_its_task(server, place, talker, receiver):
    slow = Agent(server, place, "slow")
    talker.go.clear()
    task = send(slow, "Talk", {"id": "gone", "url": receiver.url})
    create(slow, task["id"], id="stays", url=f"{receiver.url}/stays", **SHOWN)
    assert eventually(lambda: told(receiver)[:1] == ["WORKING"])
    heard = len(receiver.heard)
    slow.call("DeleteTaskPushNotificationConfig", taskId=task["id"], id="gone")
    talker.go.set()
    assert eventually(lambda: told(receiver)[heard:] == ["answer", "COMPLETED"]), told(receiver)
    owner = Visitor(server).sign_in(slow.key)
    with closing(sqlite3.connect(place.data / "headrace.sqlite")) as database:
        count = "SELECT count(*) FROM subscriber WHERE thread = ?"
        assert database.execute(count, (task["id"],)).fetchone() == (1,)
        assert owner.call("DELETE", f"/workspace/api/threads/{task['id']}")[0] == 204
        assert database.execute(count, (task["id"],)).fetchone() == (0,)


def test_a_task_has_so_many_addresses(coder, receiver):
    task = coder.send("Write hello.py")["id"]
    for number in range(10):
        assert "result" in create(coder, task, id=str(number), url=receiver.url)
    assert create(coder, task, id="10", url=receiver.url)["error"]["code"] == -32602
    assert "result" in create(coder, task, id="9", url=f"{receiver.url}/else"), "in the place of another"


@pytest.mark.parametrize(
    ("push", "says"),
    [
        ({"url": "file:///etc/passwd"}, "no address of a web server"),
        ({}, "no address of a web server"),
        ({"url": "http://no-such-host.invalid/"}, "no address of the internet"),
        ({"url": "http://no..name/"}, "no address of the internet"),
        ({"token": "a\r\nx-forged: 1"}, "goes into a header"),
        ({"token": "t" * 4_001}, "goes into a header"),
        ({"authentication": {"scheme": "Bearer", "credentials": "a\nb"}}, "goes into a header"),
        ({"authentication": {"credentials": "a"}}, "such as Bearer"),
        ({"authentication": {"scheme": "Bearer a\r\nx:", "credentials": "a"}}, "such as Bearer"),
        ({"id": "x" * 201}, "at most 200 letters"),
        ({"url": "http://127.0.0.1/" + "x" * 2_000}, "at most 2,000 letters"),
    ],
)
def test_what_nobody_can_be_told_by_is_refused(coder, push, says):
    push = {"url": "http://127.0.0.1:1/", **push} if push else push
    before = coder.call("ListTasks")["result"]["totalSize"]
    refused = coder.call("SendMessage", message=coder.message("Write it"), configuration={"taskPushNotificationConfig": push})["error"]
    assert (refused["code"], says in refused["message"]) == (-32602, True), refused
    assert coder.call("ListTasks")["result"]["totalSize"] == before, "and no task was begun"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, talker: Talker) -> Iterator[Agent]:
    """A server as it is without settings: private networks are closed."""
    place = Installation(
        tmp_path_factory.mktemp("guarded"), "[agents]\nbrowser = ''\n" + pool("coder", talker.url, "coder") + priced("coder")
    )
    with place.serving() as server:
        yield Agent(server, place, "coder")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://example.org/", "over https"),
        ("https://127.0.0.1/", "no address of the internet"),
        ("https://localhost/", "no address of the internet"),
        ("https://[::1]/", "no address of the internet"),
        ("https://169.254.169.254/latest/meta-data/", "no address of the internet"),
        ("https://[::ffff:10.0.0.1]/", "no address of the internet"),
    ],
)
def test_an_address_inside_of_our_networks_is_refused(guarded, url, says):
    push = {"url": url}
    refused = guarded.call("SendMessage", message=guarded.message("Write it"), configuration={"taskPushNotificationConfig": push})["error"]
    assert (refused["code"], says in refused["message"]) == (-32602, True), refused
    status, told = guarded.post(
        "/a2a/message:send", {"message": guarded.message("It"), "configuration": {"taskPushNotificationConfig": push}}
    )
    assert (status, told["error"]["status"]) == (400, "INVALID_ARGUMENT")
