"""Anthropic's Messages by the official client, unchanged but for its address, over pools of two dialects and the embedded model."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from pydantic import BaseModel

from tests.dialects import ARGUMENTS, TEXT, THOUGHT, TOKENS_CACHED, TOKENS_IN, TOKENS_OUT, Polyglot
from tests.server import Installation, Running, eventually, pool
from tests.vendor import Vendor

WHOLE = "".join(TEXT)
HELLO: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Where does water run?"}]
WEATHER: anthropic.types.ToolParam = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def claude(dialects: Running) -> Iterator[Anthropic]:
    with Anthropic(base_url=dialects.url, api_key=dialects.key, max_retries=0) as opened:
        yield opened


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_a_whole_message(claude: Anthropic, model: str) -> None:
    message = claude.messages.create(model=model, max_tokens=100, messages=HELLO)
    assert [block.text for block in message.content if block.type == "text"] == [WHOLE]
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "end_turn")
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (
        TOKENS_IN - TOKENS_CACHED,
        TOKENS_CACHED,
        TOKENS_OUT,
    )


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_a_streamed_message(claude: Anthropic, model: str) -> None:
    with claude.messages.stream(model=model, max_tokens=100, system="Be brief.", messages=HELLO) as stream:
        kinds = [event.type for event in stream]
        message = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 1
    assert stream.get_final_text() == WHOLE
    assert (message.usage.input_tokens, message.usage.output_tokens) == (TOKENS_IN - TOKENS_CACHED, TOKENS_OUT)


@pytest.mark.parametrize("model", ["chat", "messages"])
def test_a_tool_is_called_and_answered(claude: Anthropic, polyglot: Polyglot, model: str) -> None:
    asked = claude.messages.create(model=model, max_tokens=100, tools=[WEATHER], messages=[{"role": "user", "content": "And in Ghent?"}])
    assert asked.stop_reason == "tool_use"
    call = asked.content[0]
    assert call.type == "tool_use"
    assert (call.name, call.input) == ("weather", json.loads(ARGUMENTS))
    result: anthropic.types.ToolResultBlockParam = {"type": "tool_result", "tool_use_id": call.id, "content": "Rain."}
    answer = claude.messages.create(
        model=model,
        max_tokens=100,
        tools=[WEATHER],
        messages=[
            {"role": "user", "content": "And in Ghent?"},
            {"role": "assistant", "content": asked.content},
            {"role": "user", "content": [result]},
        ],
    )
    assert answer.content[0].type == "text"
    assert b"Rain." in polyglot.last.raw


def test_a_streamed_call(claude: Anthropic) -> None:
    with claude.messages.stream(model="chat", max_tokens=100, tools=[WEATHER], messages=HELLO) as stream:
        message = stream.get_final_message()
    assert [block.input for block in message.content if block.type == "tool_use"] == [json.loads(ARGUMENTS)]


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_of_the_dialect_gets_and_gives_the_very_bytes(
    claude: Anthropic, dialects: Running, polyglot: Polyglot, stream: bool
) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}, {**WEATHER, "defer_loading": False}]
    asked = json.dumps(
        {
            "model": "messages",
            "max_tokens": 4_096,
            "stream": stream,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
            "thinking": {"type": "enabled", "budget_tokens": 2_048},
            "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]},
            "tools": tools,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "é ≠ e"}]}],
        },
        ensure_ascii=False,
        indent=1,
    ).encode()
    answer = claude.with_options(default_headers={"anthropic-beta": "context-management-2025-06-27,interleaved-thinking-2025-05-14"})
    response = answer._client.post(
        f"{dialects.url}/v1/messages",
        content=asked,
        headers={
            "x-api-key": dialects.key,
            "content-type": "application/json",
            "anthropic-beta": "context-management-2025-06-27,interleaved-thinking-2025-05-14",
        },
    )
    assert response.status_code == 200
    assert polyglot.last.raw == asked
    assert polyglot.last.headers["anthropic-beta"] == "context-management-2025-06-27,interleaved-thinking-2025-05-14"
    assert response.content == polyglot.answered[-1]
    assert response.headers["x-headrace-pool"] == "messages"
    assert "x-headrace-translation" not in response.headers


def test_what_a_chat_does_not_say_is_told(claude: Anthropic, polyglot: Polyglot) -> None:
    raw = claude.messages.with_raw_response.create(
        model="chat",
        max_tokens=4_096,
        thinking={"type": "enabled", "budget_tokens": 2_048},
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=HELLO,
    )
    assert polyglot.last.body["reasoning_effort"] == "low"
    assert "cache_control" not in json.dumps(polyglot.last.body)
    told = raw.headers["x-headrace-translation"]
    assert "changed thinking.budget_tokens" in told
    assert "dropped messages[0].content[0].cache_control" in told


def test_thoughts_come_back_as_text_to_who_does_not_sign_them(claude: Anthropic, polyglot: Polyglot) -> None:
    message = claude.messages.create(model="thinker", max_tokens=100, messages=HELLO)
    assert [block.thinking for block in message.content if block.type == "thinking"] == [THOUGHT]
    claude.messages.create(model="thinker", max_tokens=100, messages=[*HELLO, {"role": "assistant", "content": message.content}, *HELLO])
    assert polyglot.last.body["messages"][1]["reasoning_content"] == THOUGHT


def test_structured_output(claude: Anthropic, polyglot: Polyglot) -> None:
    class Answer(BaseModel):
        word: str

    with pytest.raises(Exception, match="JSON"):  # the vendor says what it always says, and that is no such object
        claude.messages.parse(model="chat", max_tokens=100, messages=HELLO, output_format=Answer)
    assert polyglot.last.body["response_format"]["json_schema"]["schema"]["required"] == ["word"]


def test_what_only_anthropic_does_is_refused_elsewhere(claude: Anthropic) -> None:
    with pytest.raises(anthropic.BadRequestError, match="web_search") as refused:
        claude.messages.create(model="chat", max_tokens=100, messages=HELLO, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    assert refused.value.body == {
        "type": "error",
        "error": {
            "type": "invalid_request_error",
            "message": "chat can't be asked so: only Anthropic has tools of type web_search_20250305.",
        },
        "request_id": refused.value.request_id,
    }


def test_errors_have_anthropics_form(claude: Anthropic, dialects: Running) -> None:
    with pytest.raises(anthropic.NotFoundError, match="nobody") as missing:
        claude.messages.create(model="nobody", max_tokens=100, messages=HELLO)
    assert (missing.value.request_id or "").startswith("req_")
    with pytest.raises(anthropic.AuthenticationError):
        Anthropic(base_url=dialects.url, api_key="sk-wrong", max_retries=0).messages.create(model="chat", max_tokens=1, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        claude.messages.create(model="chat", max_tokens=0, messages=HELLO)
    with pytest.raises(anthropic.BadRequestError, match="No such luck"):
        claude.messages.create(model="broken", max_tokens=100, messages=HELLO)


def test_a_cut_stream_ends_in_an_error_event(claude: Anthropic) -> None:
    with (
        pytest.raises(anthropic.APIStatusError, match=r"stream|closed"),
        claude.messages.stream(model="cut", max_tokens=100, messages=HELLO) as stream,
    ):
        list(stream)


def test_headers(claude: Anthropic, dialects: Running) -> None:
    raw = claude.messages.with_raw_response.create(model="chat", max_tokens=100, messages=HELLO)
    assert raw.headers["request-id"].startswith("req_")
    assert int(raw.headers["anthropic-ratelimit-requests-remaining"]) < int(raw.headers["anthropic-ratelimit-requests-limit"])
    assert raw.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    bearer = Anthropic(base_url=dialects.url, auth_token=dialects.key, api_key=None, max_retries=0)
    assert bearer.messages.create(model="chat", max_tokens=100, messages=HELLO).stop_reason == "end_turn"


def test_tokens_are_counted(claude: Anthropic) -> None:
    few = claude.messages.count_tokens(model="chat", messages=HELLO).input_tokens
    many = claude.messages.count_tokens(
        model="chat", messages=[{"role": "user", "content": "water " * 1_000}], tools=[WEATHER]
    ).input_tokens
    assert 1 < few < 60 < 1_000 < many < 3_000


def test_what_it_used_is_on_the_bill(claude: Anthropic, dialects: Running) -> None:
    def booked() -> float:
        return dialects.metric("headrace_tokens_total")

    before = booked()
    claude.messages.create(model="messages", max_tokens=100, messages=HELLO)
    assert eventually(lambda: booked() - before == TOKENS_IN + TOKENS_OUT)


def test_the_async_client_streams_many_at_once(dialects: Running) -> None:
    async def one(client: AsyncAnthropic, model: str) -> str:
        async with client.messages.stream(model=model, max_tokens=100, messages=HELLO) as stream:
            return await stream.get_final_text()

    async def all_of_them() -> list[str]:
        async with AsyncAnthropic(base_url=dialects.url, api_key=dialects.key) as client:
            return await asyncio.gather(*(one(client, model) for model in ["chat", "messages"] * 8))

    assert asyncio.run(all_of_them()) == [WHOLE] * 16


@pytest.mark.engine
def test_the_embedded_model_calls_a_tool(embedded: Running) -> None:
    with Anthropic(base_url=embedded.url, api_key=embedded.key) as claude:
        model = json.loads(embedded.get("/v1/models")[1])["data"][0]["id"]
        message = claude.messages.create(
            model=model,
            max_tokens=200,
            tools=[WEATHER],
            tool_choice={"type": "tool", "name": "weather"},
            messages=[{"role": "user", "content": "What is the weather in Paris?"}],
        )
    assert message.stop_reason == "tool_use"
    assert [block.name for block in message.content if block.type == "tool_use"] == ["weather"]


def test_who_finds_no_room_is_told_in_anthropics_own_way(tmp_path: Path) -> None:
    told = set()
    with (
        Vendor.open() as vendor,
        Installation(tmp_path, pool("v", vendor.url, "cut-at-once")).serving() as server,
        Anthropic(base_url=server.url, api_key=server.key, max_retries=0, timeout=10) as claude,
    ):
        for _ in range(10):
            with pytest.raises(anthropic.InternalServerError) as refused:
                claude.messages.create(model="cut-at-once", max_tokens=10, messages=HELLO)
            told.add((refused.value.status_code, refused.value.response.json()["error"]["type"]))
    assert (529, "overloaded_error") in told
