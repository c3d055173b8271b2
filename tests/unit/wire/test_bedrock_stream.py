"""What Bedrock's ConverseStream says, as events: whole answers, how they are counted, and how they break."""

import pytest

from headrace.core.errors import (
    HeadraceError,
    UpstreamCut,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
)
from headrace.core.stream import Finished, Reasoning, Said, Text, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.testing.providers import check_law
from headrace.wire.bedrock_stream import StreamReader
from tests.unit.wire.eventstreams import event, exception, message

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def heard(*events: bytes, model: str = CLAUDE) -> list[Said]:
    reader = StreamReader(model=model, ours="ours")
    said = reader.feed(b"".join(events))
    return said + reader.close()


def thought(text: str, *, signature: str | None = None, redacted: str | None = None) -> Reasoning:
    return Reasoning(text, signature=signature, redacted=redacted, format="anthropic-claude-v1")


def block(index: int, **delta: object) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": index, "delta": delta, "p": "abcdefghijkl"})


def tool(index: int, id: str = "tooluse_1", name: str = "weather", **more: object) -> bytes:
    return event(
        "contentBlockStart", {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": id, "name": name, **more}}, "p": "ab"}
    )


def ends(index: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": index, "p": "abcdef"})


def stops(why: str) -> bytes:
    return event("messageStop", {"stopReason": why, "p": "abcd"})


def metadata(**usage: object) -> bytes:
    return event("metadata", {"metrics": {"latencyMs": 512}, "p": "abc", "usage": usage})


BEGINS = event("messageStart", {"p": "abcdefgh", "role": "assistant"})
TELLS = metadata(inputTokens=9, outputTokens=2, totalTokens=11)
USED = Used(Usage(9, output=2), CLAUDE)
END = [stops("end_turn"), TELLS]

ANSWERS: list[tuple[str, list[bytes], list[Said]]] = [
    (
        "text",
        [BEGINS, block(0, text="Hé"), block(0, text=""), block(0, text="llo"), ends(0), *END],
        [Text("Hé"), Text("llo"), Finished("stop")],
    ),
    (
        "a tool, its arguments in fragments",
        [
            BEGINS,
            block(0, text="so"),
            ends(0),
            tool(1),
            block(1, toolUse={"input": ""}),
            block(1, toolUse={"input": '{"ci'}),
            block(1, toolUse={"input": 'ty":1}'}),
            ends(1),
            stops("tool_use"),
            TELLS,
        ],
        [
            Text("so"),
            ToolCallBegun(0, "tooluse_1", "weather"),
            ToolCallArguments(0, '{"ci'),
            ToolCallArguments(0, 'ty":1}'),
            Finished("tool_calls"),
        ],
    ),
    (
        "two tools at once",
        [
            BEGINS,
            tool(0),
            tool(1, "tooluse_2", "time"),
            block(1, toolUse={"input": "{}"}),
            block(0, toolUse={"input": "{1}"}),
            ends(0),
            ends(1),
            stops("tool_use"),
            TELLS,
        ],
        [
            ToolCallBegun(0, "tooluse_1", "weather"),
            ToolCallBegun(1, "tooluse_2", "time"),
            ToolCallArguments(1, "{}"),
            ToolCallArguments(0, "{1}"),
            Finished("tool_calls"),
        ],
    ),
    (
        "a tool without arguments, by a model that stops with end_turn",
        [BEGINS, tool(0), ends(0), *END],
        [ToolCallBegun(0, "tooluse_1", "weather"), ToolCallArguments(0, "{}"), Finished("tool_calls")],
    ),
    (
        "thoughts with a signature, and thoughts that nobody may read",
        [
            BEGINS,
            block(0, reasoningContent={"text": "hm"}),
            block(0, reasoningContent={"signature": "EqoB"}),
            ends(0),
            block(1, reasoningContent={"redactedContent": "ZGFyaw=="}),
            block(1, reasoningContent={"text": ""}),
            ends(1),
            block(2, text="a"),
            ends(2),
            *END,
        ],
        [thought("hm"), thought("", signature="EqoB"), thought("", redacted="dark"), Text("a"), Finished("stop")],
    ),
    (
        "a tool that runs at AWS, images, citations and what there is not yet",
        [
            BEGINS,
            tool(0, type="server_tool_use"),
            block(0, toolUse={"input": "{}"}),
            ends(0),
            event("contentBlockStart", {"contentBlockIndex": 1, "start": {"image": {"format": "png"}}}),
            block(1, image={"source": {"bytes": "AA=="}}),
            block(2, citation={"title": "t"}),
            event("ping", {}),
            event("messageStart", []),
            block(3, text="a"),
            *END,
        ],
        [Text("a"), Finished("stop")],
    ),
    ("nothing at all", [BEGINS, *END], [Finished("stop")]),
    ("what comes after the stop", [BEGINS, *END, block(0, text="?"), tool(0), ends(0), stops("max_tokens")], [Finished("stop")]),
]


@pytest.mark.parametrize(("events", "said"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_an_answer(events: list[bytes], said: list[Said]):
    told = heard(*events)
    assert told == [*said, USED]
    check_law(told)


REASONS = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("tool_use", "tool_calls"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("guardrail_intervened", "content_filter"),
    ("content_filtered", "content_filter"),
    ("refusal", "content_filter"),
    ("what_comes_next_year", "stop"),
]


@pytest.mark.parametrize(("why", "reason"), REASONS)
def test_why_it_stops(why: str, reason: str):
    assert heard(BEGINS, stops(why), TELLS) == [Finished(reason), USED]  # type: ignore[arg-type]


def test_an_answer_whose_usage_is_not_told():
    assert heard(BEGINS, stops("end_turn")) == [Finished("stop"), Used(None, CLAUDE)]
    assert heard(BEGINS, stops("end_turn"), event("metadata", {"metrics": {}})) == [Finished("stop"), Used(None, CLAUDE)]


def test_the_last_statement_of_usage_holds():
    first = metadata(inputTokens=1, outputTokens=1, totalTokens=2)
    assert heard(BEGINS, stops("end_turn"), first, TELLS, event("metadata", {})) == [Finished("stop"), USED]


GROK = "xai.grok-4.6"
COUNTS: list[tuple[str, dict[str, object], Usage]] = [
    # as AWS documents it, and as it was seen for Claude and Nova: three disjoint counts, two names for each of the cache's
    (
        CLAUDE,
        {
            "inputTokens": 368,
            "cacheReadInputTokens": 10_536,
            "cacheReadInputTokenCount": 10_536,
            "cacheWriteInputTokens": 0,
            "cacheWriteInputTokenCount": 0,
            "outputTokens": 19,
            "totalTokens": 10_923,
        },
        Usage(368, 10_536, output=19),
    ),
    (
        CLAUDE,
        {
            "inputTokens": 18,
            "cacheReadInputTokens": 0,
            "cacheWriteInputTokens": 7_502,
            "cacheWriteInputTokenCount": 7_502,
            "cacheDetails": [{"inputTokens": 7_502, "ttl": "5m"}],
            "serverToolUsage": {},
            "outputTokens": 386,
            "totalTokens": 7_906,
        },
        Usage(18, cache_write=7_502, output=386),
    ),
    (
        CLAUDE,
        {
            "inputTokens": 1,
            "cacheWriteInputTokens": 30,
            "cacheDetails": [{"inputTokens": 20, "ttl": "1h"}, {"inputTokens": 10, "ttl": "5m"}],
            "outputTokens": 2,
        },
        Usage(1, cache_write=10, cache_write_1h=20, output=2),
    ),
    (
        CLAUDE,
        {
            "inputTokens": 1,
            "cacheDetails": [{"inputTokens": 3, "ttl": "30m"}, {"inputTokens": 4, "ttl": "12h"}, {"inputTokens": 5, "ttl": "2d"}],
            "outputTokens": 2,
        },
        Usage(1, cache_write=5, cache_write_30m=3, cache_write_12h=4, output=2),
    ),
    # details that claim more than the whole
    (
        CLAUDE,
        {
            "inputTokens": 1,
            "cacheWriteInputTokens": 5,
            "cacheDetails": [{"inputTokens": 9, "ttl": "1h"}, {"inputTokens": 9, "ttl": "12h"}],
            "outputTokens": 2,
        },
        Usage(1, cache_write_12h=5, output=2),
    ),
    (
        "global.openai.gpt-5.6-sol",
        {"inputTokens": 2, "cacheReadInputTokens": 7_151, "cacheWriteInputTokens": 17, "outputTokens": 5},
        Usage(2, 7_151, 17, output=5),
    ),
    # as it was measured for Grok: the input includes both, and so the total counts them twice
    (
        GROK,
        {"inputTokens": 12_401, "cacheReadInputTokens": 8_367, "cacheWriteInputTokens": 4_032, "outputTokens": 5, "totalTokens": 24_805},
        Usage(2, 8_367, 4_032, output=5),
    ),
    (GROK, {"inputTokens": 2, "cacheReadInputTokens": 8_367, "outputTokens": 5}, Usage(2, 8_367, output=5)),
    (GROK, {"inputTokens": 7, "outputTokens": 5}, Usage(7, output=5)),
]


@pytest.mark.parametrize(("model", "told", "usage"), COUNTS)
def test_usage_in_disjoint_segments(model: str, told: dict[str, object], usage: Usage):
    assert heard(BEGINS, stops("end_turn"), metadata(**told), model=model)[-1] == Used(usage, model)


@pytest.mark.parametrize("told", [{"inputTokens": -1}, {"outputTokens": 2**51}, {"cacheReadInputTokens": "9"}, {"cacheDetails": [{}]}])
def test_counts_that_are_none(told: dict[str, object]):
    with pytest.raises(UpstreamGarbled, match="metadata can't be read"):
        heard(BEGINS, stops("end_turn"), metadata(**told))


ERROR = message({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "it broke"})
BREAKS: list[tuple[str, list[bytes], type[HeadraceError], str]] = [
    ("throttled", [exception("throttlingException", {"message": "slow down"})], UpstreamOverloaded, "throttlingException: slow down"),
    ("unavailable", [exception("serviceUnavailableException", {"message": "later"})], UpstreamOverloaded, "later"),
    ("model's error", [exception("modelStreamErrorException", {"message": "m", "originalStatusCode": 500})], UpstreamFailed, "m"),
    ("internal", [exception("internalServerException", {})], UpstreamFailed, "internalServerException."),
    ("too slow", [exception("modelTimeoutException", {"message": "late"})], UpstreamTimedOut, "late"),
    ("request at fault", [exception("validationException", {"message": "too many images"})], UpstreamRefused, "too many images"),
    ("unknown kind", [exception("newException", {"message": "who knows"})], UpstreamFailed, "who knows"),
    ("no kind", [message({":message-type": "exception"}, b"\xff")], UpstreamFailed, "reported an error."),
    ("unmodelled", [ERROR], UpstreamFailed, "InternalFailure: it broke"),
    ("no type", [message({}, b"{}")], UpstreamGarbled, "neither an event nor an exception"),
    ("end before the stop", [], UpstreamCut, "before the answer was complete"),
    ("end inside of a message", [*END, TELLS[:-1]], UpstreamCut, "before the answer was complete"),
    ("damage", [*END, TELLS[:-1] + b"?"], UpstreamGarbled, "checksum"),
    ("no JSON", [message({":message-type": "event", ":event-type": "messageStop"}, b"{")], UpstreamGarbled, "messageStop can't be read"),
    ("malformed answer", [stops("malformed_model_output"), TELLS], UpstreamGarbled, "malformed_model_output"),
    ("malformed call", [tool(1), ends(1), stops("malformed_tool_use"), TELLS], UpstreamGarbled, "malformed_tool_use"),
    ("a call twice", [tool(1), tool(1)], UpstreamGarbled, "a tool call twice"),
    ("a call without an id", [tool(1, "")], UpstreamGarbled, "without an id"),
    ("a call without a name", [tool(1, name="")], UpstreamGarbled, "without an id or a name"),
]


@pytest.mark.parametrize(("events", "kind", "words"), [row[1:] for row in BREAKS], ids=[row[0] for row in BREAKS])
def test_how_it_breaks(events: list[bytes], kind: type[HeadraceError], words: str):
    reader = StreamReader(model=CLAUDE, ours="ours")
    said = reader.feed(b"".join([BEGINS, block(0, text="hi"), *events]))
    assert said[0] == Text("hi"), "what came before the failure is said"
    with pytest.raises(HeadraceError, match=words) as broke:
        reader.close()
    assert type(broke.value) is kind


def test_after_a_failure_nothing_is_said():
    reader = StreamReader(model=CLAUDE, ours="ours")
    assert reader.feed(BEGINS + exception("throttlingException", {}) + block(0, text="more")) == []
    assert reader.feed(b"".join(END)) == []
    assert isinstance(reader.failure, UpstreamOverloaded)


def test_when_all_is_told():
    reader = StreamReader(model=CLAUDE, ours="ours")
    for piece, told_all in ((BEGINS, False), (stops("end_turn"), False), (TELLS[:-1], False), (TELLS[-1:], True), (b"?", False)):
        reader.feed(piece)
        assert reader.told_all == told_all


def test_usage_is_known_after_a_failure():
    reader = StreamReader(model=CLAUDE, ours="ours")
    reader.feed(b"".join([BEGINS, TELLS, exception("internalServerException", {})]))
    assert isinstance(reader.failure, UpstreamFailed)
    assert reader.usage == Usage(9, output=2)


def test_a_blob_of_claudes_that_holds_no_text_is_not_called_claudes():
    for hidden in ("/w==", "not base64"):
        reader = StreamReader(model=CLAUDE, ours="ours")
        assert reader.feed(block(0, reasoningContent={"redactedContent": hidden})) == [Reasoning("", redacted=hidden, format="bedrock")]


def test_whose_thoughts_they_are():
    thinking = block(0, reasoningContent={"text": "hm"})
    for model, ours, format in (
        ("amazon.nova-2-lite-v1:0", "ours", "bedrock"),
        ("deepseek.r1-v1:0", "ours", "bedrock"),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/abc", "claude-opus-5", "anthropic-claude-v1"),
    ):
        assert StreamReader(model=model, ours=ours).feed(thinking) == [Reasoning("hm", format=format)]
