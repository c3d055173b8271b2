"""A conversation in OpenAI's words as Bedrock's Converse takes it: turns, tools' calls and results, thoughts, files."""

import json
import re

import msgspec
import pytest

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.wire.bedrock import request_for
from headrace.wire.openai_chat import read_request
from tests.unit.wire.bedrock_requests import (
    HI,
    NOVA,
    NOVA_2,
    OPUS_47,
    OPUS_55,
    PDF,
    PNG,
    SAID_HI,
    SONNET_5,
    SONNET_45,
    WEATHER,
    asked,
    called,
    told,
    user,
)


def assistant(*blocks: object) -> dict[str, object]:
    return {"role": "assistant", "content": list(blocks)}


def used(id: str = "call_1", **input: object) -> dict[str, object]:
    return {"toolUse": {"toolUseId": id, "name": "weather", "input": input}}


def result(*blocks: object, id: str = "call_1") -> dict[str, object]:
    return {"toolResult": {"toolUseId": id, "content": list(blocks)}}


def thought(text: str, signature: str) -> dict[str, object]:
    return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}


def hidden(content: str) -> dict[str, object]:
    return {"reasoningContent": {"redactedContent": content}}


CONVERSATIONS: list[tuple[list[object], list[object]]] = [
    (
        [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": " b "}]}],
        [user({"text": "a"}, {"text": " b "})],
    ),
    ([HI, HI], [user({"text": "hi"}, {"text": "hi"})]),
    ([HI, {"role": "user", "content": " \n"}, {"role": "user"}], [SAID_HI]),
    (
        [HI, {"role": "assistant", "content": "a"}, {"role": "assistant", "refusal": "no"}, HI],
        [SAID_HI, assistant({"text": "a"}, {"text": "no"}), SAID_HI],
    ),
    (
        [HI, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "b"}]}],
        [SAID_HI, assistant({"text": "no"}, {"text": "b"})],
    ),
    (
        [
            HI,
            {"role": "assistant", "content": "so", "tool_calls": [called(), called("call_2", "")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "rain", "name": "weather"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "sun"}]},
            {"role": "user", "content": "well?"},
        ],
        [
            SAID_HI,
            assistant({"text": "so"}, used(city="Oslo"), used("call_2")),
            user(result({"text": "rain"}), result({"text": "sun"}, id="call_2"), {"text": "well?"}),
        ],
    ),
    (
        [
            HI,
            {"role": "assistant", "tool_calls": [called()]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "image_url", "image_url": {"url": PNG}}]},
        ],
        [
            SAID_HI,
            assistant(used(city="Oslo")),
            user(result({"image": {"format": "png", "source": {"bytes": PNG.partition(",")[2]}}})),
        ],
    ),
    (
        [HI, {"role": "assistant", "tool_calls": [called()]}, {"role": "tool", "tool_call_id": "call_1", "content": ""}],
        [SAID_HI, assistant(used(city="Oslo")), user(result())],
    ),
    (
        [
            HI,
            {
                "role": "assistant",
                "content": "a",
                "reasoning_content": "hm ",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "hm", "signature": "s"},
                    {"type": "reasoning.encrypted", "data": "dark"},
                ],
            },
        ],
        [SAID_HI, assistant(thought("hm", "s"), hidden("ZGFyaw=="), {"text": "a"})],
    ),
    (  # as a client gathers it from our stream: the text in one field, the signature in the other
        [
            HI,
            {
                "role": "assistant",
                "content": "a",
                "reasoning_content": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "s"}],
            },
        ],
        [SAID_HI, assistant(thought("hm", "s"), {"text": "a"})],
    ),
    (  # thoughts that their vendor shows to nobody
        [HI, {"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text", "signature": "s"}]}],
        [SAID_HI, assistant(thought("", "s"), {"text": "a"})],
    ),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "read"},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "auto"}},
                    {"type": "file", "file": {"file_data": PDF, "filename": "q3_report (final).pdf"}},
                    {"type": "file", "file": {"file_data": PDF, "filename": "q3_report (final).pdf"}},
                    {"type": "file", "file": {"file_data": PDF, "filename": "…"}},
                    {"type": "file", "file": {"file_data": PDF}},
                    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                ],
            }
        ],
        [
            user(
                {"text": "read"},
                {"image": {"format": "png", "source": {"bytes": PNG.partition(",")[2]}}},
                {"document": {"format": "pdf", "name": "q3 report (final)", "source": {"bytes": PDF.partition(",")[2]}}},
                {"document": {"format": "pdf", "name": "q3 report (final) 2", "source": {"bytes": PDF.partition(",")[2]}}},
                {"document": {"format": "pdf", "name": "document", "source": {"bytes": PDF.partition(",")[2]}}},
                {"document": {"format": "pdf", "name": "document 2", "source": {"bytes": PDF.partition(",")[2]}}},
                {"audio": {"format": "wav", "source": {"bytes": "UklGRg=="}}},
            )
        ],
    ),
]


@pytest.mark.parametrize(("messages", "turns"), CONVERSATIONS)
def test_a_conversation(messages: list[object], turns: list[object]):
    body, changes = told(asked(*messages, tools=[WEATHER]))
    assert body["messages"] == turns
    assert changes == []


def test_instructions_stand_apart():
    body, changes = told(
        asked({"role": "system", "content": "be brief"}, {"role": "developer", "content": [{"type": "text", "text": "and kind"}]}, HI)
    )
    assert (body["system"], body["messages"], changes) == ([{"text": "be brief"}, {"text": "and kind"}], [SAID_HI], [])
    body, changes = told(asked(HI, {"role": "system", "content": "be brief"}))
    assert (body["system"], body["messages"]) == ([{"text": "be brief"}], [SAID_HI])
    assert changes == [("changed messages[1]", "instructions are given before the conversation")]


BOUND = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}
BETA = "thinking-binding-controls-2026-08-01"
BINDING = [
    # model, effort; then: how it shall think, the betas
    (OPUS_55, None, BOUND, [BETA]),
    (OPUS_55, "none", BOUND, [BETA]),
    (OPUS_55, "low", BOUND, [BETA]),
    ("anthropic.claude-haiku-5-5", None, BOUND, [BETA]),
    (SONNET_5, None, None, None),
    (SONNET_5, "none", {"type": "disabled"}, None),
    ("anthropic.claude-fable-5", None, None, None),
    (OPUS_47, "low", {"type": "adaptive"}, None),
    (NOVA_2, None, None, None),
]


@pytest.mark.parametrize(("model", "effort", "thinking", "betas"), BINDING)
def test_thoughts_that_hold_in_one_conversation_only(model, effort, thinking, betas):
    """What stands before a thought may have been edited, or was told in another dialect: then the thought goes, and not the request."""
    thought = {"role": "assistant", "content": "so", "reasoning_details": [SIGNED | {"text": "hm"}]}
    body, _ = told(asked(HI, thought, HI, reasoning_effort=effort), model)
    beside = body.get("additionalModelRequestFields", {})
    assert isinstance(beside, dict)
    assert (beside.get("thinking"), beside.get("anthropic_beta")) == (thinking, betas)
    assert "block_binding" not in json.dumps(told(asked(HI, reasoning_effort=effort), model)[0])


WHOSE = [
    # the detail of a thought; then: whether Claude takes it back, and whether Nova
    ({"signature": "s", "format": "anthropic-claude-v1"}, True, False),
    ({"signature": "s", "format": "bedrock"}, False, True),
    ({"signature": "s", "format": "anthropic-messages"}, False, False),
    ({"signature": "gemini::x="}, False, False),
    ({"signature": "s"}, True, True),
    ({"data": "d", "format": "openai-responses-v1"}, False, False),
    ({"data": "d", "format": "bedrock"}, False, True),
]


@pytest.mark.parametrize(("detail", "claude", "nova"), WHOSE)
def test_thoughts_go_back_to_who_thought_them(detail: dict[str, str], claude: bool, nova: bool):
    thought = {"role": "assistant", "content": "so", "reasoning_details": [{"type": "reasoning.text", **detail}]}
    for model, taken in ((SONNET_45, claude), (NOVA_2, nova)):
        body, changes = told(asked(HI, thought, HI), model)
        assert ("reasoningContent" in json.dumps(body)) is taken
        assert [what for what, _ in changes] == ([] if taken else ["dropped messages[1].reasoning_details[0]"])


UNSIGNED = {"type": "reasoning.text", "text": "hm"}
SIGNED = {"type": "reasoning.text", "signature": "s"}
CHANGED = [
    ({"role": "user", "name": "Ann", "content": "a"}, ["messages[1].name"], [{"text": "a"}]),
    ({"role": "assistant", "content": "a", "reasoning_content": "hm"}, ["messages[1].reasoning_content"], [{"text": "a"}]),
    ({"role": "assistant", "content": "a", "reasoning_details": [UNSIGNED]}, ["messages[1].reasoning_details[0]"], [{"text": "a"}]),
    ({"role": "assistant", "content": "a", "reasoning_details": [UNSIGNED | {"text": " "}]}, [], [{"text": "a"}]),
    (
        {"role": "assistant", "content": "a", "reasoning_content": "hmso", "reasoning_details": [SIGNED, SIGNED]},
        ["messages[1].reasoning_content"],
        [{"text": "a"}],
    ),
    (
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}]},
        ["messages[1].content[0].image_url.detail"],
        [{"image": {"format": "png", "source": {"bytes": PNG.partition(",")[2]}}}],
    ),
]


@pytest.mark.parametrize(("message", "params", "blocks"), CHANGED)
def test_what_a_message_can_not_bring_along(message, params, blocks):
    body, changes = told(asked(HI, message))
    assert [what.partition(" ")[2] for what, _ in changes] == params
    messages = body["messages"]
    assert isinstance(messages, list)
    assert messages[-1]["content"][-len(blocks) :] == blocks


def part(kind: str, **fields: object) -> dict[str, object]:
    return {"role": "user", "content": [{"type": kind, kind: fields}]}


UNTRANSLATABLE: list[tuple[list[object], str, str]] = [
    ([], "starts with what the user says", "messages"),
    ([{"role": "system", "content": "x"}], "starts with what the user says", "messages"),
    ([{"role": "assistant", "content": "x"}, HI], "starts with what the user says", "messages"),
    ([HI, {"role": "function", "name": "f", "content": "x"}], "role function", "messages[1].role"),
    ([part("image_url", url="https://example.com/a.png")], "it fetches none", "messages[0].content[0].image_url.url"),
    ([part("image_url")], "it fetches none", "messages[0].content[0].image_url.url"),
    ([part("image_url", url="data:image/tiff;base64,AA==")], "not image/tiff", "messages[0].content[0].image_url.url"),
    ([part("file", file_id="file_1")], "only as base64 data URLs", "messages[0].content[0].file"),
    ([part("file", file_data="data:application/zip;base64,AA==")], "of these kinds: csv, doc", "messages[0].content[0].file"),
    ([part("file", file_data=PDF)], "only beside a text", "messages"),
    ([{"role": "system", "content": part("image_url", url=PNG)["content"]}], "only from the user", "messages[0].content[0]"),
    ([HI, {"role": "assistant", "content": part("image_url", url=PNG)["content"]}], "only from the user", "messages[1].content[0]"),
]


@pytest.mark.parametrize(("messages", "words", "param"), UNTRANSLATABLE)
def test_messages_that_can_not_be_said(messages: list[object], words: str, param: str):
    request = read_request(msgspec.json.encode({"model": "ours", "messages": messages}))
    with pytest.raises(NotTranslatable, match=words) as refused:
        told(request)
    assert refused.value.param == param


WRONG: list[tuple[dict[str, object], str]] = [
    ({"role": "assistant", "tool_calls": [called(arguments="{")]}, "messages[1].tool_calls[0].function.arguments"),
    ({"role": "assistant", "tool_calls": [called(), called(arguments="[1]")]}, "messages[1].tool_calls[1].function.arguments"),
    ({"role": "assistant", "tool_calls": [called(arguments="[" * 5_000)]}, "messages[1].tool_calls[0].function.arguments"),
    ({"role": "tool", "content": "x"}, "messages[1].tool_call_id"),
    (part("input_audio", format="wav"), "messages[1].content[0].input_audio"),
    (part("input_audio", data="AA==", format="flac"), "messages[1].content[0].input_audio"),
]


@pytest.mark.parametrize(("message", "param"), WRONG)
def test_messages_that_are_wrong_in_any_dialect(message: dict[str, object], param: str):
    with pytest.raises(InvalidRequest) as refused:
        told(asked(HI, message, tools=[WEATHER]))
    assert type(refused.value) is InvalidRequest
    assert refused.value.param == param


def test_arguments_keep_their_digits():
    body = request_for(
        asked(HI, {"role": "assistant", "tool_calls": [called(arguments='{"n": 12345678901234567890.10}')]}, HI, tools=[WEATHER]),
        model=NOVA,
        tokens_out_max=9,
    ).body
    assert b'"input":{"n": 12345678901234567890.10}' in body


@pytest.mark.parametrize("id", ["call with spaces", "x" * 65, "ünï", "a/b"])
def test_ids_of_other_vendors_are_made_to_fit_alike_in_call_and_result(id: str):
    body, changes = told(
        asked(HI, {"role": "assistant", "tool_calls": [called(id)]}, {"role": "tool", "tool_call_id": id, "content": "x"}, tools=[WEATHER])
    )
    messages = body["messages"]
    assert isinstance(messages, list)
    fitted = messages[1]["content"][0]["toolUse"]["toolUseId"]
    assert re.fullmatch(r"[a-zA-Z0-9_.:-]{1,64}", fitted)
    assert messages[2]["content"][0]["toolResult"]["toolUseId"] == fitted
    assert changes == []
