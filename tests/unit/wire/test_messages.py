"""Anthropic's Messages, both ways: a request said as a chat, an answer said in events, bytes that pass."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import (
    InvalidJson,
    InvalidRequest,
    NoCapacity,
    UpstreamCut,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamRefused,
)
from headrace.core.stream import Finished, FinishReason, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.usage import Usage
from headrace.wire.anthropic_stream import StreamReader, read_whole
from headrace.wire.messages_answer import REASONS, MessageEvents, frame, gathered
from headrace.wire.messages_failure import failure_body, type_of
from headrace.wire.messages_relay import MessageRelay, body_for
from headrace.wire.messages_request import AsChat, chat_for
from headrace.wire.messages_seal import sealed, unsealed
from headrace.wire.messages_tokens import MEDIA_TOKENS, tokens_likely
from headrace.wire.openai_chat import read_request
from headrace.wire.openai_thoughts import CLAUDE, GEMINI

HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
PNG = {"type": "base64", "media_type": "image/png", "data": "AA=="}
MARK = {"type": "ephemeral"}


def asked(counting: bool = False, **more: Any) -> AsChat:
    return chat_for(json.dumps({"model": "m", "max_tokens": 9, "messages": HI, **more}).encode(), counting=counting)


def chat(**more: Any) -> dict[str, Any]:
    body = asked(**more).body
    read_request(body)  # it must be a chat that every adapter takes
    told: dict[str, Any] = json.loads(body)
    return told


# A request.


def test_the_least() -> None:
    assert chat() == {"model": "m", "messages": HI, "max_completion_tokens": 9}
    assert asked() == AsChat("m", False, asked().body, (), None, None, True, (), None)


FIELDS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"temperature": 0.5, "top_p": 0.9, "top_k": 3}, {"temperature": 0.5, "top_p": 0.9, "top_k": 3}, []),
    ({"stop_sequences": ["a"], "stream": True}, {"stop": ["a"], "stream": True}, []),
    ({"stop_sequences": [], "tools": []}, {}, []),
    ({"metadata": {"user_id": "u"}, "service_tier": "standard_only"}, {"safety_identifier": "u", "service_tier": "default"}, []),
    ({"metadata": {}, "service_tier": "auto"}, {}, []),
    ({"thinking": {"type": "disabled"}}, {}, []),
    ({"thinking": {"type": "adaptive"}}, {"reasoning_effort": "medium"}, ["thinking"]),
    ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, {"reasoning_effort": "max"}, ["thinking"]),
    ({"thinking": {"type": "enabled"}}, {"reasoning_effort": "minimal"}, ["thinking.budget_tokens"]),
    ({"thinking": {"type": "enabled", "budget_tokens": 4_096}}, {"reasoning_effort": "low"}, ["thinking.budget_tokens"]),
    ({"thinking": {"type": "enabled", "budget_tokens": 99_999}}, {"reasoning_effort": "high"}, ["thinking.budget_tokens"]),
    ({"output_config": {"effort": "low"}}, {}, ["output_config.effort"]),
    ({"output_config": {"effort": "low"}, "thinking": {"type": "between_tools"}}, {"reasoning_effort": "low"}, []),
    ({"output_config": {"format": {"type": "json_schema"}}}, {}, []),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True}}},
        [],
    ),
    ({"cache_control": MARK, "speed": "fast", "brand_new": 1, "context_management": None}, {}, ["cache_control", "speed", "brand_new"]),
    ({"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "none"}}, {"tool_choice": "none"}, []),
    (
        {"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        {"tool_choice": "required", "parallel_tool_calls": False},
        [],
    ),
    (
        {"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "tool", "name": "f"}},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        [],
    ),
]


@pytest.mark.parametrize(("more", "told", "changed"), FIELDS)
def test_fields(more: dict[str, Any], told: dict[str, Any], changed: list[str]) -> None:
    said = chat(**more)
    said.pop("tools", None)
    assert said == {"model": "m", "messages": HI, "max_completion_tokens": 9} | told
    assert [change.param for change in asked(**more).changes] == changed
    assert asked(**more).untold is None


def test_tools() -> None:
    tools = [
        {"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True, "cache_control": MARK, "input_examples": [1]},
        {"type": "custom", "name": "g", "input_schema": {}, "defer_loading": False},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 9},
    ]
    said = chat(tools=tools)["tools"]
    assert said[0] == {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
        "cache_control": MARK,
    }
    assert said[1] == {"type": "function", "function": {"name": "g", "parameters": {}}}
    assert [tool["function"]["name"] for tool in said[2:]] == ["bash", "str_replace_based_edit_tool"]
    assert [change.param for change in asked(tools=tools).changes] == ["tools.0.input_examples"]


UNTOLD: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0"),
    ({"container": "c"}, "container"),
    ({"mcp_servers": [{"url": "https://x"}]}, "mcp_servers"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}]},
        "messages.0.content.0.source",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "url", "url": "u"}}]}]},
        "messages.0.content.0.source",
    ),
    ({"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}, {"type": "mcp_tool_use"}]}]}, "messages.0.content.0"),
]


@pytest.mark.parametrize(("more", "param"), UNTOLD)
def test_what_only_anthropic_does(more: dict[str, Any], param: str) -> None:
    said = asked(**more)
    assert said.untold
    assert said.param == param


SHOWN: list[tuple[dict[str, Any], bool]] = [
    ({"type": "image", "source": {"type": "file", "file_id": "f"}}, False),
    ({"type": "document", "source": {"type": "file", "file_id": "f"}}, False),
    ({"type": "image", "source": {"type": "url", "url": "u"}}, True),
    ({"type": "web_fetch_tool_result", "content": {"content": {"source": {"type": "base64", "data": "JVBERi0x"}}}}, False),
    ({"type": "web_fetch_tool_result", "content": {"content": {"source": {"type": "text", "data": "hi"}}}}, True),
]


@pytest.mark.parametrize(("block", "bounded"), SHOWN)
def test_what_comes_from_elsewhere_has_no_bound(block: dict[str, Any], bounded: bool) -> None:
    said = asked(messages=[{"role": "user", "content": [block]}])
    assert (said.open_ended is None) is bounded


def test_a_tool_that_anthropic_runs_is_left_out_beside_others() -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}, {"name": "f", "input_schema": {}}]
    said = asked(tools=tools)
    assert (said.untold, [change.param for change in said.changes]) == (None, ["tools.0"])
    assert [tool["function"]["name"] for tool in json.loads(said.body)["tools"]] == ["f"]
    assert asked(tools=tools, tool_choice={"type": "tool", "name": "web_search"}).param == "tool_choice"


def test_what_asks_for_nothing_is_no_reason() -> None:
    assert asked(container=None, mcp_servers=[]).untold is None


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"max_tokens": None}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "content": ""}]}, "messages[0].role"),
    ({"tools": [{"name": "f"}]}, "tools.0"),
    ({"tool_choice": {"type": "maybe"}, "tools": [{"name": "f", "input_schema": {}}]}, "tool_choice.type"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "messages.0.content.0.tool_use_id"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": [7]}]}]},
        "messages.0.content.0.content",
    ),
    ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "t"}]}]}, "messages.0.content"),
]


@pytest.mark.parametrize(("more", "param"), WRONG)
def test_what_nobody_takes(more: dict[str, Any], param: str | None) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        asked(**more)
    assert wrong.value.param == param


def test_no_json_and_counting() -> None:
    with pytest.raises(InvalidJson):
        chat_for(b"{")
    assert json.loads(chat_for(b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}', counting=True).body) == {
        "model": "m",
        "messages": HI,
    }


TURNS: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [
    (
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]}],
        [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "image", "source": PNG, "cache_control": MARK},
                    {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}, "cache_control": MARK},
                    {"type": "image_url", "image_url": {"url": "https://x/y"}},
                ],
            }
        ],
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "document", "title": "t", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}},
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
                    {"type": "search_result", "title": "s", "source": None, "content": [{"type": "text", "text": "found"}, 7]},
                    {"type": "search_result", "content": 7},
                ],
            }
        ],
        [
            {
                "role": "user",
                "content": [
                    {"type": "file", "file": {"filename": "t", "file_data": "data:application/pdf;base64,AA=="}},
                    {"type": "file", "file": {"filename": "document", "file_data": "data:text/plain;base64,w6k="}},
                    {"type": "text", "text": "s\nfound"},
                    {"type": "text", "text": ""},
                ],
            }
        ],
    ),
    (
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "u", "name": "g"},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "b"},
                    {"type": "tool_result", "tool_use_id": "t", "content": "r", "cache_control": MARK},
                    {
                        "type": "tool_result",
                        "tool_use_id": "u",
                        "is_error": True,
                        "content": [{"type": "text", "text": "s"}, {"type": "image", "source": PNG}],
                    },
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "v"}]},
        ],
        [
            {
                "role": "assistant",
                "content": "a",
                "tool_calls": [
                    {"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "u", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "t", "content": "r", "cache_control": MARK},
            {"role": "tool", "tool_call_id": "u", "content": "s"},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}, {"type": "text", "text": "b"}],
            },
            {"role": "tool", "tool_call_id": "v", "content": ""},
        ],
    ),
    (
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": "own"},
                    {"type": "thinking", "thinking": "u", "signature": sealed("its", GEMINI)},
                    {"type": "thinking", "thinking": "", "signature": ""},
                    {"type": "redacted_thinking", "data": "r"},
                    {"type": "redacted_thinking"},
                    {"type": "text", "text": "a", "cache_control": MARK},
                ],
            }
        ],
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a", "cache_control": MARK}],
                "reasoning_content": "tu",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "t", "signature": "own", "format": CLAUDE, "index": 0},
                    {"type": "reasoning.text", "text": "u", "signature": "its", "format": GEMINI, "index": 1},
                    {"type": "reasoning.encrypted", "data": "r", "format": CLAUDE, "index": 2},
                ],
            }
        ],
    ),
    ([{"role": "user", "content": []}], [{"role": "user", "content": []}]),
    (
        [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
    ),
]


@pytest.mark.parametrize(("turns", "messages"), TURNS)
def test_turns(turns: list[dict[str, Any]], messages: list[dict[str, Any]]) -> None:
    assert chat(messages=turns)["messages"] == messages


def test_instructions_and_seals() -> None:
    assert chat(system="Be brief.")["messages"][0] == {"role": "system", "content": "Be brief."}
    parts = [{"type": "text", "text": "a", "cache_control": MARK}]
    assert chat(system=parts)["messages"][0] == {"role": "system", "content": parts}
    assert chat(system="")["messages"] == HI
    assert unsealed(sealed("s", None)) == ("s", None)
    turns = [{"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": sealed("s", GEMINI)}]}]
    assert not asked(messages=turns).relayable


# An answer.


def events(*said: Said) -> list[dict[str, Any]]:
    writer = MessageEvents(id="msg_1", model="m")
    return [event for one in said for event in writer.events(one)]


ANSWERS: list[tuple[list[Said], list[dict[str, Any]], str]] = [
    ([Text("a"), Text("b"), Finished("stop")], [{"type": "text", "text": "ab"}], "end_turn"),
    (
        [
            Reasoning("t"),
            Reasoning("u", signature="s", format=GEMINI),
            Reasoning("", redacted="r", format=CLAUDE),
            Text("a"),
            Finished("length"),
        ],
        [
            {"type": "thinking", "thinking": "tu", "signature": sealed("s", GEMINI)},
            {"type": "redacted_thinking", "data": "r"},
            {"type": "text", "text": "a"},
        ],
        "max_tokens",
    ),
    (
        [
            ToolCallBegun(0, "a", "f"),
            ToolCallArguments(0, '{"x"'),
            ToolCallBegun(1, "b", "g"),
            ToolCallArguments(0, ":1}"),
            Finished("tool_calls"),
        ],
        [{"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}, {"type": "tool_use", "id": "b", "name": "g", "input": {}}],
        "tool_use",
    ),
    (
        [ToolCallBegun(0, "a", "f"), ToolCallArguments(0, "no"), Finished("stop")],
        [{"type": "tool_use", "id": "a", "name": "f", "input": {"arguments": "no"}}],
        "end_turn",
    ),
    ([Finished("content_filter")], [], "refusal"),
]


@pytest.mark.parametrize(("said", "content", "reason"), ANSWERS)
def test_an_answer(said: list[Said], content: list[dict[str, Any]], reason: str) -> None:
    usage = Usage(5, cache_read=2, cache_write=1, output=3, reasoning=1, cache_write_1h=4, cache_write_30m=1)
    told = events(*said, Used(usage), Verbatim(b"rest"))
    message = json.loads(gathered(told))
    assert message["content"] == content
    assert message["stop_reason"] == reason
    assert message["usage"] | {"service_tier": ""} == {
        "input_tokens": 5,
        "cache_creation_input_tokens": 6,
        "cache_read_input_tokens": 2,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 4},
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 1},
        "service_tier": "",
    }
    opened = [event["index"] for event in told if event["type"] == "content_block_start"]
    closed = [event["index"] for event in told if event["type"] == "content_block_stop"]
    assert opened == closed == list(range(len(content)))


def test_an_answer_without_usage() -> None:
    assert json.loads(gathered(events(Used(None))))["usage"]["input_tokens"] == 0


PIECES = st.one_of(
    st.builds(Text, st.text(min_size=1)),
    st.builds(Reasoning, st.text(min_size=1), signature=st.none() | st.text("ab", min_size=1), format=st.just(CLAUDE)),
)


@given(said=st.lists(PIECES, max_size=10), reason=st.sampled_from(sorted(REASONS)), cuts=st.lists(st.integers(1, 40), max_size=30))
def test_anthropics_own_reader_reads_what_we_write(said: list[Said], reason: FinishReason, cuts: list[int]) -> None:
    written = b"".join(frame(event) for event in events(*said, Finished(reason), Used(Usage(3, output=2))))
    reader, read = StreamReader(), list[Said]()
    for cut in cuts:
        read += reader.feed(written[:cut])
        written = written[cut:]
    read += [*reader.feed(written), *reader.close()]
    assert "".join(one.text for one in read if isinstance(one, Text)) == "".join(one.text for one in said if isinstance(one, Text))
    assert [one.signature for one in read if isinstance(one, Reasoning) and one.signature] == [
        one.signature for one in said if isinstance(one, Reasoning) and one.signature
    ]
    assert reader.usage == Usage(3, output=2)


# Bytes that pass.

END = frame({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}) + frame(
    {"type": "message_stop"}
)
BEFORE = (
    frame({"type": "message_start", "message": {"model": "its", "usage": {"input_tokens": 3, "output_tokens": 1}}})
    + frame({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    + frame({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "message_delta"}})
    + b": a comment\n\n"
    + frame({"type": "content_block_stop", "index": 0})
)


@given(cuts=st.lists(st.integers(1, 60), max_size=40))
def test_all_passes_and_the_end_is_held(cuts: list[int]) -> None:
    relay, rest, passed = MessageRelay(), BEFORE + END, b""
    for cut in cuts:
        passed += relay.feed(rest[:cut])
        rest = rest[cut:]
    passed += relay.feed(rest)
    relay.close()
    assert (passed, relay.held) == (BEFORE, END)
    assert (relay.used, relay.done) == (Used(Usage(3, output=2), "its"), True)
    assert relay.spent(9) == Usage(3, output=2)


def test_an_end_without_its_empty_line() -> None:
    relay = MessageRelay()
    assert relay.feed(BEFORE + END[:-2]) == BEFORE
    relay.close()
    assert relay.held == END[:-2]


def test_a_stream_that_fails_or_is_cut() -> None:
    relay = MessageRelay()
    failure = frame({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
    assert relay.feed(BEFORE + failure + b"data: no json\n\n") == BEFORE + b"data: no json\n\n"
    assert isinstance(relay.failure, UpstreamOverloaded)
    cut = MessageRelay()
    assert cut.feed(BEFORE) == BEFORE
    with pytest.raises(UpstreamCut):
        cut.close()


def test_bodies() -> None:
    body = b'{"model":"ours", "x": 1.0 }'
    assert body_for(body, "ours", "ours", None) is body
    assert json.loads(body_for(body, "ours", "its", "us")) == {"model": "its", "x": 1.0, "inference_geo": "us"}
    assert body_for(body, "ours", "its", None) == b'{"model":"its","x":1.0}'


def test_a_whole_message_as_it_passes() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "service_tier": "priority", "server_tool_use": {"web_search_requests": 4}}
    message = {"type": "message", "model": "its", "usage": usage}
    assert read_whole(json.dumps(message).encode()) == Used(Usage(3, output=2), "its", "priority", (("web_search", 4),))
    assert read_whole(b"{}") == Used(None)
    with pytest.raises(UpstreamGarbled):
        read_whole(b"[]")
    with pytest.raises(UpstreamFailed):
        read_whole(b'{"type":"error","error":{"type":"api_error","message":"x"}}')


# Failures, and lengths.


def test_failures() -> None:
    told = json.loads(failure_body(NoCapacity("full"), 529, "req_1"))
    assert told == {"type": "error", "error": {"type": "overloaded_error", "message": "full"}, "request_id": "req_1"}
    for body, words in ((b'{"error":{"message":"theirs"}}', "theirs"), (b"<html>", "ours"), (b"{}", "ours")):
        assert json.loads(failure_body(UpstreamRefused("ours", status=400, body=body), 400, "r"))["error"]["message"] == words
    assert [type_of(status) for status in (400, 404, 405, 502)] == [
        "invalid_request_error",
        "not_found_error",
        "invalid_request_error",
        "api_error",
    ]


def test_lengths() -> None:
    assert tokens_likely(b'{"model":"m"}') == 4
    prose = tokens_likely(json.dumps({"messages": [{"content": "Water runs downhill. " * 100}]}).encode())
    assert 400 < prose < 700
    image = json.dumps({"messages": [{"url": "data:image/png;base64," + "A" * 100_000}]}).encode()
    assert MEDIA_TOKENS < tokens_likely(image) < MEDIA_TOKENS + 50
