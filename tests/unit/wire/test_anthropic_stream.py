"""What Anthropic's streams say, transcripts written after its public documentation."""

import json
from typing import Any

import pytest

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamGarbled, UpstreamOverloaded, UpstreamRefused
from headrace.core.stream import Finished, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.wire.anthropic_stream import StreamReader

MODEL = "claude-opus-5-5"
USAGE = {"input_tokens": 25, "output_tokens": 1}
TEXT = {"type": "text", "text": ""}
STOP = '{"type":"message_stop"}'
PING = '{"type": "ping"}'


def event(type: str, **fields: object) -> str:
    return json.dumps({"type": type} | fields)


def start(**usage: object) -> str:
    message: dict[str, object] = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "model": MODEL, "stop_reason": None}
    return event("message_start", message=message | {"usage": usage or USAGE})


def begin(index: int, **block: object) -> str:
    return event("content_block_start", index=index, content_block=block)


def more(index: int, type: str, **delta: object) -> str:
    return event("content_block_delta", index=index, delta={"type": type} | delta)


def end(index: int) -> str:
    return event("content_block_stop", index=index)


def finish(reason: str | None = "end_turn", **usage: object) -> str:
    return event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage or {"output_tokens": 15})


def framed(*events: str) -> bytes:
    return "".join(f"event: {json.loads(one).get('type', 'x')}\ndata: {one}\n\n" for one in events).encode()


def heard(*events: str) -> list[Said]:
    reader = StreamReader()
    said = reader.feed(framed(*events))
    assert reader.failure is None
    return said + reader.close()


USED = Used(Usage(25, output=15), MODEL)


def test_plain_text_with_pings_between():
    said = heard(
        start(), begin(0, **TEXT), PING, more(0, "text_delta", text="Hello"), more(0, "text_delta", text="!"), end(0), finish(), STOP
    )
    assert said == [Text("Hello"), Text("!"), Finished("stop"), USED]


def test_a_tool_called_with_streamed_arguments():
    said = heard(
        start(),
        begin(0, **TEXT),
        more(0, "text_delta", text="Okay"),
        end(0),
        begin(1, type="tool_use", id="toolu_1", name="get_weather", input={}),
        more(1, "input_json_delta", partial_json=""),
        more(1, "input_json_delta", partial_json='{"location":'),
        more(1, "input_json_delta", partial_json=' "Paris"}'),
        end(1),
        finish("tool_use"),
        STOP,
    )
    pieces = [ToolCallArguments(0, '{"location":'), ToolCallArguments(0, ' "Paris"}')]
    assert said == [Text("Okay"), ToolCallBegun(0, "toolu_1", "get_weather"), *pieces, Finished("tool_calls"), USED]


def test_two_tools_at_once():
    said = heard(
        start(),
        begin(0, type="tool_use", id="a", name="f", input={}),
        more(0, "input_json_delta", partial_json='{"x":1}'),
        end(0),
        begin(1, type="tool_use", id="b", name="g", input={}),
        more(1, "input_json_delta", partial_json='{"y":2}'),
        end(1),
        finish("tool_use"),
        STOP,
    )
    first = [ToolCallBegun(0, "a", "f"), ToolCallArguments(0, '{"x":1}')]
    assert said == [*first, ToolCallBegun(1, "b", "g"), ToolCallArguments(1, '{"y":2}'), Finished("tool_calls"), USED]


@pytest.mark.parametrize(("given", "arguments"), [({}, "{}"), (None, "{}"), ({"x": 1}, '{"x":1}')])
def test_a_call_whose_arguments_come_at_once_or_are_none(given: object, arguments: str):
    begun = begin(0, type="tool_use", id="a", name="f", input=given)
    expected = [ToolCallBegun(0, "a", "f"), ToolCallArguments(0, arguments), Finished("tool_calls"), USED]
    assert heard(start(), begun, end(0), finish("tool_use"), STOP) == expected
    assert heard(start(), begun, finish("tool_use"), STOP) == expected, "also where the block's end is not said"
    assert heard(start(), begun, end(0), finish("end_turn"), STOP) == expected, "also where the reason does not say so"


def thought(text: str, *, signature: str | None = None, redacted: str | None = None) -> Reasoning:
    return Reasoning(text, signature=signature, redacted=redacted, format="anthropic-claude-v1")


def dropped(reason: object) -> dict[str, object]:
    return {"type": "thinking_dropped", "path": "messages.1.content.0", "reason": reason}


def test_thoughts_with_their_signature():
    said = heard(
        start(),
        begin(0, type="thinking", thinking="", signature=""),
        more(0, "thinking_delta", thinking="Let me"),
        more(0, "thinking_delta", thinking=" see"),
        more(0, "signature_delta", signature="EqQB"),
        end(0),
        begin(1, type="redacted_thinking", data="Emwk"),
        end(1),
        begin(2, **TEXT),
        more(2, "text_delta", text="42"),
        end(2),
        finish(output_tokens=15, output_tokens_details={"thinking_tokens": 11}),
        STOP,
    )
    thoughts = [thought("Let me"), thought(" see"), thought("", signature="EqQB"), thought("", redacted="Emwk")]
    assert said == [*thoughts, Text("42"), Finished("stop"), Used(Usage(25, output=4, reasoning=11), MODEL)]


def test_blocks_that_say_something_as_they_begin():
    said = heard(start(), begin(0, type="thinking", thinking="hm", signature="s"), begin(1, type="text", text="a"), finish(), STOP)
    assert said == [thought("hm", signature="s"), Text("a"), Finished("stop"), USED]


def test_thoughts_of_another_maker():
    reader = StreamReader("anthropic-messages")
    assert reader.feed(framed(start(), begin(0, type="thinking", thinking="hm"))) == [Reasoning("hm", format="anthropic-messages")]


LEFT_OUT = [
    # what it says of the prompt                                                                 what is told
    ([], []),
    (None, []),
    ("x", []),
    ([1, {"type": "new"}, {"type": "thinking_mismatch_allowed", "reason": "prefix_binding_mismatch"}], []),
    ([dropped("prefix_binding_mismatch"), dropped("prefix_binding_mismatch")], ["what stands before them has changed"]),
    ([dropped("model_binding_mismatch")], ["this model does not read those of that one"]),
    ([dropped("organization_binding_mismatch"), dropped(7)], ["they were thought for another account", "left out by Anthropic"]),
]


@pytest.mark.parametrize(("said", "whys"), LEFT_OUT)
def test_thoughts_that_were_left_out_of_the_prompt(said: object, whys: list[str]):
    reader = StreamReader()
    assert reader.feed(framed(event("message_start", message={"model": MODEL, "input_transformations": said}))) == []
    assert [(change.what, change.param) for change in reader.changes] == [("dropped", "messages")] * len(whys)
    assert all(why in change.why for why, change in zip(whys, reader.changes, strict=True))


UNKNOWN = [
    event("new_event", index="x", delta=[1], usage={"input_tokens": -1}),
    begin(0, type="server_tool_use", id="s", name="web_search", input={}),
    more(0, "input_json_delta", partial_json='{"query":'),
    more(0, "citations_delta", citation={"type": "char_location"}),
    more(0, "new_delta", text="not said"),
    event("content_block_delta", index=0),
    end(0),
    end(7),
    begin(1, type="web_search_tool_result", tool_use_id="s", content=[{"type": "web_search_result"}]),
    end(1),
    begin(2, type="redacted_thinking"),
    finish(None, input_tokens=25),
]


def test_what_is_not_known_is_passed_over():
    reader = StreamReader()
    said = reader.feed(b": comment\n\nretry: 3\n\ndata: [DONE]\n\n" + framed(start(), *UNKNOWN, begin(0, **TEXT), finish(), STOP))
    assert said == [Finished("stop"), USED]
    assert reader.feed(framed(more(0, "text_delta", text="late"))) == reader.close() == []


REASONS = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("pause_turn", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
    ("a_new_reason", "stop"),
    (None, "stop"),
]


@pytest.mark.parametrize(("reason", "expected"), REASONS)
def test_why_it_ends(reason: str | None, expected: Any):
    assert heard(start(), finish(reason), STOP) == [Finished(expected), USED]


def test_a_stream_without_its_last_event_is_whole_when_its_reason_is_told():
    assert heard(start(), finish("max_tokens")) == [Finished("length"), USED]


def test_a_last_frame_without_its_empty_line():
    reader = StreamReader()
    assert reader.feed(framed(start(), finish(), STOP).removesuffix(b"\n\n")) == []
    assert reader.close() == [Finished("stop"), USED]


# ---------------------------------------------------------------------------------------------------------------------------- usage

SPLIT = {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 50}
COUNTED: list[tuple[str, dict[str, Any], dict[str, Any], Usage | None]] = [
    # the trap                                at the start                                              at the end                     used
    ("input excludes the cache", {"input_tokens": 3, "cache_read_input_tokens": 90}, {"output_tokens": 5}, Usage(3, 90, output=5)),
    (
        "the last statement holds",
        {"input_tokens": 2479, "output_tokens": 1},
        {"input_tokens": 404_500, "output_tokens": 7},
        Usage(404_500, output=7),
    ),
    ("it is not added", {"input_tokens": 9, "output_tokens": 4}, {"input_tokens": 9, "output_tokens": 4}, Usage(9, output=4)),
    ("null states nothing", {"input_tokens": 9}, {"input_tokens": None, "output_tokens": 4}, Usage(9, output=4)),
    (
        "the split by time comes at the start only",
        {"input_tokens": 3, "cache_creation_input_tokens": 150, "cache_creation": SPLIT},
        {"output_tokens": 5, "cache_creation_input_tokens": 150},
        Usage(3, cache_write=100, cache_write_1h=50, output=5),
    ),
    (
        "what is written later has no time",
        {"input_tokens": 3, "cache_creation_input_tokens": 150, "cache_creation": SPLIT},
        {"output_tokens": 5, "cache_creation_input_tokens": 400},
        Usage(3, cache_write=350, cache_write_1h=50, output=5),
    ),
    ("no split", {"input_tokens": 3, "cache_creation_input_tokens": 150}, {"output_tokens": 5}, Usage(3, cache_write=150, output=5)),
    (
        "a split only",
        {"input_tokens": 3, "cache_creation": SPLIT},
        {"output_tokens": 5},
        Usage(3, cache_write=100, cache_write_1h=50, output=5),
    ),
    (
        "a part larger than its whole",
        {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_creation": SPLIT},
        {"output_tokens": 5, "output_tokens_details": {"thinking_tokens": 9}},
        Usage(3, cache_write_1h=20, reasoning=5),
    ),
    (
        "billed beside",
        {"input_tokens": 3},
        {
            "output_tokens": 5,
            "iterations": [
                {"type": "message", "input_tokens": 3, "output_tokens": 5},
                {"type": "compaction", "input_tokens": 100, "output_tokens": 20, "cache_creation": SPLIT},
                {"type": "advisor_message", "input_tokens": 7, "output_tokens": 8, "cache_read_input_tokens": 9},
            ],
        },
        Usage(110, 9, 100, output=33, cache_write_1h=50),
    ),
    ("only one side", {"cache_read_input_tokens": 4}, {"output_tokens": 5}, Usage(0, 4, output=5)),
    ("neither side", {"cache_read_input_tokens": 4}, {"service_tier": "standard"}, None),
]


@pytest.mark.parametrize(("first", "last", "used"), [case[1:] for case in COUNTED], ids=[case[0] for case in COUNTED])
def test_usage(first: dict[str, Any], last: dict[str, Any], used: Usage | None):
    *_, said = heard(start(**first), finish(**last), STOP)
    assert said == Used(used, MODEL, last.get("service_tier"))


def test_the_tier_that_served_and_the_tools_that_were_run():
    usage: dict[str, Any] = {"output_tokens": 1, "service_tier": "batch", "server_tool_use": {"web_search_requests": 3}}
    assert heard(start(input_tokens=2), finish(**usage), STOP)[-1] == Used(Usage(2, output=1), MODEL, "batch", (("web_search", 3),))
    odd: dict[str, Any] = {"output_tokens": 1, "service_tier": 7, "server_tool_use": {"web_search_requests": 0}}
    assert heard(start(input_tokens=2), finish(**odd), STOP)[-1] == Used(Usage(2, output=1), MODEL)


def test_a_stream_that_tells_no_usage():
    assert heard(event("message_start"), event("message_delta"), STOP) == [Finished("stop"), Used(None)]


def test_what_is_known_of_an_answer_that_is_left():
    reader = StreamReader()
    assert reader.spent(500) is None
    reader.feed(framed(start(input_tokens=25, output_tokens=3, output_tokens_details={"thinking_tokens": 1}), begin(0, **TEXT)))
    assert reader.spent(500) == reader.usage == Usage(25, output=2, reasoning=1)
    reader.feed(
        framed(
            more(0, "text_delta", text="é" * 40),
            begin(1, type="tool_use", id="a", name="f"),
            more(1, "input_json_delta", partial_json="{}"),
        )
    )
    assert reader.usage == Usage(25, output=2, reasoning=1), "what was told is what was told"
    assert reader.spent(500) == Usage(25, output=20, reasoning=1), "82 bytes make 21 tokens, one of them already counted as a thought"
    assert reader.spent(10) == Usage(25, output=9, reasoning=1)
    reader.feed(framed(finish(), STOP))
    assert reader.spent(500) == Usage(25, output=14, reasoning=1)


# -------------------------------------------------------------------------------------------------------------------------- failures

SAYS = framed(start(), begin(0, **TEXT), more(0, "text_delta", text="Hel"))
BROKEN: list[tuple[str, bytes, type[HeadraceError], str]] = [
    ("overloaded", framed(event("error", error={"type": "overloaded_error", "message": "Overloaded"})), UpstreamOverloaded, "Overloaded"),
    ("refused", framed(event("error", error={"type": "invalid_request_error", "message": "Bad"})), UpstreamRefused, "Bad"),
    ("an error in another form", framed(event("error", message="oh")), HeadraceError, "oh"),
    ("no JSON", b"data: {\n\n", UpstreamGarbled, "not one of Anthropic's Messages"),
    ("no event", b'data: {"choices": []}\n\n', UpstreamGarbled, "type"),
    ("a count below nothing", framed(finish(output_tokens=-1)), UpstreamGarbled, ">= 0"),
    ("a count beyond reason", framed(finish(output_tokens=2**60)), UpstreamGarbled, "<="),
    ("a block of nothing", framed(event("content_block_start", index=1)), UpstreamGarbled, "did not say what it is"),
    ("a call without a name", framed(begin(1, type="tool_use", id="a")), UpstreamGarbled, "without an id or a name"),
    ("arguments of no call", framed(more(5, "input_json_delta", partial_json="{}")), UpstreamGarbled, "block 5"),
]


@pytest.mark.parametrize(("wrong", "kind", "words"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_what_came_before_a_failure_is_said(wrong: bytes, kind: type[HeadraceError], words: str):
    reader = StreamReader()
    assert reader.feed(SAYS + wrong + framed(finish(), STOP)) == [Text("Hel")]
    assert isinstance(reader.failure, kind)
    assert words in reader.failure.message
    assert reader.usage == Usage(25, output=1)
    for again in (reader.close, lambda: reader.feed(SAYS)):
        with pytest.raises(kind):
            again()


@pytest.mark.parametrize("told", [b"", b": ping\n\n", SAYS, SAYS + b"event: mess"])
def test_a_stream_that_ends_early(told: bytes):
    reader = StreamReader()
    reader.feed(told)
    with pytest.raises(UpstreamCut):
        reader.close()


def test_a_last_frame_that_is_wrong():
    reader = StreamReader()
    assert reader.feed(b"data: {") == []
    with pytest.raises(UpstreamGarbled):
        reader.close()
