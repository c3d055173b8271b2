"""Which text is a tool call, and which is text; however it is cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.engine.toolcalls import BoundReader, Call, CallReader, Piece

NAMES = frozenset({"get_weather", "get_time"})
PARIS = Call("get_weather", '{"city": "Paris"}')
NOON = Call("get_time", "{}")
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
CLOCK = '{"name": "get_time", "arguments": {}}'

TABLE: list[tuple[str, list[Piece]]] = [
    # text                                                          what is read
    ("Just words.", ["Just words."]),
    ("", []),
    ("  \n", ["  \n"]),
    (CALL, [PARIS]),
    (f"\n\n{CALL}\n", [PARIS]),
    (f"[{CALL}, {CLOCK}]", [PARIS, NOON]),
    (f"{CALL}\n{CLOCK}", [PARIS, NOON]),
    (f"<tool_call>\n{CALL}\n</tool_call>", [PARIS]),
    (f"<tool_call>{CALL}</tool_call><tool_call>{CLOCK}</tool_call>", [PARIS, NOON]),
    (f"<tool_call>\n{CALL}", [PARIS]),
    (f"<tool_call>\n{CALL}\n</tool_c", [PARIS]),
    (f"```json\n{CALL}\n```", [PARIS]),
    (f"```\n{CALL}\n```\n", [PARIS]),
    (f"Let me look.\n<tool_call>{CALL}</tool_call>", ["Let me look.\n", PARIS]),
    (f"Let me look. <tool_call>{CALL}</tool_call> Done.", ["Let me look. ", PARIS, " Done."]),
    (f"Sure:\n```json\n{CALL}\n```", ["Sure:\n", PARIS]),
    ('{"name": "get_weather", "parameters": {"city": "Paris"}}', [PARIS]),
    ('{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}', [PARIS]),
    ('{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}', [PARIS]),
    ('{"name": "get_time"}', [NOON]),
    # what was not declared, is not whole, or stands within a sentence, is text
    ('{"name": "rm_rf", "arguments": {}}', ['{"name": "rm_rf", "arguments": {}}']),
    ('{"name": "Anna", "age": 31}', ['{"name": "Anna", "age": 31}']),
    ('{"name": "get_weather", "arguments": 7}', ['{"name": "get_weather", "arguments": 7}']),
    ('{"name": "get_weather", "argum', ['{"name": "get_weather", "argum']),
    ("{}", ["{}"]),
    ("[1, 2]", ["[1, 2]"]),
    ("a < b, x[0] and `code`", ["a < b, x[0] and `code`"]),
    ("```python\nprint({})\n```", ["```python\nprint({})\n```"]),
    ("```json\n{}\n```", ["```json\n{}\n```"]),
    (f"As in {CALL}.", [f"As in {CALL}."]),
    ("<tool_call>nonsense</tool_call>", ["<tool_call>nonsense</tool_call>"]),
    ("<tool_call", ["<tool_call"]),
    ("```", ["```"]),
    (f"[{CALL}, 3]", [f"[{CALL}, 3]"]),
    ("{" * 40, ["{" * 40]),
]


def read(reader: CallReader | BoundReader, chunks: list[str]) -> list[Piece]:
    pieces: list[Piece] = []
    for piece in [*(each for chunk in chunks for each in reader.feed(chunk)), *reader.end()]:
        if isinstance(piece, str) and pieces and isinstance(pieces[-1], str):
            pieces[-1] += piece
        else:
            pieces.append(piece)
    return pieces


@pytest.mark.parametrize(("text", "pieces"), TABLE, ids=range(len(TABLE)))
def test_what_is_a_call(text: str, pieces: list[Piece]) -> None:
    assert read(CallReader(NAMES), [text]) == pieces
    assert read(CallReader(NAMES), [*text]) == pieces, "a character at a time"


FRAGMENTS = ["<tool_call>", "</tool_call>", "```json\n", "```", CALL, CLOCK, "[", "]", ", ", "\n", " ", "{", '"name": ', "Paris", "<", "é"]


@given(parts=st.lists(st.sampled_from(FRAGMENTS), max_size=8), cuts=st.lists(st.integers(1, 9), max_size=40))
def test_chunking_is_invisible(parts: list[str], cuts: list[int]) -> None:
    text, chunks, at = "".join(parts), [], 0
    for cut in cuts:
        chunks.append(text[at : at + cut])
        at += cut
    assert read(CallReader(NAMES), [*chunks, text[at:]]) == read(CallReader(NAMES), [text])


@given(text=st.text(alphabet='<{[`"tool_call>\n ab:', max_size=60))
def test_what_is_no_call_is_said_to_the_character(text: str) -> None:
    assert "".join(str(piece) for piece in read(CallReader(NAMES), [*text])) == text


def test_words_flow_at_once_and_only_what_may_be_a_call_is_held() -> None:
    reader = CallReader(NAMES)
    assert reader.feed("Hello") == ["Hello"]
    assert reader.feed(" there <to") == [" there "]
    assert reader.feed("morrow>\n") == ["<tomorrow>\n"]
    assert reader.feed('{"na') == []
    assert reader.feed('me": "An') == ['{"name": "An']


def test_calls_beyond_the_limit_are_dropped() -> None:
    assert read(CallReader(NAMES, calls_max=1), [f"{CALL}\n{CLOCK}"]) == [PARIS]


def test_a_long_call_is_looked_at_once() -> None:
    arguments = {"text": "x" * 200_000}
    text = json.dumps({"name": "get_time", "arguments": arguments})
    (call,) = read(CallReader(NAMES), [text[at : at + 50] for at in range(0, len(text), 50)])
    assert isinstance(call, Call)
    assert json.loads(call.arguments) == arguments


BOUND: list[tuple[str, list[Piece]]] = [
    (CALL, [PARIS]),
    ('{"name": "get_weather", "arguments": {"city": "Par', [Call("get_weather", '{"city": "Par')]),
    ('{"name": "get_weather"', [Call("get_weather", "")]),
    ('{"name": "get_w', []),
]


@pytest.mark.parametrize(("text", "pieces"), BOUND, ids=range(len(BOUND)))
def test_an_answer_bound_to_be_a_call(text: str, pieces: list[Piece]) -> None:
    assert read(BoundReader(NAMES), [*text]) == pieces
