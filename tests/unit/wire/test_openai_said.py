"""A chat's bytes read as events, and a chat made plain for servers that know no more than OpenAI."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import InvalidJson, UpstreamGarbled
from headrace.core.stream import Finished, Reasoning, Said, Text, TokenLogprob, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import NOTHING
from headrace.wire.openai_answer import AnswerGatherer, ChunkWriter
from headrace.wire.openai_plain import plain
from headrace.wire.openai_said import ChatReader


def framed(*deltas: dict[str, Any]) -> bytes:
    frames = [b"data: " + json.dumps({"choices": [delta]}).encode() + b"\n\n" for delta in deltas]
    return b"".join((b": comment\n\n", *frames, b'data: {"usage":null}\n\n', b"data: [DONE]\n\n"))


CASES: list[tuple[str, list[dict[str, Any]], list[Said]]] = [
    ("text", [{"delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}], [Text("a"), Text("b", 1)]),
    ("a refusal", [{"delta": {"refusal": "No."}}], [Text("No.")]),
    ("nothing", [{"delta": {"role": "assistant", "content": ""}}, {}], []),
    ("its end, once", [{"finish_reason": "stop"}, {"finish_reason": "stop"}], [Finished("stop")]),
    (
        "ends of other names",
        [{"finish_reason": "function_call"}, {"index": 1, "finish_reason": "eos"}],
        [Finished("tool_calls"), Finished("stop", 1)],
    ),
    ("thoughts of vLLM", [{"delta": {"reasoning_content": "t"}}], [Reasoning("t")]),
    ("thoughts of others", [{"delta": {"reasoning": "t"}}, {"delta": {"reasoning": {"x": 1}}}], [Reasoning("t")]),
    (
        "signed thoughts",
        [
            {"delta": {"reasoning_details": [{"type": "reasoning.text", "text": "t", "signature": "s", "format": "f"}]}},
            {"delta": {"reasoning_content": "u", "reasoning_details": [{"type": "reasoning.encrypted", "data": "d"}, {"text": "u"}]}},
        ],
        [Reasoning("t"), Reasoning("", signature="s", format="f"), Reasoning("u"), Reasoning("", redacted="d")],
    ),
    (
        "calls, numbered or not",
        [
            {"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]}},
            {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}, {"function": {"name": "g"}}]}},
            {"delta": {"tool_calls": [{"index": 0}]}},
        ],
        [ToolCallBegun(0, "a", "f"), ToolCallArguments(0, "{}"), ToolCallBegun(1, "call_0_1", "g")],
    ),
    (
        "log probabilities",
        [
            {
                "delta": {"content": "a"},
                "logprobs": {"content": [{"token": "a", "logprob": -1.0, "top_logprobs": [{"token": "b", "logprob": -2.0}]}]},
            },
            {"delta": {"content": "c"}, "logprobs": {"content": [{"token": "c", "logprob": 0.0}]}},
            {"delta": {"content": "d"}, "logprobs": {"content": []}},
        ],
        [Text("a", 0, (TokenLogprob("a", -1.0, (("b", -2.0),)),)), Text("c", 0, (TokenLogprob("c", 0.0),)), Text("d")],
    ),
]


@pytest.mark.parametrize(("deltas", "said"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_frames(deltas: list[dict[str, Any]], said: list[Said]) -> None:
    assert ChatReader().frames(framed(*deltas)) == said


@given(order=st.permutations([0] * 4 + [1] * 4 + [2] * 4))
def test_calls_are_told_one_after_another_however_they_are_mixed(order: list[int]) -> None:
    pieces: dict[int, Iterator[dict[str, Any]]] = {
        at: iter([{"id": f"c{at}", "function": {"name": "f"}}, *({"function": {"arguments": text}} for text in ('{"x":', str(at), "}"))])
        for at in range(3)
    }
    deltas = [{"delta": {"tool_calls": [{"index": at, **next(pieces[at])}]}} for at in order]
    said = ChatReader().frames(framed(*deltas, {"finish_reason": "tool_calls"}))
    begun = [one.index for one in said if isinstance(one, ToolCallBegun)]
    told = [one.index for one in said if isinstance(one, ToolCallBegun | ToolCallArguments)]
    assert told == sorted(told, key=begun.index)
    for at in range(3):
        assert "".join(one.text for one in said if isinstance(one, ToolCallArguments) and one.index == at) == f'{{"x":{at}}}'
    assert said[-1] == Finished("tool_calls")


def test_a_call_is_told_as_soon_as_the_one_before_it_is_whole() -> None:
    reader = ChatReader()
    first = {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x": "}'}}
    second = {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}
    assert len(reader.frames(framed({"delta": {"tool_calls": [first, second]}}))) == 2
    whole = reader.frames(framed({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": '"}'}}]}}))
    assert whole == [ToolCallArguments(0, '"}'), ToolCallBegun(1, "b", "g"), ToolCallArguments(1, "{}")]


def test_a_whole_answer() -> None:
    message = {"content": "a", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}]}
    answer = json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()
    assert ChatReader().whole(answer) == [Text("a"), ToolCallBegun(0, "c", "f"), ToolCallArguments(0, "{}"), Finished("tool_calls")]
    assert ChatReader().whole(b"{}") == []


@pytest.mark.parametrize("wrong", [b"[]", b'{"choices":7}', b'{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}', b"\xff"])
def test_what_is_no_chat(wrong: bytes) -> None:
    with pytest.raises(UpstreamGarbled):
        ChatReader().whole(wrong)


TOLD = st.lists(
    st.one_of(
        st.builds(Text, st.text(min_size=1)),
        st.builds(Reasoning, st.text(min_size=1)),
    ),
    max_size=8,
)


@given(said=TOLD, reason=st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
def test_what_we_write_we_read(said: list[Said], reason: Any) -> None:
    told: list[Said] = [*said, ToolCallBegun(0, "c", "f"), ToolCallArguments(0, "{}"), Finished(reason)]
    writer = ChunkWriter(id="i", model="m", created=1, include_usage=True)
    written = b"".join(writer.write(one) for one in (*told, Used(NOTHING)))
    assert ChatReader().frames(written) == told
    gatherer = AnswerGatherer(id="i", model="m", created=1)
    for one in told:
        gatherer.hear(one)
    whole = ChatReader().whole(gatherer.answer())
    texts = "".join(one.text for one in told if isinstance(one, Text))
    assert "".join(one.text for one in whole if isinstance(one, Text)) == texts
    assert whole[-1] == Finished(reason)


def test_a_plain_chat() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    chat = {
        "model": "m",
        "tools": [{"type": "function", "function": {"name": "f"}, **mark}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a", **mark}]},
            {"role": "assistant", "content": "b", "reasoning_content": "t", "reasoning_details": [{}]},
        ],
    }
    body, changes = plain(json.dumps(chat).encode())
    assert json.loads(body)["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b", "reasoning_content": "t"},
    ]
    assert [change.param for change in changes] == [
        "tools[0].cache_control",
        "messages[0].content[0].cache_control",
        "messages[1].reasoning_details",
    ]


def test_what_is_plain_already_stays() -> None:
    assert plain(b'{"model": "m"}') == (b'{"model": "m"}', ())
    assert plain(b'{"x": "cache_control", "cache_control": null}') == (b'{"x":"cache_control","cache_control":null}', ())
    with pytest.raises(InvalidJson):
        plain(b'{"cache_control"')
