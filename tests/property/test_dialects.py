"""What holds for every dialect that we translate to: nothing breaks, nothing is lost in silence, and a conversation can move on.

`DIALECTS` are the models of a few kinds of each. A conversation has texts, media, tools and their results, thoughts of several vendors in
the forms in which clients hold them, and marks that end a cached prompt.
"""

import copy
import json
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, TypeAlias

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from headrace.core.errors import InvalidRequest
from headrace.core.stream import Reasoning, Said, ToolCallBegun
from headrace.core.translation import Change
from headrace.wire import anthropic_request, anthropic_stream, bedrock, bedrock_stream, gemini, gemini_stream
from headrace.wire.anthropic_generations import generation_of
from headrace.wire.bedrock_models import traits_of
from headrace.wire.gemini_signature import sealed
from headrace.wire.openai_answer import AnswerGatherer, ChunkWriter
from headrace.wire.openai_chat import ChatRequest, read_request
from headrace.wire.sse import frames, payload
from tests.unit.wire.eventstreams import event

Object: TypeAlias = dict[str, Any]
Translated: TypeAlias = tuple[Object, tuple[Change, ...]]


class Dialect(msgspec.Struct, frozen=True):
    """One model behind one dialect; `format` is whose thoughts it takes back, and `marks` counts what its body says of them."""

    name: str
    model: str
    request_for: Callable[..., Any]
    format: str
    marks: Callable[[Object], int]

    def translate(self, asked: ChatRequest, tokens_out_max: int = 8_192) -> Translated:
        made = self.request_for(asked, model=self.model, tokens_out_max=tokens_out_max)
        return json.loads(made.body), made.changes


def anthropics_marks(body: Object) -> int:
    blocks = [*body.get("tools", ()), *body.get("system", ()), *(block for turn in body["messages"] for block in turn["content"])]
    return sum("cache_control" in block for block in blocks)


def bedrocks_marks(body: Object) -> int:
    return json.dumps(body).count('"cachePoint"')


def no_marks(body: Object) -> int:
    return 0


def _dialects() -> list[Dialect]:
    made = [
        Dialect("anthropic", model, anthropic_request.request_for, generation_of(model).format, anthropics_marks)
        for model in ("claude-opus-5-5", "claude-sonnet-5", "claude-opus-4-8", "claude-haiku-4-5", "claude-3-haiku", "glm-5.2")
    ]
    made += [
        Dialect("bedrock", model, bedrock.request_for, traits_of(model, "ours").format, bedrocks_marks)
        for model in (
            "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "anthropic.claude-opus-5-5",
            "amazon.nova-2-lite-v1:0",
            "meta.llama3-3-70b-instruct-v1:0",
            "openai.gpt-oss-120b-1:0",
        )
    ]
    return made + [
        Dialect("gemini", model, gemini.request_for, "google-gemini-v1", no_marks)
        for model in ("gemini-2.5-flash", "gemini-3.1-pro-preview", "gemini-1.5-pro")
    ]


DIALECTS = _dialects()

# ------------------------------------------------------------------------------------------------------------------- conversations

WORDS = st.sampled_from(["hello", "so", "wait", "yes é", "line\nline"])
PNG = "data:image/png;base64,AA=="
TTLS = st.sampled_from([None, "5m", "1h", "30m"])
MARKS: st.SearchStrategy[Object] = st.one_of(
    st.just({}),
    st.just({}),
    TTLS.map(lambda ttl: {"cache_control": {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})}),
    st.just({"prompt_cache_breakpoint": {"mode": "explicit"}}),
)
PARTS: st.SearchStrategy[Object] = st.builds(
    lambda part, mark: part | mark,
    st.one_of(
        WORDS.map(lambda text: {"type": "text", "text": text}),
        st.just({"type": "image_url", "image_url": {"url": PNG}}),
        st.just({"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}}),
    ),
    MARKS,
)
TEXT_PARTS: st.SearchStrategy[Object] = st.builds(lambda text, mark: {"type": "text", "text": text} | mark, WORDS, MARKS)
SAID = WORDS | st.lists(PARTS, min_size=1, max_size=3).map(lambda parts: [{"type": "text", "text": "look"}, *parts])
TOLD = WORDS | st.lists(TEXT_PARTS, min_size=1, max_size=2)

SIGNATURES = {
    "anthropic-claude-v1": ["EqQBclaude", "EqQBother"],
    "anthropic-messages": ["glmsigned"],
    "bedrock": ["nova+signed"],
    "google-gemini-v1": [sealed("CgIgemini="), sealed("CgIother=", "call_0")],
    "openai-responses-v1": ["gAAAAopenai"],
    "unknown": ["whatever"],
}
DETAILS = st.builds(
    lambda format, at, kind, text, named: (
        (
            {"type": "reasoning.text", "text": text, "signature": SIGNATURES[format][at % len(SIGNATURES[format])]}
            if kind == "text"
            else {"type": "reasoning.encrypted", "data": SIGNATURES[format][at % len(SIGNATURES[format])]}
        )
        | ({"format": format} if named else {})
    ),
    st.sampled_from(sorted(SIGNATURES)),
    st.integers(0, 1),
    st.sampled_from(["text", "encrypted"]),
    WORDS,
    st.just(True),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Object]:
    """One that a client might hold: instructions, turns, calls that are all answered, and at the end the user's."""
    messages: list[Object] = [{"role": "system", "content": draw(TOLD)}] if draw(st.booleans()) else []
    messages.append({"role": "user", "content": draw(SAID)})
    for turn in range(draw(st.integers(0, 3))):
        details = draw(st.lists(DETAILS, max_size=3))
        answer: Object = {"role": "assistant", "content": draw(WORDS)}
        if details:
            answer["reasoning_details"] = details
            answer["reasoning_content"] = "".join(detail.get("text", "") for detail in details)
        calls = [f"call_{turn}_{at}" for at in range(draw(st.integers(0, 2)))]
        if calls:
            answer["tool_calls"] = [{"id": id, "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}} for id in calls]
        messages.append(answer)
        messages += [{"role": "tool", "tool_call_id": id, "content": draw(TOLD)} for id in calls]
        messages.append({"role": "user", "content": draw(SAID)})
    return messages


SCHEMAS = st.sampled_from(
    [
        {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"], "additionalProperties": False},
        {"type": "object", "properties": {"x": {"type": "string", "minLength": 2}}},
        {"type": "object", "properties": {"x": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}}, "$defs": {"a": {"enum": ["b"]}}},
    ]
)
TOOLS = st.builds(
    lambda schema, strict, mark: {"type": "function", "function": {"name": "f", "parameters": schema} | strict} | mark,
    SCHEMAS,
    st.sampled_from([{}, {"strict": True}, {"strict": False}]),
    MARKS.filter(lambda mark: "prompt_cache_breakpoint" not in mark),
)
FORMATS = st.one_of(
    st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
    st.builds(
        lambda schema, strict: {"type": "json_schema", "json_schema": {"name": "n", "schema": schema} | strict},
        SCHEMAS,
        st.sampled_from([{}, {"strict": True}]),
    ),
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "max_completion_tokens": st.integers(1, 99),
    "max_tokens": st.integers(1, 99),
    "stream": st.booleans(),
    "stream_options": st.just({"include_usage": True}),
    "n": st.integers(1, 2),
    "temperature": st.sampled_from([0, 0.5, 1, 2]),
    "top_p": st.sampled_from([0.1, 0.95, 1]),
    "frequency_penalty": st.sampled_from([0, 0.5]),
    "presence_penalty": st.sampled_from([0, -0.5]),
    "seed": st.sampled_from([0, 7, 2**40]),
    "stop": st.sampled_from(["END", ["a", "b"], [], "\n"]),
    "logprobs": st.booleans(),
    "top_logprobs": st.sampled_from([0, 2]),
    "logit_bias": st.sampled_from([{}, {"1": 5}]),
    "response_format": FORMATS,
    "tools": st.lists(TOOLS, max_size=2),
    "tool_choice": st.sampled_from(["none", "auto", "required", {"type": "function", "function": {"name": "f"}}]),
    "parallel_tool_calls": st.booleans(),
    "functions": st.sampled_from([[], [{"name": "f"}]]),
    "function_call": st.sampled_from(["none", "auto", {"name": "f"}]),
    "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh"]),
    "verbosity": st.sampled_from(["low", "medium"]),
    "modalities": st.sampled_from([["text"], ["text", "audio"]]),
    "audio": st.just({"voice": "alloy", "format": "wav"}),
    "prediction": st.just({"type": "content", "content": "x"}),
    "web_search_options": st.just({}),
    "moderation": st.just({"model": "m"}),
    "service_tier": st.sampled_from(["auto", "default", "flex", "priority"]),
    "store": st.booleans(),
    "metadata": st.sampled_from([{}, {"a": "b"}]),
    "user": st.sampled_from(["", "ann"]),
    "safety_identifier": st.just("u-1"),
    "prompt_cache_key": st.just("k"),
    "prompt_cache_retention": st.sampled_from(["in_memory", "24h"]),
    "prompt_cache_options": st.fixed_dictionaries({}, optional={"mode": st.sampled_from(["implicit", "explicit"]), "ttl": st.just("30m")}),
    "top_k": st.sampled_from([-1, 0, 5]),
    "min_p": st.sampled_from([0, 0.1]),
    "repetition_penalty": st.sampled_from([1, 1.1]),
    "min_tokens": st.sampled_from([0, 5]),
    "ignore_eos": st.booleans(),
}
"""Every field beside the model and the messages: values that say nothing, and values that do."""
SEEN_TO = {"max_completion_tokens", "max_tokens", "stream", "stream_options"}
"""What the gateway itself sees to: it tells the dialect how much may be said, and always asks for a stream."""
NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "temperature": (1,),
    "top_p": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "stop": ([],),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("auto",),
    "parallel_tool_calls": (True,),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "metadata": ({},),
    "user": ("",),
    "top_k": (-1, 0),
    "min_p": (0,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "prompt_cache_options": ({},),
}
"""Values at which a field asks for what is so anyway."""


def test_every_field_is_drawn():
    assert {"model", "messages", *FIELDS} == set(ChatRequest.__struct_fields__)


def requests(fields: dict[str, st.SearchStrategy[Any]] = FIELDS) -> st.SearchStrategy[Object]:
    """Mostly with a few fields: with all of them, one that is refused would hide the others."""
    named = st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True)
    chosen = named.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))
    return st.builds(lambda messages, more: {"model": "ours", "messages": messages} | more, conversations(), chosen)


def read(request: Object) -> ChatRequest:
    return read_request(json.dumps(request).encode())


def attempted(dialect: Dialect, request: Object) -> Translated | InvalidRequest:
    """What becomes of it; any failure but the client's own is a fault."""
    try:
        return dialect.translate(read(request))
    except InvalidRequest as refused:
        return refused


def root(param: str | None) -> str:
    return (param or "").partition(".")[0].partition("[")[0]


def says_nothing(name: str, request: Object) -> bool:
    """Whether the field asks for what is so anyway, given the others."""
    value = request[name]
    if name in ("parallel_tool_calls", "tool_choice") and not request.get("tools") and value in (False, "none"):
        return True  # of no tools none can be called
    if name == "tools" and request.get("tool_choice") == "none":
        return True
    if name in ("prompt_cache_options", "prompt_cache_retention") and ends_with_mark(request["messages"]):
        return True
    if name == "prompt_cache_options":
        return value.get("mode") == "explicit" or value in NEUTRAL[name] or "prompt_cache_retention" in request  # they say the same
    return value in NEUTRAL.get(name, ())


def ends_with_mark(messages: list[Object]) -> bool:
    """Whether the client has marked the prompt's end, so that asking for the whole prompt adds nothing."""
    content = messages[-1]["content"]
    return isinstance(content, list) and ("cache_control" in content[-1] or "prompt_cache_breakpoint" in content[-1])


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.model)
@given(request=requests())
def test_no_field_is_lost_in_silence(dialect: Dialect, request: Object):
    """A field that says something changes what the upstream is sent, or is reported by its name, or refused by its name."""
    made = attempted(dialect, request)
    if isinstance(made, InvalidRequest):
        assert root(made.param) in ChatRequest.__struct_fields__
        return
    body, changes = made
    assert {root(change.param) for change in changes} <= set(request)
    assert all(change.why for change in changes)
    reported = {root(change.param) for change in changes}
    for name in request.keys() - SEEN_TO - {"model", "messages"} - reported:
        without = attempted(dialect, {key: value for key, value in request.items() if key != name})
        if isinstance(without, InvalidRequest) or says_nothing(name, request):
            continue
        assert without[0] != body, f"{name} left no trace"


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.model)
@given(messages=conversations(), tools=st.lists(TOOLS, max_size=2), explicit=st.booleans())
def test_what_was_said_is_told_and_every_mark_is_kept_or_reported(
    dialect: Dialect, messages: list[Object], tools: list[Object], explicit: bool
):
    """Of texts each one, of marks as many as are not reported, and of thoughts those that the model can take back."""
    tools = tools or [{"type": "function", "function": {"name": "f"}}]
    request = {"model": "ours", "messages": messages, "tools": tools} | ({"prompt_cache_options": {"mode": "explicit"}} if explicit else {})
    made = attempted(dialect, request)
    assert not isinstance(made, InvalidRequest), made
    body, changes = made
    told = json.dumps(body)
    for message in messages:
        for part in message["content"] if isinstance(message["content"], list) else [{"text": message["content"]}]:
            assert json.dumps(part.get("text", ""))[1:-1] in told
    dropped = {change.param for change in changes if change.what == "dropped"}
    marked = [f"tools[{at}].cache_control" for at, tool in enumerate(tools) if "cache_control" in tool]
    for at, message in enumerate(messages):
        for number, part in enumerate(message["content"] if isinstance(message["content"], list) else ()):
            marked += [f"messages[{at}].content[{number}].{name}" for name in part if name in ("cache_control", "prompt_cache_breakpoint")]
    assert dialect.marks(body) == len([param for param in marked if param not in dropped]) <= 4
    check_thoughts(dialect, messages, body, changes)


def blob(text: str) -> str:
    """How Converse says what Claude hides."""
    return b64encode(text.encode()).decode()


def check_thoughts(dialect: Dialect, messages: list[Object], body: Object, changes: tuple[Change, ...]) -> None:
    """A signature is told to nobody but its maker, and each piece that is not told is reported."""
    told, reported = json.dumps(body), {change.param for change in changes}
    for at, message in enumerate(messages):
        for number, detail in enumerate(message.get("reasoning_details", ())):
            proof = detail.get("signature") or detail["data"]
            where = f"messages[{at}].reasoning_details[{number}]"
            if detail["format"] != dialect.format:
                assert where in reported, f"the {detail['format']} thought was neither taken nor reported"
            elif dialect.name != "gemini":  # where the signature's last word about a place counts
                assert proof in told or blob(proof) in told
                assert where not in reported
    for format, proofs in SIGNATURES.items():
        if format != dialect.format:
            assert not any(
                one.removeprefix("gemini::").removeprefix("gemini:call_0:") in told for proof in proofs for one in (proof, blob(proof))
            )


# ------------------------------------------------------------------------------------------------------------------------- nonsense

JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2**70, 0.5, "", " ", "é\u2028", "none", [], [1], {}, {"type": "text"}, {"type": "x"}, [{}], "data:;base64,"]
)


def places(value: object) -> list[tuple[Any, Any]]:
    """Every member and item: the container, and the key in it."""
    if isinstance(value, dict):
        return [(value, key) for key in value] + [place for inner in value.values() for place in places(inner)]
    if isinstance(value, list):
        return [(value, at) for at in range(len(value))] + [place for inner in value for place in places(inner)]
    return []


@given(request=requests(), at=st.integers(0, 10_000), junk=JUNK, remove=st.booleans())
def test_whatever_a_client_sends_is_translated_or_is_its_fault(request: Object, at: int, junk: object, remove: bool):
    """No other failure: one of side CLIENT says that nothing is billed."""
    request = copy.deepcopy(request)
    spots = places(request)
    container, key = spots[at % len(spots)]
    if remove:
        del container[key]
    else:
        container[key] = junk
    try:
        asked = read(request)
    except InvalidRequest:
        return
    for dialect in DIALECTS:
        with suppress(InvalidRequest):
            dialect.translate(asked)


# ------------------------------------------------------------------------------------------------------ conversations that move on

Spoken: TypeAlias = tuple[str, str]
"""One thing that a model says: its kind (thought, signed, hidden, text, call), and its words or its signature."""
ANSWERS = st.lists(
    st.one_of(
        st.tuples(st.just("thought"), WORDS),
        st.tuples(st.just("hidden"), st.sampled_from(["aGlkZGVu", "c2VjcmV0"])),
        st.tuples(st.just("text"), WORDS),
        st.tuples(st.just("call"), st.sampled_from(['{"x": 1}', "{}"])),
    ),
    min_size=1,
    max_size=5,
).filter(lambda said: any(kind in ("text", "call") for kind, _ in said))


def signature(at: int) -> str:
    """What the model signs its thought number `at` with."""
    return f"U2ln{at}bmF0dXJl"


def by_anthropic(spoken: list[Spoken]) -> list[Said]:
    said: list[Object] = [{"type": "message_start", "message": {"model": "claude-opus-5-5", "usage": {"input_tokens": 9}}}]
    for at, (kind, words) in enumerate(spoken):
        block: Object = {"type": "text", "text": words}
        deltas: list[Object] = []
        if kind == "thought":
            block = {"type": "thinking", "thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": words}, {"type": "signature_delta", "signature": signature(at)}]
        elif kind == "hidden":
            block = {"type": "redacted_thinking", "data": words}
        elif kind == "call":
            block, deltas = {"type": "tool_use", "id": f"toolu_{at}", "name": "f"}, [{"type": "input_json_delta", "partial_json": words}]
        said.append({"type": "content_block_start", "index": at, "content_block": block})
        said += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        said.append({"type": "content_block_stop", "index": at})
    said += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}, {"type": "message_stop"}]
    reader = anthropic_stream.StreamReader()
    return reader.feed(b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in said)) + reader.close()


def by_bedrock(model: str) -> Callable[[list[Spoken]], list[Said]]:
    def speak(spoken: list[Spoken]) -> list[Said]:
        wire = event("messageStart", {"role": "assistant"})
        for at, (kind, words) in enumerate(spoken):
            deltas: list[Object] = [{"text": words}]
            if kind == "thought":
                deltas = [{"reasoningContent": {"text": words}}, {"reasoningContent": {"signature": signature(at)}}]
            elif kind == "hidden":
                deltas = [{"reasoningContent": {"redactedContent": blob(words) if "claude" in model else words}}]
            elif kind == "call":
                start = {"toolUse": {"toolUseId": f"tooluse_{at}", "name": "f"}}
                wire += event("contentBlockStart", {"contentBlockIndex": at, "start": start})
                deltas = [{"toolUse": {"input": words}}]
            wire += b"".join(event("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}) for delta in deltas)
            wire += event("contentBlockStop", {"contentBlockIndex": at})
        wire += event("messageStop", {"stopReason": "end_turn"}) + event("metadata", {"usage": {"inputTokens": 9, "outputTokens": 5}})
        reader = bedrock_stream.StreamReader(model=model, ours="ours")
        return reader.feed(wire) + reader.close()

    return speak


def by_gemini(spoken: list[Spoken]) -> list[Said]:
    """It hides no thoughts, and signs a call or the text as well."""
    parts: list[Object] = []
    for at, (kind, words) in enumerate(spoken):
        if kind in ("thought", "hidden"):
            parts.append({"text": words, "thought": True, "thoughtSignature": signature(at)})
        elif kind == "call":
            parts.append({"functionCall": {"name": "f", "args": json.loads(words)}, "thoughtSignature": signature(at)})
        else:
            parts.append({"text": words, "thoughtSignature": signature(at)})
    chunks: list[Object] = [{"candidates": [{"content": {"parts": [part]}}]} for part in parts]
    chunks.append({"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5}})
    ids = (f"call_{number}" for number in count())
    reader = gemini_stream.StreamReader(whose="g", new_id=lambda: next(ids))
    return reader.feed(b"".join(b"data: %b\n\n" % json.dumps(one).encode() for one in chunks)) + reader.close()


SPEAKERS: list[tuple[str, str, Callable[[list[Spoken]], list[Said]]]] = [
    ("anthropic", "anthropic-claude-v1", by_anthropic),
    ("claude at bedrock", "anthropic-claude-v1", by_bedrock("global.anthropic.claude-sonnet-4-5-20250929-v1:0")),
    ("nova at bedrock", "bedrock", by_bedrock("amazon.nova-2-lite-v1:0")),
    ("gemini", "google-gemini-v1", by_gemini),
]


def gathered(said: list[Said]) -> Object:
    """The message that a client adds to its history who asked for no stream."""
    gatherer = AnswerGatherer(id="i", model="m", created=0)
    for one in said:
        gatherer.hear(one)
    message: Object = json.loads(gatherer.answer())["choices"][0]["message"]
    return message


def streamed(said: list[Said]) -> Object:
    """The message that the official client puts together from a stream."""
    writer, state = ChunkWriter(id="i", model="m", created=0, include_usage=False), ChatCompletionStreamState()
    for one in said:
        for frame in frames(writer.write(one)):
            if payload(frame) != b"[DONE]":
                state.handle_chunk(ChatCompletionChunk.model_validate_json(payload(frame)))
    message: Object = json.loads(state.current_completion_snapshot.choices[0].message.model_dump_json(exclude_none=True))
    return message


def appended(said: list[Said]) -> Object:
    """The message of a client who joins texts and appends what comes as a list."""
    writer = ChunkWriter(id="i", model="m", created=0, include_usage=False)
    message: Object = gathered(said) | {"reasoning_content": "", "reasoning_details": []}
    for one in said:
        for frame in frames(writer.write(one)):
            if payload(frame) != b"[DONE]":
                delta = json.loads(payload(frame))["choices"][0]["delta"]
                message["reasoning_content"] += delta.get("reasoning_content", "")
                message["reasoning_details"] += delta.get("reasoning_details", [])
    return message


def continued(message: Object) -> Object:
    """The conversation goes on: calls are answered, and the user asks again."""
    results = [{"role": "tool", "tool_call_id": call["id"], "content": "7"} for call in message.get("tool_calls", ())]
    return {
        "model": "ours",
        "messages": [{"role": "user", "content": "well?"}, message, *results, {"role": "user", "content": "and now?"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }


@pytest.mark.parametrize(("speaker", "format", "speak"), SPEAKERS, ids=lambda value: value if isinstance(value, str) else "")
@given(spoken=ANSWERS)
def test_an_answer_of_one_can_be_gone_on_with_by_any(
    speaker: str, format: str, speak: Callable[[list[Spoken]], list[Said]], spoken: list[Spoken]
):
    """Whoever answered before: no dialect refuses the conversation, whoever made a thought gets it back whole, and nobody else does."""
    said = speak(spoken)
    assert all(one.format == format for one in said if isinstance(one, Reasoning))
    proofs = [signature(at) for at, (kind, _) in enumerate(spoken) if kind == "thought"]
    hidden = [words for kind, words in spoken if kind == "hidden"] if speaker != "gemini" else []
    for dialect in DIALECTS:
        made = [attempted(dialect, continued(message)) for message in (gathered(said), streamed(said), appended(said))]
        assert not isinstance(made[0], InvalidRequest), made[0]
        assert made[0] == made[1] == made[2], "a stream, put together, is the answer"
        told, changes = json.dumps(made[0][0]), made[0][1]
        if dialect.format == format and speaker != "gemini":
            assert all(proof in told for proof in proofs)
            at_bedrock = dialect.name == "bedrock" and dialect.format == "anthropic-claude-v1"
            assert all((blob(words) if at_bedrock else words) in told for words in hidden)
            assert changes == ()
        elif dialect.format != format:
            assert "bmF0dXJl" not in told
            assert bool(changes) == any(isinstance(one, Reasoning) and bool(one.signature or one.redacted or one.text) for one in said)
        assert len([one for one in said if isinstance(one, ToolCallBegun)]) == told.count('"toolUse"') + told.count(
            '"tool_use"'
        ) + told.count('"functionCall"')


@given(spoken=ANSWERS)
def test_claudes_thoughts_are_the_same_at_either_platform(spoken: list[Spoken]):
    """What Claude said at Anthropic goes back to Claude at Bedrock, piece by piece, and the other way round."""
    assume(any(kind == "thought" for kind, _ in spoken))
    for speak in (by_anthropic, SPEAKERS[1][2]):
        request = continued(gathered(speak(spoken)))
        anthropic, at_bedrock = (next(one for one in DIALECTS if one.name == name) for name in ("anthropic", "bedrock"))
        turn, converse = (one.translate(read(request))[0]["messages"][1]["content"] for one in (anthropic, at_bedrock))
        pieces = [(block["thinking"], block["signature"]) for block in turn if block["type"] == "thinking"]
        texts = [block["reasoningContent"].get("reasoningText") for block in converse if "reasoningContent" in block]
        assert pieces == [(text["text"], text["signature"]) for text in texts if text is not None]
        assert pieces == [(words, signature(at)) for at, (kind, words) in enumerate(spoken) if kind == "thought"]
