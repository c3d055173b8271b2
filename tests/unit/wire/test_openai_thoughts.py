"""Earlier thoughts, however a client gives them back."""

from typing import Any

import msgspec
import pytest

from headrace.core.stream import Reasoning
from headrace.wire.gemini_signature import sealed
from headrace.wire.openai_answer import reasoning_object
from headrace.wire.openai_chat import Message
from headrace.wire.openai_thoughts import CLAUDE, GEMINI, Thought, thoughts_of

FIRST, SECOND, CONTENT = "reasoning_details[0]", "reasoning_details[1]", "reasoning_content"


def read(content: str | None, *details: dict[str, Any]) -> list[Thought]:
    message = {"role": "assistant", "reasoning_content": content, "reasoning_details": list(details) or None}
    return thoughts_of(msgspec.convert(message, Message))


def text(text: str | None = None, signature: str | None = None, **more: object) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "signature": signature, **more}


def hidden(data: str | None, **more: object) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data, **more}


TOLD: list[tuple[str | None, list[dict[str, Any]], list[Thought]]] = [
    # reasoning_content, reasoning_details, what that is
    (None, [], []),
    ("", [], []),
    ("hm", [], [Thought(CONTENT, "hm")]),
    # whole pieces, as we say them
    ("hm", [text("hm", "s", format=CLAUDE)], [Thought(FIRST, "hm", "s", format=CLAUDE)]),
    (None, [hidden("d", format=CLAUDE)], [Thought(FIRST, redacted="d", format=CLAUDE)]),
    ("ab", [text("a", "s"), text("b", "t")], [Thought(FIRST, "a", "s"), Thought(SECOND, "b", "t")]),
    # what was never signed
    ("hm so", [text("hm", "s", format=CLAUDE)], [Thought(FIRST, "hm", "s", format=CLAUDE), Thought(CONTENT, " so", format=CLAUDE)]),
    ("hm", [hidden("d", format=GEMINI)], [Thought(CONTENT, "hm", format=GEMINI), Thought(FIRST, redacted="d", format=GEMINI)]),
    ("hm", [hidden("d", format=GEMINI), hidden("e")], [Thought(CONTENT, "hm"), Thought(FIRST, redacted="d", format=GEMINI),
                                                        Thought(SECOND, redacted="e")]),
    ("hm", [text("hm")], [Thought(FIRST, "hm")]),
    ("edited", [text("hm", "s")], [Thought(FIRST, "hm", "s")]),
    # fragments, as who gathers another's stream has them
    ("ab", [text("a", index=0), text("b", index=0), text(None, "s", index=0)], [Thought(FIRST, "ab", "s")]),
    (None, [text("a", format=CLAUDE), text(None, "s")], [Thought(FIRST, "a", "s", format=CLAUDE)]),
    (None, [text("a"), hidden("d"), text("b", "s")], [Thought(SECOND, redacted="d"), Thought(FIRST, "ab", "s")]),
    (None, [text("a", index=0), text("b", "s", index=1)], [Thought(FIRST, "a"), Thought(SECOND, "b", "s")]),
    (None, [text("a", format=GEMINI), text("b", "s", format=CLAUDE)], [Thought(FIRST, "a", format=GEMINI),
                                                                        Thought(SECOND, "b", "s", format=CLAUDE)]),
    (None, [text("a"), text(None)], [Thought(FIRST, "a")]),
    (None, [text(None)], []),
    # a signature whose text stands in the content
    ("hm", [text(None, "s")], [Thought(FIRST, "hm", "s")]),
    ("hm", [text("", "s"), hidden("d")], [Thought(FIRST, "hm", "s"), Thought(SECOND, redacted="d")]),
    ("hm", [text("", "s"), text("", "t")], [Thought(CONTENT, "hm")]),
    (None, [text("", "s")], [Thought(FIRST, "", "s")]),
    # whose it is, by its seal
    (None, [text("hm", sealed("x="))], [Thought(FIRST, "hm", sealed("x="), format=GEMINI)]),
    (None, [hidden(sealed("x=", "c"), format=CLAUDE)], [Thought(FIRST, redacted=sealed("x=", "c"), format=GEMINI)]),
    # what we don't know
    (None, [{"type": "reasoning.summary", "summary": "hm", "format": "x"}], [Thought(FIRST, format="x")]),
    (None, [hidden(None)], [Thought(FIRST)]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "details", "thoughts"), TOLD)
def test_thoughts(content: str | None, details: list[dict[str, Any]], thoughts: list[Thought]):
    assert read(content, *details) == thoughts


SAID = [
    Reasoning("Let", format=CLAUDE),
    Reasoning(" me", signature="s", format=CLAUDE),
    Reasoning("", redacted="d", format=CLAUDE),
    Reasoning("see", format=CLAUDE),
]
MEANT = [
    Thought(FIRST, "Let me", "s", format=CLAUDE),
    Thought(SECOND, redacted="d", format=CLAUDE),
    Thought(CONTENT, "see", format=CLAUDE),
]


def test_what_we_said_is_read_as_it_was_meant():
    told = reasoning_object(SAID)
    assert read(told["reasoning_content"], *told["reasoning_details"]) == MEANT
