"""What is said, in OpenAI's words: frames for who listens as it comes, one object for who waits."""

import json

from headrace.core.stream import Finished, Reasoning, Said, Text, TokenLogprob, ToolCallArguments, ToolCallBegun, Used, Verbatim
from headrace.core.usage import Usage
from headrace.wire.openai_answer import AnswerGatherer, ChunkWriter, usage_object
from headrace.wire.sse import frames, payload

USAGE = Usage(7, cache_read=2, cache_write=1, output=4, reasoning=3)


def writer(*, include_usage: bool = False) -> ChunkWriter:
    return ChunkWriter(id="chatcmpl-1", model="m", created=5, include_usage=include_usage)


def chunks(data: bytes) -> list[object]:
    return [said if said == "[DONE]" else json.loads(said) for said in (payload(frame).decode() for frame in frames(data))]


def gatherer() -> AnswerGatherer:
    return AnswerGatherer(id="chatcmpl-1", model="m", created=5)


def test_usage_in_openais_inclusive_meaning():
    assert usage_object(USAGE) == {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0, "cache_write_tokens": 1},
        "completion_tokens_details": {
            "reasoning_tokens": 3,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_a_choice_begins_with_its_role_once():
    write = writer().write
    first, second = chunks(write(Text("a"))), chunks(write(Text("b")))
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m", "service_tier": "default"}
    opening = {"index": 0, "delta": {"role": "assistant", "content": "", "refusal": None}, "logprobs": None, "finish_reason": None}
    said = {"index": 0, "delta": {"content": "a"}, "logprobs": None, "finish_reason": None}
    assert first == [head | {"system_fingerprint": None, "choices": [one]} for one in (opening, said)]
    assert len(second) == 1
    assert len(chunks(write(Text("c", choice=1)))) == 2


def test_usage_comes_last_for_who_asked_and_is_null_before():
    write = writer(include_usage=True).write
    assert chunks(write(Text("a")))[0]["usage"] is None  # type: ignore[index]
    *_, told, done = chunks(write(Finished("stop")) + write(Used(USAGE)))
    assert told["choices"] == []  # type: ignore[index]
    assert told["usage"] == usage_object(USAGE)  # type: ignore[index]
    assert done == "[DONE]"


def test_who_did_not_ask_for_usage_gets_the_end_only():
    write = writer().write
    write(Finished("stop"))
    assert write(Used(USAGE)) == b"data: [DONE]\n\n"


def test_usage_that_nobody_told_is_zero():
    write = writer(include_usage=True).write
    write(Finished("stop"))
    assert chunks(write(Used(None)))[0]["usage"]["total_tokens"] == 0  # type: ignore[index]


def test_a_relayed_stream_passes_and_ends_itself():
    write = writer(include_usage=True).write
    assert write(Verbatim(b"data: {}\n\n")) == b"data: {}\n\n"
    assert write(Used(USAGE)) == b""


def test_tool_calls_in_a_stream():
    write = writer().write
    begun, more = chunks(write(ToolCallBegun(0, "call_1", "f")))[1], chunks(write(ToolCallArguments(0, '{"a"')))[0]
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert begun["choices"][0]["delta"] == {"tool_calls": [call]}  # type: ignore[index]
    assert more["choices"][0]["delta"] == {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]}  # type: ignore[index]
    assert chunks(write(Finished("tool_calls")))[0]["choices"][0]["finish_reason"] == "tool_calls"  # type: ignore[index]


def test_a_gathered_answer():
    hear = (one := gatherer()).hear
    told = (TokenLogprob("ho", -0.5, (("ho", -0.5), ("é", -1.0))),)
    for said in (
        Text("hi "), Text("he", choice=1), Text("ho", logprobs=told), ToolCallBegun(1, "call_2", "g", choice=1),
        ToolCallBegun(0, "call_1", "f", choice=1), ToolCallArguments(0, "{", choice=1), ToolCallArguments(0, "}", choice=1),
        Finished("length"), Finished("tool_calls", choice=1), Used(USAGE),
    ):  # fmt: skip
        hear(said)
    answer = json.loads(one.answer())
    first, second = answer.pop("choices")
    assert answer.pop("usage") == usage_object(USAGE)
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "service_tier": "default",
        "system_fingerprint": None,
    }
    assert first["message"] == {"role": "assistant", "content": "hi ho", "refusal": None, "annotations": []}
    assert first["finish_reason"] == "length"
    assert first["logprobs"]["content"][0]["top_logprobs"][1] == {"token": "é", "logprob": -1.0, "bytes": [195, 169]}
    assert second["logprobs"] is None
    assert [(call["id"], call["function"]) for call in second["message"]["tool_calls"]] == [
        ("call_1", {"name": "f", "arguments": "{}"}),
        ("call_2", {"name": "g", "arguments": ""}),
    ]
    assert second["message"]["content"] == "he"


def test_a_tool_call_without_words_has_no_content():
    one = gatherer()
    for said in (ToolCallBegun(0, "call_1", "f"), Finished("tool_calls"), Used(None)):
        one.hear(said)
    answer = json.loads(one.answer())
    assert answer["choices"][0]["message"]["content"] is None
    assert answer["usage"]["total_tokens"] == 0


def test_what_the_upstream_said_in_the_same_dialect_is_an_answer_already():
    gathered = gatherer()
    for said in (Verbatim(b'{"id":'), Used(None), Verbatim(b'"its own"}')):
        gathered.hear(said)
    assert gathered.answer() == b'{"id":"its own"}'


THOUGHTS = [
    Reasoning("Let", format="a"),
    Reasoning(" me", format="a"),
    Reasoning("", signature="s1", format="a"),
    Reasoning("", redacted="d", format="a"),
    Reasoning("b"),
    Reasoning("!", signature="s2"),
    Reasoning(" open"),
]
PIECES = [
    {"type": "reasoning.text", "text": "Let me", "signature": "s1", "format": "a", "index": 0},
    {"type": "reasoning.encrypted", "data": "d", "format": "a", "index": 1},
    {"type": "reasoning.text", "text": "b!", "signature": "s2", "index": 2},
]


def test_thoughts_that_are_gathered_are_pieces_with_their_signatures():
    one = gatherer()
    ends: list[Said] = [Finished("stop"), Finished("stop", choice=1), Used(None)]
    for said in (*THOUGHTS, Reasoning("of another choice", choice=1), *ends):
        one.hear(said)
    first, second = (choice["message"] for choice in json.loads(one.answer())["choices"])
    assert (first["reasoning_content"], first["reasoning_details"]) == ("Let meb! open", PIECES)
    assert second["reasoning_content"] == "of another choice"
    assert "reasoning_details" not in second


def test_thoughts_in_a_stream_are_said_as_they_come_and_given_whole_with_their_signature():
    write = writer().write
    write(Reasoning("of another choice", choice=1, signature="s0"))
    deltas = [chunks(write(said))[-1]["choices"][0]["delta"] for said in THOUGHTS]  # type: ignore[index]
    assert [delta.get("reasoning_content") for delta in deltas] == ["Let", " me", None, None, "b", "!", " open"]
    assert [piece for delta in deltas for piece in delta.get("reasoning_details", [])] == PIECES
