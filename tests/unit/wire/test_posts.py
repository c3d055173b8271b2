"""What is posted beside chats: what is read of a request, how it is passed on, and what an answer says it used."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.ask import Operation
from headrace.core.errors import (
    InvalidRequest,
    UpstreamFailed,
    UpstreamGarbled,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimedOut,
)
from headrace.core.native import Part
from headrace.core.usage import Usage
from headrace.wire.forms import read_form, written
from headrace.wire.posts import PATHS, Asked, Said, StreamReader, body_for, read_answer, read_post

JSON = b"application/json"
URL = {"type": "image_url", "image_url": {"url": "data:"}}


def asked(path: str, body: Any) -> dict[str, Any]:
    """What of it is not as it is by default."""
    found = read_post(path, JSON, json.dumps(body).encode())
    plain = Asked(model=None, stream=False, user="", parts=(), tokens=len(json.dumps(body)))
    return {name: getattr(found, name) for name in Asked.__struct_fields__ if getattr(found, name) != getattr(plain, name)}


READ = [
    ("/moderations", {"input": "x"}, {}),
    ("/moderations", {"model": "m", "input": [URL, {"type": "text", "text": "x"}]}, {"model": "m", "shown": 1}),
    ("/images/generations", {"model": "m", "prompt": "x"}, {"model": "m", "drawn": 1}),
    ("/images/generations", {"prompt": "x", "n": 3, "stream": True, "user": "u"}, {"drawn": 3, "stream": True, "user": "u"}),
    ("/images/generations", {"model": "m", "prompt": "x", "output_format": "svg"}, {"model": "m", "drawn": 1, "authored": True}),
    ("/images/edits", {"model": "m", "prompt": "x", "images": [{}, {}], "mask": {}}, {"model": "m", "drawn": 1, "shown": 3}),
    ("/audio/speech", {"input": "x" * 9, "safety_identifier": "s"}, {"stream": True, "characters": 9, "user": "s"}),
    ("/rerank", {"model": "m", "max_tokens": 7}, {"model": "m", "cap": 7}),
    ("/rerank", {"model": "m", "max_tokens": "7"}, {"model": "m"}),
    ("/rerank", {"model": ""}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "found"), READ)
def test_what_is_read(path: str, body: Any, found: dict[str, Any]) -> None:
    assert asked(path, body) == found


FILE = Part(name="file", data=b"sound", filename="a.mp3")
IMAGE = Part(name="image[]", data=b"picture", filename="a.png")


def field(name: str, text: str) -> Part:
    return Part(name=name, data=text.encode())


FORMS = [
    ("/audio/transcriptions", [field("model", "m"), FILE], {"model": "m", "tokens": 1}),
    ("/audio/translations", [field("stream", "True"), FILE, field("user", "u")], {"stream": True, "tokens": 5, "user": "u"}),
    ("/images/edits", [field("prompt", "a mill"), IMAGE, IMAGE, field("n", "2")], {"tokens": 7, "shown": 2, "drawn": 2}),
    (
        "/images/edits",
        [field("prompt", "a"), IMAGE, field("output_format", "svg")],
        {"tokens": 4, "shown": 1, "drawn": 1, "authored": True},
    ),
    ("/images/variations", [Part(name="image", data=b"p", filename="a")], {"tokens": 0, "shown": 1, "drawn": 1}),
    ("/parse", [field("model", "m"), FILE], {"model": "m", "tokens": 6}),
]


@pytest.mark.parametrize(("path", "parts", "found"), FORMS)
def test_what_is_read_of_a_form(path: str, parts: list[Part], found: dict[str, Any]) -> None:
    kind, body = written(parts)
    read = read_post(path, kind.encode(), body)
    assert read == Asked(**{"model": None, "stream": False, "user": "", "parts": tuple(parts), **found})


@pytest.mark.parametrize(
    ("path", "parts", "param"),
    [
        ("/audio/transcriptions", [field("file", "x")], "file"),
        ("/images/edits", [field("prompt", "x")], "image"),
        ("/images/edits", [IMAGE], "prompt"),
        ("/images/edits", [field("prompt", "x"), IMAGE, field("n", "two")], "n"),
        ("/images/edits", [field("prompt", "x"), IMAGE, field("n", "129")], "n"),
        ("/images/edits", [field("prompt", "x"), IMAGE, field("n", "9"), field("n", "1")], "n"),
        ("/images/edits", [field("prompt", "x"), IMAGE, Part(name="n", data=b"9", filename="")], "n"),
        ("/audio/transcriptions", [FILE, field("model", "m"), field("model", "dear")], "model"),
        ("/moderations", [field("input", "x")], None),
    ],
)
def test_what_a_form_lacks(path: str, parts: list[Part], param: str | None) -> None:
    kind, body = written(parts)
    with pytest.raises(InvalidRequest) as refused:
        read_post(path, kind.encode(), body)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/moderations", {}, "input"),
        ("/audio/speech", {"input": ""}, "input"),
        ("/images/generations", {}, "prompt"),
        ("/images/generations", {"prompt": "x", "n": 129}, "n"),
        ("/images/variations", {}, None),
        ("/rerank", [], None),
    ],
)
def test_what_is_refused(path: str, body: Any, param: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_post(path, JSON, json.dumps(body).encode())
    assert refused.value.param == param


def test_under_the_upstreams_name_of_the_model() -> None:
    kind, body = body_for((), b'{"model":"a","x":{"model":"a"},"model":"b"}', "its")
    assert (kind, json.loads(body)) == ("application/json", {"model": "its", "x": {"model": "a"}})
    assert body.count(b'"its"') == 1
    assert json.loads(body_for((), b"{}", "its")[1]) == {"model": "its"}
    kind, body = body_for((field("model", "a"), FILE, field("model", "b"), Part(name="model", data=b"", filename="m")), b"", "its")
    assert read_form(kind.encode(), body) == (field("model", "its"), FILE, Part(name="model", data=b"", filename="m"))


ANSWERS: list[tuple[Operation, Any, Said]] = [
    ("moderations", {"results": []}, Said()),
    ("moderations", {"usage": {"prompt_tokens": 3, "total_tokens": 3}, "model": "m"}, Said(Usage(3), (), "m")),
    ("images", {"data": [{}, {}]}, Said(None, (("image", 2),))),
    (
        "images",
        {"data": [{}], "usage": {"input_tokens": 5, "output_tokens": 9, "input_tokens_details": {"image_tokens": 4}}},
        Said(Usage(1, image_in=4, image_out=9), (("image", 1),)),
    ),
    (
        "images",
        {"usage": {"output_tokens": 9, "output_tokens_details": {"image_tokens": 7, "text_tokens": 2}}},
        Said(Usage(0, output=2, image_out=7)),
    ),
    (
        "images",
        {"usage": {"output_tokens": 9}, "svg_usage": {"input_tokens": 4, "output_tokens": 6, "reasoning_tokens": 2}},
        Said(Usage(4, output=4, reasoning=2, image_out=9)),
    ),
    ("images", {"svg_usage": {"input_tokens": 0}, "data": None}, Said()),
    ("speech", {"usage": {"input_tokens": 5, "output_tokens": 9}}, Said(Usage(5, audio_out=9))),
    (
        "transcriptions",
        {"usage": {"input_tokens": 9, "output_tokens": 2, "input_token_details": {"audio_tokens": 8, "cached_tokens": 3}}},
        Said(Usage(0, 3, output=2, audio_in=6)),
    ),
    ("transcriptions", {"usage": {"seconds": 2.1}}, Said(None, (("second", 3),))),
    ("transcriptions", {"usage": {"seconds": -1}}, Said()),
    ("pass_through", {"usage": {"total_tokens": 7}}, Said(Usage(7))),
    ("pass_through", {"meta": {"billed_units": {"search_units": 1}}}, Said(None, (("search_unit", 1),))),
    ("pass_through", {"meta": {"tokens": {"input_tokens": 4, "output_tokens": 1}}}, Said(Usage(4, output=1))),
    ("pass_through", {"meta": {}, "model": 3, "error": None}, Said()),
    ("pass_through", [1], Said()),
    ("pass_through", {"usage": {"total_tokens": -7}}, Said()),
]


@pytest.mark.parametrize(("operation", "answer", "said"), ANSWERS)
def test_what_an_answer_used(operation: Operation, answer: Any, said: Said) -> None:
    assert read_answer(operation, json.dumps(answer).encode()) == said


def test_an_answer_that_reports_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        read_answer("images", b'{"error": {"message": "broke"}}')


NAMES = st.sampled_from(["usage", "error", "data", "meta", "model", "input", "prompt", "n", "stream", "input_tokens", "seconds", "images"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSONS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=8)
OPERATIONS = sorted(set(PATHS.values()) | {"pass_through"})


@given(st.sampled_from([*PATHS, "/rerank"]), JSONS | st.binary(max_size=50))
def test_whatever_is_posted_is_read_or_refused(path: str, body: Any) -> None:
    with suppress(InvalidRequest):
        assert read_post(path, JSON, body if isinstance(body, bytes) else json.dumps(body).encode()).drawn >= 0


@given(st.sampled_from(OPERATIONS), JSONS | st.binary(max_size=50))
def test_whatever_comes_back_is_read_or_a_failure_of_the_upstream(operation: Operation, body: Any) -> None:
    with suppress(UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut):
        said = read_answer(operation, body if isinstance(body, bytes) else json.dumps(body).encode())
        assert said.usage is None or min(msgspec.structs.astuple(said.usage)) >= 0


def event(**said: Any) -> bytes:
    return b"data: " + json.dumps(said).encode() + b"\n\n"


def told(operation: Operation, *pieces: bytes) -> tuple[list[bytes], StreamReader]:
    reader = StreamReader(operation)
    return [passed for piece in pieces if (passed := reader.feed(piece))], reader


def test_what_tells_usage_is_held_until_all_is_told() -> None:
    first, second, last, end = event(type="delta"), event(usage={"total_tokens": 1}), event(usage={"total_tokens": 3}), event(type="end")
    passed, reader = told("pass_through", first, second, first[:5], first[5:] + last, end)
    assert passed == [first, second + first]
    assert reader.close() == last + end
    assert reader.said == Said(Usage(3))


def test_each_image_of_a_stream_has_a_usage_of_its_own() -> None:
    done = event(type="image_generation.completed", usage={"input_tokens": 2, "output_tokens": 5})
    _, reader = told("images", done, event(type="more"), done)
    assert reader.said == Said(Usage(4, image_out=10), (("image", 2),))
    assert reader.close() == done


def test_what_no_usage_is_passes() -> None:
    odd = (event(text='"usage"'), b'data: {"usage"\n\n', event(usage=None), event(error=None))
    passed, reader = told("speech", *odd)
    assert b"".join(passed) + reader.close() == b"".join(odd)
    assert reader.said == Said()


def test_a_stream_that_reports_an_error() -> None:
    passed, reader = told("speech", event(type="delta"), event(type="delta") + event(error={"message": "broke"}) + event(type="late"))
    assert passed == [event(type="delta")] * 2
    assert isinstance(reader.failure, UpstreamFailed)


def test_an_event_has_an_end() -> None:
    reader = StreamReader("images", bytes_held_max=100)
    assert reader.feed(b"data: " + b"x" * 200) == b""
    assert isinstance(reader.failure, UpstreamGarbled)
