"""Whatever a client of another dialect sends: it is said as a chat that every adapter reads, or refused with a sentence. Never a crash."""

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import HeadraceError
from headrace.core.stream import Finished, Reasoning, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.wire.messages_answer import MessageEvents, gathered
from headrace.wire.messages_request import chat_for as chat_of_message
from headrace.wire.messages_tokens import tokens_likely
from headrace.wire.openai_chat import read_request as read_chat
from headrace.wire.openai_plain import plain
from headrace.wire.openai_said import ChatReader
from headrace.wire.responses_answer import Manner, ResponseEvents
from headrace.wire.responses_head import head_for, numbered
from headrace.wire.responses_native import anew
from headrace.wire.responses_request import chat_for as chat_of_response
from headrace.wire.responses_request import read_request

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**40) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of the fields, each as it should be or as anything else."""
    return st.fixed_dictionaries({}, optional={name: ANYTHING | value for name, value in fields.items()})


TEXTS = st.sampled_from(["", "a", "data:image/png;base64,AA==", "https://x/y", "é\ud7ff"])
BLOCK_KINDS = (
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "search_result",
    "server_tool_use",
    "x",
)
SOURCES = some_of(type=st.sampled_from(["base64", "url", "text", "file"]), media_type=TEXTS, data=TEXTS, url=TEXTS)
BLOCKS = some_of(
    type=st.sampled_from(BLOCK_KINDS), text=TEXTS, source=SOURCES, id=TEXTS, name=TEXTS, tool_use_id=TEXTS, thinking=TEXTS,
    signature=TEXTS | st.just("headrace:f:s"), data=TEXTS, content=st.lists(ANYTHING, max_size=2),
)  # fmt: skip
TOOL_KINDS = ("custom", "bash_20250124", "text_editor_1", "web_search_1", "function", "custom", "namespace", "shell", "local_shell", "mcp")
TOOLS = some_of(
    type=st.sampled_from(TOOL_KINDS), name=TEXTS, input_schema=ANYTHING, parameters=ANYTHING, description=TEXTS, format=ANYTHING,
    tools=st.lists(ANYTHING, max_size=2),
)  # fmt: skip
MESSAGES = some_of(
    max_tokens=st.integers(1, 9),
    system=TEXTS | st.lists(BLOCKS, max_size=2),
    messages=st.lists(
        some_of(role=st.sampled_from(["user", "assistant", "system"]), content=TEXTS | st.lists(BLOCKS, max_size=3)), max_size=3
    ),
    tools=st.lists(TOOLS, max_size=2),
    tool_choice=some_of(type=st.sampled_from(["auto", "any", "tool", "none"]), name=TEXTS),
    thinking=some_of(type=st.sampled_from(["enabled", "adaptive", "disabled"]), budget_tokens=st.integers()),
    output_config=some_of(effort=TEXTS, format=some_of(type=TEXTS, schema=ANYTHING)),
)
PARTS = some_of(
    type=st.sampled_from(["input_text", "output_text", "input_image", "input_file", "input_audio", "refusal", "x"]), text=TEXTS,
    image_url=TEXTS, file_data=TEXTS, refusal=TEXTS, input_audio=ANYTHING, detail=TEXTS,
)  # fmt: skip
ITEM_KINDS = (
    "message", "reasoning", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output", "local_shell_call",
    "shell_call", "shell_call_output", "apply_patch_call", "compaction", "item_reference", "web_search_call", "x",
)  # fmt: skip
ITEMS = some_of(
    type=st.sampled_from(ITEM_KINDS), role=st.sampled_from(["user", "assistant"]), content=TEXTS | st.lists(PARTS, max_size=2), id=TEXTS,
    call_id=TEXTS, name=TEXTS, namespace=TEXTS, arguments=TEXTS, input=TEXTS, output=TEXTS | st.lists(PARTS, max_size=2),
    summary=st.lists(PARTS, max_size=2), encrypted_content=TEXTS | st.just("headrace1:W3t9XQ=="), action=ANYTHING, operation=ANYTHING,
)  # fmt: skip
RESPONSES = some_of(
    input=TEXTS | st.lists(ITEMS, max_size=4),
    tools=st.lists(TOOLS, max_size=2),
    tool_choice=TEXTS
    | some_of(type=st.sampled_from(["function", "allowed_tools", "shell", "mcp"]), name=TEXTS, tools=st.lists(TOOLS, max_size=1)),
    text=some_of(format=some_of(type=st.sampled_from(["json_schema", "text"]), name=TEXTS, schema=ANYTHING)),
    reasoning=some_of(effort=TEXTS, summary=TEXTS),
    include=st.lists(TEXTS, max_size=2),
    metadata=ANYTHING,
)


def lawful(body: bytes, untold: str | None) -> None:
    """A chat that is told is one that every adapter reads, or refuses with a sentence."""
    if untold is None:
        with contextlib.suppress(HeadraceError):
            read_chat(body)
    plain(body)
    assert tokens_likely(body) > 0


@given(asked=MESSAGES)
def test_messages(asked: dict[str, Any]) -> None:
    with contextlib.suppress(HeadraceError):
        told = chat_of_message(json.dumps({"model": "m", **asked}).encode())
        lawful(told.body, told.untold)


@given(asked=RESPONSES)
def test_responses(asked: dict[str, Any]) -> None:
    body = json.dumps({"model": "m", **asked}).encode()
    with contextlib.suppress(HeadraceError):
        request = read_request(body)
        told = chat_of_response(request, body, request.items, stream=False)
        lawful(told.body, told.untold)
        anew(body, request.items, stream=True)
        numbered(request.items, "x")
        head_for(request, id="resp_x", created_s=1)


@given(data=ANYTHING, calls=st.lists(ANYTHING, max_size=2), details=st.lists(ANYTHING, max_size=2))
def test_what_upstreams_say(data: Any, calls: Any, details: Any) -> None:
    for delta in ({"content": data}, {"tool_calls": calls}, {"reasoning": data, "reasoning_details": details}, data):
        with contextlib.suppress(HeadraceError):
            ChatReader().frames(b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": data}]}).encode() + b"\n\n")


SAID = st.lists(
    st.one_of(
        st.builds(Text, TEXTS, st.just(0)),
        st.builds(Reasoning, TEXTS, signature=st.none() | TEXTS, redacted=st.none() | TEXTS, format=st.none() | TEXTS),
        st.builds(ToolCallBegun, st.just(0), TEXTS, TEXTS),
        st.builds(ToolCallArguments, st.just(0), st.sampled_from(["{", "}", '"a":', "1", "null"])),
        st.builds(Finished, st.sampled_from(["stop", "length", "tool_calls", "content_filter"])),
    ),
    max_size=12,
)


@given(said=SAID, summary=st.booleans())
def test_what_models_say(said: list[Any], summary: bool) -> None:
    told = [ToolCallBegun(0, "c", "f"), *said, Used(Usage(1, output=2))]
    message = MessageEvents(id="msg_1", model="m")
    whole = json.loads(gathered([event for one in told for event in message.events(one)]))
    assert whole["usage"]["output_tokens"] == 2
    head = head_for(read_request(b'{"model":"m","input":"Hi"}'), id="resp_1", created_s=1)
    response = ResponseEvents(head, Manner(kinds={}, summary=summary))
    events = [event for one in told for event in response.events(one, 2)]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    opened = [event["output_index"] for event in events if event["type"] == "response.output_item.added"]
    closed = [event["output_index"] for event in events if event["type"] == "response.output_item.done"]
    assert opened == closed == list(range(len(response.response["output"])))
