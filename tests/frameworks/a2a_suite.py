"""The official client of A2A with headrace: `pytest a2a_suite.py` in .venv-clients, with HEADRACE_URL and HEADRACE_KEY set. Its model asks
for no tools."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import httpx
import pytest
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import Client
from a2a.types.a2a_pb2 import (
    AuthenticationInfo,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import InvalidParamsError, TaskNotCancelableError, TaskNotFoundError
from google.protobuf.json_format import Parse

URL, KEY = os.environ["HEADRACE_URL"], os.environ["HEADRACE_KEY"]


@asynccontextmanager
async def client(binding: str, *, streaming: bool) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"}, timeout=60) as http:
        card = await A2ACardResolver(http, URL).get_agent_card()
        config = ClientConfig(httpx_client=http, streaming=streaming, supported_protocol_bindings=[binding])
        yield ClientFactory(config).create(card)


async def said(one: Client, text: str) -> list[StreamResponse]:
    message = Message(message_id=str(uuid4()), role=Role.ROLE_USER, parts=[Part(text=text)])
    return [event async for event in one.send_message(SendMessageRequest(message=message))]


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
def test_a_task_is_sent_found_listed_and_over(binding: str) -> None:
    async def story() -> None:
        async with client(binding, streaming=False) as one:
            (answered,) = await said(one, "Say something")
            task = answered.task
            assert task.status.state == TaskState.TASK_STATE_COMPLETED
            assert task.artifacts[0].parts[0].text
            found = await one.get_task(GetTaskRequest(id=task.id))
            assert found.artifacts[0].parts[0].text == task.artifacts[0].parts[0].text
            assert task.id in [each.id for each in (await one.list_tasks(ListTasksRequest(context_id=task.context_id))).tasks]
            with pytest.raises(TaskNotCancelableError):
                await one.cancel_task(CancelTaskRequest(id=task.id))
            with pytest.raises(TaskNotFoundError):
                await one.get_task(GetTaskRequest(id="thread_none"))

    asyncio.run(story())


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
def test_what_happens_is_streamed(binding: str) -> None:
    async def story() -> None:
        async with client(binding, streaming=True) as one:
            first, *rest = await said(one, "Say something")
            assert first.HasField("task")
            assert rest[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
            words = [event.artifact_update for event in rest if event.HasField("artifact_update")]
            assert words[-1].last_chunk
            assert "".join(each.artifact.parts[0].text for each in words if not each.last_chunk) == words[-1].artifact.parts[0].text

    asyncio.run(story())


class Receiver(ThreadingHTTPServer):
    """An address of ours, and what it was told: tokens, authorizations, and what happened in the client's own types."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[tuple[str | None, str | None, StreamResponse]] = []
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        said = Parse(self.rfile.read(int(self.headers["content-length"])), StreamResponse())
        self.server.told.append((self.headers["X-A2A-Notification-Token"], self.headers["Authorization"], said))
        self.send_response(200)
        self.end_headers()
        if said.status_update.status.state == TaskState.TASK_STATE_COMPLETED:
            self.server.over.set()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    with Receiver() as receiver:
        threading.Thread(target=receiver.serve_forever, daemon=True, kwargs={"poll_interval": 0.05}).start()
        yield receiver
        receiver.shutdown()


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
def test_what_becomes_of_a_task_is_pushed(binding: str) -> None:
    shown = AuthenticationInfo(scheme="Bearer", credentials="a-secret")

    async def story(receiver: Receiver) -> None:
        async with client(binding, streaming=False) as one:
            push = TaskPushNotificationConfig(id="mine", url=receiver.url, token="it-is-you", authentication=shown)
            message = Message(message_id=str(uuid4()), role=Role.ROLE_USER, parts=[Part(text="Say something")])
            asked = SendMessageConfiguration(return_immediately=True, task_push_notification_config=push)
            (answered,) = [each async for each in one.send_message(SendMessageRequest(message=message, configuration=asked))]
            assert await asyncio.to_thread(receiver.over.wait, 30)
            assert {(token, authorization) for token, authorization, _ in receiver.told} == {("it-is-you", "Bearer a-secret")}
            pushed = [each for _, _, each in receiver.told]
            assert [each.WhichOneof("payload") for each in pushed] == ["status_update", "artifact_update", "status_update"]
            assert {each.status_update.task_id or each.artifact_update.task_id for each in pushed} == {answered.task.id}
            found = await one.get_task(GetTaskRequest(id=answered.task.id))
            assert pushed[1].artifact_update.artifact == found.artifacts[0]
            assert pushed[2].status_update.status == found.status

    with receiving() as receiver:
        asyncio.run(story(receiver))


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
def test_addresses_are_created_found_listed_and_deleted(binding: str) -> None:
    async def story() -> None:
        async with client(binding, streaming=False) as one:
            (answered,) = await said(one, "Say something")
            task, url = answered.task.id, "http://127.0.0.1:1/hook"
            asked = TaskPushNotificationConfig(task_id=task, id="mine", url=url, token="it-is-you")
            assert await one.create_task_push_notification_config(asked) == asked
            named = await one.create_task_push_notification_config(TaskPushNotificationConfig(task_id=task, url=f"{url}/2"))
            assert named.id
            request = GetTaskPushNotificationConfigRequest(task_id=task, id="mine")
            found = await one.get_task_push_notification_config(request)
            assert (found.id, found.task_id, found.url, found.token) == ("mine", task, url, "")
            all_of_it = ListTaskPushNotificationConfigsRequest(task_id=task)
            assert list((await one.list_task_push_notification_configs(all_of_it)).configs) == [found, named]
            await one.delete_task_push_notification_config(DeleteTaskPushNotificationConfigRequest(task_id=task, id="mine"))
            assert list((await one.list_task_push_notification_configs(all_of_it)).configs) == [named]
            with pytest.raises(TaskNotFoundError):
                await one.get_task_push_notification_config(request)
            with pytest.raises(InvalidParamsError):
                await one.create_task_push_notification_config(TaskPushNotificationConfig(task_id=task, url="ftp://example.org"))

    asyncio.run(story())
