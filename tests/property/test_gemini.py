"""Gemini's stream under any cut and any damage, its counts, and requests whose answers come back as their history."""

import json
from typing import TypeAlias

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.errors import HeadraceError
from headrace.core.stream import Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.testing.providers import check_law
from headrace.wire.gemini import request_for
from headrace.wire.gemini_stream import StreamReader
from headrace.wire.openai_answer import AnswerGatherer
from headrace.wire.openai_chat import read_request

Object: TypeAlias = dict[str, object]

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(['"error"', "\u2028", "data: x", "{"])
SIGNATURES = st.text("AZaz09+/", min_size=1, max_size=6).map(lambda text: text + "=")
ARGUMENTS = st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2), max_size=3)
SIGNED = st.fixed_dictionaries({}, optional={"thoughtSignature": SIGNATURES})
WORDS = st.builds(lambda text, signed: {"text": text} | signed, TEXTS, SIGNED)
THOUGHTS = st.builds(lambda text, signed: {"text": text, "thought": True} | signed, TEXTS, SIGNED)
CALLS = st.builds(
    lambda args, id, signed: {"functionCall": {"name": "f", "args": args} | id} | signed,
    ARGUMENTS,
    st.fixed_dictionaries({}, optional={"id": st.uuids().map(str)}),
    SIGNED,
)
PARTS: st.SearchStrategy[list[Object]] = st.lists(WORDS | THOUGHTS | CALLS | st.just({"speechMetadata": {}}), max_size=3)
COUNTS = st.integers(0, 50) | st.integers(0, 2**40)
NAMES = ["promptTokenCount", "cachedContentTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"]
TOLD = st.fixed_dictionaries({}, optional=dict.fromkeys([*NAMES, "totalTokenCount"], st.none() | COUNTS))
REASONS = st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "OTHER", "MALFORMED_FUNCTION_CALL"])


@st.composite
def chunks(draw: st.DrawFn) -> Object:
    candidate: Object = {"content": {"role": "model", "parts": draw(PARTS)}}
    chunk: Object = {"candidates": [candidate], "modelVersion": draw(st.sampled_from(["m1", "m2"]))}
    if draw(st.booleans()):
        chunk["usageMetadata"] = draw(TOLD)
    return chunk


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """The frames of an answer, without what ends them; mostly whole ones."""
    said = draw(st.lists(chunks(), min_size=1, max_size=5))
    if draw(st.integers(0, 9)):
        said.append({"candidates": [{"finishReason": draw(REASONS)}], "usageMetadata": draw(TOLD)})
    wire = [b"data: " + json.dumps(one, ensure_ascii=draw(st.booleans())).encode() for one in said]
    more = st.sampled_from([[], [], [b": ping"], [b'data: {"error":{"code":503,"message":"busy"}}'], [b'{"error":{"code":500}}']])
    return wire + draw(more)


class Heard:
    """All that a reader tells of one stream, however it comes."""

    def __init__(self, pieces: list[bytes], calls_max: int | None = None) -> None:
        self.made = 0
        reader = StreamReader(whose="g", new_id=self._new_id, calls_max=calls_max)
        self.said: list[Said] = []
        self.failure = ""
        for piece in pieces:
            self.said += reader.feed(piece)
        try:
            self.said += reader.close()
        except HeadraceError as failure:
            self.failure = f"{type(failure).__name__}: {failure}"
        self.usage, self.model = reader.usage, reader.model

    def _new_id(self) -> str:
        self.made += 1
        return f"new_{self.made}"


@given(
    said=streams(),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(1, 60), max_size=30),
    whole=st.booleans(),
    calls_max=st.sampled_from([None, 1]),
)
@example(said=[b"data: {}", b'{"error":{"code":500}}'], newline=b"\r", cuts=[9, 1], whole=True, calls_max=None)
def test_chunking_is_invisible(said, newline, cuts, whole, calls_max):
    wire = b"".join(frame + newline * 2 for frame in said)
    wire = wire if whole else wire.removesuffix(newline * 2)
    pieces, rest = [], wire
    for size in cuts:
        pieces.append(rest[:size])
        rest = rest[size:]
    at_once, in_pieces = Heard([wire], calls_max), Heard([*pieces, rest], calls_max)
    assert vars(at_once) == vars(in_pieces)
    if not at_once.failure:
        check_law(at_once.said)
        assert at_once.said[-1] == Used(at_once.usage, at_once.model)


@given(said=streams(), at=st.integers(0, 4_000), damage=st.binary(max_size=4), size=st.integers(0, 40))
def test_damage_is_a_failure_or_an_answer(said, at, damage, size):
    wire = b"".join(frame + b"\n\n" for frame in said)
    heard = Heard([wire[:at] + damage + wire[at + size :]])
    if not heard.failure:
        check_law(heard.said)
    for one in heard.said:
        if isinstance(one, ToolCallArguments):
            json.loads(one.text)
        if isinstance(one, Text):
            one.text.encode()
    if heard.usage is not None:
        assert min(heard.usage.tokens_in, heard.usage.tokens_out, heard.usage.uncached) >= 0


@given(told=st.lists(TOLD, min_size=1, max_size=5))
def test_segments_are_disjoint_and_sum_to_what_the_vendor_bills(told):
    wire = b"".join(b"data: %b\n\n" % json.dumps({"usageMetadata": one}).encode() for one in told)
    usage = Heard([wire]).usage
    assert usage is not None
    last: dict[str, int] = {}
    for one in told:
        last |= {name: count for name, count in one.items() if count is not None}
    prompt, cached, results, output, reasoning = (last.get(name, 0) for name in NAMES)
    assert usage == Usage(prompt + results - min(cached, prompt), min(cached, prompt), 0, output, reasoning)
    assert usage.total == prompt + results + output + reasoning


@given(parts=st.lists(PARTS, min_size=1, max_size=4))
def test_what_was_answered_comes_back_with_its_signatures(parts):
    """A client who adds the gathered answer to the conversation gives each call its own signature, and the text its last."""
    frames = [b"data: %b\n\n" % json.dumps({"candidates": [{"content": {"parts": some}}]}).encode() for some in parts]
    heard = Heard([*frames, b'data: {"candidates":[{"finishReason":"STOP"}]}\n\n'])
    gatherer = AnswerGatherer(id="i", model="m", created=0)
    for one in heard.said:
        gatherer.hear(one)
    message = json.loads(gatherer.answer())["choices"][0]["message"]
    asked = read_request(json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}, message]}).encode())
    made = request_for(asked, model="gemini-2.5-flash", tokens_out_max=9)
    assert made.changes == ()
    given_back = [part for content in json.loads(made.body)["contents"][1:] for part in content["parts"]]
    calls = [part for some in parts for part in some if "functionCall" in part]
    begun = [one for one in heard.said if isinstance(one, ToolCallBegun)]
    wanted = [call | {"functionCall": call["functionCall"] | {"id": one.id}} for call, one in zip(calls, begun, strict=True)]
    assert [part for part in given_back if "functionCall" in part] == wanted
    texts = [part for some in parts for part in some if "functionCall" not in part and not part.get("thought")]
    words = "".join(str(part.get("text", "")) for part in texts)
    signatures = [part["thoughtSignature"] for part in texts if "thoughtSignature" in part]
    if words:
        expected = {"text": words} | ({"thoughtSignature": signatures[-1]} if signatures else {})
        assert [part for part in given_back if "functionCall" not in part and not part.get("thought")] == [expected]
    thoughts = "".join(one.text for one in heard.said if isinstance(one, Reasoning))
    if thoughts and (words or calls):
        assert given_back[0]["text"] == thoughts
