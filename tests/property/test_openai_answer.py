"""The unstreamed answer is the streamed one, gathered: a client that puts the chunks together has what it would have been answered."""

import json

from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from headrace.core.stream import Finished, Reasoning, Said, Text, TokenLogprob, ToolCallArguments, ToolCallBegun, Used
from headrace.core.usage import Usage
from headrace.wire.openai_answer import AnswerGatherer, ChunkWriter
from headrace.wire.sse import frames, payload

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
LOGPROBS = st.floats(-20, 0, allow_nan=False)
TOKENS = st.builds(TokenLogprob, TEXTS, LOGPROBS, st.lists(st.tuples(TEXTS, LOGPROBS), max_size=2).map(tuple))
COUNTS = st.integers(0, 2**40)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


@st.composite
def thoughts(draw: st.DrawFn, choice: int) -> Said:
    kind = draw(st.sampled_from(["text", "signed", "redacted"]))
    format = draw(st.sampled_from([None, "anthropic-claude-v1"]))
    if kind == "redacted":
        return Reasoning("", choice, redacted=draw(TEXTS) or "d", format=format)
    return Reasoning(draw(TEXTS), choice, signature=(draw(TEXTS) or "s") if kind == "signed" else None, format=format)


@st.composite
def choices(draw: st.DrawFn, choice: int) -> list[Said]:
    """What is said for one choice: thoughts, words, then calls of tools, each with its arguments in pieces, then the end."""
    told = draw(st.booleans())
    said: list[Said] = draw(st.lists(thoughts(choice), max_size=4))
    said += [
        Text(draw(TEXTS), choice, draw(st.lists(TOKENS, min_size=1, max_size=2).map(tuple)) if told else ())
        for _ in range(draw(st.integers(0, 4)))
    ]
    calls = draw(st.integers(0, 3))
    for index in range(calls):
        said.append(ToolCallBegun(index, f"call_{index}", draw(st.sampled_from(["f", "g"])), choice))
        said += [ToolCallArguments(index, text, choice) for text in draw(st.lists(TEXTS, max_size=3))]
    reasons = st.just("tool_calls") if calls else st.sampled_from(["stop", "length", "content_filter"])
    said.append(Finished(draw(reasons), choice))  # type: ignore[arg-type]
    return said


@st.composite
def answers(draw: st.DrawFn) -> list[Said]:
    """One to three choices, woven into each other as an engine that works on all of them at once says them."""
    threads = [draw(choices(number)) for number in range(draw(st.integers(1, 3)))]
    woven: list[Said] = []
    while any(threads):
        thread = draw(st.sampled_from([thread for thread in threads if thread]))
        woven.append(thread.pop(0))
    return [*woven, Used(draw(USAGES))]


def put_together(said: list[Said]) -> dict[str, object]:
    """As the official client does it, chunk by chunk."""
    writer = ChunkWriter(id="chatcmpl-1", model="m", created=5, include_usage=True)
    state = ChatCompletionStreamState()
    *chunks, end = [payload(frame) for one in said for frame in frames(writer.write(one))]
    assert end == b"[DONE]"
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate_json(chunk))
    whole: dict[str, object] = json.loads(state.current_completion_snapshot.model_dump_json())
    return whole


def gathered(said: list[Said]) -> dict[str, object]:
    gatherer = AnswerGatherer(id="chatcmpl-1", model="m", created=5)
    for one in said:
        gatherer.hear(one)
    whole: dict[str, object] = json.loads(gatherer.answer())
    return whole


def meaning(answer: dict[str, object]) -> object:
    """Without what the two forms say differently: absent or null, and content that is empty or null beside tool calls."""
    plain = _without_nulls(answer)
    for choice in plain["choices"]:  # type: ignore[index]
        message = choice["message"]
        message.pop("annotations", None)
        message["content"] = message.get("content") or ""
        for call in message.get("tool_calls", []):
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        choice.pop("logprobs", None) if not choice.get("logprobs", {}).get("content") else None
    return plain


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_without_nulls(one) for one in value]
    return value


@given(said=answers())
def test_chunks_put_together_are_the_answer(said):
    assert meaning(put_together(said)) == meaning(gathered(said))
