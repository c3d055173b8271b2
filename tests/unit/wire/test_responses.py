"""OpenAI's Responses, both ways: a request said as a chat, an answer said in events, bytes that pass."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response as TheirResponse

from headrace.core.errors import InvalidRequest, RateLimited, UpstreamCut, UpstreamFailed, UpstreamGarbled, UpstreamOverloaded
from headrace.core.stream import Finished, Reasoning, Said, Text, TokenLogprob, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.usage import Usage
from headrace.wire.openai_chat import read_request as read_chat
from headrace.wire.responses_answer import TERMINAL, Event, Manner, ResponseEvents
from headrace.wire.responses_head import head_for, numbered
from headrace.wire.responses_native import anew, passes
from headrace.wire.responses_relay import ResponseRelay, body_for, read_whole
from headrace.wire.responses_request import AsChat, chat_for, read_request
from headrace.wire.responses_seal import opened, sealed
from headrace.wire.responses_shortening import shortened
from headrace.wire.responses_tools import Kind, Kinds

HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


def as_chat(items: Sequence[dict[str, Any]] | None = None, stream: bool = False, **more: Any) -> AsChat:
    body = json.dumps({"model": "m", "input": "Hi", **more}).encode()
    asked = read_request(body)
    return chat_for(asked, body, asked.items if items is None else items, stream=stream)


def chat(items: Sequence[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    body = as_chat(items, **more).body
    read_chat(body)  # it must be a chat that every adapter takes
    told: dict[str, Any] = json.loads(body)
    return told


def messages(*items: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = chat(items, **more)["messages"]
    return told


# A request.

F = {"type": "function", "name": "f", "parameters": {"type": "object"}}
FIELDS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, []),
    ({"stream_options": {"include_obfuscation": False}}, {}, []),
    ({"temperature": 0.5, "top_p": 0.9, "max_output_tokens": 16}, {"temperature": 0.5, "top_p": 0.9, "max_completion_tokens": 16}, []),
    ({"safety_identifier": "s", "user": "u", "service_tier": "flex"}, {"safety_identifier": "s", "user": "u", "service_tier": "flex"}, []),
    ({"prompt_cache_key": "k", "prompt_cache_retention": "24h"}, {"prompt_cache_key": "k", "prompt_cache_retention": "24h"}, []),
    ({"reasoning": {"effort": "low", "summary": "auto"}}, {"reasoning_effort": "low"}, []),
    ({"reasoning": {"summary": "auto"}, "store": False, "metadata": {"a": "b"}}, {}, []),
    ({"text": {"verbosity": "low", "format": {"type": "text"}}}, {"verbosity": "low"}, []),
    ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}, []),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}},
        [],
    ),
    ({"include": ["message.output_text.logprobs"]}, {"logprobs": True, "top_logprobs": 0}, []),
    ({"top_logprobs": 3, "include": ["reasoning.encrypted_content"]}, {"logprobs": True, "top_logprobs": 3}, []),
    ({"truncation": "auto", "max_tool_calls": 3, "brand_new": 1, "tools": []}, {}, ["max_tool_calls", "brand_new", "truncation"]),
    ({"parallel_tool_calls": False}, {}, []),
    (
        {"tools": [F], "parallel_tool_calls": False, "tool_choice": "required"},
        {"parallel_tool_calls": False, "tool_choice": "required"},
        [],
    ),
    (
        {"tools": [F], "tool_choice": {"type": "function", "name": "f"}},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        [],
    ),
    (
        {"tools": [{"type": "shell"}], "tool_choice": {"type": "shell"}},
        {"tool_choice": {"type": "function", "function": {"name": "shell"}}},
        [],
    ),
    ({"tools": [F], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [F]}}, {"tool_choice": "required"}, []),
    ({"tools": [F], "tool_choice": {"type": "allowed_tools"}}, {"tool_choice": "auto"}, []),
    ({"tool_choice": "auto"}, {}, []),
]


@pytest.mark.parametrize(("more", "told", "changed"), FIELDS)
def test_fields(more: dict[str, Any], told: dict[str, Any], changed: list[str]) -> None:
    said = chat(**more)
    said.pop("tools", None)
    assert said == {"model": "m", "messages": PARTS} | told
    assert [change.param for change in as_chat(**more).changes] == changed
    assert as_chat(**more).untold is None


def test_a_stream_is_asked_for_as_we_want_it() -> None:
    assert json.loads(as_chat(stream=True).body)["stream"] is True


def test_tools() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /x/"}
    tools = [
        {**F, "strict": True, "description": "d", "defer_loading": True},
        {"type": "custom", "name": "c", "description": "d", "format": {"type": "text"}, "defer_loading": False},
        {"type": "custom", "name": "g", "format": grammar},
        {"type": "namespace", "name": "empty"},
        {"type": "namespace", "name": "n", "description": "", "tools": [{"type": "function", "name": "f"}]},
        {"type": "local_shell"},
        {"type": "apply_patch"},
    ]
    said = as_chat(tools=tools)
    functions = [tool["function"] for tool in json.loads(said.body)["tools"]]
    assert [one["name"] for one in functions] == ["f", "c", "g", "n__f", "local_shell", "apply_patch"]
    assert functions[0] == {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    assert functions[1]["parameters"]["required"] == ["input"]
    assert functions[2]["description"] == "The input must follow this lark grammar:\nstart: /x/"
    assert said.kinds["n__f"] == Kind("function", "f", "n")
    assert [change.param for change in said.changes] == ["tools[0].defer_loading", "tools[2].format"]


UNTOLD: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "web_search"}, {"type": "mcp"}]}, "tools[0]"),
    ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tools[0]"),
    ({"tools": [F], "tool_choice": {"type": "file_search"}}, "tool_choice"),
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"input": [{"type": "computer_call"}]}, "input[0]"),
    ({"input": [{"type": "compaction", "encrypted_content": "theirs"}]}, "input[0]"),
    ({"input": [{"type": "compaction"}]}, "input[0]"),
    ({"input": [{"content": [{"type": "input_image", "file_id": "f"}]}]}, "input[0].content[0]"),
    ({"input": [{"content": [{"type": "input_file", "file_url": "u"}]}]}, "input[0].content[0]"),
    ({"input": [{"content": [{"type": "computer_screenshot"}]}]}, "input[0].content[0]"),
]


@pytest.mark.parametrize(("more", "param"), UNTOLD)
def test_what_only_the_vendor_does(more: dict[str, Any], param: str) -> None:
    said = as_chat(instructions="So that something is said.", **more)
    assert said.untold
    assert said.param == param


SHOWN: list[tuple[dict[str, Any], bool]] = [
    ({"content": [{"type": "input_image", "file_id": "f"}]}, False),
    ({"content": [{"type": "input_image", "image_url": "u"}]}, True),
    ({"content": [{"type": "input_file", "file_id": "f"}]}, False),
    ({"content": [{"type": "input_video", "file_id": "f"}]}, False),
    ({"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "f"}}, False),
    ({"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "u"}}, True),
]


@pytest.mark.parametrize(("item", "bounded"), SHOWN)
def test_what_only_the_vendor_holds_has_no_bound(item: dict[str, Any], bounded: bool) -> None:
    assert (as_chat(instructions="So that something is said.", input=[item]).open_ended is None) is bounded


def test_a_tool_that_the_vendor_runs_is_left_out_beside_others() -> None:
    said = as_chat(tools=[{"type": "web_search"}, F])
    assert (said.untold, [change.param for change in said.changes]) == (None, ["tools[0]"])
    assert [tool["function"]["name"] for tool in json.loads(said.body)["tools"]] == ["f"]
    assert as_chat(tools=[{"type": "web_search"}, F], tool_choice={"type": "web_search"}).param == "tool_choice"


WRONG: list[tuple[dict[str, Any], str | None]] = [
    ({"previous_response_id": "r", "conversation": {"id": "c"}}, "conversation"),
    ({"max_output_tokens": 15}, "max_output_tokens"),
    ({"safety_identifier": "x" * 65}, "safety_identifier"),
    ({"background": True, "store": False}, "store"),
    ({"metadata": {str(at): "" for at in range(17)}}, "metadata"),
    ({"metadata": {"k" * 65: ""}}, "metadata"),
    ({"metadata": {"k": "v" * 513}}, "metadata"),
    ({"input": []}, "input"),
    ({"input": None}, "input"),
    ({"input": [{"type": 7}]}, "input"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
    ({"input": [{"content": 7}]}, "input[0].content"),
    ({"input": [{"content": ["x"]}]}, "input[0].content[0]"),
    ({"input": [{"type": "item_reference", "id": "i"}]}, "input[0]"),
    ({"input": [{"type": "function_call", "name": "f"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output"}]}, "input[0].call_id"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "namespace", "name": "n", "tools": [None]}]}, "tools[0].tools"),
    ({"tools": [{"type": "namespace", "name": "n", "tools": 7}]}, "tools[0].tools"),
    ({"tools": [F], "tool_choice": {"type": "allowed_tools", "tools": ["f"]}}, "tool_choice.tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [F], "tool_choice": "maybe"}, "tool_choice"),
]


@pytest.mark.parametrize(("more", "param"), WRONG)
def test_what_nobody_takes(more: dict[str, Any], param: str | None) -> None:
    with pytest.raises(InvalidRequest) as wrong:
        as_chat(**more)
    assert wrong.value.param == param


def test_conversations_are_named_in_two_ways() -> None:
    for named in ("c", {"id": "c"}):
        assert read_request(json.dumps({"model": "m", "conversation": named}).encode()).conversation_id == "c"
    assert read_request(b'{"model":"m"}').conversation_id is None


def test_who_speaks() -> None:
    told = messages(
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
        {"role": "assistant", "content": "c"},
        {"content": None},
        instructions="First.",
    )
    assert told == [
        {"role": "system", "content": "First."},
        {"role": "developer", "content": "Be brief."},
        {"role": "assistant", "content": "abc"},
        {"role": "user", "content": []},
    ]


def test_an_image_of_the_assistants_stays_a_part() -> None:
    picture = {"type": "input_image", "image_url": "data:x", "detail": "auto"}
    assert messages({"role": "assistant", "content": [picture]})[0]["content"] == [{"type": "image_url", "image_url": {"url": "data:x"}}]


def test_parts() -> None:
    mark = {"mode": "explicit"}
    content = [
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": mark},
        {"type": "input_image", "image_url": "https://x", "detail": "low"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "x.pdf"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA=="},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]
    assert messages({"content": content})[0]["content"] == [
        {"type": "text", "text": "a", "prompt_cache_breakpoint": mark},
        {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}},
        {"type": "file", "file": {"filename": "x.pdf", "file_data": "data:application/pdf;base64,AA=="}},
        {"type": "file", "file": {"filename": "file", "file_data": "data:application/pdf;base64,AA=="}},
        {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}},
    ]


def test_calls_and_their_outputs() -> None:
    items: list[dict[str, Any]] = [
        {"type": "message", "role": "assistant", "content": "On it."},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "f", "namespace": "n", "arguments": None},
        {"type": "custom_tool_call", "call_id": "3", "name": "c", "input": "x"},
        {"type": "local_shell_call", "call_id": "4", "action": {"command": ["ls"]}},
        {"type": "shell_call", "call_id": "5", "action": {"commands": ["ls"]}},
        {"type": "apply_patch_call", "call_id": "6", "operation": {"type": "delete_file", "path": "p"}},
        {"type": "web_search_call", "id": "ws"},
        {"type": "function_call_output", "call_id": "1", "output": "r"},
        {
            "type": "function_call_output",
            "call_id": "2",
            "output": [{"type": "input_text", "text": "s"}, {"type": "input_image", "image_url": "data:x"}],
        },
        {"type": "custom_tool_call_output", "call_id": "3", "output": [{"type": "input_text", "text": "t"}]},
        {"type": "local_shell_call_output", "id": "4", "output": "u"},
        {"type": "shell_call_output", "call_id": "5", "output": [{"stdout": "v"}]},
        {"type": "apply_patch_call_output", "call_id": "6", "status": "completed"},
    ]
    said = as_chat(items)
    told = json.loads(said.body)["messages"]
    calls = [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in told[0]["tool_calls"]]
    assert calls == [
        ("1", "f", "{}"),
        ("2", "n__f", "{}"),
        ("3", "c", '{"input":"x"}'),
        ("4", "local_shell", '{"command":["ls"]}'),
        ("5", "shell", '{"commands":["ls"]}'),
        ("6", "apply_patch", '{"type":"delete_file","path":"p"}'),
    ]
    assert told[0]["content"] == "On it."
    assert [(one["role"], one["content"]) for one in told[1:]] == [
        ("tool", "r"),
        ("tool", "s"),
        ("user", [{"type": "image_url", "image_url": {"url": "data:x"}}]),
        ("tool", "t"),
        ("tool", "u"),
        ("tool", '[{"stdout":"v"}]'),
        ("tool", "completed"),
    ]
    assert [change.param for change in said.changes] == ["input[7]", "input[9].output"]


def test_thoughts_go_back() -> None:
    detail = {"type": "reasoning.text", "text": "t", "signature": "s", "format": "f"}
    items: list[dict[str, Any]] = [
        {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "t"}, 7], "encrypted_content": sealed([detail])},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "u"}, {"text": ""}]},
        {"role": "assistant", "content": "a"},
        {"type": "reasoning", "summary": [], "encrypted_content": "theirs"},
    ]
    said = as_chat(items)
    told = json.loads(said.body)["messages"]
    assert told[0]["reasoning_content"] == "t"
    assert told[0]["reasoning_details"] == [detail | {"index": 0}]
    assert told[1] == {"role": "assistant", "content": "a", "reasoning_content": "u"}
    assert [change.param for change in said.changes] == ["input[4].encrypted_content"]


def test_a_summary_goes_back() -> None:
    item = {"type": "compaction", "encrypted_content": sealed([{"summary": "We met."}])}
    assert messages(item)[0]["content"].endswith("We met.")


def test_seals() -> None:
    assert opened(sealed([{"a": 1}])) == [{"a": 1}]
    assert [opened(other) for other in ("theirs", "headrace1:###", "headrace1:e30=")] == [None, None, None]


# An answer.

KINDS: Kinds = {
    "g": Kind("custom", "g"),
    "n__f": Kind("function", "f", "n"),
    "local_shell": Kind("local_shell", "local_shell"),
    "shell": Kind("shell", "shell"),
    "apply_patch": Kind("apply_patch", "apply_patch"),
}


def head(**more: Any) -> dict[str, Any]:
    return head_for(read_request(json.dumps({"model": "m", "input": "Hi", **more}).encode()), id="resp_1", created_s=7)


def told(*said: Said, manner: Manner | None = None) -> tuple[list[Event], dict[str, Any]]:
    writer = ResponseEvents(head(), manner or Manner(kinds=KINDS))
    events = [event for one in said for event in writer.events(one, 9)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    TheirResponse.model_validate(writer.response)
    return events, writer.response


def test_a_text() -> None:
    events, response = told(Text("a"), Text("b"), Finished("stop"), Used(Usage(5, cache_read=2, output=3, reasoning=1)), Verbatim(b""))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert events[-1]["type"] in TERMINAL
    assert response["output"][0]["content"] == [{"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}]
    assert (response["status"], response["completed_at"]) == ("completed", 9)
    assert response["usage"] == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 11,
    }


def test_an_answer_cut_short() -> None:
    events, response = told(Text("a"), Finished("length"), Used(None))
    assert (response["status"], response["incomplete_details"], response["usage"]) == ("incomplete", {"reason": "max_output_tokens"}, None)
    assert response["output"][0]["status"] == "incomplete"
    assert events[-1]["type"] == "response.incomplete"


def test_log_probabilities_where_they_are_asked_for() -> None:
    said = Text("a", 0, (TokenLogprob("a", -1.0, (("b", -2.0),)),))
    _, without = told(said, Used(None))
    _, response = told(said, Used(None), manner=Manner(kinds={}, logprobs=True))
    top = {"token": "b", "logprob": -2.0, "bytes": [98]}
    assert without["output"][0]["content"][0]["logprobs"] == []
    assert response["output"][0]["content"][0]["logprobs"] == [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": [top]}]


def test_thoughts() -> None:
    said: list[Said] = [
        Reasoning("t"),
        Reasoning("u", signature="s", format="f"),
        Reasoning("", redacted="r"),
        Reasoning("v"),
        Text("a"),
        Used(None),
    ]
    events, response = told(*said)
    thought = response["output"][0]
    assert thought["content"] == [{"type": "reasoning_text", "text": "tuv"}]
    assert opened(thought["encrypted_content"]) == [
        {"type": "reasoning.text", "text": "tu", "signature": "s", "format": "f"},
        {"type": "reasoning.encrypted", "data": "r", "format": None},
    ]
    assert [event["delta"] for event in events if event["type"] == "response.reasoning_text.delta"] == ["t", "u", "v"]


def test_a_summary_of_thoughts() -> None:
    events, response = told(Reasoning("t"), Reasoning("u"), Used(None), manner=Manner(kinds={}, summary=True, encrypted=True))
    assert response["output"][0]["summary"] == [{"type": "summary_text", "text": "tu"}]
    assert opened(response["output"][0]["encrypted_content"]) == [{"type": "reasoning.text", "text": "tu"}]
    assert [event["type"].removeprefix("response.reasoning_summary_") for event in events[3:8]] == [
        "part.added",
        "text.delta",
        "text.delta",
        "text.done",
        "part.done",
    ]
    _, plain = told(Reasoning("t"), Used(None))
    assert "encrypted_content" not in plain["output"][0]


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("f", '{"x":1}', {"type": "function_call", "name": "f", "arguments": '{"x":1}'}),
    ("n__f", "", {"type": "function_call", "name": "f", "namespace": "n", "arguments": ""}),
    ("g", '{"input":"x"}', {"type": "custom_tool_call", "name": "g", "input": "x"}),
    ("g", '{"input":{"y":1}}', {"type": "custom_tool_call", "input": '{"y":1}'}),
    ("g", "no json", {"type": "custom_tool_call", "input": "no json"}),
    ("local_shell", '{"command":["ls"]}', {"type": "local_shell_call", "action": {"type": "exec", "command": ["ls"], "env": {}}}),
    ("shell", '{"commands":["ls"]}', {"type": "shell_call", "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}}),
    ("apply_patch", '{"type":"delete_file","path":"p"}', {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "p"}}),
]


@pytest.mark.parametrize(("name", "arguments", "item"), CALLS)
def test_calls(name: str, arguments: str, item: dict[str, Any]) -> None:
    said: list[Said] = [
        ToolCallBegun(0, "c", name),
        *([ToolCallArguments(0, arguments)] if arguments else []),
        Finished("tool_calls"),
        Used(None),
    ]
    events, response = told(*said)
    assert response["output"][0].items() >= (item | {"call_id": "c", "status": "completed"}).items()
    added = next(event for event in events if event["type"] == "response.output_item.added")
    assert added["item"]["type"] == item["type"]
    done = next(event for event in events if event["type"] == "response.output_item.done")
    assert done["item"] == response["output"][0]


def test_items_follow_each_other() -> None:
    said: list[Said] = [
        Text("a"),
        ToolCallBegun(0, "c", "f"),
        ToolCallArguments(0, "{}"),
        ToolCallBegun(1, "d", "f"),
        Text("b"),
        Text("c"),
        Used(None),
    ]
    events, response = told(*said)
    assert [item["type"] for item in response["output"]] == ["message", "function_call", "function_call", "message"]
    order = [(event["type"], event["output_index"]) for event in events if event["type"].startswith("response.output_item")]
    assert order == [(f"response.output_item.{what}", at) for at in range(4) for what in ("added", "done")]
    assert len({item["id"] for item in response["output"]}) == 4


def test_other_ends() -> None:
    ends: list[tuple[Callable[[ResponseEvents], list[Event]], str]] = [
        (lambda one: one.fail(UpstreamFailed("broke")), "failed"),
        (lambda one: one.cancel(), "cancelled"),
    ]
    for end, status in ends:
        writer = ResponseEvents(head(), Manner(kinds={}))
        assert writer.queue()[0]["response"]["status"] == "queued"
        events = end(writer)
        assert [event["type"] for event in events] == ["response.created", "response.in_progress", f"response.{status}"]
        assert events[0]["response"]["status"] == "in_progress"
        assert events[-1]["response"]["status"] == status
    limited = ResponseEvents(head(), Manner(kinds={}))
    limited.begin()
    assert limited.fail(RateLimited("slow", kind="tokens", retry_after_ms=None))[0]["response"]["error"]["code"] == "rate_limit_exceeded"


def test_the_head_says_all_that_was_asked() -> None:
    told = head(
        tools=[{"type": "function", "name": "f"}, {"type": "shell"}],
        conversation="c",
        reasoning={"effort": "low", "generate_summary": "auto"},
        text={"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
        temperature=0,
        top_p=0.1,
    )
    assert told["tools"] == [{"type": "function", "name": "f", "description": None, "parameters": None, "strict": True}, {"type": "shell"}]
    assert told["conversation"] == {"id": "c"}
    assert told["reasoning"] == {"effort": "low", "summary": "auto"}
    assert told["text"] == {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"}
    assert (told["temperature"], told["top_p"]) == (0, 0.1)


def test_items_are_numbered_and_whole() -> None:
    items: list[dict[str, Any]] = [
        {"role": "assistant", "content": "a"},
        {"content": [{"type": "input_text", "text": "b"}]},
        {"type": "reasoning", "id": "rs_own"},
        {"type": "x", "id": None},
    ]
    assert numbered(items, "9") == [
        {
            "id": "msg_90000",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a", "annotations": [], "logprobs": []}],
            "type": "message",
            "status": "completed",
        },
        {"id": "msg_90001", "content": [{"type": "input_text", "text": "b"}], "type": "message", "role": "user", "status": "completed"},
        {"type": "reasoning", "id": "rs_own"},
        {"type": "x", "id": "item_90003"},
    ]
    assert numbered([{"role": "user", "content": "a"}], "9")[0]["content"] == [{"type": "input_text", "text": "a"}]


# What is too long.


def test_a_conversation_without_its_beginning() -> None:
    def say(words: str, **more: Any) -> dict[str, Any]:
        return {"role": "user", "content": words * 100, **more}

    items = [say("a", role="system"), say("b"), say("c", role="developer"), say("d"), say("e")]
    assert shortened(items, 10_000) is items
    assert shortened(items, 550) == [items[0], items[2], items[3], items[4]]
    assert shortened(items, 1) == [items[0], items[2], items[4]]
    assert shortened([], 1) == []
    call = {"type": "function_call", "call_id": "1", "arguments": "x" * 100}
    output = {"type": "function_call_output", "call_id": "1", "output": "y"}
    assert shortened([say("a"), call, output, say("b")], 250) == [say("b")]
    assert shortened([say("a"), call, output, say("b")], 400) == [call, output, say("b")]
    assert shortened([call, output], 1) == [output]


def test_it_is_told_that_it_was_shortened() -> None:
    body = b'{"model":"m","input":"Hi","truncation":"auto"}'
    asked = read_request(body)
    for shorter, params in ((True, ["input"]), (False, []), (None, ["truncation"])):
        assert [change.param for change in chat_for(asked, body, HI, stream=False, shortened=shorter).changes] == params


# Bytes that pass.


def test_what_passes_and_what_is_made_anew() -> None:
    def asked(**more: Any) -> bytes:
        return json.dumps({"model": "m", "input": "Hi", **more}).encode()

    for body, whole in (
        (asked(store=False, include=["reasoning.encrypted_content"]), True),
        (asked(previous_response_id="r"), False),
        (asked(conversation="c"), False),
        (asked(background=True), False),
        (asked(input=[{"type": "item_reference", "id": "i"}]).replace(b": ", b":"), False),
        (asked(input=[{"type": "reasoning", "encrypted_content": sealed([])}]), False),
    ):
        assert passes(read_request(body), body) is whole
    items: list[dict[str, Any]] = [
        {"id": "msg_1", "type": "message", "role": "user", "status": "completed", "content": "Hi"},
        {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "theirs"},
        {"id": "rs_2", "type": "reasoning", "summary": [], "encrypted_content": sealed([])},
        {"id": "rs_3", "type": "reasoning", "summary": []},
        {"type": "compaction", "encrypted_content": sealed([{"summary": "We met."}])},
        {"type": "compaction", "encrypted_content": "theirs"},
    ]
    told = json.loads(anew(asked(previous_response_id="r", background=True, truncation="auto"), items, stream=True))
    assert told.keys() == {"model", "input", "truncation", "stream"}
    assert [item["type"] for item in told["input"]] == ["message", "reasoning", "message", "compaction"]
    assert told["input"][0] == {"type": "message", "role": "user", "content": "Hi"}


def framed(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


COUNTS = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 1},
    "output_tokens": 4,
    "output_tokens_details": {"reasoning_tokens": 1},
}
BEFORE = framed(
    {"type": "response.created", "response": {}}, {"type": "response.output_text.delta", "delta": '"type":"error" response.completed'}
)
END = framed({"type": "response.completed", "response": {"model": "its", "usage": COUNTS}})


@given(cuts=st.lists(st.integers(1, 60), max_size=40))
def test_all_passes_and_the_end_is_held(cuts: list[int]) -> None:
    relay, rest, passed = ResponseRelay(), BEFORE + END + b"data: [DONE]\n\n", b""
    for cut in cuts:
        passed += relay.feed(rest[:cut])
        rest = rest[cut:]
    passed += relay.feed(rest)
    relay.close()
    assert (passed, relay.held) == (BEFORE, END + b"data: [DONE]\n\n")
    assert (relay.used, relay.done) == (Used(Usage(2, 2, 1, 3, 1), "its"), True)


FAILURES: list[tuple[bytes, type[Exception]]] = [
    (framed({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}}), UpstreamFailed),
    (framed({"type": "response.failed"}), UpstreamFailed),
    (framed({"type": "error", "code": "rate_limit_exceeded", "message": "slow"}), UpstreamOverloaded),
    (framed({"type": "error", "error": {"code": "server_error", "message": "x"}}), UpstreamFailed),
]


@pytest.mark.parametrize(("frames", "kind"), FAILURES)
def test_failures_in_a_stream(frames: bytes, kind: type[Exception]) -> None:
    relay = ResponseRelay()
    assert relay.feed(BEFORE + b'data: {"type": 7, "x": "error"}\n\n' + frames).startswith(BEFORE)
    assert isinstance(relay.failure, kind)
    assert relay.held == b""
    with pytest.raises(kind):
        relay.close()


def test_a_stream_that_is_cut_or_ends_without_usage() -> None:
    relay = ResponseRelay()
    relay.feed(BEFORE)
    with pytest.raises(UpstreamCut):
        relay.close()
    bare = ResponseRelay()
    bare.feed(framed({"type": "response.incomplete"})[:-2])
    bare.close()
    assert (bare.used, bare.done) == (Used(None), True)


def test_a_whole_response_as_it_passes() -> None:
    assert read_whole(json.dumps({"model": "its", "usage": COUNTS, "error": None}).encode()) == Used(Usage(2, 2, 1, 3, 1), "its")
    assert read_whole(b'{"usage":{"input_tokens":0}}') == Used(None)
    assert read_whole(b'{"usage":{"input_tokens":1}}') == Used(Usage(1))
    assert read_whole(b'{"status":"incomplete","error":{}}') == Used(None)
    with pytest.raises(UpstreamGarbled):
        read_whole(b"[]")
    with pytest.raises(UpstreamFailed):
        read_whole(b'{"status":"failed","error":{"code":"server_error","message":"x"}}')


def test_what_the_vendor_ran_and_in_which_tier() -> None:
    ran = ["web_search_call", "web_search_call", "file_search_call", "code_interpreter_call", "code_interpreter_call", "message"]
    items = [{"type": kind, "container_id": "c-1", "content": [{"x": 1}]} for kind in ran]
    told = {"usage": COUNTS, "service_tier": "priority", "output": items}
    used = read_whole(json.dumps(told).encode())
    assert (used.tier, used.calls) == ("priority", (("web_search", 2), ("file_search", 1), ("code_interpreter", 1)))
    billed = read_whole(json.dumps(told | {"tool_usage": {"web_search": {"num_requests": 1}}}).encode())
    assert billed.calls[0] == ("web_search", 1), "opening a page is a call, and no search"


def test_names_of_models() -> None:
    body = b'{"model":"ours", "x": 1.0 }'
    assert body_for(body, "ours", "ours") is body
    assert body_for(body, "ours", "its") == b'{"model":"its","x":1.0}'
