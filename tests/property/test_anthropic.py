"""Anthropic's dialect: for whatever a client sends, and however the answer is counted, cut or damaged on its way."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.errors import HeadraceError, InvalidRequest
from headrace.core.stream import Finished, Said, Used
from headrace.core.usage import Usage
from headrace.testing.providers import check_law
from headrace.wire.anthropic_request import request_for
from headrace.wire.anthropic_schema import narrowed
from headrace.wire.anthropic_stream import StreamReader
from headrace.wire.openai_chat import ChatRequest, Message, read_request

Made = TypeVar("Made")

# -------------------------------------------------------------------------------------------------------------------------- the answer

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
COUNTS = st.none() | st.integers(0, 50) | st.integers(0, 2**40)
SPLITS = st.none() | st.fixed_dictionaries({}, optional={"ephemeral_5m_input_tokens": COUNTS, "ephemeral_1h_input_tokens": COUNTS})
COUNTED: dict[str, st.SearchStrategy[Any]] = {
    "input_tokens": COUNTS,
    "output_tokens": COUNTS,
    "cache_read_input_tokens": COUNTS,
    "cache_creation_input_tokens": COUNTS,
    "cache_creation": SPLITS,
    "output_tokens_details": st.none() | st.fixed_dictionaries({}, optional={"thinking_tokens": COUNTS}),
}
USAGES = st.fixed_dictionaries({}, optional=COUNTED)
DELTAS = {
    "text": st.builds(lambda text: {"type": "text_delta", "text": text}, TEXTS),
    "thinking": st.builds(lambda text: {"type": "thinking_delta", "thinking": text}, TEXTS)
    | st.builds(lambda text: {"type": "signature_delta", "signature": text}, TEXTS),
    "tool_use": st.builds(lambda text: {"type": "input_json_delta", "partial_json": text}, TEXTS),
    "redacted_thinking": st.just({"type": "new_delta"}),
    "server_tool_use": st.builds(lambda text: {"type": "input_json_delta", "partial_json": text}, TEXTS),
}
BLOCKS: dict[str, dict[str, Any]] = {
    "tool_use": {"id": "toolu_1", "name": "f", "input": {}},
    "redacted_thinking": {"data": "x"},
    "text": {"text": ""},
}
REASONS = st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal", "stop_sequence", "something_new", None])


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """The frames of one answer."""
    said: list[dict[str, Any]] = [{"type": "message_start", "message": {"model": "its", "usage": draw(USAGES)}}]
    for index in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(sorted(DELTAS)))
        said.append({"type": "content_block_start", "index": index, "content_block": {"type": kind} | BLOCKS.get(kind, {})})
        said += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in draw(st.lists(DELTAS[kind], max_size=3))]
        said += draw(st.sampled_from([[], [{"type": "ping"}], [{"type": "unknown", "index": "x"}]]))
        said.append({"type": "content_block_stop", "index": index})
    for _ in range(draw(st.integers(1, 3))):
        said.append({"type": "message_delta", "delta": {"stop_reason": draw(REASONS)}, "usage": draw(USAGES)})
    said.append(draw(st.sampled_from([{"type": "message_stop"}, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}])))
    ascii = draw(st.booleans())
    return [f"event: {one['type']}\ndata: {json.dumps(one, ensure_ascii=ascii)}".encode() for one in said]


def heard(pieces: list[bytes]) -> tuple[list[Said], Usage | None, str | None]:
    """What was said and told, and the failure that ended it."""
    reader = StreamReader()
    said: list[Said] = []
    try:
        for piece in pieces:
            said += reader.feed(piece)
        said += reader.close()
    except HeadraceError as failure:
        return said, reader.usage, repr(failure)
    return said, reader.usage, None


def cut(wire: bytes, cuts: list[int]) -> list[bytes]:
    pieces = []
    for size in cuts:
        pieces.append(wire[:size])
        wire = wire[size:]
    return [*pieces, wire]


@given(frames=streams(), newline=st.sampled_from([b"\n", b"\r\n", b"\r"]), cuts=st.lists(st.integers(1, 90), max_size=30))
def test_chunking_is_invisible(frames: list[bytes], newline: bytes, cuts: list[int]):
    wire = b"".join(frame.replace(b"\n", newline) + newline * 2 for frame in frames)
    assert heard(cut(wire, cuts)) == heard([wire])
    assert heard([wire[at : at + 1] for at in range(len(wire))]) == heard([wire])


@given(frames=streams())
def test_a_whole_stream_keeps_the_law(frames: list[bytes]):
    said, _, failure = heard([frame + b"\n\n" for frame in frames])
    if failure is None:
        check_law(said)
        assert isinstance(said[-1], Used)
        assert isinstance(said[-2], Finished)
    else:
        assert not any(isinstance(one, Used) for one in said)


@given(
    frames=streams(), at=st.integers(0, 4_000), damage=st.binary(max_size=12), length=st.integers(0, 40), cuts=st.lists(st.integers(1, 90))
)
def test_damage_raises_our_errors_only(frames: list[bytes], at: int, damage: bytes, length: int, cuts: list[int]):
    wire = b"".join(frame + b"\n\n" for frame in frames)
    at %= len(wire)
    said, _, failure = heard(cut(wire[:at] + damage + wire[at + length :], cuts))
    assert (failure is None) == any(isinstance(one, Used) for one in said)


@given(stated=st.lists(USAGES, min_size=1, max_size=4))
def test_segments_are_disjoint_and_sum_to_the_last_statement_of_each_count(stated: list[dict[str, Any]]):
    frames = [{"type": "message_start", "message": {"usage": stated[0]}}]
    frames += [{"type": "message_delta", "usage": one} for one in stated[1:]]
    reader = StreamReader()
    reader.feed(b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in frames))
    last: dict[str, Any] = {}
    for one in stated:
        last |= {name: value for name, value in one.items() if value is not None}
    if "input_tokens" not in last and "output_tokens" not in last:
        assert reader.usage is None
        return
    usage = reader.usage
    assert usage is not None
    assert min(msgspec.structs.astuple(usage)) >= 0
    assert (usage.uncached, usage.cache_read) == (last.get("input_tokens", 0), last.get("cache_read_input_tokens", 0))
    assert usage.tokens_out == last.get("output_tokens", 0)
    split = sum(one or 0 for one in (last.get("cache_creation") or {}).values())
    assert usage.cache_written == last.get("cache_creation_input_tokens", split)


# ------------------------------------------------------------------------------------------------------------------------- the request

MODELS = st.sampled_from(["claude-opus-5-5", "claude-sonnet-5", "claude-opus-4-8", "claude-haiku-4-5", "claude-3-haiku", "glm-5.2"])
WORDS = TEXTS | st.sampled_from(["", " ", "yes"])
PARTS = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "text", "text": text}, WORDS),
        st.builds(lambda text: {"type": "refusal", "refusal": text}, WORDS),
        st.builds(
            lambda url: {"type": "image_url", "image_url": {"url": url}},
            st.sampled_from(["data:image/png;base64,AA==", "https://example.com/a", "data:image/bmp;base64,AA==", 1]),
        ),
    ),
    max_size=3,
)
CALLS = st.lists(
    st.builds(
        lambda id, text: {"id": id, "type": "function", "function": {"name": "f", "arguments": text}},
        st.sampled_from(["a", "b", "a:b"]),
        st.sampled_from(["", "{}", '{"x": [1]}', "[]", "{"]),
    ),
    max_size=2,
)
DETAILS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["reasoning.text", "reasoning.encrypted", "x"])},
        optional={"text": WORDS, "signature": TEXTS, "data": TEXTS},
    ),
    max_size=3,
)
ARGUED = CALLS.filter(lambda calls: all(call["function"]["arguments"] not in ("[]", "{") for call in calls))
LIKELY: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user", "user"]), "content": WORDS}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={"content": WORDS, "tool_calls": ARGUED, "reasoning_details": DETAILS, "reasoning_content": WORDS},
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "content": WORDS, "tool_call_id": st.sampled_from(["a", "b", "a:b"])}),
)
ANYTHING: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={"content": WORDS | PARTS, "tool_calls": CALLS, "tool_call_id": st.just("a")},
)
MESSAGES = st.lists(LIKELY, max_size=6).map(lambda said: [*said, {"role": "user", "content": "so"}]) | st.lists(ANYTHING, max_size=3)
NUMBERS = st.floats(0, 2) | st.sampled_from([0, 1])
SCHEMAS = st.recursive(
    st.sampled_from([True, {}, {"type": "string"}, {"type": "integer", "minimum": 1}, {"enum": ["a"]}, {"$ref": "#/$defs/a"}]),
    lambda inner: st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("ab"), inner, max_size=2)},
            optional={
                "additionalProperties": st.booleans(),
                "required": st.just(["a"]),
                "$defs": st.dictionaries(st.sampled_from("ab"), inner),
            },
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 2)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, max_size=2)}),
    ),
    max_leaves=6,
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"name": st.just("f")}, optional={"strict": st.booleans(), "parameters": SCHEMAS.filter(lambda one: isinstance(one, dict))}
    ),
    max_size=2,
)
REQUESTS = st.fixed_dictionaries(
    {"messages": MESSAGES},
    optional={
        "tools": TOOLS.map(lambda tools: [{"type": "function", "function": one} for one in tools]),
        "tool_choice": st.sampled_from(["auto", "none", "required"]),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "high", "xhigh", "max"]),
        "temperature": NUMBERS,
        "top_p": NUMBERS,
        "top_k": st.integers(-1, 5),
        "stop": WORDS | st.lists(WORDS, max_size=2),
        "seed": st.integers(0, 9),
        "service_tier": st.sampled_from(["auto", "default", "flex"]),
        "prompt_cache_options": st.fixed_dictionaries(
            {}, optional={"mode": st.sampled_from(["implicit", "explicit"]), "ttl": st.just("30m")}
        ),
    },
)


def refusable(make: Callable[[], Made]) -> Made | InvalidRequest:
    try:
        return make()
    except InvalidRequest as refused:
        return refused


@given(wished=REQUESTS, model=MODELS, tokens_out_max=st.integers(1, 40_000))
@example(wished={"messages": [{"role": "system", "content": "a"}]}, model="claude-opus-5-5", tokens_out_max=1)
def test_a_request_is_refused_by_name_or_keeps_the_vendors_rules(wished: dict[str, Any], model: str, tokens_out_max: int):
    asked = read_request(json.dumps({"model": "ours"} | wished).encode())
    translation = refusable(lambda: request_for(asked, model=model, tokens_out_max=tokens_out_max))
    if isinstance(translation, InvalidRequest):
        assert translation.param
        return
    body = json.loads(translation.body)
    assert (body["model"], body["max_tokens"], body["stream"]) == (model, tokens_out_max, True)
    check_turns(body["messages"], model)
    check_options(body, tokens_out_max)
    assert all(change.param and change.why for change in translation.changes)
    check_nothing_is_lost(asked, {change.param for change in translation.changes}, body)


def check_turns(turns: list[dict[str, Any]], model: str) -> None:
    """The user begins; turns alternate; results come first; a call's id is made once; instructions stand just before an answer."""
    roles = [turn["role"] for turn in turns]
    assert roles[0] == "user"
    assert all(one != other for one, other in pairwise(roles))
    assert "system" not in roles or model == "claude-opus-5-5" or model == "claude-opus-4-8"
    for at, role in enumerate(roles):
        if role == "system":
            assert roles[at - 1] == "user"
            assert roles[at + 1 :][:1] in ([], ["assistant"])
    ids = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    assert len(ids) == len(set(ids))
    assert all(set(one) <= set("ab_2345678") for one in ids)
    for turn in turns:
        assert turn["content"]
        kinds = [block["type"] == "tool_result" for block in turn["content"]]
        assert kinds == sorted(kinds, reverse=True)
        assert all(block["text"].strip() for block in turn["content"] if block["type"] == "text")


def check_options(body: dict[str, Any], tokens_out_max: int) -> None:
    budget = body.get("thinking", {}).get("budget_tokens")
    assert budget is None or 1_024 <= budget < tokens_out_max
    assert "tools" in body or "tool_choice" not in body
    called = any(block["type"] == "tool_use" for turn in body["messages"] for block in turn["content"])
    assert "tools" in body or not called


def check_nothing_is_lost(asked: ChatRequest, told: set[str], body: dict[str, Any]) -> None:
    """What the client wished is in the body, or among the changes, unless it wishes what is so anyway."""
    for param in ("temperature", "top_p"):
        value = getattr(asked, param)
        assert value in (None, 1) or param in told or body[param] == value
    assert asked.seed is None or "seed" in told
    for text in spoken(asked.messages):
        assert text in json.dumps(body, ensure_ascii=False) or text.strip() != text


def spoken(messages: list[Message]) -> list[str]:
    """Texts that JSON writes as they are."""
    said = [message.content for message in messages if isinstance(message.content, str)]
    return [text for text in said if json.dumps(text, ensure_ascii=False) == f'"{text}"' and text.strip()]


def closed(schema: object) -> bool:
    """Whether every object in it is."""
    if isinstance(schema, list):
        return all(closed(one) for one in schema)
    if not isinstance(schema, dict):
        return True
    return ("properties" not in schema or schema["additionalProperties"] is False) and all(closed(one) for one in schema.values())


@given(schema=SCHEMAS.filter(lambda one: isinstance(one, dict)))
def test_a_narrowed_schema_is_closed_and_says_what_it_lost(schema: Any):
    cut = refusable(lambda: narrowed(schema, "p"))
    if isinstance(cut, InvalidRequest):
        assert cut.param is not None
        assert cut.param.startswith("p")
        return
    assert closed(cut.schema)
    left = json.dumps(cut.schema)
    assert ("minimum" in json.dumps(schema)) == ("minimum" in cut.lost)
    assert "oneOf" not in left
    again = narrowed(cut.schema, "p")
    assert (again.schema, again.lost) == (cut.schema, ()), "what is narrow is not narrowed again"
