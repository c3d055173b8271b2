"""Where Bedrock is told that a cached prompt may end."""

import json
from typing import Any

import pytest

from headrace.wire.bedrock import request_for
from headrace.wire.openai_chat import read_request

SONNET_45 = "global.anthropic.claude-sonnet-4-5-20250929-v1:0"
SONNET_4 = "eu.anthropic.claude-sonnet-4-20250514-v1:0"
NOVA = "eu.amazon.nova-lite-v1:0"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
TXT = "data:text/plain;base64,AAAA"
PDF = "data:application/pdf;base64,JVBERg=="


def marked(ttl: str | None = None, **more: object) -> dict[str, Any]:
    return more | {"cache_control": {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})}


def text(words: str = "a") -> dict[str, Any]:
    return {"type": "text", "text": words}


def file(url: str) -> dict[str, Any]:
    return {"type": "file", "file": {"file_data": url, "filename": "a"}}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def told(*messages: dict[str, Any], model: str = SONNET_45, **fields: object) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    asked = read_request(json.dumps({"model": "m", "messages": messages} | fields).encode())
    translation = request_for(asked, model=model, tokens_out_max=99)
    return json.loads(translation.body), [(change.what, change.param) for change in translation.changes]


def points(body: dict[str, Any]) -> list[tuple[str, str | None]]:
    """What stands before each mark, in the order of the prompt, and for how long it is kept."""
    lists = [body.get("toolConfig", {}).get("tools", []), body.get("system", []), *(turn["content"] for turn in body["messages"])]
    found = []
    for blocks in lists:
        for before, block in zip([{}, *blocks], blocks, strict=False):
            if "cachePoint" in block:
                assert block == {"cachePoint": {"type": "default"} | ({"ttl": "1h"} if "ttl" in block["cachePoint"] else {})}
                found.append((before.get("text") or next(iter(before)), block["cachePoint"].get("ttl")))
    return found


FUNCTION = {"type": "function", "function": {"name": "f"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_every_kind_of_place():
    body, changes = told(
        {"role": "system", "content": [marked(**text("rules")), text("more")]},
        user(text("question")),
        {"role": "assistant", "tool_calls": [CALL], "cache_control": {"type": "ephemeral"}},
        {"role": "tool", "tool_call_id": "c", "content": [text(), marked(**text("b"))]},
        tools=[FUNCTION | marked()],
    )
    assert points(body) == [("toolSpec", None), ("rules", None), ("toolUse", None), ("toolResult", None)]
    assert body["messages"][2]["content"][0]["toolResult"]["content"] == [{"text": "a"}, {"text": "b"}]
    assert changes == []


def test_a_tools_result_has_one_mark():
    result = {"role": "tool", "tool_call_id": "c", "content": [marked(**text("a")), marked(**text("b"))]}
    body, changes = told(user(text()), {"role": "assistant", "tool_calls": [CALL]}, result | marked(), tools=[FUNCTION])
    assert points(body) == [("toolResult", None)]
    assert changes == [("dropped", "messages[2].content[0].cache_control")]


PARTS = [
    # the parts, what is before the mark, what is reported
    ([marked(**text("a")), text("b")], [("a", None)], []),
    ([marked("1h", **text("a"))], [("a", "1h")], []),
    (
        [text("a") | {"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}],
        [("a", "1h")],
        ["changed messages[0].content[0].prompt"],
    ),
    ([text(), marked(**file(PDF))], [("document", None)], []),
    ([text(), marked(**file(TXT))], [], ["dropped messages[0].content[1].cache"]),
    ([marked(**text(" ")), text()], [], ["dropped messages[0].content[0].cache"]),
    (
        [marked(**text(word)) for word in "abcde"],
        [(word, None) for word in "bcde"],
        ["dropped messages[0].content[0].cache"],
    ),
    ([marked("5m", **text("a")), marked("1h", **text("b"))], [("a", "1h"), ("b", "1h")], ["changed messages[0].content[0].cache"]),
]


@pytest.mark.parametrize(("parts", "found", "reported"), PARTS)
def test_parts(parts: list[dict[str, Any]], found: list[tuple[str, str | None]], reported: list[str]):
    body, changes = told(user(*parts))
    assert points(body) == found
    assert [f"{what} {param}".partition("_")[0] for what, param in changes] == reported


END: list[tuple[list[dict[str, Any]], list[tuple[str, str | None]], list[tuple[str, str]]]] = [
    # the parts of the newest message                      what is before the mark, what is reported
    ([text("a"), text("b")], [("b", None)], []),
    ([text("a"), marked("1h", **text("b"))], [("b", "1h")], []),
    ([text("a"), file(TXT), file(TXT)], [("a", None)], []),
    ([file(TXT), text("a"), file(PDF)], [("document", None)], []),
]


@pytest.mark.parametrize(("parts", "found", "reported"), END)
def test_the_end_of_the_newest_message(parts, found, reported):
    body, changes = told(user(*parts), prompt_cache_options={})
    assert (points(body), changes) == (found, reported)


def test_a_conversation_that_ends_with_thoughts_is_not_marked_there():
    detail = {"type": "reasoning.text", "text": "hm", "signature": "s"}
    thought = {"role": "assistant", "content": "", "reasoning_details": [detail], "cache_control": {"type": "ephemeral"}}
    body, changes = told(user(text()), thought, prompt_cache_options={})
    assert points(body) == []
    assert changes == [("dropped", "messages[1].cache_control"), ("dropped", "prompt_cache_options")]


MODELS = [
    # model, what is before the marks, what is reported
    (SONNET_45, [("toolSpec", "1h"), ("a", "1h")], []),
    (
        SONNET_4,
        [("toolSpec", None), ("a", None)],
        [("changed", "tools[0].cache_control"), ("changed", "messages[0].content[0].cache_control")],
    ),
    (NOVA, [("a", None)], [("dropped", "tools[0].cache_control"), ("changed", "messages[0].content[0].cache_control")]),
    (LLAMA, [], [("dropped", "tools[0].cache_control"), ("dropped", "messages[0].content[0].cache_control")]),
]


@pytest.mark.parametrize(("model", "found", "reported"), MODELS)
def test_what_models_take(model: str, found: list[tuple[str, str | None]], reported: list[tuple[str, str]]):
    body, changes = told(user(marked("1h", **text())), model=model, tools=[FUNCTION | marked("1h")])
    assert (points(body), changes) == (found, reported)
