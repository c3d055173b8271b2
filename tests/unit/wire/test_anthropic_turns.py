"""A conversation, as Anthropic wants it told."""

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from headrace.core.errors import InvalidRequest, NotTranslatable
from headrace.core.translation import Change
from headrace.wire.anthropic_generations import ANOTHER_MAKER, NEWEST, Generation, generation_of
from headrace.wire.anthropic_turns import OPENING, Conversation, conversation_for
from headrace.wire.openai_chat import Message

INLINE = generation_of("claude-opus-4-8")
PREFILLED = generation_of("claude-haiku-4-5")
PNG = "data:image/png;base64,iVBORw0KGgo="


def told(*messages: dict[str, Any], generation: Generation = NEWEST) -> Conversation:
    return conversation_for(msgspec.convert(list(messages), list[Message]), generation)


def turns(conversation: Conversation) -> list[tuple[str, list[Any]]]:
    """Roles with what they say, texts as plain strings."""
    return [(turn.role, [block["text"] if block["type"] == "text" else block for block in turn.content]) for turn in conversation.turns]


def user(content: object = "hi", **more: object) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def system(text: object = "be brief") -> dict[str, Any]:
    return {"role": "system", "content": text}


def developer(text: str = "be kind") -> dict[str, Any]:
    return {"role": "developer", "content": text}


def assistant(content: object = None, *calls: tuple[str, str, str], **more: object) -> dict[str, Any]:
    called = [{"id": id, "type": "function", "function": {"name": name, "arguments": text}} for id, name, text in calls]
    return {"role": "assistant", "content": content, **({"tool_calls": called} if called else {}), **more}


def tool(id: str = "c1", content: object = "7") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def use(id: str, name: str = "f", **input: object) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def result(id: str, *texts: str) -> dict[str, Any]:
    content = {"content": [{"type": "text", "text": text} for text in texts]} if texts else {}
    return {"type": "tool_result", "tool_use_id": id} | content


CALL = ("c1", "f", '{"x": 1}')

CONVERSATIONS = [
    # what is asked                                                    what is told
    ([user()], [("user", ["hi"])]),
    ([user("a"), user("b")], [("user", ["a", "b"])]),
    ([user("a"), user(""), user("  \n")], [("user", ["a"])]),
    ([user([{"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "refusal", "refusal": "b"}])], [("user", ["a", "b"])]),
    ([user(), assistant("yes"), user("so")], [("user", ["hi"]), ("assistant", ["yes"]), ("user", ["so"])]),
    ([user(), assistant(""), user("so")], [("user", ["hi", "so"])]),
    ([user(), assistant(None, refusal="no"), user("so")], [("user", ["hi"]), ("assistant", ["no"]), ("user", ["so"])]),
    (
        [user(), assistant([{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]), user()],
        [("user", ["hi"]), ("assistant", ["a", "b"]), ("user", ["hi"])],
    ),
    (
        [user(), assistant("one moment", CALL), tool()],
        [("user", ["hi"]), ("assistant", ["one moment", use("c1", x=1)]), ("user", [result("c1", "7")])],
    ),
    (
        [user(), assistant("", ("a", "f", ""), ("b", "g", "{}")), tool("a"), tool("b", ""), user("so?")],
        [("user", ["hi"]), ("assistant", [use("a"), use("b", "g")]), ("user", [result("a", "7"), result("b"), "so?"])],
    ),
    (
        [user(), assistant(None, CALL), user("quick!"), tool(content=[{"type": "text", "text": "7"}])],
        [("user", ["hi"]), ("assistant", [use("c1", x=1)]), ("user", [result("c1", "7"), "quick!"])],
    ),
]


@pytest.mark.parametrize(("asked", "expected"), CONVERSATIONS)
def test_turns(asked: list[dict[str, Any]], expected: list[tuple[str, list[Any]]]):
    conversation = told(*asked)
    assert turns(conversation) == expected
    assert (conversation.system, conversation.changes) == ([], ())


def test_instructions_stand_beside_the_conversation():
    conversation = told(system(), developer(), system([{"type": "text", "text": "and clear"}]), user(), generation=PREFILLED)
    assert [block["text"] for block in conversation.system] == ["be brief", "be kind", "and clear"]
    assert turns(conversation) == [("user", ["hi"])]
    assert conversation.changes == ()


TO_THE_BEGINNING = "its instructions stand before the whole conversation"
BEHIND = "it stands behind the user's words that followed it"
MIDDLE = [
    # asked, by which generation; then: the instructions beside, the turns, what was changed
    ([user(), developer()], NEWEST, ["be kind"], [("user", ["hi"])], [("messages[1]", TO_THE_BEGINNING)]),
    ([user(), developer()], INLINE, [], [("user", ["hi"]), ("system", ["be kind"])], []),
    ([user(), developer(), system()], INLINE, [], [("user", ["hi"]), ("system", ["be kind", "be brief"])], []),
    ([user(), developer(""), user("so")], INLINE, [], [("user", ["hi", "so"])], []),
    ([user(), developer(), user("so")], INLINE, [], [("user", ["hi", "so"]), ("system", ["be kind"])], [("messages[1]", BEHIND)]),
    (
        [user(), developer(), assistant("yes"), user("so")],
        INLINE,
        [],
        [("user", ["hi"]), ("system", ["be kind"]), ("assistant", ["yes"]), ("user", ["so"])],
        [],
    ),
    (
        [user(), developer(), assistant(""), user("so")],
        INLINE,
        [],
        [("user", ["hi", "so"]), ("system", ["be kind"])],
        [("messages[1]", BEHIND)],
    ),
    (
        [user(), assistant(None, CALL), tool(), developer()],
        INLINE,
        [],
        [("user", ["hi"]), ("assistant", [use("c1", x=1)]), ("user", [result("c1", "7")]), ("system", ["be kind"])],
        [],
    ),
    (
        [user(), assistant("yes"), developer(), assistant("no"), user("so")],
        INLINE,
        ["be kind"],
        [("user", ["hi"]), ("assistant", ["yes", "no"]), ("user", ["so"])],
        [("messages[2]", TO_THE_BEGINNING)],
    ),
]


@pytest.mark.parametrize(("asked", "generation", "beside", "expected", "changes"), MIDDLE)
def test_instructions_in_the_middle(asked, generation, beside, expected, changes):
    conversation = told(*asked, generation=generation)
    assert [block["text"] for block in conversation.system] == beside
    assert turns(conversation) == expected
    assert conversation.changes == tuple(Change("changed", param, why) for param, why in changes)


def test_a_conversation_begins_with_the_user():
    alone = told(system(), developer())
    assert (turns(alone), alone.system) == ([("user", ["be brief", "be kind"])], [])
    greeted = told(system(), assistant("hello"), user())
    assert turns(greeted) == [("user", [OPENING]), ("assistant", ["hello"]), ("user", ["hi"])]
    assert [change.param for change in (*alone.changes, *greeted.changes)] == ["messages", "messages"]


def test_an_answer_that_is_begun_goes_on_where_the_model_does_that():
    conversation = told(user(), assistant("It is \n"), generation=PREFILLED)
    assert turns(conversation) == [("user", ["hi"]), ("assistant", ["It is"])]
    assert conversation.changes == (Change("changed", "messages", "the answer continues the assistant's last message"),)
    assert conversation.thoughtless


CLEVER = {"type": "reasoning.text", "text": "hm", "signature": "s1"}
HIDDEN = {"type": "reasoning.encrypted", "data": "d1"}


def thinking(text: str, signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


THOUGHTS = [
    # reasoning_content, reasoning_details                                        blocks
    (None, [CLEVER], [thinking("hm", "s1")]),
    ("hm", [CLEVER, HIDDEN], [thinking("hm", "s1"), {"type": "redacted_thinking", "data": "d1"}]),
    (None, [HIDDEN], [{"type": "redacted_thinking", "data": "d1"}]),
    ("hm", [CLEVER | {"text": ""}], [thinking("hm", "s1")]),
    (None, [CLEVER | {"text": None}], [thinking("", "s1")]),
    (
        "abc",
        [
            {"type": "reasoning.text", "text": "a"},
            {"type": "reasoning.text", "text": "b"},
            CLEVER | {"text": None},
            CLEVER | {"text": "c", "signature": "s2"},
        ],
        [thinking("ab", "s1"), thinking("c", "s2")],
    ),
]


@pytest.mark.parametrize(("content", "details", "blocks"), THOUGHTS)
def test_thoughts_go_back_with_their_signatures(content, details, blocks):
    said = assistant("so", reasoning_content=content, reasoning_details=details)
    conversation = told(user(), said, user())
    assert turns(conversation)[1] == ("assistant", [*blocks, "so"])
    assert conversation.changes == ()


UNSIGNED = [
    ({"reasoning_content": "hm"}, "reasoning_content"),
    ({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "reasoning_details[0]"),
    ({"reasoning_content": "hm", "reasoning_details": [CLEVER | {"text": ""}] * 2}, "reasoning_content"),
]


@pytest.mark.parametrize(("thoughts", "where"), UNSIGNED)
def test_thoughts_without_a_signature_go_back_to_other_makers_only(thoughts, where):
    conversation = told(user(), assistant("so", **thoughts), user())
    assert turns(conversation)[1] == ("assistant", ["so"])
    assert conversation.changes == (Change("dropped", f"messages[1].{where}", "thoughts go back only signed"),)
    elsewhere = told(user(), assistant("so", **thoughts), user(), generation=ANOTHER_MAKER)
    assert turns(elsewhere)[1] == ("assistant", [thinking("hm", ""), "so"])
    assert elsewhere.changes == ()


def by(format: str, **detail: str) -> dict[str, Any]:
    return {"type": "reasoning.text", "format": format, **detail}


SIGNED = by("google-gemini-v1", text="hm", signature="s")
WHOSE = [
    # detail; then: what Claude is told, what was changed, what another maker's model is told, what was changed
    (by("anthropic-claude-v1", text="hm", signature="s"), [thinking("hm", "s")], [], [thinking("hm", "")], ["changed"]),
    (by("anthropic-messages", text="hm", signature="s"), [], ["dropped"], [thinking("hm", "s")], []),
    (by("bedrock", text="hm", signature="s"), [], ["dropped"], [thinking("hm", "")], ["changed"]),
    (CLEVER | {"signature": "gemini::x="}, [], ["dropped"], [thinking("hm", "")], ["changed"]),
    (HIDDEN | {"data": "gemini:c1:x="}, [], ["dropped"], [], ["dropped"]),
    (HIDDEN | {"format": "openai-responses-v1"}, [], ["dropped"], [], ["dropped"]),
    ({"type": "reasoning.summary", "summary": "hm"}, [], ["dropped"], [], ["dropped"]),
    ({"type": "reasoning.text", "text": " \n"}, [], [], [thinking(" \n", "")], []),
]


@pytest.mark.parametrize(("detail", "claude", "changes", "other", "others"), WHOSE)
def test_thoughts_go_back_to_who_thought_them(detail, claude, changes, other, others):
    for generation, blocks, whats in ((NEWEST, claude, changes), (ANOTHER_MAKER, other, others)):
        conversation = told(user(), assistant("so", reasoning_details=[detail]), user(), generation=generation)
        assert turns(conversation)[1] == ("assistant", [*blocks, "so"])
        assert [(change.what, change.param) for change in conversation.changes] == [
            (what, "messages[1].reasoning_details[0]") for what in whats
        ]


def test_where_nothing_is_thought_earlier_thoughts_are_left_out():
    messages = msgspec.convert([user(), assistant("so", reasoning_details=[CLEVER]), user()], list[Message])
    conversation = conversation_for(messages, NEWEST, thinks=False)
    assert not conversation.thoughts
    assert [change.param for change in conversation.changes] == ["messages[1].reasoning_details[0]"]
    assert conversation_for(messages, NEWEST).thoughts


GOES_ON = [
    ([user(), assistant(None, CALL), tool()], True),
    ([user(), assistant(None, CALL, reasoning_details=[CLEVER]), tool()], False),
    ([user(), assistant(None, CALL), tool(), assistant("seven"), user()], False),
    ([user()], False),
]


@pytest.mark.parametrize(("asked", "thoughtless"), GOES_ON)
def test_whether_the_answer_goes_on_from_thoughts(asked, thoughtless):
    assert told(*asked).thoughtless is thoughtless


def test_ids_are_of_few_letters_and_each_for_one_call():
    asked: list[dict[str, Any]] = [user()]
    for _ in range(2):
        asked += [assistant(None, ("functions.f:0", "f", "{}"), ("", "g", "{}")), tool("functions.f:0")]
    conversation = told(*asked)
    said = [block for turn in conversation.turns for block in turn.content]
    assert [block["id"] for block in said if block["type"] == "tool_use"] == ["functions_f_0", "call", "functions_f_0_2", "call_2"]
    assert [block["tool_use_id"] for block in said if block["type"] == "tool_result"] == ["functions_f_0", "functions_f_0_2"]
    assert conversation.called == ("f", "g", "f", "g")
    assert turns(told(user(), tool("a b")))[0][1][0] == result("a_b", "7")


def test_names_are_dropped_and_told():
    assert told(user(name="ann")).changes == (Change("dropped", "messages[0].name", "messages carry no name here"),)


def image(**fields: object) -> dict[str, Any]:
    return {"type": "image_url", "image_url": fields}


def file(**fields: object) -> dict[str, Any]:
    return {"type": "file", "file": fields}


def data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


MEDIA = [
    (image(url=PNG), {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}),
    (
        image(url="data:image/jpg;base64,AA==", detail="auto"),
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="}},
    ),
    (image(url="https://example.com/a.png"), {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
    (
        file(file_data=data("application/pdf", b"%PDF"), filename="a.pdf"),
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}, "title": "a.pdf"},
    ),
    (
        file(file_data=data("text/markdown", "# né".encode()), filename=None),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# né"}},
    ),
]


@pytest.mark.parametrize(("part", "block"), MEDIA)
def test_media(part: dict[str, Any], block: dict[str, Any]):
    conversation = told(user([part]), assistant(None, CALL), tool(content=[part]))
    assert turns(conversation)[0] == ("user", [block])
    assert conversation.turns[2].content[0]["content"] == [block]
    assert conversation.changes == ()


def test_an_images_detail_is_dropped_and_told():
    conversation = told(user([image(url=PNG, detail="low")]))
    assert conversation.changes == (Change("dropped", "messages[0].content[0].image_url.detail", "images have no detail here"),)


FIRST = "messages[0].content[0]"
REFUSED: list[tuple[list[dict[str, Any]], type[InvalidRequest], str, str]] = [
    ([], InvalidRequest, "messages", "at least one message"),
    ([user("")], InvalidRequest, "messages", "at least one message"),
    ([user(), assistant("yes")], NotTranslatable, "messages", "answers only the user"),
    ([user(), assistant(None, CALL)], InvalidRequest, "messages", "must be followed"),
    ([user(), assistant(None, ("c", "f", "{")), tool("c")], InvalidRequest, "messages[1].tool_calls[0].function.arguments", "JSON object"),
    ([user(), assistant(None, ("c", "f", "[]")), tool("c")], InvalidRequest, "messages[1].tool_calls[0].function.arguments", "JSON object"),
    ([user(), {"role": "tool", "content": "7"}], InvalidRequest, "messages[1].tool_call_id", "Missing"),
    ([user(), {"role": "function", "name": "f", "content": "7"}], NotTranslatable, "messages[1].role", "no functions"),
    ([system([image(url=PNG)]), user()], NotTranslatable, FIRST, "only text"),
    ([user(), assistant([image(url=PNG)]), user()], NotTranslatable, "messages[1].content[0]", "only text"),
    ([user([{"type": "input_audio", "input_audio": {}}])], NotTranslatable, FIRST, "no audio"),
    ([user([image()])], InvalidRequest, f"{FIRST}.image_url.url", "URL"),
    ([user([image(url="http://example.com/a.png")])], NotTranslatable, f"{FIRST}.image_url.url", "https://"),
    ([user([image(url="data:image/bmp;base64,AA==")])], NotTranslatable, f"{FIRST}.image_url.url", "image/bmp"),
    ([user([file(file_id="file-1")])], NotTranslatable, f"{FIRST}.file", "uploaded elsewhere"),
    ([user([file(file_data="JVBERg==")])], InvalidRequest, f"{FIRST}.file.file_data", "data URL"),
    ([user([file(file_data=data("application/zip", b"PK"))])], NotTranslatable, f"{FIRST}.file", "application/zip"),
    ([user([file(file_data="data:text/plain;base64,A")])], InvalidRequest, f"{FIRST}.file.file_data", "UTF-8"),
    ([user([file(file_data=data("text/plain", b"\xff"))])], InvalidRequest, f"{FIRST}.file.file_data", "UTF-8"),
]


@pytest.mark.parametrize(("asked", "kind", "param", "words"), REFUSED)
def test_what_is_refused(asked, kind, param, words):
    with pytest.raises(kind) as refused:
        told(*asked)
    assert type(refused.value) is kind
    assert refused.value.param == param
    assert words in refused.value.message


def test_thoughts_alone_are_not_continued():
    with pytest.raises(NotTranslatable):
        told(user(), assistant("", reasoning_details=[CLEVER]), generation=PREFILLED)
