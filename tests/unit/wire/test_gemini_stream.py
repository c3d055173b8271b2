"""What Gemini says, event by event. The transcripts are written by hand from Google's documentation."""

import itertools
import json

import pytest

from headrace.core.errors import HeadraceError, UpstreamCut, UpstreamFailed, UpstreamGarbled, UpstreamOverloaded, UpstreamRefused
from headrace.core.stream import Finished, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.wire.gemini_stream import StreamReader


def event(*parts: dict[str, object], finish: str | None = None, usage: dict[str, int] | None = None, **more: object) -> bytes:
    candidate: dict[str, object] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish:
        candidate["finishReason"] = finish
    chunk: dict[str, object] = {"candidates": [candidate], "modelVersion": "gemini-x-001", "responseId": "r"} | more
    if usage is not None:
        chunk["usageMetadata"] = usage
    return f"data: {json.dumps(chunk, ensure_ascii=False)}\r\n\r\n".encode()


def thought(text: str, *, signature: str | None = None, redacted: str | None = None) -> Reasoning:
    return Reasoning(text, signature=signature, redacted=redacted, format="google-gemini-v1")


def text(words: str) -> dict[str, object]:
    return {"text": words}


def read(wire: bytes, *, calls_max: int | None = None) -> tuple[list[Said], HeadraceError | None, StreamReader]:
    """What was said, and how it broke if it did."""
    ids = (f"new_{count}" for count in itertools.count())
    reader = StreamReader(whose="g", new_id=lambda: next(ids), calls_max=calls_max)
    said = reader.feed(wire)
    try:
        said += reader.close()
    except HeadraceError as failure:
        return said, failure, reader
    return said, None, reader


def whole(wire: bytes, *, calls_max: int | None = None) -> list[Said]:
    said, failure, _ = read(wire, calls_max=calls_max)
    assert failure is None
    return said


USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 2, "totalTokenCount": 11}
END = event(text(""), finish="STOP", usage=USAGE)
USED = Used(Usage(9, output=2), "gemini-x-001")
STOP: list[Said] = [Finished("stop"), USED]
CALLS: list[Said] = [Finished("tool_calls"), USED]


def call(name: str, args: object, **more: object) -> dict[str, object]:
    return {"functionCall": {"name": name, "args": args} | more}


ANSWERS: list[tuple[list[bytes], list[Said]]] = [
    ([event(text("Hel")), event(text("lo é")), END], [Text("Hel"), Text("lo é"), *STOP]),
    ([event(text("hi"), finish="STOP", usage=USAGE)], [Text("hi"), *STOP]),
    ([event(text("a"), text("b")), END], [Text("a"), Text("b"), *STOP]),
    # a call without an id, two at once, one with its own
    (
        [event(call("f", {"a": [1, "x"]})), END],
        [ToolCallBegun(0, "new_0", "f"), ToolCallArguments(0, '{"a": [1, "x"]}'), *CALLS],
    ),
    (
        [event(call("f", {}, id="c7"), {"functionCall": {"name": "g"}}), event({"functionCall": {"name": "h", "args": None}}), END],
        [
            ToolCallBegun(0, "c7", "f"),
            ToolCallArguments(0, "{}"),
            ToolCallBegun(1, "new_0", "g"),
            ToolCallArguments(1, "{}"),
            ToolCallBegun(2, "new_1", "h"),
            ToolCallArguments(2, "{}"),
            *CALLS,
        ],
    ),
    (
        [event(call("f", {}), finish="MAX_TOKENS", usage=USAGE)],
        [ToolCallBegun(0, "new_0", "f"), ToolCallArguments(0, "{}"), Finished("length"), USED],
    ),
    # thoughts, with signatures on a thought, on a call, on the text and on nothing
    (
        [event({"text": "hm", "thought": True}), event({"thought": True, "thoughtSignature": "T="}), event(text("hi")), END],
        [thought("hm"), thought("", signature="gemini::T="), Text("hi"), *STOP],
    ),
    (
        [event(call("f", {}, id="c7") | {"thoughtSignature": "S="}, call("g", {})), END],
        [
            thought("", redacted="gemini:c7:S="),
            ToolCallBegun(0, "c7", "f"),
            ToolCallArguments(0, "{}"),
            ToolCallBegun(1, "new_0", "g"),
            ToolCallArguments(1, "{}"),
            *CALLS,
        ],
    ),
    (
        [event(text("hi") | {"thoughtSignature": "A="}), event(text("") | {"thoughtSignature": "B="}), END],
        [Text("hi"), thought("", redacted="gemini::A="), thought("", redacted="gemini::B="), *STOP],
    ),
    ([event({"thoughtSignature": "A="}), END], [thought("", redacted="gemini::A="), *STOP]),
    # what is not known is passed over
    (
        [b": ping\n\n", b"event: ping\n\n", event({"speechMetadata": {}}, text("hi"), groundingMetadata={"x": 1}), b"retry: 3\n\n", END],
        [Text("hi"), *STOP],
    ),
    (
        [event(text("hi")), b'data: {"candidates":[]}\n\n', b'data: {"candidates":[{"content":{}}]}\n\n', b"data: {}\n\n", END],
        [Text("hi"), *STOP],
    ),
    ([event(text("hi")), b'data: {"candidates":null,"usageMetadata":null,"promptFeedback":{}}\n\n', END], [Text("hi"), *STOP]),
    (
        [event(text('"error"')), event(call("f", {"error": 1})), END],
        [Text('"error"'), ToolCallBegun(0, "new_0", "f"), ToolCallArguments(0, '{"error": 1}'), *CALLS],
    ),
    # something after the finish, and no empty line at the end
    ([event(text("a"), finish="STOP"), event(text("b"), usage=USAGE)], [Text("a"), Text("b"), *STOP]),
    ([event(text("a")), END.rstrip()], [Text("a"), *STOP]),
    ([event(text("a")), END, b"\r\n", b": bye"], [Text("a"), *STOP]),
    # a second answer, for which nobody asked
    (
        [b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]}},{"index":1,"content":{"parts":[{"text":"b"}]}}]}\n\n', END],
        [Text("a"), *STOP],
    ),
]


@pytest.mark.parametrize(("events", "said"), ANSWERS)
def test_an_answer(events: list[bytes], said: list[Said]):
    assert whole(b"".join(events)) == said


def test_only_the_calls_that_are_wanted():
    wire = event(call("f", {}) | {"thoughtSignature": "A="}, call("g", {}) | {"thoughtSignature": "B="}, text("hi")) + END
    assert whole(wire, calls_max=1) == [
        thought("", redacted="gemini:new_0:A="),
        ToolCallBegun(0, "new_0", "f"),
        ToolCallArguments(0, "{}"),
        Text("hi"),
        *CALLS,
    ]


FINISHES = [
    ("STOP", "stop"),
    ("MAX_TOKENS", "length"),
    ("CONTINUATION", "length"),
    ("SAFETY", "content_filter"),
    ("RECITATION", "content_filter"),
    ("BLOCKLIST", "content_filter"),
    ("PROHIBITED_CONTENT", "content_filter"),
    ("SPII", "content_filter"),
    ("LANGUAGE", "content_filter"),
    ("IMAGE_SAFETY", "content_filter"),
    ("MODEL_ARMOR", "content_filter"),
    ("OTHER", "content_filter"),
    ("SOMETHING_NEW", "content_filter"),
]


@pytest.mark.parametrize(("told", "reason"), FINISHES)
def test_how_it_ends(told: str, reason: str):
    said = whole(event(text("a")) + event(finish=told, usage=USAGE))
    assert said[0] == Text("a")
    assert [one.reason for one in said if isinstance(one, Finished)] == [reason]


def test_a_prompt_that_is_blocked():
    wire = b'data: {"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":7},"modelVersion":"m"}\n\n'
    assert whole(wire) == [Finished("content_filter"), Used(Usage(7), "m")]


BROKEN = [
    ("MALFORMED_FUNCTION_CALL", UpstreamGarbled),
    ("UNEXPECTED_TOOL_CALL", UpstreamGarbled),
    ("TOO_MANY_TOOL_CALLS", UpstreamGarbled),
    ("MALFORMED_RESPONSE", UpstreamGarbled),
    ("MISSING_THOUGHT_SIGNATURE", UpstreamGarbled),
    ("PUP_LIMITED_DISABLED", UpstreamFailed),
]


@pytest.mark.parametrize(("told", "kind"), BROKEN)
def test_ends_that_leave_no_answer(told: str, kind: type[HeadraceError]):
    said, failure, reader = read(event(text("a")) + event(finish=told, usage=USAGE) + event(text("b")))
    assert (said, type(failure)) == ([Text("a")], kind)
    assert told in str(failure)
    assert reader.usage == Usage(9, output=2), "what was used until then is known"


def test_the_reason_in_words():
    wire = b'data: {"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"print(f("}]}\n\n'
    assert str(read(wire)[1]) == "g ended its answer with MALFORMED_FUNCTION_CALL: print(f("


# ------------------------------------------------------------------------------------------------------------------------- usage

USAGES = [
    # told, event by event, and what it comes to
    ([{"promptTokenCount": 10}, {"promptTokenCount": 10, "candidatesTokenCount": 5}], Usage(10, output=5)),
    # thoughts and tools' results lie beside the others
    ([{"promptTokenCount": 10, "candidatesTokenCount": 5, "thoughtsTokenCount": 100}], Usage(10, output=5, reasoning=100)),
    ([{"promptTokenCount": 10, "toolUsePromptTokenCount": 7, "candidatesTokenCount": 5}], Usage(17, output=5)),
    # what was cached lies inside of the prompt
    ([{"promptTokenCount": 1_000, "cachedContentTokenCount": 900, "toolUsePromptTokenCount": 1}], Usage(101, cache_read=900)),
    ([{"promptTokenCount": 10, "cachedContentTokenCount": 99}], Usage(0, cache_read=10)),
    # totals may fall, and a field may be missing the last time
    ([{"promptTokenCount": 2_304}, {"promptTokenCount": 2_301, "candidatesTokenCount": 1}], Usage(2_301, output=1)),
    (
        [
            {"promptTokenCount": 9, "thoughtsTokenCount": 50, "cachedContentTokenCount": 4},
            {"promptTokenCount": 9, "candidatesTokenCount": 3},
        ],
        Usage(5, cache_read=4, output=3, reasoning=50),
    ),
    ([{"candidatesTokenCount": 8}, {"candidatesTokenCount": 6}, {}], Usage(0, output=6)),
    ([{}], Usage(0)),
    ([None], None),
]


@pytest.mark.parametrize(("told", "usage"), USAGES)
def test_usage_is_made_disjoint(told: list[dict[str, int] | None], usage: Usage | None):
    wire = b"".join(event(text("a"), usage=one) for one in told) + event(finish="STOP")
    assert whole(wire)[-1] == Used(usage, "gemini-x-001")


def test_usage_is_known_at_every_moment():
    reader = StreamReader(whose="g", new_id=str)
    assert reader.usage is None
    reader.feed(event(text("a"), usage={"promptTokenCount": 9, "candidatesTokenCount": 1}))
    assert reader.usage == Usage(9, output=1)
    reader.feed(event(text("b"), usage={"promptTokenCount": 9, "candidatesTokenCount": 4}))
    assert reader.usage == Usage(9, output=4)


# ---------------------------------------------------------------------------------------------------------------------- failures

BUSY = b'{\n  "error": {\n    "code": 503,\n    "message": "The model is overloaded.",\n    "status": "UNAVAILABLE"\n  }\n}\n'
SAYS = event(text("a"))


BREAKS: list[tuple[bytes, type[HeadraceError], list[Said]]] = [
    # the bytes, what it means, what was said before
    (b"", UpstreamCut, []),
    (SAYS, UpstreamCut, [Text("a")]),
    (SAYS + END[:-30], UpstreamCut, [Text("a")]),
    (SAYS + END[:20], UpstreamCut, [Text("a")]),
    (SAYS + b"da", UpstreamCut, [Text("a")]),
    (SAYS + b'{"err', UpstreamCut, [Text("a")]),
    (SAYS + b'data: "\xff', UpstreamCut, [Text("a")]),
    (b"<html>", UpstreamCut, []),
    (b"data: <html>\n\n", UpstreamGarbled, []),
    (b"data: []\n\n", UpstreamGarbled, []),
    (b"[" + SAYS.removeprefix(b"data: ") + b"]", UpstreamGarbled, []),
    (b"data: " + b"[" * 100_000 + b"\n\n", UpstreamGarbled, []),
    (b'data: {"candidates":[{"content":{"parts":[{"text":"\xff"}]}}]}\n\n', UpstreamGarbled, []),
    (b'data: {"usageMetadata":{"promptTokenCount":-1}}\n\n', UpstreamGarbled, []),
    (b'data: {"usageMetadata":{"promptTokenCount":1e30}}\n\n', UpstreamGarbled, []),
    (SAYS + event({"functionCall": {}}), UpstreamGarbled, [Text("a")]),
    (event(call("f", [1])), UpstreamGarbled, []),
    (event(call("f", {}, partialArgs=[{"jsonPath": "$.a", "stringValue": "b"}])), UpstreamGarbled, []),
    (b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]}}]}\n\n', UpstreamGarbled, []),
    (event(text("a"), {"inlineData": {"mimeType": "image/png", "data": "AA"}}) + END, UpstreamGarbled, [Text("a")]),
    (event({"fileData": {"fileUri": "gs://a"}}) + END, UpstreamGarbled, []),
    (SAYS + b"data: " + BUSY.replace(b"\n", b"") + b"\n\n" + SAYS, UpstreamOverloaded, [Text("a")]),
    (SAYS + BUSY, UpstreamOverloaded, [Text("a")]),
    (SAYS + END + BUSY, UpstreamOverloaded, [Text("a")]),
    (SAYS + b"[" + BUSY + b"]", UpstreamOverloaded, [Text("a")]),
    (SAYS + b'data: {"error":{"code":500,"message":"x","status":"INTERNAL"}}\n\n', UpstreamFailed, [Text("a")]),
    (SAYS + b'data: {"error":{"message":"x"}}\n\n', UpstreamFailed, [Text("a")]),
    (b'data: {"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}\n\n', UpstreamRefused, []),
]


@pytest.mark.parametrize(("wire", "kind", "before"), BREAKS, ids=range(len(BREAKS)))
def test_a_stream_that_breaks(wire: bytes, kind: type[HeadraceError], before: list[Said]):
    said, failure, _ = read(wire)
    assert type(failure) is kind
    assert str(failure).startswith("g ")
    assert said == before


def test_nothing_is_read_after_a_failure():
    reader = StreamReader(whose="g", new_id=str)
    assert reader.feed(SAYS + b"data: nonsense\n\n" + SAYS) == [Text("a")]
    failure = reader.failure
    assert isinstance(failure, UpstreamGarbled)
    assert reader.feed(SAYS) == []
    with pytest.raises(UpstreamGarbled) as raised:
        reader.close()
    assert raised.value is failure


def test_what_is_known_of_an_answer_that_is_left():
    reader = StreamReader(whose="g", new_id=lambda: "c")
    reader.feed(event(text("x" * 30)))
    assert (reader.spent(500), reader.finished) == (None, False), "nothing was counted"
    reader.feed(event(call("f", {"a": "é"}), usage={"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 1}))
    assert reader.spent(500) == Usage(9, output=10, reasoning=1), "41 bytes make 11 tokens, one of them already counted as a thought"
    assert reader.spent(5) == Usage(9, output=4, reasoning=1)
    assert reader.usage == Usage(9, output=2, reasoning=1), "what was told is what was told"
    reader.feed(END)
    assert (reader.spent(500), reader.finished) == (Usage(9, output=2, reasoning=1), True)


MEDIA = [
    # prompt, cached, said; by modality: of the prompt, of what was cached, of the answer
    ({"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 30},
     {"promptTokensDetails": [("TEXT", 50), ("AUDIO", 30), ("IMAGE", 20)], "cacheTokensDetails": [("AUDIO", 10), ("TEXT", 30)],
      "candidatesTokensDetails": [("TEXT", 10), ("AUDIO", 15), ("IMAGE", 5)]},
     Usage(20, 30, 0, 10, audio_in=20, image_in=20, audio_read=10, audio_out=15, image_out=5)),
    ({"promptTokenCount": 10}, {"promptTokensDetails": [("VIDEO", 900), ("AUDIO", 4)]}, Usage(0, audio_in=4, image_in=6)),
    ({"promptTokenCount": 10}, {"promptTokensDetails": []}, Usage(10)),
]  # fmt: skip


@pytest.mark.parametrize(("counts", "details", "usage"), MEDIA)
def test_modalities_are_segments_of_their_own(counts, details, usage):
    told = {name: [{"modality": modality, "tokenCount": count} for modality, count in rows] for name, rows in details.items()}
    reader = StreamReader(whose="g", new_id=str)
    chunk = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}], "usageMetadata": counts | told}
    reader.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    assert reader.usage == usage
    assert usage.total == sum(counts.get(name, 0) for name in ("promptTokenCount", "candidatesTokenCount"))
