"""OpenAI's Responses by the official client, unchanged but for its address, over pools of three dialects and the embedded model.

The cases of Open Responses' compliance suite are among them, written anew: text, streams, instructions, phases, tools, images, turns,
WebSockets, compaction. `scripts/open_responses.sh` runs the suite itself.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import ResponseCompletedEvent
from pydantic import BaseModel
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.contract.conftest import OTHER_KEY
from tests.dialects import ARGUMENTS, TEXT, THOUGHT, TOKENS_CACHED, TOKENS_IN, TOKENS_OUT, Polyglot
from tests.server import Installation, Running, eventually, pool
from tests.vendor import Vendor

WHOLE = "".join(TEXT)
MODELS = ("chat", "messages", "responses")
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False},
    "strict": True,
}


@pytest.fixture(scope="module")
def client(dialects: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=dialects.base_url, api_key=dialects.key, max_retries=0) as opened:
        yield opened


@pytest.fixture
def socket(dialects: Running) -> Iterator[Connection]:
    with opened(dialects) as connection:
        yield connection


def opened(server: Running) -> Connection:
    url = f"ws://127.0.0.1:{server.port}/v1/responses"
    return connect(url, additional_headers={"authorization": f"Bearer {server.key}"}, proxy=None)


def said(socket: Connection, **asked: object) -> list[dict[str, Any]]:
    """The events of one turn."""
    socket.send(json.dumps({"type": "response.create", **asked}))
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in ("response.completed", "response.incomplete", "response.failed", "error"):
        events.append(json.loads(socket.recv(timeout=10)))
    return events


# One response.


@pytest.mark.parametrize("model", MODELS)
def test_a_whole_response(client: OpenAI, model: str) -> None:
    response = client.responses.create(model=model, input=[{"type": "message", "role": "user", "content": "Where does water run?"}])
    assert (response.status, response.output_text, response.error) == ("completed", WHOLE, None)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.input_tokens_details.cached_tokens) == (TOKENS_IN, TOKENS_CACHED)
    assert response.usage.output_tokens == TOKENS_OUT


def test_a_response_of_ours_says_all_that_it_was_asked(client: OpenAI) -> None:
    raw = client.responses.with_raw_response.create(
        model="chat", input="Hi", instructions="Be brief.", metadata={"a": "b"}, max_output_tokens=100, tools=[WEATHER], temperature=0.5
    )
    told = json.loads(raw.text)
    expected = {
        "object": "response",
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "max_output_tokens": 100,
        "temperature": 0.5,
        "top_p": 1.0,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "top_logprobs": 0,
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "store": True,
        "background": False,
        "service_tier": "default",
        "previous_response_id": None,
        "incomplete_details": None,
        "max_tool_calls": None,
        "safety_identifier": None,
        "prompt_cache_key": None,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
    }
    assert {name: told[name] for name in expected} == expected
    assert isinstance(told["completed_at"], int)
    assert told["tools"] == [WEATHER]


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_response(client: OpenAI, model: str) -> None:
    with client.responses.stream(model=model, input="Count to five.") as stream:
        events = list(stream)
        response = stream.get_final_response()
    kinds: list[str] = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    for begun, done in (("output_item.added", "output_item.done"), ("content_part.added", "content_part.done")):
        assert kinds.count(f"response.{begun}") == kinds.count(f"response.{done}") > 0
    assert [event.sequence_number for event in events if hasattr(event, "sequence_number")] == list(range(len(events)))
    assert response.output_text == WHOLE


def test_instructions_come_first(client: OpenAI, polyglot: Polyglot) -> None:
    turns: Any = [
        {"type": "message", "role": "system", "content": "Talk like a pirate."},
        {"type": "message", "role": "user", "content": "My name is Alice."},
        {"type": "message", "role": "assistant", "content": "Hello Alice!"},
        {"type": "message", "role": "user", "content": "What is my name?"},
    ]
    client.responses.create(model="chat", instructions="Be brief.", input=turns)
    roles = [message["role"] for message in polyglot.last.body["messages"]]
    assert roles == ["system", "system", "user", "assistant", "user"]


@pytest.mark.parametrize("model", MODELS)
def test_what_the_assistant_said_may_have_a_phase(client: OpenAI, polyglot: Polyglot, model: str) -> None:
    turns: Any = [
        {"type": "message", "role": "assistant", "phase": "commentary", "content": "I look for the number."},
        {"type": "message", "role": "assistant", "phase": "final_answer", "content": "The number is four."},
        {"type": "message", "role": "user", "content": "Repeat only the number."},
    ]
    assert client.responses.create(model=model, input=turns).status == "completed"
    assert b"The number is four." in polyglot.last.raw
    assert (b"final_answer" in polyglot.last.raw) == (model == "responses")


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_an_image_passes(client: OpenAI, polyglot: Polyglot, model: str) -> None:
    parts: Any = [{"type": "input_text", "text": "What is this?"}, {"type": "input_image", "image_url": PIXEL}]
    response = client.responses.create(model=model, input=[{"role": "user", "content": parts}])
    assert response.status == "completed"
    assert PIXEL.partition(",")[2] in polyglot.last.raw.decode()


def test_an_answer_that_was_cut_short_says_so(client: OpenAI) -> None:
    response = client.responses.create(model="chat", input="Hi", max_output_tokens=16)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_is_called_and_answered(client: OpenAI, polyglot: Polyglot, model: str) -> None:
    asked = client.responses.create(model=model, input="The weather in Ghent?", tools=[WEATHER])
    call = asked.output[-1]
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments), call.status) == ("weather", json.loads(ARGUMENTS), "completed")
    answer = client.responses.create(
        model=model,
        previous_response_id=asked.id,
        tools=[WEATHER],
        input=[{"type": "function_call_output", "call_id": call.call_id, "output": "Rain."}],
    )
    assert answer.output_text == WHOLE
    assert b"Rain." in polyglot.last.raw
    assert b"The weather in Ghent?" in polyglot.last.raw


@pytest.mark.parametrize("model", MODELS)
def test_an_output_needs_its_call(client: OpenAI, polyglot: Polyglot, model: str) -> None:
    said = client.responses.create(model=model, input="Hi", tools=[WEATHER], tool_choice="none")
    sent = len(polyglot.sent)
    with pytest.raises(openai.BadRequestError, match="No tool call found for function_call_output with call_id 'call_9'"):
        client.responses.create(
            model=model, previous_response_id=said.id, input=[{"type": "function_call_output", "call_id": "call_9", "output": "Rain."}]
        )
    assert len(polyglot.sent) == sent


def test_an_output_whose_call_another_vendor_compacted_is_his_to_judge(client: OpenAI, polyglot: Polyglot) -> None:
    turns: Any = [
        {"type": "compaction", "encrypted_content": "gAAAA-theirs"},
        {"type": "function_call_output", "call_id": "call_9", "output": "Rain."},
    ]
    assert client.responses.create(model="responses", input=turns).status == "completed"
    assert b"Rain." in polyglot.last.raw


def test_a_streamed_call(client: OpenAI) -> None:
    with client.responses.stream(model="chat", input="The weather in Ghent?", tools=[WEATHER]) as stream:
        events = list(stream)
    kinds = [event.type for event in events]
    assert kinds.count("response.function_call_arguments.delta") == 2
    done = next(event for event in events if event.type == "response.function_call_arguments.done")
    assert json.loads(done.arguments) == json.loads(ARGUMENTS)
    items = [event.item.type for event in events if event.type == "response.output_item.done"]
    assert items == ["function_call"]


def test_tools_that_coding_agents_declare(client: OpenAI, polyglot: Polyglot) -> None:
    grep: Any = {
        "type": "custom",
        "name": "grep",
        "description": "Search.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.*/"},
    }
    custom = client.responses.create(model="chat", input="Search.", tools=[grep])
    call = custom.output[0]
    assert call.type == "custom_tool_call"
    assert (call.name, call.input) == ("grep", "*** patch")
    assert "lark" in polyglot.last.body["tools"][0]["function"]["description"]

    spaced: Any = {"type": "namespace", "name": "crm", "description": "Customers.", "tools": [{**WEATHER, "name": "lookup"}]}
    inner = client.responses.create(model="chat", input="Look.", tools=[spaced]).output[0]
    assert inner.type == "function_call"
    assert (inner.name, inner.namespace) == ("lookup", "crm")

    shells: dict[str, Any] = {"shell": "shell_call", "local_shell": "local_shell_call", "apply_patch": "apply_patch_call"}
    for kind, item in shells.items():
        response = client.responses.create(model="chat", input="Run it.", tools=[{"type": kind}])  # type: ignore[list-item, misc]
        assert response.output[0].type == item
        output: Any = {"type": f"{item}_output", "call_id": "call_1", "id": "call_1", "output": "done"}
        client.responses.create(model="chat", previous_response_id=response.id, input=[output])
        assert [message["role"] for message in polyglot.last.body["messages"]] == ["user", "assistant", "tool"]


def test_a_hosted_tool_is_refused_where_nobody_runs_it(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="web_search") as refused:
        client.responses.create(model="chat", input="Search.", tools=[{"type": "web_search"}])
    assert refused.value.code == "not_translatable"
    assert refused.value.param == "tools[0]"
    assert client.responses.create(model="responses", input="Search.", tools=[{"type": "web_search"}]).status == "completed"


def test_a_hosted_tool_beside_others_is_left_out_and_told(client: OpenAI, polyglot: Polyglot) -> None:
    """As coding agents declare it."""
    tools: Any = [WEATHER, {"type": "namespace", "name": "agents", "description": "", "tools": [WEATHER]}, {"type": "web_search"}]
    raw = client.responses.with_raw_response.create(model="chat", input="Hi", tools=tools, store=False, prompt_cache_key="thread")
    assert raw.headers["x-headrace-translation"] == "dropped tools[2]"
    assert [tool["function"]["name"] for tool in polyglot.last.body["tools"]] == ["weather", "agents__weather"]
    for demanded in ({"tool_choice": {"type": "web_search"}}, {"extra_headers": {"x-headrace-strict": "true"}}):
        asked: Any = {"model": "chat", "input": "Hi", "tools": tools} | demanded
        with pytest.raises(openai.BadRequestError, match="can't be asked so"):
            client.responses.create(**asked)


def test_structured_output(client: OpenAI, polyglot: Polyglot) -> None:
    class Answer(BaseModel):
        word: str

    with pytest.raises(Exception, match="JSON"):  # the vendor says what it always says, and that is no such object
        client.responses.parse(model="chat", input="Hi", text_format=Answer)
    assert polyglot.last.body["response_format"]["json_schema"]["strict"] is True


def test_thoughts(client: OpenAI, polyglot: Polyglot) -> None:
    plain = client.responses.create(model="thinker", input="Hi")
    assert [item.content[0].text for item in plain.output if item.type == "reasoning" and item.content] == [THOUGHT]
    summed = client.responses.create(
        model="thinker", input="Hi", reasoning={"effort": "low", "summary": "auto"}, include=["reasoning.encrypted_content"], store=False
    )
    thought = summed.output[0]
    assert thought.type == "reasoning"
    assert thought.summary[0].text == THOUGHT
    assert thought.encrypted_content
    back: Any = [
        {"role": "user", "content": "Hi"},
        *(item.model_dump(exclude_none=True) for item in summed.output),
        {"role": "user", "content": "Go on"},
    ]
    client.responses.create(model="thinker", input=back, store=False)
    assert polyglot.last.body["messages"][1]["reasoning_content"] == THOUGHT


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_of_the_dialect_gets_and_gives_the_very_bytes(client: OpenAI, dialects: Running, polyglot: Polyglot, stream: bool) -> None:
    tools = [{"type": "function", "name": f"tool_{at}", "parameters": {"type": "object", "description": "x" * 500}} for at in range(120)]
    asked = json.dumps(
        {
            "model": "responses",
            "instructions": "You are a coding agent.",
            "input": [
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "é ≠ e"}]},
                {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA-theirs"},
            ],
            "tools": [
                *tools,
                {"type": "namespace", "name": "mcp__x", "description": "", "tools": []},
                {"type": "custom", "name": "apply_patch"},
            ],
            "store": False,
            "stream": stream,
            "include": ["reasoning.encrypted_content"],
            "prompt_cache_key": "0191-thread",
            "client_metadata": {"x": "y"},
        },
        ensure_ascii=False,
    ).encode()
    assert len(asked) > 60_000
    response = client._client.post(
        f"{dialects.base_url}/responses",
        content=asked,
        headers={"authorization": f"Bearer {dialects.key}", "content-type": "application/json"},
    )
    assert response.status_code == 200
    assert polyglot.last.raw == asked
    assert response.content == polyglot.answered[-1]
    assert "x-headrace-translation" not in response.headers


def test_what_was_changed_is_told(client: OpenAI) -> None:
    raw = client.responses.with_raw_response.create(model="chat", input="Hi", truncation="auto", max_tool_calls=3)
    assert raw.headers["x-headrace-translation"] == "dropped max_tool_calls, dropped truncation"
    with pytest.raises(openai.BadRequestError, match="strict"):
        client.responses.create(model="chat", input="Hi", truncation="auto", extra_headers={"x-headrace-strict": "true"})


def test_errors(client: OpenAI) -> None:
    for more in ({"max_output_tokens": 3}, {"previous_response_id": "resp_1", "conversation": "conv_1"}, {"metadata": {"a": "b" * 600}}):
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model="chat", input="Hi", **more)
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody", input="Hi")
    with pytest.raises(openai.BadRequestError, match="No such luck"):
        client.responses.create(model="broken", input="Hi")
    failed = list(client.responses.create(model="cut", input="Hi", stream=True))[-1]
    assert failed.type == "response.failed"
    assert failed.response.error is not None


# What is kept.


@pytest.mark.parametrize("model", MODELS)
def test_a_response_is_found_gone_on_from_and_deleted(client: OpenAI, polyglot: Polyglot, model: str) -> None:
    first = client.responses.create(model=model, input="My name is Alice.")
    assert client.responses.retrieve(first.id).output_text == WHOLE
    second = client.responses.create(model=model, input="What is my name?", previous_response_id=first.id)
    sent = polyglot.last.raw.decode()
    assert sent.index("My name is Alice.") < sent.index(WHOLE) < sent.index("What is my name?")
    listed = list(client.responses.input_items.list(second.id, order="asc"))
    assert [item.type for item in listed if item.type == "message"] == ["message"] * 3
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    with pytest.raises(openai.BadRequestError) as gone:
        client.responses.create(model=model, input="And now?", previous_response_id=second.id)
    assert gone.value.code == "previous_response_not_found"


def test_a_turn_may_be_another_pools(client: OpenAI, polyglot: Polyglot) -> None:
    previous: str | None = None
    for model in (*MODELS, *MODELS):
        previous = client.responses.create(model=model, input="Go on.", previous_response_id=previous).id
    assert polyglot.last.raw.count(b"Go on.") == 6
    assert b"previous_response_id" not in polyglot.last.raw


def test_nobody_sees_another_projects(client: OpenAI, dialects: Running) -> None:
    mine = client.responses.create(model="chat", input="Secret.")
    other = OpenAI(base_url=dialects.base_url, api_key=OTHER_KEY, max_retries=0)
    for look in (other.responses.retrieve, other.responses.delete, other.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            look(mine.id)
    with pytest.raises(openai.BadRequestError, match="not found"):
        other.responses.create(model="chat", input="Hi", previous_response_id=mine.id)


def test_what_shall_not_be_stored_is_not(client: OpenAI) -> None:
    response = client.responses.create(model="chat", input="Hi", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_conversation_grows(client: OpenAI, polyglot: Polyglot) -> None:
    conversation = client.conversations.create(items=[{"type": "message", "role": "user", "content": "My name is Alice."}])
    client.responses.create(model="chat", input="Hello.", conversation=conversation.id)
    client.responses.create(model="messages", input="What is my name?", conversation=conversation.id)
    assert polyglot.last.raw.count(b"My name is Alice.") == 1
    items = list(client.conversations.items.list(conversation.id, order="asc"))
    assert [item.role for item in items if item.type == "message"] == ["user", "user", "assistant", "user", "assistant"]


# In the background.


def test_a_response_in_the_background(client: OpenAI) -> None:
    response = client.responses.create(model="thinker", input="Hi", background=True)
    assert response.status == "queued"
    found = eventually(lambda: client.responses.retrieve(response.id).status == "completed")
    assert found
    assert client.responses.retrieve(response.id).output_text == WHOLE
    assert client.responses.cancel(response.id).status == "completed"


@pytest.mark.parametrize("model", MODELS)
def test_its_stream_can_be_taken_up_again(client: OpenAI, model: str) -> None:
    events = list(client.responses.create(model=model, input="Hi", background=True, stream=True))
    numbers = [event.sequence_number for event in events if hasattr(event, "sequence_number")]
    assert numbers == list(range(len(events)))
    assert events[0].type == "response.queued"
    last = events[-1]
    assert isinstance(last, ResponseCompletedEvent)
    again = list(client.responses.retrieve(last.response.id, stream=True, starting_after=4))
    assert [event.to_json() for event in again] == [event.to_json() for event in events[5:]]
    assert client.responses.retrieve(last.response.id).output_text == WHOLE


def test_it_can_be_cancelled(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    settings = pool("slow", vendor.url, "answers-long")
    with Installation(tmp_path_factory.mktemp("cancelled"), settings).serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        response = client.responses.create(model="answers-long", input="Hi", background=True)
        assert eventually(lambda: client.responses.retrieve(response.id).status == "in_progress")
        assert client.responses.cancel(response.id).status == "cancelled"
        with pytest.raises(openai.BadRequestError, match="background"):
            client.responses.cancel(client.responses.create(model="answers-long", input="Hi", stream=False).id)


def test_a_killed_server_leaves_no_response_in_progress(tmp_path_factory: pytest.TempPathFactory, vendor: Vendor) -> None:
    installation = Installation(tmp_path_factory.mktemp("killed"), pool("slow", vendor.url, "answers-long"))
    server = installation.start()
    client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
    response = client.responses.create(model="answers-long", input="Hi", background=True)
    assert eventually(lambda: client.responses.retrieve(response.id).status == "in_progress")
    server.kill()
    with installation.serving() as again:
        client = OpenAI(base_url=again.base_url, api_key=again.key, max_retries=0)
        assert client.responses.retrieve(response.id).status == "failed"
        assert [event.type for event in client.responses.retrieve(response.id, stream=True)][-1] == "response.failed"


# Over a WebSocket.


@pytest.mark.parametrize("model", MODELS)
def test_turns_over_a_websocket(socket: Connection, polyglot: Polyglot, model: str) -> None:
    first = said(socket, model=model, store=False, input=[{"type": "message", "role": "user", "content": "My name is Alice."}])
    assert [event["sequence_number"] for event in first] == list(range(len(first)))
    assert first[-1]["type"] == "response.completed"
    id = first[-1]["response"]["id"]
    second = said(socket, model=model, store=False, previous_response_id=id, input=[{"role": "user", "content": "What is my name?"}])
    assert second[-1]["type"] == "response.completed"
    assert "My name is Alice." in polyglot.last.raw.decode()


def test_what_is_not_stored_is_forgotten_with_its_connection(socket: Connection, dialects: Running) -> None:
    id = said(socket, model="chat", store=False, input="Hi")[-1]["response"]["id"]
    with opened(dialects) as another:
        error = said(another, model="chat", store=False, previous_response_id=id, input="And?")[-1]
        assert said(another, model="chat", store=False, input="Anew.")[-1]["type"] == "response.completed"
    assert (error["type"], error["status"], error["error"]["code"]) == ("error", 400, "previous_response_not_found")


def test_a_connection_goes_on_after_an_error(socket: Connection) -> None:
    assert said(socket, model="nobody", input="Hi")[-1]["status"] == 404
    assert said(socket, model="chat", input=7)[-1]["status"] == 400
    socket.send("not json")
    assert json.loads(socket.recv(timeout=5))["error"]["code"] == "invalid_json"
    socket.send(json.dumps({"type": "response.destroy"}))
    assert json.loads(socket.recv(timeout=5))["error"]["param"] == "type"
    assert said(socket, model="chat", input="Hi")[-1]["type"] == "response.completed"


def test_a_failed_turn_takes_its_context_with_it(socket: Connection) -> None:
    id = said(socket, model="chat", store=False, input="Hi")[-1]["response"]["id"]
    assert said(socket, model="broken", store=False, previous_response_id=id, input="Go on")[-1]["type"] == "error"
    assert (
        said(socket, model="chat", store=False, previous_response_id=id, input="Go on")[-1]["error"]["code"]
        == "previous_response_not_found"
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_turn_that_is_refused_takes_its_context_with_it(socket: Connection, model: str) -> None:
    id = said(socket, model=model, store=False, input="Hi")[-1]["response"]["id"]
    stray = [{"type": "function_call_output", "call_id": "call_9", "output": "No call had this id."}]
    refused = said(socket, model=model, store=False, previous_response_id=id, input=stray)[-1]
    assert (refused["type"], refused["status"]) == ("error", 400)
    gone = said(socket, model=model, store=False, previous_response_id=id, input="Go on")[-1]
    assert gone["error"]["code"] == "previous_response_not_found"


@pytest.mark.parametrize(("model", "code"), [("broken", "bad_luck"), ("nameless", "upstream_refused")])
def test_an_error_of_a_turn_has_a_code(socket: Connection, model: str, code: str) -> None:
    error = said(socket, model=model, input="Hi")[-1]
    assert (error["type"], error["status"]) == ("error", 400)
    assert error["error"] == {"message": "No such luck.", "type": "invalid_request_error", "param": "luck", "code": code}


@pytest.mark.parametrize("model", MODELS)
def test_a_chain_begins_anew_from_what_was_compacted(client: OpenAI, socket: Connection, polyglot: Polyglot, model: str) -> None:
    turns: Any = [{"role": "user", "content": "The code word is slate."}, {"role": "assistant", "content": "OK."}]
    compact = client.responses.compact(model=model, input=turns)
    kept = [item.model_dump(exclude_none=True, warnings=False) for item in compact.output]
    answer = said(socket, model=model, store=False, tools=[], input=[*kept, {"role": "user", "content": "Go on."}])
    assert answer[-1]["type"] == "response.completed"
    assert b"The code word is slate." in polyglot.last.raw


def test_tools_over_a_websocket(socket: Connection) -> None:
    events = said(socket, model="chat", store=False, tools=[WEATHER], input=[{"role": "user", "content": "The weather in Ghent?"}])
    call = events[-1]["response"]["output"][0]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "Rain."}
    answer = said(socket, model="chat", store=False, tools=[WEATHER], previous_response_id=events[-1]["response"]["id"], input=[result])
    assert answer[-1]["response"]["output"][0]["content"][0]["text"] == WHOLE


def test_a_warm_up_says_nothing(socket: Connection, polyglot: Polyglot) -> None:
    sent = len(polyglot.sent)
    warm = said(
        socket,
        model="chat",
        store=False,
        generate=False,
        instructions="Be brief.",
        input=[{"role": "user", "content": "My name is Alice."}],
    )
    assert warm[-1]["response"]["output"] == []
    assert len(polyglot.sent) == sent
    said(socket, model="chat", store=False, previous_response_id=warm[-1]["response"]["id"], input="And?")
    assert b"My name is Alice." in polyglot.last.raw


def test_the_official_client_connects(client: OpenAI) -> None:
    with client.responses.connect() as connection:
        connection.response.create(model="chat", input="Hi")
        for event in connection:
            if event.type == "response.completed":
                assert event.response.output_text == WHOLE
                break


def test_a_websocket_needs_a_key(dialects: Running) -> None:
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        connect(f"ws://127.0.0.1:{dialects.port}/v1/responses", proxy=None).recv(timeout=5)
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        connect(f"ws://127.0.0.1:{dialects.port}/v1/models", proxy=None).recv(timeout=5)


# The others.


def test_a_conversation_is_compacted(client: OpenAI, polyglot: Polyglot) -> None:
    turns: Any = [{"role": "user", "content": "My name is Alice."}, {"role": "assistant", "content": "Hello."}]
    compact = client.responses.compact(model="chat", input=turns)
    assert compact.object == "response.compaction"
    assert [item.type for item in compact.output] == ["message", "compaction"]
    kept: Any = [item.model_dump(exclude_none=True, warnings=False) for item in compact.output]
    client.responses.create(model="messages", input=[*kept, {"role": "user", "content": "What is my name?"}])
    assert WHOLE in polyglot.last.raw.decode()
    assert "My name is Alice." in polyglot.last.raw.decode()


def test_compacting_needs_a_model(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="model"):
        client.post("/responses/compact", body={"input": "Hi"}, cast_to=object)


def test_tokens_are_counted(client: OpenAI) -> None:
    few = client.responses.input_tokens.count(model="chat", input="Hi").input_tokens
    assert few < client.responses.input_tokens.count(model="chat", input="water " * 500).input_tokens


def test_the_async_client_streams_many_at_once(dialects: Running) -> None:
    async def one(client: AsyncOpenAI, model: str) -> str:
        async with client.responses.stream(model=model, input="Hi") as stream:
            return (await stream.get_final_response()).output_text

    async def all_of_them() -> list[str]:
        async with AsyncOpenAI(base_url=dialects.base_url, api_key=dialects.key) as client:
            return await asyncio.gather(*(one(client, model) for model in MODELS * 6))

    assert asyncio.run(all_of_them()) == [WHOLE] * 18


def test_a_slow_reader_of_a_websocket_is_waited_for(socket: Connection) -> None:
    for _ in range(3):
        socket.send(json.dumps({"type": "response.create", "model": "chat", "store": False, "input": "Hi"}))
    time.sleep(0.3)
    ended = 0
    while ended < 3:
        ended += json.loads(socket.recv(timeout=5))["type"] == "response.completed"


@pytest.mark.engine
def test_the_embedded_model_goes_on(embedded: Running) -> None:
    with OpenAI(base_url=embedded.base_url, api_key=embedded.key) as client:
        model = next(iter(client.models.list())).id
        first = client.responses.create(model=model, input="Say hello.", max_output_tokens=20)
        second = client.responses.create(model=model, input="Again.", previous_response_id=first.id, max_output_tokens=20)
    assert first.usage is not None
    assert second.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens + 20


def test_what_is_too_long_loses_its_beginning(tmp_path_factory: pytest.TempPathFactory, polyglot: Polyglot) -> None:
    settings = pool("chat", polyglot.url, "chat") + '[[model]]\nname = "chat"\ntokens_context_max = 2000\ntokens_out_max = 500\n'
    with Installation(tmp_path_factory.mktemp("long"), settings).serving() as server:
        client = OpenAI(base_url=server.base_url, api_key=server.key, max_retries=0)
        turns: Any = [{"role": "system", "content": "Be brief."}, *({"role": "user", "content": f"{at} " * 500} for at in range(10, 20))]
        raw = client.responses.with_raw_response.create(model="chat", input=turns, truncation="auto")
        kept = [message["content"][:2] for message in polyglot.last.body["messages"]]
        assert kept == ["Be", "17", "18", "19"]
        assert raw.headers["x-headrace-translation"] == "changed input"
