"""Long texts are passed over, and nothing else is."""

import json

import pytest

from headrace.wire.elision import LOOKS_MAX, TEXT_MIN, without_texts
from headrace.wire.openai_caps import images_in, with_tokens_out_max
from headrace.wire.openai_upstream import body_for

LONG = "a headrace leads water to the wheel. " * 200


def chat(*contents: object, **members: object) -> dict[str, object]:
    return {"model": "m", "messages": [{"role": "user", "content": content} for content in contents], **members}


PASSED_OVER = [
    # what is asked, what is read
    (chat(LONG), chat("")),
    (chat(LONG, "short", LONG, stream=True), chat("", "short", "", stream=True)),
    (chat([{"type": "text", "text": LONG}, {"type": "image_url", "image_url": {"url": LONG}}]),
     chat([{"type": "text", "text": ""}, {"type": "image_url", "image_url": {"url": ""}}])),
    (chat("short"), chat("short")),
    (chat(LONG + '"quoted"' + LONG), chat("")),
    (chat(LONG + "\\"), chat("")),
    (chat(LONG + '\\"'), chat("")),
    (chat('"content": "' + LONG), chat("")),
    (chat(prompt_cache_key=LONG), chat(prompt_cache_key=LONG)),
    (chat("x" * TEXT_MIN), chat("x" * TEXT_MIN)),
    (chat("x" * (TEXT_MIN + 1)), chat("")),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "read"), PASSED_OVER)
def test_a_long_text_is_empty_in_what_is_read(asked: dict[str, object], read: dict[str, object]):
    for separators in ((",", ":"), (", ", ": "), (" ,\n", "\t: ")):
        assert json.loads(without_texts(json.dumps(asked, separators=separators).encode())) == read


def test_who_quotes_much_is_read_whole():
    body = json.dumps(chat('he said "no" ' * LOOKS_MAX + LONG)).encode()
    assert without_texts(body) is body


def test_many_short_texts_cost_no_more_than_a_few_looks():
    body = json.dumps(chat(*["short"] * (LOOKS_MAX + 5), LONG)).encode()
    assert without_texts(body) is body, "the long one stands after all looks are spent"


@pytest.mark.parametrize("backslashes", [1, 2, 63, 64, 65, 511, 512, 513, 514, 4_097, 30_000, 30_001])
def test_a_long_row_of_backslashes_escapes_by_pairs(backslashes: int):
    text = LONG + "\\" * backslashes
    assert json.loads(without_texts(json.dumps(chat(text, "after")).encode())) == chat("", "after")
    odd = b'{"content":"' + b"\\" * (2 * backslashes + 1) + b'"' + LONG.encode() + b'"}'
    assert json.loads(without_texts(odd)) == {"content": ""}


def test_backslashes_from_the_very_beginning():
    for count in range(130):
        assert without_texts(b"\\" * count) == b"\\" * count


UNENDED = [b'{"messages":[{"content":"never ends', b'{"messages":[{"content":"ends in a quote \\"', b"", b'"content":"']


@pytest.mark.parametrize("broken", UNENDED)
def test_a_text_without_an_end_is_left_as_it_is(broken: bytes):
    assert without_texts(broken) == broken


@pytest.mark.parametrize("behind", [False, True])
def test_a_long_request_gets_its_upstreams_name_of_the_model_wherever_it_stands(behind: bool):
    text = 'He said \\"model\\": \\"ours\\", \\"stream_options\\" and more. ' * 2_000
    said, name = f'"messages":[{{"role":"user","content":"{text}"}}]', '"model":"ours"'
    body = f"{{{said},{name}}}".encode() if behind else f"{{{name},{said}}}".encode()
    told = json.loads(body_for(body, "ours", "theirs", tells_usage=False))
    assert told == {**json.loads(body), "model": "theirs", "stream_options": {"include_usage": True}}


def test_what_a_text_says_is_no_image_and_no_cap():
    text = '\\"image_url\\" \\"max_tokens\\": 7 ' * 1_000
    body = f'{{"messages":[{{"role":"user","content":"{text}"}}]}}'.encode()
    assert images_in(body) == 0
    assert json.loads(with_tokens_out_max(body, 9)) == {**json.loads(body), "max_completion_tokens": 9}
