"""What of a prompt Anthropic is told to keep in its cache."""

import json
from typing import Any

import pytest

from headrace.wire.anthropic_request import request_for
from headrace.wire.openai_chat import read_request

CLAUDE, OTHER = "claude-opus-4-6", "glm-5.2"
PDF = "data:application/pdf;base64,JVBERg=="
PNG = "data:image/png;base64,AA=="


def marked(ttl: str | None = None, **more: object) -> dict[str, Any]:
    return more | {"cache_control": {"type": "ephemeral"} | ({"ttl": ttl} if ttl else {})}


def text(words: str = "a", ttl: str | None = "unmarked") -> dict[str, Any]:
    one = {"type": "text", "text": words}
    return one if ttl == "unmarked" else marked(ttl, **one)


def kept(ttl: str = "5m") -> dict[str, str]:
    return {"type": "ephemeral", "ttl": ttl}


def told(*messages: dict[str, Any], model: str = CLAUDE, **fields: object) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    asked = read_request(json.dumps({"model": "m", "messages": messages} | fields).encode())
    translation = request_for(asked, model=model, tokens_out_max=99)
    return json.loads(translation.body), [(change.what, change.param) for change in translation.changes]


def marks(body: dict[str, Any]) -> list[tuple[str, str]]:
    """In the order of the prompt: what is marked, by its text, name or kind, and for how long."""
    blocks = [*body.get("tools", ()), *body.get("system", ()), *(block for turn in body["messages"] for block in turn["content"])]
    held = [
        (block.get("text") or block.get("name") or block["type"], block["cache_control"]) for block in blocks if "cache_control" in block
    ]
    assert all(set(control) == {"type", "ttl"} and control["type"] == "ephemeral" for _, control in held)
    return [(what, control["ttl"]) for what, control in held]


def user(*parts: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"role": "user", "content": list(parts), **more}


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def test_every_kind_of_place():
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    body, changes = told(
        {"role": "system", "content": [text("rules", None), text("more")]},
        user(text("question", "5m"), text("now")),
        {"role": "assistant", "content": "so", "tool_calls": [call], "cache_control": {"type": "ephemeral"}},
        {"role": "tool", "tool_call_id": "c", "content": "7"},
        tools=[function("f"), function("g") | marked()],
    )
    assert marks(body) == [("g", "5m"), ("rules", "5m"), ("question", "5m"), ("f", "5m")]
    assert changes == []


BREAKPOINT = {"prompt_cache_breakpoint": {"mode": "explicit"}}
PARTS = [
    # the part that is marked                                                                                  what bears the mark
    (marked(type="image_url", image_url={"url": PNG}), "image"),
    (marked(type="file", file={"file_data": PDF}), "document"),
    (text("a") | BREAKPOINT, "a"),
    ({"type": "image_url", "image_url": {"url": PNG}} | BREAKPOINT, "image"),
]


@pytest.mark.parametrize(("part", "block"), PARTS)
def test_parts(part: dict[str, Any], block: str):
    assert (marks(told(user(part))[0]), told(user(part))[1]) == ([(block, "5m")], [])


def test_a_tools_result_is_marked_as_a_whole():
    """Anthropic refuses marks inside of it."""
    result = {"role": "tool", "tool_call_id": "c", "content": [text("a", "1h"), text("b", "5m"), text("c")]}
    body, changes = told(user(text()), result)
    assert marks(body) == [("tool_result", "5m")]
    assert "cache_control" not in json.dumps(body["messages"][0]["content"][0]["content"])
    assert changes == [("dropped", "messages[1].content[0].cache_control")]


NOTHING = [
    (user(text(" ", None), text()), "messages[0].content[0].cache_control"),
    ({"role": "user", "content": "", "cache_control": {"type": "ephemeral"}}, "messages[0].cache_control"),
]


@pytest.mark.parametrize(("message", "param"), NOTHING)
def test_what_says_nothing_can_not_be_marked(message: dict[str, Any], param: str):
    body, changes = told(message, user(text()))
    assert (marks(body), changes) == ([], [("dropped", param)])


def test_thoughts_are_not_marked():
    detail = {"type": "reasoning.text", "text": "hm", "signature": "s"}
    thought = {"role": "assistant", "content": "", "reasoning_details": [detail], "cache_control": {"type": "ephemeral"}}
    body, changes = told(user(text()), thought, user(text()))
    assert (marks(body), changes) == ([], [("dropped", "messages[1].cache_control")])


def test_more_marks_than_there_may_be():
    body, changes = told(user(*(text(word, None) for word in "abcdef")))
    assert marks(body) == [(word, "5m") for word in "cdef"]
    assert changes == [("dropped", f"messages[0].content[{at}].cache_control") for at in (0, 1)]


def test_longer_times_come_first_along_the_prompt():
    body, changes = told(
        {"role": "system", "content": [text("s", "5m")]}, user(text("a", "1h"), text("b", "5m")), tools=[function("f") | marked()]
    )
    assert marks(body) == [("f", "1h"), ("s", "1h"), ("a", "1h"), ("b", "5m")]
    assert changes == [("changed", "messages[0].content[0].cache_control")]


WHOLE = [
    # the request's own word, what is marked; then: the prompt's end, the marks, the changes
    ({"ttl": "1h"}, [text("a", None), text("b")], kept("1h"), [("a", "1h")], []),
    ({}, [text("a", "1h"), text("b")], kept(), [("a", "1h")], []),
    ({}, [text("a"), text("b", "1h")], None, [("b", "1h")], []),
    ({"mode": "explicit", "ttl": "1h"}, [text("a", None), text("b", "5m"), text("c")], None, [("a", "1h"), ("b", "5m")], []),
    ({"mode": "explicit", "ttl": "12h"}, [text("a", None)], None, [("a", "1h")], [("changed", "prompt_cache_options")]),
    ({"mode": "explicit", "ttl": "12h"}, [text("a", "5m")], None, [("a", "5m")], []),
    (
        {},
        [*(text(word, None) for word in "abcd"), text("e")],
        kept(),
        [(word, "5m") for word in "bcd"],
        [("dropped", "messages[0].content[0].cache_control")],
    ),
]


@pytest.mark.parametrize(("options", "parts", "end", "held", "changes"), WHOLE)
def test_marks_and_the_prompts_end(options, parts, end, held, changes):
    body, changed = told(user(*parts), prompt_cache_options=options)
    assert (body.get("cache_control"), marks(body), changed) == (end, held, changes)


def test_other_makers_are_told_of_no_marks():
    body, changes = told(user(text("a", None)), model=OTHER, prompt_cache_options={})
    assert "cache_control" not in json.dumps(body)
    assert changes == [("dropped", "messages[0].content[0].cache_control"), ("dropped", "prompt_cache_options")]
