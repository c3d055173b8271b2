"""The official client of A2A with headrace: `pytest a2a_suite.py` in .venv-clients, with HEADRACE_URL and HEADRACE_KEY set. Its model asks
for no tools."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
import pytest
from a2a.client import ClientConfig, ClientFactory
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import Client
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    TaskState,
)
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError

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
