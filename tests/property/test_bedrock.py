"""Bedrock's binary stream: however it is cut and whatever it says, the same events, disjoint counts, and no failure but our own."""

import json
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.errors import HeadraceError
from headrace.core.stream import Said, Used
from headrace.core.usage import Usage
from headrace.testing.providers import check_law
from headrace.wire.bedrock import request_for
from headrace.wire.bedrock_stream import StreamReader
from headrace.wire.eventstream import MessageReader
from headrace.wire.openai_chat import ChatRequest, read_request
from tests.unit.wire.eventstreams import Sized, Time, Value, event, exception, message

CUTS = st.lists(st.integers(1, 60), max_size=40)
TEXTS = st.text(max_size=8)

# ---------------------------------------------------------------------------------------------------------------------- framing


def whole_numbers(size: int) -> st.SearchStrategy[Value]:
    """Those that fit into so many bytes."""
    return st.integers(-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1).map(lambda number: Sized(number, size))


VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    *(whole_numbers(size) for size in (1, 2, 4, 8)),
    st.integers(-(2**63), 2**63 - 1).map(Time),
    st.binary(max_size=20),
    st.text(max_size=20),
    st.uuids(),
)
MESSAGES = st.lists(st.tuples(st.dictionaries(st.text(min_size=1, max_size=9), VALUES, max_size=4), st.binary(max_size=40)), max_size=5)


def in_pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    """`wire`, cut into pieces of these sizes, and what is left as the last."""
    pieces = []
    for size in cuts:
        pieces.append(wire[:size])
        wire = wire[size:]
    return [piece for piece in [*pieces, wire] if piece]


@given(messages=MESSAGES, cuts=CUTS)
def test_every_message_is_read_as_it_was_written(messages, cuts):
    wire = b"".join(message(headers, payload) for headers, payload in messages)
    reader, read = MessageReader(), []
    for piece in in_pieces(wire, cuts):
        reader.feed(piece)
        while (one := reader.next_message()) is not None:
            read.append((one.headers, one.payload))
    assert not reader.unfinished
    assert read == messages
    for headers, _ in read:
        assert all(type(value) in (bool, int, bytes, str, UUID) for value in headers.values())


# ----------------------------------------------------------------------------------------------------------------------- answers

COUNTS = st.integers(0, 50) | st.integers(0, 2**40)
USAGE = st.fixed_dictionaries(
    {"inputTokens": COUNTS, "outputTokens": COUNTS},
    optional={
        "totalTokens": COUNTS,
        "cacheReadInputTokens": COUNTS,
        "cacheReadInputTokenCount": COUNTS,
        "cacheWriteInputTokens": COUNTS,
        "cacheWriteInputTokenCount": COUNTS,
        "cacheDetails": st.lists(
            st.fixed_dictionaries({"ttl": st.sampled_from(["5m", "30m", "1h", "12h", "7d"]), "inputTokens": COUNTS}), max_size=3
        ),
    },
)
MODELS = st.sampled_from(["anthropic.claude-sonnet-4-5-20250929-v1:0", "xai.grok-4.6", "amazon.nova-lite-v1:0"])


def delta(index: int, **said: object) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": said})


@st.composite
def blocks(draw: st.DrawFn, index: int) -> list[bytes]:
    match draw(st.integers(0, 3)):
        case 0:
            return [delta(index, text=draw(TEXTS)) for _ in range(draw(st.integers(0, 3)))]
        case 1:
            return [
                delta(index, reasoningContent={draw(st.sampled_from(["text", "signature", "redactedContent"])): draw(TEXTS)})
                for _ in range(draw(st.integers(0, 3)))
            ]
        case 2:
            start = event("contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": f"t{index}", "name": "f"}}})
            return [start, *(delta(index, toolUse={"input": draw(TEXTS)}) for _ in range(draw(st.integers(0, 3))))]
        case _:
            return [event(draw(st.sampled_from(["ping", "later"])), {})]


@st.composite
def answers(draw: st.DrawFn) -> list[bytes]:
    """The messages of one answer that goes to its end, or to a failure in the middle."""
    said = [event("messageStart", {"role": "assistant"})]
    for index in range(draw(st.integers(0, 4))):
        said += [*draw(blocks(index)), event("contentBlockStop", {"contentBlockIndex": index})]
    said.append(
        event("messageStop", {"stopReason": draw(st.sampled_from(["end_turn", "tool_use", "max_tokens", "malformed_tool_use", "x"]))})
    )
    if draw(st.booleans()):
        said.append(event("metadata", {"usage": draw(USAGE), "metrics": {"latencyMs": 1}}))
    if draw(st.integers(0, 3)) == 0:
        said.insert(draw(st.integers(0, len(said))), exception("throttlingException", {"message": "slow"}))
    return said


def heard(pieces: list[bytes], model: str) -> tuple[list[Said], str, Usage | None]:
    """What was said, how it ended, and what usage was known then."""
    reader, said = StreamReader(model=model, ours="ours"), []
    for piece in pieces:
        said += reader.feed(piece)
    try:
        said += reader.close()
    except HeadraceError as failure:
        return said, repr(failure), reader.usage
    return said, "whole", reader.usage


@given(messages=answers(), cuts=CUTS, model=MODELS)
def test_chunking_is_invisible(messages, cuts, model):
    wire = b"".join(messages)
    assert heard(in_pieces(wire, cuts), model) == heard([wire], model) == heard(messages, model)


@given(messages=answers(), model=MODELS)
def test_the_law_of_a_stream_is_kept(messages, model):
    said, ended, usage = heard(messages, model)
    if ended == "whole":
        check_law(said)
        assert said[-1] == Used(usage, model)
    else:
        assert not any(isinstance(one, Used) for one in said)


@given(told=USAGE, model=MODELS)
def test_segments_are_disjoint_and_sum_to_what_the_vendor_tells(told, model):
    reader = StreamReader(model=model, ours="ours")
    reader.feed(event("metadata", {"usage": told}))
    usage = reader.usage
    assert usage is not None
    read = max(told.get("cacheReadInputTokens", 0), told.get("cacheReadInputTokenCount", 0))
    written = max(told.get("cacheWriteInputTokens", 0), told.get("cacheWriteInputTokenCount", 0))
    written = written or sum(detail["inputTokens"] for detail in told.get("cacheDetails", []))
    assert (usage.cache_read, usage.cache_written, usage.tokens_out) == (read, written, told["outputTokens"])
    inside = model.startswith("xai.") and read + written <= told["inputTokens"]
    assert usage.tokens_in == told["inputTokens"] + (0 if inside else read + written)
    assert min(usage.uncached, usage.cache_write, usage.cache_write_30m, usage.cache_write_1h, usage.cache_write_12h) >= 0


@given(messages=answers(), spots=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), min_size=1, max_size=4), cuts=CUTS)
def test_damaged_bytes_break_nothing_of_ours(messages, spots, cuts):
    wire = bytearray(b"".join(messages))
    for at, byte in spots:
        wire[at % len(wire)] = byte
    said, _, usage = heard(in_pieces(bytes(wire), cuts), "m")
    whole, _, _ = heard(messages, "m")
    assert [one for one in said if not isinstance(one, Used)] == whole[: len([one for one in said if not isinstance(one, Used)])]
    assert usage is None or min(usage.tokens_in, usage.tokens_out) >= 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["contentBlockIndex", "delta", "start", "toolUse", "text", "usage", "stopReason", "toolUseId", "name", "input"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
KINDS = st.sampled_from(["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata", "x"])


@given(events=st.lists(st.tuples(KINDS, JSON), max_size=6))
def test_whatever_an_event_says_it_is_read_or_is_garbled(events):
    said, ended, _ = heard([event(kind, body) for kind, body in events], "m")
    if ended == "whole":
        check_law(said)


# ---------------------------------------------------------------------------------------------------------------------- requests

ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
PART = st.sampled_from(
    [
        {"type": "text", "text": "a"},
        {"type": "text", "text": " "},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,AAAA", "filename": "a.txt"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    ]
)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES},
    optional={
        "content": st.none() | TEXTS | st.lists(PART, max_size=3),
        "tool_calls": st.just([CALL]),
        "tool_call_id": st.just("c"),
        "reasoning_content": TEXTS,
        "reasoning_details": st.lists(
            st.fixed_dictionaries({"type": st.just("reasoning.text")}, optional={"text": TEXTS, "signature": TEXTS, "data": TEXTS}),
            max_size=2,
        ),
    },
)
REQUEST = st.fixed_dictionaries(
    {"model": st.just("ours"), "messages": st.lists(MESSAGE, max_size=5)},
    optional={
        "tools": st.just([{"type": "function", "function": {"name": "f"}}]),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(-1, 9),
        "stop": TEXTS | st.lists(TEXTS, max_size=2),
        "prompt_cache_options": st.fixed_dictionaries({}, optional={"mode": TEXTS, "ttl": st.sampled_from(["5m", "30m"])}),
    },
)
ANY_MODEL = st.sampled_from(
    [
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "anthropic.claude-opus-4-6-v1",
        "anthropic.claude-sonnet-5",
        "amazon.nova-2-lite-v1:0",
        "x",
    ]
)


@given(request=REQUEST, model=ANY_MODEL, tokens_out_max=st.integers(1, 10_000))
def test_a_request_is_said_in_turns_or_refused(request, model, tokens_out_max):
    asked: ChatRequest = read_request(json.dumps(request).encode())
    try:
        translation = request_for(asked, model=model, tokens_out_max=tokens_out_max)
    except HeadraceError:
        return
    body = json.loads(translation.body)
    assert [turn["role"] for turn in body["messages"]] == [["user", "assistant"][at % 2] for at in range(len(body["messages"]))]
    assert all(turn["content"] for turn in body["messages"])
    assert all(block.get("text", "x").strip() for turn in body["messages"] for block in turn["content"])
    assert body["inferenceConfig"]["maxTokens"] == tokens_out_max
    thinking = body.get("additionalModelRequestFields", {}).get("thinking", {})
    assert thinking.get("budget_tokens", 0) < tokens_out_max
    assert not (thinking and ("any" in body.get("toolConfig", {}).get("toolChoice", {}) or "temperature" in body["inferenceConfig"]))
